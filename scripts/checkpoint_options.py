"""The options that commands on a run share, and how they open it."""

import dataclasses
import inspect
from pathlib import Path
from typing import ClassVar, Literal

from jaxgan.terminal import say
from jaxgan.training import OpenRun, open  # noqa: A004 - the library's name for it
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.fields import Bounded, bounded
from jaxgan.training.recipe.gan import Weights
from jaxgan.training.recipe.loading import Given
from jaxgan.training.recipe.members import Member
from jaxgan.training.run.experiment import load_experiment
from jaxgan.training.scoring.real_data import RealData

__all__ = [
    "CheckpointOptions",
    "MemberOptions",
    "data_of",
    "open_checkpoint",
    "takes",
    "threshold_of",
    "truncation_of",
    "undiverged",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemberOptions(Bounded):
    """Which GAN of a run, at which checkpoint."""

    GROUP: ClassVar[str] = "checkpoint"

    experiment: str | None = None
    """The run's experiment where it is none of jaxgan's: its file, my_gan.py, or module, as python runs it. It is
    executed."""
    step: int | Literal["best"] | None = bounded(None, at_least=0)
    """Which checkpoint, best being that of a run with --eval-every; by default the newest."""
    member: int | None = bounded(None, at_least=0)
    """Which GAN of a run with --seeds or --sweep."""
    weights: Weights = "ema"
    """ema, the generator's averaged weights, raw, those of the last step, or of a run with --power-ema one of its
    widths, 0.05."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointOptions(MemberOptions):
    """Which GAN of a run, at which checkpoint, and what it draws."""

    GROUP: ClassVar[str] = "checkpoint"

    seed: int = bounded(0, at_least=0, at_most=2**32 - 1)
    """The seed of the latents."""
    standing_statistics: int = bounded(0, at_least=0, at_most=1_000_000)
    """Batches, such as 100, over which batch statistics are estimated again before anything is drawn; 0 takes those of
    training."""


def open_checkpoint(directory: Path, options: MemberOptions, data: Given | None = None) -> OpenRun:
    """Opens the run in a directory as the options say, see `jaxgan.training.open`, and says so first. Of options with a
    `data_dir` it is where the run's data are looked for, by default the run's own."""
    say(f"reading {directory} ...")
    build = None if options.experiment is None else load_experiment(options.experiment)
    run = open(directory, options.step, member=options.member, data=data, build=build)
    for name in options.weights.split(","):  # of which some commands take several
        run.named_weights(name)
    if data_dir := getattr(options, "data_dir", None):
        run = dataclasses.replace(run, options=dataclasses.replace(run.options, data_dir=data_dir))
    batches = options.standing_statistics if isinstance(options, CheckpointOptions) else 0
    return run.with_standing_statistics(batches) if batches else run


def data_of(run: OpenRun) -> RealData:
    """Returns the data that a run was trained on. UsageError where they can't be had any more, or are other ones."""
    real = RealData.of_run(run.options, run.given)
    if real.spec.contents != run.data.contents:
        raise UsageError(f"{run.options.dataset} is not what {run.directory} was trained on")
    return real


def undiverged(run: OpenRun) -> list[Member]:
    """Returns the GANs of a run of several that haven't diverged, none of a run of one, and says which have. UsageError
    where all have."""
    whole = [member for member in run.members if not run.state.frozen[member.number]]
    if run.members and not whole:
        raise UsageError(f"all members of {run.directory} have diverged; name one, --member, to take it all the same")
    say(*(f"{member} has diverged and is left out" for member in run.members if member not in whole), error=True)
    return whole


def takes(run: OpenRun, name: str) -> bool:
    """Tells whether the experiment's `sample` can be asked for this."""
    return name in inspect.signature(run.alone.sample).parameters


def truncation_of(run: OpenRun, truncation: float) -> dict[str, float]:
    """Returns what the run's `sample` is asked for so that it truncates: nothing for 1. UsageError where it can't."""
    if truncation == 1:
        return {}
    if not takes(run, "truncation"):
        raise UsageError(f"--truncation: the samples of {run.directory} have no mean that they could be moved towards")
    return {"truncation": truncation}


def threshold_of(run: OpenRun, threshold: float | None) -> dict[str, float]:
    """Returns what the run's `sample` is asked for so that latents stay within a threshold: nothing for None.
    UsageError where it can't."""
    if threshold is None:
        return {}
    latents = run.alone.latents if takes(run, "latent_threshold") else None
    if latents is None or "threshold" not in inspect.signature(latents.draw).parameters:
        raise UsageError(
            f"--latent-threshold: the samples of {run.directory} don't come from latents that are all normal numbers"
        )
    return {"latent_threshold": threshold}
