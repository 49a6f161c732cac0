"""Residual GANs of images: the networks of WGAN-GP, SNGAN, SAGAN and of the class-conditional ResNet with a projection,
at 16, 32, 48, 64, 128, ... pixels a side.

Gulrajani et al. 2017 (arXiv 1704.00028), appendix F, and Miyato et al. 2018 (arXiv 1802.05957), appendix B.4: blocks of
two 3×3 convolutions beside a shortcut, up by repeating pixels and down by averaging four; batch normalisation in the
generator and none in the discriminator, whose features are summed over the image. At 32 pixels and their widths (128
and 128, or 256 and 128) these are the papers' networks for CIFAR-10; `paper_widths` has SNGAN's for other sizes.
Kernels are He's; those of shortcuts and of layers without a ReLU behind them are Glorot's; all are uniform, as in
WGAN-GP's code.

Layers are handed in, see `jaxgan.networks.layers.handed`: `conv`, called with (features, kernel, stride, padding),
`dense`, `norm` before a ReLU, which is given `condition`, and `attention`, behind the blocks that bring features to the
sizes `attended`; None for `norm` means no normalisation.

- SNGAN's discriminator has `conv=spectral(Conv)` and `head=Logits(dense=spectral(Dense))`.
- The class-conditional ones (Miyato & Koyama 2018, arXiv 1802.05637) have `block_norm=partial(ConditionalBatchNorm,
  classes=10)` in the generator and `head=Projection(10, dense=spectral(Dense))` in the discriminator too.
- SAGAN (Zhang et al. 2019, arXiv 1805.08318) has those, `conv=spectral(Conv)` and `dense=spectral(Dense)` in both, and
  `attended=(32,)` at 128 pixels, `(16,)` at 32.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.heads import Head, Logits
from jaxgan.networks.layers import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Layer,
    SelfAttention,
    averaged,
    build,
    check_attended,
    normalise,
    repeated,
)

__all__ = ["Discriminator", "Generator", "Widths", "halve", "paper_widths", "sides", "stages", "twice"]

_he = nn.initializers.he_uniform()
_glorot = nn.initializers.glorot_uniform()


def twice(x: jax.Array) -> jax.Array:
    """Repeats every pixel four times, `[B, H, W, C] -> [B, 2H, 2W, C]`."""
    return repeated(x, 2)


def halve(x: jax.Array) -> jax.Array:
    """Averages every four pixels, `[B, 2H, 2W, C] -> [B, H, W, C]`."""
    return averaged(x, 2)


class Widths(NamedTuple):
    """The channels of SNGAN's networks: of the generator's first features and then of each of its blocks, and of the
    discriminator's blocks, of which the first `halvings` halve the image."""

    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    halvings: int


PAPER = {
    32: Widths((256,) * 4, (128,) * 4, 2),
    48: Widths((512, 256, 128, 64), (64, 128, 256, 512, 1024), 4),
    64: Widths((1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024), 5),
    128: Widths((1024, 1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024, 1024), 5),
}


def paper_widths(size: int) -> Widths:
    """Returns the widths of SNGAN for CIFAR-10 (32 pixels), STL-10 (48) and ImageNet (128), Miyato et al. 2018,
    appendix B.4, and for 64 pixels those of mimicry (Lee & Town 2020, arXiv 2005.02494). ValueError for other sizes."""
    if size not in PAPER:
        raise ValueError(f"SNGAN has widths for {', '.join(map(str, PAPER))} pixels, got {size}")
    return PAPER[size]


def stages(size: int) -> tuple[int, int]:
    """Returns (base, n) with size = base · 2^n, base 4 or 6 and n at least 2. ValueError for a size that these networks
    can't have."""
    for base in (4, 6):
        n = (size // base).bit_length() - 1
        if n >= 2 and size == base << n:
            return base, n
    raise ValueError(
        f"these residual networks draw images of 16, 32, 64, ... pixels, or of 24, 48, 96, ..., got {size}"
    )


def sides(size: int, halvings: int | None = None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the sides, in pixels, at which the generator and the discriminator of images of `size` can attend: those
    of the features behind each block that doubles or halves them. ValueError as in `stages` and, for halvings that
    don't divide the size, as in `Discriminator`."""
    base, n = stages(size)
    downs = n - 1 if halvings is None else halvings
    if downs < 1 or size % 2**downs:
        raise ValueError(f"halvings must be at least 1, and {size} pixels a multiple of 2^halvings, got {downs}")
    return tuple(base << i for i in range(1, n + 1)), tuple(size >> i for i in range(1, downs + 1))


class Generator(nn.Module):
    """A residual generator: latent `[B, L]` -> images `[B, size, size, channels]` in (-1, 1). It has a dense layer to
    4×4 (6×6 for 24, 48, 96, ... pixels), a block for each doubling, norm, ReLU, a 3×3 convolution, tanh. Every norm is
    given `condition`.

    features: the width of everything, or those of the first features and of each block, see `paper_widths`.
    block_norm: the norm inside blocks, by default `norm`, which is otherwise that of the last layer alone, as where a
        `ConditionalBatchNorm` is in the blocks and the last batch norm has no classes (Miyato & Koyama 2018, SAGAN).
    dropout: the share of activations that is dropped before the second convolution of every block in training.
    attended: sizes of features, in pixels a side, behind which there is a layer of `attention`.
    ValueError for a size that can't be, other numbers of features, and attention at a size that is never reached.
    """

    size: int = 32
    channels: int = 3
    features: int | Sequence[int] = 128
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    norm: Layer | None = BatchNorm
    dense: Layer = Dense
    block_norm: Layer | None = None
    dropout: float = 0.0
    attention: Layer = SelfAttention
    attended: Sequence[int] = ()

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        (base, n), dtype, given = stages(self.size), self.dtype, self.features
        first, *widths = (given,) * (n + 1) if isinstance(given, int) else given
        if len(widths) != n:
            raise ValueError(f"a generator of {self.size} pixels has {n + 1} widths of features, got {len(widths) + 1}")
        check_attended(self.attended, sides(self.size)[0])

        inner = self.block_norm or self.norm

        def norm(x: jax.Array, name: str, by: Layer | None = inner) -> jax.Array:
            return nn.relu(normalise(by, x, condition, train=train, dtype=dtype, name=name))

        def conv(x: jax.Array, width: int, name: str) -> jax.Array:
            out: jax.Array = build(self.conv, width, 3, 1, 1, kernel_init=_he, dtype=dtype, name=name)(x)
            return out

        project = build(self.dense, base * base * first, kernel_init=_glorot, dtype=dtype, name="project")
        x = project(latent).reshape(-1, base, base, first)
        for i, width in enumerate(widths):
            # The shortcut is 1×1, so that it may as well come before its pixels are repeated.
            short = build(self.conv, width, 1, 1, 0, kernel_init=_glorot, dtype=dtype, name=f"short{i}")(x)
            y = conv(twice(norm(x, f"norm{i}a")), width, f"conv{i}a")
            y = norm(y, f"norm{i}b")
            y = Dropout(self.dropout)(y, train=train) if self.dropout else y
            x = twice(short) + conv(y, width, f"conv{i}b")
            if x.shape[1] in self.attended:
                x = build(self.attention, conv=self.conv, dtype=dtype, name=f"attention{x.shape[1]}")(x)
        x = norm(x, "norm", self.norm)
        x = build(self.conv, self.channels, 3, 1, 1, kernel_init=_glorot, dtype=dtype, name="image")(x)
        return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
    """A residual discriminator: images `[B, size, size, C]` -> `{"logits": [B], "features": [B, W]}` and the other
    outputs of `head`. It has blocks that halve the image, blocks that don't, ReLU, and the sum over all pixels, which
    is `features`, float32.

    features: the width of everything, with blocks down to 8×8 (12×12 for 24, 48, 96, ... pixels) and two blocks there,
        or those of each block, see `paper_widths`. The layer between the two of a block is as wide as what comes in, in
        the first block as what goes out.
    wide: whether it is as wide as what goes out in all blocks, as in BigGAN.
    halvings: of so many blocks, the first ones; by default all but two, or, where features are those of each block, all
        but the last.
    norm: before every ReLU inside a block; the papers' networks for CIFAR-10 have none. WGAN-GP also has LayerNorm,
        since a gradient penalty needs a norm that doesn't use the batch.
    head: one of `jaxgan.networks.heads`, given the features and `condition`.
    attended: sizes of features, in pixels a side, behind whose first block there is a layer of `attention`.
    ValueError for images that aren't square or of another size, halvings that don't fit, and attention at a size that
    is never reached.
    """

    features: int | Sequence[int] = 128
    dtype: Dtype = jnp.float32
    head: Head = Logits(kernel_init=_glorot)
    conv: Layer = Conv
    norm: Layer | None = None
    halvings: int | None = None
    attention: Layer = SelfAttention
    attended: Sequence[int] = ()
    wide: bool = False

    @nn.nowrap
    def blocks(self, size: int) -> tuple[tuple[int, ...], int]:
        """Returns the widths of the blocks for images of this size, and how many of them halve it."""
        if isinstance(self.features, int):
            downs = stages(size)[1] - 1 if self.halvings is None else self.halvings
            return (self.features,) * (downs + 2), downs
        downs = len(self.features) - 1 if self.halvings is None else self.halvings
        if downs > len(self.features):
            raise ValueError(f"halvings={downs} needs as many blocks, got features={tuple(self.features)}")
        return tuple(self.features), downs

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        if image.shape[1] != image.shape[2]:
            raise ValueError(f"these residual networks take square images, got {image.shape[1:3]}")
        widths, downs = self.blocks(image.shape[1])
        check_attended(self.attended, sides(image.shape[1], downs)[1])

        def conv(x: jax.Array, width: int, name: str, kernel: int = 3) -> jax.Array:
            fixed, init = (width, kernel, 1, kernel // 2), _he if kernel == 3 else _glorot
            out: jax.Array = build(self.conv, *fixed, kernel_init=init, dtype=self.dtype, name=name)(x)
            return out

        def norm(x: jax.Array, name: str) -> jax.Array:
            return nn.relu(normalise(self.norm, x, condition, train=train, dtype=self.dtype, name=name))

        x = image
        for i, (before, width) in enumerate(itertools.pairwise((widths[0], *widths))):
            down = halve if i < downs else lambda x: x
            # The first block is given an image, whose negative values a ReLU would cut off.
            y = conv(norm(x, f"norm{i}a") if i else x, width if self.wide else before, f"conv{i}a")
            y = down(conv(norm(y, f"norm{i}b"), width, f"conv{i}b"))
            x = y + (conv(down(x), width, f"short{i}", 1) if i < downs or before != width else x)
            if i < downs and x.shape[1] in self.attended:
                x = build(self.attention, conv=self.conv, dtype=self.dtype, name=f"attention{x.shape[1]}")(x)
        x = jnp.sum(nn.relu(x), axis=(1, 2))
        return {"features": x.astype(jnp.float32), **self.head(x, condition)}
