"""Scores of several runs side by side: which were made alike, and in what the others differ.

Ranked are numbers of one protocol only: metric and version, features and the hash of their weights, resize, rounding,
numbers of samples and of real images, the real images themselves, averaged or raw weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.evaluation import HIGHER_IS_BETTER, ONE_IS_BEST
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.run.directory import Run
from jaxgan.training.scoring.judge import read
from jaxgan.training.scoring.report import mean_and_std, mean_std_text

__all__ = ["Line", "alike", "differences", "heading", "lines_of", "protocol_of", "ranked"]

Record = dict[str, Any]

# What may differ between two numbers that are compared: whose they are, and what they came out as.
OWN = (
    *("name", "value", "std", "run", "step", "seed", "member", "latents_seed", "frozen", "dataset"),
    *("copied", "each", "floor", "libraries", "during_training", "records_of_step", "together", "acceptance"),
)


class Line(NamedTuple):
    """One run's numbers of one score: of each GAN, at one step."""

    run: Path
    step: int
    name: str
    values: list[float]
    protocol: dict[str, Any]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def std(self) -> float | None:
        return mean_and_std(self.values)[1]

    @property
    def text(self) -> str:
        return mean_std_text(self.mean, self.std)


def protocol_of(record: Record) -> str:
    """Returns what numbers must have in common to be compared, as JSON."""
    return json.dumps({name: value for name, value in record.items() if name not in OWN}, sort_keys=True)


def lines_of(run: Path) -> list[Line]:
    """Returns a run's scores: of each protocol the newest step, all GANs that were scored there. UsageError for no run,
    or one without a score."""
    if Run(run).record() is None:
        raise UsageError(f"{run} is no run directory: it has no options.json")
    found: dict[tuple[str, str], dict[int, dict[Any, Record]]] = {}
    for record in read(run):
        whole = {"samples", "real"} <= record.keys()  # a name that was damaged is none
        if whole and record.get("step") is not None and record["value"] is not None:
            place = record["key"], protocol_of(record)
            found.setdefault(place, {}).setdefault(record["step"], {})[record["member"]] = record
    if not found:
        raise UsageError(f"{run} has no scores yet: python -m scripts.evaluate {run}")
    lines = []
    for (_, alike_by), steps in found.items():
        step = max(steps)
        records = list(steps[step].values())
        values = [record["value"] for record in records]
        lines.append(Line(run, step, records[0]["name"], values, json.loads(alike_by)))
    return lines


def alike(lines: Sequence[Line]) -> list[list[Line]]:
    """Returns the lines, grouped by protocol, the best first."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(json.dumps(line.protocol, sort_keys=True), []).append(line)
    return [sorted(group, key=_rank) for group in groups.values()]


def ranked(lines: Sequence[Line], keys: Sequence[str]) -> tuple[list[list[Line]], list[str]]:
    """Returns the groups of lines of these scores that can be ranked, two lines or more of one protocol, and a sentence
    on scores that several protocols were used for."""
    found: list[list[Line]] = []
    apart: dict[str, list[str]] = {}
    for key in keys:
        groups = alike([line for line in lines if line.protocol["key"] == key])
        found += [group for group in groups if len(group) > 1]
        if len(groups) > 1:
            apart.setdefault(differences(groups), []).append(key)
    said = [f"{', '.join(each)} {'is' if len(each) == 1 else 'are'}" for each in apart.values()]
    return found, [
        f"{which} not ranked across protocols, which differ in {what}" for which, what in zip(said, apart, strict=True)
    ]


def _rank(line: Line) -> float:
    key = line.protocol["key"]
    return abs(line.mean - 1) if key in ONE_IS_BEST else -line.mean if key in HIGHER_IS_BETTER else line.mean


def differences(groups: Sequence[Sequence[Line]]) -> str:
    """Returns in what the protocols of groups differ."""
    protocols = [group[0].protocol for group in groups]
    names = dict.fromkeys(name for protocol in protocols for name in protocol)
    said = []
    for name in names:
        values = dict.fromkeys(json.dumps(protocol.get(name)) for protocol in protocols)
        if len(values) > 1 and name != "name":
            said.append(f"{name}: {' or '.join(values)}")
    return "; ".join(said)


def heading(group: Sequence[Line]) -> str:
    """Returns the title of a group: the score, by how many samples, and which end of it is good."""
    protocol = group[0].protocol
    real = f" against {protocol['real']:,} real ones" if protocol["real"] else ""
    better = "1 is best" if protocol["key"] in ONE_IS_BEST else "lower is better"
    better = "higher is better" if protocol["key"] in HIGHER_IS_BETTER else better
    return f"{group[0].name}: {protocol['samples']:,} samples{real}; {better}"
