"""Options from a command line or a file."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxgan.training.cli.arguments import Argument
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.errors.usage import UsageError, flag, shown
from jaxgan.training.options.data import shape_of
from jaxgan.training.options.options import RENAMED, Options, as_named_now, name_of, of_preset

__all__ = ["parse", "taken"]


T = TypeVar("T", bound="Options")

OPTIONS_FILE = Argument(
    *("options", "options", Path, False, None),
    about="A run's options.json, whose values are the defaults; a preset can't be given with it.",
    group=Options.GROUP,
)


def parse(options_type: type[T], arguments: Sequence[str] | None = None) -> T:
    """Runs `command_line` for an experiment. Its arguments may name a preset, whose defaults are then those that
    `--help` shows, or a file of options to start from, `--options FILE`."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    file, rest = taken(rest, "--options")
    preset, rest = taken(rest, "--preset")
    if file == "":
        raise UsageError("--options needs a file, such as RUN/options.json")
    values = _from_file(options_type, Path(file)) if file else {}
    of_file = str(values.pop("preset", "laptop"))
    if file and preset not in (None, of_file):
        raise UsageError(f"--options {file} is of preset {of_file} and has all values; leave out --preset {preset}")
    default = of_preset(options_type, of_file if preset is None else preset)
    presets = [
        f"--preset {name} has {', '.join(f'--{flag(key)} {shown(value)}' for key, value in changes.items())}."
        for name, changes in options_type.PRESETS.items()
    ]
    fields = {field.name for field in dataclasses.fields(options_type)}
    renamed = {f"--{flag(old)}": f"--{flag(new)}" for old, new in RENAMED.items() if old not in fields}
    size, _ = taken(rest, "--size")
    if size and shape_of(size):  # which is no preset
        renamed.pop("--size", None)
    return command_line(
        options_type,
        _arguments(values, default) + rest,
        epilogue="\n\n".join(presets),
        default=default,
        renamed=renamed,
        beside=(OPTIONS_FILE,),
    )


def taken(arguments: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Splits off an option: returns its last value ("" where nothing follows it, None where it isn't there), and the
    other arguments."""
    value, rest, left = None, [], iter(arguments)
    for argument in left:
        before, _, after = argument.partition("=")
        if before == name:
            value = after or ("" if "=" in argument else next(left, ""))
        else:
            rest.append(argument)
    return value, rest


def _from_file(options_type: type[Options], path: Path) -> dict[str, Any]:
    """Returns a run's options by name, but for those that a new run has of its own."""
    try:
        record = json.loads(path.read_text())
        experiment, values = record["experiment"], as_named_now(dict(record["options"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--options {path} can't be read as a run's options.json: {error!r}") from None
    if experiment != name_of(options_type):
        raise UsageError(f"--options {path} is of experiment {experiment}, not of {name_of(options_type)}")
    # A repeated run is a new one, in a directory and perhaps on machines of its own.
    left_out = ("workdir", "fresh", "coordinator", "processes", "process")
    return {name: value for name, value in values.items() if name not in left_out}


def _arguments(values: dict[str, Any], default: Options) -> list[str]:
    """Returns what must be typed to have these values instead of the defaults, so that they are checked like what a
    user types."""
    typed = {flag(name): value for name, value in values.items() if value != getattr(default, name, None)}
    switches = [f"--{'' if value else 'no-'}{name}" for name, value in typed.items() if isinstance(value, bool)]
    return switches + [f"--{name}={value}" for name, value in typed.items() if not isinstance(value, bool)]
