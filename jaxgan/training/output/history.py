"""What happened to a run, and when: a line of `history.jsonl` for each time that it was begun, shown, saved and ended.

Every line has an `event`, the `step` and the `time` (seconds since 1970). The events are

- `began`: a process took the run up at this step;
- `drawn`: a picture, or a score on the way; what it says of each GAN's health is in `signs`;
- `saved`: a checkpoint was begun;
- `ended`: the process left it, and `why`.

Lines are added and none is ever taken back: after a kill some steps come twice, the later line being what counts."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxgan.files import open_regular
from jaxgan.training.output.log import read_lines

__all__ = ["FILE", "History", "newest", "read_history"]

FILE = "history.jsonl"
EVENTS = ("began", "drawn", "saved", "ended")

Event = dict[str, Any]


class History:
    """Adds lines to `history.jsonl` in a run directory. Each is in the system's hands when `note` returns."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def note(self, event: str, step: int, **about: Any) -> None:
        """Adds a line. OSError where the file is a link or no regular file, or can't be written."""
        line = json.dumps({"event": event, "step": step, "time": round(time.time(), 3), **about})
        with os.fdopen(open_regular(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            cut = file.read(1) not in (b"", b"\n")  # a kill may have left a line unfinished
            file.write(b"\n" * cut + line.encode() + b"\n")


def read_history(directory: Path) -> list[Event]:
    """Returns the lines of `history.jsonl` as they were written, but for those that are none; none where there is no
    such file. OSError where it can't be read."""
    lines, _ = read_lines(directory / FILE, _is_event)
    return [row for _, row in lines]


def newest(events: Iterable[Event], *names: str) -> list[Event]:
    """Returns the events of these names, of each step the last that was written, in the order of the steps."""
    return [event for _, event in sorted({each["step"]: each for each in events if each["event"] in names}.items())]


def _is_event(row: Event) -> bool:
    step, signs = row.get("step"), row.get("signs", [])
    return (
        row.get("event") in EVENTS
        and type(step) is int
        and step >= 0
        and type(row.get("time")) in (int, float)
        and isinstance(row.get("why", ""), str)
        and isinstance(signs, list)
        and all(isinstance(each, dict) for each in signs)
    )
