"""Dense networks, for points in the plane and other data without neighbourhoods, and for the first GANs of images.

Layers are handed in, see `jaxgan.networks.layers.handed`: `dense`, and `norm` between a dense layer and its activation,
which is given `condition`; None means no normalisation.
"""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.heads import Head
from jaxgan.networks.layers import Dense, Dropout, Layer, build, needs_bias, normalise

__all__ = ["Discriminator", "Generator", "leaky_relu"]


def leaky_relu(x: jax.Array) -> jax.Array:
    """Returns x where it is positive, and 0.2·x elsewhere."""
    return nn.leaky_relu(x, 0.2)


class Generator(nn.Module):
    """A dense generator: latent `[B, L]` -> `[B, *shape]`. It has dense layers of `widths` with `activation`, and a
    linear one, followed by tanh where the output is `bounded`, as images in (-1, 1) are. Norms are given `condition`;
    it is ignored otherwise."""

    shape: Sequence[int]
    widths: Sequence[int] = (128, 128)
    dtype: Dtype = jnp.float32
    bounded: bool = False
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    dense: Layer = Dense
    norm: Layer | None = None

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        x, norm, dtype = latent, self.norm, self.dtype
        for i, width in enumerate(self.widths):
            x = build(self.dense, width, use_bias=needs_bias(norm), dtype=dtype)(x)
            x = self.activation(normalise(norm, x, condition, train=train, dtype=dtype, name=f"norm{i}"))
        x = build(self.dense, math.prod(self.shape), dtype=dtype)(x).astype(jnp.float32).reshape(-1, *self.shape)
        return jnp.tanh(x) if self.bounded else x


class Discriminator(nn.Module):
    """A dense discriminator: `[B, ...]` -> `{"logits": [B], "features": [B, W]}`. It has dense layers of `widths` with
    `activation`, by default LeakyReLU 0.2, and a linear one.

    dropout: the share of activations that is dropped after every activation in training.
    head: instead of the linear layer, one of `jaxgan.networks.heads`, given the features and `condition`, which is
        given to norms besides.
    minibatch: a layer between features and head, such as `minibatch.MinibatchDiscrimination`.
    `features` is the last activation, float32, without what `minibatch` adds.
    """

    widths: Sequence[int] = (128, 128)
    dtype: Dtype = jnp.float32
    dropout: float = 0.0
    head: Head | None = None
    minibatch: nn.Module | None = None
    dense: Layer = Dense
    norm: Layer | None = None
    activation: Callable[[jax.Array], jax.Array] = leaky_relu

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        x, norm, dtype = image.reshape(image.shape[0], -1), self.norm, self.dtype
        for i, width in enumerate(self.widths):
            x = build(self.dense, width, use_bias=needs_bias(norm), dtype=dtype)(x)
            x = self.activation(normalise(norm, x, condition, train=train, dtype=dtype, name=f"norm{i}"))
            if self.dropout:
                x = Dropout(self.dropout)(x, train=train)
        outputs = {"features": x.astype(jnp.float32)}
        x = x if self.minibatch is None else self.minibatch(x)
        if self.head is not None:
            return outputs | self.head(x, condition)
        return outputs | {"logits": build(self.dense, 1, dtype=dtype)(x).reshape(-1).astype(jnp.float32)}
