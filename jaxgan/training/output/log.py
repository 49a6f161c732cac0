"""Metrics as JSON lines and TensorBoard events."""

import contextlib
import itertools
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxgan.files import atomic_write, open_regular
from jaxgan.terminal import say

__all__ = ["Log", "is_number", "last_step", "read_lines", "read_rows", "write_json"]

Row = dict[str, Any]

LOG_EVERY = 10  # steps between two rows; the rows that are logged must not depend on where chunks end


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as a JSON file, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def last_step(directory: Path) -> int:
    """Returns the last step in a run directory's `metrics.jsonl`, 0 where there is none."""
    return max((row["step"] for row in read_rows(directory / "metrics.jsonl")), default=0)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a `metrics.jsonl`, but for lines that are none; none where there is no file. OSError where
    it can't be read."""
    lines, _ = read_lines(path, _is_row)
    return [row for _, row in lines]


def read_lines(path: Path, valid: Callable[[Row], bool]) -> tuple[list[tuple[bytes, Row]], int]:
    """Returns the lines of a file of JSON lines whose objects are `valid`, each with its object, and how many others
    there are but for a last one that a kill has left unfinished. Numbers that are not finite are None in an object, as
    JSON has none. OSError where the file can't be read, or is a link or no regular file."""
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            *whole, last = file.read().split(b"\n")
    except FileNotFoundError:
        return [], 0
    lines = [(line, _object(line)) for line in (*whole, last) if line.strip()]
    found = [(line, row) for line, row in lines if row is not None and valid(row)]
    bad = len(lines) - len(found)
    unfinished = last.strip() and not (found and found[-1][0] is last)
    return found, bad - bool(unfinished)


def _object(line: bytes) -> Row | None:
    """Parses a line; None for one that is no JSON object, or has integers of more than 64 bits."""
    try:
        row = json.loads(line.decode(), parse_constant=lambda _: None, parse_float=_finite, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _finite(text: str) -> float | None:
    return number if math.isfinite(number := float(text)) else None


def _integer(text: str) -> int:
    if len(text) > 18:
        raise ValueError(f"{len(text)} digits")
    return int(text)


def is_number(value: Any) -> bool:
    """Says whether what JSON has is a number, or None in the place of one."""
    return value is None or type(value) in (int, float)


def _is_row(row: Row) -> bool:
    step, members = row.get("step"), row.get("members", {})
    return (
        type(step) is int
        and step >= 0
        and isinstance(members, dict)
        and all(isinstance(each, list) and all(map(is_number, each)) for each in members.values())
        and all(is_number(value) for name, value in row.items() if name != "members")
    )


class Tracker(Protocol):
    """Where else metrics and pictures go."""

    def scalars(self, step: int, values: dict[str, float | None]) -> None:
        """Takes numbers by name; None for those that aren't finite."""

    def image(self, step: int, grid: np.ndarray) -> None:
        """Takes a sample grid, uint8 `[H, W, C]`."""

    def close(self) -> None:
        """Sends what is left."""


class Log:
    """`metrics.jsonl` and `tensorboard/` in a run directory, continued after step `done` without gaps or doubles.

    What a method was given is in the system's hands when it returns: a kill takes nothing of it away. `members`: how
    many GANs an ensemble has; TensorBoard then shows each as a run of its own, and their mean as another. `tracker`
    gets all of it too."""

    def __init__(
        self, directory: Path, done: int, images_per_step: int, members: int = 0, tracker: Tracker | None = None
    ) -> None:
        self.images_per_step, self.tracker = images_per_step, tracker
        self.path = directory / "metrics.jsonl"
        self._forget_after(done)
        self.file = os.fdopen(open_regular(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a")
        folder = directory / "tensorboard"
        self.events = _events(folder, done)
        self.each = [_events(folder / f"member-{number}", done) for number in range(members)]

    def _forget_after(self, done: int) -> None:
        """Drops rows of steps that a killed run made after its last checkpoint, and lines that are no rows. Where a
        kill doesn't explain these, the file as it was is kept."""
        lines, bad = read_lines(self.path, _is_row)
        if bad:
            kept = _copy_of(self.path)
            say(
                f"warning: {bad} line{'s' * (bad > 1)} of {self.path} can't be read and "
                f"{'are' if bad > 1 else 'is'} left out; the file as it was is {kept}",
                error=True,
            )
        if self.path.exists():
            with atomic_write(self.path) as temporary:
                temporary.write_bytes(b"".join(line + b"\n" for line, row in lines if row["step"] <= done))

    def rows(self, first_step: int, metrics: dict[str, np.ndarray]) -> None:
        """Metrics `[count]` by name of the steps from `first_step` on; every `LOG_EVERY`th step is kept.

        Those of an ensemble are `[count, S]`, NaN where a member is frozen: a row has the mean of the others, their
        standard deviation (`NAME/std`, by n - 1), and each member's."""
        count = len(next(iter(metrics.values())))
        for i in range(-first_step % LOG_EVERY, count, LOG_EVERY):
            step = first_step + i
            values = {name: value[i] for name, value in metrics.items()}
            row, members = _over_members(values) if self.each else (_floats(values), {})
            about = {"members": members} if members else {}
            self.file.write(json.dumps({"step": step, "images": step * self.images_per_step, **row, **about}) + "\n")
            _scalars(self.events, step, row)
            for number, events in enumerate(self.each):
                _scalars(events, step, {name: each[number] for name, each in members.items()})
            if self.tracker:
                every = ((i, name, value) for name, each in members.items() for i, value in enumerate(each))
                self.tracker.scalars(step, {**row, **{f"member-{i}/{name}": value for i, name, value in every}})
        self.file.flush()
        for events in (self.events, *self.each):
            events.flush()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes numbers by name for TensorBoard and a tracker alone."""
        _scalars(self.events, step, dict(values))
        self.events.flush()
        if self.tracker:
            self.tracker.scalars(step, dict(values))

    def image(self, step: int, sheet: np.ndarray) -> None:
        """Writes a sample grid, uint8 `[H, W, C]`, for TensorBoard."""
        from tensorboardX.summary import image

        shown = sheet if sheet.shape[-1] == 3 else sheet[..., :1]
        _event(self.events, step=step, summary=image("samples", shown, dataformats="HWC"))
        self.events.flush()
        if self.tracker:
            self.tracker.image(step, sheet)

    def close(self) -> None:
        with contextlib.ExitStack() as stack:  # each of them also where a full disk refuses another's last line
            for file in (*([self.tracker] if self.tracker else []), self.events, *self.each, self.file):
                stack.callback(file.close)


def _copy_of(path: Path) -> Path:
    """Copies a file that was damaged beside it, and returns the copy's name."""
    names = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    copy = next(free for name in names if not (free := path.with_name(f"{path.name}.damaged{name}")).exists())
    with atomic_write(copy) as temporary:
        shutil.copyfile(path, temporary)
    return copy


def _events(folder: Path, done: int) -> Any:
    """Opens a file of TensorBoard's for the steps after `done`."""
    # Not its SummaryWriter: that writes up to two minutes later, in a thread, and a kill would leave gaps.
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import SessionLog

    folder.mkdir(exist_ok=True)
    # The name has whole seconds: what another file of this second holds is of the steps after an earlier `done`.
    events = EventsWriter(str(folder / "events"), f".{done:08d}")
    # TensorBoard drops what older files have of this step and later ones.
    _event(events, step=done + 1, session_log=SessionLog(status=SessionLog.START))
    return events


def _event(events: Any, **content: Any) -> None:
    from tensorboardX.proto.event_pb2 import Event

    events.write_event(Event(wall_time=time.time(), **content))


def _scalars(events: Any, step: int, values: dict[str, float | None]) -> None:
    from tensorboardX.proto.summary_pb2 import Summary

    shown = [Summary.Value(tag=name, simple_value=value) for name, value in values.items() if value is not None]
    _event(events, step=step, summary=Summary(value=shown))


def _floats(values: dict[str, np.ndarray]) -> dict[str, float | None]:
    """None, which JSON knows, for what isn't finite."""
    return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}


def _over_members(
    values: dict[str, np.ndarray],
) -> tuple[dict[str, float | None], dict[str, list[float | None]]]:
    """Returns of values `[S]` the means and standard deviations of the finite ones, and all values."""
    row: dict[str, float | None] = {}
    members = {}
    for name, each in values.items():
        going = each[np.isfinite(each)].astype(np.float64)
        row[name] = float(np.mean(going)) if len(going) else None
        row[f"{name}/std"] = float(np.std(going, ddof=1)) if len(going) > 1 else None
        members[name] = [float(value) if np.isfinite(value) else None for value in each]
    return row, members
