"""What programs say: lines and progress bars, on a stdout and a stderr that may be full, closed, read by nobody, or
unable to encode them."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO, cast

from tqdm import tqdm

from jaxgan.printable import printable

__all__ = ["Bar", "Output", "align_columns", "progress_bar", "say", "steady_output"]

UNREAD = {errno.EPIPE, errno.EIO, errno.EBADF}  # the reader has gone, the terminal has, or it was closed
LINES = 30.0  # seconds between two lines of a bar in a file


class Output:
    """A text stream that takes whatever it is given: what it can't encode becomes "?", what can't be written is
    dropped. fault: why the first of the latter was, or None. All else is as in the stream that it stands for."""

    def __init__(self, inner: TextIO) -> None:
        self.inner = inner
        self.fault: OSError | ValueError | None = None

    @property
    def unread(self) -> bool:
        """Tells whether text was dropped because nobody is there to read it, and not for want of space."""
        return self.fault is not None and getattr(self.fault, "errno", None) in (None, *UNREAD)

    def write(self, text: str) -> int:
        try:
            try:
                self.inner.write(text)
            except UnicodeEncodeError as error:
                self.inner.write(text.encode(error.encoding, "replace").decode(error.encoding))
        except (OSError, ValueError) as error:  # the latter of a stream that was closed
            self.fault = self.fault or error
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self.inner.flush()
        except (OSError, ValueError) as error:
            self.fault = self.fault or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def silence(self) -> None:
        """Sends what the stream still holds, and all that comes, to nowhere: the interpreter would complain of it."""
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), self.inner.fileno())
            self.inner.flush()


@contextlib.contextmanager
def steady_output(*, last: bool = False) -> Iterator[tuple[Output, Output]]:
    """Makes stdout and stderr take whatever they are given, for the block; yields them. Nothing that is printed in it
    can end it, and no file that is opened in it becomes a closed stdout's or stderr's successor. last: nobody prints
    afterwards."""
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        made = [stream if isinstance(stream, Output) else Output(stream or nowhere) for stream in before]
        sys.stdout, sys.stderr = cast("list[TextIO]", made)
        try:
            yield made[0], made[1]
        finally:
            for name, stream, now in zip(("stdout", "stderr"), before, made, strict=True):
                if stream is now:  # a block within another
                    continue
                now.flush()
                if now.fault and (last or now.unread):
                    now.silence()
                if getattr(sys, name) is now:
                    setattr(sys, name, stream)


def _fill_descriptors() -> None:
    """Opens the standard descriptors that are closed, to nowhere. Otherwise the next file that is opened, a run's log
    perhaps, has their number, and gets what libraries in C write to stderr."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one


def say(*lines: object, error: bool = False) -> None:
    """Writes lines to stdout or, with `error`, to stderr, above the progress bars, at once. Control characters in them,
    which names of others' making may have, are written out, line breaks too."""
    file = sys.stderr if error else sys.stdout
    if file is None:
        return
    for line in lines:
        Bar.write(printable(line), file=file)
    file.flush()


class Bar(tqdm):
    """A progress bar on stderr. Where that is no terminal it is a line now and then. It is never beyond its total."""

    monitor_interval = 0  # no thread that draws it
    said_at = -LINES
    leave: bool | None
    ncols: int | None
    nrows: int | None

    @property
    def in_terminal(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return bool(self.fp.isatty())
        return False

    def start(self, done: int) -> None:
        """Counts time from now on: how long it took until so many more were done, compiling among it, says nothing
        about the rest."""
        if not self.disable:
            self.n += done
            self.initial, self.start_t = self.n, self._time()
            self.refresh()

    def update(self, n: float = 1) -> bool | None:
        shown: bool | None = super().update(n if self.total is None else min(n, self.total - self.n))
        return shown

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        self._forget_no_size()
        if self.in_terminal:
            return bool(super().display(msg, pos))
        if msg is None and self._time() >= self.said_at + LINES:
            self._line()
        return False

    @property
    def format_dict(self) -> dict[str, Any]:
        found = super().format_dict
        self._forget_no_size()
        return {**found, "ncols": self.ncols}

    def _forget_no_size(self) -> None:
        """Takes a size below 1 for none: a terminal that doesn't know its size has 0, and tqdm makes it -1."""
        self.ncols, self.nrows = (None if size is None or size < 1 else size for size in (self.ncols, self.nrows))

    def _line(self) -> None:
        self.said_at = self._time()
        self.fp.write(f"{self}\n")
        self.fp.flush()

    def clear(self, nolock: bool = False) -> None:
        if self.in_terminal:
            super().clear(nolock)

    def close(self) -> None:
        if not getattr(self, "disable", True) and not self.in_terminal:
            if self.leave is not False and self._time() >= self.start_t + self.delay:
                self._line()
            self.leave = False  # nothing more
        super().close()


def progress_bar(
    total: int | None,
    what: str = "",
    *,
    unit: str = "images",
    done: int = 0,
    note: str = "",
    delay: float = 2.0,
    hidden: bool = False,
) -> Bar:
    """Returns the bar of work on `total` things (None where that isn't known), of which so many are done; to be closed,
    or used as a context manager. unit: "images", "steps", or "B" for bytes. note: what stands at its end. It appears
    after `delay` seconds. When it is closed it stays, unless it has no total or stands below another."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    counted = "{n_fmt}B/{total_fmt}B, {rate_fmt}" if unit == "B" else f"{{n_fmt}}/{{total_fmt}} {unit}"
    bar = "|{bar}| " if terminal else " "  # a file has no width
    return Bar(
        desc=printable(what),
        total=total,
        initial=done,
        postfix=note,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=unit == "B",
        delay=delay,
        leave=None if total else False,
        disable=hidden or sys.stderr is None,
        dynamic_ncols=True,
        mininterval=0.1 if terminal else LINES,
        miniters=1,  # the time alone says when it is drawn
        smoothing=0,  # the mean speed since its start
        bar_format=f"{{desc}}: {{percentage:3.0f}}%{bar}{counted}, {{remaining}} left{{postfix}}" if total else None,
    )


def align_columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Returns lines of cells as text in columns, left-justified. Control characters in them are written out."""
    lines = [[printable(text) for text in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ["  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)) for line in lines]
    return [text.rstrip() for text in texts]
