"""DCGAN: a generator of transposed and a discriminator of strided convolutions.

Radford et al. 2016 (arXiv 1511.06434): stride 2, batch normalisation everywhere but in the generator's output and the
discriminator's input layer, ReLU in the generator and LeakyReLU 0.2 in the discriminator, tanh on the image, weights
from N(0, 0.02). Kernels are 4×4, as in the well-known Torch and PyTorch versions (the paper has 5×5), and so are
batch-norm scales from N(1, 0.02). Layers before a norm have no bias, since the norm would subtract it again.

An image of `size` pixels is `base · 2^n`: base 7 for 28, otherwise 4. Widths double towards the small end: for 32
pixels and `features=64` the generator goes 256-128-64 and the discriminator 64-128-256.

Layers are handed in, see `jaxgan.networks.layers.handed`: `conv` as (features, kernel, stride, padding), `norm`, which
is given `condition`, and the dense layer of the generator. A `norm` of None means no normalisation.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.heads import Head, Logits
from jaxgan.networks.layers import BatchNorm, Conv, ConvTranspose, Dense, Dropout, Layer, build, needs_bias, normalise

__all__ = ["SIZES", "Discriminator", "Generator", "stages"]

SIZES = (16, 28, 32, 64, 128)
"""The sides of images, in pixels, that there are networks for."""

_weights = nn.initializers.normal(0.02)
_he = nn.initializers.he_normal()
# Of a transposed kernel's k·k places only k·k / stride² meet in a pixel, a quarter here.
_he_transposed = nn.initializers.variance_scaling(8.0, "fan_in", "truncated_normal")


def _scales(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    return 1.0 + 0.02 * jax.random.normal(key, shape, dtype)


def stages(size: int) -> tuple[int, int]:
    """Returns (base, n) with size = base · 2^n. ValueError for a size that DCGAN can't have."""
    if size not in SIZES:
        sizes = ", ".join(map(str, SIZES))
        raise ValueError(f"DCGAN draws images of {sizes} pixels, got {size}; resize or pad the images")
    base = 7 if size == 28 else 4
    return base, (size // base).bit_length() - 1


def _resized(x: jax.Array, side: int, layer: str, example: str) -> jax.Array:
    """Returns `x`. ValueError where the layer that was handed in has not made it `side` pixels wide and high."""
    if x.shape[1:3] != (side, side):
        raise ValueError(
            f"conv= of this network makes {side} pixels of its input in {layer}, as {example} does, got {x.shape[1:3]}"
        )
    return x


class Generator(nn.Module):
    """DCGAN's generator: latent `[B, L]` -> images `[B, size, size, channels]` in (-1, 1). Every norm is given
    `condition`: `norm=partial(ConditionalBatchNorm, classes=10)` takes labels `[B]`, the default one nothing.

    conv: makes the transposed convolutions, which double the image.

    Without a norm, layers have biases, and their weights are drawn so that activations keep their size from layer to
    layer (He et al. 2015, arXiv 1502.01852), since there is no norm to ensure that.
    """

    size: int = 32
    channels: int = 1
    features: int = 64
    dtype: Dtype = jnp.float32
    conv: Layer = ConvTranspose
    norm: Layer | None = BatchNorm
    dense: Layer = Dense

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        base, n = stages(self.size)
        width, dtype, bias = self.features * 2 ** (n - 1), self.dtype, needs_bias(self.norm)
        # A transposed convolution of a 1×1 image is this matrix product.
        init = _he if self.norm is None else _weights
        project = build(self.dense, base * base * width, use_bias=bias, kernel_init=init, dtype=dtype, name="project")
        x = project(latent).reshape(-1, base, base, width)
        init = _he_transposed if self.norm is None else _weights
        for i in range(n):
            x = normalise(self.norm, x, condition, train=train, scale_init=_scales, dtype=dtype, name=f"norm{i}")
            x, last, name = nn.relu(x), i == n - 1, f"up{i}"
            width = self.channels if last else width // 2
            up = build(self.conv, width, 4, 2, 1, use_bias=last or bias, kernel_init=init, dtype=dtype, name=name)
            x = _resized(up(x), base * 2 ** (i + 1), name, "layers.ConvTranspose")
        return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
    """DCGAN's discriminator: images `[B, size, size, C]` -> `{"logits": [B], "features": [B, base, base, W]}` and the
    other outputs of `head`.

    conv: makes the convolutions, which halve the image. `conv=spectral(Conv)` bounds the norms of their weights; the
        head has its own layers (`head=Logits(dense=spectral(Dense))`).
    norm: behind every convolution but the first. Gradient penalties need None.
    head: one of `jaxgan.networks.heads`, given the features and `condition`.
    dropout: the share of activations that is dropped after every LeakyReLU in training.
    minibatch: a layer between features and head, such as `minibatch.MinibatchStdDev`.
    kernel: pixels of a side of each kernel, at least 2, such as the paper's 5.
    `features` is the last activation, float32, without what `minibatch` adds.
    """

    features: int = 64
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    norm: Layer | None = BatchNorm
    head: Head = Logits()
    dropout: float = 0.0
    minibatch: nn.Module | None = None
    kernel: int = 4

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        if image.shape[1] != image.shape[2]:
            raise ValueError(f"DCGAN takes square images, got {image.shape[1:3]}")
        x, dtype, shape = image, self.dtype, (self.kernel, 2, (self.kernel - 1) // 2)  # kernel, stride, padding
        for i in range(stages(image.shape[1])[1]):
            norm, width, name = self.norm if i else None, self.features * 2**i, f"down{i}"
            bias = needs_bias(norm)
            down = build(self.conv, width, *shape, use_bias=bias, kernel_init=_weights, dtype=dtype, name=name)
            x = _resized(down(x), x.shape[1] // 2, name, "layers.Conv")
            x = normalise(norm, x, condition, train=train, scale_init=_scales, dtype=dtype, name=f"norm{i}")
            x = nn.leaky_relu(x, 0.2)
            if self.dropout:
                x = Dropout(self.dropout)(x, train=train)
        last = x if self.minibatch is None else self.minibatch(x)
        # With the usual head, a dense layer, it is a 4×4 convolution of the 4×4 image that remains.
        return {"features": x.astype(jnp.float32), **self.head(last, condition)}
