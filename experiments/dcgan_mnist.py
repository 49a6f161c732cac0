"""DCGAN on MNIST. Radford, Metz & Chintala 2016, https://arxiv.org/abs/1511.06434

What it should reach: after 1,000 steps most shapes are digits, after 3,000 (3.2 epochs) most are well written. Pictures
and measured numbers are in docs/results.md.

    python -m experiments.dcgan_mnist

takes six minutes on two CPU cores. Generator 100 - 4x4x256 - 8x8x128 - 16x16x64 - 32x32x1, discriminator the
mirror image, non-saturating loss, batch 64, Adam 2e-4 with beta1 0.5, as in the paper; MNIST is padded from 28 to 32
pixels. Both players learn from one generator pass, as in PyTorch's example. What is shown and sampled is an
exponential average of the generator's weights, which the paper doesn't have; `scripts.sample --weights raw` shows the
others.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp
import optax

from jaxgan import d_loss, g_loss, iteration, latents, make_joint_step
from jaxgan.data.prepare import Fit
from jaxgan.losses import non_saturating
from jaxgan.networks.dcgan import SIZES, Discriminator, Generator
from jaxgan.training import GAN, DataSpec, generate_with, init_with, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.usage import require


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    image_size: Literal[28, 32, 64, 128] = 32
    fit: Fit = "pad"
    latent_size: int = 100
    """Numbers in a latent."""
    features: int = 64
    """Channels of the layers next to the image; deeper ones have twice as many each."""
    learning_rate: float = 2e-4
    """Adam's rate, for both players."""
    beta1: float = 0.5
    """Adam's first momentum."""
    ema_half_life: float = 10_000.0
    """Images after which a weight counts half in the generator's average; 0 for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "image_size", self.image_size in SIZES, f"one of {SIZES}")
        require(self, "latent_size", self.latent_size >= 1, "at least 1")
        require(self, "features", self.features >= 1, "at least 1")
        require(self, "learning_rate", 0 < self.learning_rate < float("inf"), "above 0 and finite")
        require(self, "beta1", 0 <= self.beta1 < 1, "at least 0 and below 1")
        require(self, "ema_half_life", 0 <= self.ema_half_life < float("inf"), "at least 0 and finite")


def build(options: Options, data: DataSpec) -> GAN:
    init = init_with(
        Generator(data.size, data.channels, options.features, options.compute_dtype),
        Discriminator(options.features, dtype=options.compute_dtype),
        optax.scale_by_adam(b1=options.beta1),
        jnp.zeros((1, options.latent_size)),
        jnp.zeros((1, data.size, data.size, data.channels)),
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
