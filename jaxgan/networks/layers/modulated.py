"""Modulated convolution, the layer of StyleGAN2: Karras et al. 2020 (arXiv 1912.04958), section 2.2.

Each example has a style s, a factor for each input channel, by which the kernel is scaled (equation 1); demodulation
scales the result so that each of the kernel's features has length 1 again (equation 3).
"""

from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer
from jax import lax

from jaxgan.networks import convolution
from jaxgan.networks.layers.resample import FIR, upfirdn
from jaxgan.networks.layers.weights import Weights, learned

__all__ = ["ModulatedConv", "ModulatedForm", "demodulation", "modulated_conv"]

EPSILON = 1e-8

ModulatedForm = Literal["scaled", "grouped"]
"""How a modulated convolution is computed: by scaling what goes in and comes out, or with a kernel for each example."""


def demodulation(kernel: jax.Array, style: jax.Array) -> jax.Array:
    """Returns the factors `[B, features]`, float32, that make every feature of the modulated kernels as long as 1 (1e-8
    under the root); equation 3. kernel: `[k, k, C, features]`. style: `[B, C]`."""
    squares = jnp.sum(kernel.astype(jnp.float32) ** 2, axis=(0, 1))
    lengths = jnp.dot(style.astype(jnp.float32) ** 2, squares, precision=lax.Precision.HIGHEST)
    return lax.rsqrt(lengths + EPSILON)


def modulated_conv(
    x: jax.Array,
    kernel: jax.Array,
    style: jax.Array,
    *,
    up: bool = False,
    demodulate: bool = True,
    form: ModulatedForm = "scaled",
) -> jax.Array:
    """Convolves each example with its own kernel, `[B, H, W, C] -> [B, H, W, features]`, in the type of x.

    kernel: `[k, k, C, features]`, k odd. style: float32 `[B, C]`.
    up: doubles the image: a transposed convolution of stride 2, and then the filter.
    form: "grouped" computes the kernels and convolves by groups, one for each example; "scaled" scales the images by
        the style, convolves all with the one kernel, and scales the result, which is the same, since a convolution is
        linear in both, and faster.
    ValueError where shapes don't fit.
    """
    if x.ndim != 4 or kernel.ndim != 4 or style.shape != (x.shape[0], x.shape[3]) or kernel.shape[0] % 2 == 0:
        raise ValueError(
            f"expected images [B, H, W, C], a kernel [k, k, C, features] with k odd, and styles [B, C], got {x.shape}, "
            f"{kernel.shape} and {style.shape}"
        )
    if form not in get_args(ModulatedForm):
        raise ValueError(f"form must be one of {', '.join(get_args(ModulatedForm))}, got {form!r}")
    dtype = x.dtype
    if demodulate and dtype != jnp.float32:
        # Demodulation makes up for it, and numbers of 16 bits stay in range.
        style = style / jnp.maximum(jnp.max(jnp.abs(style), axis=1, keepdims=True), EPSILON)
    factors = demodulation(kernel, style) if demodulate else None
    if form == "grouped":
        kernels = style[:, None, None, :, None] * kernel.astype(jnp.float32)[None]
        if factors is not None:
            kernels = kernels * factors[:, None, None, None, :]
        return _filtered(_grouped(x, kernels.astype(dtype), up), kernel, up)
    x = x * style.astype(dtype)[:, None, None, :]
    pad = kernel.shape[0] // 2
    if up:
        y = convolution.conv_transpose(x, kernel.astype(dtype), stride=2, padding=0)
    else:
        y = convolution.conv(x, kernel.astype(dtype), stride=1, padding=pad)
    y = _filtered(y, kernel, up)
    return y if factors is None else y * factors.astype(dtype)[:, None, None, :]


def _filtered(y: jax.Array, kernel: jax.Array, up: bool) -> jax.Array:
    """Returns the result of a transposed convolution, 2·H + k - 2 pixels a side, filtered and cut to 2·H."""
    if not up:
        return y
    over = kernel.shape[0] - 2  # pixels that the transposed convolution has added
    before = (len(FIR) - over) // 2
    return upfirdn(y, FIR, padding=(before, len(FIR) - 1 - over - before), gain=4.0)


def _grouped(x: jax.Array, kernels: jax.Array, up: bool) -> jax.Array:
    """Convolves every example `[B, H, W, C]` with a kernel of its own, `[B, k, k, C, features]`."""
    batch, height, width, channels = x.shape
    side, features = kernels.shape[1], kernels.shape[4]
    x = x.transpose(1, 2, 0, 3).reshape(1, height, width, batch * channels)
    kernels = kernels.transpose(1, 2, 3, 0, 4).reshape(side, side, channels, batch * features)
    y = lax.conv_general_dilated(
        x,
        kernels[::-1, ::-1] if up else kernels,
        (1, 1),
        [(side - 1 if up else side // 2,) * 2] * 2,
        lhs_dilation=(2, 2) if up else (1, 1),
        feature_group_count=batch,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y.reshape(*y.shape[1:3], batch, features).transpose(2, 0, 1, 3)


class ModulatedConv(nn.Module):
    """A modulated convolution, `modulated_conv`, as a layer: images `[B, H, W, C]` and styles `[B, C]` -> `[B, H, W,
    features]`. Parameter: `kernel` `[k, k, C, features]`."""

    features: int
    kernel: int = 3
    up: bool = False
    demodulate: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32
    form: ModulatedForm = "scaled"
    weights: Weights = learned

    @nn.compact
    def __call__(self, x: jax.Array, style: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.weights(self, "kernel", self.kernel_init, shape)
        how = {"up": self.up, "demodulate": self.demodulate}
        return modulated_conv(x.astype(self.dtype), kernel, style, form=self.form, **how)

    @nn.nowrap
    def matrix(self, kernel: jax.Array) -> jax.Array:
        """Returns the kernel as the matrix of spectral normalisation: `[features, everything else]`."""
        return kernel.reshape(-1, self.features).T
