"""R3GAN: residual networks without normalisation, at 8, 16, 32, ... pixels a side.

Huang et al. 2024 (arXiv 2501.05441), config E. There is a stage for each doubling of the side, from 4×4 on, made of
residual blocks: a 1×1 convolution to `expansion` times the width, a grouped 3×3 one, a 1×1 one back, LeakyReLU 0.2
between them. Between stages the side is doubled or halved by bilinear interpolation (`layers.resample`), with a 1×1
convolution where the width changes. The generator starts from a learned image of 4×4, each of whose channels is
multiplied by a linear function of the latent, and ends with a 1×1 convolution to the image, linear, without a tanh. The
discriminator is its mirror image; it ends with a depthwise 4×4 convolution and a linear layer.

Fix-up initialisation (Zhang et al. 2019, arXiv 1901.09321): the last of the m = 3 layers of a block starts at 0, and
the others with He's weights times L^(-1 / (2m - 2)) for L blocks in the network, so that an update changes what the
network computes by as much as with one block, however many there are.

Layers are handed in, see `jaxgan.networks.layers.handed`: `conv`, called with (features, kernel, stride, padding) and
`groups`, and `dense`; so are a block's `activation` and how it is added to its input. With `layers.magnitude`,
`conv=magnitude(Conv)`, `dense=magnitude(Dense)`, `activation=leaky`, `add=partial(mixed, share=0.3)`, networks preserve
magnitudes, which the authors' later R3GAN2 took from Karras et al. 2024 (arXiv 2312.02696); fix-up is left out then, as
those layers draw their weights themselves.

An image's `patch` is 1 in the paper. With 2, 4 or 8 a pixel of the finest stage stands for so many pixels of a side
(pixel shuffle), and one, two or three of the finest stages, which cost most, are left out: for small computers.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.heads import Head, Logits
from jaxgan.networks.layers import Conv, Dense, Embed, Layer, build, pixel_shuffle, pixel_unshuffle
from jaxgan.networks.layers.resample import downsample, upsample

__all__ = ["Discriminator", "Generator", "Stage", "paper_stages"]

SLOPE = 0.2  # of LeakyReLU
HE = 2 / (1 + SLOPE**2)  # variance of a weight, times the inputs, that keeps activations as large as they are
ROOT = 2 * 3 - 2  # of L, with three layers in a block

_leaky = functools.partial(nn.leaky_relu, negative_slope=SLOPE)
_plain = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Stage(NamedTuple):
    """A stage of a network: its width, how many residual blocks it has, and in how many groups their 3×3 convolutions
    are (the cardinality), which divides the expanded width."""

    width: int
    blocks: int = 2
    groups: int = 1


def paper_stages(size: int) -> tuple[Stage, ...]:
    """Returns the paper's stages for FFHQ at 256 pixels, and by the same rule for other sizes: 768 channels up to 32
    pixels, half as many for each doubling from there, two blocks each, sixteen channels in a group. ValueError for a
    size that isn't 8, 16, 32, ..."""
    n = size.bit_length() - 3
    if n < 1 or size != 4 << n:
        raise ValueError(f"R3GAN's networks have 8, 16, 32, ... pixels a side, got {size}")
    widths = [min(768, 768 * 8 >> i) for i in range(n + 1)]
    return tuple(Stage(width, 2, 2 * width // 16) for width in widths)


class _Block(nn.Module):
    """A residual block, `[B, H, W, C]` to the same shape; `scale` is that of the first two layers' weights."""

    groups: int
    expansion: int
    scale: float
    dtype: Dtype
    conv: Layer
    activation: Callable[[jax.Array], jax.Array]
    add: Callable[[jax.Array, jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width, inner = x.shape[-1], self.expansion * x.shape[-1]
        init, zeros = nn.initializers.variance_scaling(HE * self.scale**2, "fan_in", "normal"), nn.initializers.zeros
        how = {"kernel_init": init, "dtype": self.dtype}
        y = self.activation(build(self.conv, inner, 1, 1, 0, name="expand", **how)(x))
        y = self.activation(build(self.conv, inner, 3, 1, 1, groups=self.groups, name="spatial", **how)(y))
        how |= {"kernel_init": zeros, "use_bias": False}
        return self.add(x, build(self.conv, width, 1, 1, 0, name="project", **how)(y))


class _Network(nn.Module):
    """What both networks are made of. For the fields, see `Generator`."""

    stages: Sequence[Stage]
    channels: int = 3
    patch: int = 1
    expansion: int = 2
    classes: int | None = None
    dtype: Dtype = jnp.float32
    coarse: int = 0
    conv: Layer = Conv
    dense: Layer = Dense
    activation: Callable[[jax.Array], jax.Array] = _leaky
    add: Callable[[jax.Array, jax.Array], jax.Array] = operator.add
    bounded: bool = False

    @property
    def size(self) -> int:
        """Returns the image's pixels a side."""
        return self.patch * (2 << len(self.stages))

    @nn.nowrap
    def stage(self, i: int, x: jax.Array) -> jax.Array:
        """Computes the blocks of stage i."""
        scale = float(sum(stage.blocks for stage in self.stages) ** (-1 / ROOT))
        _, blocks, groups = self.stages[i]
        how = (groups, self.expansion, scale, self.type(i), self.conv, self.activation, self.add)
        for j in range(blocks):
            x = _Block(*how, name=f"stage{i}_block{j}")(x)
        return x

    @nn.nowrap
    def pointwise(self, features: int, i: int, name: str, x: jax.Array) -> jax.Array:
        """Computes a 1×1 convolution in the type of stage i."""
        layer = build(self.conv, features, 1, 1, 0, use_bias=False, kernel_init=_plain, dtype=self.type(i), name=name)
        out: jax.Array = layer(x.astype(self.type(i)))
        return out

    @nn.nowrap
    def type(self, i: int) -> Dtype:
        """Returns the type that stage i computes in."""
        return jnp.float32 if i < self.coarse else self.dtype

    @nn.nowrap
    def check(self) -> None:
        """Raises ValueError for fields that don't fit one another."""
        if not self.stages or self.patch < 1:
            raise ValueError(
                "R3GAN's networks have stages for 4, 8, ... pixels, one at least, and a patch of at least 1, got "
                f"{len(self.stages)} and {self.patch}"
            )


class Generator(_Network):
    """R3GAN's generator: latent `[B, L]` -> images `[B, size, size, channels]`, float32, not bounded.

    stages: from 4×4 on; size is 4·2^(stages - 1)·patch.
    patch: see above.
    expansion: of a block's 3×3 convolution, times the width.
    classes: with so many, a condition, labels `[B]`, is needed, whose learned embedding, as long as the latent, is put
        beside it.
    dtype: the type that stages compute in, but for the first `coarse` of them, which compute in float32.
    bounded: whether a tanh is behind the last layer, which the paper doesn't have.
    ValueError for fewer than two stages, and without labels where there are classes.
    """

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        del train
        self.check()
        width = self.stages[0].width
        if self.classes is not None:
            label = Embed(self.classes, latent.shape[-1], name="embedding")(condition)
            latent = jnp.concatenate([latent, label.astype(latent.dtype)], axis=1)
        basis = self.param("basis", nn.initializers.normal(1.0), (4, 4, width), jnp.float32)
        modulation = build(self.dense, width, use_bias=False, kernel_init=_plain, name="modulation")(latent)
        x = self.stage(0, (basis[None] * modulation[:, None, None]).astype(self.type(0)))
        for i, (before, stage) in enumerate(zip(self.stages[:-1], self.stages[1:], strict=True), 1):
            # 1×1 convolutions commute with resampling, and are computed where there are fewer pixels.
            x = x if before.width == stage.width else self.pointwise(stage.width, i, f"width{i}", x)
            x = self.stage(i, upsample(x.astype(self.type(i))))
        x = self.pointwise(self.channels * self.patch**2, len(self.stages) - 1, "image", x).astype(jnp.float32)
        x = pixel_shuffle(x, self.patch)
        return jnp.tanh(x) if self.bounded else x


class Discriminator(_Network):
    """R3GAN's discriminator: images `[B, size, size, C]` -> `{"logits": [B], "features": [B, W]}` and the other outputs
    of `head`; features, float32, are what is left of the first stage's 4×4 pixels.

    Fields as those of the generator, stages too from 4×4 on; `channels` and `bounded` aren't used.
    head: one of `jaxgan.networks.heads`, given the features and `condition`; `Projection` for classes. The default is a
        dense layer without a bias, which would cancel in a relativistic loss.
    ValueError for images of another size.
    """

    head: Head | None = None

    @nn.compact
    def __call__(
        self, image: jax.Array, condition: jax.Array | None = None, *, train: bool = False
    ) -> dict[str, jax.Array]:
        del train
        self.check()
        if image.shape[1:3] != (self.size, self.size):
            raise ValueError(f"this discriminator takes images of {self.size}×{self.size}, got {image.shape[1:3]}")
        last = len(self.stages) - 1
        x = self.pointwise(self.stages[last].width, last, "image", pixel_unshuffle(image, self.patch))
        for i in range(last, 0, -1):
            x, width = downsample(self.stage(i, x)), self.stages[i - 1].width
            x = x if width == self.stages[i].width else self.pointwise(width, i, f"width{i}", x)
            x = x.astype(self.type(i - 1))
        x = self.stage(0, x)
        depthwise = self.param("depthwise", nn.initializers.normal(1 / 4), (4, 4, x.shape[-1]), jnp.float32)
        features = jnp.sum(x.astype(jnp.float32) * depthwise[None], axis=(1, 2))
        unbiased = functools.partial(self.dense, use_bias=False)
        head = Logits(kernel_init=_plain, dense=unbiased) if self.head is None else self.head
        return {"features": features, **head(features, condition)}
