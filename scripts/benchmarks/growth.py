"""Measures how time and memory of an iteration grow with the batch, the resolution, the width, the number of seeds and
the data.

    python -m scripts.benchmarks.growth --out growth.png

DCGAN's program (experiments.dcgan_mnist at half its width) is compiled for one value after the other of each of these,
the others as in the middle, and timed: the median iteration, the work in it as XLA counts it, and the memory that the
program needs beside its arguments. The last columns say how many times as much each is as at the smallest value.
Nothing should grow faster than its work. The picture has the same, doubly logarithmic, the work as a broken line
through the first time.
"""

import dataclasses
import math
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments import dcgan_mnist
from jaxgan.files import atomic_write
from jaxgan.parallel import layout
from jaxgan.terminal import align_columns, say
from jaxgan.training import DataSpec
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.compiled.program import CHUNK, compile_chunk
from jaxgan.training.errors.usage import require, require_file, require_known, writing
from jaxgan.training.options.fields import Bounded, bounded
from jaxgan.training.recipe.members import ensemble_of, members_of
from scripts.benchmarks.lines import lowered

MIDDLE = {"batch": 64, "resolution": 32, "width": 32, "seeds": 1, "images": 10_000}
VALUES = {
    "batch": (16, 64, 256, 1024),
    "resolution": (28, 32, 64, 128),
    "width": (16, 32, 64, 128),
    "seeds": (1, 2, 4, 8),
    "images": (1_000, 10_000, 60_000),
}


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    out: Path = Path("growth.png")
    """File for the picture, .png."""
    axes: tuple[str, ...] = tuple(VALUES)
    """Which of batch, resolution, width, seeds, images."""
    count: int = bounded(max(map(len, VALUES.values())), at_least=1)
    """How many values of each, from the smallest."""
    rounds: int = bounded(5, at_least=1)
    """How often each is timed."""
    seconds: float = bounded(2.0, above=0, below=math.inf)
    """About how long one timing takes, or one iteration where that is longer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known(self, "axes", VALUES)
        require(self, "axes", len(set(self.axes)) == len(self.axes), "each named once")
        require_file(self, "out", ".png")


class Point(NamedTuple):
    """seconds: of an iteration. flop: in it. memory: bytes beside the program's arguments."""

    value: int
    seconds: float
    flop: float
    memory: int


def point(options: Options, axis: str, value: int) -> Point:
    asked = MIDDLE | {axis: value}
    seeds, size = asked["seeds"], asked["resolution"]
    chosen = dcgan_mnist.Options(batch_size=asked["batch"], features=asked["width"], seeds=seeds)
    data = DataSpec.single("random", asked["images"], (size, size, 1), 10)
    gan = dcgan_mnist.build(chosen, data)
    alone = lowered(gan, data)
    members = members_of(chosen)
    gan = ensemble_of(gan, members) if members else gan
    state: Any = jax.jit(gan.init)(jax.random.key(0))
    images = jax.random.bits(jax.random.key(1), (asked["images"], size, size, 1), jnp.uint8)
    where = layout(jax.devices()[:1], members=len(members))
    examples = {"image": images, "label": jnp.zeros(len(images), jnp.int32)}
    program = compile_chunk(gan, state, data, examples, layout=where)
    times, count = [], 1
    for number in range(options.rounds + 2):  # the first two say how long it takes
        began = time.perf_counter()
        state, _ = jax.block_until_ready(program.run(state, count))
        seconds = (time.perf_counter() - began) / count
        if number < 2:
            count = max(1, min(CHUNK, round(options.seconds / seconds)))
        else:
            times.append(seconds)
    flop = (alone.cost_analysis() or {}).get("flops", float("nan")) * seeds
    memory = program.compiled.memory_analysis().temp_size_in_bytes
    return Point(value, statistics.median(times), flop, memory)


HEAD = ["", "ms", "GFLOP", "MB", "times the time", "the work", "the memory"]


def rows(axis: str, points: list[Point]) -> list[list[str]]:
    first = points[0]
    return [
        [
            *(f"{axis} {p.value:,}", f"{p.seconds * 1e3:,.1f}", f"{p.flop / 1e9:,.2f}", f"{p.memory / 1e6:,.1f}"),
            *(f"{p.seconds / first.seconds:.2f}", f"{p.flop / first.flop:.2f}", f"{p.memory / first.memory:.2f}"),
        ]
        for p in points
    ]


def draw(found: dict[str, list[Point]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(found), 5.5), layout="constrained")
    panels = figure.subplots(2, len(found), squeeze=False, sharex="col")
    for (above, below), (axis, points) in zip(panels.T, found.items(), strict=True):
        values, first = [p.value for p in points], points[0]
        above.plot(values, [p.seconds * 1e3 for p in points], "o-")
        above.plot(values, [p.flop / first.flop * first.seconds * 1e3 for p in points], "k:")
        below.plot(values, [p.memory / 1e6 for p in points], "o-")
        below.set_xlabel(axis)
        for panel in (above, below):
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.set_xticks(values, [f"{value:,}" for value in values])
            panel.minorticks_off()
            low, high = panel.get_ylim()
            panel.set_ylim(low / 2, high * 2)  # where nothing grows a line is to look flat
    panels[0, 0].set_ylabel("ms an iteration (broken: work)")
    panels[1, 0].set_ylabel("MB beside the arguments")
    with writing(path), atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def growth(options: Options) -> None:
    found: dict[str, list[Point]] = {}
    for axis in options.axes:
        found[axis] = []
        for value in VALUES[axis][: options.count]:
            found[axis].append(point(options, axis, value))
            say(f"{axis} {value:,}: {found[axis][-1].seconds * 1e3:,.1f} ms")
    lines = [HEAD, *(row for axis, points in found.items() for row in rows(axis, points))]
    say(*align_columns(lines))
    draw(found, options.out)


if __name__ == "__main__":
    with plain_exits():
        growth(command_line(Options, renamed={"--values": "--count N"}))
