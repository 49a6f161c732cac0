"""The training loop: `main` for a command line, `train` for a program. Reads from top to bottom."""

import contextlib
import dataclasses
import functools
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxgan.data import DataError
from jaxgan.state import ROLES
from jaxgan.training.checkpoints.checkpoints import Checkpoints
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.compiled.compile import check_counts, compile_for, taken
from jaxgan.training.compiled.divergence import Watch
from jaxgan.training.compiled.dry_run import dry_run
from jaxgan.training.compiled.program import CHUNK, all_finite
from jaxgan.training.distributed import processes
from jaxgan.training.errors.stopping import Stopped, catch_signals, diverged, kept, out_of_memory, writing_in
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.data import real_transform
from jaxgan.training.options.devices import compiler_options, in_words, layout_for
from jaxgan.training.options.options import Options, alike, name_of
from jaxgan.training.options.parsing import parse
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.output.log import Log, progress_bar
from jaxgan.training.output.pictures import animate, save_png
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import Build, made
from jaxgan.training.recipe.loading import Given, address, drawn_from, load
from jaxgan.training.recipe.members import ensemble_of, members_of
from jaxgan.training.run.directory import Run, new_directory
from jaxgan.training.run.fork import forked, settled
from jaxgan.training.run.lock import locked
from jaxgan.training.scoring.measures import measures_for
from jaxgan.training.scoring.member_report import report_members
from jaxgan.training.scoring.monitor import COLLAPSED, Evaluation
from jaxgan.training.scoring.real_data import Real

__all__ = ["main", "train"]

SECONDS = 1.0  # a chunk should take at most this long, so that the bar moves and Ctrl-C is heard

State = Any
Metrics = dict[str, np.ndarray]


def main(options_type: type[Options], build: Build) -> None:
    """An experiment's command line: parses options, trains, exits with 0, 1 (diverged), 2 (usage), 3
    (collapsed) or 128 + signal."""
    with processes.leaving(), plain_exits():
        train(build, parse(options_type))


def train(
    build: Build,
    options: Options,
    on_chunk: Callable[[State, Metrics], None] | None = None,
    *,
    data: Given | None = None,
) -> State:
    """Trains what `build(options, data)` makes until `options.steps` and returns the final state.

    Continues the run that is in `options.workdir`; with `options.dry_run` only says what it would cost. `data` is a set
    of one's own (see `jaxgan.data.from_arrays`), or several by name, instead of what the options name. `on_chunk(state,
    metrics)` is called after every dispatch with the state (donated afterwards: don't keep it) and the metrics
    `[count]` by name. With `options.seeds` or `options.sweep` the state is an `Ensemble`, and metrics are `[count,
    members]`.

    Processes that train together (`options.coordinator`) all call this; the first of them writes, and the checkpoints
    are all of theirs. UsageError before anything was done where the options are wrong; Stopped on SIGTERM, SIGINT, a
    value that isn't finite, an image that can't be read, a process that is lost, or a disk or memory that takes no
    more; also, with status 3 and all saved, where every GAN has collapsed (`options.eval_every`).
    """
    processes.join(options.coordinator, options.processes, options.process)
    try:
        with processes.aborts_say(), contextlib.ExitStack() as stack:
            return _train(build, options, on_chunk, data, stack)
    except Exception as error:
        if end := processes.lost(error) or out_of_memory(error, options.batch_size):
            raise end from error
        raise


def _train(
    build: Build,
    options: Options,
    on_chunk: Callable[[State, Metrics], None] | None,
    given: Given | None,
    stack: contextlib.ExitStack,
) -> State:
    # --- the data ----------------------------------------------------------------------------------------------------
    run = Run(Path(options.workdir).expanduser()) if options.workdir else None
    record = processes.from_first(run.record) if run else None
    if run and record and options.fresh:
        raise UsageError(
            f"--fresh, but {run.directory} holds a run already; choose another --workdir or remove it first"
        )
    if record and options.dataset == "auto":  # decided once in a run
        options = dataclasses.replace(options, dataset=record["options"]["dataset"])
    options = settled(options, record)
    data = load(options, given)
    spec = DataSpec.of(data, options.crop_shape)
    options = dataclasses.replace(options, dataset=spec.name if given else address(options.dataset, spec.name))

    processes.all_alike({**alike(options), **spec.facts()})

    # --- the GAN, or several, and where they lie ---------------------------------------------------------------------
    gan = made(build, options, spec)
    check_counts(gan, spec)
    helpers = {name: network.digest for name, network in gan.frozen.items()}
    members = members_of(options)
    layout = layout_for(options, options.batch_size, taken(gan, spec).values(), len(members))
    gan = ensemble_of(gan, members) if members else gan
    key = jax.random.key(options.seed)
    like = layout.abstract(layout.gathering(jax.eval_shape(gan.init, key)))
    tree = jax.tree.structure(like)  # another call of init may make other functions, which are part of a tree
    begin = jax.jit(lambda key: jax.tree.unflatten(tree, jax.tree.leaves(gan.init(key))), out_shardings=layout.of(like))
    transform, xla = real_transform(options), compiler_options(options)
    begun = forked(options, build, like, begin(key)) if options.from_run and not record else None
    compiled_for = functools.partial(
        compile_for, gan, spec=spec, data=data, transform=transform, layout=layout, options=xla
    )
    drawing = Drawing(
        *(gan, spec, like, lambda: drawn_from(options, spec, given, data)),
        members=len(members),
        everywhere=layout.everywhere,
    )
    real = Real(data, spec, transform)
    measures = measures_for(options, drawing) if options.eval_every or members else {}

    if options.dry_run:
        program, size = compiled_for(state := begin(key))
        with contextlib.closing(program):
            dry_run(gan, options, state, program.run, program.compiled, size)
        return like

    # --- the run directory, in which the first process writes --------------------------------------------------------
    caught = stack.enter_context(catch_signals())
    first = processes.first()
    run = run or Run(Path(processes.from_first(lambda: str(new_directory(name_of(build))))))
    directory = run.directory
    options = dataclasses.replace(options, workdir=str(directory), step=begun[0] if begun else options.step)

    def claim() -> None:
        run.make()
        stack.enter_context(locked(directory))
        run.check(build, options, spec, helpers)

    processes.from_first(claim)

    # --- the state: as it was saved, from another run, or from the beginning -----------------------------------------
    checkpoints = Checkpoints(directory)
    found = checkpoints.restore_newest(like)
    if record and not found:
        processes.from_first(lambda: run.refuse_to_begin_again(record["options"]))
        begun = forked(options, build, like, begin(key)) if options.from_run else None
    done, state = found or begun or (0, begin(key))

    def finish(state: State, stopped: int = 0) -> None:
        if first:
            animate(directory / "samples", directory / "training.gif")
        if members and not stopped:
            report_members(directory, drawing, state, members, real, measures, layout)

    # --- scores on the way, the best checkpoint, whether it collapsed ------------------------------------------------
    watch = Watch(members, state, layout)
    evaluation = (
        Evaluation(directory, drawing, measures, options.eval_count, real, members, options.seed)
        if options.eval_every
        else None
    )

    def evaluate(state: State, step: int, metrics: Metrics, log: Log | None) -> None:
        if evaluation and (step % (options.eval_every or 1) == 0 or step == options.steps):
            for line in evaluation(state, step, watch.frozen, metrics, log):
                tqdm.write(line)

    def conclude() -> None:
        if evaluation:
            lines, collapsed = processes.from_first(lambda: evaluation.verdict(watch.frozen))
            if first:
                print(*lines, sep="\n", flush=True)
            if collapsed:
                raise Stopped(collapsed, COLLAPSED)

    if done >= options.steps:
        checkpoints.close()
        with writing_in(directory):
            evaluate(state, done, {}, None)  # which a kill may have prevented
            finish(state)
        if first:
            print(f"{directory} is at step {done} already; a larger --steps would train it further")
        conclude()
        return state
    processes.from_first(lambda: run.write(build, options, spec, helpers))
    if first:
        where = f"step {done} of {options.from_run}" if options.from_run else f"step {done}"
        again = f"{directory} has no checkpoint: starting from {where}" if record else f"writing to {directory}"
        again += f", beginning with {where}" if begun and not record else ""
        print(f"continuing at step {done} in {directory}" if found else again, flush=True)
        print(in_words(layout, deterministic=options.deterministic), flush=True)

    # --- the pictures: always of the same latents --------------------------------------------------------------------
    shown, columns = drawing.sheet(square=bool(members))
    draw = drawing.of(shown, key=jax.random.fold_in(key, ROLES["display"]), run=columns or 1, at_once=shown)
    beside = real.beside(drawing, shown)

    def show(state: State, step: int) -> None:
        drawn = draw(state)
        if log:
            picture = drawing.picture(drawn, columns, real=beside)
            save_png(directory / "samples" / f"{step:08d}.png", picture)
            log.image(step, picture)

    def save(state: State, step: int) -> None:
        if not all_finite(state):
            raise diverged(f"the state of step {step} is not finite", directory, saved)
        checkpoints.save(step, state)

    # --- the loop ----------------------------------------------------------------------------------------------------
    step, saved, stop, count = done, done if found else 0, 0, 1
    if first and (frozen := watch.frozen.nonzero()[0].tolist()):
        print(f"frozen: members {', '.join(map(str, frozen))}", flush=True)
    files = contextlib.closing(Log(directory, done, gan.taken(), len(members))) if first else contextlib.nullcontext()
    try:
        with writing_in(directory), contextlib.closing(checkpoints), files as log:
            with progress_bar(done, options.steps, hidden=not first) as bar:
                bar.set_postfix_str("compiling")
                program, _ = compiled_for(state)
                stack.enter_context(contextlib.closing(program))
                if not found:
                    show(state, done)
                    if done:  # the new run has all that it needs, whatever becomes of the one that it began with
                        save(state, done)
                        saved = done
                if done:
                    evaluate(state, done, {}, log)  # which a kill may have prevented
                while step < options.steps:
                    every = (options.sample_every, options.checkpoint_every, options.eval_every or options.steps)
                    events = (n - step % n for n in every)
                    count = min(count, *events, options.steps - step)
                    stop, count = processes.agree(caught[0] if caught else 0, count)
                    if stop:
                        break
                    began = time.perf_counter()
                    state, buffer = program.run(state, count)
                    metrics = {name: values[:count] for name, values in jax.device_get(buffer).items()}
                    seconds = time.perf_counter() - began
                    good, what, news = watch(state, metrics, step)
                    for line in news if first else []:
                        bar.write(line)
                    if log:
                        log.rows(step + 1, {name: values[:good] for name, values in metrics.items()})
                    if what:
                        raise diverged(what, directory, saved)
                    step += count
                    if on_chunk:
                        on_chunk(state, metrics)
                    images = count * gan.taken() * max(1, len(members))
                    bar.set_postfix_str(
                        _summary(metrics, program.hint() or f"{images / seconds:,.0f} images/s"), refresh=False
                    )
                    bar.update(count)
                    if step % options.sample_every == 0 or step == options.steps:
                        show(state, step)
                    if step % options.checkpoint_every == 0:
                        save(state, step)
                        saved = step
                    evaluate(state, step, metrics, log)
                    count = min(CHUNK, max(1, int(SECONDS * count / seconds)))
            if step > saved:
                save(state, step)
            finish(state, stop)
    except DataError as error:
        raise Stopped(f"{error}; {kept(directory, saved)}", 1) from error

    # --- the end -----------------------------------------------------------------------------------------------------
    if stop:
        where = f"at step {step}, which is saved" if step else "before the first step"
        again = (
            f"the same command{' without --fresh' if options.fresh else ''} and --workdir {shlex.quote(str(directory))}"
        )
        raise Stopped(f"stopped by {signal.Signals(stop).name} {where}; continue with {again}", 128 + stop)
    if first:
        print(f"done: {step} steps, pictures in {directory / 'samples'}, animation {directory / 'training.gif'}")
    conclude()
    return state


def _summary(metrics: Metrics, rate: str) -> str:
    losses = [
        f"{player[0].upper()} {np.nanmean(metrics[name][-1]):.3f}"
        for player in ("discriminator", "generator")
        if (name := f"{player}/loss") in metrics
    ]
    return ", ".join([rate, *losses])
