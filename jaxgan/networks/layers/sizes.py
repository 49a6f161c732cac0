"""Sizes of images: pixels and channels exchanged, and images brought to a multiple of a stride and back."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgan.networks.products import sum_dtype

__all__ = ["averaged", "pad_to_multiple", "pixel_shuffle", "pixel_unshuffle", "repeated"]


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """Makes pixels of channels, `[B, H, W, r²·C] -> [B, r·H, r·W, C]` with r = `factor`: output pixel (r·i + a, r·j +
    b) has channel c from the input's channel c·r² + a·r + b at (i, j). Shi et al. 2016 (arXiv 1609.05158), section 3.2,
    in the order of PyTorch's `PixelShuffle`. ValueError where r² doesn't divide the channels."""
    b, h, w, channels = x.shape
    if factor < 1 or channels % factor**2:
        raise ValueError(f"factor² = {factor**2} must divide the channels, got {channels}")
    c = channels // factor**2
    x = x.reshape(b, h, w, c, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(b, h * factor, w * factor, c)


def pixel_unshuffle(x: jax.Array, factor: int) -> jax.Array:
    """Makes channels of pixels, `[B, r·H, r·W, C] -> [B, H, W, r²·C]`: the inverse of `pixel_shuffle`. ValueError where
    r = `factor` doesn't divide height and width."""
    b, height, width, c = x.shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"factor={factor} must divide height and width, got {height}×{width}")
    h, w = height // factor, width // factor
    x = x.reshape(b, h, factor, w, factor, c).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(b, h, w, c * factor**2)


def pad_to_multiple(x: jax.Array, multiple: int, least: int = 1) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """Returns images `[B, H, W, C]`, mirrored below and to the right until `multiple` divides height and width and both
    are at least `least`, and a function that cuts images of the padded size back to `[B, H, W, ...]`. The mirror
    repeats the outermost pixel, and an image that is smaller than what is added is mirrored again and again. ValueError
    for images without pixels, and a multiple below 1."""
    height, width = x.shape[1:3]
    if multiple < 1 or not height or not width:
        raise ValueError(f"expected a multiple of at least 1 and images with pixels, got {multiple} and {x.shape}")
    smallest = least + -least % multiple
    more = [max(smallest, side + -side % multiple) - side for side in (height, width)]
    padded = jnp.pad(x, ((0, 0), (0, more[0]), (0, more[1]), (0, 0)), mode="symmetric") if any(more) else x
    return padded, lambda y: y[:, :height, :width]


def averaged(x: jax.Array, factor: int) -> jax.Array:
    """Averages squares of `factor` pixels a side, `[B, factor·H, factor·W, C] -> [B, H, W, C]`."""
    b, height, width, c = x.shape
    return jnp.mean(x.reshape(b, height // factor, factor, width // factor, factor, c), axis=(2, 4))


def repeated(x: jax.Array, factor: int) -> jax.Array:
    """Repeats every pixel factor² times, `[B, H, W, C] -> [B, factor·H, factor·W, C]`."""
    b, h, w, c = x.shape
    wide = x.astype(sum_dtype(x.dtype))[:, :, None, :, None]  # in which the gradient's pixels are added up
    return jnp.broadcast_to(wide, (b, h, factor, w, factor, c)).reshape(b, factor * h, factor * w, c).astype(x.dtype)
