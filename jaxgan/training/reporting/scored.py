"""A run's scores in its report: over steps, and the newest with their protocols and what real examples score."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgan.training.reporting.charts import Series, line_chart
from jaxgan.training.reporting.comparison import protocol_of
from jaxgan.training.reporting.course import Course
from jaxgan.training.reporting.markup import soft, table, text
from jaxgan.training.scoring.report import mean_and_std, mean_std_text

__all__ = ["Scored", "score_charts", "score_table", "scored"]

Record = dict[str, Any]


class Scored(NamedTuple):
    """A score of one protocol of a run. steps: its values by step and member, ascending. record: one of the newest
    step's, and the protocol of all."""

    steps: dict[int, dict[int | None, float]]
    record: Record
    protocol: str

    @property
    def name(self) -> str:
        output = f"{self.record['output']}: " if "output" in self.record else ""
        return output + self.record["name"].partition(",")[0]

    @property
    def newest(self) -> int:
        return max(self.steps)

    @property
    def floor(self) -> tuple[float, str] | None:
        """What real examples score, and which; None where that isn't known."""
        floor = self.record.get("floor")
        known = isinstance(floor, dict) and isinstance(floor.get("value"), int | float)
        return (floor["value"], str(floor.get("scored", ""))) if known and floor else None


def scored(course: Course) -> list[Scored]:
    """Returns what the run's states have scored, of each protocol."""
    found: dict[str, list[Record]] = {}
    for record in course.scores:
        if record.get("step") is not None and record["value"] is not None and "member" in record:
            found.setdefault(protocol_of(record), []).append(record)
    groups = []
    for protocol, records in found.items():
        ordered = sorted(records, key=lambda record: record["step"])
        steps: dict[int, dict[int | None, float]] = {}
        for record in ordered:
            steps.setdefault(record["step"], {})[record["member"]] = record["value"]
        groups.append(Scored(steps, ordered[-1], protocol))
    return groups


def score_table(groups: Sequence[Scored]) -> str:
    """Returns the newest value of each score, with its protocol."""
    rows = []
    for each in groups:
        values = list(each.steps[each.newest].values())
        spread = mean_and_std(values) if len(values) > 1 else (values[0], each.record.get("std"))
        floor = f"{each.floor[0]:.4g} {soft(each.floor[1])}" if each.floor else soft("not known")
        value = f"<b>{mean_std_text(*spread)}</b>"
        rows.append([text(each.name), value, floor, f"{each.newest:,}", text(_protocol(each.record))])
    return table(rows, ("score", "value", "real examples", "step", "protocol"))


def _protocol(record: Record) -> str:
    """Returns how a score was found, in words."""
    features, samples, real = record.get("features"), record.get("samples"), record.get("real")
    parts = [f"{samples:,} samples" if isinstance(samples, int) else "samples"]
    parts[0] += f" against {real:,} real ones" if isinstance(real, int) and real else ""
    if isinstance(features, dict):
        parts.append(f"features {features.get('network')} ({str(features.get('sha256', ''))[:8]})")
    parts += [f"{record['weights']} weights"] if "weights" in record else []
    parts += [f"version {record['version']}"] if "version" in record else []
    return ", ".join([*parts, "on the way" if "during_training" in record else "afterwards"])


def score_charts(courses: Sequence[Course]) -> str:
    """Returns a chart of each score of one protocol over steps, with a line for each run, or for each GAN of one run;
    "" where nothing was scored twice."""
    found: dict[str, list[tuple[Course, Scored]]] = {}
    for course in courses:
        for each in scored(course):
            found.setdefault(each.protocol, []).append((course, each))
    charts = []
    for runs in found.values():
        if max(len(each.steps) for _, each in runs) < 2:
            continue
        lines = [line for course, each in runs for line in _lines(course, each, courses)]
        floors = [each.floor[0] for _, each in runs if each.floor]
        lines += [Series("real examples", [(0.0, floors[0])], level=True, colour=5)] if floors else []
        charts.append(line_chart(runs[0][1].name, lines))
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


def _lines(course: Course, score: Scored, courses: Sequence[Course]) -> list[Series]:
    """Returns the course of a score: of one GAN; of several each, and their mean with its spread; of one run among
    others its mean."""
    alone, colour, steps = len(courses) == 1, courses.index(course), score.steps
    names = [each.directory.name for each in courses]
    name = (
        "score"
        if alone
        else course.directory.name
        if names.count(course.directory.name) == 1
        else str(course.directory)
    )
    if not course.members:
        return [Series(name, [(step, next(iter(values.values()))) for step, values in steps.items()], colour=colour)]
    each = []
    for number in range(course.members) if alone else ():
        points = [(step, values[number]) for step, values in steps.items() if number in values]
        each.append(Series(f"member {number}", points, True, colour=colour))
    spread = [(step, float(np.mean([*by.values()])), float(np.std([*by.values()]))) for step, by in steps.items()]
    band = [(step, mean, mean - std, mean + std) for step, mean, std in spread]
    return [*each, Series("mean of members" if alone else f"{name}, mean", band, colour=colour)]
