"""A checkpoint that was just written, read once as a continued run would: on the host, beside the training."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxgan.training.checkpoints.digest import host_digest

__all__ = ["read_back"]


def read_back(file: Path, saved: Any) -> str:
    """Reads what was saved like `saved` (its tree, shapes and types; `digest` among it), to the host's memory, and
    compares its digests. Returns what is wrong with it in a line, "" for nothing. Orbax' errors where it can't be
    read."""
    reader = ocp.StandardCheckpointHandler()
    reader.metadata(file)["state"]  # which a continued run asks for first
    found = reader.restore(file, args=ocp.args.StandardRestore(jax.tree.map(_on_the_host, saved)))
    leaves = jax.tree.leaves_with_path(found["state"])
    for (path, leaf), digest in zip(leaves, found["digest"], strict=True):
        if host_digest(leaf) != digest:
            return f"{jax.tree_util.keystr(path)} is not what was saved"
    return ""


def _on_the_host(leaf: Any) -> np.ndarray:
    """Returns an array without memory of its own, of a leaf's shape and type, for which Orbax restores a NumPy array.
    Of a key it is that of its numbers: Orbax makes a key of them by itself, on the first device here."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
