"""Weights of layers: learned as they are, or rescaled each time they are used.

A layer calls `weights(layer, name, init, shape)` for every array that it learns ("kernel", "bias", "embedding") and
computes with the float32 array that comes back. `equalized` and `spectral` give a layer other weights than `learned`.
They return a factory like their argument, which may be handed to a network in its place: `conv=spectral(Conv)`,
`conv=spectral(partial(Conv, padding_mode="reflect"))`. Parameters keep their names and shapes.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Initializer
from jax import lax

from jaxgan.networks.products import sum_dtype

__all__ = ["Weights", "biased", "equalized", "learned", "spectral"]

Weights = Callable[[nn.Module, str, Initializer, tuple[int, ...]], jax.Array]
"""What makes a layer's weights of a module, their name, initialiser and shape: `learned`, or what is around it."""

# So many power iterations make a draw a fair estimate of the first singular vector; PyTorch starts with as many.
FIRST_TURNS = 15


def learned(layer: nn.Module, name: str, init: Initializer, shape: tuple[int, ...]) -> jax.Array:
    """Returns the parameter itself, float32 `shape`, drawn by `init`."""
    array: jax.Array = layer.param(name, init, shape, jnp.float32)
    return array


def biased(y: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns y `[..., features]` plus the bias `[features]`, rounded once.

    In float32 at least, since the bias's gradient is a sum over all pixels of all examples, 65,536 numbers for 64
    images of 32 pixels: bfloat16 has eight bits, and a sum in it stands still once it is 256 times what is added.
    """
    wide = sum_dtype(y.dtype)
    return (y.astype(wide) + bias.astype(wide).reshape((1,) * (y.ndim - 1) + (-1,))).astype(y.dtype)


@dataclasses.dataclass(frozen=True)
class _Equalized:
    """The weights of `equalized`."""

    gain: float
    lr_multiplier: float

    def __call__(self, layer: nn.Module, name: str, init: Initializer, shape: tuple[int, ...]) -> jax.Array:
        if len(shape) == 1:  # a bias is not drawn; scaled, so that it too learns at the multiplied rate
            start = lambda *args: init(*args) / self.lr_multiplier  # noqa: E731
            return learned(layer, name, start, shape) * self.lr_multiplier
        normal = nn.initializers.normal(1 / self.lr_multiplier)
        return learned(layer, name, normal, shape) * (self.gain * self.lr_multiplier / math.sqrt(math.prod(shape[:-1])))


@dataclasses.dataclass(frozen=True)
class _Spectral:
    """The weights of `spectral`."""

    turns: int
    eps: float

    def __call__(self, layer: nn.Module, name: str, init: Initializer, shape: tuple[int, ...]) -> jax.Array:
        weight = learned(layer, name, init, shape)
        if len(shape) == 1:
            return weight
        # u and v come from the weight as a constant: Miyato et al. differentiate σ = uᵀ W v by W alone.
        matrix: jax.Array = layer.matrix(weight)
        held = lax.stop_gradient(matrix)
        state = layer.variable("spectral", name, lambda: self._start(held, layer.make_rng("params")))
        if layer.is_mutable_collection("spectral") and not layer.is_initializing():
            state.value = _turned(held, state.value["v"], turns=self.turns, eps=self.eps)
        return weight / _product(state.value["u"], _product(matrix, state.value["v"]))

    def _start(self, matrix: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        v = jax.random.normal(key, matrix.shape[1:], jnp.float32)
        return _turned(matrix, v, turns=FIRST_TURNS, eps=self.eps)


@functools.partial(jax.jit, static_argnames=("turns", "eps"))  # initialising eagerly compiles it once for each shape
def _turned(matrix: jax.Array, v: jax.Array, *, turns: int, eps: float) -> dict[str, jax.Array]:
    """Makes `turns` power iterations, u = W v and then v = Wᵀ u, each scaled to length 1: they approach the singular
    vectors of the largest singular value."""

    def unit(x: jax.Array) -> jax.Array:
        return x / jnp.maximum(jnp.linalg.norm(x), eps)

    def once(_: Any, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        u = unit(_product(matrix, pair[1]))
        return u, unit(_product(matrix.T, u))

    # A loop of one iteration would be a loop in the program, too.
    pair = once(0, (jnp.zeros_like(matrix[:, 0]), v))
    u, v = lax.fori_loop(1, turns, once, pair) if turns > 1 else pair
    return {"u": u, "v": v}


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns a @ b with all bits of float32, which GPUs and TPUs don't use by default: σ divides every weight."""
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)


def equalized(
    layer: Callable[..., Any], *, gain: float = math.sqrt(2), lr_multiplier: float = 1.0
) -> Callable[..., Any]:
    """Returns a layer with an equalised learning rate: weights are drawn from N(0, 1), whatever the layer's
    initialiser, and multiplied by gain / √(inputs of an output) each time they are used, so that Adam's steps have the
    same relative size in every layer. Karras et al. 2018 (arXiv 1710.10196), section 4.1.

    layer: `Conv`, `ConvTranspose`, `Dense`, `Embed`, or a partial of one.
    gain: √2 before a ReLU (He et al. 2015); 1 for a linear output.
    lr_multiplier: scales the rate of weights and biases, which start at 1 / lr_multiplier times their size and are
        multiplied by it in use; 0.01 in the mapping network of StyleGAN (arXiv 1812.04948), appendix C.
    """
    if lr_multiplier <= 0:
        raise ValueError(f"lr_multiplier must be above 0, got {lr_multiplier}")
    return _rescaled("equalized", layer, _Equalized(gain, lr_multiplier))


def spectral(layer: Callable[..., Any], *, turns: int = 1, eps: float = 1e-12) -> Callable[..., Any]:
    """Returns a layer with spectral normalisation: its weight W, as a matrix `[outputs, all else]` (of an embedding
    `[classes, features]`), is divided by an estimate σ = uᵀ W v of its largest singular value. Miyato et al. 2018
    (arXiv 1802.05957), algorithm 1.

    The unit vectors u and v are in the collection `spectral` as `{"kernel": {"u", "v"}}` of the layer. A pass in which
    that collection is mutable updates them by `turns` power iterations before it uses them; every other pass, as in
    evaluation, leaves them unchanged. They are constants to the gradient. New layers have made 15 iterations. Matrices,
    the order within an iteration and numbers are those of torch.nn.utils.parametrizations.spectral_norm; a weight of
    zeros has no norm and gives NaN.

    layer: `Conv`, `ConvTranspose`, `Dense`, `Embed`, or a partial of one. Biases stay as they are.
    eps: the least length that a vector is divided by.
    """
    if turns < 1:
        raise ValueError(f"turns must be at least 1, got {turns}")
    return _rescaled("spectral", layer, _Spectral(turns, eps))


def _rescaled(name: str, layer: Callable[..., Any], weights: Weights) -> Callable[..., Any]:
    factory = layer.func if isinstance(layer, functools.partial) else layer
    if "weights" not in inspect.signature(factory).parameters or not hasattr(factory, "matrix"):
        raise ValueError(
            f"{name}() takes Conv, ConvTranspose, Dense or Embed of jaxgan.networks.layers, or a partial of one, got "
            f"{getattr(factory, '__qualname__', factory)}"
        )
    if isinstance(layer, functools.partial) and "weights" in layer.keywords:
        raise ValueError(
            f"{name}() takes a layer whose weights are learned as they are, got {layer.keywords['weights']}"
        )
    return functools.partial(layer, weights=weights)
