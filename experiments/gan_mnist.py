"""The first GAN of the tutorials, dense layers only, on MNIST. Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661

What it should reach: single strokes after some thousand steps, then digits, most of them readable and with specks of
noise, as dense generators leave them.

    python -m experiments.gan_mnist

It takes 11 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

Generator 100 - 256 - 512 - 1024 - 784 with LeakyReLU 0.2 and tanh, discriminator 784 - 1024 - 512 - 256 - 1 with
LeakyReLU 0.2 and dropout 0.3, as tutorials have them. What differs from them: logits and softplus instead of
a sigmoid and its logarithm, beta1 0.5 (--beta1 0.9 is theirs), and an average of the generator's weights.
"""

import dataclasses
from typing import ClassVar

import flax.linen as nn

from jaxgan import d_loss, g_loss, latents
from jaxgan.data.transform import FitOrTiles
from jaxgan.losses import non_saturating
from jaxgan.networks.mlp import Discriminator, Generator
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.options.data import Size
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    image_size: Size | None = 28
    fit: FitOrTiles = "pad"
    steps: int = 30_000
    batch_size: int = 64
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    checkpoint_every: int = 5000
    sample_every: int = 2500
    latent_size: int = bounded(100, at_least=1)
    """Numbers in a latent."""
    width: int = bounded(256, at_least=1)
    """Units of the smallest hidden layer; the others have twice and four times as many."""
    dropout: float = bounded(0.3, at_least=0, below=1)
    """The share of the discriminator's activations that is dropped in training."""

    TAKES: ClassVar = "image"
    PRESETS: ClassVar = {
        "paper": {"steps": 47_000},  # 50 epochs, as tutorials have it
        "smoke": {"dataset": "digits", "steps": 2, "batch_size": 8, "latent_size": 8, "width": 4},
    }


def build(options: Options, data: DataSpec) -> GAN:
    shape, dtype = data.shape, options.compute_dtype
    widths = (options.width, 2 * options.width, 4 * options.width)
    networks = (
        Generator(shape, widths, dtype, bounded=True, activation=lambda x: nn.leaky_relu(x, 0.2)),
        Discriminator(widths[::-1], dtype, dropout=options.dropout),
    )
    terms = [d_loss(non_saturating)], [g_loss(non_saturating)]
    return compose(options, data, networks, latents(options.latent_size), *terms, updates="joint")


if __name__ == "__main__":
    main(Options, build)
