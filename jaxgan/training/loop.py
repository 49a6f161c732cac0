"""The training loop: `main` for a command line, `train` for a program. Reads from top to bottom."""

import contextlib
import dataclasses
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxgan import data as datasets
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.experiment import GAN, Build, DataSpec, Run, display_inputs, images_of, name_of
from jaxgan.training.logging import Log, progress_bar
from jaxgan.training.options import Options, UsageError, parse
from jaxgan.training.pictures import grid, save_gif, save_png

__all__ = ["Stopped", "compile_chunk", "main", "train"]

CHUNK = 100  # most iterations in one dispatch, and the rows of the metrics buffer
SECONDS = 1.0  # a chunk should take at most this long, so that the bar moves and Ctrl-C is heard
SHOWN = 64  # images in a grid
FRAMES = 100  # most frames in the animation
ORDER, DISPLAY = 2, 3  # roles of the run's key, beside the players' own in `jaxgan.steps`

State = Any
Metrics = dict[str, np.ndarray]


class Stopped(Exception):
    """A run that ended before its last step; the message says where it can go on, `status` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def main(options_type: type[Options], build: Build) -> None:
    """An experiment's command line: parses options, trains, exits with 0, 1 (diverged), 2 (usage) or 128 + signal."""
    try:
        train(build, parse(options_type))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.status)


def compile_chunk(gan: GAN, state: State, images: jax.Array, labels: jax.Array) -> Callable[[State, int], tuple[State, Metrics]]:
    """The compiled `(state, count) -> (state, metrics)`: `count` iterations, at most `CHUNK`, in one dispatch.

    `images` uint8 `[N, H, W, C]` and `labels` `[N]` stay on the device, where every batch is gathered. The count is traced:
    one program serves chunks of any length, with the same bits. The state is donated. Metrics are `[CHUNK]` by name.
    """

    def iterate(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        order = jax.random.fold_in(state.key, ORDER)
        chosen = datasets.batch_indices(order, state.step, gan.batch_size, len(images))
        batch = {"image": images[chosen].astype(jnp.float32) / 127.5 - 1.0, "label": labels[chosen]}
        return gan.iteration(state, batch)

    @partial(jax.jit, donate_argnums=0)
    def chunk(state: State, images: jax.Array, labels: jax.Array, count: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        names = jax.eval_shape(iterate, state, images, labels)[1]
        buffer = {name: jnp.zeros(CHUNK) for name in names}

        def body(i: jax.Array, carry: tuple[State, dict[str, jax.Array]]) -> tuple[State, dict[str, jax.Array]]:
            state, buffer = carry
            state, metrics = iterate(state, images, labels)
            return state, {name: buffer[name].at[i].set(metrics[name]) for name in buffer}

        return jax.lax.fori_loop(0, count, body, (state, buffer))

    program = chunk.lower(state, images, labels, jnp.int32(0)).compile()
    return lambda state, count: program(state, images, labels, jnp.int32(count))


def train(build: Build, options: Options, on_chunk: Callable[[State, Metrics], None] | None = None) -> State:
    """Trains what `build(options, data)` makes until `options.steps` and returns the final state.

    Continues the run that is in `options.workdir`. `on_chunk(state, metrics)` is called after every dispatch with the
    state (donated afterwards: don't keep it) and the metrics `[count]` by name. UsageError before anything was done where
    the options are wrong; Stopped on SIGTERM, SIGINT or a value that isn't finite.
    """
    # --- the data, and the run directory ------------------------------------------------------------------------------
    name = name_of(build).removesuffix(".py").replace("/", ".").rpartition(".")[2]
    directory = Path(options.workdir or f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    run = Run(directory)
    if options.fresh and run.record() is not None:
        raise UsageError(f"--fresh, but {directory} holds a run already; choose another --workdir or remove it yourself")
    options = dataclasses.replace(options, workdir=str(directory))
    options, data = _load_data(options, run)
    gan = build(options, DataSpec.of(data))
    if gan.batch_size > len(data.images):
        raise UsageError(
            f"an iteration takes {gan.batch_size} images, but {data.name} has only {len(data.images)}; lower --batch-size"
        )
    run.begin(build, options, DataSpec.of(data))

    # --- the state: as it was saved, or from the beginning --------------------------------------------------------------
    key = jax.random.key(options.seed)
    checkpoints = Checkpoints(directory)
    done = checkpoints.newest() or 0
    if done >= options.steps:
        print(f"{directory} is at step {done} already; --steps {done + options.steps} would train it further")
    state = checkpoints.restore(done, jax.eval_shape(gan.init, key)) if done else jax.jit(gan.init)(key)
    print(f"{'continuing at step ' + str(done) + ' in' if done else 'writing to'} {directory}", flush=True)

    # --- the pictures: always of the same latents -----------------------------------------------------------------------
    inputs = display_inputs(gan, jax.random.fold_in(key, DISPLAY), 0, SHOWN, data.classes)
    draw = jax.jit(lambda state: images_of(gan, state, inputs))

    def show(state: State, step: int) -> None:
        sheet = grid(np.asarray(draw(state)))
        save_png(directory / "samples" / f"{step:08d}.png", sheet)
        log.image(step, sheet)

    # --- the loop ---------------------------------------------------------------------------------------------------
    log = Log(directory, done, gan.batch_size)
    saved = done
    with progress_bar(done, options.steps) as bar, _signals() as caught, contextlib.ExitStack() as closing:
        closing.callback(checkpoints.close)
        closing.callback(log.close)
        bar.set_postfix_str("compiling")
        chunk = compile_chunk(gan, state, jnp.asarray(data.images), jnp.asarray(data.labels))
        if not done:
            show(state, 0)
        step, length = done, 1
        while step < options.steps:
            count = min(length, *(n - step % n for n in (options.sample_every, options.checkpoint_every)), options.steps - step)
            began = time.perf_counter()
            state, metrics = chunk(state, count)
            metrics = {name: values[:count] for name, values in jax.device_get(metrics).items()}
            seconds = time.perf_counter() - began
            _refuse_nonfinite(metrics, step, directory, saved)
            log.rows(step + 1, metrics)
            step += count
            if on_chunk:
                on_chunk(state, metrics)
            bar.set_postfix_str(_summary(metrics, count * gan.batch_size / seconds), refresh=False)
            bar.update(count)
            length = min(CHUNK, max(1, int(SECONDS * count / seconds)))
            if step % options.sample_every == 0 or step == options.steps:
                show(state, step)
            if step % options.checkpoint_every == 0 or step == options.steps or caught:
                if not _finite(state):
                    raise Stopped(_diverged("the state", step, step, directory, saved), 1)
                checkpoints.save(step, state)
                saved = step
            if caught:
                break

    # --- the end ------------------------------------------------------------------------------------------------------
    _animate(directory)
    if step < options.steps:
        raise Stopped(
            f"stopped by {signal.Signals(caught[0]).name} at step {step}, which is saved; continue with the same command"
            f" and --workdir {shlex.quote(str(directory))}",
            128 + caught[0],
        )
    print(f"done: {step} steps, pictures in {directory / 'samples'}, animation {directory / 'training.gif'}")
    return state


def _load_data(options: Options, run: Run) -> tuple[Options, datasets.ImageSet]:
    """The data set, and the options with its name: `auto` is decided once in a run."""
    record = run.record()
    name = record["options"]["dataset"] if record and options.dataset == "auto" else options.dataset
    try:
        if name == "auto":
            data, reason = datasets.mnist_or_digits(options.data_dir)
            if reason:
                print(
                    f"NOTE: training on scikit-learn's {len(data.images)} small digits instead of MNIST: {reason}", flush=True
                )
        else:
            data = datasets.load(name, options.data_dir)
        size = getattr(options, "image_size", max(data.images.shape[1:3]))
        data = data._replace(images=datasets.pad_to(data.images, size))
    except datasets.DataError as error:
        raise UsageError(str(error)) from None
    return dataclasses.replace(options, dataset=data.name), data


def _summary(metrics: Metrics, rate: float) -> str:
    losses = [f"{name[0].upper()} {metrics[f'{name}/loss'][-1]:.3f}" for name in ("discriminator", "generator") if f"{name}/loss" in metrics]
    return ", ".join([f"{rate:,.0f} images/s", *losses])


def _diverged(what: str, first: int, last: int, directory: Path, saved: int) -> str:
    kept = f"the checkpoint of step {saved} in {directory} is good" if saved else "no checkpoint was saved before"
    return f"diverged: {what} between steps {first} and {last}; {kept}. Lower the learning rates or add a penalty"


def _refuse_nonfinite(metrics: Metrics, done: int, directory: Path, saved: int) -> None:
    bad = {name: np.flatnonzero(~np.isfinite(values)) for name, values in metrics.items()}
    bad = {name: steps for name, steps in bad.items() if len(steps)}
    if bad:
        name = min(bad, key=lambda name: bad[name][0])
        at = bad[name][0]
        count = len(metrics[name])
        what = f"{name} became {metrics[name][at]} at step {done + 1 + at},"
        raise Stopped(_diverged(what, done + 1, done + count, directory, saved), 1)


@jax.jit
def _all_finite(state: State) -> jax.Array:
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in floats]))


def _finite(state: State) -> bool:
    return bool(_all_finite(state))


def _animate(directory: Path) -> None:
    paths = sorted((directory / "samples").glob("*.png"))
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, FRAMES).astype(int))]
    frames = [np.asarray(Image.open(path)) for path in chosen]
    save_gif(directory / "training.gif", [f if f.ndim == 3 else f[..., None] for f in frames])


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of dying of them; a second one is not waited for."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        print(f"\n{signal.Signals(number).name}: saving at the end of this chunk (once more to stop at once)", file=sys.stderr)
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
