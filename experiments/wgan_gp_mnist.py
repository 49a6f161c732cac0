"""Wasserstein GAN with gradient penalty on MNIST. Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028

What it should reach: digits without batch norm in the critic, whose gradients between real and generated images come
to a norm near 1.

    python -m experiments.wgan_gp_mnist

It takes 14 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

Algorithm 1 of the paper: five critic steps on fresh batches for one of the generator, the penalty between each pair of
images, Adam with the authors' betas for MNIST (the algorithm's are 0 and 0.9). Networks of `experiments.dcgan_mnist`
with 32 features, no normalisation in the critic: tutorials keep batch norm there, under which each example's gradient
reaches into the others; here that is refused. `--preset paper` has 64 features and the authors' 200,000 steps.
"""

import dataclasses
import math
from typing import ClassVar

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss, latents
from jaxgan.losses import wasserstein
from jaxgan.terms.penalties import wgan_gp
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    steps: int = 2000
    batch_size: int = 64
    optimizer: OptimizerName = "adam"
    learning_rate: float = 1e-4
    beta1: float = 0.5
    beta2: float = 0.9
    features: int = 32
    critic_steps: int = bounded(5, at_least=1)
    """Updates of the critic for one of the generator, each on images of its own."""
    penalty: float = bounded(10.0, at_least=0, below=math.inf)
    """Weight of the gradient penalty; `penalty` for --sweep."""

    PRESETS: ClassVar = {
        "paper": {"steps": 200_000, "features": 64, "checkpoint_every": 5000, "sample_every": 5000},
        "smoke": {**dcgan_mnist.Options.PRESETS["smoke"], "critic_steps": 2},
    }


def build(options: Options, data: DataSpec) -> GAN:
    return compose(
        options,
        data,
        dcgan_mnist.networks(options, data, norm=None),
        latents(options.latent_size),
        [d_loss(wasserstein), wgan_gp("penalty")],
        [g_loss(wasserstein)],
        updates="joint" if options.critic_steps == 1 else "alternating",
        critic_steps=options.critic_steps,
        weights={"penalty": options.penalty},
    )


if __name__ == "__main__":
    main(Options, build)
