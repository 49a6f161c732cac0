"""Times the arithmetic of scores beside that of torch-fidelity and prdc, on the same arrays, and measures the memory.

    pip install torch torch-fidelity prdc
    python -m scripts.benchmarks.evaluation --out evaluation.json

Most of the time and memory goes to the others' part, whose matrices are whole; `--count 2000 --pairwise-count 1000` is
a quick look. Each pair is timed by turns, round after round, in one process. Medians count; the ratio is theirs to
ours, round by round. Our first call, which compiles, is a round of its own beside them (`first`). Peak memory
is that of one first call in a process of its own, beyond what was resident when the arrays and libraries were loaded.
`differ` is the largest relative difference between our results and theirs.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import importlib.util
import io
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jaxgan.evaluation.frechet import frechet_distance, gaussian
from jaxgan.evaluation.kernel import kernel_distance
from jaxgan.evaluation.neighbours import prdc
from jaxgan.files import atomic_write
from jaxgan.terminal import say
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, require_file, require_known, writing
from jaxgan.training.options.fields import Bounded, bounded
from jaxgan.versions import versions
from scripts.benchmarks import resident

PACKAGES = ("torch", "torch-fidelity", "prdc")  # those compared with, which nothing else needs
RENAMED = {"--json": "--out FILE.json", "--samples": "--count N", "--neighbours": "--pairwise-count N"}
RENAMED |= {"--size": "--dimensions N", "--small": "--small-dimensions N", "--only": "--lines NAME ..."}
K = 5  # nearest neighbours, for all four scores, as prdc takes one number for them

Who = Literal["ours", "theirs"]
Call = Callable[[], Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    rounds: int = bounded(3, at_least=1)
    """How often each is timed, beside the first time."""
    out: Path | None = None
    """File for all numbers, .json."""
    count: int = bounded(50_000, at_least=2)
    """Images whose features go into the statistics of the Fréchet distance."""
    pairwise_count: int = bounded(10_000, at_least=2 * K)
    """Images of each set for precision, recall, density, coverage, and the kernel distance."""
    dimensions: int = bounded(2048, at_least=1)
    """Numbers in an image's features."""
    small_dimensions: int = bounded(64, at_least=1)
    """Numbers in the features of a small network, for a second row of precision and its like."""
    lines: tuple[str, ...] = ()
    """Which of statistics, distance, kernel, prdc, prdc-small; all unless told otherwise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(self, "out", ".json")
        require_known(self, "lines", CASES)


@functools.cache  # both are given the same arrays
def features(count: int, size: int, seed: int) -> np.ndarray:
    """float32 `[count, size]`, variances between 1 and 1/100, made in place: whatever peak there is comes later."""
    x = np.random.default_rng(seed).standard_normal((count, size), dtype=np.float32)
    x *= np.geomspace(1, 0.1, size, dtype=np.float32) * np.float32(1 + 0.05 * seed)
    x += np.float32(0.5)
    return x


def of_statistics(who: Who, options: Options) -> Call:
    x = features(options.count, options.dimensions, 0)
    if who == "ours":
        return lambda: [np.trace(gaussian(x).covariance)]
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics

    tensor = torch.from_numpy(x)
    return lambda: [np.trace(fid_features_to_statistics(tensor)["sigma"])]


def of_distance(who: Who, options: Options) -> Call:
    """From statistics, those of `pairwise_count` images here."""
    fitted = [gaussian(features(options.pairwise_count, options.dimensions, seed)) for seed in (0, 1)]
    if who == "ours":
        return lambda: [frechet_distance(*fitted)]
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    theirs = [{"mu": each.mean, "sigma": each.covariance} for each in fitted]
    return lambda: list(fid_statistics_to_metric(*theirs, verbose=False).values())


def of_kernel(who: Who, options: Options) -> Call:
    sets = [features(options.pairwise_count, options.dimensions, seed) for seed in (0, 1)]
    size = min(1000, options.pairwise_count)
    if who == "ours":
        return lambda: kernel_distance(*sets, subset_size=size)
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    tensors = [torch.from_numpy(x) for x in sets]
    return lambda: list(kid_features_to_metric(*tensors, kid_subset_size=size, verbose=False).values())


def of_neighbours(who: Who, options: Options, small: bool = False) -> Call:
    sets = [
        features(options.pairwise_count, options.small_dimensions if small else options.dimensions, seed)
        for seed in (0, 1)
    ]
    if who == "ours":
        return lambda: [score for scores in prdc(*sets, k=K, k_density=K) for score in scores]
    from prdc import compute_prdc

    def call() -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            return list(compute_prdc(*sets, K).values())

    return call


CASES: dict[str, Callable[[Who, Options], Call]] = {
    "statistics": of_statistics,
    "distance": of_distance,
    "kernel": of_kernel,
    "prdc": of_neighbours,
    "prdc-small": functools.partial(of_neighbours, small=True),
}
SIDES: tuple[Who, Who] = ("ours", "theirs")


def described(name: str, options: Options) -> str:
    return {
        "statistics": f"FID, statistics of {options.count:,} × {options.dimensions:,}",
        "distance": f"FID, distance of two statistics, {options.dimensions:,}",
        "kernel": f"KID of {options.pairwise_count:,} × {options.dimensions:,}",
        "prdc": f"prdc of {options.pairwise_count:,} × {options.dimensions:,}",
        "prdc-small": f"prdc of {options.pairwise_count:,} × {options.small_dimensions:,}",
    }[name]


def memory(name: str, who: Who, options: Options) -> int:
    """Bytes that one call adds to this process's peak. To be called in a fresh process."""
    call = CASES[name](who, options)
    before = resident.forget()  # the peak of what was needed to get here
    call()
    return resident.peak() - before


def in_a_process(name: str, who: Who, options: Options) -> int:
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(memory, name, who, options).result()


def timed(call: Call) -> tuple[float, Sequence[float]]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def measured(name: str, options: Options, peaks: dict[Who, int]) -> dict[str, Any]:
    calls = {who: CASES[name](who, options) for who in SIDES}
    rounds = [{who: timed(call) for who, call in calls.items()} for _ in range(1 + options.rounds)]
    results = {who: [float(value) for value in rounds[0][who][1]] for who in SIDES}
    seconds = {who: [each[who][0] for each in rounds] for who in SIDES}
    pairs = list(zip(results["ours"], results["theirs"], strict=True))
    features.cache_clear()
    return {
        "case": name,
        "first": {who: seconds[who][0] for who in SIDES},
        "seconds": {who: seconds[who][1:] for who in SIDES},
        "ratios": [theirs / ours for ours, theirs in zip(seconds["ours"][1:], seconds["theirs"][1:], strict=True)],
        "peak_bytes": peaks,
        "results": results,
        "differ": max(abs(ours - theirs) / (abs(theirs) or 1) for ours, theirs in pairs),
    }


def line(row: dict[str, Any], options: Options) -> str:
    ours, theirs = (statistics.median(row["seconds"][who]) for who in SIDES)
    peaks = [row["peak_bytes"][who] / 1e6 for who in SIDES]
    return (
        f"{described(row['case'], options):44}{row['first']['ours']:9.3g}{ours:9.3g}{theirs:9.3g}"
        f"{statistics.median(row['ratios']):8.2f}{peaks[0]:10,.0f}{peaks[1]:10,.0f}{row['differ']:11.1e}"
    )


def benchmark(options: Options) -> None:
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name.replace("-", "_")) is None]:
        raise UsageError(
            f"{missing[0]} isn't installed; this comparison alone needs it: pip install {' '.join(PACKAGES)}"
        )
    used = versions(*PACKAGES, "scikit-learn", "numpy", "jax")
    names = options.lines or tuple(CASES)
    # First, while this process is small: a child's peak starts at that of the process that starts it.
    peaks: dict[str, dict[Who, int]] = {}
    for name in names:
        peaks[name] = {who: in_a_process(name, who, options) for who in SIDES}
    device = jax.devices()[0].device_kind
    say(f"{device}, {os.cpu_count()} cores; " + ", ".join(f"{name} {version}" for name, version in used.items()))
    say(f"{'':44}{'seconds (medians)':^27}{'theirs':>8}{'peak memory, MB':>20}")
    say(f"{'':44}{'first':>9}{'ours':>9}{'theirs':>9}{'/ ours':>8}{'ours':>10}{'theirs':>10}{'differ':>11}")
    rows = []
    for name in names:
        rows.append(measured(name, options, peaks[name]))
        say(line(rows[-1], options))
    if options.out:
        plain = dataclasses.asdict(options) | {"out": None}
        record = {"device": device, "cores": os.cpu_count(), "versions": used, "options": plain, "cases": rows}
        with writing(options.out), atomic_write(options.out) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    with plain_exits():
        benchmark(command_line(Options, renamed=RENAMED))
