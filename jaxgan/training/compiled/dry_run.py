"""The cost of a run, estimated before it starts: its networks, its memory, its time."""

import itertools
import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.ensemble import Ensemble
from jaxgan.terminal import say
from jaxgan.training.compiled.program import CHUNK
from jaxgan.training.options.options import Options
from jaxgan.training.recipe.gan import GAN

__all__ = ["Row", "cost", "dry_run", "layers", "memory", "seconds_a_step", "table"]

SECONDS = 2.5  # what timing takes, or one step where that takes longer
REPEATS = 5  # timed chunks, of which the median counts
WIDTH = 36  # characters of an output's shape that a table shows

State = Any  # a pytree with `step` and `key`
Run = Callable[[State, int], tuple[State, Any]]
Path = tuple[str, ...]


class Row(NamedTuple):
    """A module of a network.

    network: the class of the root module, numbered from the second of its name on ("Generator 2"). path: names from
    the root downwards, separated by "/"; "" is the root itself. kind: the module's class. output: the shape of what it
    returned, without the batch axis, by its place in the output ("" where that is one array). parameters: its own,
    without those of the modules in it that have rows themselves, so that all rows add up to the network.
    """

    network: str
    path: str
    kind: str
    output: dict[str, tuple[int, ...]]
    parameters: int


class _Call(NamedTuple):
    kind: str
    output: dict[str, tuple[int, ...]]
    parameters: int  # with those of the modules below


def layers(gan: GAN) -> list[Row]:
    """Returns every Linen module that `gan.init` initialises by calling it, root first, in the order of the calls.

    Only shapes are computed. A module called twice is listed once; what `init` merely applies is not listed, nor is a
    network that it initialises by another method than `__call__`.
    """
    networks: list[tuple[str, dict[Path, _Call]]] = []
    within: list[dict[Path, _Call]] = []  # the networks being called, the innermost last

    def note(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        module, path = context.module, context.module.path
        if context.method_name != "__call__" or not module.is_initializing() or (path and not within):
            return call(*args, **kwargs)
        kind = type(module).__name__
        if not path:
            within.append({})
            networks.append((kind, within[-1]))
        mine = within[-1]
        mine.setdefault(path, _Call(kind, {}, 0))  # has its place before the modules that it calls
        output = call(*args, **kwargs)
        mine[path] = _Call(kind, _shapes(output), _count(module.variables.get("params", {})))
        if not path:
            within.pop()
        return output

    with nn.intercept_methods(note):
        # A new function: jax doesn't trace again what it has traced before, and then nothing would be called.
        jax.eval_shape(lambda key: gan.init(key), jax.random.key(0))  # noqa: PLW0108
    rows, seen = [], dict.fromkeys((name for name, _ in networks), 0)
    for name, calls in networks:
        seen[name] += 1
        network = name if seen[name] == 1 else f"{name} {seen[name]}"
        own = _own({path: call.parameters for path, call in calls.items()})
        rows += [Row(network, "/".join(path), c.kind, c.output, own[path]) for path, c in calls.items()]
    return rows


def _shapes(output: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays in an output, without their leading axis where that is the batch of one."""
    leaves = jax.tree_util.tree_leaves_with_path(output)
    shapes = {jax.tree_util.keystr(path, simple=True, separator="."): jnp.shape(leaf) for path, leaf in leaves}
    return {name: shape[1:] if shape[:1] == (1,) else shape for name, shape in shapes.items()}


def _count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _own(totals: dict[Path, int]) -> dict[Path, int]:
    """Returns each module's parameters less those of the listed modules right below it."""
    own = dict(totals)
    for path, total in totals.items():
        above = [path[:depth] for depth in range(len(path)) if path[:depth] in totals]
        if above:
            own[above[-1]] -= total
    return own


def table(rows: list[Row]) -> str:
    """Returns the rows as text, a block a network: modules, what they put out for one example, parameters, and the
    sums."""
    lines: list[tuple[str, str, str, str]] = []
    for network, members in itertools.groupby(rows, lambda row: row.network):
        root, *inner = members
        lines.append((network, "", "output", "parameters"))
        if root.parameters:
            lines.append(("  itself", root.kind, "", f"{root.parameters:,}"))
        lines += [(f"  {row.path}", row.kind, _output(row), f"{row.parameters:,}") for row in inner]
        total = sum(row.parameters for row in (root, *inner))
        lines += [("  total", "", _output(root), f"{total:,}"), ("", "", "", "")]
    lines.append(("all networks", "", "", f"{sum(row.parameters for row in rows):,}"))
    path, kind, output, number = (max(map(len, column)) for column in zip(*lines, strict=True))
    texts = [f"{a:<{path}}  {b:<{kind}}  {c:<{output}}  {d:>{number}}".rstrip() for a, b, c, d in lines]
    return "\n".join(texts)


def _output(row: Row) -> str:
    shapes = {name: "×".join(map(str, shape)) or "1" for name, shape in row.output.items()}
    text = ", ".join(f"{name}: {shape}" if name else shape for name, shape in shapes.items())
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def memory(compiled: jax.stages.Compiled, state: State, data_bytes: int) -> list[str]:
    """Lines that say what training takes on the device, or on each of several: its part of the state, the data set,
    and what the compiled program needs to work, as its compiler tells."""
    leaves = jax.tree.leaves(state)
    state_bytes = sum(map(_bytes_here, leaves))
    known = state_bytes + data_bytes
    analysis = compiled.memory_analysis()
    if analysis is None:
        working, total = "not known on this platform", f"{_size(known)} at least"
    else:
        # The state comes out where it went in; what else comes out, or could not be donated, needs room of its own.
        extra = analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
        working, total = _size(extra), _size(known + extra)
    parts = [("state", _size(state_bytes)), ("data set", _size(data_bytes)), ("working memory", working)]
    devices = max((len(leaf.sharding.device_set) for leaf in leaves), default=1)
    where = f"each of {devices} devices" if devices > 1 else "the device"
    return [f"memory on {where}", *(f"  {name:<14}  {text:>10}" for name, text in [*parts, ("total", total)])]


def _bytes_here(leaf: jax.Array) -> int:
    """Returns the bytes of an array on one device."""
    return leaf.nbytes // max(leaf.size, 1) * math.prod(leaf.sharding.shard_shape(leaf.shape))


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.2f} GB"


def seconds_a_step(state: State, run: Run) -> float:
    """Times an iteration of `run(state, count) -> (state, metrics)`: returns the median of a few chunks that fill
    about 2.5 seconds, after one that doesn't count. `run` may donate the state, which is used up then."""

    def timed(state: State, count: int) -> tuple[State, float]:
        began = time.perf_counter()
        state, _ = jax.block_until_ready(run(state, count))
        return state, (time.perf_counter() - began) / count

    state, _ = timed(state, 1)
    state, first = timed(state, 1)
    count = min(CHUNK, max(1, int(SECONDS / REPEATS / first)))
    repeats = min(REPEATS, int(SECONDS / (first * count)))
    measured = []
    for _ in range(repeats):
        state, seconds = timed(state, count)
        measured.append(seconds)
    return statistics.median(measured or [first])


def cost(state: State, run: Run, steps: int) -> str:
    """Estimates how long a run of `steps` takes, as text. `state` and `run` as for `seconds_a_step`."""
    seconds = seconds_a_step(state, run)
    return f"{_pace(seconds)} a step, {steps:,} steps: about {_duration(seconds * steps)}"


def _pace(seconds: float) -> str:
    """Three digits, in ms below a second."""
    if seconds >= 99.95:
        return f"{seconds:,.0f} s"
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{seconds * 1e3:.3g} ms"


def _duration(seconds: float) -> str:
    """Returns a time as a person would say it: to the second, ten seconds, the minute or the hour."""
    units = (("d", 86400, "h", 3600, 3600), ("h", 3600, "min", 60, 60), ("min", 60, "s", 1, 10))  # the last: rounded to
    for long, length, short, unit, step in units:
        whole, rest = divmod(round(seconds / step) * step, length)
        if whole:
            return f"{whole} {long} {rest // unit} {short}" if rest else f"{whole} {long}"
    return f"{round(seconds)} s"


def dry_run(gan: GAN, options: Options, state: State, run: Run, compiled: jax.stages.Compiled, data_bytes: int) -> None:
    """Prints the networks, the memory and the time of a run from its first step, which uses `state` up.

    `run` is as for `seconds_a_step`, `compiled` the program behind it; `data_bytes` are those of the data set on the
    device.
    """
    members = len(state.frozen) if isinstance(state, Ensemble) else 0
    each, together = (f"of each of {members} members", f" for all {members} members") if members else ("", "")
    networks = table(layers(gan)).split("\n")
    say(*networks, *([each] if each else []), "", *memory(compiled, state, data_bytes), "")
    say(f"time{together}", f"  {cost(state, run, options.steps)}")
