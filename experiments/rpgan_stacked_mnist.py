"""Relativistic pairing GAN with R1 and R2 on stacked MNIST: the loss of R3GAN. Huang et al. 2024,
https://arxiv.org/abs/2501.05441

What it should reach: all 1,000 modes without batch norm, packing or other tricks; in the paper R1 alone diverges.

    python -m experiments.rpgan_stacked_mnist
    python -m experiments.rpgan_stacked_mnist --r2 0
    python -m scripts.evaluate RUN --metrics modes

The first takes 4 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

Each real image is judged against one generated image; both penalties in every step, at γ/2 times the squared norm of
the gradient, so that --r1 and --r2 are the paper's γ. Adam without a first moment, no normalisation in either
network: DCGAN's shapes with He initialisation at 28 pixels and 32 features, in place of the paper's residual
networks.
"""

import dataclasses
import math
from typing import Any, ClassVar, Literal

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss, latents, losses
from jaxgan.terms import Term
from jaxgan.terms.penalties import GradientNorm, r1, r2
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.errors.usage import require
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    dataset: str = "stacked_mnist"
    image_size: dcgan_mnist.ImageSize = 28
    features: int = 32
    batch_size: int = 64
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.99
    loss: Literal["relativistic", "relativistic_average"] = "relativistic"
    """Judge an image against one of the other kind, or (average) against their mean."""
    r1: float = bounded(1.0, at_least=0, below=math.inf)
    """The gamma of the penalty on real images; its weight, half of it, is `r1` for --sweep."""
    r2: float = bounded(1.0, at_least=0, below=math.inf)
    """The gamma of the penalty on generated images; its weight, half of it, is `r2` for --sweep."""

    penalties: GradientNorm = "exact"
    """Compute the penalties, or estimate them along a random tangent: from the derivative or by finite differences."""

    PRESETS: ClassVar = {
        "paper": {"steps": 100_000, "features": 64, "checkpoint_every": 5000, "sample_every": 5000},
        "smoke": {**dcgan_mnist.Options.PRESETS["smoke"], "channels": 3},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require_precision(self)


def require_precision(options: Any) -> None:
    """Raises UsageError for penalties by differences of what is computed in bfloat16."""
    fits = options.penalties != "difference" or options.dtype == "float32"
    require(options, "penalties", fits, "exact or tangent with --dtype bfloat16, which rounds differences away")


def gradient_penalties(gammas: dict[str, float], by: GradientNorm = "exact") -> tuple[list[Term], dict[str, float]]:
    """The terms whose gamma isn't 0, of "r1" and "r2", and their weights by name."""
    weights = {name: gamma / 2 for name, gamma in gammas.items() if gamma}
    return [{"r1": r1, "r2": r2}[name](name, by=by) for name in weights], weights


def build(options: Options, data: DataSpec) -> GAN:
    loss = getattr(losses, options.loss)
    generator, discriminator = dcgan_mnist.networks(options, data, norm=None)
    terms, weights = gradient_penalties({"r1": options.r1, "r2": options.r2}, options.penalties)
    return compose(
        options,
        data,
        (generator.clone(norm=None), discriminator),
        latents(options.latent_size),
        [d_loss(loss), *terms],
        [g_loss(loss)],
        updates="joint",
        weights=weights,
    )


if __name__ == "__main__":
    main(Options, build)
