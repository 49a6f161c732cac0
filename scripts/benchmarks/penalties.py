"""FLOP, memory and time of a training iteration without R1 and R2, with exact ones, and with estimates along a tangent.

    python -m scripts.benchmarks.penalties
    python -m scripts.benchmarks.penalties --lines r3gan_mnist --rounds 20

Of each experiment four programs are compiled and timed by turns; medians count. FLOP and memory (of what is neither
input nor output) are those that XLA counts. Time is CPU time, all cores', so that other work on the machine matters
less, and on other devices wall time.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from experiments import r3gan_mnist, rpgan_stacked_mnist
from jaxgan.terminal import align_columns, say
from jaxgan.terms.penalties import GradientNorm
from jaxgan.training import DataSpec
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.options.fields import Bounded, bounded

Experiment = Literal["rpgan_stacked_mnist", "r3gan_mnist"]
EXPERIMENTS: dict[str, tuple[Any, tuple[int, int, int]]] = {
    "rpgan_stacked_mnist": (rpgan_stacked_mnist, (28, 28, 3)),
    "r3gan_mnist": (r3gan_mnist, (32, 32, 1)),
}
WAYS = ("none", *get_args(GradientNorm))


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    lines: tuple[Experiment, ...] = ("rpgan_stacked_mnist", "r3gan_mnist")
    """Experiments, with their own options."""
    rounds: int = bounded(10, at_least=1)
    """How often each is timed."""
    iterations: int = bounded(3, at_least=1)
    """Iterations of one timing."""


class Compiled(NamedTuple):
    """run: one iteration. start: makes the state and the batch that it takes. memory: bytes."""

    run: Callable[..., Any]
    start: Callable[[], tuple[Any, Any]]
    flop: float
    memory: int


def compiled(name: str, way: str, **changes: Any) -> Compiled:
    """An experiment's iteration with penalties that are computed this way; changes: options of the experiment's."""
    module, shape = EXPERIMENTS[name]
    penalties = {"r1": 0.0, "r2": 0.0} if way == "none" else {"penalties": way}
    data = DataSpec.single("random", 10_000, shape, 10)
    gan = module.build(module.Options(**(changes | penalties)), data)
    like = jax.eval_shape(gan.init, jax.random.key(0)), data.batch(gan.taken())
    program = jax.jit(gan.iteration).lower(*like).compile()

    def start() -> tuple[Any, Any]:
        images = jax.random.uniform(jax.random.key(1), (gan.taken(), *shape), minval=-1.0)
        batch = {name: jnp.zeros(x.shape, x.dtype) for name, x in like[1].items()} | {data.main: images}
        return jax.jit(gan.init)(jax.random.key(0)), batch

    return Compiled(program, start, program.cost_analysis()["flops"], program.memory_analysis().temp_size_in_bytes)


def timed(programs: dict[str, Compiled], rounds: int, iterations: int) -> dict[str, float]:
    """Seconds of an iteration of each program, the medians over so many rounds."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    given = {way: each.start() for way, each in programs.items()}
    seconds: dict[str, list[float]] = {way: [] for way in programs}
    for number in range(rounds + 1):
        for way, each in programs.items():
            state, batch = given[way]
            began = clock()
            for _ in range(iterations):
                state, _ = each.run(state, batch)
            jax.block_until_ready(state)
            if number:  # the first one warms up
                seconds[way].append((clock() - began) / iterations)
            given[way] = state, batch
    return {way: statistics.median(each) for way, each in seconds.items()}


def table(name: str, programs: dict[str, Compiled], seconds: dict[str, float]) -> list[str]:
    """Lines with a row for each way, and what it is of the row without penalties."""
    rows = [[name, "GFLOP", "", "memory", "time", ""]]
    for way, each in programs.items():
        flop, took = (x[way] / x["none"] for x in ({w: p.flop for w, p in programs.items()}, seconds))
        numbers = [f"{each.flop / 1e9:.2f}", f"{flop:.2f}", f"{each.memory / 1e6:.1f} MB"]
        rows.append([way, *numbers, f"{1e3 * seconds[way]:.1f} ms", f"{took:.2f}"])
    return align_columns(rows)


def main(options: Options) -> None:
    for name in options.lines:
        programs = {way: compiled(name, way) for way in WAYS}
        say(*table(name, programs, timed(programs, options.rounds, options.iterations)))


if __name__ == "__main__":
    with plain_exits():
        main(command_line(Options))
