"""The compiled part of the loop: many iterations in one dispatch, with the data on the device."""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import batch_indices
from jaxgan.ensemble import finite
from jaxgan.media import Image
from jaxgan.parallel import Layout
from jaxgan.state import ROLES
from jaxgan.training.options.data import RealTransform
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import GAN

__all__ = [
    "CHUNK",
    "Program",
    "all_finite",
    "compile_chunk",
    "decode_examples",
    "empty_buffer",
    "iterate",
    "order_key",
    "store_metrics",
]

State = Any
Buffer = dict[str, jax.Array]
Stored = dict[str, jax.Array]  # examples of a set by field
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
    """Derives the key of a single set's order from a run's key."""
    return jax.random.fold_in(key, ROLES["order"])


def set_key(key: jax.Array, name: str) -> jax.Array:
    """Derives the key of the set `name` from a run's key."""
    return jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))


def decode_examples(
    data: DataSpec, stored: Stored, transform: RealTransform | None, key: jax.Array, numbers: jax.Array
) -> dict[str, jax.Array]:
    """Decodes stored examples of one set, `[B, ...]` by field, for networks; images are changed at random by `key` and
    their `numbers` `[B]`, all of an example's alike."""
    batch = {name: field.decode(stored[name]) for name, field in data.fields.items()}
    if transform is None:
        return batch
    keys = jax.vmap(partial(jax.random.fold_in, key))(numbers)
    images = [name for name, field in data.fields.items() if field.kind == Image.kind]
    return {**batch, **{name: transform(batch[name], keys) for name in images}}


def iterate(
    gan: GAN, data: DataSpec, transform: RealTransform | None, state: State, stored: Any
) -> tuple[State, Buffer]:
    """Makes one iteration on stored examples, by field, or by set and field."""
    key = jax.random.fold_in(jax.random.fold_in(state.key, ROLES["transform"]), state.step)

    def decoded(data: DataSpec, stored: Stored, key: jax.Array) -> dict[str, jax.Array]:
        return decode_examples(
            data, stored, transform, key, jnp.arange(len(next(iter(stored.values()))), dtype=jnp.int32)
        )

    if not data.sets:
        return gan.iteration(state, decoded(data, stored, key))
    batch: Any = {name: decoded(one, stored[name], set_key(key, name)) for name, one in data.sets.items()}
    return gan.iteration(state, batch)


def compile_chunk(
    gan: GAN,
    state: State,
    data: DataSpec,
    examples: Any,
    transform: RealTransform | None = None,
    *,
    layout: Layout,
    options: dict[str, Any] | None = None,
) -> Program:
    """Returns the program for data that stay on the device: `examples` `[N, ...]` by field, or by set and field. Every
    batch is gathered there, of several sets from each in an order of its own. The count is traced: one program serves
    chunks of any length, with the same bits. `options` are XLA's."""

    def some(state: State, stored: Stored, size: int, name: str | None = None) -> Stored:
        count = len(next(iter(stored.values())))
        key = order_key(state.key) if name is None else set_key(order_key(state.key), name)
        chosen = layout.split(batch_indices(key, state.step, size, count))
        return layout.split({name: array[chosen] for name, array in stored.items()})

    def chunk(state: State, examples: Any, count: jax.Array) -> tuple[State, Buffer]:
        @partial(jax.jit, inline=True)  # traced once for both uses below
        @layout.over_members
        def one(state: State) -> tuple[State, Buffer]:
            if not data.sets:
                return iterate(gan, data, transform, state, some(state, examples, gan.taken()))
            batch = {name: some(state, examples[name], gan.taken(name), name) for name in data.sets}
            return iterate(gan, data, transform, state, batch)

        def body(i: jax.Array, carry: tuple[State, Buffer]) -> tuple[State, Buffer]:
            state, buffer = carry
            state, metrics = one(state)
            return layout.keep(state), store_metrics(buffer, i, metrics)

        return jax.lax.fori_loop(0, count, body, (state, empty_buffer(jax.eval_shape(one, state)[1])))

    lies, everywhere = layout.of(state), layout.everywhere
    inputs = (lies, everywhere, everywhere)
    jitted = jax.jit(chunk, donate_argnums=0, in_shardings=inputs, out_shardings=(lies, everywhere))
    compiled = jitted.lower(state, examples, np.int32(0)).compile(options)
    return Program(lambda state, count: compiled(state, examples, np.int32(count)), compiled)


def empty_buffer(metrics: Buffer) -> Buffer:
    """Returns zeros for the metrics, which may be abstract, of `CHUNK` iterations."""
    floats = {name: jnp.float64 if value.dtype == jnp.float64 else jnp.float32 for name, value in metrics.items()}
    return {name: jnp.zeros((CHUNK, *value.shape), floats[name]) for name, value in metrics.items()}


def store_metrics(buffer: Buffer, i: jax.Array, metrics: Buffer) -> Buffer:
    """Returns the buffer with the metrics of the chunk's iteration `i`."""
    return {name: rows.at[i].set(metrics[name]) for name, rows in buffer.items()}


_finite = jax.jit(finite)


def all_finite(state: State) -> jax.Array:
    """Returns whether no float of a state is NaN or infinite."""
    # Its leaves alone: a state's tree names the functions of its GAN, so that of each GAN a program would stay.
    return _finite(jax.tree.leaves(state))
