"""Transfer of arbitrary styles: an encoder, adaptive instance normalisation, a decoder. Huang & Belongie 2017 (arXiv
1703.06868), with an encoder that learns too, where theirs is the frozen VGG-19.

A style is a code: the means and deviations of the encoder's channels, `[B, 2·C]`. It comes from a picture or from other
codes: since a normalised image is linear in its code, to mix codes is to mix normalised features (the paper's equation
15), and to go from the content's own code to the style's is to go from its features to the normalised ones (14).
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.layers import Conv, Layer, build, pad_to_multiple, repeated

__all__ = ["EPSILON", "Decoder", "Encoder", "StyleTransfer", "adain", "moments"]

EPSILON = 1e-5
"""Stands under the root: a channel that is constant has the deviation √ε."""


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns means and deviations over the pixels of features `[B, H, W, C]`, float32 `[B, C]` each: μ and σ of Huang
    & Belongie 2017, equations 5 and 6, σ² = (mean of (x - μ)²) + ε with ε = 1e-5."""
    x = x.astype(jnp.float32)
    return jnp.mean(x, axis=(1, 2)), jnp.sqrt(jnp.var(x, axis=(1, 2)) + EPSILON)


def adain(x: jax.Array, mean: jax.Array, deviation: jax.Array) -> jax.Array:
    """Gives the channels of features `[B, H, W, C]` another mean and deviation, `[B, C]`: deviation · (x - μ(x)) / σ(x)
    + mean, Huang & Belongie 2017, equation 8. `moments` of `x` itself give it back. A channel that is constant becomes
    the new mean. ValueError for means and deviations of another shape, which could broadcast."""
    expected = (x.shape[0], x.shape[-1])
    if mean.shape != expected or deviation.shape != expected:
        raise ValueError(
            f"features {x.shape} take means and deviations of shape {expected}, got {mean.shape} and {deviation.shape}"
        )
    own_mean, own_deviation = (each[:, None, None] for each in moments(x))
    normalised = (x.astype(jnp.float32) - own_mean) / own_deviation
    return (normalised * deviation[:, None, None] + mean[:, None, None]).astype(x.dtype)


class Encoder(nn.Module):
    """Images `[B, H, W, C]` -> features `[B, H / 2^n, W / 2^n, 2^n · features]`: a 3×3 convolution, n = `halvings` of
    stride 2, a 3×3 convolution; ReLU between them. Borders are mirrored, and nothing is normalised: that would take the
    style away. conv: makes the convolutions."""

    features: int = 32
    halvings: int = 2
    dtype: Dtype = jnp.float32
    conv: Layer = Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        how = {"padding_mode": "reflect", "kernel_init": nn.initializers.he_normal(), "dtype": self.dtype}
        x = nn.relu(build(self.conv, self.features, 3, 1, 1, **how, name="first")(x))
        for i in range(self.halvings):
            x = nn.relu(build(self.conv, self.features * 2 ** (i + 1), 4, 2, 1, **how, name=f"down{i}")(x))
        return build(self.conv, self.features * 2**self.halvings, 3, 1, 1, **how, name="last")(x)


class Decoder(nn.Module):
    """Features `[B, h, w, C]` -> images `[B, 2^n · h, 2^n · w, channels]` in (-1, 1), the mirror image of `Encoder`: a
    3×3 convolution, n = `halvings` times each pixel doubled and a 3×3 convolution, a 3×3 convolution. Borders are
    mirrored, and nothing is normalised, as in the paper (its section 6): each style has statistics of its own."""

    channels: int
    features: int = 32
    halvings: int = 2
    dtype: Dtype = jnp.float32
    conv: Layer = Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        how = {"padding_mode": "reflect", "kernel_init": nn.initializers.he_normal(), "dtype": self.dtype}
        x = nn.relu(build(self.conv, self.features * 2**self.halvings, 3, 1, 1, **how, name="first")(x))
        for i in reversed(range(self.halvings)):
            x = nn.relu(build(self.conv, self.features * 2**i, 3, 1, 1, **how, name=f"up{i}")(repeated(x, 2)))
        x = build(self.conv, self.channels, 3, 1, 1, **how, name="last")(x)
        return jnp.tanh(x.astype(jnp.float32))


class StyleTransfer(nn.Module):
    """Images `[B, H, W, C]` and styles -> the images in these styles, `[B, H, W, channels]` in (-1, 1), of any height
    and width: they are mirrored at the lower and right edge up to what the encoder halves, and cut back.

    It is called with styles as pictures `[B, H', W', C]` or codes `[B, S]`, and a strength from 0, which gives the
    images as the decoder has them, to 1, the style alone: a number, or `[B]`. Its other methods are its parts.
    features, halvings, conv: as for `Encoder` and `Decoder`; S is 2^(halvings + 1) · features.
    """

    channels: int
    features: int = 32
    halvings: int = 2
    dtype: Dtype = jnp.float32
    conv: Layer = Conv

    def setup(self) -> None:
        self.encoder = Encoder(self.features, self.halvings, self.dtype, self.conv)
        self.decoder = Decoder(self.channels, self.features, self.halvings, self.dtype, self.conv)

    def __call__(self, images: jax.Array, style: jax.Array, strength: jax.Array | float = 1.0) -> jax.Array:
        padded, cut = self._padded(images)
        features = self.encoder(padded)
        code = style if style.ndim == 2 else self.code(style)
        own, share = jnp.concatenate(moments(features), axis=-1), jnp.asarray(strength, jnp.float32).reshape(-1, 1)
        code = (1 - share) * own + share * code
        return cut(self.decoder(adain(features, *jnp.split(code, 2, axis=-1))))

    def encode(self, images: jax.Array) -> jax.Array:
        """Returns the features of images whose height and width 2^halvings divides."""
        return self.encoder(images)

    def decode(self, features: jax.Array) -> jax.Array:
        """Returns the images of features."""
        return self.decoder(features)

    def code(self, pictures: jax.Array) -> jax.Array:
        """Returns the codes of the styles of pictures `[B, H, W, C]` of any size, float32 `[B, S]`: the means of their
        features, then the deviations."""
        return jnp.concatenate(moments(self.encoder(self._padded(pictures)[0])), axis=-1)

    def _padded(self, images: jax.Array) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
        """Pads to what the encoder halves; features have two pixels a side at least, for their mirrored border."""
        return pad_to_multiple(images, 2**self.halvings, least=2 ** (self.halvings + 1))
