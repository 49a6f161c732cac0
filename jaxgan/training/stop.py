"""The ways in which a run ends before its last step."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np

__all__ = ["Stopped", "catch_signals", "diverged", "finite_rows"]


class Stopped(Exception):
    """A run that ended before its last step; the message says where it can go on, `status` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of dying of them; a second one of a kind is not waited for."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        message = f"\n{signal.Signals(number).name}: saving and stopping (once more to stop at once)\n"
        with contextlib.suppress(OSError):  # not by print, which may be in the middle of a line
            os.write(2, message.encode())
        signal.signal(number, signal.SIG_DFL)

    in_main = threading.current_thread() is threading.main_thread()  # nowhere else may handlers be set
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT) if in_main}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def finite_rows(metrics: dict[str, np.ndarray], done: int) -> tuple[int, str | None]:
    """How many of the steps after `done` come before the first that isn't finite in metrics `[count]`, and which."""
    finite = {name: np.isfinite(values) for name, values in metrics.items()}
    good = np.logical_and.reduce(list(finite.values()))
    count = len(good)
    if good.all():
        return count, None
    first = int(np.argmin(good))
    name = next(name for name, values in finite.items() if not values[first])
    what = f"{name} became {metrics[name][first]} at step {done + 1 + first} (of steps {done + 1} to {done + count})"
    return first, what


def diverged(what: str, directory: Path, saved: int) -> Stopped:
    """The end of a run whose numbers are no longer finite; `saved` is its last checkpoint, 0 for none."""
    kept = f"the checkpoint of step {saved} in {directory} is good" if saved else "no checkpoint was saved before"
    return Stopped(f"diverged: {what}; {kept}. Lower the learning rates or add a penalty", 1)
