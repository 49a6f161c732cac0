"""The compiled part of the loop: many iterations in one dispatch, with the data set on the device."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.data import batch_indices
from jaxgan.state import ROLES
from jaxgan.training.experiment import GAN

__all__ = ["CHUNK", "all_finite", "compile_chunk"]

State = Any
Buffer = dict[str, jax.Array]
CHUNK = 100  # most iterations in one dispatch, and the rows of the metrics buffer


def compile_chunk(
    gan: GAN, state: State, images: jax.Array, labels: jax.Array
) -> Callable[[State, int], tuple[State, Buffer]]:
    """The compiled `(state, count) -> (state, metrics)`: `count` iterations, at most `CHUNK`, in one dispatch.

    `images` uint8 `[N, H, W, C]` and `labels` `[N]` stay on the device, where every batch is gathered. The count is
    traced: one program serves chunks of any length, with the same bits. The state is donated. Metrics are `[CHUNK]` by
    name, of which the first `count` count.
    """

    def iterate(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, Buffer]:
        order = jax.random.fold_in(state.key, ROLES["order"])
        chosen = batch_indices(order, state.step, gan.batch_size, len(images))
        batch = {"image": images[chosen].astype(jnp.float32) / 127.5 - 1.0, "label": labels[chosen]}
        return gan.iteration(state, batch)

    @partial(jax.jit, donate_argnums=0)
    def chunk(state: State, images: jax.Array, labels: jax.Array, count: jax.Array) -> tuple[State, Buffer]:
        names = jax.eval_shape(iterate, state, images, labels)[1]
        buffer = {name: jnp.zeros(CHUNK) for name in names}

        def body(i: jax.Array, carry: tuple[State, Buffer]) -> tuple[State, Buffer]:
            state, buffer = carry
            state, metrics = iterate(state, images, labels)
            return state, {name: buffer[name].at[i].set(metrics[name]) for name in buffer}

        return jax.lax.fori_loop(0, count, body, (state, buffer))

    program = chunk.lower(state, images, labels, jnp.int32(0)).compile()
    return lambda state, count: program(state, images, labels, jnp.int32(count))


@jax.jit
def all_finite(state: State) -> jax.Array:
    """Whether every float of a pytree is neither NaN nor infinite."""
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in floats]))
