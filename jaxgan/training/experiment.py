"""What an experiment hands to the loop."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.data import ImageSet
from jaxgan.state import GANState
from jaxgan.steps import Sampler, Step
from jaxgan.training.pictures import to_uint8

__all__ = ["GAN", "Build", "DataSpec", "display_inputs", "generate_with", "images_of"]

State = Any  # a pytree with `step` and `key`


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What networks must know of their data."""

    name: str
    count: int
    size: int
    channels: int
    classes: int

    @classmethod
    def of(cls, data: ImageSet) -> "DataSpec":
        count, size, _, channels = data.images.shape
        return cls(data.name, count, size, channels, data.classes)


class GAN(NamedTuple):
    """All that the loop knows of a GAN.

    init: `key -> state`, a pytree with an int32 `step` and a `key`.
    iteration: `(state, batch) -> (state, metrics)`, one generator update.
    batch_size: examples that an iteration consumes, all critic steps together.
    sampler: what the generator is fed, as in the steps.
    generate: `(state, inputs, ema) -> images` in [-1, 1], with averaged (ema) or raw weights.
    """

    init: Callable[[jax.Array], State]
    iteration: Step
    batch_size: int
    sampler: Sampler
    generate: Callable[[State, dict[str, jax.Array], bool], jax.Array]


Build = Callable[[Any, DataSpec], GAN]


def generate_with(state: GANState, inputs: dict[str, jax.Array], ema: bool) -> jax.Array:
    """`GAN.generate` for every GANState: the generator in evaluation mode."""
    generator = state.generator
    variables = state.ema if ema else {"params": generator.params, **generator.variables}
    return generator.apply_fn(variables, inputs["latent"], inputs.get("condition"), train=False)


def images_of(gan: GAN, state: State, inputs: dict[str, jax.Array], ema: bool = True) -> jax.Array:
    """uint8 images `[N, H, W, C]`."""
    return to_uint8(gan.generate(state, inputs, ema))


def display_inputs(gan: GAN, key: jax.Array, first: int, count: int, classes: int) -> dict[str, jax.Array]:
    """Inputs number `first` to `first + count` of an endless list that `key` fixes, labels taking turns."""
    number = first + jnp.arange(count)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(number)
    return gan.sampler({"label": number % max(classes, 1)}, keys)
