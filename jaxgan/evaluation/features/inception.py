"""Inception-v3 as a feature network: published FID, KID, IS, precision and recall are computed with it."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.evaluation.features.network import FeatureNetwork
from jaxgan.evaluation.features.torch_weights import read_weights
from jaxgan.networks import inception

__all__ = ["INCEPTION_SHA256", "INCEPTION_VARIABLE", "inception_features"]

SIZE = 299
INCEPTION_VARIABLE = "JAXGAN_INCEPTION_WEIGHTS"

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""The hash of the file of 95,628,359 bytes that pytorch-fid and torch-fidelity publish, under different names."""


def inception_features(
    path: str | Path | None = None, mode: Literal["torch-fidelity", "pytorch-fid"] = "torch-fidelity"
) -> FeatureNetwork:
    """Loads FID's Inception-v3 with weights from a file: the `.pth` that pytorch-fid and torch-fidelity publish, or an
    `.npz` of the same arrays (`numpy.savez("inception.npz", **read_pth(path))`). Without a path the environment
    variable JAXGAN_INCEPTION_WEIGHTS names it.

    The two modes are the two projects' ways to turn uint8 `[B, H, W, 3]` into the network's 299×299 pixels; they give
    different scores. `torch-fidelity` samples as TensorFlow 1 did (pixel i at i·H/299, no smoothing) and scales by (x -
    128) / 128; `pytorch-fid` samples between the centres of pixels ((i + ½)·H/299 - ½) and scales by 2·x/255 - 1. Grey
    images `[B, H, W, 1]` are repeated to three channels.

    `features` are the 2,048 numbers of the last pool. `logits` are the 1,008 without the last layer's bias, from which
    TensorFlow's and torch-fidelity's inception scores are computed (its `logits_unbiased`).

    `apply` is a `jax.tree_util.Partial`, whose leaves are the weights: `jit(lambda apply, x: apply(x))(network.apply,
    images)` keeps them out of the compiled program.

    ValueError where no file is named, for one that cannot be read or is of another network, and for another mode."""
    if mode not in MODES:
        raise ValueError(f"expected mode {' or '.join(map(repr, MODES))}, got {mode!r}")
    path = Path(_named() if path is None else path)
    weights = read_weights(path)
    try:
        variables = inception.variables(weights)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    network = inception.InceptionV3()

    def apply(variables: dict[str, Any], images: jax.Array) -> dict[str, jax.Array]:
        outputs: Any = network.apply(variables, _preprocess(images, mode))
        return {"features": outputs["2048"], "logits": outputs["logits_unbiased"]}

    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    resize = f"{MODES[mode].resize}, grey as three channels"
    # A pytree with the weights as leaves, so that a jitted function can be given it instead of 95 MB of constants.
    applied = jax.tree_util.Partial(apply, variables)
    return FeatureNetwork(f"inception-v3-{mode}", sha256, resize, inception.CLASSES, applied)


def _named() -> str:
    if named := os.environ.get(INCEPTION_VARIABLE):
        return named
    raise ValueError(
        "no weights of Inception-v3: fetch pt_inception-2015-12-05-6726825d.pth from pytorch-fid's releases "
        "(mseitzer/pytorch-fid, fid_weights), or weights-inception-2015-12-05-6726825d.pth from torch-fidelity's "
        f"(toshas/torch-fidelity, v0.2.0), which has the same bytes, SHA-256 {INCEPTION_SHA256}, and name the file: "
        f"--inception-weights FILE, or {INCEPTION_VARIABLE}=FILE in the environment"
    )


def _preprocess(images: jax.Array, mode: str) -> jax.Array:
    """Turns uint8 `[B, H, W, 1 or 3]` into the network's input, float32 `[B, 299, 299, 3]`."""
    if images.ndim != 4 or images.dtype != jnp.uint8 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"Inception-v3 takes uint8 images [B, H, W, 3], or of 1 channel, got {images.dtype} {list(images.shape)}"
        )
    x = _resize(images.astype(jnp.float32), MODES[mode].positions, SIZE)
    return MODES[mode].scale(jnp.broadcast_to(x, (*x.shape[:3], 3)))


def _resize(x: jax.Array, positions: Callable[[int, int], np.ndarray], size: int) -> jax.Array:
    """Resizes float32 `[B, H, W, C]` to `[B, size, size, C]`, bilinearly: rows, then columns, each as one matrix
    product."""
    for axis, product in ((1, "oh,bhwc->bowc"), (2, "ow,bhwc->bhoc")):
        if x.shape[axis] != size:
            matrix = _matrix(positions(x.shape[axis], size), x.shape[axis])
            # GPUs and TPUs would otherwise round to 10 bits or fewer.
            x = jnp.einsum(product, matrix, x, precision=lax.Precision.HIGHEST)
    return x


def _matrix(positions: np.ndarray, size: int) -> np.ndarray:
    """Returns the matrix `[out, size]` that reads an array `[size]` at positions from 0 on; beyond its end it reads its
    last element."""
    low = np.minimum(positions.astype(np.int32), size - 1)
    fraction = positions - low.astype(np.float32)
    matrix, rows = np.zeros((len(positions), size), np.float32), np.arange(len(positions))
    np.add.at(matrix, (rows, low), 1 - fraction)
    np.add.at(matrix, (rows, np.minimum(low + 1, size - 1)), fraction)
    return matrix


# The position of each of `out` pixels among `size`, in float32 as in the references.
def _tensorflow1(size: int, out: int) -> np.ndarray:
    return np.arange(out, dtype=np.float32) * np.float32(size / out)


def _half_pixels(size: int, out: int) -> np.ndarray:
    centres = np.arange(out, dtype=np.float32) + np.float32(0.5)
    return np.maximum(centres * (np.float32(size) / np.float32(out)) - np.float32(0.5), np.float32(0))


class _Mode(NamedTuple):
    resize: str
    positions: Callable[[int, int], np.ndarray]
    scale: Callable[[jax.Array], jax.Array]


MODES = {
    "torch-fidelity": _Mode(
        "bilinear to 299×299 (TensorFlow 1), (x - 128) / 128", _tensorflow1, lambda x: (x - 128) / 128
    ),
    "pytorch-fid": _Mode(
        "bilinear to 299×299 (PyTorch, half-pixel centres), 2x / 255 - 1", _half_pixels, lambda x: 2 * (x / 255) - 1
    ),
}
