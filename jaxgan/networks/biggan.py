"""BigGAN, a class-conditional GAN of images at 32, 64, 128 and 256 pixels a side.

Brock et al. 2019 (arXiv 1809.11096), appendix B: the residual networks of `jaxgan.networks.resnet` with spectral
normalisation and self-attention in both, and in the generator

- one embedding of the classes, which all conditional batch norms share, each with dense layers of its own from it;
- a hierarchical latent: a part of it makes the first features, and each block's norms are given a part of their own
  beside the class.

All weights start orthogonal, those that are normalised with a largest singular value of 1. The class's embedding is not
normalised, as in the authors' code (BigGAN-PyTorch).

Layers are handed in, see `jaxgan.networks.layers.handed`; the defaults are the paper's: `conv` and `dense` are
`spectral(Conv)` and `spectral(Dense)`, from orthogonal weights.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks import resnet
from jaxgan.networks.heads import Head, Logits, Projection
from jaxgan.networks.layers import (
    AdaptiveNorm,
    BatchNorm,
    Conv,
    Dense,
    Embed,
    Layer,
    SelfAttention,
    build,
    check_attended,
    normalise,
    spectral,
)

__all__ = ["Discriminator", "Generator", "Widths", "paper_widths", "parts", "projection"]

_orthogonal = nn.initializers.orthogonal()
SpectralConv = spectral(functools.partial(Conv, kernel_init=_orthogonal))
SpectralDense = spectral(functools.partial(Dense, kernel_init=_orthogonal))


class Widths(NamedTuple):
    """The channels of BigGAN's networks: of the generator's first features and of each of its blocks, and of the
    discriminator's blocks, of which the first `halvings` halve the image; and the sizes of features, in pixels a side,
    behind which both attend."""

    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    halvings: int
    attended: tuple[int, ...]


# In multiples of a width.
PAPER = {
    32: Widths((4,) * 4, (2,) * 4, 2, (16,)),
    64: Widths((16, 16, 8, 4, 2), (1, 2, 4, 8, 16), 4, (32,)),
    128: Widths((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5, (64,)),
    256: Widths((16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), 6, (64,)),
}


def paper_widths(size: int, generator: int = 96, discriminator: int = 96) -> Widths:
    """Returns the widths of BigGAN at a size, in multiples of a generator's and a discriminator's width, the paper's
    `ch`: 96 for its best networks.

    128 and 256 pixels: tables 4 and 5 of the paper. 64: BigGAN-PyTorch's, which the paper has none of. 32, for
    CIFAR-10: StudioGAN's (Kang et al. 2023, arXiv 2206.09479). ValueError for other sizes and for widths below 1.
    """
    if size not in PAPER:
        raise ValueError(f"BigGAN has widths for {', '.join(map(str, PAPER))} pixels, got {size}")
    if min(generator, discriminator) < 1:
        raise ValueError(f"widths must be at least 1, got {min(generator, discriminator)}")
    own = PAPER[size]
    return own._replace(
        generator=tuple(generator * n for n in own.generator),
        discriminator=tuple(discriminator * n for n in own.discriminator),
    )


def parts(size: int) -> int:
    """Returns into how many parts the latent of a generator of this size is cut: one for the first features and one for
    each block. ValueError as in `resnet.stages`."""
    return resnet.stages(size)[1] + 1


def projection(classes: int) -> Projection:
    """Returns the discriminator's head: a class projection with spectral normalisation, from orthogonal weights."""
    return Projection(classes, kernel_init=_orthogonal, dense=spectral(Dense))


class Generator(nn.Module):
    """BigGAN's generator: latent `[B, L]` and labels `[B]` -> images `[B, size, size, channels]` in (-1, 1).

    classes: how many there are. embedding: numbers of a class's embedding, a row of `class` `[classes, embedding]`.
    features: the channels of the first features and of each block, see `paper_widths`.
    norm: the norm behind the blocks, and without a scale and bias of its own that inside of blocks, where both come
        from the class's embedding and the block's part of the latent: y = (1 + scale) · normalised + bias.
    conv, dense: make all convolutions, and all dense layers, those of the norms without biases.
    attended: sizes of features, in pixels a side, behind which there is a layer of `attention`.
    ValueError for a size that can't be, a latent that isn't cut into equal parts, other numbers of features, missing
    labels, and attention at a size that is never reached.
    """

    size: int
    channels: int
    classes: int
    features: Sequence[int]
    embedding: int = 128
    dtype: Dtype = jnp.float32
    conv: Layer = SpectralConv
    dense: Layer = SpectralDense
    norm: Layer = BatchNorm
    attention: Layer = SelfAttention
    attended: Sequence[int] = ()

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        (base, n), dtype = resnet.stages(self.size), self.dtype
        if len(self.features) != n + 1:
            raise ValueError(f"a generator of {self.size} pixels has {n + 1} widths, got {len(self.features)}")
        if latent.shape[-1] % (n + 1) or not latent.shape[-1]:
            raise ValueError(
                f"a generator of {self.size} pixels cuts its latent into {n + 1} equal parts, got {latent.shape[-1]} "
                f"numbers"
            )
        check_attended(self.attended, resnet.sides(self.size)[0])
        embed = Embed(self.classes, self.embedding, embedding_init=_orthogonal, dtype=dtype, name="class")
        first, *rest = jnp.split(latent.astype(dtype), n + 1, axis=-1)
        label = embed(condition)
        style_dense = functools.partial(self.dense, use_bias=False)

        def conv(x: jax.Array, width: int, kernel: int, name: str) -> jax.Array:
            made: jax.Array = build(self.conv, width, kernel, 1, kernel // 2, dtype=dtype, name=name)(x)
            return made

        def norm(x: jax.Array, style: jax.Array, name: str) -> jax.Array:
            layer = AdaptiveNorm(self.norm, style_dense, dtype=dtype, separate=True, name=name)
            return nn.relu(layer(x, style, train=train))

        width = self.features[0]
        x = build(self.dense, base * base * width, dtype=dtype, name="project")(first)
        x = x.reshape(-1, base, base, width)
        for i, (width, own) in enumerate(zip(self.features[1:], rest, strict=True)):
            style = jnp.concatenate([label, own], axis=-1)
            # The shortcut is 1×1, so that it may as well come before its pixels are repeated.
            short = conv(x, width, 1, f"short{i}")
            y = conv(resnet.twice(norm(x, style, f"norm{i}a")), width, 3, f"conv{i}a")
            x = resnet.twice(short) + conv(norm(y, style, f"norm{i}b"), width, 3, f"conv{i}b")
            if x.shape[1] in self.attended:
                x = build(self.attention, conv=self.conv, dtype=dtype, name=f"attention{x.shape[1]}")(x)
        x = nn.relu(normalise(self.norm, x, train=train, dtype=dtype, name="norm"))
        return jnp.tanh(conv(x, self.channels, 3, "image").astype(jnp.float32))


class Discriminator(resnet.Discriminator):
    """BigGAN's discriminator: `resnet.Discriminator` with spectral normalisation and blocks whose inner layer is as
    wide as what goes out. features: the channels of each block, see `paper_widths`. head: `projection(classes)`; the
    default is one that is told no class."""

    head: Head = Logits(kernel_init=_orthogonal, dense=spectral(Dense))
    conv: Layer = SpectralConv
    wide: bool = True
