"""The compiled part of the loop: many iterations in one dispatch, with the data set on the device."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import batch_indices
from jaxgan.ensemble import finite
from jaxgan.parallel import Layout
from jaxgan.state import ROLES
from jaxgan.training.data_options import RealTransform
from jaxgan.training.experiment import GAN

__all__ = ["CHUNK", "Program", "all_finite", "compile_chunk", "empty", "iterate", "order_key", "put", "seen"]

State = Any
Buffer = dict[str, jax.Array]
CHUNK = 1000  # most iterations in one dispatch, and the rows of the metrics buffer


class Program(NamedTuple):
    """run: `(state, count) -> (state, metrics)`, `count` iterations, at most `CHUNK`; the state is donated, metrics are
    `[CHUNK]` by name, or `[CHUNK, S]` in an ensemble, of which the first `count` count. compiled: what XLA made of it.
    hint: what the last chunk was held back by, in words, or nothing."""

    run: Callable[[State, int], tuple[State, Buffer]]
    compiled: jax.stages.Compiled
    hint: Callable[[], str] = str
    close: Callable[[], None] = lambda: None


def order_key(key: jax.Array) -> jax.Array:
    """What the order of the images follows from, for a run's key."""
    return jax.random.fold_in(key, ROLES["order"])


def seen(images: jax.Array, transform: RealTransform | None, key: jax.Array, numbers: jax.Array) -> jax.Array:
    """Stored images, uint8 `[B, H, W, C]` or floats that are taken as they are, as a discriminator sees them: in
    [-1, 1], and changed at random by `key` and their `numbers` `[B]`."""
    if images.dtype == jnp.uint8:
        images = images.astype(jnp.float32) / 127.5 - 1.0
    return transform(images, jax.vmap(partial(jax.random.fold_in, key))(numbers)) if transform else images


def iterate(
    gan: GAN, transform: RealTransform | None, state: State, images: jax.Array, labels: jax.Array
) -> tuple[State, Buffer]:
    """One iteration on stored images, as `seen` takes them, and labels `[B]`."""
    key = jax.random.fold_in(jax.random.fold_in(state.key, ROLES["transform"]), state.step)
    return gan.iteration(state, {"image": seen(images, transform, key, jnp.arange(len(images))), "label": labels})


def compile_chunk(
    gan: GAN,
    state: State,
    images: jax.Array,
    labels: jax.Array,
    transform: RealTransform | None = None,
    *,
    layout: Layout,
    options: dict[str, Any] | None = None,
) -> Program:
    """The program for a data set that stays on the device: images `[N, H, W, C]`, labels `[N]`. Every batch is gathered
    there. The count is traced: one program serves chunks of any length, with the same bits. `options` are XLA's."""

    def chunk(state: State, images: jax.Array, labels: jax.Array, count: jax.Array) -> tuple[State, Buffer]:
        @partial(jax.jit, inline=True)  # traced once for both uses below
        @layout.over_members
        def one(state: State) -> tuple[State, Buffer]:
            chosen = layout.split(batch_indices(order_key(state.key), state.step, gan.batch_size, len(images)))
            return iterate(gan, transform, state, *layout.split((images[chosen], labels[chosen])))

        def body(i: jax.Array, carry: tuple[State, Buffer]) -> tuple[State, Buffer]:
            state, buffer = carry
            state, metrics = one(state)
            return layout.keep(state), put(buffer, i, metrics)

        return jax.lax.fori_loop(0, count, body, (state, empty(jax.eval_shape(one, state)[1])))

    lies, everywhere = layout.of(state), layout.everywhere
    inputs = (lies, everywhere, everywhere, everywhere)
    jitted = jax.jit(chunk, donate_argnums=0, in_shardings=inputs, out_shardings=(lies, everywhere))
    compiled = jitted.lower(state, images, labels, np.int32(0)).compile(options)
    return Program(lambda state, count: compiled(state, images, labels, np.int32(count)), compiled)


def empty(metrics: Buffer) -> Buffer:
    """Room for the metrics, which may be abstract, of `CHUNK` iterations."""
    floats = {name: jnp.float64 if value.dtype == jnp.float64 else jnp.float32 for name, value in metrics.items()}
    return {name: jnp.zeros((CHUNK, *value.shape), floats[name]) for name, value in metrics.items()}


def put(buffer: Buffer, i: jax.Array, metrics: Buffer) -> Buffer:
    """The buffer with the metrics of the chunk's iteration `i`."""
    return {name: rows.at[i].set(metrics[name]) for name, rows in buffer.items()}


all_finite = jax.jit(finite)
