"""Dense networks, for points of the plane and whatever else has no neighbours."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

__all__ = ["Discriminator", "Generator"]


class Generator(nn.Module):
    """latent `[B, L]` -> `[B, *shape]`, unbounded: dense layers of `widths` with ReLU, and a linear one. `condition` is
    ignored."""

    shape: Sequence[int]
    widths: Sequence[int] = (128, 128)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        del condition, train
        x = latent
        for width in self.widths:
            x = nn.relu(nn.Dense(width, dtype=self.dtype)(x))
        return nn.Dense(math.prod(self.shape), dtype=self.dtype)(x).astype(jnp.float32).reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """`[B, ...]` -> `{"logits": [B]}`: dense layers of `widths` with LeakyReLU 0.2, and a linear one. `condition` is
    ignored."""

    widths: Sequence[int] = (128, 128)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        del condition, train
        x = image.reshape(len(image), -1)
        for width in self.widths:
            x = nn.leaky_relu(nn.Dense(width, dtype=self.dtype)(x), 0.2)
        return {"logits": nn.Dense(1, dtype=self.dtype)(x).reshape(-1).astype(jnp.float32)}
