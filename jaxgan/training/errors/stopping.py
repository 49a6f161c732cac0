"""The ways in which a run ends before its last step."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import jax

__all__ = ["Stopped", "catch_signals", "diverged", "out_of_memory", "resume_point", "writing_in"]


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
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None is one that C had set


def resume_point(directory: Path, saved: int) -> str:
    """Says which checkpoint a run can go on from; `saved` is the step of the last one, 0 for none."""
    return f"the checkpoint of step {saved} in {directory} is good" if saved else "no checkpoint was saved before"


def diverged(what: str, directory: Path, saved: int) -> Stopped:
    """Returns the end of a run whose numbers are no longer finite."""
    return Stopped(f"diverged: {what}; {resume_point(directory, saved)}. Lower the learning rates or add a penalty", 1)


@contextlib.contextmanager
def writing_in(directory: Path) -> Iterator[None]:
    """Ends the run with a line where the disk takes no more. Errors of other files than the run's are passed on."""
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str) and directory.absolute() not in Path(error.filename).absolute().parents:
            raise
        raise Stopped(f"can't write in {directory}: {error}; what was saved before is kept", 1) from error


def out_of_memory(error: Exception, batch_size: int) -> Stopped | None:
    """Returns the end of a run for which a device has no more memory; None for any other error."""
    if not isinstance(error, jax.errors.JaxRuntimeError):
        return None
    reason = str(error).partition("\n")[0]
    if "RESOURCE_EXHAUSTED" not in reason and "out of memory" not in reason.lower():
        return None
    return Stopped(
        f"out of memory ({reason}); lower --batch-size ({batch_size}), or keep it and cut the batch into parts "
        "(--accumulate 2); --stream keeps the data set off the device",
        1,
    )
