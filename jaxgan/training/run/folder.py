"""The folder of a run: what names it can have, that it is the run's own, and what killed runs have left in it."""

import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from jaxgan.files import UNFINISHED, remove_own
from jaxgan.printable import listed, printable
from jaxgan.training.errors.usage import UsageError

__all__ = ["clear_leftovers", "named", "refuse_links", "refuse_others", "writing_run"]

FILES = (
    *("lock", "options.json", "metrics.jsonl", "evaluations.jsonl", "history.jsonl", "members.json", "members.png"),
    *("losses.png", "training.gif", "neighbours.png", "report.html"),
)
FOLDERS = ("samples", "checkpoints", "best", "damaged", "tensorboard")
LONGEST = 4095 - 200  # bytes of a path that Linux takes, less what a run has below
DAMAGED = r"metrics\.jsonl\.damaged(?:-\d+)?"  # what a log was before its damaged lines were left out
LEFTOVER = re.compile(rf"(?:{'|'.join(map(re.escape, FILES))}|{DAMAGED}|\d+\.png){UNFINISHED}")
# What a run has made before its record is there; and what systems put into any folder by themselves.
BEGUN = re.compile(rf"lock|options\.json(?:{UNFINISHED}|\.tmp)")
EMPTY = ("samples", "checkpoints")
OF_THE_SYSTEM = ("lost+found", ".DS_Store", "@eaDir")


def named(name: str | Path, option: str = "--workdir") -> Path:
    """Returns the path of a run directory that an option names; `~` is a home. UsageError where no folder of this
    machine is called so, or none that can hold a run."""
    text = os.fspath(name)

    def refuse(why: str) -> UsageError:
        shown = printable(text if len(text) < 100 else f"{text[:50]}…{text[-40:]}")
        return UsageError(f"{option} {shown} {why}; choose another")

    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        raise refuse("is an address and no folder of this machine, on which a bucket can be mounted")
    if "\0" in text:
        raise refuse("has a NUL character, which no name can have")
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib takes ./~ for a home too
    if str(path).startswith("~"):
        if text.startswith("~"):
            raise refuse("begins with ~ and no user's name that is known here (./~ begins a folder's name)")
        path = path.absolute()
    try:
        size = len(str(path.absolute()).encode())
    except UnicodeEncodeError:
        if (encoding := sys.getfilesystemencoding()) != "utf-8":
            raise refuse(f"is not {encoding}, the encoding of this locale (PYTHONUTF8=1 makes it UTF-8)") from None
        raise refuse("is not UTF-8") from None
    if size > LONGEST or any(len(part.encode()) > 255 for part in path.parts):
        raise refuse("is too long: a folder's name has up to 255 bytes, and all of the path up to 3,895")
    return path


@contextlib.contextmanager
def writing_run(directory: Path) -> Iterator[None]:
    """Raises UsageError where a run directory can't be written in, or looked at."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"can't write in run directory {directory}: {error.strerror}; choose another --workdir"
        ) from None


def refuse_others(directory: Path) -> None:
    """Raises UsageError where a directory that has no run's record holds anything but what a run that was killed
    before it wrote one has left. Says nothing of one that isn't there."""
    with writing_run(directory):
        try:
            with os.scandir(directory) as entries:
                others = sorted(entry.name for entry in entries if not _begun(entry))
        except FileNotFoundError:
            return
    if others:
        raise UsageError(
            f"{directory} is not empty and holds no run: it has {printable(listed(others, 1))}, but no options.json; "
            "choose another --workdir, such as a new folder in it"
        )


def _begun(entry: os.DirEntry[str]) -> bool:
    if entry.name in EMPTY and entry.is_dir(follow_symlinks=False):
        return not any(Path(entry).iterdir())
    return entry.name in OF_THE_SYSTEM or BEGUN.fullmatch(entry.name) is not None


def refuse_links(directory: Path) -> None:
    """Raises UsageError where a part of the run is a link, by which it would write to a file that is none of its own,
    or no regular file or folder."""
    for name, is_right, what in [
        *((name, stat.S_ISREG, "regular file") for name in FILES),
        *((name, stat.S_ISDIR, "folder") for name in FOLDERS),
    ]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            mode = (directory / name).lstat().st_mode
            if stat.S_ISLNK(mode):
                raise _is_a_link(directory / name)
            if not is_right(mode):
                raise UsageError(f"{directory / name} is no {what}; move it away, or choose another --workdir")
    for path in _below(directory):
        if path.is_symlink():
            raise _is_a_link(path)


def _is_a_link(path: Path) -> UsageError:
    return UsageError(
        f"{path} is a link, and a run writes to no file outside of its directory; put what it leads to in its place, "
        "or choose another --workdir"
    )


def _below(directory: Path) -> Iterator[Path]:
    """Lists what a run writes to by name below its directory; pictures are replaced, and so followed nowhere."""
    for name in ("checkpoints", "best", "damaged"):
        with contextlib.suppress(OSError):
            yield from (directory / name).iterdir()
    for folder, names, files in os.walk(directory / "tensorboard"):
        yield from (Path(folder, name) for name in (*names, *files))


def clear_leftovers(directory: Path) -> None:
    """Removes the temporary files that a killed run has left. The caller holds the run's lock. OSError where they
    can't be looked at or removed."""
    for folder in (directory, directory / "samples"):
        remove_own(folder, LEFTOVER)
