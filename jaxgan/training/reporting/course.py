"""What a run directory holds about the course of its run, read as data that anybody may have written."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.files import open_regular, read_at_most
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.output.history import newest, read_history
from jaxgan.training.run.directory import Run
from jaxgan.training.scoring.judge import read
from jaxgan.training.scoring.outcome import Verdict, verdict_of

__all__ = ["Course", "read_course", "sampled_rows", "smoothed"]

PARTS = ("experiment", "options", "data", "frozen")  # of options.json; what else is there says where the run was made
LARGEST = 64 * 2**20

Record = dict[str, Any]


class Course(NamedTuple):
    """A run as its files tell it.

    record: of `options.json`, as `read_record` reads it. about: what else that file says. rows: of `metrics.jsonl`, at
    most a thousand. scores: of `evaluations.jsonl`. history: of `history.jsonl`. pictures: files by step. members: how
    many GANs it has; 0 for one."""

    directory: Path
    record: Record
    about: Record
    rows: list[Record]
    scores: list[Record]
    history: list[Record]
    pictures: dict[int, Path]
    members: int

    @property
    def options(self) -> Record:
        return self.record["options"]

    @property
    def step(self) -> int:
        """The last step of which there is a sign."""
        steps = (*(row["step"] for row in self.rows[-1:]), *(event["step"] for event in self.history[-1:]))
        return max((*steps, *self.pictures), default=0)

    def numbers(self) -> list[int | None]:
        """The numbers of its GANs, None for one that is alone."""
        return list(range(self.members)) or [None]

    def metric(self, name: str, member: int | None = None) -> list[float | None]:
        """The values of a metric in all rows; None where it is no number."""
        if member is None:
            return [row.get(name) for row in self.rows]
        of_all = [row.get("members", {}).get(name, ()) for row in self.rows]
        return [each[member] if member < len(each) else None for each in of_all]

    def names(self, ending: str) -> list[str]:
        """The metrics whose names end so."""
        found = dict.fromkeys(name for row in self.rows[-1:] for name in row)
        return [name for name in found if name.endswith(ending)]

    def signs(self, member: int | None = None) -> list[Record]:
        """What pictures and samples of one GAN showed, by step."""
        found = []
        for event in newest(self.history, "drawn"):
            each = event.get("signs", [])
            number = member or 0
            if number < len(each):
                found.append({"step": event["step"], **each[number]})
        return found

    def verdict(self, member: int | None = None) -> Verdict:
        """What became of one of its GANs."""
        names = [name for name in (self.rows[-1] if self.rows else {}) if "/" in name and not name.endswith("/std")]
        metrics = {name: self.metric(name, member) for name in names}
        return verdict_of(metrics, self.scores, self.signs(member), ended=self.ended, member=member)

    @property
    def ended(self) -> str:
        """Why the last process that trained it ended; "" for one that trains still, or was killed."""
        ends = [event for event in self.history if event["event"] in ("began", "ended")]
        return ends[-1].get("why", "") if ends and ends[-1]["event"] == "ended" else ""


def read_course(directory: Path) -> Course:
    """Reads what a run directory says of its run. UsageError where it holds no run, or what can't be read."""
    record = Run(directory).record()
    if record is None:
        raise UsageError(f"{directory} is no run directory: it has no options.json")
    try:
        whole = json.loads(read_at_most(directory / "options.json", LARGEST))
        rows = sampled_rows(directory / "metrics.jsonl")
        history = read_history(directory)
    except OSError as error:
        raise UsageError(f"can't read {directory}: {error.strerror or error}") from None
    about = {name: value for name, value in whole.items() if name not in PARTS}
    members = max((len(each) for row in rows[-1:] for each in row.get("members", {}).values()), default=0)
    pictures = {
        int(path.stem): path
        for path in sorted((directory / "samples").glob("*.png"))
        if path.stem.isdecimal() and len(path.stem) < 12
    }
    return Course(directory, record, about, rows, read(directory), history, pictures, members)


def sampled_rows(path: Path, most: int = 1000) -> list[Record]:
    """Returns up to so many rows of a `metrics.jsonl`, evenly chosen, the first and the last among them; only these are
    parsed, so that it is quick however long the run. What is no number is None. None where there is no file. OSError
    where it can't be read."""
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    chosen = np.unique(np.linspace(0, len(lines) - 1, most).astype(int)) if lines else ()
    return [row for number in chosen if (row := _row(lines[number])) is not None]


def _row(line: bytes) -> Record | None:
    """Parses a line; None for one that is no row."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or type(found.get("step")) is not int or found["step"] < 0:
        return None
    of_members = found.pop("members", None)
    row: Record = {name: _number(value) for name, value in found.items()}
    if isinstance(of_members, dict):
        lists = {name: each for name, each in of_members.items() if isinstance(each, list)}
        row["members"] = {name: [_number(value) for value in each] for name, each in lists.items()}
    return row


def _number(value: Any) -> float | int | None:
    return value if type(value) in (int, float) and math.isfinite(value) else None


def smoothed(steps: Sequence[int], values: Sequence[float | None], most: int) -> list[tuple[float, ...]]:
    """Returns (step, mean, smallest, largest) of at most so many neighbouring parts of a course; values that are no
    numbers are left out."""
    known = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
    parts = np.array_split(np.array(known, float), min(most, len(known))) if known else []
    return [(*part.mean(0).tolist(), float(part[:, 1].min()), float(part[:, 1].max())) for part in parts]
