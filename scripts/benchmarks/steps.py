"""Times a training iteration beside PyTorch's: the same architecture, batch and optimiser, on the CPU or the GPU.

    pip install -e '.[benchmark]'
    python -m scripts.benchmarks.steps
    python -m scripts.benchmarks.steps --lines dcgan32 --rounds 20 --out speed.json

Ours is the program that a run is, many iterations in one dispatch. PyTorch is timed as it is (eager), with
`torch.compile`, on a GPU also with its `mode="reduce-overhead"` (CUDA graphs), and all of them with `channels_last`, on
a GPU with autocast to bfloat16 where ours has --dtype bfloat16; Adam's updates are fused. Each is a process of its own,
of which one works at a time: round after round by turns, medians count, and the ratio is PyTorch's time to ours, round
by round, in that setting of PyTorch's that is fastest. What is printed beside it: images that are trained on in a
second; the first iteration, with compiling; peak memory (on a CPU what the process grew by, on a GPU what was in use);
FLOP of an image, counted by hand and by XLA, which counts elementwise work too and a loop's body once; and the share of
the largest rate that matrix products of random numbers reached in the same run, four in a row, of 2,048 by 2,048 on a
CPU, of 8,192 by 8,192 on a GPU. Without PyTorch ours is timed alone.
"""

import dataclasses
import json
import math
import multiprocessing
import os
import statistics
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from jaxgan.files import atomic_write
from jaxgan.terminal import align_columns, say
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, require_file, require_known, writing
from jaxgan.training.options.fields import Bounded, bounded
from scripts.benchmarks.lines import LINES
from scripts.benchmarks.seeds import spread
from scripts.benchmarks.sides import ours, settings, theirs


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    lines: tuple[str, ...] = ()
    """Which of mlp, dcgan32, dcgan64, wgan_gp32, r3gan32, r3gan_groups32, residual32, stylegan2_32, stylegan2_64; all
    unless told otherwise."""
    rounds: int = bounded(10, at_least=1)
    """How often each is timed."""
    seconds: float = bounded(2.0, above=0, below=math.inf)
    """About how long one timing takes, or one iteration where that is longer."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The type that networks compute in."""
    out: Path | None = None
    """File for all numbers, .json."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known(self, "lines", LINES)
        require_file(self, "out", ".json")


class Side:
    """One contestant: a process that does as many iterations as it is told, and says how long they took."""

    def __init__(self, target: Any, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe: Connection
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=target, args=(other, *arguments), daemon=True)
        self.process.start()
        other.close()
        self.first = self.answer()

    def answer(self, question: int | None = None) -> dict[str, Any]:
        try:
            if question is not None:
                self.pipe.send(question)
            # The pipe alone may stay open longer than the process, in children that it has started.
            if self.pipe not in wait([self.pipe, self.process.sentinel]):
                raise EOFError
            said: dict[str, Any] = self.pipe.recv()
        except (EOFError, ConnectionError):
            raise UsageError("a timed process ended before its time; what it printed above says why") from None
        return said

    def run(self, iterations: int) -> float:
        seconds: float = self.answer(iterations)["seconds"]
        return seconds / iterations

    def end(self) -> dict[str, Any]:
        last = self.answer(0)
        self.process.join()
        return last


def measured(name: str, options: Options, torch: Sequence[str]) -> dict[str, Any]:
    """All numbers of a line, beside PyTorch in the settings `torch`."""
    sides: dict[str, Side] = {}
    lengths: dict[str, int] = {}

    def begin(who: str) -> None:
        say(f"{LINES[name].title}: compiling {who}")
        sides[who] = Side(ours, name, options.dtype) if who == "ours" else Side(theirs, name, options.dtype, who)
        lengths[who] = max(1, round(options.seconds / sides[who].run(1)))

    for who in ("ours", *torch):
        _unless_it_fails(sides, name, who, begin)
    seconds: dict[str, list[float]] = {who: [] for who in sides}
    for _ in range(options.rounds):
        for who in list(sides):
            _unless_it_fails(sides, name, who, lambda who: seconds[who].append(sides[who].run(lengths[who])))
    ends: dict[str, dict[str, Any]] = {}
    for who in list(sides):
        _unless_it_fails(sides, name, who, lambda who: ends.update({who: sides[who].end()}))
    return result_of(name, {who: sides[who].first | ends[who] | {"seconds": seconds[who]} for who in sides})


def _unless_it_fails(sides: dict[str, Side], name: str, who: str, do: Callable[[str], None]) -> None:
    """`do(who)`; a setting of PyTorch's that ends in it is a side no longer. UsageError where ours does."""
    try:
        do(who)
    except UsageError:
        if who == "ours":
            raise
        say(f"{LINES[name].title}: PyTorch {who} fails (above), and is left out")
        sides.pop(who, None)


def result_of(name: str, sides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The sides' answers, which of PyTorch's settings is fastest ("ours" without PyTorch), and its time to ours."""
    best = min(sides, key=lambda who: (who == "ours", statistics.median(sides[who]["seconds"])))
    ratios = [a / b for a, b in zip(sides[best]["seconds"], sides["ours"]["seconds"], strict=True)]
    return {"line": name, "best": best, "ratios": ratios, "sides": sides}


def row(result: dict[str, Any]) -> list[str]:
    line, sides, best = LINES[result["line"]], result["sides"], result["best"]
    rates = {who: line.images / statistics.median(sides[who]["seconds"]) for who in sides}
    peak = max(side["product"] for side in sides.values())
    whose = ["ours"] if best == "ours" else ["ours", best]
    return [
        line.title,
        *(f"{rates['ours']:,.0f}", "" if best == "ours" else f"{rates[best]:,.0f} ({best})"),
        "" if best == "ours" else spread(result["ratios"]),
        " / ".join(f"{sides[who]['first']:.1f}" for who in whose),
        " / ".join(f"{sides[who]['peak'] / 1e6:,.0f}" for who in whose),
        f"{line.flop / 1e6:,.0f} / {sides['ours']['flop'] / line.images / 1e6:,.0f}",
        f"{100 * rates['ours'] * line.flop / peak:.0f} %",
    ]


HEAD = [
    *("", "ours, images/s", "PyTorch", "ratio (quartiles)", "first, s", "peak, MB"),
    *("MFLOP an image, by hand / XLA", "of the peak"),
]


def benchmark(options: Options) -> None:
    if not (torch := settings()):
        say("PyTorch isn't installed, ours is timed alone: pip install -e '.[benchmark]'")
    results = []
    for name in options.lines or tuple(LINES):
        results.append(measured(name, options, torch))
        say(*align_columns([HEAD, row(results[-1])]))
    sides = [side for result in results for side in result["sides"].values()]
    product, copy = (max(side[what] for side in sides) for what in ("product", "copy"))
    say("", f"{sides[0]['device']}, {os.cpu_count()} cores, {options.dtype}, {options.rounds} rounds by turns")
    say(f"largest matrix product {product / 1e9:,.0f} GFLOP/s, copy {copy / 1e9:,.1f} GB/s", "")
    say(*align_columns([HEAD, *map(row, results)]))
    if options.out:
        plain = dataclasses.asdict(options) | {"out": None}
        with writing(options.out), atomic_write(options.out) as temporary:
            temporary.write_text(json.dumps({"options": plain, "lines": results}, indent=1) + "\n")


if __name__ == "__main__":
    with plain_exits():
        benchmark(command_line(Options, renamed={"--json": "--out FILE.json"}))
