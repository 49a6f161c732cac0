"""Images resampled along affine maps, and filters of their frequencies: pure and differentiable, float32
`[B, H, W, C]`. What lies beyond an edge is mirrored about the outermost pixels, without repeating them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.degrade import on_axes

__all__ = ["bands", "copied", "warped"]

# The biorthogonal low-pass filters of Cohen, Daubechies & Feauveau 1992, 9/7 (JPEG 2000's, ITU-T T.800, annex F), from
# their middle outwards: for shrinking, and for enlarging.
_SHRINK = (0.602949018236360, 0.266864118442875, -0.078223266528990, -0.016864118442875, 0.026748757410810)
_ENLARGE = (1.115087052457000, 0.591271763114250, -0.057543526228500, -0.091271763114250)


def copied(images: jax.Array, inverse: jax.Array) -> jax.Array:
    """Returns images whose pixels are copied from where `inverse` `[B, 3, 3]` says, a whole pixel."""
    height, width = images.shape[1:3]
    places = _sources(inverse, np.arange(height), np.arange(width), (height, width))
    y, x = jnp.round(places).astype(jnp.int32)
    return jax.vmap(lambda image, y, x: image[y, x])(images, y, x)


def warped(images: jax.Array, inverse: jax.Array) -> jax.Array:
    """Returns images resampled where `inverse` `[B, 3, 3]` says: enlarged twice by a low-pass filter, looked up at four
    places a pixel by linear interpolation, and shrunk twice by the filter's dual, so that little aliases. The identity,
    whole pixels and quarter turns give the images' own values, up to rounding.

    Karras et al. 2020 (arXiv 2006.06676), appendix B, with symmetric filters, 9/7, where it has the orthogonal wavelet
    sym6, which is not: what is mirrored at an edge is then filtered as what it mirrors, and flips and quarter turns
    change nothing. Under sym6 they change CIFAR-10's test images by 0.025 (root mean square, of a contrast of 0.43), as
    much as the two filters differ under random maps.
    """
    height, width, channels = images.shape[1:]
    large = on_axes(images, _enlarging(height), _enlarging(width))
    outside = len(_SHRINK) - 1
    fine = [np.arange(-outside, 2 * side - 1 + outside) / 2 for side in (height, width)]
    places = 2 * jnp.moveaxis(_sources(inverse, fine[0], fine[1], (height, width)), 0, -1)
    last = jnp.array([2 * height - 3, 2 * width - 3], jnp.float32)
    corners = jnp.minimum(jnp.floor(places), last.reshape(1, 1, 1, 2))
    share = places - corners

    def window(image: jax.Array, at: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (at[0], at[1], jnp.zeros_like(at[0])), (2, 2, channels))

    # Windows of 2×2: on a CPU the gradient, which adds them up, takes half as long as that of four look-ups.
    found = jax.vmap(jax.vmap(jax.vmap(window, (None, 0)), (None, 0)))(large, corners.astype(jnp.int32))
    down, right = share[..., 0, None, None], share[..., 1, None]
    rows = found[..., 0, :, :] * (1 - down) + found[..., 1, :, :] * down
    return on_axes(rows[..., 0, :] * (1 - right) + rows[..., 1, :] * right, _shrinking(height), _shrinking(width))


def _sources(inverse: jax.Array, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> jax.Array:
    """Returns the row and the column, `[2, B, len(rows), len(columns)]`, where pixels come from, mirrored into the
    image. Whole pixels stay whole."""
    middle, centre = ((side - 1) / 2 for side in shape)
    y = jnp.asarray(rows - middle, jnp.float32).reshape(1, 1, -1, 1)
    x = jnp.asarray(columns - centre, jnp.float32).reshape(1, 1, 1, -1)
    of_x, of_y, offset = jnp.transpose(inverse, (2, 1, 0))[..., None, None]
    column, row, _ = of_x * x + of_y * y + offset
    return jnp.stack([_inside(row + middle, shape[0]), _inside(column + centre, shape[1])])


def _symmetric(half: tuple[float, ...]) -> np.ndarray:
    return np.array([*half[:0:-1], *half])


@functools.cache
def _enlarging(side: int) -> np.ndarray:
    """Returns the matrix `[2·side - 1, side]`, float64, that enlarges an axis: its pixels, and places between."""
    taps, reach = _symmetric(_ENLARGE), len(_ENLARGE) - 1
    matrix = np.zeros((2 * side - 1, side))
    for fine, row in enumerate(matrix):
        for place, tap in enumerate(taps, fine - reach):
            if place % 2 == 0:
                row[_inside(place // 2, side)] += tap
    return matrix


@functools.cache
def _shrinking(side: int) -> np.ndarray:
    """Returns the matrix `[side, 2·side - 1 + 8]`, float64, that shrinks an axis, which goes on beyond both ends for
    half a filter."""
    taps = _symmetric(_SHRINK)
    matrix = np.zeros((side, 2 * side - 2 + len(taps)))
    for pixel, row in enumerate(matrix):
        row[2 * pixel : 2 * pixel + len(taps)] = taps
    return matrix


def _inside(places: Any, side: int) -> Any:
    """Mirrors places beyond an axis of `side` pixels into it, as often as needed, about its outermost pixels."""
    return side - 1 - abs(side - 1 - places % (2 * side - 2))


@functools.cache
def bands(side: int) -> np.ndarray:
    """Returns matrices `[4, side, side]`, float64, that keep a band of frequencies of an axis, mirrored at its ends:
    up to π/8, to π/4, to π/2 and to π. Their sum is the identity.

    Low and high pass are the autocorrelations of the orthogonal filters of sym2, the paper's wavelet here, halved, at
    whole and wider steps.
    """
    low = np.array([-1, 0, 9, 16, 9, 0, -1]) / 32
    kept: list[np.ndarray] = []
    rest = np.ones(1)  # what is left for lower bands
    for level in (1, 2, 4):
        wide = np.zeros(6 * level + 1)
        wide[::level] = low
        high = -wide
        high[3 * level] += 1
        kept.insert(0, np.convolve(rest, high))
        rest = np.convolve(rest, wide)
    matrices = np.zeros((4, side, side))
    for matrix, taps in zip(matrices, [rest, *kept], strict=True):
        for place, tap in enumerate(taps, -(len(taps) // 2)):
            np.add.at(matrix, (np.arange(side), _inside(np.arange(side) + place, side)), tap)
    return matrices
