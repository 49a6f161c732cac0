"""The tutorials' GAN of vectors: dense layers and a sigmoid, on tables of data. Goodfellow et al. 2014,
https://arxiv.org/abs/1406.2661

What it should reach: the histograms of all columns, also of one with two values, if not the spikes of one that was
rounded. After 10,000 steps the Fréchet distance of its vectors to the 442 rows of `diabetes` is 0.58, where it is 0.41
between two halves of these (`scripts.evaluate`, in units of the columns' standard deviations; docs/results.md).

    python -m experiments.gan_vectors
    python -m experiments.gan_vectors --dataset csv:table.csv
    python -m scripts.sample RUN --count 1000 --out drawn.csv

The first takes 20 seconds on two cores of an AMD EPYC.

Generator 100 - 128 - 128 - D with LeakyReLU 0.2 and a sigmoid, whose range from 0 to 1 is that of each column of the
data, discriminator D - 128 - 128 - 1 with LeakyReLU 0.2. With --layers 0 it is the toy of the tutorials, G(z) = σ(Wz +
b) against D(x) = σ(wᵀx + b): such a D tells means apart and nothing else, so that spreads aren't learned.
"""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax

from jaxgan import d_loss, g_loss, latents
from jaxgan.losses import non_saturating
from jaxgan.networks.mlp import Discriminator, Generator
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    dataset: str = "diabetes"
    steps: int = 10_000
    batch_size: int = 64
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    checkpoint_every: int = 2000
    sample_every: int = 1000
    latent_size: int = bounded(100, at_least=1)
    """Numbers in a latent."""
    width: int = bounded(128, at_least=1)
    """Units of a hidden layer."""
    layers: int = bounded(2, at_least=0)
    """Hidden layers of each player; 0 is the toy of the tutorials."""

    TAKES: ClassVar = "vectors"
    PRESETS: ClassVar = {
        "paper": {"beta1": 0.9},  # as tutorials have it
        "smoke": {"steps": 2, "batch_size": 8, "latent_size": 4, "width": 8},
    }


class Sigmoid(nn.Module):
    """Dense layers whose output a sigmoid brings to [-1, 1], where networks' vectors lie."""

    layers: Generator

    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        return 2.0 * nn.sigmoid(self.layers(latent, condition, train=train)) - 1.0


def build(options: Options, data: DataSpec) -> GAN:
    if data.kind != "vectors":
        has = f"--dataset {data.name} has {data.medium.plural}"
        raise UsageError(f"{has}, and this experiment draws vectors: use csv:PATH or npz:PATH")
    widths, dtype = (options.width,) * options.layers, options.compute_dtype
    layers = Generator(data.shape, widths, dtype, activation=lambda x: nn.leaky_relu(x, 0.2))
    terms = [d_loss(non_saturating)], [g_loss(non_saturating)]
    networks = Sigmoid(layers), Discriminator(widths, dtype)
    return compose(options, data, networks, latents(options.latent_size), *terms, updates="joint")


if __name__ == "__main__":
    main(Options, build)
