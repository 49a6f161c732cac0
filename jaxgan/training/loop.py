"""The training loop: `main` for a command line, `train` for a program. Reads from top to bottom."""

import contextlib
import dataclasses
import itertools
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
from jaxgan.state import ROLES
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.experiment import Build, DataSpec, display_inputs, images_of
from jaxgan.training.logging import Log, progress_bar
from jaxgan.training.options import Options, UsageError, name_of, parse
from jaxgan.training.pictures import animate, grid, save_png
from jaxgan.training.program import CHUNK, all_finite, compile_chunk
from jaxgan.training.run import Run
from jaxgan.training.stop import Stopped, catch_signals, diverged, finite_rows

__all__ = ["main", "train"]

SECONDS = 1.0  # a chunk should take at most this long, so that the bar moves and Ctrl-C is heard
SHOWN = 64  # images in a grid

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
    where the options are wrong; Stopped on SIGTERM, SIGINT, a value that isn't finite or a disk that takes no more.
    """
    with catch_signals() as caught:
        return _train(build, options, on_chunk, caught)


def _train(
    build: Build, options: Options, on_chunk: Callable[[State, Metrics], None] | None, caught: list[int]
) -> State:
    # --- the data, and the run directory -----------------------------------------------------------------------------
    run = Run(Path(options.workdir).expanduser()) if options.workdir else None
    record = run.record() if run else None
    if run and record and options.fresh:
        raise UsageError(
            f"--fresh, but {run.directory} holds a run already; choose another --workdir or remove it first"
        )
    # `auto` is decided once in a run.
    data = _load_data(
        options, record["options"]["dataset"] if record and options.dataset == "auto" else options.dataset
    )
    options = dataclasses.replace(options, dataset=data.name)
    spec = DataSpec.of(data)
    gan = build(options, spec)
    if gan.batch_size > spec.count:
        raise UsageError(
            f"an iteration takes {gan.batch_size} images, but {data.name} has only {spec.count}; lower --batch-size"
        )
    run = run or Run(_new_directory(name_of(build)))
    directory = run.directory
    run.begin(build, dataclasses.replace(options, workdir=str(directory)), spec)

    # --- the state: as it was saved, or from the beginning -----------------------------------------------------------
    key = jax.random.key(options.seed)
    checkpoints = Checkpoints(directory)
    done = checkpoints.newest() or 0
    state = checkpoints.restore(done, jax.eval_shape(gan.init, key)) if done else jax.jit(gan.init)(key)
    if done >= options.steps:
        checkpoints.close()
        print(f"{directory} is at step {done} already; a larger --steps would train it further")
        return state
    print(f"continuing at step {done} in {directory}" if done else f"writing to {directory}", flush=True)

    # --- the pictures: always of the same latents --------------------------------------------------------------------
    inputs = display_inputs(gan, jax.random.fold_in(key, ROLES["display"]), 0, SHOWN, spec.classes)
    draw = jax.jit(lambda state: images_of(gan, state, inputs))

    def show(state: State, step: int) -> None:
        sheet = grid(np.asarray(draw(state)))
        save_png(directory / "samples" / f"{step:08d}.png", sheet)
        log.image(step, sheet)

    def save(state: State, step: int) -> None:
        if not all_finite(state):
            raise diverged(f"the state of step {step} is not finite", directory, saved)
        checkpoints.save(step, state)

    # --- the loop ----------------------------------------------------------------------------------------------------
    step = saved = done
    try:
        with contextlib.closing(checkpoints), contextlib.closing(Log(directory, done, gan.batch_size)) as log:
            with progress_bar(done, options.steps) as bar:
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
                    good, what = finite_rows(metrics, step)
                    log.rows(step + 1, {name: values[:good] for name, values in metrics.items()})
                    if what:
                        raise diverged(what, directory, saved)
                    step += count
                    if on_chunk:
                        on_chunk(state, metrics)
                    bar.set_postfix_str(_summary(metrics, count * gan.batch_size / seconds), refresh=False)
                    bar.update(count)
                    if step % options.sample_every == 0 or step == options.steps:
                        show(state, step)
                    if step % options.checkpoint_every == 0:
                        save(state, step)
                        saved = step
                    count = min(CHUNK, max(1, int(SECONDS * count / seconds)))
            if step > saved:
                save(state, step)
            animate(directory / "samples", directory / "training.gif")
    except OSError as error:
        raise Stopped(f"can't write in {directory}: {error}; what was saved before is kept", 1) from error

    # --- the end -----------------------------------------------------------------------------------------------------
    if step < options.steps:
        where = f"at step {step}, which is saved" if step else "before the first step"
        again = (
            f"the same command{' without --fresh' if options.fresh else ''} and --workdir {shlex.quote(str(directory))}"
        )
        raise Stopped(f"stopped by {signal.Signals(caught[0]).name} {where}; continue with {again}", 128 + caught[0])
    print(f"done: {step} steps, pictures in {directory / 'samples'}, animation {directory / 'training.gif'}")
    return state


def _new_directory(name: str) -> Path:
    """A directory of the run's own, which is made at once, lest another run that starts now takes it too."""
    short = Path(name).stem if name.endswith(".py") else name.rpartition(".")[2]
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = Path("runs") / f"{short}-{stamp}"
    for number in itertools.count(2):
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            path = path.with_name(f"{short}-{stamp}-{number}")
        except OSError as error:
            raise UsageError(f"can't make run directory {path}: {error.strerror}; choose a --workdir") from None
    return path


def _load_data(options: Options, name: str) -> datasets.ImageSet:
    """The data set called `name`, padded to the experiment's `image_size` where it has one."""
    try:
        if name == "auto":
            data, reason = datasets.mnist_or_digits(options.data_dir)
            if reason:
                count = f"{len(data.images):,}"
                print(f"NOTE: training on scikit-learn's {count} small digits instead of MNIST: {reason}", flush=True)
        else:
            data = datasets.load(name, options.data_dir)
        size = getattr(options, "image_size", max(data.images.shape[1:3]))
        return data._replace(images=datasets.pad_to(data.images, size))
    except datasets.DataError as error:
        raise UsageError(str(error)) from None


def _summary(metrics: Metrics, rate: float) -> str:
    losses = [
        f"{player[0].upper()} {metrics[name][-1]:.3f}"
        for player in ("discriminator", "generator")
        if (name := f"{player}/loss") in metrics
    ]
    return ", ".join([f"{rate:,.0f} images/s", *losses])
