"""What a run leaves to read: metrics as JSON lines and TensorBoard events, and one progress bar."""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxgan.training.files import whole

__all__ = ["Log", "last_step", "progress_bar", "write_json"]

LOG_EVERY = 10  # steps between two rows; the rows that are logged must not depend on where chunks end


def write_json(path: Path, value: Any) -> None:
    """`value` as a JSON file, which is there whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def progress_bar(done: int, total: int) -> tqdm:
    """The bar of a run, on stderr; a run whose stderr is a file gets a line now and then instead of a flood."""
    return tqdm(
        total=total,
        initial=done,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 30.0,
        bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}",
    )


def last_step(directory: Path) -> int:
    """The last step in a run directory's `metrics.jsonl`, 0 where there is none."""
    path = directory / "metrics.jsonl"
    steps = [row["step"] for row in map(_row, path.read_text().splitlines()) if row] if path.exists() else []
    return max(steps, default=0)


def _row(line: str) -> dict[str, Any] | None:
    """A line of `metrics.jsonl`; None for one that a kill has left unfinished."""
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return row


class Log:
    """`metrics.jsonl` and `tensorboard/` in a run directory, continued after step `done` without gaps or doubles.

    What a method was given is in the system's hands when it returns: a kill takes nothing of it away."""

    def __init__(self, directory: Path, done: int, images_per_step: int) -> None:
        # Not its SummaryWriter: that writes up to two minutes later, in a thread, and a kill would leave gaps.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        self.images_per_step = images_per_step
        self.path = directory / "metrics.jsonl"
        self._forget_after(done)
        self.file = self.path.open("a")
        folder = directory / "tensorboard"
        folder.mkdir(exist_ok=True)
        # The name has whole seconds: what another file of this second holds is of the steps after an earlier `done`.
        self.events = EventsWriter(str(folder / "events"), f".{done:08d}")
        # TensorBoard drops what older files have of this step and later ones.
        self._event(step=done + 1, session_log=SessionLog(status=SessionLog.START))

    def _event(self, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self.events.write_event(Event(wall_time=time.time(), **content))

    def _forget_after(self, done: int) -> None:
        """Drops rows of steps that a killed run made after its last checkpoint, and a line it didn't finish."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text().splitlines() if (row := _row(line)) and row["step"] <= done]
        with whole(self.path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept))

    def rows(self, first_step: int, metrics: dict[str, np.ndarray]) -> None:
        """Metrics `[count]` by name of the steps from `first_step` on; every `LOG_EVERY`th step is kept."""
        from tensorboardX.proto.summary_pb2 import Summary

        count = len(next(iter(metrics.values())))
        for i in range(-first_step % LOG_EVERY, count, LOG_EVERY):
            step = first_step + i
            row = {name: float(values[i]) for name, values in metrics.items()}
            self.file.write(json.dumps({"step": step, "images": step * self.images_per_step, **row}) + "\n")
            values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items()]
            self._event(step=step, summary=Summary(value=values))
        self.file.flush()
        self.events.flush()

    def image(self, step: int, sheet: np.ndarray) -> None:
        """A sample grid, uint8 `[H, W, C]`."""
        from tensorboardX.summary import image

        shown = sheet if sheet.shape[-1] == 3 else sheet[..., :1]
        self._event(step=step, summary=image("samples", shown, dataformats="HWC"))
        self.events.flush()

    def close(self) -> None:
        with contextlib.closing(self.events):  # also where a full disk refuses the file's last line
            self.file.close()
