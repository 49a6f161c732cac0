"""The ways in which a run ends before its last step."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np

__all__ = ["Stopped", "catch_signals", "diverged", "first_nonfinite"]


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
        name = signal.Signals(number).name
        print(f"\n{name}: saving at the end of this chunk (once more to stop at once)", file=sys.stderr)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def first_nonfinite(metrics: dict[str, np.ndarray], done: int) -> str | None:
    """What became NaN or infinite first in metrics `[count]` of the steps after `done`; None where nothing did."""
    bad = {name: np.flatnonzero(~np.isfinite(values)) for name, values in metrics.items()}
    bad = {name: where for name, where in bad.items() if len(where)}
    if not bad:
        return None
    name = min(bad, key=lambda name: bad[name][0])
    at, count = bad[name][0], len(metrics[name])
    return f"{name} became {metrics[name][at]} at step {done + 1 + at} (of steps {done + 1} to {done + count})"


def diverged(what: str, directory: Path, saved: int) -> Stopped:
    """The end of a run whose numbers are no longer finite; `saved` is its last checkpoint, 0 for none."""
    kept = f"the checkpoint of step {saved} in {directory} is good" if saved else "no checkpoint was saved before"
    return Stopped(f"diverged: {what}; {kept}. Lower the learning rates or add a penalty", 1)
