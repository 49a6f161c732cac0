"""Measures whether memory grows while a run goes on.

    python -m scripts.benchmarks.measure_memory --steps 20000 --out docs/images/memory.png

trains a tiny DCGAN on digits through `jaxgan.training.train`, with checkpoints and pictures as often as by default,
and looks after every chunk at the process's resident memory and at the arrays that live on the device. It prints both
at some moments with the slope after the first 2,000 iterations, and draws them.
"""

import dataclasses
import os
import resource
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import dcgan_mnist
from jaxgan.files import atomic_write
from jaxgan.terminal import say
from jaxgan.training import UsageError, train
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import require_file
from jaxgan.training.options.fields import Bounded, bounded
from scripts.benchmarks.resident import peak

SETTLED = 2000  # iterations by which everything that is made once has been made
MOMENTS = (1000, 5000, 10_000, 20_000)


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    steps: int = bounded(20_000, above=SETTLED)
    """How long to train."""
    out: Path = Path("docs/images/memory.png")
    """File for the plot, .png."""
    checkpoint_every: int = bounded(500, at_least=1)
    """Iterations between two checkpoints."""
    sample_every: int = bounded(250, at_least=1)
    """Iterations between two sample grids."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(self, "out", ".png")


class Sample(NamedTuple):
    """Bytes after `step` iterations: resident in the process, and in arrays on the device."""

    step: int
    resident: int
    device: int


def resident() -> int:
    """Bytes of this process in memory; where the system tells no more than the peak (macOS), the peak."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        return peak()


def measure(directory: Path, iterations: int, **intervals: int) -> list[Sample]:
    """A sample after every chunk of a run in `directory`."""
    tiny: dict[str, Any] = {"dataset": "digits", "image_size": 28, "features": 2, "latent_size": 8, "batch_size": 8}
    samples: list[Sample] = []

    def on_chunk(state: Any, metrics: Any) -> None:
        device = sum(array.nbytes for array in jax.live_arrays())
        samples.append(Sample(int(state.step), resident(), device))

    options = dcgan_mnist.Options(steps=iterations, workdir=str(directory), **tiny, **intervals)
    train(dcgan_mnist.build, options, on_chunk)
    return samples


def slopes(samples: list[Sample], after: int = SETTLED) -> tuple[float, float]:
    """Bytes in 1,000 iterations by which resident memory and the device's arrays grow: least squares over the samples
    later than `after`."""
    steps, *series = np.array([sample for sample in samples if sample.step > after], np.float64).T
    centred = steps - steps.mean()
    first, second = (1000 * float(centred @ (each - each.mean()) / (centred @ centred)) for each in series)
    return first, second


def table(samples: list[Sample]) -> str:
    lines = [f"{'iterations':>10}  {'resident, MB':>14}  {'on the device, bytes':>21}"]
    for moment in MOMENTS:
        if moment <= samples[-1].step:
            now = next(sample for sample in samples if sample.step >= moment)
            lines.append(f"{now.step:>10,}  {now.resident / 1e6:>14,.1f}  {now.device:>21,}")
    first, second = slopes(samples)
    lines.append(f"after {SETTLED:,}, bytes in 1,000 iterations: {first:+,.0f} resident, {second:+,.0f} on the device")
    return "\n".join(lines)


def draw(path: Path, samples: list[Sample]) -> None:
    from matplotlib.figure import Figure  # without pyplot, which would look for a screen

    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    for axes, values, label in (
        (above, [sample.resident / 1e6 for sample in samples], "resident memory, MB"),
        (below, [sample.device / 1e6 for sample in samples], "arrays on the device, MB"),
    ):
        axes.plot([sample.step for sample in samples], values, linewidth=1)
        axes.set(ylabel=label, ylim=(0, 1.1 * max(values)))
        axes.spines[["top", "right"]].set_visible(False)
    below.set_xlabel("iterations")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def run(options: Options) -> None:
    if not os.access(options.out.absolute().parent, os.W_OK):
        raise UsageError(f"can't write {options.out}: the folder {options.out.absolute().parent} can't be written in")
    with tempfile.TemporaryDirectory() as folder:
        samples = measure(
            Path(folder) / "run",
            options.steps,
            checkpoint_every=options.checkpoint_every,
            sample_every=options.sample_every,
        )
    say(*table(samples).split("\n"))
    draw(options.out, samples)
    say(options.out)


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options, renamed={"--iterations": "--steps N"}))
