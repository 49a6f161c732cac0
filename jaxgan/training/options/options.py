"""The options that every experiment has, and how they come from a command line or a file."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import tyro

from jaxgan.training.errors.usage import require
from jaxgan.training.options.data import DataOptions
from jaxgan.training.options.devices import DeviceOptions
from jaxgan.training.options.evaluation import EvaluationOptions
from jaxgan.training.options.optimizer import OptimizerOptions, schedule_length

__all__ = ["Options", "alike", "differing", "name_of", "of_size"]

T = TypeVar("T", bound="Options")


@dataclasses.dataclass(frozen=True)
class Options(DataOptions, DeviceOptions, EvaluationOptions, OptimizerOptions):
    """An experiment's own options are fields of a frozen dataclass that inherits these."""

    size: str = "laptop"
    """The experiment's size, which sets the defaults of other options. Some have paper too; smoke is for tests."""
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
    step: int | Literal["best"] | None = None
    """Which of its checkpoints, with --from; best is that of a run with --eval-every. By default the newest."""

    dry_run: bool = False
    """Say what the run would cost (networks, memory, time) and don't start it."""

    def __post_init__(self) -> None:
        DataOptions.__post_init__(self)
        DeviceOptions.__post_init__(self)
        EvaluationOptions.__post_init__(self)
        OptimizerOptions.__post_init__(self)
        require(self, "size", self.size in ("laptop", *self.SIZES), " or ".join(("laptop", *self.SIZES)))
        for name in ("checkpoint_every", "sample_every", "seeds"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        require(self, "seed", 0 <= self.seed <= 2**32 - self.seeds, "from 0 to 2^32 - --seeds")
        require(self, "dry_run", not (self.dry_run and self.coordinator), "used without --coordinator")
        require(self, "step", self.step is None or self.from_run is not None, "given together with --from")

    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """What other sizes than laptop, whose values are the fields' own, have as defaults: size -> option -> value."""

    # What a continued run may have otherwise than before: nothing here changes a number that it computes, but for the
    # rounding of sums that other devices add in another order.
    # (Whether a data set elsewhere is the same one is for its content to say: see DataSpec.)
    MAY_CHANGE = (
        *("size", "steps", "workdir", "checkpoint_every", "sample_every", "fresh", "dry_run"),
        *("dataset", "data_dir", "skip_bad_images", "workers"),
        *("metrics", "feature_network", "inception_weights", "lpips_weights", "eval_every", "eval_samples"),
        *("devices", "shard_parameters", "deterministic", "coordinator", "processes", "process"),
        "schedule_images",  # what it comes to may not differ
    )


def of_size(options_type: type[T], size: str, **values: Any) -> T:
    """The options of a size, but for some values, as `--size` and other flags give them. UsageError where the
    experiment has no such size."""
    return options_type(**{"size": size, **options_type.SIZES.get(size, {}), **values})


def alike(options: Options) -> dict[str, Any]:
    """What processes that train together must have in common; where they find the data is each one's own affair."""
    own = ("process", "dataset", "data_dir", "workers", "workdir", "from_run")
    return {flag(name): value for name, value in dataclasses.asdict(options).items() if name not in own}


def differing(mine: Options, theirs: dict[str, Any]) -> list[str]:
    """Where two runs' options contradict each other, as texts `--name value (the run has other)`. Another size is no
    contradiction, but named where it may be why there are any."""
    fields = [field for field in dataclasses.fields(mine) if field.name not in mine.MAY_CHANGE]
    # An option that is younger than the run had its default there.
    pairs = [(field.name, getattr(mine, field.name), theirs.get(field.name, field.default)) for field in fields]
    lengths = schedule_length(vars(mine)), schedule_length(theirs)
    if all(lengths):
        pairs.append(("schedule_images", *lengths))
    wrong = [pair for pair in pairs if pair[1] != pair[2]]
    if wrong and mine.size != (size := theirs.get("size", "laptop")):
        wrong.insert(0, ("size", mine.size, size))
    return [f"--{flag(name)} {one} (the run has {other})" for name, one, other in wrong]


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
