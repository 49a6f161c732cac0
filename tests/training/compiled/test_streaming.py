"""Streams under the loop: the same numbers as in memory, and word of what holds the loop back."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY_RUN
from stream_sources import Numbered
from streams import IMAGES, bad_folder, stream

from jaxgan import data
from jaxgan.data import batch_indices
from jaxgan.parallel import layout
from jaxgan.training import GAN, DataSpec, Stopped, train
from jaxgan.training.compiled import streaming
from jaxgan.training.compiled.program import compile_chunk, order_key
from jaxgan.training.options.options import Options

pytest.importorskip("grain")
ROOT = Path(__file__).parents[3]
ONE_DEVICE = layout(jax.devices()[:1])
SPEC = DataSpec.single("numbers", 22, (4, 4, 1), 4)


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    assert multiprocessing.active_children() == []


def init(key):
    return {"step": jnp.int32(0), "key": key, "seen": jnp.uint32(1), "float": jnp.float32(0)}


def look(state, batch):
    """No GAN, but a state that depends on every pixel and label that came, and on their order."""
    levels = jnp.rint((batch["image"] + 1) * 127.5).astype(jnp.uint32).ravel()
    weights = jnp.arange(levels.size, dtype=jnp.uint32) * jnp.uint32(2654435761) + jnp.uint32(1)
    labels = batch.get("label", jnp.zeros(1, jnp.int32))  # some of these sets have none
    seen = state["seen"] * jnp.uint32(31) + jnp.sum(levels * weights) + jnp.sum(labels).astype(jnp.uint32)
    return state | {"step": state["step"] + 1, "seen": seen}, {"seen": (seen >> 8).astype(jnp.float32)}


class State(dict):
    """With `step` and `key` as attributes, as the loop has them."""

    step = property(lambda self: self["step"])
    key = property(lambda self: self["key"])


jax.tree_util.register_pytree_with_keys(
    State,
    lambda s: ([(jax.tree_util.DictKey(k), s[k]) for k in sorted(s)], tuple(sorted(s))),
    lambda names, leaves: State(zip(names, leaves, strict=True)),
)


def build(options, spec):
    return GAN(
        lambda key: State(init(key)),
        lambda state, batch: tuple(map(lambda x, kind: kind(x), look(state, batch), (State, dict))),
        options.batch_size,
        lambda state, examples, keys: {"image": jnp.zeros((len(keys), *spec.shape))},
    )


def options(tmp_path, name="run", **changes):
    changes = {"steps": 8, "checkpoint_every": 4, "sample_every": 3, "batch_size": 5, "devices": 1} | changes
    return Options(workdir=str(tmp_path / name), **changes)


def seen(state):
    return int(state["seen"])


@pytest.mark.slow
def test_a_streamed_run_sees_what_one_in_memory_sees_and_is_continued(tmp_path):
    mine = data.from_arrays("mine", IMAGES, np.arange(22) % 4)
    changed = {"image_size": 4, "load_size": 7, "flip": True}
    inside = train(build, options(tmp_path, "inside", **changed), data=mine)
    straight = train(build, options(tmp_path, "straight", stream=True, **changed), data=mine)
    train(build, options(tmp_path, stream=True, steps=4, **changed), data=mine)
    continued = train(build, options(tmp_path, stream=True, workers=1, **changed), data=mine)
    assert seen(continued) == seen(straight) == seen(inside)
    assert seen(straight) != seen(train(build, options(tmp_path, "other", seed=1, **changed), data=mine))


@pytest.mark.slow
def test_a_bad_image_stops_a_run_with_a_line(tmp_path):
    path = bad_folder(tmp_path)
    named = {"dataset": f"folder:{tmp_path / 'set'}", "image_size": 4, "stream": True, "checkpoint_every": 1}
    with pytest.raises(Stopped, match=rf"{path} can't be read .*a new run with --skip-bad-images; ") as stopped:
        train(build, options(tmp_path, **named))
    assert stopped.value.status == 1
    assert int(train(build, options(tmp_path, "good", skip_bad_images=True, **named)).step) == 8


def compiled(monkeypatch, source):
    """The loop's program over batches from a generator instead of processes."""
    monkeypatch.setattr(streaming, "batches", lambda *arguments: source)

    def iteration(state, batch):
        state, metrics = look(state, batch)
        return State(state), metrics

    gan = GAN(lambda key: State(init(key)), iteration, 5, None)
    state = gan.init(jax.random.key(3))
    return streaming.compile_stream(gan, state, SPEC, stream(Numbered()), layout=ONE_DEVICE), state


class Clock:
    """The loop's clock, on which what is waited for takes the time that a test says, on any machine."""

    def __init__(self, monkeypatch, device):
        self.now, wait = 0.0, jax.block_until_ready

        def waited(arrays):
            self.now += device
            return wait(arrays)

        monkeypatch.setattr(streaming, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(jax, "block_until_ready", waited)

    def slowly(self, batches, seconds):
        for batch in batches:
            self.now += seconds
            yield batch


def endless(ends=None):
    n = 0
    while n != ends:
        yield {"image": np.full((5, 4, 4, 1), n % 256, np.uint8), "label": np.zeros(5, np.int32)}
        n += 1
    raise data.DataError("image 9 is bad")


def test_the_loop_says_when_it_is_held_back(monkeypatch):
    clock = Clock(monkeypatch, device=0.005)
    program, state = compiled(monkeypatch, clock.slowly(endless(), 0.05))
    assert program.hint() == ""
    program.run(state, 5)
    # 5 images in 0.05 s, but for the first ones, which are there; 0.005 s for the first step, and for the others.
    assert program.hint() == "held back by the input: 119 images/s come, 1,000 would be used"
    program.close()


@pytest.mark.slow
def test_the_loop_says_so_of_real_processes():
    gan = GAN(lambda key: State(init(key)), lambda s, b: (State(look(s, b)[0]), look(s, b)[1]), 5, None)
    state = gan.init(jax.random.key(3))
    program = streaming.compile_stream(gan, state, SPEC, stream(Numbered(seconds=0.2)), layout=ONE_DEVICE)
    program.run(state, 12)  # a second a batch in each of two processes
    assert program.hint().startswith("held back by the input: ")
    assert float(program.hint().split()[5]) < 20
    program.close()


def test_the_loop_is_silent_where_the_device_is_the_slower(monkeypatch):
    clock = Clock(monkeypatch, device=0.05)
    program, state = compiled(monkeypatch, clock.slowly(endless(), 0.0005))
    program.run(state, 10)
    assert program.hint() == ""
    program.close()


def test_no_image_is_asked_for_that_no_step_needs(monkeypatch):
    program, state = compiled(monkeypatch, endless(ends=6))
    state, _ = program.run(state, 1)
    state, _ = program.run(state, 5)
    assert int(state["step"]) == 6
    with pytest.raises(data.DataError, match="image 9 is bad"):
        program.run(state, 1)


def test_streamed_steps_are_those_of_a_chunk(monkeypatch):
    examples = {"image": jnp.asarray(IMAGES), "label": jnp.arange(22, dtype=jnp.int32) % 4}
    gan = GAN(lambda key: State(init(key)), lambda s, b: (State(look(s, b)[0]), look(s, b)[1]), 5, None)
    chunk = compile_chunk(gan, gan.init(jax.random.key(3)), SPEC, examples, layout=ONE_DEVICE)
    state, metrics = chunk.run(gan.init(jax.random.key(3)), 9)
    words = np.asarray(jax.random.key_data(order_key(jax.random.key(3))))

    def read():
        for n in range(100):
            places = batch_indices(words, n, 5, 22)
            yield {"image": IMAGES[places], "label": np.asarray(examples["label"])[places]}

    monkeypatch.setattr(streaming, "batches", lambda *arguments: read())
    program = streaming.compile_stream(gan, gan.init(jax.random.key(3)), SPEC, stream(Numbered(22)), layout=ONE_DEVICE)
    other, others = program.run(gan.init(jax.random.key(3)), 9)
    assert seen(state) == seen(other)
    np.testing.assert_array_equal(metrics["seen"][:9], others["seen"][:9])


@pytest.mark.slow
def test_ctrl_c_reaches_the_run_and_not_its_workers(tmp_path):
    """As a terminal sends it: to all processes at once."""
    often = ["--steps", "100000", "--checkpoint-every", "100000", "--workdir", str(tmp_path / "run")]
    command = [sys.executable, "-m", "experiments.dcgan_mnist", *TINY_RUN, "--stream", *often]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        metrics = tmp_path / "run" / "metrics.jsonl"
        while not (metrics.exists() and metrics.stat().st_size):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=600)[1]
    assert process.returncode == 130 and said.splitlines()[-1].startswith("stopped by SIGINT at step ")
    assert "Traceback" not in said and "leaked" not in said
