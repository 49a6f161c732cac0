"""The training loop: `main` for a command line, `train` for a program.

`train` is the table of contents: a `Setup` is made of what the options ask for, before anything is written, see
`jaxgan.training.setup`; a `Session` claims the run directory, restores or initialises the state, and trains until the
last step."""

import contextlib
import dataclasses
import functools
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.data import DataError
from jaxgan.state import ROLES
from jaxgan.terminal import progress_bar, say, steady_output
from jaxgan.training.checkpoints.checkpoints import Checkpoints
from jaxgan.training.cli.exits import command_again, plain_exits
from jaxgan.training.compiled.divergence import DivergenceCheck
from jaxgan.training.compiled.program import CHUNK, all_finite
from jaxgan.training.distributed import processes
from jaxgan.training.errors.stopping import (
    Stopped,
    catch_signals,
    closing_in,
    diverged,
    out_of_memory,
    resume_point,
    writing_in,
)
from jaxgan.training.options.devices import describe
from jaxgan.training.options.options import Options, name_of
from jaxgan.training.options.parsing import parse
from jaxgan.training.output.curves import save_losses
from jaxgan.training.output.drawing import Drawn
from jaxgan.training.output.log import Log
from jaxgan.training.output.pictures import animate, save_png
from jaxgan.training.recipe.gan import Build
from jaxgan.training.recipe.loading import Given
from jaxgan.training.recipe.statistics import protocol_of
from jaxgan.training.reporting.live import Reporter
from jaxgan.training.run.directory import Run, new_directory
from jaxgan.training.run.folder import clear_leftovers, writing_run
from jaxgan.training.run.lock import locked
from jaxgan.training.run.provenance import session_now
from jaxgan.training.run.tracker import tracker_of
from jaxgan.training.scoring.member_report import report_members
from jaxgan.training.scoring.monitor import COLLAPSED, Monitor
from jaxgan.training.scoring.verdict import Best
from jaxgan.training.setup import Setup, estimate, set_up

__all__ = ["main", "train"]

SECONDS = 1.0  # a chunk should take at most this long, so that the bar moves and Ctrl-C is heard

State = Any
Metrics = dict[str, np.ndarray]
OnChunk = Callable[[State, Metrics], None]
Again = Callable[[Path, Options], str]  # says what starts the run in a directory again


def main(options_type: type[Options], build: Build) -> None:
    """Runs an experiment's command line: parses options, trains, exits with 0, 1 (diverged), 2 (usage), 3 (collapsed)
    or 128 + signal. Nothing that stdout or stderr refuse ends a run."""
    with processes.exit_at_once(), plain_exits(prints_results=False):
        _train(build, parse(options_type), again=lambda directory, _: command_again(directory))


def train(build: Build, options: Options, on_chunk: OnChunk | None = None, *, data: Given | None = None) -> State:
    """Trains what `build(options, data)` makes until `options.steps` and returns the final state.

    Continues the run that is in `options.workdir`; with `options.dry_run` only says what it would cost. `data` is a set
    of one's own (see `jaxgan.data.from_arrays`), or several by name, instead of what the options name. `on_chunk(state,
    metrics)` is called after every dispatch with the state (donated afterwards: don't keep it) and the metrics
    `[count]` by name. With `options.seeds` or `options.sweep` the state is an `Ensemble`, and metrics are `[count,
    members]`.

    Processes that train together (`options.coordinator`) all call this; the first of them writes, and the checkpoints
    are all of theirs. UsageError before anything was done where the options are wrong; Stopped on SIGTERM, SIGINT,
    SIGHUP, a value that isn't finite, an image that can't be read, a process that is lost, or a disk or memory that
    takes no more; also, with status 3 and all saved, where every GAN has collapsed (`options.eval_every`). What stdout
    and stderr don't take is dropped.
    """
    return _train(build, options, on_chunk, data, again=_call_again)


def _call_again(directory: Path, options: Options) -> str:
    """Returns the call of `train` that goes on in a directory."""
    changes = f"workdir={json.dumps(str(directory), ensure_ascii=False)}" + ", fresh=False" * options.fresh
    return f"train(build, dataclasses.replace(options, {changes}))"


def _train(
    build: Build, options: Options, on_chunk: OnChunk | None = None, data: Given | None = None, *, again: Again
) -> State:
    processes.join(options.coordinator, options.processes, options.process)
    try:
        with steady_output(), processes.explain_aborts(), contextlib.ExitStack() as stack:
            setup = set_up(build, options, data)
            if options.dry_run:
                return estimate(setup)
            session = Session(setup, stack, again)
            session.claim_directory()
            session.restore_state()
            session.start_monitors()
            if session.step >= session.last:
                session.finish_again()
            else:
                session.write_record()
                session.announce()
                session.train(on_chunk)
            session.conclude()
            return session.state
    except Exception as error:
        if end := processes.lost_process(error) or out_of_memory(error, options.batch_size):
            raise end from error
        raise


# --- the session: directory, state, loop ------------------------------------------------------------------------------


class Session:
    """One call of `train` on a run directory: its state, the step it is at, and what is saved, shown and scored.

    `stack` holds what must be released in the end: signal handlers, the directory's lock, the compiled program. `again`
    says what a user does to go on after a signal."""

    def __init__(self, setup: Setup, stack: contextlib.ExitStack, again: Again) -> None:
        self.setup, self.stack, self.options, self.again = setup, stack, setup.options, again
        self.signals = stack.enter_context(catch_signals())
        self.first = processes.first()  # the process that writes and speaks
        self.log: Log | None = None
        self.still_there: Callable[[], None] = lambda: None  # of the first process, which holds the directory
        self.state: State = None
        self.step = self.saved = 0
        self.shown: int | None = None  # the step of the last picture
        self.drawn: Drawn = {}  # what is in it
        self.reached: Best | None = None  # the step whose score is what --until asks for

    @property
    def last(self) -> int:
        """The step at which the run ends: that of `--steps`, or an earlier one that `--until` has found."""
        return min(self.options.steps, self.reached.step) if self.reached else self.options.steps

    def claim_directory(self) -> None:
        """Makes and locks the run directory, and checks that a run in it is this one."""
        setup = self.setup
        self.run = setup.run or Run(Path(processes.from_first(lambda: str(new_directory(name_of(setup.build))))))
        self.directory = self.run.directory
        step = setup.begun.source_step if setup.begun else self.options.step
        self.options = dataclasses.replace(self.options, workdir=str(self.directory), step=step)

        def claim() -> None:
            self.run.make()
            self.still_there = self.stack.enter_context(locked(self.directory))
            with writing_run(self.directory):
                clear_leftovers(self.directory)
            self.run.check(setup.build, self.options, setup.spec, setup.frozen)

        processes.from_first(claim)

    def restore_state(self) -> None:
        """Takes the state as it was saved, or from another run, or from the beginning."""
        setup, record = self.setup, self.setup.record
        self.checkpoints = Checkpoints(self.directory, read_back=True, logs=[self.directory / "metrics.jsonl"])
        self.restored = self.checkpoints.restore_newest(setup.like)
        begun = setup.begun
        if record and not self.restored:
            processes.from_first(lambda: self.run.refuse_to_begin_again(record["options"]))
            begun = setup.begin()
        self.begun = None if self.restored else begun
        self.step, self.state = self.restored or (begun[:2] if begun else (0, setup.init()))
        self.done = self.step  # where this session began
        self.saved = self.step if self.restored else 0

    def start_monitors(self) -> None:
        """Starts what looks for NaN, what reports, and what scores on the way, keeps the best checkpoint and tells a
        collapse."""
        setup, options = self.setup, self.options
        of_run = self.directory, setup.drawing, setup.real, len(setup.members)
        self.reporter = Reporter(*of_run, self.still_there) if self.first else None
        self.divergence = DivergenceCheck(setup.members, self.state, setup.layout)
        self.monitor: Monitor | None = None
        if options.eval_every:
            self.monitor = Monitor(
                *(self.directory, setup.drawing, setup.measures, options.eval_count, setup.real, setup.members),
                seed=options.seed,
                batch_norm=protocol_of(options.ema_statistics, "ema"),
                goal=options.goal(),
                watch=lambda step, drawn: self._report_drawn(step, drawn, by_turns=False),
            )
            self._look_for_goal()

    def finish_again(self) -> None:
        """Writes what a kill at the very end may have prevented."""
        self.checkpoints.close()
        self._evaluate({})
        self._finish()
        if self.first:
            ended = self.step >= self.options.steps
            further = "a larger --steps would train it" if ended else "without --until it would be trained"
            say(f"{self.directory} is at step {self.step} already; {further} further")

    def write_record(self) -> None:
        """Writes the record of the run, from which it is continued and reopened."""
        setup, begun = self.setup, self.begun

        def write() -> None:
            devices = list(setup.layout.mesh.devices.flat)
            session = session_now(setup.build, self.done, devices, begun.about if begun else None)
            self.run.write(setup.build, self.options, setup.spec, setup.frozen, session)

        processes.from_first(write)

    def announce(self) -> None:
        """Prints where the run writes, where it begins, and on which devices it computes."""
        if not self.first:
            return
        begun, directory = self.begun, self.directory
        if self.restored:
            say(f"continuing at step {self.done} in {directory}")
        elif self.setup.record:
            say(f"{directory} has no checkpoint: starting from {begun.about if begun else f'step {self.done}'}")
        else:
            say(f"writing to {directory}" + (f", beginning with {begun.about}" if begun else ""))
        say(*(begun.report if begun else ()))
        say(*self.setup.spec.notes, *describe(self.setup.layout, deterministic=self.options.deterministic).splitlines())
        if frozen := self.divergence.frozen.nonzero()[0].tolist():
            say(f"frozen: members {', '.join(map(str, frozen))}")

    def train(self, on_chunk: OnChunk | None) -> None:
        """Trains until the last step, saves and shows on the way. Stopped where something ends it earlier."""
        members = len(self.setup.members)
        log = None
        if self.first:
            tracker = tracker_of(self.options, self.run, self.setup.record, self.done)
            with writing_in(self.directory):
                log = Log(self.directory, self.done, self.setup.gan.taken(), members, tracker)
        files = closing_in(self.directory, log) if log else contextlib.nullcontext()
        self.bar = progress_bar(
            self.options.steps, unit="steps", done=self.done, note="compiling", delay=0.0, hidden=not self.first
        )
        with self._telling_end():
            try:
                with closing_in(self.directory, self.checkpoints), files as self.log:
                    with self.bar:
                        self._begin()
                        stop = self._iterate(on_chunk)
                    if self.step > self.saved:
                        self._save()
                    if (stop or self.reached) and self.step > self.done and self.shown != self.step:
                        self._show()
                    self._finish(stopped=bool(stop))
            except DataError as error:
                raise Stopped(f"{error}; {resume_point(self.directory, self.saved)}", 1) from error
            if stop:
                raise self._stopped_by(stop)
        if self.first:
            samples, animation = self.directory / "samples", self.directory / "training.gif"
            say(f"done: {self.step} steps, pictures in {samples}, animation {animation}")
            say(f"report: {self.directory / 'report.html'}")

    @contextlib.contextmanager
    def _telling_end(self) -> Iterator[None]:
        """Tells the reporter why the block ended."""
        why = "done"
        try:
            yield
        except Exception as error:
            why = str(error) if isinstance(error, Stopped) else f"an error: {type(error).__name__}"
            raise
        finally:
            if self.reporter:
                self.reporter.ended(self.step, why)

    def conclude(self) -> None:
        """Says what the scores on the way have shown. Stopped, with its own status, where every GAN has collapsed."""
        if not self.monitor:
            return
        monitor, frozen = self.monitor, self.divergence.frozen
        lines, collapsed = processes.from_first(lambda: monitor.verdict(frozen))
        if self.first:
            if self.reached:
                name, value = self.reached.name, self.reached.value
                lines = [f"--until {self.options.until}: {name} {value:.4g} at step {self.reached.step}", *lines]
            say(*lines)
        if collapsed:
            raise Stopped(collapsed, COLLAPSED)

    # --- one dispatch after another -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Compiles, and does what the first step needs or a kill has prevented."""
        if self.reporter:
            with writing_in(self.directory):
                self.reporter.began(self.step)
        self.program, _ = self.setup.compile(self.state)
        self.stack.enter_context(contextlib.closing(self.program))
        if not self.restored:
            self._show()
            if self.begun:  # the new run has all that it needs, whatever becomes of the one that it began with
                self._save()
        if self.done:
            self._evaluate({})  # which a kill may have prevented

    def _iterate(self, on_chunk: OnChunk | None) -> int:
        """Dispatches chunks of iterations until the last step; returns the signal that ended them earlier, or 0."""
        count = 1
        while self.step < self.last:
            caught = self.signals[0] if self.signals else 0
            stop, count = processes.agree(caught, min(count, self._until_next_event()))
            if stop:
                return stop
            began = time.perf_counter()
            self.state, buffer = self.program.run(self.state, count)
            metrics = {name: values[:count] for name, values in jax.device_get(buffer).items()}
            seconds = time.perf_counter() - began
            self._record(metrics)
            self.step += count
            if on_chunk:
                on_chunk(self.state, metrics)
            self._show_progress(metrics, count, seconds)
            self._handle_events(metrics)
            with writing_in(self.directory):
                self.checkpoints.check()
            count = min(CHUNK, max(1, int(SECONDS * count / seconds)))
        return 0

    def _until_next_event(self) -> int:
        """Returns how many steps there are until the next picture, checkpoint, score or the end."""
        options = self.options
        every = (options.sample_every, options.checkpoint_every, options.eval_every or options.steps)
        return min(self.last - self.step, *(n - self.step % n for n in every))

    def _record(self, metrics: Metrics) -> None:
        """Logs the metrics of the chunk after `step`, as far as they are finite. Stopped where the run has diverged."""
        good, what, news = self.divergence(self.state, metrics, self.step)
        if self.first:
            say(*news)
        if self.log:
            with writing_in(self.directory):
                self.log.rows(self.step + 1, {name: values[:good] for name, values in metrics.items()})
                if what:
                    save_losses(self.directory)
        if what:
            raise diverged(what, self.directory, self.saved)

    def _show_progress(self, metrics: Metrics, count: int, seconds: float) -> None:
        images = count * self.setup.gan.taken() * max(1, len(self.setup.members))
        rate = self.program.hint() or f"{images / seconds:,.0f} images/s"
        slow = self.step == self.done + count  # the first dispatch, which is slower than all others
        self.bar.set_postfix_str(_summary(metrics, "" if slow else rate), refresh=False)
        (self.bar.start if slow else self.bar.update)(count)

    def _handle_events(self, metrics: Metrics) -> None:
        """Shows, saves and scores where it is time to."""
        if self.step % self.options.sample_every == 0 or self.step == self.options.steps:
            self._show()
        if self.step % self.options.checkpoint_every == 0:
            self._save()
        self._evaluate(metrics)

    @functools.cached_property
    def display(self) -> tuple[Callable[[State], Drawn], Callable[[Drawn], np.ndarray]]:
        """Returns a function that draws from a state, always of the same latents, and one that makes a picture of what
        it drew."""
        setup = self.setup
        drawing = setup.drawing
        shown, columns = drawing.grid_shape(square=bool(setup.members))
        key = jax.random.fold_in(jax.random.key(self.options.seed), ROLES["display"])
        draw = drawing.of(shown, key=key, run=columns or 1, at_once=shown)
        beside = setup.real.beside(drawing, shown)
        return draw, lambda drawn: drawing.picture(drawn, columns, real=beside)

    def _show(self) -> None:
        draw, picture_of = self.display
        self.drawn, self.shown = draw(self.state), self.step  # by all processes
        if not self.log:
            return
        picture = picture_of(self.drawn)
        self.still_there()
        with writing_in(self.directory):
            save_png(self.directory / "samples" / f"{self.step:08d}.png", picture)
            self.log.image(self.step, picture)
            animate(self.directory / "samples", self.directory / "training.gif")
            self._report_drawn(self.step, self.drawn, by_turns=self.setup.drawing.by_label)

    def _report_drawn(self, step: int, drawn: Drawn, *, by_turns: bool) -> None:
        if self.reporter:
            self.reporter.drawn(step, drawn, by_turns=by_turns)

    def _save(self) -> None:
        if not all_finite(self.state):
            raise diverged(f"the state of step {self.step} is not finite", self.directory, self.saved)
        processes.from_first(self.still_there)
        with writing_in(self.directory):
            self.checkpoints.save(self.step, self.state)
            self.saved = self.step
            if self.reporter:
                self.reporter.saved(self.step)

    def _evaluate(self, metrics: Metrics) -> None:
        """Scores the state where it is time to, and sees whether that ends the run; `metrics` are those of the steps
        before."""
        every, last = self.options.eval_every or 1, self.step == self.options.steps
        if self.monitor and (self.step % every == 0 or last):
            with writing_in(self.directory):
                lines = self.monitor(self.state, self.step, self.divergence.frozen, metrics, self.log)
            say(*lines)
            self._look_for_goal()

    def _look_for_goal(self) -> None:
        """Takes the first step whose score is what `--until` asks for, as the first process has it written down."""
        if (monitor := self.monitor) and self.options.until:
            found = processes.from_first(lambda: monitor.reached(self.divergence.frozen))
            self.reached = Best(*found) if found else None

    # --- the end ------------------------------------------------------------------------------------------------------

    def _finish(self, *, stopped: bool = False) -> None:
        """Writes what looks back: the animation, the losses' curves, which training images are nearest to the last
        samples and, of several GANs that have come to the end, their table."""
        setup = self.setup
        if not stopped and self.shown != self.step and processes.from_first(self._lacks_copies):
            self.drawn, self.shown = self.display[0](self.state), self.step
        with writing_in(self.directory):
            if self.reporter:
                animate(self.directory / "samples", self.directory / "training.gif")
                save_losses(self.directory)
                if not stopped and self.shown == self.step:
                    self.reporter.look_for_copies(self.step, self.drawn)
            if setup.members and not stopped:
                report_members(
                    *(self.directory, setup.drawing, self.state, setup.members, setup.real, setup.measures),
                    setup.layout,
                )

    def _lacks_copies(self) -> bool:
        """Whether a kill came between the last checkpoint and the look for copies, in the first process."""
        return self.reporter is not None and not self.reporter.has_looked_for_copies(self.step)

    def _stopped_by(self, number: int) -> Stopped:
        where = f"at step {self.step}, which is saved" if self.step else "before the first step"
        again = self.again(self.directory, self.options)
        return Stopped(f"stopped by {signal.Signals(number).name} {where}; continue with {again}", 128 + number)


def _summary(metrics: Metrics, rate: str) -> str:
    """Says how fast it is and the last losses, but of players that had no turn in this phase, whose losses are 0."""
    short = {"discriminator": "D", "generator": "G"}
    last = {name.removesuffix("/loss"): values[-1] for name, values in metrics.items() if name.endswith("/loss")}
    losses = [f"{short.get(name, name)} {np.nanmean(value):.3f}" for name, value in last.items() if np.any(value != 0)]
    return ", ".join(filter(None, [rate, *losses]))
