"""Ends of programs: a line and an exit status instead of a traceback, and the command that goes on."""

import contextlib
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxgan.data.errors import DataError
from jaxgan.terminal import Output, say, steady_output
from jaxgan.training.cli.compilation_cache import clear_damaged_cache, compilation_cache
from jaxgan.training.errors.stopping import Stopped
from jaxgan.training.errors.usage import UsageError

__all__ = ["command_again", "plain_exits"]


@contextlib.contextmanager
def plain_exits(*, prints_results: bool = True) -> Iterator[None]:
    """Wraps the main of a program: what a user did wrong (exit status 2), Ctrl-C (130) and a run that stopped early
    (its own status) end it with a line instead of a traceback. A warning is a line too. What is compiled is kept.

    What it prints never ends it (see `steady_output`); where stdout had no room, a line says so in the end, and the
    status is 1 where a program `prints_results`, or `--help`."""

    def show(message: Warning | str, *where: Any, **how: Any) -> None:
        say(f"warning: {' '.join(str(message).split())}", error=True)
        clear_damaged_cache(str(message))

    shown, warnings.showwarning = warnings.showwarning, show
    with steady_output(last=True) as (stdout, _):
        try:
            with compilation_cache():
                yield
        except (UsageError, DataError) as error:
            say(f"error: {error}", error=True)
            sys.exit(2)
        except Stopped as stop:
            say(stop, error=True)
            sys.exit(stop.status)
        except KeyboardInterrupt:
            say("interrupted", error=True)
            sys.exit(130)
        except SystemExit as end:
            if not end.code:  # --help
                _check(stdout, prints_results=True)
            raise
        else:
            _check(stdout, prints_results=prints_results)
        finally:
            warnings.showwarning = shown


def _check(stdout: Output, *, prints_results: bool) -> None:
    """Says so where stdout had no room for what was printed; exits with status 1 where those were results."""
    stdout.flush()
    if stdout.fault is None or stdout.unread:
        return
    reason = getattr(stdout.fault, "strerror", None) or stdout.fault
    if prints_results:
        say(f"error: can't write to stdout: {reason}", error=True)
        sys.exit(1)
    say(f"warning: can't write to stdout: {reason}; only what is printed there is lost", error=True)


def command_again(directory: Path) -> str:
    """Returns the command that the user has typed, as a shell takes it, but with this --workdir and without --fresh."""
    given = sys.argv[1:]
    typed = sys.orig_argv[: len(sys.orig_argv) - len(given)]
    if sys.orig_argv[len(typed) :] != given:  # a program that has changed its arguments
        main = sys.modules["__main__"].__spec__
        typed = ["python", "-m", main.name.removesuffix(".__main__")] if main else ["python", sys.argv[0]]
    kept, named, left = [], False, iter(given)
    for argument in left:
        name, equals, _ = argument.partition("=")
        if name == "--workdir":
            named = True
            kept += [f"--workdir={directory}"] if equals else ["--workdir", str(directory)]
            if not equals:
                next(left, None)
        elif name not in ("--fresh", "--no-fresh"):
            kept.append(argument)
    return shlex.join([*typed, *kept, *([] if named else ["--workdir", str(directory)])])
