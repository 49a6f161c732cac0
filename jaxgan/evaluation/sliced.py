"""The sliced Wasserstein distance of two sets of images, along random directions in the space of pixels."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

__all__ = ["sliced_wasserstein"]

# Numbers of directions, and of images as float32, in memory at a time.
DIRECTIONS = 64
IMAGES = 256


def sliced_wasserstein(key: jax.Array, a: ArrayLike, b: ArrayLike, projections: int = 512) -> jax.Array:
    """Returns the sliced Wasserstein-2 distance of two sets `[N, ...]`, a float32 scalar; each array is flattened to d
    numbers.

    SW₂² = E_θ (1/N) Σᵢ ((θ·a)₍ᵢ₎ - (θ·b)₍ᵢ₎)², where θ is uniform on the unit sphere of d dimensions and ₍ᵢ₎ means the
    i-th smallest (Rabin et al. 2011; Bonneel et al. 2015). The mean is over `projections` directions that follow from
    `key`: use one key for all sets that are compared. uint8 images count as x/127.5 - 1, floats as they are.

    Nothing is rescaled, and the unit is that of a pixel: a set shifted by the vector v is at ‖v‖/√d, so by c where
    every pixel is shifted by c, whatever the image's size (about one part in √(2·projections) of that is chance, 3 %
    for 512). Two samples of one distribution aren't at 0: compare a generator's distance with that of two sets of real
    images.

    Karras et al. 2018 (arXiv 1710.10196) apply it to small patches at several scales; this one is of whole images. A
    random direction mixes all pixels: it shows colour, contrast, layout and a collapse onto few images. It hardly shows
    sharpness, whose share of the pixels' variance is small, or whether an object is drawn well.

    A NaN or an infinity gives a distance that isn't finite. `vmap(sliced_wasserstein, (None, 0, None))` maps it over
    members. ValueError for sets of unequal shapes, empty ones, numbers other than uint8 and floats, or no projection.
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    if a.shape != b.shape or a.ndim < 1 or a.size == 0:
        raise ValueError(f"expected two sets [N, ...] of one shape with at least one example, got {a.shape}, {b.shape}")
    for x in (a, b):
        if x.dtype != jnp.uint8 and not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"expected uint8 images or floats, got {x.dtype}")
    if projections < 1:
        raise ValueError(f"expected at least 1 projection, got {projections}")
    return _distance(key, a, b, projections)


@functools.partial(jax.jit, static_argnames="projections")
def _distance(key: jax.Array, a: jax.Array, b: jax.Array, projections: int) -> jax.Array:
    def squared(key: jax.Array) -> jax.Array:
        theta = _direction(key, a[0].size)
        return jnp.mean((_sorted_along(theta, a) - _sorted_along(theta, b)) ** 2)

    return jnp.sqrt(jnp.mean(lax.map(squared, jax.random.split(key, projections), batch_size=DIRECTIONS)))


def _direction(key: jax.Array, size: int) -> jax.Array:
    """Returns a vector `[size]` of length 1, uniform on the sphere."""
    gaussian = jax.random.normal(key, (size,), jnp.float32)
    return gaussian / jnp.linalg.norm(gaussian)


def _sorted_along(theta: jax.Array, arrays: jax.Array) -> jax.Array:
    def project(array: jax.Array) -> jax.Array:
        x = array.reshape(-1).astype(jnp.float32)
        x = x / 127.5 - 1 if array.dtype == jnp.uint8 else x
        # GPUs and TPUs would otherwise round to 10 bits or fewer.
        return jnp.dot(x, theta, precision=lax.Precision.HIGHEST)

    return jnp.sort(lax.map(project, arrays, batch_size=IMAGES))
