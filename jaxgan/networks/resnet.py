"""Residual GANs of images: the networks of WGAN-GP and SN-GAN, at any power of two from 16 pixels on.

Gulrajani et al. 2017 (arXiv 1704.00028), appendix F, and Miyato et al. 2018 (arXiv 1802.05957), appendix B.4: blocks of
two 3×3 convolutions beside a shortcut, up by repeating pixels and down by averaging four; batch normalisation in the
generator and none in the discriminator, whose features are summed over the image. At 32 pixels and their widths (128
and 128, or 256 and 128) these are the papers' networks for CIFAR-10. Kernels are He's, those of shortcuts and of what
is not followed by a ReLU Glorot's, all uniform, as in WGAN-GP's code.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.heads import Head, Logits
from jaxgan.networks.layers import BatchNorm, Conv, Dense
from jaxgan.networks.products import sum_dtype

__all__ = ["Discriminator", "Generator", "halve", "twice"]

_he = nn.initializers.he_uniform()
_glorot = nn.initializers.glorot_uniform()


def twice(x: jax.Array) -> jax.Array:
    """`[B, H, W, C] -> [B, 2H, 2W, C]`: every pixel four times."""
    batch, height, width, channels = x.shape
    wide = x.astype(sum_dtype(x.dtype))  # what the gradient's four pixels are added up in
    four = jnp.broadcast_to(wide[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return four.reshape(batch, 2 * height, 2 * width, channels).astype(x.dtype)


def halve(x: jax.Array) -> jax.Array:
    """`[B, 2H, 2W, C] -> [B, H, W, C]`: the mean of four pixels."""
    batch, height, width, channels = x.shape
    return jnp.mean(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


def _blocks(size: int) -> int:
    """How often 4 is doubled to `size`."""
    n = size.bit_length() - 3
    if n < 2 or size != 4 << n:
        raise ValueError(f"these residual networks draw images of 16, 32, 64, ... pixels, got {size}")
    return n


class Generator(nn.Module):
    """latent `[B, L]` -> images `[B, size, size, channels]` in (-1, 1): a dense layer to 4×4, a block for each
    doubling, all `features` wide, batch normalisation, ReLU, a 3×3 convolution, tanh. `condition` is ignored."""

    size: int = 32
    channels: int = 3
    features: int = 128
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        del condition
        width, n = self.features, _blocks(self.size)

        def norm(x: jax.Array, name: str) -> jax.Array:
            return nn.relu(BatchNorm(dtype=self.dtype, axis_name=self.axis_name, name=name)(x, train=train))

        def conv(x: jax.Array, name: str) -> jax.Array:
            return Conv(width, 3, 1, 1, kernel_init=_he, dtype=self.dtype, name=name)(x)

        project = Dense(16 * width, kernel_init=_glorot, dtype=self.dtype, name="project")
        x = project(latent).reshape(-1, 4, 4, width)
        for i in range(n):
            # The shortcut is 1×1, so that it may as well come before its pixels are repeated.
            short = Conv(width, 1, kernel_init=_glorot, dtype=self.dtype, name=f"short{i}")(x)
            y = conv(twice(norm(x, f"norm{i}a")), f"conv{i}a")
            x = twice(short) + conv(norm(y, f"norm{i}b"), f"conv{i}b")
        x = norm(x, "norm")
        x = Conv(self.channels, 3, 1, 1, kernel_init=_glorot, dtype=self.dtype, name="image")(x)
        return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
    """images `[B, size, size, C]` -> `{"logits": [B], "features": [B, features]}` and whatever else `head` says: blocks
    down to 8×8, two blocks there, ReLU, and the sum over all pixels, which are `features`, float32.

    head: one of `jaxgan.networks.heads`, given the features and `condition`.
    """

    features: int = 128
    dtype: Dtype = jnp.float32
    head: Head = Logits(kernel_init=_glorot)

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        del train
        if image.shape[1] != image.shape[2]:
            raise ValueError(f"these residual networks take square images, got {image.shape[1:3]}")
        downs = _blocks(image.shape[1]) - 1

        def conv(x: jax.Array, name: str, kernel: int = 3) -> jax.Array:
            init = _he if kernel == 3 else _glorot
            return Conv(self.features, kernel, 1, kernel // 2, kernel_init=init, dtype=self.dtype, name=name)(x)

        x = image
        for i in range(downs + 2):
            down = halve if i < downs else lambda x: x
            y = x if i == 0 else nn.relu(x)  # the first block is given an image, of which nothing should be cut off
            y = down(conv(nn.relu(conv(y, f"conv{i}a")), f"conv{i}b"))
            x = y + (conv(down(x), f"short{i}", 1) if i < downs else x)
        x = jnp.sum(nn.relu(x), axis=(1, 2))
        return {"features": x.astype(jnp.float32), **self.head(x, condition)}
