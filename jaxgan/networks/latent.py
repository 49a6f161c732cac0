"""A small GAN of latents: residual networks for maps of a few pixels with many channels, such as an autoencoder's.

Without normalisation, as a relativistic loss with penalties on both sides wants it (R3GAN, Huang et al. 2024, arXiv
2501.05441). Residual branches begin at 0, as Zhang et al. 2019 (arXiv 1901.09321, Fixup) have it, so that depth costs
no stability.

Layers are handed in, see `jaxgan.networks.layers.handed`: `conv` as (features, kernel, stride, padding), and `dense`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxgan.networks.layers import Conv, Dense, Layer, PixelNorm, build, repeated
from jaxgan.networks.resnet import halve

__all__ = ["Discriminator", "Generator"]

_he: Initializer = nn.initializers.he_normal()
_zeros: Initializer = nn.initializers.zeros


def _base(height: int, width: int) -> tuple[int, int, int]:
    """Returns how often both sides can be halved without one getting smaller than 4, and the sides then."""
    n = 0
    while height % 2 == width % 2 == 0 and min(height, width) >= 8:
        height, width, n = height // 2, width // 2, n + 1
    return n, height, width


class _Residual(nn.Module):
    """`x` plus two 3×3 convolutions of it, each behind a LeakyReLU, the second of which begins at 0."""

    dtype: Dtype
    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y, width = x, x.shape[-1]
        for name, init in (("a", _he), ("b", _zeros)):
            conv = build(self.conv, width, 3, 1, 1, kernel_init=init, dtype=self.dtype, name=name)
            y = conv(nn.leaky_relu(y, 0.2))
        out: jax.Array = x + y
        return out


class Generator(nn.Module):
    """Vectors `[B, L]` -> maps `shape` (h, w, D), float32 with a root mean square of 1 in every pixel, as latents of a
    normalised codebook are, or unbounded. A dense layer makes the smallest map, whose sides are `shape`'s, halved while
    they stay whole and at least 4; `blocks` residual blocks at each size, between which pixels are repeated."""

    shape: tuple[int, int, int]
    features: int = 64
    blocks: int = 1
    normalised: bool = True
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    dense: Layer = Dense

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        del condition, train
        n, height, width = _base(*self.shape[:2])
        project = build(self.dense, height * width * self.features, dtype=self.dtype, name="project")
        x = project(latent).reshape(-1, height, width, self.features)
        for i in range(n + 1):
            x = repeated(x, 2) if i else x
            for j in range(self.blocks):
                x = _Residual(self.dtype, self.conv, name=f"level{i}_{j}")(x)
        x = build(self.conv, self.shape[2], 3, 1, 1, dtype=self.dtype, name="last")(nn.leaky_relu(x, 0.2))
        x = x.astype(jnp.float32)
        return PixelNorm()(x) if self.normalised else x


class Discriminator(nn.Module):
    """Maps `[B, h, w, D]` -> `{"logits": [B], "features": [B, ...]}`: the mirror image of `Generator`, where sizes are
    halved by the mean of four pixels, and a dense layer."""

    features: int = 64
    blocks: int = 1
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    dense: Layer = Dense

    @nn.compact
    def __call__(self, maps: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        del condition, train
        n, _, _ = _base(*maps.shape[1:3])
        x = build(self.conv, self.features, 3, 1, 1, dtype=self.dtype, name="first")(maps)
        for i in range(n + 1):
            x = halve(x) if i else x
            for j in range(self.blocks):
                x = _Residual(self.dtype, self.conv, name=f"level{i}_{j}")(x)
        x = nn.leaky_relu(x, 0.2)
        logits = build(self.dense, 1, dtype=self.dtype, name="logits")(x.reshape(x.shape[0], -1))
        return {"logits": logits.reshape(-1).astype(jnp.float32), "features": x.astype(jnp.float32)}
