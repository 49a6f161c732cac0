"""VQGAN's autoencoder. Esser et al. 2021 (arXiv 2012.09841), table 7: a convolutional encoder and decoder of residual
blocks with group normalisation and swish, with self-attention at the smallest size, and a codebook between them
(`jaxgan.networks.layers.quantize`).

Layers are handed in, see `jaxgan.networks.layers.handed`: `conv` as (features, kernel, stride, padding), and `norm`,
which is given `groups` where it takes them.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.layers import Codebook, Conv, GroupNorm, Layer, PixelNorm, build, normalise, repeated

__all__ = ["Autoencoder", "Decoder", "Encoder", "groups_of"]

MOST_GROUPS, LEAST_CHANNELS = 32, 4  # of a group norm; the paper has 32 groups of 128 channels and more
EPSILON = 1e-6  # of the variance, as in the authors' code


def groups_of(width: int) -> int:
    """Returns into how many groups so many channels are normalised: the most, up to 32, that divide them and have 4
    channels each."""
    counts = range(1, MOST_GROUPS + 1)
    return max((n for n in counts if width % n == 0 and width // n >= LEAST_CHANNELS), default=1)


class _Layers(nn.Module):
    """The layers of encoder and decoder. For the fields see `Autoencoder`."""

    widths: Sequence[int]
    blocks: int
    attention: bool
    dtype: Dtype
    conv: Layer
    norm: Layer | None

    @nn.nowrap
    def convolved(self, x: jax.Array, name: str, width: int, kernel: int = 3, stride: int = 1) -> jax.Array:
        """Returns a convolution of `x`."""
        layer = build(self.conv, width, kernel, stride, kernel // 2, dtype=self.dtype, name=name)
        out: jax.Array = layer(x)
        return out

    @nn.nowrap
    def grouped(self, x: jax.Array, name: str, train: bool) -> jax.Array:
        """Returns `x` normalised in groups of channels."""
        how: dict[str, Any] = {"groups": groups_of(x.shape[-1]), "epsilon": EPSILON, "dtype": self.dtype}
        return normalise(self.norm, x, train=train, name=name, **how)

    @nn.nowrap
    def residual(self, x: jax.Array, name: str, width: int, train: bool) -> jax.Array:
        """Returns `x`, or a 1×1 convolution of it where the width changes, plus two convolutions of it, each behind
        norm and swish."""
        y = self.convolved(nn.swish(self.grouped(x, f"{name}_norm_a", train)), f"{name}_a", width)
        y = self.convolved(nn.swish(self.grouped(y, f"{name}_norm_b", train)), f"{name}_b", width)
        return y + (x if x.shape[-1] == width else self.convolved(x, f"{name}_short", width, 1))

    @nn.nowrap
    def attended(self, x: jax.Array, name: str, train: bool) -> jax.Array:
        """Returns `x` plus what each pixel takes from all: self-attention with one head, the paper's non-local
        block."""
        b, h, w, width = x.shape
        normed = self.grouped(x, f"{name}_norm", train)
        q, k, v = (
            self.convolved(normed, f"{name}_{part}", width, 1).reshape(b, h * w, width)
            for part in ("query", "key", "value")
        )
        logits = jnp.einsum("bic,bjc->bij", q, k).astype(jnp.float32) / math.sqrt(width)
        mixed = jnp.einsum("bij,bjc->bic", nn.softmax(logits).astype(self.dtype), v)
        return x + self.convolved(mixed.reshape(x.shape), f"{name}_out", width, 1)

    @nn.nowrap
    def middle(self, x: jax.Array, train: bool) -> jax.Array:
        """Returns what becomes of `x` at the smallest size."""
        width = self.widths[-1]
        x = self.residual(x, "middle_a", width, train)
        x = self.attended(x, "attention", train) if self.attention else x
        return self.residual(x, "middle_b", width, train)


class Encoder(_Layers):
    """Images `[B, H, W, C]` -> latents `[B, H / 2^n, W / 2^n, code_size]`, float32, n one less than the widths."""

    code_size: int
    normalised: bool

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        x = self.convolved(image, "first", self.widths[0])
        for i, width in enumerate(self.widths):
            x = self.convolved(x, f"down{i}", x.shape[-1], 3, 2) if i else x
            for j in range(self.blocks):
                x = self.residual(x, f"level{i}_{j}", width, train)
        x = nn.swish(self.grouped(self.middle(x, train), "norm", train))
        latents = self.convolved(x, "latents", self.code_size).astype(jnp.float32)
        return PixelNorm()(latents) if self.normalised else latents


class Decoder(_Layers):
    """Latents `[B, h, w, D]` -> activations `[B, 2^n·h, 2^n·w, widths[0]]`, of which a last convolution makes
    images."""

    @nn.compact
    def __call__(self, latents: jax.Array, *, train: bool) -> jax.Array:
        x = self.middle(self.convolved(latents, "first", self.widths[-1]), train)
        for i, width in reversed(list(enumerate(self.widths))):
            for j in range(self.blocks):
                x = self.residual(x, f"level{i}_{j}", width, train)
            x = self.convolved(repeated(x, 2), f"up{i}", self.widths[i - 1]) if i else x
        return nn.swish(self.grouped(x, "norm", train))


class Autoencoder(nn.Module):
    """Images `[B, H, W, C]` -> `{"image": [B, H, W, channels], "hidden", "indices", "codebook", "commitment"}`:
    reconstructions, unbounded; the activations that the last layer makes them of (`last_layer`); the codes' indices
    `[B, h, w]`; and the codebook's two losses `[B]`. Height and width are multiples of 2^n, n halvings.

    codes, code_size: K codes of D numbers. widths: channels at each size, from the images' own to the latents', one
        more than there are halvings. blocks: residual blocks at each size. attention: whether there is self-attention
        at the smallest. normalised: see `Codebook`; latents have a root mean square of 1 then.
    The paper has 16 halvings' widths (128, 128, 256, 256, 512), two blocks, and codes of 256 numbers that aren't
    normalised. ValueError for other sizes of images, and without a width.
    """

    channels: int = 3
    codes: int = 512
    code_size: int = 8
    widths: Sequence[int] = (32, 64, 128)
    blocks: int = 1
    attention: bool = True
    normalised: bool = True
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    norm: Layer | None = GroupNorm

    def setup(self) -> None:
        if not self.widths:
            raise ValueError("an autoencoder needs a width at least, got none")
        own = (tuple(self.widths), self.blocks, self.attention, self.dtype, self.conv, self.norm)
        self.encoder, self.decoder = Encoder(*own, self.code_size, self.normalised), Decoder(*own)
        self.codebook = Codebook(self.codes, self.normalised)
        self.last = build(self.conv, self.channels, 3, 1, 1, dtype=self.dtype)

    @property
    def factor(self) -> int:
        """Returns the pixels of a side that become one latent, 2^n."""
        return 2 ** (len(self.widths) - 1)

    def __call__(self, image: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        quantized = self.codebook(self.encode(image, train=train))
        hidden = self.decoder(quantized.values, train=train)
        return {
            "image": self.last_layer(hidden),
            "hidden": hidden,
            "indices": quantized.indices,
            "codebook": quantized.codebook,
            "commitment": quantized.commitment,
        }

    def encode(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Returns the latents of images before they are quantised, float32 `[B, h, w, D]`."""
        if any(side % self.factor for side in image.shape[1:3]):
            raise ValueError(
                f"{len(self.widths) - 1} halvings need images whose sides {self.factor} divides, got "
                f"{image.shape[1]}×{image.shape[2]}"
            )
        latents: jax.Array = self.encoder(image, train=train)
        return latents

    def decode(self, latents: jax.Array, *, train: bool) -> jax.Array:
        """Quantises latents `[B, h, w, D]`, and returns the images of their codes, `[B, H, W, channels]`."""
        return self.last_layer(self.decoder(self.codebook(latents).values, train=train))

    def last_layer(self, hidden: jax.Array) -> jax.Array:
        """Returns the images that the decoder's activations become, float32; its parameters are `last`."""
        images: jax.Array = self.last(hidden)
        return images.astype(jnp.float32)
