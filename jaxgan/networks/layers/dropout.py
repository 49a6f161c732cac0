"""Dropout."""

import flax.linen as nn
import jax
import jax.numpy as jnp

__all__ = ["Dropout"]


class Dropout(nn.Module):
    """Dropout of `[B, ...]`: in training a number becomes 0 with probability `rate`, 0 ≤ rate < 1, and the others are
    divided by 1 - rate. Srivastava et al. 2014 (JMLR 15), section 4; scaled in training instead of evaluation.

    It draws with the key "dropout", the same numbers as Linen's own, under `jax_enable_x64` too, where that one draws
    others. ValueError for another rate.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if not 0 <= self.rate < 1:
            raise ValueError(f"expected a rate of dropout from 0 to below 1, got {self.rate}")
        if not train or not self.rate:
            return x
        share = 1.0 - self.rate
        kept = jax.random.bernoulli(self.make_rng("dropout"), jnp.float32(share), x.shape)
        return jnp.where(kept, x / share, jnp.zeros_like(x))
