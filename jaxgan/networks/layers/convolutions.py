"""Convolutions in one, two and three dimensions, as layers.

Images are channels-last, `[B, W, C]`, `[B, H, W, C]` or `[B, D, H, W, C]`; the input's axes decide. Convolutions in two
dimensions as in GANs of images, with one stride and one padding for both axes, no groups and no dilation, use
`jaxgan.networks.convolution`, which is fast on a CPU too; all others are XLA's.
"""

import operator
from collections.abc import Sequence
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer
from jax import lax

from jaxgan.networks import convolution
from jaxgan.networks.layers.weights import Weights, biased, learned

__all__ = ["Conv", "ConvTranspose", "PaddingMode"]

Size = int | Sequence[int]  # one for all axes, or one for each
Sizes = tuple[int, ...]

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
"""What is beyond an image's border, by PyTorch's names."""

LAYOUTS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}
PADS = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # NumPy's names for PyTorch's


class _Convolution(nn.Module):
    """The common part of both layers. Parameters: `kernel` `[*kernel, C / groups, features]` and `bias`
    `[features]`."""

    features: int
    kernel: Size
    stride: Size = 1
    padding: Size = 0
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32
    groups: int = 1
    dilation: Size = 1
    weights: Weights = learned

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if x.ndim - 2 not in LAYOUTS:
            raise ValueError(
                f"a convolution takes images [B, W, C], [B, H, W, C] or [B, D, H, W, C], got the shape {x.shape}"
            )
        channels = x.shape[-1]
        if self.groups < 1 or channels % self.groups or self.features % self.groups:
            raise ValueError(
                f"groups={self.groups} must divide the {channels} channels that come in and the {self.features} that "
                "go out"
            )
        shape = (*self.sizes("kernel", x, 1), channels // self.groups, self.features)
        kernel = self.weights(self, "kernel", self.kernel_init, shape).astype(self.dtype)
        y = self.convolve(x.astype(self.dtype), kernel)
        if self.use_bias:
            y = biased(y, self.weights(self, "bias", nn.initializers.zeros, (self.features,)))
        return y

    @nn.nowrap
    def sizes(self, name: str, x: jax.Array, least: int) -> Sizes:
        """Returns the field of that name as one number for each of the image's axes."""
        value, rank = getattr(self, name), x.ndim - 2
        sizes = (value,) * rank if not isinstance(value, Sequence) else tuple(value)
        if len(sizes) != rank or any(operator.index(n) < least for n in sizes):
            raise ValueError(
                f"{name} must be an integer of at least {least}, or one for each of the {rank} axes of {x.shape}, got "
                f"{value}"
            )
        return sizes

    @nn.nowrap
    def convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """Computes the layer without its bias."""
        raise NotImplementedError

    @nn.nowrap
    def plain(self, *sizes: Sizes) -> bool:
        """Returns whether `jaxgan.networks.convolution` can compute it: each size must be the same number for both
        axes."""
        return all(len(each) == 2 and len(set(each)) == 1 for each in sizes)


class Conv(_Convolution):
    """A cross-correlation, every deep-learning library's "convolution": `[B, ..., C] -> [B, ..., features]`, where an
    axis of n pixels becomes ⌊(n + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1. It is PyTorch's `Conv1d` to
    `Conv3d`.

    kernel, stride, padding, dilation: one integer, or one for each axis.
    groups: cuts channels and features into so many parts that don't see each other; `kernel` has C / groups inputs.
    padding_mode: the values beyond the edge: zeros, the image mirrored at its last pixel (reflect), that pixel
        (replicate), or the image's other side (circular).
    weights: see `jaxgan.networks.layers.weights`.
    ValueError where these don't fit one another or the image.
    """

    padding_mode: PaddingMode = "zeros"

    @nn.nowrap
    def convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """Computes the layer without its bias."""
        stride, dilation = self.sizes("stride", x, 1), self.sizes("dilation", x, 1)
        padding = self.sizes("padding", x, 0)
        if self.padding_mode != "zeros":
            x, padding = self._padded(x, padding), (0,) * len(padding)
        if self.plain(stride, padding, dilation) and dilation[0] == 1:
            return convolution.conv(x, kernel, stride=stride[0], padding=padding[0], groups=self.groups)
        taps = kernel.shape[:-2]
        axes = zip(x.shape[1:-1], padding, dilation, taps, strict=True)
        _leaves_something([n + 2 * p - d * (k - 1) for n, p, d, k in axes], x, kernel)
        return lax.conv_general_dilated(
            x,
            kernel,
            stride,
            [(p, p) for p in padding],
            rhs_dilation=dilation,
            feature_group_count=self.groups,
            dimension_numbers=LAYOUTS[x.ndim - 2],
        )

    @nn.nowrap
    def _padded(self, x: jax.Array, padding: Sizes) -> jax.Array:
        if self.padding_mode not in PADS:
            modes = ", ".join(get_args(PaddingMode))
            raise ValueError(f"padding_mode must be one of {modes}, got {self.padding_mode!r}")
        room = {"reflect": -1, "circular": 0}.get(self.padding_mode)
        if room is not None and any(p > n + room for p, n in zip(padding, x.shape[1:-1], strict=True)):
            most = tuple(n + room for n in x.shape[1:-1])
            raise ValueError(
                f"padding_mode={self.padding_mode!r} has {most} pixels to pad {x.shape[1:-1]} with, got a padding of "
                f"{padding}"
            )
        return jnp.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)], mode=PADS[self.padding_mode])

    @nn.nowrap
    def matrix(self, kernel: jax.Array) -> jax.Array:
        """Returns the kernel as the matrix of spectral normalisation: `[features, everything else]`."""
        return kernel.reshape(-1, self.features).T


class ConvTranspose(_Convolution):
    """The transpose of a convolution: `[B, ..., C] -> [B, ..., features]`, where an axis of n pixels becomes (n -
    1)·stride - 2·padding + dilation·(kernel - 1) + output_padding + 1, so that output[stride·i + dilation·a - padding]
    += input[i] · kernel[a]. It is PyTorch's `ConvTranspose1d` to `ConvTranspose3d`.

    kernel, stride, padding, dilation, output_padding: one integer, or one for each axis.
    groups: as in `Conv`.
    output_padding: this many more pixels at the end, fewer than the stride or the dilation: the convolution would cut
        them off, and doubling an image with an odd kernel needs one.
    ValueError where these don't fit one another or the image.
    """

    output_padding: Size = 0

    @nn.nowrap
    def convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """Computes the layer without its bias."""
        stride, dilation = self.sizes("stride", x, 1), self.sizes("dilation", x, 1)
        padding, extra = self.sizes("padding", x, 0), self.sizes("output_padding", x, 0)
        if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
            raise ValueError(
                f"output_padding must be below the stride {stride} or the dilation {dilation}, got {extra}"
            )
        if self.groups == 1 and self.plain(stride, padding, dilation, extra) and dilation[0] == 1:
            return convolution.conv_transpose(x, kernel, stride=stride[0], padding=padding[0], output_padding=extra[0])
        reach = [d * (k - 1) for d, k in zip(dilation, kernel.shape[:-2], strict=True)]
        axes = zip(x.shape[1:-1], stride, padding, reach, extra, strict=True)
        _leaves_something([(n - 1) * s - 2 * p + r + e + 1 for n, s, p, r, e in axes], x, kernel)
        return lax.conv_general_dilated(
            x,
            jnp.flip(kernel, range(len(reach))),
            (1,) * len(reach),
            [(r - p, r - p + e) for r, p, e in zip(reach, padding, extra, strict=True)],
            lhs_dilation=stride,
            rhs_dilation=dilation,
            feature_group_count=self.groups,
            dimension_numbers=LAYOUTS[x.ndim - 2],
        )

    @nn.nowrap
    def matrix(self, kernel: jax.Array) -> jax.Array:
        """Returns the kernel as the matrix of spectral normalisation, PyTorch's: `[features / groups, everything
        else]`."""
        return kernel.reshape(-1, self.features // self.groups).T


def _leaves_something(size: Sequence[int], x: jax.Array, kernel: jax.Array) -> None:
    if any(isinstance(n, int) and n < 1 for n in size):  # of an exported program's symbolic sizes nothing is known
        raise ValueError(f"an image of {x.shape[1:-1]} and a kernel of {kernel.shape[:-2]} leave nothing")
