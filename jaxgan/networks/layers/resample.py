"""Filtered up- and downsampling of images: zeros put between pixels, a low-pass filter, pixels left out.

Without the filter both alias: a halved image keeps frequencies that its pixels can't show, a doubled one repeats its
spectrum. Zhang 2019 (arXiv 1904.11486); Karras et al. 2019 (arXiv 1812.04948), section 3 and appendix C.

The transpose of such a resampling is another one, with `up` and `down` exchanged. It is a primitive, so that its
derivatives are computed in the form that is fast on a platform: on a CPU sums of shifted images, one axis after the
other (a convolution of each channel by itself is a hundred times slower there, and the derivative of a sum of slices,
a sum of padded images, thirty times), and XLA's convolution on others.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxgan.networks.products import sum_dtype

__all__ = ["FIR", "NATIVE", "downsample", "upfirdn", "upsample"]

FIR = (1.0, 3.0, 3.0, 1.0)
"""The filter of StyleGAN2, binomial."""

Pads = tuple[tuple[int, int], tuple[int, int]]  # before and after, of the height and of the width
GEOMETRY = ("taps", "up", "down", "pads")  # of the primitive; the taps of both axes, as a correlation has them


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
    if x.ndim != 4 or not taps or min(up, down) < 1 or sum(taps) == 0 or gain <= 0:
        raise ValueError(
            f"upfirdn takes images [B, H, W, C], taps that don't sum to 0, up and down of at least 1 and a gain above "
            f"0, got {x.shape}, {tuple(taps)}, {up}, {down} and {gain}"
        )
    if min(_out(n, len(taps), up, down, padding) for n in x.shape[1:3]) < 1:
        raise ValueError(f"{len(taps)} taps and a padding of {padding} leave nothing of {x.shape[1:3]} pixels")
    scaled = tuple(float(tap) * gain**0.5 / sum(taps) for tap in reversed(taps))
    out: jax.Array = resampled.bind(x, taps=scaled, up=up, down=down, pads=(padding, padding))
    return out


def upsample(x: jax.Array, taps: Sequence[float] = FIR) -> jax.Array:
    """Doubles the height and width of images `[B, H, W, C]`, filtered, with their brightness kept."""
    return upfirdn(x, taps, up=2, padding=((len(taps) + 1) // 2, (len(taps) - 2) // 2), gain=4.0)


def downsample(x: jax.Array, taps: Sequence[float] = FIR) -> jax.Array:
    """Halves the height and width of images `[B, H, W, C]`, filtered."""
    return upfirdn(x, taps, down=2, padding=((len(taps) - 1) // 2, (len(taps) - 2) // 2))


def _out(size: int, taps: int, up: int, down: int, pads: tuple[int, int]) -> int:
    return -(-(up * size + sum(pads) - taps + 1) // down)


def _convolved(x: jax.Array, *, taps: tuple[float, ...], up: int, down: int, pads: Pads) -> jax.Array:
    """Computes it as XLA's convolution of each channel by itself."""
    kernel = jnp.asarray([[a * b for b in taps] for a in taps], x.dtype)[:, :, None, None]
    channels = x.shape[3]
    return lax.conv_general_dilated(
        x,
        jnp.tile(kernel, (1, 1, 1, channels)),
        (down, down),
        [(before, after + up - 1) for before, after in pads],
        lhs_dilation=(up, up),
        feature_group_count=channels,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _summed(x: jax.Array, *, taps: tuple[float, ...], up: int, down: int, pads: Pads) -> jax.Array:
    """Computes it as sums of shifted images, first down and then across; of 16 bits in float32."""
    y = x.astype(sum_dtype(x.dtype))
    for axis in (1, 2):
        y = _along(y, axis, taps, up, down, pads[axis - 1])
    return y.astype(x.dtype)


def _along(x: jax.Array, axis: int, taps: tuple[float, ...], up: int, down: int, pads: tuple[int, int]) -> jax.Array:
    size = _out(x.shape[axis], len(taps), up, 1, pads)
    if up == 1:
        return _shifted(x, axis, taps, -pads[0], size, down)
    # Of the pixels that a tap meets only each up-th isn't zero: the outputs up·i + phase are sums of few of the taps.
    phases = []
    for phase in range(up):
        first = (pads[0] - phase) % up
        start = (phase + first - pads[0]) // up
        phases.append(_shifted(x, axis, taps[first::up] or (0.0,), start, -(-size // up), 1))
    y = jnp.stack(phases, axis + 1).reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
    return lax.slice_in_dim(y, 0, size, down, axis)


def _shifted(x: jax.Array, axis: int, taps: tuple[float, ...], start: int, size: int, stride: int) -> jax.Array:
    """Returns the correlation from pixel `start` on, zero outside of x, `size` pixels of which each stride-th is
    kept."""
    ends = (-start, start + size + len(taps) - 1 - x.shape[axis], 0)
    x = lax.pad(x, jnp.zeros((), x.dtype), [ends if i == axis else (0, 0, 0) for i in range(x.ndim)])
    parts = [tap * lax.slice_in_dim(x, i, i + size, stride, axis) for i, tap in enumerate(taps)]
    return functools.reduce(operator.add, parts)


def _by_platform(x: jax.Array, **geometry: Any) -> jax.Array:
    summed, convolved = (functools.partial(form, **geometry) for form in (_summed, _convolved))
    out: jax.Array = lax.platform_dependent(x, cpu=summed, default=convolved)
    return out


def _abstract(x: Any, *, taps: tuple[float, ...], up: int, down: int, pads: Pads) -> Any:
    size = (_out(n, len(taps), up, down, each) for n, each in zip(x.shape[1:3], pads, strict=True))
    return x.update(shape=(x.shape[0], *size, x.shape[3]))


def _transposed(y: jax.Array, x: Any, *, taps: tuple[float, ...], up: int, down: int, pads: Pads) -> list[jax.Array]:
    size, most = x.aval.shape, len(taps) - 1
    own = tuple(
        (most - before, up * (n - 1) + 1 - down * has + before)
        for (before, _), n, has in zip(pads, size[1:3], y.shape[1:3], strict=True)
    )
    return [resampled.bind(y, taps=taps[::-1], up=down, down=up, pads=own)]


def _mapped(arrays: Any, axes: Any, **geometry: Any) -> tuple[jax.Array, int]:
    x = jnp.moveaxis(arrays[0], axes[0], 0)
    y = resampled.bind(x.reshape(-1, *x.shape[2:]), **geometry)
    return y.reshape(*x.shape[:2], *y.shape[1:]), 0


resampled = Primitive("upfirdn")
resampled.def_impl(jax.jit(_by_platform, static_argnames=GEOMETRY))
resampled.def_abstract_eval(_abstract)
mlir.register_lowering(resampled, mlir.lower_fun(_by_platform, multiple_results=False))
ad.deflinear2(resampled, _transposed)
batching.primitive_batchers[resampled] = _mapped
NATIVE: dict[Any, Callable[..., jax.Array]] = {resampled: _convolved}
"""The form of the primitive by XLA's own convolution, on any platform."""
