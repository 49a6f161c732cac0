"""A user's mistakes, each told in one line, and command lines that tell them so."""

import contextlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from jaxgan.data.images import DataError
from jaxgan.training.kept_programs import forget_programs, keep_programs
from jaxgan.training.stop import Stopped

__all__ = ["UsageError", "command_line", "plain_exits", "refusals", "require", "writing"]

T = TypeVar("T")


class UsageError(Exception):
    """A user's mistake: one line that names the value, what was expected and the fix. Exit status 2."""


def require(options: object, name: str, condition: bool, expected: str) -> None:
    """UsageError that names the option, its value and what was expected, unless `condition` holds."""
    if not condition:
        raise UsageError(f"--{name.replace('_', '-')} must be {expected}, got {getattr(options, name)}")


def command_line(
    options_type: type[T], arguments: Sequence[str] | None = None, *, epilogue: str = "", default: T | None = None
) -> T:
    """`options_type`, a dataclass, from command-line arguments; UsageError in one line where they are wrong. What they
    don't give is as in `default`, or else as the fields have it. `--help` shows the docstring of the type's module,
    then `epilogue`, then the fields with their docstrings."""
    import tyro

    said = io.StringIO()
    main = sys.modules["__main__"].__spec__
    try:
        with contextlib.redirect_stderr(said), _read_or_not():
            return tyro.cli(
                options_type,
                prog=f"python -m {main.name}" if main else None,
                args=arguments,
                default=tyro.MISSING_NONPROP if default is None else default,
                description=f"{sys.modules[options_type.__module__].__doc__ or ''}\n{epilogue}",
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise  # --help
        # tyro draws a box: a title, the message, then a rule and further help. The message is what we want.
        lines = [line.strip("│ ") for line in said.getvalue().splitlines()[1:]]
        message = [line for line in lines[: next((i for i, x in enumerate(lines) if x.startswith("─")), None)] if line]
        raise UsageError(f"{' '.join(message)} (--help lists the options)") from None


@contextlib.contextmanager
def _read_or_not() -> Iterator[None]:
    """Ends the program quietly where nobody reads what it prints any more, as after `--help | head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What Python still holds must go somewhere, or it complains in the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """UsageError where a file that a user named can't be written."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from None


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """UsageError for what the library itself refuses, such as a gradient penalty under batch normalisation. Other
    errors are somebody's bug, and keep their traceback."""
    try:
        yield
    except ValueError as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        if frames[-1].f_globals["__name__"].startswith("jaxgan."):
            raise UsageError(str(error)) from error
        raise


@contextlib.contextmanager
def plain_exits() -> Iterator[None]:
    """The main of a program: what a user did wrong (exit status 2), Ctrl-C (130) and a run that stopped early (its own
    status) end it with a line instead of a traceback. A warning is a line too. What is compiled is kept."""

    def say(message: Warning | str, *where: Any, **how: Any) -> None:
        tqdm.write(f"warning: {message}", file=sys.stderr)
        forget_programs(str(message))

    shown, warnings.showwarning = warnings.showwarning, say
    keep_programs()
    try:
        yield
    except (UsageError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        warnings.showwarning = shown
