"""Times several GANs trained in one program against as many programs of one.

    python -m scripts.benchmarks.seeds                      DCGAN-MNIST, 1, 2, 4, 8 and 16 seeds
    python -m scripts.benchmarks.seeds --network dense      the small networks of experiments.gan_ring

Under `vmap` a convolution becomes a grouped one. Three forms are timed: `vmap` as it is (what --seeds does; on a CPU
jaxgan's convolutions are matrix products already), `map`, one member after the other inside the program (`lax.map`),
and, but on a CPU, `products`, the convolutions as matrix products, then `vmap`. All are timed by turns, round after
round; medians count, and the ratio is that of S times the one-seed program to the program of S, round by round.
"""

import contextlib
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import jax
import jax.numpy as jnp
from jax import lax

from experiments import dcgan_mnist, gan_ring
from jaxgan.ensemble import begin, map_members
from jaxgan.files import atomic_write
from jaxgan.terminal import say
from jaxgan.training import DataSpec
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import require, require_file, writing
from jaxgan.training.options.fields import Bounded, bounded
from jaxgan.training.options.sweep import MOST

Form = Literal["vmap", "map", "products"]
State = Any


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    seeds: tuple[int, ...] = (1, 2, 4, 8, 16)
    """How many members."""
    network: Literal["dcgan", "dense"] = "dcgan"
    """experiments.dcgan_mnist, 32 pixels, batch 64; or experiments.gan_ring, batch 256."""
    rounds: int = bounded(10, at_least=1)
    """How often each is timed."""
    seconds: float = bounded(2.0, above=0, below=math.inf)
    """About how long one timing takes, or one iteration where that is longer."""
    out: Path | None = None
    """File for all numbers, .json."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(self, "out", ".json")
        require(self, "seeds", 1 <= min(self.seeds) <= max(self.seeds) <= MOST, f"from 1 to {MOST} each")


def iteration_of(network: str) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """The GAN, and the shape of a batch."""
    if network == "dcgan":
        options = dcgan_mnist.Options()
        spec = DataSpec.single("random", 60_000, (32, 32, 1), 10)
        return dcgan_mnist.build(options, spec), {"image": (options.batch_size, 32, 32, 1)}
    points = gan_ring.Options()
    return gan_ring.build(points, DataSpec.single("random", 60_000, (1, 1, 2), 8, kind="points")), {
        "image": (points.batch_size, 1, 1, 2)
    }


def program(network: str, count: int, form: Form) -> tuple[Callable[[int], float], float]:
    """`iterations -> seconds` for `count` members, and the seconds that compiling took."""
    gan, shapes = iteration_of(network)
    keys = jax.random.split(jax.random.key(0), count)
    batch = {name: jax.random.uniform(keys[0], (count, *shape), minval=-1) for name, shape in shapes.items()}
    batch["label"] = jnp.zeros((count, shapes["image"][0]), jnp.int32)
    state: State
    if form == "map":
        state = jax.vmap(gan.init)(keys)
        step = lambda state, batch: jax.lax.map(lambda each: gan.iteration(*each), (state, batch))  # noqa: E731
    else:
        state = begin(gan.init, keys)
        step = map_members(gan.iteration)

    def chunk(state: State, batch: Any, iterations: jax.Array) -> State:
        return jax.lax.fori_loop(0, iterations, lambda i, state: step(state, batch)[0], state)

    products = contextlib.nullcontext()
    if form == "products":  # the CPU's form, whatever the platform
        products = mock.patch.object(lax, "platform_dependent", lambda *arrays, cpu, default: cpu(*arrays))
    began = time.perf_counter()
    with products:
        compiled = jax.jit(chunk, donate_argnums=0).lower(state, batch, jnp.int32(0)).compile()
    compiling = time.perf_counter() - began

    def run(iterations: int) -> float:
        nonlocal state
        began = time.perf_counter()
        state = jax.block_until_ready(compiled(state, batch, jnp.int32(iterations)))
        return time.perf_counter() - began

    return run, compiling


def benchmark(options: Options) -> None:
    device = jax.devices()[0]
    forms: list[Form] = ["vmap", "map"]
    if device.platform != "cpu" and options.network == "dcgan":
        forms.append("products")
    cases: list[tuple[int, Form]] = [(1, "vmap")]
    cases += [(count, form) for count in options.seeds if count > 1 for form in forms]
    runs, compiling, lengths = {}, {}, {}
    for case in cases:
        runs[case], compiling[case] = program(options.network, *case)
        runs[case](1)
        lengths[case] = max(1, int(options.seconds / runs[case](1)))
        say(f"compiled {case[0]} {case[1]} in {compiling[case]:.1f} s")
    times: dict[tuple[int, Form], list[float]] = {case: [] for case in cases}
    for _ in range(options.rounds):
        for case in cases:
            times[case].append(runs[case](lengths[case]) / lengths[case])
    say("", f"{options.network} on {device.device_kind}, {options.rounds} rounds by turns, medians (quartiles)")
    say("seeds  form     an iteration of all                a member   separate / together   compiling")
    rows = []
    for count, form in cases:
        each = times[count, form]
        ratios = [count * alone / together for alone, together in zip(times[1, "vmap"], each, strict=True)]
        row = {"seeds": count, "form": form, "seconds": each, "ratios": ratios, "compiling": compiling[count, form]}
        rows.append(row)
        say(
            f"{count:5}  {form:7}  {spread(each, 1e3)} ms   {1e3 * statistics.median(each) / count:8.3g}   "
            f"{spread(ratios):>19}   {compiling[count, form]:7.1f} s"
        )
    if options.out:
        record = {"device": device.device_kind, "jax": jax.__version__, "network": options.network, "cases": rows}
        with writing(options.out), atomic_write(options.out) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n")


def spread(values: list[float], scale: float = 1.0) -> str:
    """Median and quartiles, three digits each."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return f"{scale * middle:.3g} ({scale * low:.3g} to {scale * high:.3g})"


if __name__ == "__main__":
    with plain_exits():
        benchmark(command_line(Options))
