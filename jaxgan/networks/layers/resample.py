"""Filtered up- and downsampling of images: zeros put between pixels, a low-pass filter, pixels left out.

Without the filter both alias: a halved image keeps frequencies that its pixels can't show, a doubled one repeats its
spectrum. Zhang 2019 (arXiv 1904.11486); Karras et al. 2019 (arXiv 1812.04948), section 3 and appendix C.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["FIR", "downsample", "upfirdn", "upsample"]

FIR = (1.0, 3.0, 3.0, 1.0)  # the filter of StyleGAN2, binomial


def upfirdn(
    x: jax.Array,
    taps: Sequence[float] = FIR,
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> jax.Array:
    """Resamples images along both axes, `[B, H, W, C] -> [B, H', W', C]` with H' = ⌈(up·H + before + after - k + 1) /
    down⌉ for k taps.

    It puts up - 1 zeros behind every pixel, pads with zeros (`padding` before and after; negative numbers crop),
    convolves with the filter, whose taps are scaled to sum to `gain` over both axes, and keeps every down-th pixel.
    ValueError where nothing is left.
    """
    if x.ndim != 4 or not taps or min(up, down) < 1 or sum(taps) == 0:
        raise ValueError(
            f"upfirdn takes images [B, H, W, C], taps that don't sum to 0, and up and down of at least 1, got {x.shape}"
            f", {tuple(taps)}, {up} and {down}"
        )
    sizes = [up * n + sum(padding) - len(taps) + 1 for n in x.shape[1:3]]
    if min(sizes) < 1:
        raise ValueError(f"{len(taps)} taps and a padding of {padding} leave nothing of {x.shape[1:3]} pixels")
    before, after = padding
    edges = (before, after + up - 1, up - 1)
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), edges, edges, (0, 0, 0)])
    scale = gain**0.5 / sum(taps)
    for axis, size in zip((1, 2), sizes, strict=True):
        parts = [
            jnp.asarray(scale * tap, x.dtype) * lax.slice_in_dim(x, i, i + size, down, axis)
            for i, tap in enumerate(reversed(taps))
        ]
        x = sum(parts[1:], start=parts[0])
    return x


def upsample(x: jax.Array, taps: Sequence[float] = FIR) -> jax.Array:
    """Doubles the height and width of images `[B, H, W, C]`, filtered, with their brightness kept."""
    return upfirdn(x, taps, up=2, padding=((len(taps) + 1) // 2, (len(taps) - 2) // 2), gain=4.0)


def downsample(x: jax.Array, taps: Sequence[float] = FIR) -> jax.Array:
    """Halves the height and width of images `[B, H, W, C]`, filtered."""
    return upfirdn(x, taps, down=2, padding=((len(taps) - 1) // 2, (len(taps) - 2) // 2))
