"""The options that commands on a run share."""

import dataclasses
from typing import Literal

from jaxgan.training.recipe.gan import Weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointOptions:
    """Which GAN of a run, at which checkpoint, and how it draws."""

    step: int | Literal["best"] | None = None
    """Which checkpoint, best being that of a run with --eval-every; by default the newest."""
    member: int | None = None
    """Which GAN of a run with --seeds or --sweep."""
    weights: Weights = "ema"
    """The generator's averaged weights, or those of the last step."""
    seed: int = 0
    """The seed of the latents."""
