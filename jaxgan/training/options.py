"""The options that every experiment has, and how they come from a command line or a file."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxgan.training.data_options import DataOptions
from jaxgan.training.usage import UsageError, command_line, require

__all__ = ["Options", "differing", "name_of", "parse"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Options(DataOptions):
    """An experiment's own options are fields of a frozen dataclass that inherits these."""

    steps: int = 3000
    """Generator updates, counted from the beginning of the run."""
    batch_size: int = 64
    """Images in a batch."""
    seed: int = 0
    """Everything random follows from it."""
    workdir: str | None = None
    """The run directory; a run that is in it is continued. By default a new one, runs/EXPERIMENT-TIME."""
    checkpoint_every: int = 500
    """Generator updates between two checkpoints."""
    sample_every: int = 250
    """Generator updates between two sample grids."""
    fresh: bool = False
    """Start a new run, and refuse a run directory that holds one."""

    dry_run: bool = False
    """Say what the run would cost (networks, memory, time) and don't start it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "batch_size", "checkpoint_every", "sample_every"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        require(self, "seed", 0 <= self.seed < 2**32, "from 0 to 2^32 - 1")

    # What a continued run may have otherwise than before: nothing here changes a number that it computes.
    # (Whether a data set elsewhere is the same one is for its content to say: see DataSpec.)
    MAY_CHANGE = (
        *("steps", "workdir", "checkpoint_every", "sample_every", "fresh", "dry_run"),
        *("dataset", "data_dir", "skip_bad_images", "workers"),
    )


def differing(mine: Options, theirs: dict[str, Any]) -> list[str]:
    """Where two runs' options contradict each other, as texts `--name value (the run has other)`."""
    fields = [field for field in dataclasses.fields(mine) if field.name not in mine.MAY_CHANGE]
    # An option that is younger than the run had its default there.
    pairs = [(field.name, getattr(mine, field.name), theirs.get(field.name, field.default)) for field in fields]
    return [f"--{name.replace('_', '-')} {one} (the run has {other})" for name, one, other in pairs if one != other]


def name_of(thing: Any) -> str:
    """The module of a function or class, as `python -m` takes it, or the path of a script that was run by its path."""
    name: str = thing.__module__
    if name == "__main__":
        main = sys.modules["__main__"]
        name = main.__spec__.name if main.__spec__ else str(Path(str(main.__file__)).resolve())
    return name


def parse(options_type: type[T], arguments: Sequence[str] | None = None) -> T:
    """`command_line` for an experiment, whose arguments may name a file of options to start from: `--options FILE`."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    for i, argument in enumerate(rest):
        if argument == "--options" or argument.startswith("--options="):
            value = argument.partition("=")[2] or (rest.pop(i + 1) if i + 1 < len(rest) else "")
            if not value:
                raise UsageError("--options needs a file, such as RUN/options.json")
            del rest[i]
            rest = _from_file(options_type, Path(value)) + rest
            break
    return command_line(options_type, rest, epilogue="--options FILE starts from a run's options.json.")


def _from_file(options_type: type[Any], path: Path) -> list[str]:
    """A run's options as arguments, so that they are checked like those that a user types."""
    try:
        record = json.loads(path.read_text())
        experiment, values = record["experiment"], dict(record["options"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--options {path} can't be read as a run's options.json: {error!r}") from None
    if experiment != name_of(options_type):
        raise UsageError(f"--options {path} is of experiment {experiment}, not of {name_of(options_type)}")
    # A repeated run is a new one, in a directory of its own.
    flags = {name.replace("_", "-"): value for name, value in values.items() if name not in ("workdir", "fresh")}
    given = {name: value for name, value in flags.items() if value is not None and value is not False}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]
