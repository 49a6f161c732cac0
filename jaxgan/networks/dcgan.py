"""DCGAN: a generator of transposed and a discriminator of strided convolutions.

Radford et al. 2016 (arXiv 1511.06434): stride 2, batch normalisation everywhere but in the generator's output and the
discriminator's input layer, ReLU in the generator and LeakyReLU 0.2 in the discriminator, tanh on the image, weights
from N(0, 0.02). Kernels are 4×4, as in the Torch and PyTorch versions that everybody knows (the paper has 5×5), and so
are batch-norm scales from N(1, 0.02). Layers before a batch norm carry no bias, which it would subtract again.

An image of `size` pixels is `base · 2^n`: base 7 for 28, otherwise 4. Widths double towards the small end: for 32
pixels and `features=64` the generator goes 256-128-64 and the discriminator 64-128-256.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.conditional import ConditionalBatchNorm
from jaxgan.networks.heads import Head, Logits
from jaxgan.networks.layers import BatchNorm, Conv, ConvTranspose, Dense

__all__ = ["SIZES", "Discriminator", "Generator", "stages"]

SIZES = (28, 32, 64, 128)

_weights = nn.initializers.normal(0.02)
_he = nn.initializers.he_normal()
# Of a transposed kernel's k·k places only k·k / stride² meet in a pixel, a quarter here.
_he_transposed = nn.initializers.variance_scaling(8.0, "fan_in", "truncated_normal")


def _scales(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    return 1.0 + 0.02 * jax.random.normal(key, shape, dtype)


def stages(size: int) -> tuple[int, int]:
    """(base, n) with size = base · 2^n. Raises ValueError for a size DCGAN has no form for."""
    if size not in SIZES:
        sizes = ", ".join(map(str, SIZES))
        raise ValueError(f"DCGAN draws images of {sizes} pixels, got {size}; resize or pad the images")
    base = 7 if size == 28 else 4
    return base, (size // base).bit_length() - 1


class Generator(nn.Module):
    """latent `[B, L]` -> images `[B, size, size, channels]` in (-1, 1).

    With `classes` every batch norm is a `ConditionalBatchNorm` by the labels `[B]` that `condition` then has to be;
    otherwise it is ignored. Without `batch_norm` layers have biases, and weights drawn so that activations keep their
    size from layer to layer (He et al. 2015, arXiv 1502.01852), as nothing else would see to that.
    """

    size: int = 32
    channels: int = 1
    features: int = 64
    dtype: Dtype = jnp.float32
    axis_name: str | None = None
    classes: int = 0
    batch_norm: bool = True

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        if self.classes and not self.batch_norm:
            raise ValueError(f"classes={self.classes} reach this generator through batch norm; leave batch_norm on")
        base, n = stages(self.size)
        width, bare = self.features * 2 ** (n - 1), not self.batch_norm
        # A transposed convolution of a 1×1 image is this matrix product.
        init = _he if bare else _weights
        project = Dense(base * base * width, use_bias=bare, kernel_init=init, dtype=self.dtype, name="project")
        x = project(latent).reshape(-1, base, base, width)
        init = _he_transposed if bare else _weights
        for i in range(n):
            if self.classes:
                by_class = ConditionalBatchNorm(self.classes, self.dtype, self.axis_name, name=f"norm{i}")
                x = by_class(x, condition, train=train)
            elif self.batch_norm:
                norm = BatchNorm(scale_init=_scales, dtype=self.dtype, axis_name=self.axis_name, name=f"norm{i}")
                x = norm(x, train=train)
            x = nn.relu(x)
            last = i == n - 1
            width = self.channels if last else width // 2
            x = ConvTranspose(width, 4, 2, 1, use_bias=last or bare, kernel_init=init, dtype=self.dtype, name=f"up{i}")(
                x
            )
        return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
    """images `[B, size, size, C]` -> `{"logits": [B], "features": [B, base, base, W]}` and whatever else `head` says.

    batch_norm: False is what gradient penalties need.
    head: one of `jaxgan.networks.heads`, given the features and `condition`.
    dropout: the share of activations that is dropped after every LeakyReLU in training.
    minibatch: a layer between features and head, such as `minibatch.MinibatchStdDev`.
    `features` is the last activation, float32, without what `minibatch` adds.
    """

    features: int = 64
    batch_norm: bool = True
    dtype: Dtype = jnp.float32
    axis_name: str | None = None
    head: Head = Logits()
    dropout: float = 0.0
    minibatch: nn.Module | None = None

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        if image.shape[1] != image.shape[2]:
            raise ValueError(f"DCGAN takes square images, got {image.shape[1:3]}")
        x = image
        for i in range(stages(image.shape[1])[1]):
            normed, width = self.batch_norm and i > 0, self.features * 2**i
            name = f"down{i}"
            x = Conv(width, 4, 2, 1, use_bias=not normed, kernel_init=_weights, dtype=self.dtype, name=name)(x)
            if normed:
                norm = BatchNorm(scale_init=_scales, dtype=self.dtype, axis_name=self.axis_name, name=f"norm{i}")
                x = norm(x, train=train)
            x = nn.leaky_relu(x, 0.2)
            if self.dropout:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        last = x if self.minibatch is None else self.minibatch(x)
        # With the usual head, a dense layer, it is a 4×4 convolution of the 4×4 image that remains.
        return {"features": x.astype(jnp.float32), **self.head(last, condition)}
