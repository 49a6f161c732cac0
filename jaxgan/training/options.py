"""The options that every experiment has, and how they come from a command line or a file."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from jaxgan.training.data_options import DataOptions
from jaxgan.training.device_options import DeviceOptions
from jaxgan.training.evaluation_options import EvaluationOptions
from jaxgan.training.usage import UsageError, command_line, require

__all__ = ["Options", "alike", "differing", "name_of", "parse"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Options(DataOptions, DeviceOptions, EvaluationOptions):
    """An experiment's own options are fields of a frozen dataclass that inherits these."""

    steps: int = 3000
    """Generator updates, counted from the beginning of the run."""
    batch_size: int = 64
    """Images in a batch."""
    seed: int = 0
    """Everything random follows from it."""
    seeds: int = 1
    """Train so many GANs at once in one program, with seeds from --seed on."""
    sweep: str | None = None
    """NAME=VALUE,VALUE,...: train one GAN, or --seeds of them, for each value of a number that the run's state has by
    that name, such as discriminator/learning_rate=1e-4,2e-4,4e-4."""
    workdir: str | None = None
    """The run directory; a run that is in it is continued. By default a new one, runs/EXPERIMENT-TIME."""
    checkpoint_every: int = 500
    """Generator updates between two checkpoints."""
    sample_every: int = 250
    """Generator updates between two sample grids."""
    fresh: bool = False
    """Start a new run, and refuse a run directory that holds one."""
    from_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A run whose state a new one begins with, in a directory of its own. The seed, and numbers such as learning rates,
    are the new one's."""
    step: int | None = None
    """Which of its checkpoints, with --from; by default the newest."""

    dry_run: bool = False
    """Say what the run would cost (networks, memory, time) and don't start it."""

    def __post_init__(self) -> None:
        DataOptions.__post_init__(self)
        DeviceOptions.__post_init__(self)
        EvaluationOptions.__post_init__(self)
        for name in ("steps", "batch_size", "checkpoint_every", "sample_every", "seeds"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        require(self, "seed", 0 <= self.seed <= 2**32 - self.seeds, "from 0 to 2^32 - --seeds")
        require(self, "dry_run", not (self.dry_run and self.coordinator), "used without --coordinator")
        require(self, "step", self.step is None or self.from_run is not None, "given together with --from")

    # What a continued run may have otherwise than before: nothing here changes a number that it computes, but for the
    # rounding of sums that other devices add in another order.
    # (Whether a data set elsewhere is the same one is for its content to say: see DataSpec.)
    MAY_CHANGE = (
        *("steps", "workdir", "checkpoint_every", "sample_every", "fresh", "dry_run"),
        *("dataset", "data_dir", "skip_bad_images", "workers"),
        *("metrics", "feature_network", "inception_weights", "eval_every", "eval_samples"),
        *("devices", "shard_parameters", "deterministic", "coordinator", "processes", "process"),
    )


def alike(options: Options) -> dict[str, Any]:
    """What processes that train together must have in common; where they find the data is each one's own affair."""
    own = ("process", "dataset", "data_dir", "workers", "workdir", "from_run")
    return {flag(name): value for name, value in dataclasses.asdict(options).items() if name not in own}


def differing(mine: Options, theirs: dict[str, Any]) -> list[str]:
    """Where two runs' options contradict each other, as texts `--name value (the run has other)`."""
    fields = [field for field in dataclasses.fields(mine) if field.name not in mine.MAY_CHANGE]
    # An option that is younger than the run had its default there.
    pairs = [(field.name, getattr(mine, field.name), theirs.get(field.name, field.default)) for field in fields]
    return [f"--{flag(name)} {one} (the run has {other})" for name, one, other in pairs if one != other]


def flag(name: str) -> str:
    """An option's name on a command line, where `from` can be one, which no field of Python's can."""
    return "from" if name == "from_run" else name.replace("_", "-")


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
    # A repeated run is a new one, in a directory and perhaps on machines of its own.
    left_out = ("workdir", "fresh", "coordinator", "processes", "process")
    flags = {flag(name): value for name, value in values.items() if name not in left_out}
    given = {name: value for name, value in flags.items() if value is not None and value is not False}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]
