"""Norms whose scale and bias depend on a condition: looked up for a class, or computed from a style."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.layers.dense import Dense
from jaxgan.networks.layers.handed import Layer, build, normalise
from jaxgan.networks.layers.labels import rows
from jaxgan.networks.layers.norms import BatchNorm, InstanceNorm

__all__ = ["AdaIN", "AdaptiveNorm", "ConditionalBatchNorm", "ConditionalInstanceNorm"]


class _ByClass(nn.Module):
    """A scale and a bias for each class."""

    classes: int
    dtype: Dtype = jnp.float32

    def _scaled(self, x: jax.Array, normalised: jax.Array, condition: jax.Array | None) -> jax.Array:
        size, shape = x.shape[0], (self.classes, x.shape[-1])
        tables = (
            self.param("scale", nn.initializers.ones, shape, jnp.float32),
            self.param("bias", nn.initializers.zeros, shape, jnp.float32),
        )
        scale, bias = (
            rows(table, condition, size).reshape(size, *(1,) * (x.ndim - 2), x.shape[-1]) for table in tables
        )
        return (normalised * scale + bias).astype(self.dtype)


class ConditionalBatchNorm(_ByClass):
    """`BatchNorm` of `[B, ..., C]` with a scale and a bias for each class, `[classes, C]`, at first 1 and 0. All
    classes share the statistics, which are over `axis_name` too where one is given.

    de Vries et al. 2017 (arXiv 1707.00683), where a network computes gain and bias; looked up by class, as here, in the
    generator of Miyato & Koyama 2018 (arXiv 1802.05637). ValueError without labels `[B]`.
    """

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        normalised = BatchNorm(affine=False, axis_name=self.axis_name, name="statistics")(x, train=train)
        return self._scaled(x, normalised, condition)


class ConditionalInstanceNorm(_ByClass):
    """`InstanceNorm` of `[B, ..., C]` with a scale and a bias for each class, `[classes, C]`, at first 1 and 0.
    Dumoulin et al. 2017 (arXiv 1610.07629), equation 5. ValueError without labels `[B]`."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array | None = None) -> jax.Array:
        normalised = InstanceNorm(affine=False, epsilon=self.epsilon, name="statistics")(x)
        return self._scaled(x, normalised, condition)


class AdaptiveNorm(nn.Module):
    """Normalisation of `[B, ..., C]` by `norm` without a scale and bias of its own, followed by a scale and bias that a
    dense layer `style` computes from the condition, a style `[B, S]`: y = (1 + scale) · normalised + bias.

    With `norm=BatchNorm` it is the generator's in Brock et al. 2019 (arXiv 1809.11096), appendix B, where a style is a
    part of the latent beside a class's embedding. ValueError without styles.

    separate: whether scale and bias have a dense layer each, `scale` and `bias`, in place of `style`; it makes a
        difference where weights are normalised, as BigGAN's are.
    """

    norm: Layer
    dense: Layer = Dense
    dtype: Dtype = jnp.float32
    separate: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        if condition is None or condition.ndim != 2 or condition.shape[0] != x.shape[0]:
            got = None if condition is None else condition.shape
            raise ValueError(
                f"{type(self).__name__} needs styles: give as the condition floats [{x.shape[0]}, S], got {got}"
            )
        # `affine` is our norms' word for it, the others are Linen's.
        bare = functools.partial(normalise, affine=False, use_scale=False, use_bias=False, dtype=jnp.float32)
        normalised = bare(self.norm, x, train=train, name="statistics").astype(jnp.float32)
        channels = x.shape[-1]
        layers = {"scale": channels, "bias": channels} if self.separate else {"style": 2 * channels}
        made = [build(self.dense, n, dtype=self.dtype, name=name)(condition) for name, n in layers.items()]
        style = jnp.concatenate(made, axis=-1).astype(jnp.float32)
        scale, bias = jnp.split(style.reshape(x.shape[0], *(1,) * (x.ndim - 2), -1), 2, axis=-1)
        return (normalised * (1 + scale) + bias).astype(self.dtype)


class AdaIN(AdaptiveNorm):
    """`AdaptiveNorm` of instance normalisation: adaptive instance normalisation, Huang & Belongie 2017 (arXiv
    1703.06868), equation 8, with styles from a dense layer as in Karras et al. 2019 (arXiv 1812.04948), equation 1."""

    norm: Layer = InstanceNorm
