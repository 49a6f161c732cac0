"""The options that commands on a run share."""

import dataclasses
from typing import ClassVar, Literal

from jaxgan.training.options.fields import Bounded, bounded
from jaxgan.training.recipe.gan import Weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointOptions(Bounded):
    """Which GAN of a run, at which checkpoint, and how it draws."""

    GROUP: ClassVar[str] = "checkpoint"

    step: int | Literal["best"] | None = bounded(None, at_least=0)
    """Which checkpoint, best being that of a run with --eval-every; by default the newest."""
    member: int | None = bounded(None, at_least=0)
    """Which GAN of a run with --seeds or --sweep."""
    weights: Weights = "ema"
    """The generator's averaged weights, or those of the last step."""
    seed: int = bounded(0, at_least=0, at_most=2**32 - 1)
    """The seed of the latents."""
