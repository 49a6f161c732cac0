"""Wasserstein GAN with weight clipping on MNIST. Arjovsky, Chintala & Bottou 2017, https://arxiv.org/abs/1701.07875

What it should reach: digits, later than DCGAN's, and a loss of the critic that falls as they get better: minus it is
the estimate of the Wasserstein distance that the paper plots.

    python -m experiments.wgan_mnist

It takes 14 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

Algorithm 1 of the paper: five critic steps on fresh batches for one of the generator, RMSprop 5e-5, weights clipped
to ±0.01, batch 64. Networks of `experiments.dcgan_mnist` with 32 features, batch norm in both, as in the authors'
code; `--size paper` has 64 and the steps of the paper's figures.
"""

import dataclasses
from typing import ClassVar, Literal

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss, latents
from jaxgan.losses import wasserstein
from jaxgan.penalties import clip_weights
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.errors.usage import require


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "rmsprop"
    learning_rate: float = 5e-5
    features: int = 32
    critic_steps: int = 5
    """Updates of the critic for one of the generator, each on images of its own."""
    clip: float = 0.01
    """What the critic's weights are clipped to, either way."""

    SIZES: ClassVar = {
        "paper": {"steps": 100_000, "features": 64, "checkpoint_every": 5000, "sample_every": 5000},
        "smoke": {**dcgan_mnist.Options.SIZES["smoke"], "critic_steps": 2},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "critic_steps", self.critic_steps >= 1, "at least 1")
        require(self, "clip", 0 < self.clip < float("inf"), "above 0 and finite")


def build(options: Options, data: DataSpec) -> GAN:
    return compose(
        options,
        data,
        dcgan_mnist.networks(options, data),
        latents(options.latent_size),
        [d_loss(wasserstein)],
        [g_loss(wasserstein)],
        critic_steps=options.critic_steps,
        project=clip_weights(options.clip),
    )


if __name__ == "__main__":
    main(Options, build)
