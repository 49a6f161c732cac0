"""A dense GAN on points of the plane. Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661

What it should reach: Gaussians of the ring are found, though not all of them, nor evenly: dropping modes is what these
sets were made to show (Metz et al. 2017, https://arxiv.org/abs/1611.02163). Pictures are in docs/results.md.

    python -m experiments.gan_ring
    python -m experiments.gan_ring --dataset grid

Two hidden layers of 128 in both players, latents of 16 numbers, non-saturating loss, batch 256, Adam 1e-3, beta1 0.5.
Samples are shown as their density in the square from -1.5 to 1.5.
"""

import dataclasses

import jax.numpy as jnp
import optax

from jaxgan import d_loss, g_loss, iteration, latents, make_joint_step
from jaxgan.losses import non_saturating
from jaxgan.networks.mlp import Discriminator, Generator
from jaxgan.training import GAN, DataSpec, generate_with, init_with, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.usage import require


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    dataset: str = "ring"
    steps: int = 10_000
    batch_size: int = 256
    checkpoint_every: int = 2000
    sample_every: int = 1000
    latent_size: int = 16
    """Numbers in a latent."""
    width: int = 128
    """Units of a hidden layer."""
    learning_rate: float = 1e-3
    """Adam's rate, for both players."""
    ema_half_life: float = 100_000.0
    """Points after which a weight counts half in the generator's average; 0 for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "latent_size", self.latent_size >= 1, "at least 1")
        require(self, "width", self.width >= 1, "at least 1")
        require(self, "learning_rate", 0 < self.learning_rate < float("inf"), "above 0 and finite")
        require(self, "ema_half_life", 0 <= self.ema_half_life < float("inf"), "at least 0 and finite")


def build(options: Options, data: DataSpec) -> GAN:
    shape = (data.size, data.size, data.channels)
    widths = (options.width, options.width)
    init = init_with(
        Generator(shape, widths, options.compute_dtype),
        Discriminator(widths, options.compute_dtype),
        optax.scale_by_adam(b1=0.5),
        jnp.zeros((1, options.latent_size)),
        jnp.zeros((1, *shape)),
        hyper={
            "generator/learning_rate": options.learning_rate,
            "discriminator/learning_rate": options.learning_rate,
            "ema_half_life": options.ema_half_life,
        },
    )
    sampler = latents(options.latent_size)
    step = make_joint_step(sampler, [d_loss(non_saturating)], [g_loss(non_saturating)])
    return GAN(init, iteration(step), options.batch_size, sampler, generate_with)


if __name__ == "__main__":
    main(Options, build)
