"""The training loop: `main` for a command line, `train` for a program. Reads from top to bottom."""

import contextlib
import dataclasses
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import data as datasets
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.experiment import Build, DataSpec, display_inputs, images_of
from jaxgan.training.logging import Log, progress_bar
from jaxgan.training.options import Options, UsageError, parse
from jaxgan.training.pictures import animate, grid, save_png
from jaxgan.training.program import CHUNK, all_finite, compile_chunk
from jaxgan.training.run import Run, name_of
from jaxgan.training.stop import Stopped, catch_signals, diverged, first_nonfinite

__all__ = ["main", "train"]

SECONDS = 1.0  # a chunk should take at most this long, so that the bar moves and Ctrl-C is heard
SHOWN = 64  # images in a grid
DISPLAY = 3  # role of the run's key, beside the players' own in `jaxgan.steps`

State = Any
Metrics = dict[str, np.ndarray]


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


def train(build: Build, options: Options, on_chunk: Callable[[State, Metrics], None] | None = None) -> State:
    """Trains what `build(options, data)` makes until `options.steps` and returns the final state.

    Continues the run that is in `options.workdir`. `on_chunk(state, metrics)` is called after every dispatch with the
    state (donated afterwards: don't keep it) and the metrics `[count]` by name. UsageError before anything was done
    where the options are wrong; Stopped on SIGTERM, SIGINT or a value that isn't finite.
    """
    # --- the data, and the run directory -----------------------------------------------------------------------------
    directory = Path(options.workdir or f"runs/{Path(name_of(build)).stem}-{time.strftime('%Y%m%d-%H%M%S')}")
    options = dataclasses.replace(options, workdir=str(directory))
    run = Run(directory)
    if options.fresh and run.record() is not None:
        raise UsageError(f"--fresh, but {directory} holds a run already; choose another --workdir or remove it first")
    options, data = _load_data(options, run)
    spec = DataSpec.of(data)
    gan = build(options, spec)
    if gan.batch_size > spec.count:
        raise UsageError(
            f"an iteration takes {gan.batch_size} images, but {data.name} has only {spec.count}; lower --batch-size"
        )
    run.begin(build, options, spec)

    # --- the state: as it was saved, or from the beginning -----------------------------------------------------------
    key = jax.random.key(options.seed)
    checkpoints = Checkpoints(directory)
    done = checkpoints.newest() or 0
    if done >= options.steps:
        print(f"{directory} is at step {done} already; --steps {done + options.steps} would train it further")
    state = checkpoints.restore(done, jax.eval_shape(gan.init, key)) if done else jax.jit(gan.init)(key)
    print(f"continuing at step {done} in {directory}" if done else f"writing to {directory}", flush=True)

    # --- the pictures: always of the same latents --------------------------------------------------------------------
    inputs = display_inputs(gan, jax.random.fold_in(key, DISPLAY), 0, SHOWN, spec.classes)
    draw = jax.jit(lambda state: images_of(gan, state, inputs))

    def show(state: State, step: int) -> None:
        sheet = grid(np.asarray(draw(state)))
        save_png(directory / "samples" / f"{step:08d}.png", sheet)
        log.image(step, sheet)

    # --- the loop ----------------------------------------------------------------------------------------------------
    step = saved = done
    with contextlib.ExitStack() as closing:
        closing.callback(checkpoints.close)
        log = closing.enter_context(contextlib.closing(Log(directory, done, gan.batch_size)))
        bar = closing.enter_context(progress_bar(done, options.steps))
        caught = closing.enter_context(catch_signals())
        bar.set_postfix_str("compiling")
        chunk = compile_chunk(gan, state, jnp.asarray(data.images), jnp.asarray(data.labels))
        if not done:
            show(state, 0)
        count = 1
        while step < options.steps and not caught:
            events = (n - step % n for n in (options.sample_every, options.checkpoint_every))
            count = min(count, *events, options.steps - step)
            began = time.perf_counter()
            state, buffer = chunk(state, count)
            metrics = {name: values[:count] for name, values in jax.device_get(buffer).items()}
            seconds = time.perf_counter() - began
            if what := first_nonfinite(metrics, step):
                raise diverged(what, directory, saved)
            log.rows(step + 1, metrics)
            step += count
            if on_chunk:
                on_chunk(state, metrics)
            bar.set_postfix_str(_summary(metrics, count * gan.batch_size / seconds), refresh=False)
            bar.update(count)
            last = step == options.steps
            if last or step % options.sample_every == 0:
                show(state, step)
            if last or step % options.checkpoint_every == 0 or caught:
                if not all_finite(state):
                    raise diverged(f"the state of step {step} is not finite", directory, saved)
                checkpoints.save(step, state)
                saved = step
            count = min(CHUNK, max(1, int(SECONDS * count / seconds)))

    # --- the end -----------------------------------------------------------------------------------------------------
    animate(directory / "samples", directory / "training.gif")
    if step < options.steps:
        name = signal.Signals(caught[0]).name
        raise Stopped(
            f"stopped by {name} at step {step}, which is saved; continue with the same command"
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
                count = f"{len(data.images):,}"
                print(f"NOTE: training on scikit-learn's {count} small digits instead of MNIST: {reason}", flush=True)
        else:
            data = datasets.load(name, options.data_dir)
        size = getattr(options, "image_size", max(data.images.shape[1:3]))
        data = data._replace(images=datasets.pad_to(data.images, size))
    except datasets.DataError as error:
        raise UsageError(str(error)) from None
    return dataclasses.replace(options, dataset=data.name), data


def _summary(metrics: Metrics, rate: float) -> str:
    losses = [
        f"{player[0].upper()} {metrics[name][-1]:.3f}"
        for player in ("discriminator", "generator")
        if (name := f"{player}/loss") in metrics
    ]
    return ", ".join([f"{rate:,.0f} images/s", *losses])
