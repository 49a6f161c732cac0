"""What images to learn from are made of others: smaller, blurred, noisy, compressed, torn, pale, grey, outlines.

Pure functions of images, float `[B, H, W, C]` in [-1, 1], for a compiled step or for whole pictures. Those that draw
take keys `[B]` too, one for each example, whose draw depends on its key alone, not on the rest of the batch; every such
function folds a number of its own into the keys, also another than those of `jaxgan.augment`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.augment import noise

__all__ = ["edges", "grey", "hole", "noise", "resize"]

(_HOLE,) = range(16, 17)  # folded into the keys; jaxgan.augment has those below 16
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601


def _own(keys: jax.Array, number: int) -> jax.Array:
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def resize(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes images to `size` (height, width) as MATLAB's `imresize` does by default, which super-resolution is
    measured against: `[B, H, W, C]` to `[B, *size, C]`.

    Bicubic: Keys 1981 (IEEE TASSP 29), equation 15, a = -0.5. Where an image shrinks the kernel is as much wider
    (antialiasing); beyond the border the image continues mirrored, the outermost pixel repeated; each axis has its own
    scale, new/old. Neither rounded nor clipped: beside an edge values go beyond those of the image. Differentiable: two
    matrix products. ValueError for a side below 1.
    """
    if min(size) < 1:
        raise ValueError(f"expected a size of at least 1×1 pixels, got {size[0]}×{size[1]}")
    height, width = images.shape[1:3]
    return _on_axes(images, _bicubic(height, size[0]), _bicubic(width, size[1]))


@functools.cache
def _bicubic(old: int, new: int) -> np.ndarray:
    """Returns the weights `[new, old]`, float64, by which an axis of `old` pixels becomes one of `new`."""
    scale = new / old
    shrunk = min(scale, 1.0)  # the kernel is 1 / shrunk times as wide
    centres = (np.arange(new) + 0.5) / scale - 0.5  # of new pixels, in old ones
    taps = math.ceil(4 / shrunk) + 2  # the kernel is 4 wide, and a window that may be too wide has zeros at its ends
    places = np.floor(centres - 2 / shrunk).astype(int)[:, None] + np.arange(taps)
    weights = _cubic(shrunk * (centres[:, None] - places))
    return _mirrored(places, weights / weights.sum(1, keepdims=True), old)


def _cubic(x: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _mirrored(places: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Returns the matrix `[N, size]` that gives each of N sums of `weights` at `places`, `[N, taps]`, where places
    beyond an axis of `size` pixels are mirrored into it, as often as needed."""
    inside = places % (2 * size)
    inside = np.where(inside < size, inside, 2 * size - 1 - inside)
    matrix = np.zeros((len(places), size))
    np.add.at(matrix, (np.arange(len(places))[:, None], inside), weights)
    return matrix


def _on_axes(images: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """Multiplies the vertical axis by `rows` `[H', H]` and the horizontal one by `columns` `[W', W]`, in float32."""
    x = images.astype(jnp.float32)
    vertically = functools.partial(jnp.einsum, "ph,bhwc->bpwc", jnp.asarray(rows, jnp.float32), precision="highest")
    across = functools.partial(jnp.einsum, "qw,bhwc->bhqc", jnp.asarray(columns, jnp.float32), precision="highest")
    # What makes less of it comes first.
    if len(rows) * columns.shape[1] <= len(columns) * rows.shape[1]:
        return across(vertically(x)).astype(images.dtype)
    return vertically(across(x)).astype(images.dtype)


def hole(
    images: jax.Array, keys: jax.Array, *, smallest: float = 0.25, largest: float = 0.5, centred: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Tears a rectangle out of each image and fills it with 0, mid-grey. Returns the images and `mask`, float32
    `[B, H, W, 1]`: 1 in the hole, 0 elsewhere.

    Its height and width are drawn on their own, uniform over all whole numbers of pixels from `smallest` to `largest`
    times the image's (rounded, at least 1), its place uniform over all where it fits; with `centred` it is the middle.
    Pathak et al. 2016 (arXiv 1604.07379), section 4.2, has the central square of half the side: `smallest=0.5,
    largest=0.5, centred=True`. ValueError unless 0 < smallest ≤ largest ≤ 1.
    """
    if not 0 < smallest <= largest <= 1:
        raise ValueError(f"expected a hole with 0 < smallest ≤ largest ≤ 1, got {smallest} and {largest}")

    def span(key: jax.Array, length: int) -> jax.Array:
        """Which of `length` pixels lie in the hole, bool `[length]`."""
        least, most = (max(1, round(share * length)) for share in (smallest, largest))
        size_key, place_key = jax.random.split(key)
        size = jax.random.randint(size_key, (), least, most + 1, jnp.int32)
        free = length - size
        start = free // 2 if centred else jax.random.randint(place_key, (), 0, free + 1, jnp.int32)
        at = jnp.arange(length, dtype=jnp.int32)
        return (at >= start) & (at < start + size)

    def one(key: jax.Array) -> jax.Array:
        down, across = jax.random.split(key)
        return span(down, images.shape[1])[:, None] & span(across, images.shape[2])[None, :]

    torn = jax.vmap(one)(_own(keys, _HOLE))[..., None]
    return jnp.where(torn, jnp.zeros((), images.dtype), images), torn.astype(jnp.float32)


def grey(images: jax.Array, channels: int = 1) -> jax.Array:
    """Returns the luma of images, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), in `channels` equal channels, 1 or 3.

    Images of one channel are grey already. ValueError for others than 1 and 3.
    """
    found = images.shape[-1]
    if found not in (1, 3) or channels not in (1, 3):
        raise ValueError(f"grey makes images of 1 or 3 channels of such of 1 or 3, got {channels} of {found}")
    if found == 3:
        luma = sum(weight * images[..., c : c + 1].astype(jnp.float32) for c, weight in enumerate(LUMA))
        images = jnp.asarray(luma).astype(images.dtype)
    return jnp.repeat(images, channels, -1)


def edges(images: jax.Array, *, low: float = 0.1, high: float = 0.3) -> jax.Array:
    """Draws the outlines of images, black (-1) on white (1), as a pencil does: `[B, H, W, 1]`.

    How dark a line is follows from the length of Sobel's gradient of the luma, measured as the contrast of a straight
    step across or down: 1 from black to white. Up to `low` nothing is drawn, from `high` on black, linearly between;
    where both are equal, lines are black or not there. Beyond the border the outermost pixel is repeated. ValueError
    unless 0 ≤ low ≤ high, and for other than 1 or 3 channels.
    """
    if not 0 <= low <= high:
        raise ValueError(f"expected edges with 0 ≤ low ≤ high, got {low} and {high}")
    x = jnp.pad(grey(images).astype(jnp.float32) / 2, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    down, across = x[:, 2:] - x[:, :-2], x[:, :, 2:] - x[:, :, :-2]
    down = (down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]) / 4
    across = (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 4
    contrast = jnp.sqrt(down**2 + across**2)
    dark = jnp.clip((contrast - low) / (high - low), 0.0, 1.0) if low < high else (contrast > low).astype(jnp.float32)
    return (1 - 2 * dark).astype(images.dtype)
