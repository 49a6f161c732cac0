"""Dense networks, for points of the plane and whatever else has no neighbours, and for the first GANs of images."""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.heads import Head
from jaxgan.networks.layers import Dense

__all__ = ["Discriminator", "Generator"]


class Generator(nn.Module):
    """latent `[B, L]` -> `[B, *shape]`: dense layers of `widths` with `activation`, and a linear one, followed by tanh
    where the output is `bounded`, as images in (-1, 1) are. `condition` is ignored."""

    shape: Sequence[int]
    widths: Sequence[int] = (128, 128)
    dtype: Dtype = jnp.float32
    bounded: bool = False
    activation: Callable[[jax.Array], jax.Array] = nn.relu

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        del condition, train
        x = latent
        for width in self.widths:
            x = self.activation(Dense(width, dtype=self.dtype)(x))
        x = Dense(math.prod(self.shape), dtype=self.dtype)(x).astype(jnp.float32).reshape(-1, *self.shape)
        return jnp.tanh(x) if self.bounded else x


class Discriminator(nn.Module):
    """`[B, ...]` -> `{"logits": [B], "features": [B, W]}`: dense layers of `widths` with LeakyReLU 0.2, and a linear
    one.

    dropout: the share of activations that is dropped after every LeakyReLU in training.
    head: instead of the linear layer, one of `jaxgan.networks.heads`, given the features and `condition`, which is
        ignored otherwise.
    minibatch: a layer between features and head, such as `minibatch.MinibatchDiscrimination`.
    `features` is the last activation, float32, without what `minibatch` adds.
    """

    widths: Sequence[int] = (128, 128)
    dtype: Dtype = jnp.float32
    dropout: float = 0.0
    head: Head | None = None
    minibatch: nn.Module | None = None

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        x = image.reshape(len(image), -1)
        for width in self.widths:
            x = nn.leaky_relu(Dense(width, dtype=self.dtype)(x), 0.2)
            if self.dropout:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        said = {"features": x.astype(jnp.float32)}
        x = x if self.minibatch is None else self.minibatch(x)
        if self.head is not None:
            return said | self.head(x, condition)
        return said | {"logits": Dense(1, dtype=self.dtype)(x).reshape(-1).astype(jnp.float32)}
