"""The first StyleGAN: Karras et al. 2019 (arXiv 1812.04948). A mapping network, tutorials' "style-code network", and a
synthesis network, their "core generator": a learned constant, convolutions, noise for every pixel, and after each of
them adaptive instance normalisation by a style. The discriminator is that of Karras et al. 2018 (arXiv 1710.10196).

Every weight has an equalised rate (0.01 in the mapping network), every layer a leaky ReLU 0.2; images are doubled and
halved by filters. An image has 4·2^n pixels, 8 to 1024; layers at r pixels are min(`max_features`, `features`·size / r)
wide. The paper has `features` 16 at 1024 pixels, and 512 at most.

With `grows` both start at 8×8 pixels and grow: resolutions fade in one after the other (progressive growing, section 3
of the second paper). All parameters are there from the start. `position` says how far it has come, 0 at 8×8, 0.3 where
16×16 has faded in to 0.3, and so on; see `growth`. What is not reached yet is not computed. Training passes are given
it, and the last one is kept in the collection "growth" for evaluation.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.layers import AdaIN, Conv, Dense, Layer, averaged, build, equalized, learned, one_hot, repeated
from jaxgan.networks.layers.resample import downsample, upsample
from jaxgan.networks.minibatch import MinibatchStdDev
from jaxgan.networks.stylegan2 import MappingNetwork, check_styles, pixel_noise, resolutions, track_mean

__all__ = ["Discriminator", "Generator", "faded", "growth"]

_Conv = equalized(Conv)  # by √2, for the leaky ReLU
_Linear = equalized(Conv, gain=1.0)
_Dense = equalized(Dense)
_Style = equalized(Dense, gain=1.0)


def growth(images: jax.Array, size: int, each: float) -> jax.Array:
    """Returns the position after so many images, float32 `[]`: each resolution below `size`, from 8×8 on, is trained on
    `each` images, and the next fades in over as many. Karras et al. 2018, section 3 and appendix A: 800,000 (600,000 in
    StyleGAN)."""
    whole, rest = jnp.divmod(images.astype(jnp.float32), 2 * each)
    return jnp.minimum(whole + jnp.maximum(rest / each - 1, 0.0), float(len(resolutions(size)) - 2))


def faded(images: jax.Array, position: jax.Array) -> jax.Array:
    """Returns images `[B, size, size, C]` as a discriminator that grows should see real ones: of the resolution that is
    reached, as far as it has faded in."""
    levels = len(resolutions(images.shape[1])) - 1

    def at(level: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
        def shown(images: jax.Array, share: jax.Array) -> jax.Array:
            fine = averaged(images, 2 ** (levels - 1 - level))
            if level:
                fine = _blend(repeated(averaged(fine, 2), 2), fine, share)
            return repeated(fine, 2 ** (levels - 1 - level))

        return shown

    level, share = _level(position)
    return jax.lax.switch(level, [at(level) for level in range(levels)], images, share)


def _level(position: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the number of the resolution that is fading in, or is the last, and its share."""
    level = jnp.ceil(position)
    return level.astype(jnp.int32), position - level + 1


def _blend(old: jax.Array, new: jax.Array, share: jax.Array) -> jax.Array:
    share = share.astype(new.dtype)
    return (1 - share) * old + share * new


def _active(x: jax.Array) -> jax.Array:
    return nn.leaky_relu(x, 0.2)


class _Grown(nn.Module):
    """The fields of both networks, and what they do to grow."""

    features: int = 16
    max_features: int = 512
    grows: bool = False
    dtype: Dtype = jnp.float32

    @nn.nowrap
    def _width(self, side: int, size: int) -> int:
        return min(self.max_features, self.features * size // side)

    def _at_position(
        self, position: jax.Array | None, levels: int, at: Callable[..., Callable[..., Any]], *inputs: Any
    ) -> Any:
        """Returns `at(level)(self, *inputs, share)` for the level and the share of the position, by default the one
        that is kept."""
        if not self.grows:
            return at(levels - 1)(self, *inputs, None)
        kept = self.growth
        if position is not None and self.is_mutable_collection("growth") and not self.is_initializing():
            kept.value = jax.lax.stop_gradient(position)
        if self.is_initializing():  # of all of them
            return [at(level)(self, *inputs, jnp.ones(())) for level in range(levels)][-1]
        level, share = _level(kept.value if position is None else position)
        return nn.switch(level, [at(level) for level in range(levels)], self, *inputs, share)


class _Epilogue(nn.Module):
    """What follows the constant and each convolution, `[B, H, W, C]`: noise, a bias, the leaky ReLU, AdaIN by w.

    The noise is one number a pixel from N(0, 1), times a learned strength for each feature: another for each example in
    training, and otherwise one picture for all, drawn once.
    """

    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array, *, train: bool) -> jax.Array:
        row, noise = (1, 1, 1, -1), pixel_noise(self, x, train=train)
        strength, bias = (learned(self, name, nn.initializers.zeros, x.shape[-1:]) for name in ("strength", "bias"))
        x = _active(x.astype(jnp.float32) + noise * strength.reshape(row) + bias.reshape(row))
        return AdaIN(dense=_Style, dtype=jnp.float32, name="adain")(x, w, train=train).astype(self.dtype)


class Generator(_Grown):
    """StyleGAN's generator: latents `[B, L]`, and labels `[B]` where there are `classes` -> images `[B, size, size,
    channels]`, float32, for images in [-1, 1] (nothing bounds them).

    It has two parts, which are methods: `mapping` from latents to w, and `synthesize` from one w a layer to images.
    Collections: `w_avg`, w's running mean, and `noise`, the pictures of noise for evaluation; training draws noise from
    the stream "noise".

    style_features: D, the length of w.
    mapping_layers: 8 in the paper.
    """

    size: int = 32
    channels: int = 3
    classes: int = 0
    style_features: int = 512
    mapping_layers: int = 8

    @property
    def layers(self) -> tuple[str, ...]:
        """K names, of what each w acts at: the pixels of a side."""
        return tuple(str(side) for side in resolutions(self.size) for _ in range(2))

    def setup(self) -> None:
        sides = resolutions(self.size)
        if self.grows:
            self.growth = self.variable("growth", "position", jnp.zeros, (), jnp.float32)
        self.map = MappingNetwork(self.style_features, self.mapping_layers, self.classes)
        self.average = self.variable("w_avg", "mean", jnp.zeros, (self.style_features,), jnp.float32)
        self.constant = self.param("constant", nn.initializers.ones, (4, 4, self._width(4, self.size)), jnp.float32)
        widths = [self._width(side, self.size) for side in sides for _ in range(2)][1:]
        self.convs = [_Conv(width, 3, padding=1, use_bias=False, dtype=self.dtype) for width in widths]
        self.epilogues = [_Epilogue(self.dtype) for _ in self.layers]
        drawn = sides[1:] if self.grows else sides[-1:]
        self.images = [_Linear(self.channels, 1, dtype=self.dtype) for _ in drawn]

    def mapping(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        """Returns w `[B, D]`. Where the collection `w_avg` may change, its mean moves towards the batch's."""
        del train  # noise and averages know from elsewhere
        w: jax.Array = self.map(latent, condition)
        track_mean(self, self.average, w)
        return w

    def synthesize(self, w: jax.Array, *, position: jax.Array | None = None, train: bool = False) -> jax.Array:
        """Returns the images of w `[B, K, D]`, one for each of `layers`. position: how far a network that grows has
        grown; by default as far as in its last training pass."""
        check_styles(w, f"StyleGAN at {self.size} pixels", len(self.layers), self.style_features)
        levels = len(resolutions(self.size)) - 1

        def at(level: int) -> Callable[..., jax.Array]:
            return lambda module, w, share: module.drawn(w, level, share, train)

        images: jax.Array = self._at_position(position, levels, at, w)
        return images

    def drawn(self, w: jax.Array, level: int, share: jax.Array | None, train: bool) -> jax.Array:
        """Returns the images of the resolution of a level, 8·2^level, enlarged to `size`."""
        x = jnp.broadcast_to(self.constant.astype(self.dtype), (w.shape[0], *self.constant.shape))
        before = x
        for i, epilogue in enumerate(self.epilogues[: 2 * level + 4]):
            if i and i % 2 == 0:
                before, x = x, upsample(x)
            x = epilogue(self.convs[i - 1](x) if i else x, w[:, i], train=train)
        image = self.images[level if self.grows else 0](x)
        if level and share is not None:
            image = _blend(repeated(self.images[level - 1](before), 2), image, share)
        return repeated(image.astype(jnp.float32), self.size // image.shape[1])

    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        w = self.mapping(latent, condition, train=train)
        return self.synthesize(jnp.repeat(w[:, None], len(self.layers), axis=1), train=train)

    @nn.nowrap
    def factors(self, params: Mapping[str, Any]) -> list[jax.Array]:
        """Returns K matrices `[D, 2·C]`, by which the w of each layer is multiplied, for scales and biases."""
        names = [f"epilogues_{i}" for i in range(len(self.layers))]
        return [params[name]["adain"]["style"]["kernel"] / math.sqrt(self.style_features) for name in names]


class Discriminator(_Grown):
    """StyleGAN's discriminator: images `[B, size, size, C]` -> `{"logits": [B], "features": [B, W]}`, float32;
    `features` are the last layer's inputs. With `classes`, labels `[B]`, it has a logit for each class, of which it
    returns the label's.

    minibatch: makes the layer before the last convolution; None for none.
    """

    size: int = 32
    classes: int = 0
    minibatch: Layer | None = MinibatchStdDev

    def setup(self) -> None:
        sides = resolutions(self.size)
        if self.grows:
            self.growth = self.variable("growth", "position", jnp.zeros, (), jnp.float32)
        widths = [self._width(side, self.size) for side in sides]
        conv = lambda width: _Conv(width, 3, padding=1, dtype=self.dtype)  # noqa: E731 - used at once
        seen = widths[1:] if self.grows else widths[-1:]
        self.from_image = [_Conv(width, 1, dtype=self.dtype) for width in seen]
        self.firsts = [conv(width) for width in widths[1:]]
        self.seconds = [conv(width) for width in widths[:-1]]
        self.deviation = None if self.minibatch is None else build(self.minibatch)
        self.conv, self.dense = _Conv(widths[0], 3, padding=1), _Dense(widths[0])
        self.judge = equalized(Dense, gain=1.0)(max(self.classes, 1))

    def __call__(
        self,
        image: jax.Array,
        condition: jax.Array | None = None,
        *,
        position: jax.Array | None = None,
        train: bool,
    ) -> dict[str, jax.Array]:
        if image.shape[1:3] != (self.size, self.size):
            raise ValueError(
                f"expected images of {self.size}×{self.size} pixels, got {image.shape[1]}×{image.shape[2]}"
            )
        del train

        def at(level: int) -> Callable[..., jax.Array]:
            return lambda module, image, share: module.judged(image, level, share)

        x = self._at_position(position, len(resolutions(self.size)) - 1, at, image)
        logits = self.judge(x)
        if self.classes:
            logits = jnp.sum(logits * one_hot(condition, self.classes, x.shape[0]), axis=1, keepdims=True)
        return {"logits": logits[:, 0], "features": x}

    def judged(self, image: jax.Array, level: int, share: jax.Array | None) -> jax.Array:
        """Returns the features of images, judged at the resolution of a level, 8·2^level."""
        image = averaged(image, image.shape[1] >> (level + 3))
        x = _active(self.from_image[level if self.grows else 0](image))
        for i in reversed(range(level + 1)):
            x = downsample(_active(self.seconds[i](_active(self.firsts[i](x)))))
            if i == level and i and share is not None:
                x = _blend(_active(self.from_image[level - 1](averaged(image, 2))), x, share)
        x = x.astype(jnp.float32)
        x = x if self.deviation is None else self.deviation(x)
        return _active(self.dense(_active(self.conv(x)).reshape(x.shape[0], -1)))
