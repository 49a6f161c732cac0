"""Metrics as JSON lines and TensorBoard events, and the progress bar."""

import contextlib
import itertools
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxgan.files import atomic_write, open_regular

__all__ = ["Log", "bar_interval", "is_number", "last_step", "progress_bar", "read_lines", "read_rows", "write_json"]

Row = dict[str, Any]

LOG_EVERY = 10  # steps between two rows; the rows that are logged must not depend on where chunks end


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as a JSON file, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def bar_interval() -> float:
    """Seconds between two states of a bar: a person sees it move, a file gets a line now and then."""
    return 0.1 if sys.stderr.isatty() else 30.0


def progress_bar(done: int, total: int, *, hidden: bool = False) -> tqdm:
    """Returns the bar of a run, on stderr."""
    return tqdm(
        disable=hidden,
        total=total,
        initial=done,
        dynamic_ncols=True,
        mininterval=bar_interval(),
        bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}",
    )


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


class Log:
    """`metrics.jsonl` and `tensorboard/` in a run directory, continued after step `done` without gaps or doubles.

    What a method was given is in the system's hands when it returns: a kill takes nothing of it away. `members`: how
    many GANs an ensemble has; TensorBoard then shows each as a run of its own, and their mean as another."""

    def __init__(self, directory: Path, done: int, images_per_step: int, members: int = 0) -> None:
        self.images_per_step = images_per_step
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
            print(
                f"warning: {bad} line{'s' * (bad > 1)} of {self.path} can't be read and "
                f"{'are' if bad > 1 else 'is'} left out; the file as it was is {kept}",
                file=sys.stderr,
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
        self.file.flush()
        for events in (self.events, *self.each):
            events.flush()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes numbers by name for TensorBoard alone."""
        _scalars(self.events, step, dict(values))
        self.events.flush()

    def image(self, step: int, sheet: np.ndarray) -> None:
        """Writes a sample grid, uint8 `[H, W, C]`, for TensorBoard."""
        from tensorboardX.summary import image

        shown = sheet if sheet.shape[-1] == 3 else sheet[..., :1]
        _event(self.events, step=step, summary=image("samples", shown, dataformats="HWC"))
        self.events.flush()

    def close(self) -> None:
        with contextlib.ExitStack() as stack:  # each of them also where a full disk refuses another's last line
            for file in (self.events, *self.each, self.file):
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
