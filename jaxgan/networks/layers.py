"""Layers shared by the network families.

Images are NHWC, kernels `[height, width, in, out]`, paddings are explicit and mean what they mean in PyTorch (Linen's
own `ConvTranspose` does not). XLA's CPU convolutions are slow where a stride is transposed, so on the CPU both
convolutions are written as patches and one matrix product; GPUs and TPUs keep their native ones. The choice is made
when a program is lowered for its platform: parameters and numbers are the same.

A layer's `train` says how it behaves; what may change is the caller's `mutable`, and a layer writes only there.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer
from jax import lax

__all__ = ["BatchNorm", "Conv", "ConvTranspose", "conv", "conv_transpose"]

NHWC = ("NHWC", "HWIO", "NHWC")


def _conv_native(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (stride,) * 2, [(padding,) * 2] * 2, dimension_numbers=NHWC)


def _conv_patches(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    kh, kw, _, features = kernel.shape
    x = jnp.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    height, width = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    stop_h, stop_w = (height - 1) * stride + 1, (width - 1) * stride + 1
    patches = [x[:, i : i + stop_h : stride, j : j + stop_w : stride] for i in range(kh) for j in range(kw)]
    columns = jnp.concatenate(patches, axis=-1).reshape(x.shape[0] * height * width, -1)
    return (columns @ kernel.reshape(-1, features)).reshape(x.shape[0], height, width, features)


def conv(x: jax.Array, kernel: jax.Array, *, stride: int, padding: int) -> jax.Array:
    """Cross-correlation, as every deep-learning library's "convolution": `[B, H, W, C] -> [B, H', W', features]` with
    H' = (H + 2·padding - k) // stride + 1. `kernel` is `[k, k, C, features]`."""
    return lax.platform_dependent(
        x,
        kernel,
        cpu=lambda x, w: _conv_patches(x, w, stride, padding),
        default=lambda x, w: _conv_native(x, w, stride, padding),
    )


def _conv_transpose_native(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    pads = [(k - 1 - padding,) * 2 for k in kernel.shape[:2]]
    return lax.conv_general_dilated(
        x, kernel[::-1, ::-1], (1, 1), pads, lhs_dilation=(stride,) * 2, dimension_numbers=NHWC
    )


def _conv_transpose_patches(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    # Every input pixel stamps a k×k patch on the output, `stride` apart. With k rounded up to m·stride the patch is
    # m×m tiles of stride×stride pixels, so overlapping patches become m² shifted additions of whole tiles.
    batch, height, width, channels = x.shape
    kh, kw, _, features = kernel.shape
    mh, mw = -(-kh // stride), -(-kw // stride)
    kernel = jnp.pad(kernel, ((0, mh * stride - kh), (0, mw * stride - kw), (0, 0), (0, 0)))
    kernel = kernel.reshape(mh, stride, mw, stride, channels, features).transpose(4, 0, 2, 1, 3, 5)
    tile = stride * stride * features
    stamps = (x.reshape(-1, channels) @ kernel.reshape(channels, -1)).reshape(batch, height, width, mh, mw, tile)
    tiles = sum(
        jnp.pad(stamps[:, :, :, i, j], ((0, 0), (i, mh - 1 - i), (j, mw - 1 - j), (0, 0)))
        for i in range(mh)
        for j in range(mw)
    )
    rows, columns = height + mh - 1, width + mw - 1
    image = jnp.asarray(tiles).reshape(batch, rows, columns, stride, stride, features).transpose(0, 1, 3, 2, 4, 5)
    image = image.reshape(batch, rows * stride, columns * stride, features)
    out_h, out_w = (height - 1) * stride + kh - 2 * padding, (width - 1) * stride + kw - 2 * padding
    return image[:, padding : padding + out_h, padding : padding + out_w]


def conv_transpose(x: jax.Array, kernel: jax.Array, *, stride: int, padding: int) -> jax.Array:
    """The transpose of `conv`: `[B, H, W, C] -> [B, H', W', features]` with H' = (H - 1)·stride - 2·padding + k, so
    that output[stride·i + a - padding] += input[i] · kernel[a]. `kernel` is `[k, k, C, features]`."""
    return lax.platform_dependent(
        x,
        kernel,
        cpu=lambda x, w: _conv_transpose_patches(x, w, stride, padding),
        default=lambda x, w: _conv_transpose_native(x, w, stride, padding),
    )


class Conv(nn.Module):
    """`conv` with parameters: `[B, H, W, C] -> [B, H', W', features]`."""

    features: int
    kernel: int
    stride: int = 1
    padding: int = 0
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32
    transposed: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32).astype(self.dtype)
        operation = conv_transpose if self.transposed else conv
        y = operation(x.astype(self.dtype), kernel, stride=self.stride, padding=self.padding)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return y


class ConvTranspose(Conv):
    """`conv_transpose` with parameters: `[B, H, W, C] -> [B, H', W', features]`."""

    transposed: bool = True


class BatchNorm(nn.Module):
    """Batch normalisation over every axis but the last; Ioffe & Szegedy 2015 (arXiv 1502.03167).

    With `train` it normalises by the batch's mean and (biased) variance, in float32 and over `axis_name` too where one
    is given, otherwise by the running ones. These live in the collection `batch_stats` and move by `1 - momentum` a
    batch, where the caller makes that collection mutable; the running variance is the biased one. With `affine` a
    learned scale and bias follow.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    scale_init: Initializer = nn.initializers.ones
    dtype: Dtype = jnp.float32
    axis_name: str | None = None
    affine: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        shape = (x.shape[-1],)
        scale, bias = jnp.ones(shape, jnp.float32), jnp.zeros(shape, jnp.float32)
        if self.affine:
            scale = self.param("scale", self.scale_init, shape, jnp.float32)
            bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        x32 = x.astype(jnp.float32)
        if train and not self.is_initializing():
            mean = self._mean(x32)
            var = self._mean((x32 - self._row(mean, x)) ** 2)
            if self.is_mutable_collection("batch_stats"):
                running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
                running_var.value = self.momentum * running_var.value + (1 - self.momentum) * var
        else:
            mean, var = running_mean.value, running_var.value
        gain = scale * lax.rsqrt(var + self.epsilon)
        return (x32 * self._row(gain, x) + self._row(bias - mean * gain, x)).astype(self.dtype)

    def _mean(self, x: jax.Array) -> jax.Array:
        mean = jnp.mean(x, axis=tuple(range(x.ndim - 1)))
        return mean if self.axis_name is None else lax.pmean(mean, self.axis_name)

    @staticmethod
    def _row(values: jax.Array, like: Any) -> jax.Array:
        return values.reshape((1,) * (like.ndim - 1) + (-1,))
