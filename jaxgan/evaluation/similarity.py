"""Similarity of pairs of images, pixel by pixel: PSNR, SSIM and MS-SSIM, for models that turn images into images.

`psnr_y` and `ssim_y` are what super-resolution and restoration are compared by: of the luma, borders cut.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

__all__ = ["image_pairs", "luma", "ms_ssim", "psnr", "psnr_y", "ssim", "ssim_y"]

# Wang et al. 2004, section III-C: an 11×11 Gaussian window of standard deviation 1.5; K1 and K2 keep quotients finite.
WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
# Wang et al. 2003, section 3.2: the exponents of five scales, from the finest to the coarsest.
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST = (WINDOW - 1) * 2 ** (len(EXPONENTS) - 1) + 1  # of MS-SSIM: the window still fits at the coarsest scale
Images = tuple[jax.Array, ...]
PAIRS = 16  # in memory at a time as float32, with what is computed of them


def psnr(a: ArrayLike, b: ArrayLike, *, data_range: float = 255.0) -> jax.Array:
    """Returns the peak signal-to-noise ratio of pairs of images `[B, H, W, C]`, float32 `[B]` in decibels.

    10·log₁₀(data_range² / mean squared difference), the mean over all pixels and channels of a pair; infinity for equal
    images. It is scikit-image's `peak_signal_noise_ratio` of each pair; average the decibels over pairs.

    Images are uint8 or floats, and `data_range` is the length of the interval of their values: 255 for uint8, 1 for [0,
    1], 2 for [-1, 1]. Pass it for floats: those in [0, 1] with a range of 255 give a number too, far too high.
    ValueError for shapes that differ or aren't images, other dtypes, NaN and infinity, and values further apart than
    `data_range`. Values can't be checked under `jit`, where a NaN gives a NaN.
    """
    a, b = image_pairs(a, b, data_range)
    return _each(_psnr, a, b, float(data_range))


def ssim(a: ArrayLike, b: ArrayLike, *, data_range: float = 255.0) -> jax.Array:
    """Returns the structural similarity of pairs of images `[B, H, W, C]`, float32 `[B]` in [-1, 1]; 1 for equal
    images.

    Wang et al. 2004, equation 13, in the authors' variant: an 11×11 Gaussian window of standard deviation 1.5 that
    stays inside the image, weighted moments without a sample correction, K1 = 0.01, K2 = 0.03, the mean over positions
    and channels (the paper has grey images). It is scikit-image's `structural_similarity` with `gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False` (not its defaults) and pytorch-msssim's `ssim`, which agree.

    `data_range` and errors as in `psnr`; ValueError too for images smaller than 11×11.
    """
    a, b = image_pairs(a, b, data_range, smallest=WINDOW)
    return _each(_ssim, a, b, float(data_range))


def ms_ssim(a: ArrayLike, b: ArrayLike, *, data_range: float = 255.0) -> jax.Array:
    """Returns the multi-scale structural similarity of pairs of images `[B, H, W, C]`, float32 `[B]` in [0, 1].

    Wang et al. 2003 (Asilomar), equation 7: SSIM's contrast-structure term at four scales and the whole of it at the
    fifth, each to a power of its own, multiplied. Between scales 2×2 pixels are averaged. As pytorch-msssim has it: an
    odd side gets a row of zeros in front, negative terms count as 0, and the product is taken channel by channel.

    `data_range` and errors as in `psnr`; ValueError too for images smaller than 161×161.
    """
    a, b = image_pairs(a, b, data_range, smallest=SMALLEST)
    return _each(_ms_ssim, a, b, float(data_range))


def psnr_y(a: ArrayLike, b: ArrayLike, *, border: int = 0) -> jax.Array:
    """Returns the PSNR of the `luma` of pairs of uint8 images `[B, H, W, C]`, C 1 or 3, whose outermost `border` pixels
    are left out: float32 `[B]` in decibels.

    The protocol of super-resolution, where the border is as wide as the scale, and of restoration, without one: Timofte
    et al. 2014 (ACCV), section 4, and their code. Errors as in `psnr` and `luma`; ValueError too where the border
    leaves nothing."""
    return psnr(*_inner_lumas(a, b, border, 1))


def ssim_y(a: ArrayLike, b: ArrayLike, *, border: int = 0) -> jax.Array:
    """Returns the SSIM of the `luma` of pairs of uint8 images, borders cut as in `psnr_y`: float32 `[B]` in [-1, 1].

    Errors as in `psnr_y`; ValueError too where less than 11×11 pixels are left."""
    return ssim(*_inner_lumas(a, b, border, WINDOW))


def luma(images: ArrayLike) -> jax.Array:
    """Returns the luma of images, uint8 `[B, H, W, 3]` to uint8 `[B, H, W, 1]` from 16 to 235: Y of ITU-R BT.601,
    rounded, as MATLAB's `rgb2ycbcr` has it. Images of one channel are grey levels already, and stay as they are.
    ValueError for others."""
    images = jnp.asarray(images)
    if images.dtype != jnp.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"luma is of uint8 images [B, H, W, 1 or 3], got {images.dtype} {list(images.shape)}")
    if images.shape[-1] == 1:
        return images
    # 16 + (65.481 R + 128.553 G + 24.966 B) / 255, in whole numbers: no half is rounded by chance.
    red, green, blue = (images[..., c : c + 1].astype(jnp.int32) for c in range(3))
    return (16 + (65481 * red + 128553 * green + 24966 * blue + 127500) // 255000).astype(jnp.uint8)


def _inner_lumas(a: ArrayLike, b: ArrayLike, border: int, least: int) -> tuple[jax.Array, jax.Array]:
    """Returns both lumas without their outermost `border` pixels."""
    a, b = image_pairs(a, b)
    height, width = (side - 2 * border for side in a.shape[1:3])
    if border < 0 or min(height, width) < least:
        raise ValueError(
            f"without a border of {border} pixels, images of {a.shape[1]}×{a.shape[2]} pixels are smaller than "
            f"{least}×{least}"
        )
    inside = slice(border, border + height), slice(border, border + width)
    return luma(a)[:, *inside], luma(b)[:, *inside]


def image_pairs(
    a: ArrayLike, b: ArrayLike, data_range: float | None = None, *, smallest: int = 1
) -> tuple[jax.Array, jax.Array]:
    """Returns both sets as arrays. ValueError that gives the reason where they aren't pairs of images `[B,
    H, W, C]`."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    if a.shape != b.shape or a.ndim != 4 or a.size == 0:
        raise ValueError(f"expected two sets of images [B, H, W, C] of one shape, got {a.shape} and {b.shape}")
    if min(a.shape[1:3]) < smallest:
        raise ValueError(f"expected images of at least {smallest}×{smallest} pixels, got {a.shape[1]}×{a.shape[2]}")
    if data_range is not None and not 0 < data_range < math.inf:
        raise ValueError(f"expected a positive data_range, got {data_range}")
    for x in (a, b):
        if x.dtype != jnp.uint8 and not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"expected uint8 images or floats, got {x.dtype}")
    if isinstance(a, jax.core.Tracer) or isinstance(b, jax.core.Tracer):
        return a, b
    for which, x in (("first", a), ("second", b)):
        finite = np.asarray(jnp.isfinite(x).all(axis=(1, 2, 3)))
        if not finite.all():
            raise ValueError(f"image {np.argmin(finite)} of the {which} set holds NaN or infinity")
    if data_range is not None:
        low, high = (float(end(jnp.asarray([end(a), end(b)], jnp.float32))) for end in (jnp.min, jnp.max))
        if high - low > data_range * 1.001:
            raise ValueError(
                f"values from {low:g} to {high:g} are further apart than data_range={data_range:g} "
                "(255 for uint8, 1 for [0, 1], 2 for [-1, 1])"
            )
    return a, b


@functools.partial(jax.jit, static_argnames="compare")
def _each(compare: Callable[..., jax.Array], a: jax.Array, b: jax.Array, data_range: float) -> jax.Array:
    """Returns `compare` of each pair of float32 images `[H, W, C]`, `[B]`."""

    def one(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        return compare(*(image.astype(jnp.float32) for image in pair), data_range)

    return lax.map(one, (a, b), batch_size=PAIRS)


def _psnr(a: jax.Array, b: jax.Array, data_range: float) -> jax.Array:
    squares = ((a - b) / data_range) ** 2
    # Axis by axis, as below: a float32 sum over all pixels at once loses digits where the compiler doesn't split it.
    return -10 * jnp.log10(jnp.mean(squares, axis=1).mean(axis=0).mean())


def _ssim(a: jax.Array, b: jax.Array, data_range: float) -> jax.Array:
    luminance, structure = _terms(a, b, data_range)
    return jnp.mean(luminance * structure, axis=1).mean(axis=0).mean()


def _ms_ssim(a: jax.Array, b: jax.Array, data_range: float) -> jax.Array:
    product = jnp.ones(a.shape[2], jnp.float32)
    for scale, exponent in enumerate(EXPONENTS, start=1):
        luminance, structure = _terms(a, b, data_range)
        if scale == len(EXPONENTS):
            structure = luminance * structure
        product = product * jnp.maximum(structure.mean(axis=1).mean(axis=0), 0) ** exponent
        a, b = _halved(a), _halved(b)
    return product.mean()


def _halved(x: jax.Array) -> jax.Array:
    """Returns the averages of 2×2 pixels; an odd side begins with half a window of zeros, which count."""
    x = jnp.pad(x, ((x.shape[0] % 2, 0), (x.shape[1] % 2, 0), (0, 0)))
    return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, x.shape[2]).mean(axis=(1, 3))


def _terms(a: jax.Array, b: jax.Array, data_range: float) -> tuple[jax.Array, jax.Array]:
    """Returns SSIM's luminance term and its contrast-structure term wherever the window fits, `[H - 10, W - 10, C]`
    each.

    A variance as E[x²] - E[x]² would lose four digits in float32 where an image is bright and flat. Here the window,
    which is a product of two, passes along one axis and then the other, and each pass adds up squares around its own
    mean, after the law of total variance: Var[x] = E[Var[x | row]] + Var[E[x | row]]. Nothing cancels.
    """
    taps = np.exp(-(np.arange(-(WINDOW // 2), WINDOW // 2 + 1) ** 2) / (2 * SIGMA**2))
    weights = jnp.asarray(taps / taps.sum(), jnp.float32)
    means: Images = (a, b)
    moments: Images = (jnp.zeros_like(a),) * 3  # both variances, the covariance
    for axis in (0, 1):
        means, moments = _blurred(means, moments, weights, axis)
    (mean_a, mean_b), (var_a, var_b, covariance) = means, moments
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * covariance + c2) / (var_a + var_b + c2)


def _blurred(means: Images, moments: Images, weights: jax.Array, axis: int) -> tuple[Images, Images]:
    """Makes one pass of `_terms`: means and second central moments under the window, along one axis."""
    size = means[0].shape[axis] - len(weights) + 1

    def at(x: jax.Array, k: ArrayLike) -> jax.Array:
        return lax.dynamic_slice_in_dim(x, k, size, axis)

    def first(k: jax.Array, sums: Images) -> Images:
        return tuple(total + weights[k] * at(x, k) for total, x in zip(sums, means, strict=True))

    def second(k: jax.Array, sums: Images) -> Images:
        a, b = (at(x, k) - centre for x, centre in zip(means, centres, strict=True))
        terms = (at(x, k) + between for x, between in zip(moments, (a * a, b * b, a * b), strict=True))
        return tuple(total + weights[k] * term for total, term in zip(sums, terms, strict=True))

    # Loops, not eleven slices written out: XLA would fuse those and compute the first pass eleven times over.
    nothing = jnp.zeros_like(at(means[0], 0))
    centres = lax.fori_loop(0, len(weights), first, (nothing,) * 2)
    return centres, lax.fori_loop(0, len(weights), second, (nothing,) * 3)
