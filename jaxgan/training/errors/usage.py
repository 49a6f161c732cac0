"""A user's mistakes, each told in one line, and checks that raise them."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from jaxgan.printable import printable, shortened

__all__ = ["UsageError", "refusals", "require", "require_ending", "writing"]

T = TypeVar("T")


class UsageError(Exception):
    """A user's mistake: one line that names the value, what was expected and the fix. Exit status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def require(options: object, name: str, condition: bool, expected: str) -> None:
    """Raises a UsageError that names the option, its value and what was expected, unless `condition` holds."""
    if not condition:
        raise UsageError(f"--{name.replace('_', '-')} must be {expected}, got {shortened(getattr(options, name))}")


def require_ending(options: object, name: str, ending: str) -> None:
    """Raises UsageError unless the option's path, where there is one, has this ending, such as ".png"."""
    path: Path | None = getattr(options, name)
    require(options, name, path is None or path.suffix == ending, f"a path that ends in {ending}")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises UsageError where a file that a user named can't be written."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from None


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
