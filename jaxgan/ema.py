"""Exponential averages of parameters, with a half-life in images."""

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["ema", "warmed_up"]

PyTree = Any


def ema(old: PyTree, new: PyTree, images: Any, half_life: Any) -> PyTree:
    """Returns the moving average of a pytree after `images` more images: from the average `old` before them and the
    values `new` after them.

    The share ½^(images / half_life) of `old` remains; with half_life 0 none does. Karras et al. 2018 (arXiv
    1710.10196), section 3, by batches. Integers are counters; they are those of `new`.
    """
    decay = 0.5 ** (images / half_life)

    def average(a: jax.Array, p: jax.Array) -> jax.Array:
        return (p + decay * (a - p)).astype(p.dtype) if jnp.issubdtype(p.dtype, jnp.inexact) else p

    return jax.tree.map(average, old, new)


def warmed_up(half_life: jax.Array, images: jax.Array) -> jax.Array:
    """Returns the half-life after `images` of a run: at most a twentieth of the images, so that an average forgets the
    initial weights. Karras et al. 2020 (arXiv 2006.06676), appendix; their ramp-up 0.05."""
    return jnp.minimum(half_life, 0.05 * images)
