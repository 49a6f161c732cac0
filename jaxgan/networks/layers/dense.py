"""Layers for vectors and labels: dense layers and embeddings."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxgan.networks.layers.labels import rows
from jaxgan.networks.layers.weights import Weights, biased, learned

__all__ = ["Dense", "Embed"]


class Dense(nn.Module):
    """A dense layer, `[..., C] -> [..., features]`: x times `kernel` `[C, features]` plus `bias`, with the parameters
    and numbers of Linen's own; `weights` as in `jaxgan.networks.layers.weights`."""

    features: int
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros
    dtype: Dtype = jnp.float32
    weights: Weights = learned

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.weights(self, "kernel", self.kernel_init, (x.shape[-1], self.features))
        y = jnp.dot(x.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            y = biased(y, self.weights(self, "bias", self.bias_init, (self.features,)))
        return y

    @nn.nowrap
    def matrix(self, kernel: jax.Array) -> jax.Array:
        """Returns the kernel as the matrix of spectral normalisation, `[features, C]`."""
        return kernel.T


class Embed(nn.Module):
    """An embedding of labels, integers `[B]` in [0, classes) -> `[B, features]`: the label's row of `embedding`
    `[classes, features]`, drawn from N(0, 1). NaN for another label, ValueError without labels. The gradient is added
    up in a fixed order."""

    classes: int
    features: int
    embedding_init: Initializer = nn.initializers.normal(1.0)
    dtype: Dtype = jnp.float32
    weights: Weights = learned

    @nn.compact
    def __call__(self, labels: jax.Array | None) -> jax.Array:
        table = self.weights(self, "embedding", self.embedding_init, (self.classes, self.features))
        return rows(table, labels).astype(self.dtype)

    @nn.nowrap
    def matrix(self, embedding: jax.Array) -> jax.Array:
        """Returns the embedding as the matrix of spectral normalisation, `[classes, features]`, unchanged."""
        return embedding
