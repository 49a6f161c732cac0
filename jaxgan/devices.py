"""Means and counts over the devices of a mapped axis, under `pmap`, `shard_map` and `vmap(axis_name=...)`. Where arrays
lie on devices otherwise, and a batch is global, is in `jaxgan.parallel`."""

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["global_count", "mean_over"]

PyTree = Any


def global_count(count: int, axis_name: str | None) -> int:
    """Returns the number of examples on all devices, where each has `count`."""
    return count if axis_name is None else count * jax.lax.axis_size(axis_name)


def mean_over(tree: PyTree, axis_name: str | None) -> PyTree:
    """Returns a pytree with its floats averaged over devices. All other leaves must be equal everywhere; `shard_map` is
    told so for integers.

    This is the only function that averages: losses inside the differentiated function, gradients outside. Why both: on
    N devices let device k have the loss V_k, which may depend on every device's copy θ_j of the parameters (through
    batch norm's statistics, gathered logits). We want d/dθ of V = Σ_k V_k / N with all copies changing as one, Σ_j Σ_k
    ∂V_k/∂θ_j / N. Under pmap, vmap and shard_map(check_vma=False) device j's gradient is that of the sum over devices
    of what each of them differentiates. Each differentiates V, so it is Σ_k ∂V_k/∂θ_j, and the mean over j is what we
    want. Under shard_map(check_vma=True) V and θ are known to be the same everywhere: the gradient is exact and equal
    already, and a mean over equal numbers changes nothing.
    """
    if axis_name is None:
        return tree

    def over_devices(x: jax.Array) -> jax.Array:
        if jnp.issubdtype(jnp.result_type(x), jnp.inexact):
            return jax.lax.pmean(x, axis_name)
        return jax.lax.pmax(x, axis_name) if jnp.issubdtype(jnp.result_type(x), jnp.integer) else x

    return jax.tree.map(over_devices, tree)
