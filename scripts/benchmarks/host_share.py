"""Measures the part of a run's time that is not training: reading, compiling, and what the host does while the device
waits.

    python -m scripts.benchmarks.host_share
    python -m scripts.benchmarks.host_share --dataset mnist --steps 3000

trains experiments.dcgan_mnist in a folder that is thrown away, with pictures and checkpoints as often as by default,
and says how long it took to the first step, how long the compiled chunks took together from then on, and where the rest
went. Told twice, the second run finds its programs compiled and its images decoded.
"""

import contextlib
import dataclasses
import io
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax

from experiments import dcgan_mnist
from jaxgan.terminal import say
from jaxgan.training import loop, setup
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.options.fields import Bounded, bounded


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    dataset: str = "digits"
    """As for the experiment."""
    data_dir: str | None = None
    """As for the experiment."""
    steps: int = bounded(1000, at_least=2)
    """How long to train."""


def timed(function: Callable[..., Any], times: Counter[str], name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return jax.block_until_ready(function(*arguments, **options))
        finally:
            times[name] += time.perf_counter() - began

    return call


def measure(options: Options) -> tuple[float, float, Counter[str]]:
    """Seconds until the first chunk began, from then on, and by what they were spent on."""
    times: Counter[str] = Counter()
    began, first = time.perf_counter(), []
    compile_for = setup.compile_for

    def compiled(*arguments: Any, **others: Any) -> Any:
        program, size = compile_for(*arguments, **others)
        run = timed(program.run, times, "chunks")

        def run_it(*of: Any) -> Any:
            first.append(time.perf_counter())
            return run(*of)

        return program._replace(run=run_it), size

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(setup, "compile_for", compiled))
        for owner, name, called in (
            (loop, "save_png", "pictures"),
            (loop, "animate", "the animation"),
            (loop.Reporter, "drawn", "signs in the report"),
            (loop.Reporter, "saved", "the report"),
            (loop.Reporter, "look_for_copies", "the nearest training images"),
            (loop.Checkpoints, "save", "checkpoints"),
            (loop.Checkpoints, "close", "checkpoints"),
            (loop.Log, "rows", "logs"),
        ):
            stack.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name), times, called)))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        train = dcgan_mnist.Options(
            dataset=options.dataset, data_dir=options.data_dir, steps=options.steps, workdir=folder, devices=1
        )
        loop.train(dcgan_mnist.build, train)
    ended = time.perf_counter()
    return first[0] - began, ended - first[0], times


def host_share(options: Options) -> None:
    before, after, times = measure(options)
    outside = after - times.pop("chunks")
    say(f"{before:.1f} s to the first step, {after:.1f} s from then on, {100 * outside / after:.2f} % outside chunks:")
    for name, seconds in times.most_common():
        say(f"  {name} {100 * seconds / after:.2f} %")
    say(f"  the rest {100 * (outside - times.total()) / after:.2f} %")


if __name__ == "__main__":
    with plain_exits():
        host_share(command_line(Options))
