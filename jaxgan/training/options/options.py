"""The options that every experiment has, and how they come from a command line or a file."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from jaxgan.nearest import perhaps
from jaxgan.training.errors.usage import either, flag, require, shown
from jaxgan.training.options.data import DataOptions
from jaxgan.training.options.devices import DeviceOptions
from jaxgan.training.options.evaluation import EvaluationOptions
from jaxgan.training.options.fields import bounded, checked
from jaxgan.training.options.optimizer import OptimizerOptions, schedule_length
from jaxgan.training.options.sweep import MOST, swept

__all__ = [
    "RENAMED",
    "Options",
    "alike",
    "as_named_now",
    "differing",
    "name_of",
    "of_preset",
    "of_record",
]

T = TypeVar("T", bound="Options")

RENAMED = {"size": "preset", "eval_samples": "eval_count"}  # options that there were, as runs' records have them


@dataclasses.dataclass(frozen=True)
class Options(DataOptions, OptimizerOptions, EvaluationOptions, DeviceOptions):
    """Options of every experiment; its own are fields of a frozen dataclass that inherits these."""

    GROUP: ClassVar[str] = "run"
    OWN_GROUP: ClassVar[str] = "networks and terms, this experiment's own"
    TAKES: ClassVar[str | None] = None
    """The kind of examples that an experiment takes, "image", "points" or "vectors"; None for any."""
    SETS: ClassVar[tuple[str, ...]] = ()
    """The names of the sets that an experiment takes, where it takes several."""

    preset: str = "laptop"
    """Defaults of the other options: laptop; smoke, for tests; of some experiments paper."""
    seed: int = 0
    """Everything random follows from it."""
    seeds: int = bounded(1, at_least=1, at_most=MOST)
    """Train so many GANs at once in one program, with seeds from --seed on."""
    sweep: str | None = None
    """NAME=VALUE,VALUE,...: train one GAN, or --seeds of them, for each value of a number that the run's state has by
    that name, such as discriminator/learning_rate=1e-4,2e-4,4e-4."""
    workdir: str | None = None
    """The run directory; a run that is in it is continued. By default a new one, runs/EXPERIMENT-TIME."""
    checkpoint_every: int = bounded(500, at_least=1)
    """Generator updates between two checkpoints."""
    sample_every: int = bounded(250, at_least=1)
    """Generator updates between two sample grids."""
    log: Literal["wandb", "trackio"] | None = None
    """Send metrics and pictures to Weights & Biases or to trackio too (pip install wandb, pip install trackio), in a
    project of the name $WANDB_PROJECT, by default jaxgan."""
    fresh: bool = False
    """Start a new run, and refuse a run directory that holds one."""
    from_run: str | None = None
    """A run whose state a new one begins with, in a directory of its own. The seed, and numbers such as learning rates,
    are the new one's."""
    step: int | Literal["best"] | None = bounded(None, at_least=0)
    """Which of its checkpoints, with --from; best is that of a run with --eval-every. By default the newest."""
    players: tuple[str, ...] = ()
    """With --from: begin with these networks alone, such as discriminator, of a run of any experiment, as far as their
    arrays have the same paths and shapes; a table says which do. All else begins anew, at step 0."""

    dry_run: bool = False
    """Say what the run would cost (networks, memory, time) and don't start it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        presets = ("laptop", *self.PRESETS)
        require(self, "preset", self.preset in presets, either(presets), perhaps(self.preset, presets))
        require(self, "seed", 0 <= self.seed <= 2**32 - self.seeds, "from 0 to 2^32 - --seeds")
        swept(self)
        require(self, "dry_run", not (self.dry_run and self.coordinator), "used without --coordinator")
        for name, unused in (("step", None), ("players", ())):
            fits = getattr(self, name) == unused or self.from_run is not None
            require(self, name, fits, "given together with --from")
        require(self, "players", len(set(self.players)) == len(self.players), "names of players, each once")

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """The defaults of presets other than laptop, whose values are the fields' own: preset -> option -> value."""

    # What a continued run may have otherwise than before: nothing here changes a number that it computes, but for the
    # rounding of sums that other devices add in another order.
    # (Whether a data set elsewhere is the same one is for its content to say: see DataSpec.)
    MAY_CHANGE = (
        *("preset", "steps", "workdir", "checkpoint_every", "sample_every", "log", "fresh", "dry_run"),
        *("dataset", "data_dir", "skip_bad_images", "workers"),
        *("metrics", "feature_network", "inception_weights", "lpips_weights", "perceptual_network"),
        *("eval_every", "eval_count", "until"),
        *("devices", "shard_parameters", "deterministic", "coordinator", "processes", "process"),
        "schedule_images",  # what it comes to may not differ
    )


def of_preset(options_type: type[T], preset: str, **values: Any) -> T:
    """Returns the options of a preset with some other `values`, as `--preset` and other flags give them. UsageError
    where the experiment has no such preset."""
    return options_type(**{"preset": preset, **options_type.PRESETS.get(preset, {}), **values})


def as_named_now(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a run's record by their names of today; the record may be older than a name."""
    names = {name: RENAMED.get(name, name) for name in values}
    # Where a record has both, the older name is by now that of another option.
    return {name if new in values else new: values[name] for name, new in names.items()}


def of_record(options_type: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a run's record, by their names of today, as of the types that they have in this class; an
    option that is younger than the run has its default, one that is no more is as it was. UsageError for another type.
    """
    fields = dataclasses.fields(options_type)
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    return {**defaults, **checked(options_type, values)}


def alike(options: Options) -> dict[str, Any]:
    """Returns the options that all processes of a run must have in common; where they find the data may differ."""
    own = ("process", "dataset", "data_dir", "workers", "workdir", "from_run")
    return {flag(name): value for name, value in dataclasses.asdict(options).items() if name not in own}


def differing(mine: Options, theirs: dict[str, Any]) -> list[str]:
    """Returns the contradictions of two runs' options, as texts `--name value (the run has other)`. Another preset is
    no contradiction, but named where it may be why there are any."""
    fields = [field for field in dataclasses.fields(mine) if field.name not in mine.MAY_CHANGE]
    # An option that is younger than the run had its default there.
    pairs = [(field.name, getattr(mine, field.name), theirs.get(field.name, field.default)) for field in fields]
    lengths = schedule_length(vars(mine)), schedule_length(theirs)
    if all(lengths):
        pairs.append(("schedule_images", *lengths))
    wrong = [pair for pair in pairs if pair[1] != pair[2]]
    if wrong and mine.preset != (preset := theirs.get("preset", "laptop")):
        wrong.insert(0, ("preset", mine.preset, preset))
    return [f"--{flag(name)} {shown(one)} (the run has {shown(other)})" for name, one, other in wrong]


def name_of(thing: Any) -> str:
    """Returns the module of a function or class, as `python -m` takes it, or the path of a script that was run by its
    path; "__main__" in a notebook."""
    name: str = thing.__module__
    if name == "__main__":
        main = sys.modules["__main__"]
        if main.__spec__:
            return main.__spec__.name
        file = getattr(main, "__file__", None)  # a notebook has none
        return str(Path(file).resolve()) if file else name
    return name
