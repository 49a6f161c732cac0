"""The options that every experiment has, and how they come from a command line or a file."""

import contextlib
import dataclasses
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

__all__ = ["Options", "UsageError", "command_line", "differing", "parse"]

T = TypeVar("T")


class UsageError(Exception):
    """A user's mistake: one line that names the value, what was expected and the fix. Exit status 2."""


@dataclasses.dataclass(frozen=True)
class Options:
    """An experiment's own options are fields of a frozen dataclass that inherits these."""

    steps: int = 3000
    """Generator updates, counted from the beginning of the run."""
    batch_size: int = 64
    """Images in a batch."""
    seed: int = 0
    """Everything random follows from it."""
    dataset: str = "auto"
    """mnist, digits (1,797 small ones, always there), or any labelled set that TFDS has prepared; auto is mnist where
    it can be had, otherwise digits."""
    data_dir: str | None = None
    """Folder of TFDS's prepared data sets; by default $TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    workdir: str | None = None
    """The run directory; a run that is in it is continued. By default a new one, runs/EXPERIMENT-TIME."""
    checkpoint_every: int = 500
    """Generator updates between two checkpoints."""
    sample_every: int = 250
    """Generator updates between two sample grids."""
    fresh: bool = False
    """Start a new run, and refuse a run directory that holds one."""

    # What a continued run may have otherwise than before: nothing here changes a number that it computes.
    MAY_CHANGE = ("steps", "data_dir", "workdir", "checkpoint_every", "sample_every", "fresh")


def differing(mine: Options, theirs: dict[str, Any]) -> list[str]:
    """Where two runs' options contradict each other, as texts `--name value (the run has other)`."""
    fields = [field.name for field in dataclasses.fields(mine) if field.name not in mine.MAY_CHANGE]
    return [
        f"--{name.replace('_', '-')} {getattr(mine, name)} (the run has {theirs.get(name)})"
        for name in fields
        if getattr(mine, name) != theirs.get(name)
    ]


def parse(options_type: type[T], arguments: Sequence[str] | None = None) -> T:
    """`command_line` for an experiment, whose arguments may name a file of options to start from: `--options FILE`."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    default = None
    for i, argument in enumerate(rest):
        if argument == "--options" or argument.startswith("--options="):
            name, _, value = argument.partition("=")
            if not value and i + 1 == len(rest):
                raise UsageError("--options needs a file, such as RUN/options.json")
            del rest[i]
            default = _from_file(options_type, Path(value or rest.pop(i)))
            break
    options = command_line(options_type, rest, default, epilogue="--options FILE starts from a run's options.json.")
    for name in ("steps", "batch_size", "checkpoint_every", "sample_every"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}")
    return options


def command_line(
    options_type: type[T], arguments: Sequence[str] | None = None, default: T | None = None, epilogue: str = ""
) -> T:
    """`options_type`, a dataclass, from command-line arguments; UsageError in one line where they are wrong. `--help`
    shows the docstring of the type's module, then `epilogue`, then the fields with their docstrings."""
    import tyro

    said = io.StringIO()
    main = sys.modules["__main__"].__spec__
    try:
        with contextlib.redirect_stderr(said):
            parsed = tyro.cli(
                options_type,
                prog=f"python -m {main.name}" if main else None,
                args=arguments,
                default=default,
                description=f"{sys.modules[options_type.__module__].__doc__}\n{epilogue}",
                config=(tyro.conf.FlagCreatePairsOff,),
            )
            return cast(T, parsed)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise  # --help
        # tyro draws a box: a title, the message, then a rule and further help. The message is what we want.
        lines = [line.strip("│ ") for line in said.getvalue().splitlines()[1:]]
        message = [line for line in lines[: next((i for i, x in enumerate(lines) if x.startswith("─")), None)] if line]
        raise UsageError(f"{' '.join(message)} (--help lists the options)") from None


def _from_file(options_type: type[T], path: Path) -> T:
    try:
        values = json.loads(path.read_text())["options"]
        names = {field.name for field in dataclasses.fields(options_type)}  # type: ignore[arg-type]
        unknown = sorted(set(values) - names)
        if unknown:
            raise UsageError(f"--options {path} has options that this experiment doesn't know: {', '.join(unknown)}")
        # A repeated run is a new one, in a directory of its own.
        return options_type(**{name: value for name, value in values.items() if name not in ("workdir", "fresh")})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--options {path} can't be read as a run's options.json: {error!r}") from None
