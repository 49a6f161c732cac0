"""Pooling that is fast on a CPU as well."""

import jax
import jax.numpy as jnp

__all__ = ["halved"]


def halved(x: jax.Array) -> jax.Array:
    """Returns the largest of every 2×2 pixels, `[B, H, W, C] -> [B, H // 2, W // 2, C]`; an odd last row or column is
    left out. On a CPU its gradient is several times as fast as that of XLA's pooling; where several are largest, it is
    shared between them."""
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    x = x[:, :height, :width]
    upper, lower = x[:, ::2], x[:, 1::2]
    rows = jnp.maximum(upper, lower)
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])
