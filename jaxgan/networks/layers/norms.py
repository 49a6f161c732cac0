"""Normalisation of `[B, ..., C]` with any number of axes between: over the batch, the example, or the pixel.

Means and variances are computed in float32, whatever a layer's `dtype`, and variances are the biased ones.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer
from jax import lax

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "PixelNorm"]


class BatchNorm(nn.Module):
    """Batch normalisation over every axis but the last; Ioffe & Szegedy 2015 (arXiv 1502.03167).

    With `train` it normalises by the batch's mean and (biased) variance, in float32 and over `axis_name` too where one
    is given, otherwise by the running ones. These are in the collection `batch_stats` and move by `1 - momentum` a
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


class GroupNorm(nn.Module):
    """Normalisation of every example by itself, over all pixels and the channels of each of `groups` groups; Wu & He
    2018 (arXiv 1803.08494). With `affine` a learned scale and bias `[C]` follow. It is PyTorch's `GroupNorm`.

    ValueError where the groups don't divide the channels, and where a group has a single number, which would always
    become 0.
    """

    groups: int = 32
    epsilon: float = 1e-5
    scale_init: Initializer = nn.initializers.ones
    dtype: Dtype = jnp.float32
    affine: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        groups = self.count(x.shape[-1])
        if groups < 1 or x.shape[-1] % groups:
            raise ValueError(f"groups={groups} must divide the channels, got {x.shape[-1]}")
        grouped = x.astype(jnp.float32).reshape(x.shape[0], math.prod(x.shape[1:-1]), groups, x.shape[-1] // groups)
        if grouped.shape[1] * grouped.shape[3] == 1:
            raise ValueError(
                f"{type(self).__name__} has one number to normalise in each of {groups} groups of the shape {x.shape}, "
                "and would make it 0; use it where there are more pixels, or no norm"
            )
        centred = grouped - jnp.mean(grouped, axis=(1, 3), keepdims=True)
        var = jnp.mean(centred**2, axis=(1, 3), keepdims=True)
        y = (centred * lax.rsqrt(var + self.epsilon)).reshape(x.shape)
        if self.affine:
            shape, row = (x.shape[-1],), (1,) * (x.ndim - 1) + (-1,)
            scale = self.param("scale", self.scale_init, shape, jnp.float32)
            bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
            y = y * scale.reshape(row) + bias.reshape(row)
        return y.astype(self.dtype)

    @nn.nowrap
    def count(self, channels: int) -> int:
        """Returns the number of groups."""
        return self.groups


class LayerNorm(GroupNorm):
    """`GroupNorm` of one group: over all pixels and channels of an example, with a scale and bias for each channel, as
    in WGAN-GP's code (Ba et al. 2016, arXiv 1607.06450). Linen's own takes every pixel by itself."""

    groups: int = 1


class InstanceNorm(GroupNorm):
    """`GroupNorm` with a group for each channel: over the pixels of an example. Ulyanov et al. 2016 (arXiv 1607.08022).
    It is PyTorch's `InstanceNorm1d` to `InstanceNorm3d`, whose default is `affine=False`. `groups` is ignored."""

    @nn.nowrap
    def count(self, channels: int) -> int:
        """Returns the number of groups."""
        return channels


class PixelNorm(nn.Module):
    """Normalisation of every pixel by itself: its vector of channels, divided by its root mean square, x / √(mean of x²
    over C + epsilon). Karras et al. 2018 (arXiv 1710.10196), section 4.2. It learns nothing, and takes latents `[B, C]`
    too."""

    epsilon: float = 1e-8
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x32 = x.astype(jnp.float32)
        return (x32 * lax.rsqrt(jnp.mean(x32**2, axis=-1, keepdims=True) + self.epsilon)).astype(self.dtype)
