"""Differentiable augmentation (DiffAugment): all that D sees, real and generated, is changed at random, and G learns
through the change. Zhao et al. 2020 (arXiv 2006.10738) has its three changes and their strengths.

Images are float `[B, H, W, C]` in [-1, 1], whose middle, 0, is what is beyond an edge and what cutout leaves. Keys are
`[B]`, one for each example; an example's changes depend on its key alone. All of it is pure and differentiable.

In a plain GAN, `make_d_step([d_loss(loss)], augment=augmentation())` and the same `augment` for G; in an objective,
`augment(images, draw.keys("augment"))`.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import ada
from jaxgan.augment import own_keys, require_groups, window
from jaxgan.state import GANState
from jaxgan.terms.term import Example

__all__ = ["GROUPS", "augment", "augmentation"]

GROUPS = ("colour", "translation", "cutout")
"""The groups of changes, by which `augment` is asked for them."""

_NUMBERS = {name: number for number, name in enumerate(GROUPS, 48)}  # folded into keys; ada has those from 32 on


def augment(
    images: jax.Array, keys: jax.Array, strength: float | jax.Array = 1.0, groups: Sequence[str] = GROUPS
) -> jax.Array:
    """Changes each image by all changes of the groups; strength 1 is the paper's, and 0 returns the images exactly.

    groups: of
        colour: adds a brightness, uniform in ±0.5; multiplies each pixel's differences from the mean of its channels by
            a saturation, uniform from 0 to 2 (with one channel there are none); then those from the image's mean by a
            contrast, uniform from 0.5 to 1.5;
        translation: moves by whole pixels, uniform in ± an eighth of the side, down and across; 0 comes in;
        cutout: fills a rectangle of half the height and half the width (a square, of a square) with 0; its middle is
            uniform over the image, so that a part may lie beyond an edge.
    strength: from 0 to 1, scales the widths of all these ranges, and the rectangle's sides. Pixels are rounded, halves
        up.

    ValueError for other groups, and for a number outside of [0, 1]; an array isn't looked into.
    """
    require_groups(groups, GROUPS)
    if isinstance(strength, float | int) and not 0 <= strength <= 1:
        raise ValueError(f"expected a strength from 0 to 1, got {strength}")
    strength, x = jnp.asarray(strength, jnp.float32), images.astype(jnp.float32)
    for name, change in (("colour", _coloured), ("translation", _translated), ("cutout", _cut)):
        if name in groups:
            x = jax.vmap(functools.partial(change, strength=strength))(x, own_keys(keys, _NUMBERS[name]))
    return x.astype(images.dtype)


def _coloured(image: jax.Array, key: jax.Array, strength: jax.Array) -> jax.Array:
    # Sums of the image and what is added, which is 0 at strength 0; products by a factor of 1 would round the means.
    brightness, saturation, contrast = strength * jax.random.uniform(key, (3,), jnp.float32, -1.0, 1.0)
    x = image + brightness / 2
    x = x + saturation * (x - jnp.mean(x, -1, keepdims=True))
    return x + contrast / 2 * (x - jnp.mean(x, keepdims=True))


def _translated(image: jax.Array, key: jax.Array, strength: jax.Array) -> jax.Array:
    sides = np.array(image.shape[:2])
    most = _rounded(strength * (sides / 8).astype(np.float32))
    moved = jax.random.randint(key, (2,), -most, most + 1, jnp.int32)
    reach = (sides / 8 + 0.5).astype(np.int32)  # at strength 1
    wide = jnp.pad(image, ((reach[0], reach[0]), (reach[1], reach[1]), (0, 0)))
    return window(wide, jnp.asarray(reach) - moved, image.shape)


def _cut(image: jax.Array, key: jax.Array, strength: jax.Array) -> jax.Array:
    sides = np.array(image.shape[:2], np.int32)
    cut = _rounded(strength * (sides / 2).astype(np.float32))
    # Of an even number of pixels the middle is one of the sides + 1 borders between pixels.
    start = jax.random.randint(key, (2,), jnp.zeros_like(cut), sides + 1 - cut % 2, jnp.int32) - cut // 2
    inside = []
    for axis, side in enumerate(image.shape[:2]):
        along = jnp.arange(side, dtype=jnp.int32)
        inside.append((along >= start[axis]) & (along < start[axis] + cut[axis]))
    return jnp.where(inside[0][:, None, None] & inside[1][None, :, None], 0.0, image)


def _rounded(x: jax.Array) -> jax.Array:
    return jnp.floor(x + 0.5).astype(jnp.int32)


def augmentation(
    strength: float | str = 1.0, groups: Sequence[str] = GROUPS, field: str = "image"
) -> Callable[[Example, jax.Array, GANState], Example]:
    """Returns the `augment` of a plain GAN's steps, `(example, keys, state) -> example`.

    strength: as for `augment`; a number, or the name of one in the state's `hyper`, which may follow a schedule or be
        swept. groups: as there. field: the part of an example that is changed.
    ValueError for a number outside of [0, 1]; when it is called, for a name that the state lacks.
    """
    return ada.augmentation(strength, groups, field, change=augment)
