"""Residual GANs of images: the networks of WGAN-GP and SN-GAN, at any power of two from 16 pixels on.

Gulrajani et al. 2017 (arXiv 1704.00028), appendix F, and Miyato et al. 2018 (arXiv 1802.05957), appendix B.4: blocks of
two 3×3 convolutions beside a shortcut, up by repeating pixels and down by averaging four; batch normalisation in the
generator and none in the discriminator, whose features are summed over the image. At 32 pixels and their widths (128
and 128, or 256 and 128) these are the papers' networks for CIFAR-10. Kernels are He's; those of shortcuts and of layers
without a ReLU behind them are Glorot's; all are uniform, as in WGAN-GP's code.

Layers are handed in, see `jaxgan.networks.layers.handed`: `conv`, called with (features, kernel, stride, padding),
`dense`, and `norm` before a ReLU, which is given `condition`; None means no normalisation. SN-GAN's discriminator has
`conv=spectral(Conv)` and `head=Logits(dense=spectral(Dense))`, the generator with classes
`norm=partial(ConditionalBatchNorm, classes=10)`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.heads import Head, Logits
from jaxgan.networks.layers import BatchNorm, Conv, Dense, Layer, averaged, build, normalise, repeated

__all__ = ["Discriminator", "Generator", "halve", "twice"]

_he = nn.initializers.he_uniform()
_glorot = nn.initializers.glorot_uniform()


def twice(x: jax.Array) -> jax.Array:
    """Repeats every pixel four times, `[B, H, W, C] -> [B, 2H, 2W, C]`."""
    return repeated(x, 2)


def halve(x: jax.Array) -> jax.Array:
    """Averages every four pixels, `[B, 2H, 2W, C] -> [B, H, W, C]`."""
    return averaged(x, 2)


def _blocks(size: int) -> int:
    """Returns how often 4 is doubled to get `size`."""
    n = size.bit_length() - 3
    if n < 2 or size != 4 << n:
        raise ValueError(f"these residual networks draw images of 16, 32, 64, ... pixels, got {size}")
    return n


class Generator(nn.Module):
    """A residual generator: latent `[B, L]` -> images `[B, size, size, channels]` in (-1, 1). It has a dense layer to
    4×4, a block for each doubling, all `features` wide, norm, ReLU, a 3×3 convolution, tanh. Every norm is given
    `condition`."""

    size: int = 32
    channels: int = 3
    features: int = 128
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    norm: Layer | None = BatchNorm
    dense: Layer = Dense

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        width, n, dtype = self.features, _blocks(self.size), self.dtype

        def norm(x: jax.Array, name: str) -> jax.Array:
            return nn.relu(normalise(self.norm, x, condition, train=train, dtype=dtype, name=name))

        def conv(x: jax.Array, name: str) -> jax.Array:
            out: jax.Array = build(self.conv, width, 3, 1, 1, kernel_init=_he, dtype=dtype, name=name)(x)
            return out

        project = build(self.dense, 16 * width, kernel_init=_glorot, dtype=dtype, name="project")
        x = project(latent).reshape(-1, 4, 4, width)
        for i in range(n):
            # The shortcut is 1×1, so that it may as well come before its pixels are repeated.
            short = build(self.conv, width, 1, 1, 0, kernel_init=_glorot, dtype=dtype, name=f"short{i}")(x)
            y = conv(twice(norm(x, f"norm{i}a")), f"conv{i}a")
            x = twice(short) + conv(norm(y, f"norm{i}b"), f"conv{i}b")
        x = norm(x, "norm")
        x = build(self.conv, self.channels, 3, 1, 1, kernel_init=_glorot, dtype=dtype, name="image")(x)
        return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
    """A residual discriminator: images `[B, size, size, C]` -> `{"logits": [B], "features": [B, features]}` and the
    other outputs of `head`. It has blocks down to 8×8, two blocks there, ReLU, and the sum over all pixels, which is
    `features`, float32.

    norm: before every ReLU inside a block; the papers' networks for CIFAR-10 have none. WGAN-GP also has LayerNorm,
        since a gradient penalty needs a norm that doesn't use the batch.
    head: one of `jaxgan.networks.heads`, given the features and `condition`.
    """

    features: int = 128
    dtype: Dtype = jnp.float32
    head: Head = Logits(kernel_init=_glorot)
    conv: Layer = Conv
    norm: Layer | None = None

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        if image.shape[1] != image.shape[2]:
            raise ValueError(f"these residual networks take square images, got {image.shape[1:3]}")
        downs = _blocks(image.shape[1]) - 1

        def conv(x: jax.Array, name: str, kernel: int = 3) -> jax.Array:
            fixed, init = (self.features, kernel, 1, kernel // 2), _he if kernel == 3 else _glorot
            out: jax.Array = build(self.conv, *fixed, kernel_init=init, dtype=self.dtype, name=name)(x)
            return out

        def norm(x: jax.Array, name: str) -> jax.Array:
            return nn.relu(normalise(self.norm, x, condition, train=train, dtype=self.dtype, name=name))

        x = image
        for i in range(downs + 2):
            down = halve if i < downs else lambda x: x
            # The first block is given an image, whose negative values a ReLU would cut off.
            y = conv(norm(x, f"norm{i}a") if i else x, f"conv{i}a")
            y = down(conv(norm(y, f"norm{i}b"), f"conv{i}b"))
            x = y + (conv(down(x), f"short{i}", 1) if i < downs else x)
        x = jnp.sum(nn.relu(x), axis=(1, 2))
        return {"features": x.astype(jnp.float32), **self.head(x, condition)}
