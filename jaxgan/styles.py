"""Styles of StyleGANs: w `[B, D]` is what a mapping makes of a latent; each of K layers reads one, `[B, K, D]`."""

import jax
import jax.numpy as jnp

from jaxgan.draw import Draw

__all__ = ["mixed", "mixing_cuts"]


def mixing_cuts(draw: Draw, layers: int, probability: float = 0.9) -> jax.Array:
    """Returns for each example the first layer that reads its second style, int32 `[B]`: with this probability one of 1
    to `layers` - 1, all as likely, otherwise `layers`, which is none. Karras et al. 2019 (arXiv 1812.04948), section
    3.1. ValueError for a probability outside [0, 1], and for fewer than two layers."""
    if not 0 <= probability <= 1:
        raise ValueError(f"expected a probability of style mixing from 0 to 1, got {probability}")
    if layers < 2:
        raise ValueError(f"styles can be mixed over at least 2 layers, got {layers}")
    choose = lambda key: jax.random.randint(key, (), 1, layers, jnp.int32)  # noqa: E731 - mapped at once
    cuts = jax.vmap(choose)(draw.keys("style mixing: cut"))
    return jnp.where(draw.uniform("style mixing") < probability, cuts, layers)


def mixed(w: jax.Array, other: jax.Array, cuts: jax.Array, layers: int) -> jax.Array:
    """Returns styles `[B, layers, D]` that are `w` `[B, D]` in the layers before `cuts` `[B]` and `other` `[B, D]` from
    there on. ValueError where the shapes don't match."""
    if w.ndim != 2 or other.shape != w.shape or cuts.shape != w.shape[:1]:
        raise ValueError(f"expected styles [B, D] twice and cuts [B], got {w.shape}, {other.shape} and {cuts.shape}")
    first = jnp.arange(layers, dtype=jnp.int32)[None] < cuts[:, None]
    return jnp.where(first[:, :, None], w[:, None], other[:, None])
