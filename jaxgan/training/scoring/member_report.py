"""The end of an ensemble: what its members draw, scored; a table, `members.json` and `members.png`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.evaluation import OF_PAIRS, Score, scores
from jaxgan.parallel import Layout
from jaxgan.printable import first_line
from jaxgan.terminal import say
from jaxgan.training.distributed import processes
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.output.log import read_rows
from jaxgan.training.recipe.members import Member
from jaxgan.training.scoring import report
from jaxgan.training.scoring.measures import Measure
from jaxgan.training.scoring.real_data import RealData

__all__ = ["last_metrics", "report_members"]

State = Any
SAMPLES = 2048


LAST = 0.1  # the share of the steps over which the table's losses are means


def report_members(
    directory: Path,
    drawing: Drawing,
    state: State,
    members: Sequence[Member],
    real: RealData,
    measures: Mapping[str, Measure],
    layout: Layout,
) -> None:
    """Scores what each member draws (averaged weights) by the first metric of the first of `measures`, prints the table
    with all of its numbers, and writes `members.json` and `members.png`. All processes call it; the first computes and
    writes.

    The run is complete whatever happens here: what fails is told in a line. OSError where nothing can be written."""
    output, measure = next(iter(measures.items()))
    compared = real.of(output)
    count = min(SAMPLES, compared.spec.count // 2)
    drawn = drawing.of(count)(state) if count else None
    frozen, step = jax.jit(lambda state: (state.frozen, state.step), out_shardings=layout.everywhere)(state)
    if not processes.first():
        return
    try:
        last = last_metrics(directory / "metrics.jsonl", int(step))
        pair = None if drawn is None else drawing.pair(output, drawn)
        labels = compared.labels[:count] if compared.spec.classes else None
        _report(directory, members, np.asarray(frozen), pair, compared.examples(2 * count), labels, measure, last)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - no reason is good enough to lose what was trained
        say(f"warning: no report of the members ({first_line(error)}); the run is complete without it", error=True)


def _report(
    directory: Path,
    members: Sequence[Member],
    frozen: np.ndarray,
    drawn: tuple[np.ndarray, np.ndarray | None] | None,
    real: np.ndarray,
    labels: np.ndarray | None,
    measure: Measure,
    last: dict[str, list[float | None]],
) -> None:
    """drawn: examples and perhaps targets, `[S, N, ...]` each; None for no score. real: `[2 N, ...]`, of
    which the first N have these labels."""
    compared, others = np.split(real, 2)

    def score(images: np.ndarray, targets: np.ndarray | None = None) -> list[Score]:
        metrics, network, dataset, of_pairs, border = measure
        how: dict[str, Any] = {"dataset": dataset, "labels": (None, labels), "targets": targets}
        how |= {"networks": of_pairs, "border": border}
        return scores(metrics[:1], network, images, compared, **how)

    def of_member(number: int) -> list[Score]:
        if drawn is None or frozen[number]:
            return []
        images, targets = drawn
        return score(images[number], None if targets is None else targets[number])

    of_pairs = measure.metrics[0] in OF_PAIRS
    floor = [] if drawn is None or of_pairs else score(others)
    found = [of_member(member.number) for member in members]
    first = next((each for each in (floor, *found) if each), [])
    name, beside = first[0].name if first else "score", [each.key for each in first[1:]]
    rows = [
        {
            **{name: values[member.number] for name, values in last.items()},
            "member": member.number,
            "seed": member.seed,
            **member.swept,
            "frozen": int(frozen[member.number]) or None,
            "score": each[0].value if each else None,
            **dict.fromkeys(beside),
            **{one.key: one.value for one in each[1:]},
        }
        for member, each in zip(members, found, strict=True)
    ]
    swept = next(iter(members[0].swept), None)
    say(*report.table(rows, swept, name, beside).split("\n"))
    if floor:
        say(f"{name}, {len(others):,} images of each; between two sets of real ones it is {floor[0].value:.3g}")
    elif not of_pairs:
        say("no score: it takes two real images")
    if last:
        say("losses are means over the last tenth of the steps")
    report.write(directory, rows, swept, name)
    say(directory / "members.png")


def last_metrics(path: Path, step: int) -> dict[str, list[float | None]]:
    """Returns each member's metrics, means over the last tenth of the steps that `metrics.jsonl` has until `step`; None
    for one that was frozen in them. Nothing where it has none, as of a run of few steps."""
    rows = [row for row in read_rows(path) if row["step"] <= step and "members" in row]
    logged = [row["members"] for row in rows if row["step"] > (1 - LAST) * rows[-1]["step"]]

    def mean(values: tuple[float | None, ...]) -> float | None:
        numbers = [value for value in values if value is not None]
        return sum(numbers) / len(numbers) if len(numbers) == len(values) else None

    names = set.intersection(*map(set, logged)) if logged else set()
    return {name: [mean(each) for each in zip(*(row[name] for row in logged), strict=True)] for name in sorted(names)}
