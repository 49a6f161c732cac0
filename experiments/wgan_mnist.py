"""Wasserstein GAN with weight clipping on MNIST. Arjovsky, Chintala & Bottou 2017, https://arxiv.org/abs/1701.07875

What it should reach: digits, later than DCGAN's, and a loss of the critic that falls as they get better: minus it is
the estimate of the Wasserstein distance that the paper plots.

    python -m experiments.wgan_mnist

It takes 14 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

Algorithm 1 of the paper: five critic steps on fresh batches for one of the generator, RMSprop, clipped weights.
Networks of `experiments.dcgan_mnist` with 32 features, batch norm in both, as in the authors' code; `--preset paper`
has 64 and the steps of the paper's figures.
"""

import dataclasses
import math
from typing import ClassVar

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss, latents
from jaxgan.losses import wasserstein
from jaxgan.penalties import clip_weights
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    batch_size: int = 64
    optimizer: OptimizerName = "rmsprop"
    learning_rate: float = 5e-5
    features: int = 32
    critic_steps: int = bounded(5, at_least=1)
    """Updates of the critic for one of the generator, each on images of its own."""
    clip: float = bounded(0.01, above=0, below=math.inf)
    """The bound to which the critic's weights are clipped, either way."""

    PRESETS: ClassVar = {
        "paper": {"steps": 100_000, "features": 64, "checkpoint_every": 5000, "sample_every": 5000},
        "smoke": {**dcgan_mnist.Options.PRESETS["smoke"], "critic_steps": 2},
    }


def build(options: Options, data: DataSpec) -> GAN:
    return compose(
        options,
        data,
        dcgan_mnist.networks(options, data),
        latents(options.latent_size),
        [d_loss(wasserstein)],
        [g_loss(wasserstein)],
        updates="joint" if options.critic_steps == 1 else "alternating",
        critic_steps=options.critic_steps,
        project=clip_weights(options.clip),
    )


if __name__ == "__main__":
    main(Options, build)
