"""Cures for mode collapse on points of the plane, unrolled steps above all. Metz et al. 2017,
https://arxiv.org/abs/1611.02163

What it should reach: all eight modes of the ring, where the same GAN without unrolling rotates or drops modes (figure
2 of the paper).

    python -m experiments.unrolled_ring
    python -m experiments.unrolled_ring --unroll 0
    python -m experiments.unrolled_ring --unroll 0 --pack 2
    python -m experiments.unrolled_ring --unroll 0 --loss relativistic --r1 1 --r2 1
    python -m experiments.unrolled_ring --unroll 0 --minibatch 16
    python -m scripts.field RUN --out field.png

The first takes 2.7 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

The generator's gradient flows through --unroll updates of the discriminator, Adam's included; the discriminator itself
learns as ever. Beside it stand packing (Lin et al. 2018, arXiv 1712.04086), the relativistic loss with both gradient
penalties (Huang et al. 2024, arXiv 2501.05441), minibatch discrimination, feature matching and historical averaging
(Salimans et al. 2016, arXiv 1606.03498), and minibatch standard deviation (Karras et al. 2018, arXiv 1710.10196); they
go together. Networks and recipe of `experiments.gan_ring`; --dataset grid has 25 modes.
"""

import dataclasses
import math
from typing import ClassVar, Literal

import flax.linen as nn

from experiments import gan_ring
from experiments.rpgan_stacked_mnist import gradient_penalties
from jaxgan import d_loss, g_loss, latents, losses, make_d_step
from jaxgan.networks.minibatch import MinibatchDiscrimination, MinibatchStdDev
from jaxgan.samplers import pack
from jaxgan.terms.adversarial import unrolled
from jaxgan.terms.regularizers import feature_matching, historical_averaging
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.errors.usage import require
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import schedule

KERNELS = 5  # numbers that one measure compares, as in the code of Salimans et al.
EPS_ROOT = 1e-12  # under Adam's root, through which the generator's gradient flows


@dataclasses.dataclass(frozen=True)
class Options(gan_ring.Options):
    unroll: int = bounded(5, at_least=0)
    """Discriminator steps that the generator looks ahead; 0 for none."""
    pack: int = 1
    """Points that the discriminator judges together; a divisor of the batch."""
    loss: Literal["non_saturating", "relativistic", "relativistic_average"] = "non_saturating"
    """The loss of both players."""
    r1: float = bounded(0.0, at_least=0, below=math.inf)
    """The gamma of the penalty on real points; its weight, half of it, is `r1` for --sweep."""
    r2: float = bounded(0.0, at_least=0, below=math.inf)
    """The gamma of the penalty on generated points; its weight, half of it, is `r2` for --sweep."""

    minibatch: int = bounded(0, at_least=0)
    """Measures of minibatch discrimination, which the discriminator is shown beside its features; 0 for none."""
    minibatch_std: int = bounded(0, at_least=0)
    """Examples (or packs) in a group whose standard deviation the discriminator is shown; 0 for none."""
    feature_matching: float = bounded(0.0, at_least=0, below=math.inf)
    """Weight of feature matching beside the generator's loss; `feature_matching` for --sweep."""
    historical_averaging: float = bounded(0.0, at_least=0, below=math.inf)
    """Weight of historical averaging, for both players; `historical_averaging` for --sweep."""

    PRESETS: ClassVar = {
        "paper": gan_ring.Options.PRESETS["paper"],
        "smoke": {
            **gan_ring.Options.PRESETS["smoke"],
            "unroll": 2,
            "pack": 2,
            "r1": 1.0,
            "minibatch": 2,
            "minibatch_std": 2,
            "feature_matching": 1.0,
            "historical_averaging": 0.1,
        },
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        smooth = not self.unroll or self.optimizer != "rmsprop"
        require(self, "optimizer", smooth, "another one with --unroll: RMSprop has no derivative where a gradient is 0")
        parts = self.batch_size // self.accumulate
        divides = self.pack >= 1 and parts % self.pack == 0
        require(self, "pack", divides, f"a divisor of {parts}, the points of a batch (of a part, with --accumulate)")
        seen = parts // self.pack
        divides = seen % (self.minibatch_std or 1) == 0
        require(self, "minibatch_std", divides, f"0 or a divisor of {seen}, which the discriminator sees at once")


def build(options: Options, data: DataSpec) -> GAN:
    loss, sampler, prepare = getattr(losses, options.loss), latents(options.latent_size), pack(options.pack)
    generator, discriminator = gan_ring.networks(options, data)
    layers: list[nn.Module] = [MinibatchDiscrimination(options.minibatch, KERNELS)] if options.minibatch else []
    layers += [MinibatchStdDev(options.minibatch_std)] if options.minibatch_std else []
    if layers:
        discriminator = discriminator.clone(minibatch=nn.Sequential(layers) if layers[1:] else layers[0])
    terms, weights = gradient_penalties({"r1": options.r1, "r2": options.r2})
    d_terms, g_more = [d_loss(loss), *terms], []
    if options.feature_matching:
        g_more.append(feature_matching("feature_matching"))
        weights["feature_matching"] = options.feature_matching
    if options.historical_averaging:
        d_terms.append(historical_averaging("discriminator", "historical_averaging"))
        g_more.append(historical_averaging("generator", "historical_averaging"))
        weights["historical_averaging"] = options.historical_averaging
    g_term = g_loss(loss)
    if options.unroll:
        d_step = make_d_step(sampler, d_terms, prepare=prepare, schedule=schedule(options))
        g_term = unrolled(loss, d_step, options.unroll)
    return compose(
        options,
        data,
        (generator, discriminator),
        sampler,
        d_terms,
        [g_term, *g_more],
        updates="joint",
        weights=weights,
        eps_root=EPS_ROOT if options.unroll else 0.0,
        prepare=prepare,
    )


if __name__ == "__main__":
    main(Options, build)
