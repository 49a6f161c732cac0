"""The training loop: `main` for a command line, `train` for a program. Reads from top to bottom."""

import contextlib
import dataclasses
import itertools
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import DataError, ImageSet
from jaxgan.data.stream import Stream
from jaxgan.state import ROLES
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.data_options import load, real_transform
from jaxgan.training.dry_run import dry_run
from jaxgan.training.experiment import Build, DataSpec, display_inputs, images_of
from jaxgan.training.lock import locked
from jaxgan.training.logging import Log, progress_bar
from jaxgan.training.options import Options, name_of, parse
from jaxgan.training.pictures import animate, picture, save_png
from jaxgan.training.program import CHUNK, Program, all_finite, compile_chunk
from jaxgan.training.run import Run
from jaxgan.training.stop import Stopped, catch_signals, diverged, finite_rows, kept, out_of_memory, writing_in
from jaxgan.training.streaming import compile_stream
from jaxgan.training.usage import UsageError, plain_exits

__all__ = ["main", "train"]

SECONDS = 1.0  # a chunk should take at most this long, so that the bar moves and Ctrl-C is heard

State = Any
Metrics = dict[str, np.ndarray]


def main(options_type: type[Options], build: Build) -> None:
    """An experiment's command line: parses options, trains, exits with 0, 1 (diverged), 2 (usage) or 128 + signal."""
    with plain_exits():
        train(build, parse(options_type))


def train(
    build: Build,
    options: Options,
    on_chunk: Callable[[State, Metrics], None] | None = None,
    *,
    data: ImageSet | None = None,
) -> State:
    """Trains what `build(options, data)` makes until `options.steps` and returns the final state.

    Continues the run that is in `options.workdir`; with `options.dry_run` only says what it would cost. `data` is a set
    of one's own (see `jaxgan.data.from_arrays`) instead of the one that the options name. `on_chunk(state, metrics)` is
    called after every dispatch with the state (donated afterwards: don't keep it) and the metrics `[count]` by name.
    UsageError before anything was done where the options are wrong; Stopped on SIGTERM, SIGINT, a value that isn't
    finite, an image that can't be read, or a disk or memory that takes no more.
    """
    try:
        with contextlib.ExitStack() as stack:
            return _train(build, options, on_chunk, data, stack)
    except jax.errors.JaxRuntimeError as error:
        raise out_of_memory(error, options.batch_size) or error from error


def _train(
    build: Build,
    options: Options,
    on_chunk: Callable[[State, Metrics], None] | None,
    given: ImageSet | None,
    stack: contextlib.ExitStack,
) -> State:
    # --- the data ----------------------------------------------------------------------------------------------------
    run = Run(Path(options.workdir).expanduser()) if options.workdir else None
    record = run.record() if run else None
    if run and record and options.fresh:
        raise UsageError(
            f"--fresh, but {run.directory} holds a run already; choose another --workdir or remove it first"
        )
    if record and options.dataset == "auto":  # decided once in a run
        options = dataclasses.replace(options, dataset=record["options"]["dataset"])
    data = load(options, given)
    spec = DataSpec.of(data, options.crop_size)
    options = dataclasses.replace(options, dataset=data.name if given else _address(options.dataset, data.name))
    gan = build(options, spec)
    if gan.batch_size > spec.count:
        raise UsageError(
            f"an iteration takes {gan.batch_size} images, but {data.name} has only {spec.count}; lower --batch-size"
        )
    key = jax.random.key(options.seed)
    transform = real_transform(options)

    def compile_for(state: State) -> Program:
        if isinstance(data, Stream):
            return compile_stream(gan, state, data, transform)
        return compile_chunk(gan, state, jnp.asarray(data.images), jnp.asarray(data.labels), transform)

    if options.dry_run:
        state = jax.jit(gan.init)(key)
        with contextlib.closing(compile_for(state)) as program:
            size = 0 if isinstance(data, Stream) else data.images.nbytes
            dry_run(gan, options, state, program.run, program.compiled, size)
        return jax.eval_shape(gan.init, key)

    # --- the run directory -------------------------------------------------------------------------------------------
    caught = stack.enter_context(catch_signals())
    run = run or Run(_new_directory(name_of(build)))
    directory = run.directory
    options = dataclasses.replace(options, workdir=str(directory))
    run.make()
    stack.enter_context(locked(directory))
    run.check(build, options, spec)

    # --- the state: as it was saved, or from the beginning -----------------------------------------------------------
    checkpoints = Checkpoints(directory)
    found = checkpoints.restore_newest(jax.eval_shape(gan.init, key))
    done, state = found or (0, jax.jit(gan.init)(key))
    if done >= options.steps:
        checkpoints.close()
        with writing_in(directory):
            animate(directory / "samples", directory / "training.gif")  # which a kill may have prevented
        print(f"{directory} is at step {done} already; a larger --steps would train it further")
        return state
    if record and not done:
        run.refuse_to_begin_again(record["options"]["checkpoint_every"])
    run.write(build, options, spec)
    again = f"{directory} has no checkpoint: starting from step 0" if record else f"writing to {directory}"
    print(f"continuing at step {done} in {directory}" if done else again, flush=True)

    # --- the pictures: always of the same latents --------------------------------------------------------------------
    inputs = display_inputs(gan, jax.random.fold_in(key, ROLES["display"]), 0, spec.shown, spec.classes)
    draw = jax.jit(lambda state: images_of(gan, state, inputs))

    def show(state: State, step: int) -> None:
        sheet = picture(np.asarray(draw(state)))
        save_png(directory / "samples" / f"{step:08d}.png", sheet)
        log.image(step, sheet)

    def save(state: State, step: int) -> None:
        if not all_finite(state):
            raise diverged(f"the state of step {step} is not finite", directory, saved)
        checkpoints.save(step, state)

    # --- the loop ----------------------------------------------------------------------------------------------------
    step = saved = done
    try:
        with (
            writing_in(directory),
            contextlib.closing(checkpoints),
            contextlib.closing(Log(directory, done, gan.batch_size)) as log,
        ):
            with progress_bar(done, options.steps) as bar:
                bar.set_postfix_str("compiling")
                program = stack.enter_context(contextlib.closing(compile_for(state)))
                if not done:
                    show(state, 0)
                count = 1
                while step < options.steps and not caught:
                    events = (n - step % n for n in (options.sample_every, options.checkpoint_every))
                    count = min(count, *events, options.steps - step)
                    began = time.perf_counter()
                    state, buffer = program.run(state, count)
                    metrics = {name: values[:count] for name, values in jax.device_get(buffer).items()}
                    seconds = time.perf_counter() - began
                    good, what = finite_rows(metrics, step)
                    log.rows(step + 1, {name: values[:good] for name, values in metrics.items()})
                    if what:
                        raise diverged(what, directory, saved)
                    step += count
                    if on_chunk:
                        on_chunk(state, metrics)
                    rate = program.hint() or f"{count * gan.batch_size / seconds:,.0f} images/s"
                    bar.set_postfix_str(_summary(metrics, rate), refresh=False)
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
    except DataError as error:
        raise Stopped(f"{error}; {kept(directory, saved)}", 1) from error

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


def _address(asked: str, name: str) -> str:
    """What the record says of where the data is: `auto` resolved, a path that holds from every folder."""
    kind, colon, path = asked.partition(":")
    return f"{kind}:{Path(path).expanduser().absolute()}" if colon else name


def _summary(metrics: Metrics, rate: str) -> str:
    losses = [
        f"{player[0].upper()} {metrics[name][-1]:.3f}"
        for player in ("discriminator", "generator")
        if (name := f"{player}/loss") in metrics
    ]
    return ", ".join([rate, *losses])
