"""StyleGAN2: a mapping network, a generator of modulated convolutions, and a residual discriminator.

Karras et al. 2020 (arXiv 1912.04958), configuration F: output skips in the generator, residual blocks in the
discriminator, filtered resampling, an equalised rate in every layer (0.01 in the mapping network), leaky ReLU 0.2 times
√2, noise for every pixel, the minibatch's standard deviation. Classes are those of Karras et al. 2020 (arXiv
2006.06676): embedded beside the latent, and projected on in the discriminator.

An image has 4·2^n pixels, 8 to 1024. A layer at r pixels is min(`max_features`, `features`·size / r) wide: `features`
is the width at full size, which doubles towards the small end. The paper has 32 at 1024 pixels, and 128 at 256.

bfloat16 (`dtype`) is for the `low_precision` highest resolutions only. Styles, demodulation, the sum of the images and,
in the discriminator, all that comes after the last block stay float32.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.layers import Conv, Dense, Layer, PixelNorm, build, equalized, learned, one_hot
from jaxgan.networks.layers.modulated import ModulatedConv
from jaxgan.networks.layers.resample import downsample, upfirdn, upsample
from jaxgan.networks.minibatch import MinibatchStdDev

__all__ = [
    "Discriminator",
    "Generator",
    "MappingNetwork",
    "check_styles",
    "pixel_noise",
    "resolutions",
    "track_mean",
]

SLOPE = 0.2  # of the leaky ReLU
DECAY = 0.995  # of w's running mean, for each batch

_Conv = equalized(Conv, gain=1.0)
_Dense = equalized(Dense, gain=1.0)
_Modulated = equalized(ModulatedConv, gain=1.0)


def resolutions(size: int) -> list[int]:
    """Returns 4, 8, ..., size. ValueError for a size that neither StyleGAN here can have."""
    n = max(size, 1).bit_length() - 2
    if not 8 <= size <= 1024 or size != 2 << n:
        raise ValueError(
            f"a StyleGAN draws images of 8, 16, 32, ..., 1024 pixels, got {size}; resize or pad the images"
        )
    return [4 << i for i in range(n)]


def _active(x: jax.Array) -> jax.Array:
    """Returns the leaky ReLU times √2, which keeps the mean square of N(0, 1) within 4 %."""
    return nn.leaky_relu(x, SLOPE) * math.sqrt(2)


def track_mean(generator: nn.Module, average: nn.Variable[Any], w: jax.Array) -> None:
    """Moves a generator's running mean of w, a variable of its collection `w_avg`, towards that of a batch `[B, D]`,
    where the collection may change."""
    if generator.is_mutable_collection("w_avg") and not generator.is_initializing():
        mean = jnp.mean(jax.lax.stop_gradient(w), axis=0)
        average.value = mean + DECAY * (average.value - mean)


def pixel_noise(layer: nn.Module, x: jax.Array, *, train: bool) -> jax.Array:
    """Returns a layer's noise for images `[B, H, W, C]`, one number a pixel from N(0, 1): `[B, H, W, 1]`, another for
    each example, in training, and otherwise `[1, H, W, 1]`, the layer's variable in the collection `noise`, drawn
    once."""
    shape = (*x.shape[1:3], 1)
    fixed = layer.variable("noise", "image", lambda: jax.random.normal(layer.make_rng("params"), shape, jnp.float32))
    return jax.random.normal(layer.make_rng("noise"), (x.shape[0], *shape), jnp.float32) if train else fixed.value[None]


def check_styles(w: jax.Array, what: str, layers: int, features: int) -> None:
    """Raises ValueError for styles that aren't `[B, layers, features]`."""
    if w.ndim != 3 or w.shape[1:] != (layers, features):
        raise ValueError(f"{what} takes w of shape [B, {layers}, {features}], got {list(w.shape)}")


class _Widths(nn.Module):
    """The fields that tell width and type of a resolution."""

    features: int = 32
    max_features: int = 512
    dtype: Dtype = jnp.float32
    low_precision: int = 4

    @nn.nowrap
    def _at(self, side: int, size: int) -> tuple[int, Dtype]:
        """Returns the width of layers of `side` pixels and the type that they compute in."""
        low = side << self.low_precision > size
        return min(self.max_features, self.features * size // side), self.dtype if low else jnp.float32


class MappingNetwork(nn.Module):
    """Latents z `[B, L]`, each scaled to a mean square of 1, and labels `[B]` where there are `classes`, whose
    embedding is scaled so too -> w `[B, features]`, float32. z may be None where there are classes."""

    features: int = 512
    layers: int = 8
    classes: int = 0

    @nn.compact
    def __call__(self, latent: jax.Array | None, condition: jax.Array | None = None) -> jax.Array:
        if latent is None and not self.classes:
            raise ValueError("a mapping network without latents needs classes, got classes=0")
        parts = [] if latent is None else [PixelNorm()(latent)]
        if self.classes:
            label = one_hot(condition, self.classes, None if latent is None else latent.shape[0])
            parts.append(PixelNorm()(_Dense(self.features, name="embed")(label)))
        x = jnp.concatenate(parts, axis=-1)
        dense = equalized(Dense, gain=1.0, lr_multiplier=0.01)
        for i in range(self.layers):
            x = _active(dense(self.features, name=f"dense{i}")(x))
        return x


class _Styled(nn.Module):
    """A modulated convolution of images `[B, H, W, C]` by w `[B, D]`, then noise, the same for all features, times a
    learned strength, a bias and the leaky ReLU."""

    features: int
    up: bool
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array, *, train: bool) -> jax.Array:
        style = _Dense(x.shape[-1], bias_init=nn.initializers.ones, name="affine")(w)
        x = _Modulated(self.features, up=self.up, dtype=self.dtype, name="conv")(x, style)
        noise = pixel_noise(self, x, train=train) * learned(self, "noise_strength", nn.initializers.zeros, ())
        bias = learned(self, "bias", nn.initializers.zeros, (self.features,))
        wide = x.astype(jnp.float32) + noise + bias.reshape(1, 1, 1, -1)
        return _active(wide).astype(self.dtype)


class _ToImage(nn.Module):
    """An image of features `[B, H, W, C]`, `[B, H, W, channels]`, float32: a modulated convolution without
    demodulation, and a bias."""

    channels: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        style = _Dense(x.shape[-1], bias_init=nn.initializers.ones, name="affine")(w)
        x = _Modulated(self.channels, 1, demodulate=False, dtype=self.dtype, name="conv")(x, style)
        bias = learned(self, "bias", nn.initializers.zeros, (self.channels,))
        return x.astype(jnp.float32) + bias.reshape(1, 1, 1, -1)


class Generator(_Widths):
    """StyleGAN2's generator: latents `[B, L]`, and labels `[B]` where there are `classes` -> images `[B, size, size,
    channels]`, float32, for images in [-1, 1] (nothing bounds them).

    It has two parts, which are methods: `mapping` from latents to w, and `synthesize` from one w a layer to images.
    Collections: `w_avg`, w's running mean, and `noise`, the pictures of noise for evaluation; training draws noise from
    the stream "noise". At 256 pixels with `features` 128 it has 30,034,338 parameters.

    style_features: D, the length of w.
    mapping_layers: 8 in the paper; fewer for small data, 2 for CIFAR-10 in arXiv 2006.06676.
    """

    size: int = 32
    channels: int = 3
    classes: int = 0
    style_features: int = 512
    mapping_layers: int = 8

    @property
    def layers(self) -> tuple[str, ...]:
        """K names, of what each w acts at: the pixels of a side. The image of a resolution is made by the w of the next
        resolution's first convolution, the last image by the last w."""
        sides = resolutions(self.size)
        return "4", *(str(side) for side in sides[1:] for _ in range(2)), str(self.size)

    def setup(self) -> None:
        sides = resolutions(self.size)
        self.map = MappingNetwork(self.style_features, self.mapping_layers, self.classes)
        self.average = self.variable("w_avg", "mean", jnp.zeros, (self.style_features,), jnp.float32)
        width, _ = self._at(4, self.size)
        self.constant = self.param("constant", nn.initializers.normal(1.0), (4, 4, width), jnp.float32)
        ups = [(side, up) for side in sides for up in ((False,) if side == 4 else (True, False))]
        self.convs = [_Styled(width, up, dtype) for side, up in ups for width, dtype in [self._at(side, self.size)]]
        self.images = [_ToImage(self.channels, self._at(side, self.size)[1]) for side in sides]

    def mapping(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        """Returns w `[B, D]`. Where the collection `w_avg` may change, its mean moves towards the batch's."""
        del train  # noise and averages know from elsewhere
        w: jax.Array = self.map(latent, condition)
        track_mean(self, self.average, w)
        return w

    def synthesize(self, w: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns the images of w `[B, K, D]`, one for each of `layers`."""
        check_styles(w, f"StyleGAN2 at {self.size} pixels", len(self.layers), self.style_features)
        x = jnp.broadcast_to(self.constant, (w.shape[0], *self.constant.shape))
        image: jax.Array | float = 0.0
        for i, conv in enumerate(self.convs):
            x = conv(x.astype(conv.dtype), w[:, i], train=train)
            if i % 2 == 0:
                own = self.images[i // 2](x, w[:, i + 1])
                image = upsample(image) + own if isinstance(image, jax.Array) else own
        return jnp.asarray(image)

    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        w = self.mapping(latent, condition, train=train)
        return self.synthesize(jnp.repeat(w[:, None], len(self.layers), axis=1), train=train)

    @nn.nowrap
    def factors(self, params: Mapping[str, Any]) -> list[jax.Array]:
        """Returns K matrices `[D, outputs]`, by which the w of each layer is multiplied first: those of its convolution
        and, side by side, of the image that it makes."""
        kernels: list[list[jax.Array]] = [[] for _ in self.layers]
        for i in range(len(self.layers) - 1):
            kernels[i].append(params[f"convs_{i}"]["affine"]["kernel"])
        for i in range(len(resolutions(self.size))):
            kernels[2 * i + 1].append(params[f"images_{i}"]["affine"]["kernel"])
        return [jnp.concatenate(each, axis=1) / math.sqrt(self.style_features) for each in kernels]


class Discriminator(_Widths):
    """StyleGAN2's discriminator: images `[B, size, size, C]`, and labels `[B]` where there are `classes` -> `{"logits":
    [B], "features": [B, W]}`, float32; `features` are the last layer's inputs. At 256 pixels with `features` 128 it has
    28,864,129 parameters.

    minibatch: makes the layer before the last convolution; None for none.
    style_features, mapping_layers: of the network that maps labels to the vectors that are projected on.
    """

    classes: int = 0
    style_features: int = 512
    mapping_layers: int = 8
    minibatch: Layer | None = MinibatchStdDev

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        del train
        if image.shape[1] != image.shape[2]:
            raise ValueError(f"StyleGAN2 takes square images, got {image.shape[1:3]}")
        size = image.shape[1]
        *sides, _ = reversed(resolutions(size))
        width, dtype = self._at(size, size)
        x = _active(_Conv(width, 1, dtype=dtype, name="from_image")(image))
        for side in sides:
            (width, dtype), (below, _) = self._at(side, size), self._at(side // 2, size)
            x = self._block(x.astype(dtype), width, below, dtype, str(side))
        x = x.astype(jnp.float32)
        if self.minibatch is not None:
            x = build(self.minibatch)(x)
        width = self._at(4, size)[0]
        x = _active(_Conv(width, 3, padding=1, name="conv")(x))
        x = _active(_Dense(width, name="dense")(x.reshape(x.shape[0], -1)))
        if not self.classes:
            return {"logits": _Dense(1, name="judge")(x)[:, 0], "features": x}
        own = MappingNetwork(self.style_features, self.mapping_layers, self.classes, name="map")(None, condition)
        judged = _Dense(self.style_features, name="judge")(x)
        return {"logits": jnp.sum(judged * own, axis=1) / math.sqrt(self.style_features), "features": x}

    def _block(self, x: jax.Array, width: int, below: int, dtype: Dtype, name: str) -> jax.Array:
        """Halves the image: two 3×3 convolutions beside a 1×1 one. 1/√2 keeps the sum's mean square."""
        conv = partial(_Conv, dtype=dtype)
        y = _active(conv(width, 3, padding=1, name=f"conv{name}a")(x))
        y = upfirdn(y, padding=(2, 2))  # keeps what the convolution with a stride would alias out of it
        y = _active(conv(below, 3, 2, name=f"conv{name}b")(y))
        short = conv(below, 1, use_bias=False, name=f"short{name}")(downsample(x))
        return (y + short) * math.sqrt(0.5)
