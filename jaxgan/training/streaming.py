"""The loop's program for a data set that doesn't fit the device: a batch a dispatch, the next one on its way."""

import time
from collections.abc import Generator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.stream import Stream, batches
from jaxgan.training.data_options import RealTransform
from jaxgan.training.experiment import GAN
from jaxgan.training.program import CHUNK, Buffer, Program, iterate, order_key

__all__ = ["compile_stream"]

State = Any
Batches = Generator[dict[str, np.ndarray]]
HELD_BACK = 0.1  # the share of its time that a chunk may wait for images before the loop says so


def compile_stream(gan: GAN, state: State, stream: Stream, transform: RealTransform | None = None) -> Program:
    """The program for a stream of images, which begins at the state's step. Close it, or workers are left behind.

    DataError, from the start or while it runs, where images can't be read."""
    words = np.asarray(jax.random.key_data(order_key(state)))
    source = batches(stream, words, int(state.step), gan.batch_size)
    try:
        return _compile(gan, state, source, transform)
    except BaseException:
        source.close()
        raise


def _compile(gan: GAN, state: State, source: Batches, transform: RealTransform | None) -> Program:
    ready = [jax.device_put(next(source))]

    @partial(jax.jit, donate_argnums=(0, 1))
    def one(state: State, buffer: Buffer, i: jax.Array, batch: dict[str, jax.Array]) -> tuple[State, Buffer]:
        state, metrics = iterate(gan, transform, state, batch["image"], batch["label"])
        return state, {name: buffer[name].at[i].set(metrics[name]) for name in buffer}

    names = jax.eval_shape(lambda: iterate(gan, transform, state, ready[0]["image"], ready[0]["label"])[1])
    compiled = one.lower(state, {name: jnp.zeros(CHUNK) for name in names}, jnp.int32(0), ready[0]).compile()
    said = ""

    def run(state: State, count: int) -> tuple[State, Buffer]:
        nonlocal said
        began, waited, wanted = time.perf_counter(), 0.0, 0.0
        buffer = {name: jnp.zeros(CHUNK) for name in names}

        def fetch() -> dict[str, jax.Array]:
            nonlocal waited
            asked = time.perf_counter()
            batch = next(source)
            waited += time.perf_counter() - asked
            return jax.device_put(batch)  # not counted: where the device is busy, this may wait for it

        for i in range(count):
            batch = ready.pop() if ready else fetch()
            sent = time.perf_counter()
            state, buffer = compiled(state, buffer, jnp.int32(i), batch)
            if i == 0:  # waited for, to know what the device could do
                jax.block_until_ready((state, buffer))
                wanted = gan.batch_size / (time.perf_counter() - sent)
            if i + 1 < count:  # no more than the run needs: an image that it doesn't get to may be a bad one
                ready.append(fetch())
        jax.block_until_ready(buffer)
        seconds = time.perf_counter() - began
        come = count * gan.batch_size / seconds
        held = waited > HELD_BACK * seconds and come < wanted / (1 + HELD_BACK)
        said = f"held back by the input: {come:,.0f} images/s come, {wanted:,.0f} would be used" if held else ""
        return state, buffer

    return Program(run, compiled, lambda: said, source.close)
