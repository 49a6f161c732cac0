"""Generators that enlarge images, and the discriminator of large ones.

`SRResNet` and `VGGDiscriminator` are SRGAN's, Ledig et al. 2017 (arXiv 1609.04802), figure 4; `RRDBNet` is ESRGAN's,
Wang et al. 2018 (arXiv 1809.00219), section 3.1. Generators are fully convolutional, for images of any height and
width; with a `base` they learn what is to be added to an interpolated image, and begin with nothing.

`PatchDiscriminator` of `jaxgan.networks.translation` judges enlarged images as well.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxgan.networks.layers import BatchNorm, Conv, Dense, Layer, build, needs_bias, normalise, pixel_shuffle, repeated

__all__ = ["Base", "RRDBNet", "SRResNet", "VGGDiscriminator", "enlarged"]

Base = Literal["bilinear", "bicubic"]
"""The interpolation that a network adds its result to."""

FACTORS = {2: (2,), 3: (3,), 4: (2, 2)}  # by scale: the factors of its stages
DENSE = 5  # convolutions of a dense block
SHARE = 0.2  # of a block's result that is added to its input
BASE_REACH = 2  # pixels of the input to each side of an output pixel that bicubic interpolation takes

_he = nn.initializers.he_normal()
_zeros: Initializer = nn.initializers.zeros
_tenth: Initializer = nn.initializers.variance_scaling(0.02, "fan_in", "normal")  # of He's deviation


def enlarged(x: jax.Array, scale: int, base: Base = "bicubic") -> jax.Array:
    """Interpolates images `[B, H, W, C] -> [B, scale·H, scale·W, C]`, with Keys' cubic (a = -½) or linearly; at the
    border the weights of the pixels that there are sum to one."""
    b, h, w, c = x.shape
    return jax.image.resize(x, (b, scale * h, scale * w, c), {"bicubic": "cubic"}.get(base, base), antialias=False)


def _factors(scale: int) -> tuple[int, ...]:
    if scale not in FACTORS:
        raise ValueError(f"scale must be one of {', '.join(map(str, FACTORS))}, got {scale}")
    return FACTORS[scale]


def _reach(factors: tuple[int, ...], radii: list[int]) -> int:
    """Returns the pixels of the input to each side that an output pixel depends on. radii: of the convolutions one
    after another at the input's size, and behind each of the `factors`; of kernels of 2r + 1 pixels the sum of r."""
    farthest, size = BASE_REACH, 1
    for factor in factors:
        size *= factor
    for pixel in range(size):  # of those that one pixel becomes
        low = high = pixel
        for factor, radius in zip(reversed(factors), reversed(radii[1:]), strict=True):
            low, high = (low - radius) // factor, (high + radius) // factor
        farthest = max(farthest, radii[0] - low, radii[0] + high)
    return farthest


class SRResNet(nn.Module):
    """Images `[B, H, W, C]` -> `[B, scale·H, scale·W, channels]`, unbounded: a convolution, `blocks` of two
    convolutions that are added to their input, all of them added to the first one's result, and a stage of pixel
    shuffle for each factor of `scale`, 2, 3 or 4.

    ends: the kernel of the first and the last convolution; the paper's is 9.
    base: how the image is interpolated that the result is added to; None, as in the paper, for no such image.
    norm: behind the blocks' convolutions; the paper has `BatchNorm`. Without, which Lim et al. 2017 (arXiv 1707.02921)
        found better, there are no artefacts of other statistics than those of training.
    conv: makes the convolutions. ValueError for another scale.
    """

    channels: int = 3
    scale: int = 4
    features: int = 64
    blocks: int = 16
    ends: int = 9
    base: Base | None = None
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    norm: Layer | None = None

    @property
    def reach(self) -> int:
        """Returns the pixels of the input to each side that have a say in an output pixel."""
        factors, end = _factors(self.scale), self.ends // 2
        return _reach(factors, [end + 2 * self.blocks + 2, *(1 for _ in factors[1:]), end])

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        factors, dtype = _factors(self.scale), self.dtype

        def conv(x: jax.Array, name: str, width: int, kernel: int = 3, init: Initializer = _he) -> jax.Array:
            how = {"kernel_init": init, "dtype": dtype}
            return build(self.conv, width, kernel, 1, kernel // 2, **how, name=name)(x)

        def normalised(x: jax.Array, name: str, init: Initializer = _he) -> jax.Array:
            how = {"kernel_init": init, "dtype": dtype, "use_bias": needs_bias(self.norm)}
            x = build(self.conv, self.features, 3, 1, 1, **how, name=name)(x)
            return normalise(self.norm, x, train=train, dtype=dtype, name=f"{name}_norm")

        def prelu(x: jax.Array, name: str) -> jax.Array:
            return nn.PReLU(param_dtype=jnp.float32, negative_slope_init=0.25, name=name)(x)

        first = x = prelu(conv(image, "first", self.features, self.ends), "first_prelu")
        small = _he if self.norm else _tenth  # a norm undoes it
        for i in range(self.blocks):
            y = prelu(normalised(x, f"block{i}a"), f"block{i}_prelu")
            x = x + normalised(y, f"block{i}b", small)
        x = first + normalised(x, "body", small)
        for i, factor in enumerate(factors):
            x = pixel_shuffle(conv(x, f"up{i}", self.features * factor**2), factor)
            x = prelu(x, f"up{i}_prelu")
        x = conv(x, "last", self.channels, self.ends, _zeros if self.base else _he).astype(jnp.float32)
        return x + enlarged(image, self.scale, self.base) if self.base else x


class RRDBNet(nn.Module):
    """Images `[B, H, W, C]` -> `[B, scale·H, scale·W, channels]`, unbounded: `blocks` of three dense blocks each, whose
    five convolutions see the results of all before them; dense blocks and blocks are added to their input by a fifth.
    Then, for each factor of `scale`, 2, 3 or 4, the nearest pixel repeated and a convolution.

    growth: channels that each convolution of a dense block adds. base, conv: as for `SRResNet`. Kernels are 3×3.
    blocks: the paper's is 23. ValueError for another scale.
    """

    channels: int = 3
    scale: int = 4
    features: int = 64
    blocks: int = 23
    growth: int = 32
    base: Base | None = None
    dtype: Dtype = jnp.float32
    conv: Layer = Conv

    @property
    def reach(self) -> int:
        """Returns the pixels of the input to each side that have a say in an output pixel."""
        factors = _factors(self.scale)
        return _reach(factors, [3 * DENSE * self.blocks + 2, *(1 for _ in factors[1:]), 3])

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        factors = _factors(self.scale)

        def conv(x: jax.Array, name: str, width: int, init: Initializer = _he) -> jax.Array:
            return build(self.conv, width, 3, 1, 1, kernel_init=init, dtype=self.dtype, name=name)(x)

        def dense(x: jax.Array, name: str) -> jax.Array:
            seen = [x]
            for i in range(DENSE - 1):
                y = conv(jnp.concatenate(seen, axis=-1), f"{name}_{i}", self.growth, _tenth)
                seen.append(nn.leaky_relu(y, 0.2))
            last = conv(jnp.concatenate(seen, axis=-1), f"{name}_{DENSE - 1}", self.features, _tenth)
            return x + SHARE * last

        first = x = conv(image, "first", self.features)
        for i in range(self.blocks):
            y = x
            for j in range(3):
                y = dense(y, f"block{i}_dense{j}")
            x = x + SHARE * y
        x = first + conv(x, "body", self.features)
        for i, factor in enumerate(factors):
            x = nn.leaky_relu(conv(repeated(x, factor), f"up{i}", self.features), 0.2)
        x = nn.leaky_relu(conv(x, "detail", self.features), 0.2)
        x = conv(x, "last", self.channels, _zeros if self.base else _he).astype(jnp.float32)
        return x + enlarged(image, self.scale, self.base) if self.base else x


class VGGDiscriminator(nn.Module):
    """Images `[B, H, W, C]` -> `{"logits": [B], "features": [...]}`, the latter the activations of all convolutions,
    float32: pairs of 3×3 convolutions, the second of which halves the image, `features` wide and then twice, four and
    eight times; a dense layer of 16·`features` and another of one.

    The dense layer is made for the size of the images that it is first shown, any of at least one pixel; the paper's
    are 96×96. conv, dense: make the layers. norm: behind all convolutions but the first; gradient penalties need None.
    """

    features: int = 64
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    norm: Layer | None = BatchNorm
    dense: Layer = Dense

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> dict[str, object]:
        x, activations = image, []
        for i in range(8):
            norm, width = self.norm if i else None, self.features * 2 ** (i // 2)
            how = {"use_bias": needs_bias(norm), "kernel_init": _he, "dtype": self.dtype}
            x = build(self.conv, width, 3, 1 + i % 2, 1, **how, name=f"conv{i}")(x)
            x = nn.leaky_relu(normalise(norm, x, train=train, dtype=self.dtype, name=f"norm{i}"), 0.2)
            activations.append(x.astype(jnp.float32))
        how = {"kernel_init": _he, "dtype": self.dtype}
        x = build(self.dense, 16 * self.features, **how, name="dense")(x.reshape(x.shape[0], -1))
        logits = build(self.dense, 1, dtype=self.dtype, name="logits")(nn.leaky_relu(x, 0.2))
        return {"logits": logits.reshape(-1).astype(jnp.float32), "features": activations}
