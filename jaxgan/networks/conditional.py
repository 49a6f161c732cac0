"""How a class label reaches a network.

`LabelledGenerator` and `LabelledDiscriminator` put it beside what any family's network is given, `ConditionalBatchNorm`
into its normalisation; heads that judge by it are in `jaxgan.networks.heads`.

A condition is the labels, integers `[B]` in [0, classes). A compiled program cannot raise an error for another label:
what comes of it is NaN, which nobody overlooks, and neither no class at all nor the class with the nearest number.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.layers import BatchNorm

__all__ = ["ConditionalBatchNorm", "LabelledDiscriminator", "LabelledGenerator", "one_hot"]


def one_hot(labels: jax.Array | None, classes: int, size: int) -> jax.Array:
    """Labels `[size]` -> float32 `[size, classes]`: 1 at the label, otherwise 0; all NaN for a label outside
    [0, classes). ValueError unless labels are integers of that shape, None above all."""
    if labels is None:
        raise ValueError(
            f"this network needs labels: give as its condition integers [{size}] from 0 to {classes - 1}, got None"
        )
    if labels.shape != (size,) or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"expected as labels integers of shape {(size,)}, got {labels.dtype} of shape {labels.shape}")
    labels = labels.astype(jnp.int32)
    inside = (labels >= 0) & (labels < classes)
    return jnp.where(inside.reshape(-1, 1), jax.nn.one_hot(labels, classes, dtype=jnp.float32), jnp.nan)


def _rows(table: jax.Array, labels: jax.Array | None, size: int) -> jax.Array:
    """The labels' rows of a table `[classes, ...] -> [size, ...]`, exactly."""
    # Not by their index: GPUs add up the gradient of a gather in no fixed order, and a run would not repeat itself.
    return jnp.dot(one_hot(labels, len(table), size), table, precision=jax.lax.Precision.HIGHEST)


class LabelledGenerator(nn.Module):
    """`generator` on latents `[B, L]` that are followed by the label `[B]`: as one-hot, `classes` numbers, or learned,
    `embedding` numbers for each class, which start as draws from N(0, 1) like a latent's.

    Mirza & Osindero 2014 (arXiv 1411.1784), section 3.2; in their experiments each passes a dense layer before the two
    are joined. The inner generator is given no condition. ValueError without labels.
    """

    generator: nn.Module
    classes: int
    embedding: int | None = None

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        size = len(latent)
        if self.embedding is None:
            label = one_hot(condition, self.classes, size)
        else:
            init = nn.initializers.normal(1.0)
            table = self.param("embedding", init, (self.classes, self.embedding), jnp.float32)
            label = _rows(table, condition, size)
        return self.generator(jnp.concatenate([latent, label.astype(latent.dtype)], axis=1), None, train=train)


class LabelledDiscriminator(nn.Module):
    """`discriminator` on images `[B, ..., C]` with more channels that show the label `[B]`: `classes` constant ones, of
    which the label's is 1 and the others 0, or, `embedded`, one that is a learned map for each class, its pixels at
    first draws from N(0, 1).

    Mirza & Osindero 2014 (arXiv 1411.1784), section 3.2; in their experiments each passes a dense layer before the two
    are joined. Returns what the inner discriminator says, which is given no condition. ValueError without labels.
    """

    discriminator: nn.Module
    classes: int
    embedded: bool = False

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        size, *pixels, _ = image.shape
        if self.embedded:
            init = nn.initializers.normal(1.0)
            table = self.param("embedding", init, (self.classes, math.prod(pixels)), jnp.float32)
            label = _rows(table, condition, size).reshape(size, *pixels, 1)
        else:
            label = one_hot(condition, self.classes, size).reshape(size, *(1,) * len(pixels), self.classes)
            label = jnp.broadcast_to(label, (size, *pixels, self.classes))
        return self.discriminator(jnp.concatenate([image, label.astype(image.dtype)], axis=-1), None, train=train)


class ConditionalBatchNorm(nn.Module):
    """`layers.BatchNorm` of `[B, ..., C]` with a gain and a bias for each class, `[classes, C]`, at first 1 and 0. All
    classes share the statistics, which are over `axis_name` too where one is given.

    de Vries et al. 2017 (arXiv 1707.00683), where a network computes gain and bias; looked up by class, as here, in the
    generator of Miyato & Koyama 2018 (arXiv 1802.05637). ValueError without labels `[B]`.
    """

    classes: int
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        size, shape = len(x), (self.classes, x.shape[-1])
        tables = (
            self.param("scale", nn.initializers.ones, shape, jnp.float32),
            self.param("bias", nn.initializers.zeros, shape, jnp.float32),
        )
        scale, bias = (
            _rows(table, condition, size).reshape(size, *(1,) * (x.ndim - 2), x.shape[-1]) for table in tables
        )
        normalised = BatchNorm(affine=False, axis_name=self.axis_name, name="statistics")(x, train=train)
        return (normalised * scale + bias).astype(self.dtype)
