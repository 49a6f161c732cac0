"""The ways in which a run ends before its last step."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

import jax

from jaxgan.printable import printable

__all__ = ["Stopped", "catch_signals", "closing_in", "diverged", "out_of_memory", "resume_point", "writing_in"]


class _Closes(Protocol):
    def close(self) -> None: ...


Closable = TypeVar("Closable", bound=_Closes)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(Exception):
    """A run that ended before its last step; the message says where it can go on, `status` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(printable(message))
        self.status = status


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collects SIGTERM, SIGINT and SIGHUP, of a terminal that goes away, instead of dying of them. A second SIGTERM or
    SIGINT is not waited for; a second SIGHUP means nothing, since both the system and the shell send it. Where SIGHUP
    is ignored, as under nohup, it stays so."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        gone = number == signal.SIGHUP
        more = "" if gone else " (once more to stop at once)"
        message = f"\n{signal.Signals(number).name}: saving and stopping{more}\n"
        with contextlib.suppress(OSError):  # not by print, which may be in the middle of a line
            os.write(2, message.encode())
        signal.signal(number, signal.SIG_IGN if gone else signal.SIG_DFL)

    in_main = threading.current_thread() is threading.main_thread()  # nowhere else may handlers be set
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    wanted = [number for number in SIGNALS if in_main and not (number == signal.SIGHUP and nohup)]
    before = {number: signal.signal(number, note) for number in wanted}
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
    """Ends the run with a line where the disk takes no more. It goes around what writes the run's own files and nothing
    else: an error without a name is taken for theirs. Errors of other files are passed on."""
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str) and directory.absolute() not in Path(error.filename).absolute().parents:
            raise
        where = error.filename2 or error.filename  # the second is what a file was to be renamed to
        reason = f"{error.strerror}: {where}" if error.strerror and where else error.strerror or error
        raise Stopped(f"can't write in {directory}: {reason}; what was saved before is kept", 1) from error


@contextlib.contextmanager
def closing_in(directory: Path, file: Closable) -> Iterator[Closable]:
    """Closes one of the run's own files after the block, as `writing_in`."""
    try:
        yield file
    finally:
        with writing_in(directory):
            file.close()


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
