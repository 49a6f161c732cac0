"""The end of an ensemble: what its members draw, scored; a table, `members.json` and `members.png`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.data import ImageSet, in_memory
from jaxgan.data.stream import Stream
from jaxgan.evaluation import Score, scores
from jaxgan.parallel import Layout
from jaxgan.training import processes, report
from jaxgan.training.data_options import RealTransform
from jaxgan.training.evaluation_options import Measure
from jaxgan.training.experiment import GAN, draw
from jaxgan.training.logging import read_rows
from jaxgan.training.members import Member
from jaxgan.training.pictures import to_uint8
from jaxgan.training.program import seen

__all__ = ["drawn_order", "last_metrics", "real_images", "report_members"]

SAMPLES = 2048
LAST = 0.1  # the share of the steps over which the table's losses are means
AT_ONCE = 256  # images that are transformed in one dispatch

State = Any


def report_members(
    directory: Path,
    gan: GAN,
    state: State,
    members: Sequence[Member],
    data: ImageSet | Stream,
    transform: RealTransform | None,
    measure: Measure,
    layout: Layout,
) -> None:
    """Scores each member's images (averaged weights) by the first metric of `measure`, prints the table, and writes
    `members.json` and `members.png`. All processes call it; the first computes and writes.

    The run is complete whatever happens here: what fails is told in a line. OSError where nothing can be written."""
    count = min(SAMPLES, len(data) // 2)
    drawn = draw(gan, state, len(data.class_names), count, everywhere=layout.everywhere) if count else None
    frozen, step = jax.jit(lambda state: (state.frozen, state.step), out_shardings=layout.everywhere)(state)
    if not processes.first():
        return
    try:
        last = last_metrics(directory / "metrics.jsonl", int(step))
        real = real_images(data, transform, 2 * count)
        _report(directory, members, np.asarray(frozen), drawn, real, measure, last)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - no reason is good enough to lose what was trained
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        print(f"warning: no report of the members ({reason}); the run is complete without it", file=sys.stderr)


def _report(
    directory: Path,
    members: Sequence[Member],
    frozen: np.ndarray,
    drawn: np.ndarray | None,
    real: np.ndarray,
    measure: Measure,
    last: dict[str, list[float | None]],
) -> None:
    """drawn: `[S, N, ...]`, None for no score. real: `[2 N, ...]`."""
    compared, others = np.split(real, 2)

    def score(images: np.ndarray) -> Score:
        return scores(measure.metrics[:1], measure.network, images, compared, dataset=measure.dataset)[0]

    floor = None if drawn is None else score(others)
    name = floor.name if floor else "score"
    rows = [
        {
            **{name: values[member.number] for name, values in last.items()},
            "member": member.number,
            "seed": member.seed,
            **member.swept,
            "frozen": int(frozen[member.number]) or None,
            "score": None if drawn is None or frozen[member.number] else score(drawn[member.number]).value,
        }
        for member in members
    ]
    swept = next(iter(members[0].swept), None)
    print(report.table(rows, swept, name))
    if floor:
        print(f"{name}, {len(others):,} images of each; between two sets of real ones it is {floor.value:.3g}")
    else:
        print("no score: it takes two real images")
    if last:
        print("losses are means over the last tenth of the steps")
    report.write(directory, rows, swept, name)
    print(directory / "members.png", flush=True)


def drawn_order(data: ImageSet | Stream) -> np.ndarray:
    """The numbers of a set's images in the order in which `real_images` takes them."""
    return np.random.default_rng(0).permutation(len(data))


def real_images(data: ImageSet | Stream, transform: RealTransform | None, count: int) -> np.ndarray:
    """`count` different images, drawn alike in every run, as a discriminator sees them: uint8, or points."""
    chosen = drawn_order(data)[:count]
    if isinstance(data, Stream):
        images = in_memory(data.source, data.chosen[chosen], data.prepare)
    else:
        images = data.images[chosen]
    if not transform or not count:
        return images

    changed = jax.jit(lambda images, numbers: to_uint8(seen(images, transform, jax.random.key(0), numbers)))
    numbers = np.arange(count)
    parts = [slice(first, first + AT_ONCE) for first in range(0, count, AT_ONCE)]
    return np.concatenate([np.asarray(changed(images[part], numbers[part])) for part in parts])


def last_metrics(path: Path, step: int) -> dict[str, list[float | None]]:
    """Each member's metrics, means over the last tenth of the steps that `metrics.jsonl` has until `step`; None for one
    that was frozen in them. Nothing where it has none, as of a run of few steps."""
    rows = [row for row in read_rows(path) if row["step"] <= step and "members" in row]
    logged = [row["members"] for row in rows if row["step"] > (1 - LAST) * rows[-1]["step"]]

    def mean(values: tuple[float | None, ...]) -> float | None:
        numbers = [value for value in values if value is not None]
        return sum(numbers) / len(numbers) if len(numbers) == len(values) else None

    names = set.intersection(*map(set, logged)) if logged else set()
    return {name: [mean(each) for each in zip(*(row[name] for row in logged), strict=True)] for name in sorted(names)}
