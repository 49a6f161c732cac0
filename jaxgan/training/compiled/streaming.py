"""The loop's program for a data set that doesn't fit the device: a batch a dispatch, the next one on its way."""

import math
import time
from collections.abc import Generator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.stream import Stream, batches
from jaxgan.parallel import Layout
from jaxgan.training.compiled.program import Buffer, Program, empty_buffer, iterate, order_key, store_metrics
from jaxgan.training.distributed import processes
from jaxgan.training.options.data import RealTransform
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import GAN

__all__ = ["compile_stream"]

State = Any
Batches = Generator[dict[str, np.ndarray]]
HELD_BACK = 0.1  # the share of its time that a chunk may wait for images before the loop says so


def compile_stream(
    gan: GAN,
    state: State,
    data: DataSpec,
    stream: Stream,
    transform: RealTransform | None = None,
    *,
    layout: Layout,
    options: dict[str, Any] | None = None,
) -> Program:
    """Returns the program for a stream of images, which begins at the state's step. Each process reads its own share of
    every batch. Close it, or workers are left behind. `options` are XLA's.

    DataError, from the start or while it runs, where images can't be read."""
    words = jax.jit(lambda key: jax.random.key_data(jnp.vectorize(order_key)(key)), out_shardings=layout.everywhere)
    orders, size = np.asarray(words(state.key)), gan.taken()
    shape = (*orders.shape[:-1], size)
    source = batches(stream, orders, int(state.step), size, processes.share(layout.batch, shape))
    try:
        return _compile(gan, state, data, source, shape, transform, layout, options)
    except BaseException:
        source.close()
        raise


def _compile(
    gan: GAN,
    state: State,
    data: DataSpec,
    source: Batches,
    shape: tuple[int, ...],
    transform: RealTransform | None,
    layout: Layout,
    options: dict[str, Any] | None,
) -> Program:
    def placed(batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        whole = {name: (*shape, *part.shape[len(shape) :]) for name, part in batch.items()}
        return {name: processes.global_array(layout.batch, whole[name], batch[name]) for name in data.fields}

    ready = [placed(next(source))]
    each = jax.jit(
        layout.over_members(partial(iterate, gan, data, transform)), inline=True
    )  # traced once for both uses

    def one(state: State, buffer: Buffer, i: jax.Array, batch: dict[str, jax.Array]) -> tuple[State, Buffer]:
        state, metrics = each(state, batch)
        return layout.keep(state), store_metrics(buffer, i, metrics)

    lies, everywhere = layout.of(state), layout.everywhere
    inputs = (lies, everywhere, everywhere, layout.batch)
    jitted = jax.jit(one, donate_argnums=(0, 1), in_shardings=inputs, out_shardings=(lies, everywhere))
    said_of = jax.eval_shape(each, state, ready[0])[1]
    blank = jax.jit(lambda: empty_buffer(said_of), out_shardings=layout.everywhere)
    compiled = jitted.lower(state, blank(), np.int32(0), ready[0]).compile(options)
    images = math.prod(shape)
    said = ""

    def run(state: State, count: int) -> tuple[State, Buffer]:
        nonlocal said
        began, waited, wanted = time.perf_counter(), 0.0, 0.0
        buffer = blank()

        def fetch() -> dict[str, jax.Array]:
            nonlocal waited
            asked = time.perf_counter()
            batch = next(source)
            waited += time.perf_counter() - asked
            return placed(batch)  # not counted: where the device is busy, this may wait for it

        for i in range(count):
            batch = ready.pop() if ready else fetch()
            sent = time.perf_counter()
            state, buffer = compiled(state, buffer, np.int32(i), batch)
            if i == 0:  # waited for, to know what the device could do
                jax.block_until_ready((state, buffer))
                wanted = images / (time.perf_counter() - sent)
            if i + 1 < count:  # no more than the run needs: an image that it doesn't get to may be a bad one
                ready.append(fetch())
        jax.block_until_ready(buffer)
        seconds = time.perf_counter() - began
        come = count * images / seconds
        held = waited > HELD_BACK * seconds and come < wanted / (1 + HELD_BACK)
        said = f"held back by the input: {come:,.0f} images/s come, {wanted:,.0f} would be used" if held else ""
        return state, buffer

    return Program(run, compiled, lambda: said, source.close)
