"""Magnitude-preserving layers: what comes out is as large as what goes in, whatever is learned.

Karras et al. 2024 (arXiv 2312.02696), section 2 and appendix B: weights of unit length for each output, activations and
sums divided by how much they change the root mean square of independent numbers from N(0, 1). R3GAN's authors took them
up for its successor.
"""

import functools
import inspect
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Initializer

from jaxgan.networks.layers.handed import Layer
from jaxgan.networks.layers.weights import learned

__all__ = ["leaky", "magnitude", "mixed", "normalised", "silu"]

EPSILON = 1e-4  # added to lengths, the paper's
SILU = 0.596  # root mean square of SiLU of N(0, 1), the paper's


def leaky(x: jax.Array, slope: float = 0.2) -> jax.Array:
    """Returns LeakyReLU divided by its root mean square for N(0, 1), √((1 + slope²) / 2)."""
    return nn.leaky_relu(x, slope) * jnp.asarray(math.sqrt(2 / (1 + slope**2)), x.dtype)


def silu(x: jax.Array) -> jax.Array:
    """Returns x·sigmoid(x), divided by its root mean square for N(0, 1). Karras et al. 2024, equation 81."""
    return nn.silu(x) / jnp.asarray(SILU, x.dtype)


def mixed(x: jax.Array, y: jax.Array, share: float) -> jax.Array:
    """Returns ((1 - share)·x + share·y) / √((1 - share)² + share²), as large as x and y where they are independent and
    equally large. Karras et al. 2024, equation 88. ValueError for a share outside of [0, 1]."""
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share from 0 to 1, got {share}")
    scale = math.hypot(1 - share, share)
    return x * jnp.asarray((1 - share) / scale, x.dtype) + y * jnp.asarray(share / scale, y.dtype)


def magnitude(layer: Layer) -> Layer:
    """Returns a layer whose weights have length 1 for each output when they are used, and no bias: N(0, 1), whatever
    the layer's initialiser, divided by their length. Karras et al. 2024, equation 66.

    The gradient is orthogonal to a weight that is scaled in use, so that an update makes it longer and the next ones
    count less. `normalised` after each update, as a step's `project`, keeps lengths and so the rate as they were.
    layer: `Conv` or `Dense` of `jaxgan.networks.layers`, or a partial of one. ValueError for others.
    """
    factory = layer.func if isinstance(layer, functools.partial) else layer
    takes = inspect.signature(factory).parameters
    if "weights" not in takes or "use_bias" not in takes:
        name = getattr(factory, "__qualname__", factory)
        raise ValueError(f"magnitude() takes Conv or Dense of jaxgan.networks.layers, or a partial of one, got {name}")
    return functools.partial(layer, weights=_of_unit_length, use_bias=False)


def _of_unit_length(layer: nn.Module, name: str, init: Initializer, shape: tuple[int, ...]) -> jax.Array:
    del init
    weight = learned(layer, name, nn.initializers.normal(1.0), shape)
    return _scaled(weight) / math.sqrt(math.prod(shape[:-1]))


def _scaled(weight: jax.Array) -> jax.Array:
    """Returns a weight `[..., outputs]` whose root mean square is 1 for each output, but for ε."""
    axes = tuple(range(weight.ndim - 1))
    inputs = math.prod(weight.shape[:-1])
    length = jnp.sqrt(jnp.sum(weight**2, axis=axes, keepdims=True))
    return weight / (EPSILON + length / math.sqrt(inputs))


def normalised(params: Any) -> Any:
    """Returns parameters in which every `kernel` `[..., outputs]` has a root mean square of 1 for each output: forced
    weight normalisation, `params -> params`, a step's `project`. Karras et al. 2024, algorithm 1. Others stay."""

    def one(path: Any, leaf: jax.Array) -> jax.Array:
        return _scaled(leaf) if getattr(path[-1], "key", None) == "kernel" else leaf

    return jax.tree_util.tree_map_with_path(one, params)
