"""Metrics as JSON lines and TensorBoard events."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.files import atomic_write

__all__ = ["Log", "last_step", "read_rows", "write_json"]

LOG_EVERY = 10  # steps between two rows; the rows that are logged must not depend on where chunks end


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as a JSON file, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def last_step(directory: Path) -> int:
    """Returns the last step in a run directory's `metrics.jsonl`, 0 where there is none."""
    return max((row["step"] for row in read_rows(directory / "metrics.jsonl")), default=0)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a `metrics.jsonl`, but for one that a kill has left unfinished; none where there is no
    file."""
    return [row for row in map(_row, path.read_text().splitlines()) if row] if path.exists() else []


def _row(line: str) -> dict[str, Any] | None:
    """Parses a line of `metrics.jsonl`; None for one that a kill has left unfinished."""
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return row


class Log:
    """`metrics.jsonl` and `tensorboard/` in a run directory, continued after step `done` without gaps or doubles.

    What a method was given is in the system's hands when it returns: a kill takes nothing of it away. `members`: how
    many GANs an ensemble has; TensorBoard then shows each as a run of its own, and their mean as another."""

    def __init__(self, directory: Path, done: int, images_per_step: int, members: int = 0) -> None:
        self.images_per_step = images_per_step
        self.path = directory / "metrics.jsonl"
        self._forget_after(done)
        self.file = self.path.open("a")
        folder = directory / "tensorboard"
        self.events = _events(folder, done)
        self.each = [_events(folder / f"member-{number}", done) for number in range(members)]

    def _forget_after(self, done: int) -> None:
        """Drops rows of steps that a killed run made after its last checkpoint, and a line it didn't finish."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text().splitlines() if (row := _row(line)) and row["step"] <= done]
        with atomic_write(self.path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept))

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
