"""A user's mistakes, each told in one line, and checks that raise them."""

import contextlib
import os
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from jaxgan.nearest import perhaps
from jaxgan.printable import printable, shortened

__all__ = [
    "UsageError",
    "check_file",
    "either",
    "flag",
    "refusals",
    "require",
    "require_file",
    "require_known",
    "require_used",
    "shown",
    "writing",
]

T = TypeVar("T")
RESERVED = {"from_run": "from", "for_experiment": "for"}


class UsageError(Exception):
    """A user's mistake: one line that names the value, what was expected and the fix. Exit status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def flag(name: str) -> str:
    """Returns a field's name as it is typed on a command line, without its dashes: `from` and `for`, where it can be
    one of these, which no field of Python's can."""
    return RESERVED.get(name, name.replace("_", "-"))


def shown(value: object) -> str:
    """Returns an option's value as a message shows it: in words where Python has its own, and not too long."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    return shortened(value) or ("none" if isinstance(value, tuple) else "an empty text")


def either(names: Iterable[object]) -> str:
    """Returns names as text, with commas and a last "or"."""
    *first, last = map(str, names)
    return f"{', '.join(first)} or {last}" if first else last


def require(options: object, name: str, condition: bool, expected: str, hint: str = "") -> None:
    """Raises a UsageError that names the option, its value and what was expected, unless `condition` holds. `hint`
    follows, such as what `jaxgan.nearest.perhaps` says."""
    if not condition:
        raise UsageError(f"--{flag(name)} must be {expected}, got {shown(getattr(options, name))}{hint}")


def require_used(options: Any, name: str, used: bool, where: str) -> None:
    """Raises a UsageError for an option that isn't at its default where it is not `used`: it would have no effect.
    where: the options beside which it has one, such as "--reject mh"."""
    default = type(options).__dataclass_fields__[name].default
    require(options, name, used or getattr(options, name) == default, f"given together with {where}")


def require_known(options: object, name: str, known: Iterable[str]) -> None:
    """Raises UsageError, with the name that may have been meant, unless all of the option's names are known ones."""
    unknown = [each for each in getattr(options, name) if each not in known]
    require(options, name, not unknown, f"of {', '.join(known)}", perhaps(unknown[0], known) if unknown else "")


def require_file(options: object, name: str, *endings: str) -> None:
    """Raises UsageError unless the option's path, where there is one, has one of the endings, such as ".png", in upper
    or lower case, and can be written, as in `check_file`."""
    path: Path | None = getattr(options, name)
    if path is not None:
        require(options, name, path.suffix.lower() in endings, f"a path that ends in {' or '.join(endings)}")
        check_file(path)


def check_file(path: Path) -> None:
    """Raises UsageError where a file can't be written at `path`: before anything is computed that would be in it."""
    where = printable(path)
    if path.is_dir():
        raise UsageError(f"can't write {where}: it is a folder; name a file in it")
    folder = path.absolute().parent
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "doesn't exist"
        raise UsageError(f"can't write {where}: the folder {printable(folder)} {what}")
    if not os.access(folder, os.W_OK | os.X_OK):  # a file is replaced by another, whatever its own permissions are
        raise UsageError(f"can't write {where}: the folder {printable(folder)} can't be written to")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises UsageError where a file that a user named can't be written."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"can't write {printable(path)}: {error.strerror or error}") from None


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Raises UsageError for what the library itself refuses, such as a gradient penalty under batch normalisation.
    Other errors are somebody's bug, and keep their traceback."""
    try:
        yield
    except ValueError as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        if frames[-1].f_globals["__name__"].startswith("jaxgan."):
            raise UsageError(str(error)) from error
        raise
