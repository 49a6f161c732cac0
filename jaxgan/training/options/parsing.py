"""Options from a command line or a file."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from jaxgan.printable import shortened
from jaxgan.training.cli.arguments import Argument
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.errors.usage import UsageError, flag, shown
from jaxgan.training.options.data import shape_of
from jaxgan.training.options.fields import check_names, checked
from jaxgan.training.options.options import RENAMED, Options, name_of, of_preset
from jaxgan.training.options.record import read_record

__all__ = ["parse", "taken"]


T = TypeVar("T", bound="Options")

# A repeated run is a new one, in a directory and perhaps on machines of its own, and nothing of it is sent anywhere
# because the other was. Where it begins, --from and --step, is part of its numbers.
OWN = ("workdir", "log", "fresh", "dry_run", "coordinator", "processes", "process")
OPTIONS_FILE = Argument(
    name="options",
    flag="options",
    kind=Path,
    positional=False,
    default=None,
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
    if file:
        default = _from_file(options_type, Path(file), preset)
    else:
        default = of_preset(options_type, "laptop" if preset is None else preset)
    presets = [
        f"--preset {name} has {', '.join(f'--{flag(key)} {shown(value)}' for key, value in changes.items())}."
        for name, changes in options_type.PRESETS.items()
    ]
    fields = {field.name for field in dataclasses.fields(options_type)}
    renamed = {f"--{flag(old)}": f"--{flag(new)}" for old, new in RENAMED.items() if old not in fields}
    size, _ = taken(rest, "--size")
    if size and shape_of(size):  # which is no preset
        renamed.pop("--size", None)
    epilogue = "\n\n".join(presets)
    return command_line(options_type, rest, epilogue=epilogue, default=default, renamed=renamed, beside=(OPTIONS_FILE,))


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


def _from_file(options_type: type[T], path: Path, preset: str | None) -> T:
    """Returns the options of a run's record, but for those that a new run has of its own. UsageError where there is no
    record of this experiment, it has an option that there is not or one that is wrong, or is of another preset than
    asked for."""
    where = f"--options {shortened(path)}"
    try:
        record = read_record(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{where} can't be read as a run's options.json: {reason}") from None
    if record["experiment"] != name_of(options_type):
        raise UsageError(f"{where} is of experiment {shortened(record['experiment'])}, not of {name_of(options_type)}")
    values = {name: value for name, value in record["options"].items() if name not in OWN}
    try:
        check_names(options_type, values)
        values = checked(options_type, values)
        of_file = values.setdefault("preset", "laptop")
        if preset in (None, of_file):
            return of_preset(options_type, **values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    raise UsageError(f"{where} is of preset {of_file} and has all values; leave out --preset {preset}")
