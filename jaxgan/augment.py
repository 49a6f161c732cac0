"""Random changes of images inside a compiled step: pure, differentiable functions of images and keys.

Images are float `[B, H, W, C]`, usually in [-1, 1], which nothing here relies on. Keys are `[B]`, one for each example;
an example's change depends on its key alone, not on the rest of the batch. Every function folds a number of its own
into the keys, so that all of them may be given the same keys and still draw independently.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

__all__ = [
    "flip",
    "noise",
    "own_keys",
    "random_crop",
    "require_groups",
    "rotate_and_scale",
    "shift",
    "turn",
    "turned",
    "window",
]

_FLIP, _CROP, _TURN, _NOISE, _SHIFT, _QUARTERS = range(6)  # folded into the keys


def own_keys(keys: jax.Array, number: int) -> jax.Array:
    """Returns keys `[B]` for one purpose, which has a number of its own, of an example's keys `[B]`."""
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def require_groups(groups: Sequence[str], known: Sequence[str]) -> None:
    """Raises ValueError unless `groups` are one or more of those that are known."""
    if isinstance(groups, str) or not groups or (unknown := set(groups) - set(known)):
        named = repr(groups) if isinstance(groups, str) or not groups else ", ".join(sorted(map(str, unknown)))
        raise ValueError(f"expected one or more of the groups {', '.join(known)}, got {named}")


def window(image: jax.Array, place: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Cuts a window of `shape`, `(height, width, C)`, out of one image `[H, W, C]`. place: `[2]`, whole numbers, the
    row and the column of its first pixel."""
    return jax.lax.dynamic_slice(image, (place[0], place[1], jnp.zeros_like(place[0])), shape)


def flip(images: jax.Array, keys: jax.Array) -> jax.Array:
    """Mirrors each image left-right with probability 1/2."""
    mirrored = jax.vmap(lambda key: jax.random.bernoulli(key, jnp.float32(0.5)))(own_keys(keys, _FLIP))
    return jnp.where(mirrored.reshape(-1, 1, 1, 1), images[:, :, ::-1], images)


def turn(images: jax.Array, keys: jax.Array) -> jax.Array:
    """Turns each image counter-clockwise by 0, 90, 180 or 270 degrees, all as likely. No pixel's value changes; after
    `flip` all eight symmetries of the square are as likely. ValueError unless H = W."""
    height, width = images.shape[1:3]
    if height != width:
        raise ValueError(
            f"images of {height}×{width} can't be turned by quarters and keep their shape; square ones can"
        )
    quarters = jax.vmap(lambda key: jax.random.randint(key, (), 0, 4, jnp.int32))(own_keys(keys, _QUARTERS))
    quarters = quarters.reshape(-1, 1, 1, 1)
    half = jnp.where(quarters >= 2, images[:, ::-1, ::-1], images)
    return jnp.where(quarters % 2 == 1, half.swapaxes(1, 2)[:, ::-1], half)


def random_crop(images: jax.Array, keys: jax.Array, size: int) -> jax.Array:
    """Cuts a window `[B, size, size, C]` out of each image, uniform over all places. ValueError unless 1 ≤ size ≤ H and
    W."""
    height, width, channels = images.shape[1:]
    if not 1 <= size <= min(height, width):
        raise ValueError(f"a window of {size}×{size} pixels doesn't fit into images of {height}×{width}")

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        places = jnp.array([height - size + 1, width - size + 1], jnp.int32)
        place = jax.random.randint(key, (2,), jnp.zeros_like(places), places, jnp.int32)
        return window(image, place, (size, size, channels))

    return jax.vmap(one)(images, own_keys(keys, _CROP))


def shift(images: jax.Array, keys: jax.Array, pixels: int) -> jax.Array:
    """Moves each image by up to `pixels` either way, down and across, uniformly. The edge is filled by mirroring,
    without repeating the outermost pixel. ValueError unless 0 ≤ pixels < H and W."""
    height, width = images.shape[1:3]
    if not 0 <= pixels < min(height, width):
        raise ValueError(f"images of {height}×{width} can't be moved by up to {pixels} pixels")
    wide = jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="reflect")
    moved = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, 2 * pixels + 1, jnp.int32))(own_keys(keys, _SHIFT))
    return jax.vmap(lambda image, place: window(image, place, images.shape[1:]))(wide, moved)


def noise(images: jax.Array, keys: jax.Array, std: float | jax.Array) -> jax.Array:
    """Adds Gaussian noise of standard deviation `std` to every number: instance noise, which makes real and fake images
    overlap. Sønderby et al. 2017 (arXiv 1610.04490), section 4.2; Arjovsky & Bottou 2017 (arXiv 1701.04862)."""
    drawn = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:], images.dtype))(own_keys(keys, _NOISE))
    return images + jnp.asarray(std, images.dtype) * drawn


def rotate_and_scale(
    images: jax.Array, keys: jax.Array, degrees: float | jax.Array = 0.0, scale: float | jax.Array = 0.0
) -> jax.Array:
    """Rotates each image by an angle uniform in ±`degrees` and magnifies it exp(u·log(1 + scale)) times, u uniform in
    ±1: a factor is as likely as its inverse, and at most 1 + scale (above 0). With 0 and 0 it returns the images
    exactly.
    """
    draws = jax.vmap(lambda key: jax.random.uniform(key, (2,), jnp.float32, minval=-1.0))(own_keys(keys, _TURN))
    return turned(images, draws[:, 0] * (degrees * (math.pi / 180)), jnp.exp(draws[:, 1] * jnp.log1p(scale)))


def turned(images: jax.Array, radians: jax.Array, factors: jax.Array) -> jax.Array:
    """Rotates images counter-clockwise by `radians` `[B]` around their centre and magnifies them `factors` `[B]` times.

    The size stays. Pixels are square also where images are not. Values between pixels are interpolated linearly; beyond
    the edge the image continues mirrored, without repeating the outermost pixel, so that no black comes in.
    """
    height, width = images.shape[1:3]
    middle, centre = (height - 1) / 2, (width - 1) / 2
    # Offsets from the centre; at angle 0 and factor 1 adding and subtracting it rounds nothing.
    y, x = jnp.meshgrid(
        jnp.arange(height, dtype=jnp.float32) - middle, jnp.arange(width, dtype=jnp.float32) - centre, indexing="ij"
    )

    def one(image: jax.Array, angle: jax.Array, factor: jax.Array) -> jax.Array:
        # The place that a pixel comes from: the inverse of rotation and magnification. y points down.
        cos, sin = jnp.cos(angle) / factor, jnp.sin(angle) / factor
        source = [cos * y + sin * x + middle, cos * x - sin * y + centre]
        channel = lambda values: map_coordinates(values, source, order=1, mode="mirror")  # noqa: E731 - used at once
        return jax.vmap(channel, -1, -1)(image.astype(jnp.float32)).astype(image.dtype)

    return jax.vmap(one)(images, radians, factors)
