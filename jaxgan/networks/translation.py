"""Networks from images to images of the same size, and the discriminator of their patches.

`UNet` and `PatchDiscriminator` are pix2pix's, Isola et al. 2017 (arXiv 1611.07004), section 6.1; `ResNetGenerator` is
CycleGAN's, Zhu et al. 2017 (arXiv 1703.10593), section 7.2, after Johnson et al. 2016 (arXiv 1603.08155). Where paper
and the authors' PyTorch code differ, they are as in the code, but for two things: instance norms learn a scale and a
bias (there they don't), and dropout is no part of drawing (there it is; the paper found little variety in it). Weights
are from N(0, 0.02), norms' scales from N(1, 0.02).

Generators take images of any height and width, from 1×1 on: these are mirrored at the lower and right edge up to a
multiple of what the network halves them by, and what comes out is cut back.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.layers import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dropout,
    InstanceNorm,
    Layer,
    build,
    needs_bias,
    normalise,
    pad_to_multiple,
)

__all__ = ["PATCHES", "PatchDiscriminator", "ResNetGenerator", "UNet"]

_weights = nn.initializers.normal(0.02)


def _scales(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    return 1.0 + 0.02 * jax.random.normal(key, shape, dtype)


PATCHES = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}
"""Pixels of the side of a patch, and how many convolutions of stride 2 see it."""


class UNet(nn.Module):
    """Images `[B, H, W, C]` -> `[B, H, W, channels]` in (-1, 1), by `depth` halvings and as many doublings, each of
    which is also given what the halving of its size has made. Widths double from `features` to eight times as many.

    depth: 8 is the paper's, for 256 pixels; an image is padded to a multiple of 2^depth.
    dropout: of the doublings at full width but the first, `depth` - 5 of them; fewer than six halvings have none.
    conv, up: make the convolutions that halve, and the transposed ones that double. norm: behind all but the first and
    the last of those that halve, and all but the last that double.
    ValueError for a depth below 1.
    """

    channels: int
    features: int = 64
    depth: int = 8
    dropout: float = 0.5
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    up: Layer = ConvTranspose
    norm: Layer | None = BatchNorm

    @property
    def reach(self) -> int:
        """Returns how many pixels to each side of a pixel have a say in what becomes of it, 3·(2^depth - 1), where the
        norm looks at none, as in evaluation batch normalisation.

        A convolution that halves reaches from pixel i of its output to 2i - 1 and 2i + 2, so that the innermost i is
        made of 2^depth·i - (2^depth - 1) onwards; a doubling reaches from pixel i to (i - 1) / 2 rounded down, so that
        the last pixel that is made of the innermost i is 2^depth·(i + 2) - 2."""
        return 3 * (2**self.depth - 1)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, got {self.depth}")
        x, cut = pad_to_multiple(x, 2**self.depth)
        widths, dtype = [self.features * min(2**i, 8) for i in range(self.depth)], self.dtype
        passed = []
        for i, width in enumerate(widths):
            norm = self.norm if 0 < i < self.depth - 1 else None
            x = x if i == 0 else nn.leaky_relu(x, 0.2)
            how = {"use_bias": needs_bias(norm), "kernel_init": _weights, "dtype": dtype}
            x = build(self.conv, width, 4, 2, 1, **how, name=f"down{i}")(x)
            x = normalise(norm, x, train=train, scale_init=_scales, dtype=dtype, name=f"down_norm{i}")
            passed.append(x)
        for i in reversed(range(self.depth)):
            norm, width = (self.norm, widths[i - 1]) if i else (None, self.channels)
            how = {"use_bias": needs_bias(norm), "kernel_init": _weights, "dtype": dtype}
            x = build(self.up, width, 4, 2, 1, **how, name=f"up{i}")(nn.relu(x))
            if i:
                x = normalise(norm, x, train=train, scale_init=_scales, dtype=dtype, name=f"up_norm{i}")
                if self.dropout and 4 <= i < self.depth - 1:
                    x = Dropout(self.dropout)(x, train=train)
                x = jnp.concatenate([passed[i - 1], x], axis=-1)
        return cut(jnp.tanh(x.astype(jnp.float32)))


class ResNetGenerator(nn.Module):
    """Images `[B, H, W, C]` -> `[B, H, W, channels]` in (-1, 1): a 7×7 convolution, `halvings` of stride 2, `blocks` of
    two convolutions each that are added to their input, as many doublings, a 7×7 convolution. Those that keep
    the size have mirrored borders, the others zeros.

    The paper has 9 blocks for 256 pixels and 6 for 128, and halves twice; an image is padded to a multiple of
    2^halvings, twice that and four pixels at least, which mirrored borders need. conv, up, norm: as for `UNet`; norm is
    behind every convolution but the last."""

    channels: int
    features: int = 64
    blocks: int = 9
    halvings: int = 2
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    up: Layer = ConvTranspose
    norm: Layer | None = InstanceNorm

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x, cut = pad_to_multiple(x, 2**self.halvings, least=max(4, 2 ** (self.halvings + 1)))
        how = {"use_bias": needs_bias(self.norm), "kernel_init": _weights, "dtype": self.dtype}
        mirrored = {**how, "padding_mode": "reflect"}

        def normalised(y: jax.Array, name: str) -> jax.Array:
            return normalise(self.norm, y, train=train, scale_init=_scales, dtype=self.dtype, name=f"{name}_norm")

        x = nn.relu(normalised(build(self.conv, self.features, 7, 1, 3, **mirrored, name="first")(x), "first"))
        for i in range(self.halvings):
            width, name = self.features * 2 ** (i + 1), f"down{i}"
            x = nn.relu(normalised(build(self.conv, width, 3, 2, 1, **how, name=name)(x), name))
        width = self.features * 2**self.halvings
        for i in range(self.blocks):
            y = normalised(build(self.conv, width, 3, 1, 1, **mirrored, name=f"block{i}a")(x), f"block{i}a")
            y = build(self.conv, width, 3, 1, 1, **mirrored, name=f"block{i}b")(nn.relu(y))
            x = x + normalised(y, f"block{i}b")
        for i in reversed(range(self.halvings)):
            name, more = f"up{i}", {**how, "output_padding": 1}
            x = nn.relu(normalised(build(self.up, self.features * 2**i, 3, 2, 1, **more, name=name)(x), name))
        last = build(self.conv, self.channels, 7, 1, 3, **{**mirrored, "use_bias": True}, name="last")
        return cut(jnp.tanh(last(x).astype(jnp.float32)))


class PatchDiscriminator(nn.Module):
    """Images `[B, H, W, C]`, and the sources they were made of where D sees them -> `{"logits": [B, h, w], "features":
    [...]}`: a logit for each patch of `patch` pixels a side, which overlap, and the activations of all layers but the
    last, float32.

    patch: one of `PATCHES`: 1, 16, 34, 70 (the papers'), 142 or 286. An image may be smaller than a patch, whose rest
        lies beyond its edges then, down to 6, 12, 24, 48 and 96 pixels a side.
    conv: makes the convolutions. norm: behind all but the first and the last; gradient penalties need None.
    ValueError for another patch, a smaller image, and a source of another size.
    """

    features: int = 64
    patch: int = 70
    dtype: Dtype = jnp.float32
    conv: Layer = Conv
    norm: Layer | None = BatchNorm

    @property
    def smallest(self) -> int:
        """Returns the height and width of the smallest image whose patches are judged."""
        return 3 * 2 ** PATCHES[self.patch] if self.patch > 1 else 1

    @nn.compact
    def __call__(self, image: jax.Array, source: jax.Array | None = None, *, train: bool) -> dict[str, object]:
        if self.patch not in PATCHES:
            raise ValueError(f"patch must be one of {', '.join(map(str, PATCHES))}, got {self.patch}")
        halvings = PATCHES[self.patch]
        if min(image.shape[1:3]) < self.smallest:
            size = "×".join(map(str, image.shape[1:3]))
            raise ValueError(
                f"patches of {self.patch} pixels need images of {self.smallest} pixels a side or more, got {size}"
            )
        if source is not None and source.shape[1:3] != image.shape[1:3]:
            raise ValueError(f"image and source must be of one size, got {image.shape} and {source.shape}")
        kernel, padding = (4, 1) if halvings else (1, 0)  # single pixels are judged by convolutions of 1×1
        x = image if source is None else jnp.concatenate([image, source], axis=-1)
        activations = []
        for i in range(halvings + 1 if halvings else 2):
            norm, stride = self.norm if i else None, 2 if i < halvings else 1
            width, name = self.features * min(2**i, 8), f"layer{i}"
            how = {"use_bias": needs_bias(norm), "kernel_init": _weights, "dtype": self.dtype}
            x = build(self.conv, width, kernel, stride, padding, **how, name=name)(x)
            x = nn.leaky_relu(
                normalise(norm, x, train=train, scale_init=_scales, dtype=self.dtype, name=f"norm{i}"), 0.2
            )
            activations.append(x.astype(jnp.float32))
        last = build(self.conv, 1, kernel, 1, padding, kernel_init=_weights, dtype=self.dtype, name="logits")
        return {"logits": last(x)[..., 0].astype(jnp.float32), "features": activations}
