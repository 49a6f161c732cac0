"""Layers shared by the network families, on the convolutions of `jaxgan.networks.convolution`.

A layer's `train` says how it behaves; what may change is the caller's `mutable`, and a layer writes only there.

Layers multiply in their `dtype` and add up in float32, also backwards. The gradient of what is added to every pixel, or
to every example, is a sum over all of them, 65,536 numbers for 64 images of 32 pixels. bfloat16 has eight bits, and
such a sum stands still once it is 256 times what is added.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer
from jax import lax

from jaxgan.networks.convolution import conv, conv_transpose
from jaxgan.networks.products import sum_dtype

__all__ = ["BatchNorm", "Conv", "ConvTranspose", "Dense"]


def _with_bias(layer: nn.Module, y: jax.Array) -> jax.Array:
    """y `[..., features]` plus the layer's parameter `bias` `[features]`, at first 0, rounded once."""
    bias = layer.param("bias", nn.initializers.zeros, y.shape[-1:], jnp.float32)
    wide = sum_dtype(y.dtype)
    return (y.astype(wide) + bias.astype(wide).reshape((1,) * (y.ndim - 1) + (-1,))).astype(y.dtype)


class Dense(nn.Module):
    """A matrix product and a bias: `[..., A] -> [..., features]`. In float32 it is `nn.Dense`, and has its parameters;
    the bias's gradient, there a sum in `dtype`, is one in float32."""

    features: int
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features), jnp.float32)
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        return _with_bias(self, y) if self.use_bias else y


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
        return _with_bias(self, y) if self.use_bias else y


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
