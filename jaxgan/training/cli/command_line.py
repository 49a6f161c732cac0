"""Dataclasses from command-line arguments, with every mistake told in one line."""

import contextlib
import io
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from jaxgan.terminal import steady_output
from jaxgan.training.errors.usage import UsageError

__all__ = ["command_line"]


T = TypeVar("T")


def command_line(
    options_type: type[T],
    arguments: Sequence[str] | None = None,
    *,
    epilogue: str = "",
    default: T | None = None,
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> T:
    """Makes `options_type`, a dataclass, of command-line arguments. What they don't give is as in `default`, or else as
    the fields have it. `--help` shows the docstring of the type's module, then `epilogue`, then the fields with their
    docstrings. renamed: by an option's former name, such as "--grid", the option of today, such as "--out FILE.png".

    UsageError in one line where the arguments are wrong, or have a former name."""
    given = sys.argv[1:] if arguments is None else arguments
    for name in (argument.partition("=")[0] for argument in given):
        if name in renamed:
            raise UsageError(f"{name} is now {renamed[name]} (--help lists the options)")
    import tyro

    said = io.StringIO()
    main = sys.modules["__main__"].__spec__
    try:
        with contextlib.redirect_stderr(said), steady_output():
            return tyro.cli(
                options_type,
                prog=f"python -m {main.name}" if main else None,
                args=given,
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
