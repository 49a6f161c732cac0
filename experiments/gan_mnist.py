"""The first GAN of the tutorials, dense layers only, on MNIST. Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661

What it should reach: single strokes after some thousand steps, then digits, most of them readable and with specks of
noise, as dense generators leave them.

    python -m experiments.gan_mnist
    python -m experiments.gan_mnist --widths 128 256 512 1024 --activation relu --latents uniform
    python -m experiments.gan_mnist --convolutions 64

The first takes 11 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

Generator 100 - 256 - 512 - 1024 - 784 with LeakyReLU 0.2 and tanh, discriminator 784 - 1024 - 512 - 256 - 1 with
LeakyReLU 0.2 and dropout 0.3, as tutorials have them. What differs from them: logits and softplus instead of
a sigmoid and its logarithm, beta1 0.5 (--beta1 0.9 is theirs), and an average of the generator's weights.

The other lines are other tutorials': four hidden layers, and ReLU in both players; and a discriminator of 5×5
convolutions with stride 2 and dropout, without batch normalisation, of 64 and 128 channels at 28 pixels and of 64, 128,
256 and 512 at 64, beside --widths 256 512 1024 4096.
"""

import dataclasses
from typing import ClassVar, Literal

import flax.linen as nn

from jaxgan import d_loss, g_loss, latents
from jaxgan.data.transform import FitOrTiles
from jaxgan.losses import non_saturating
from jaxgan.networks import dcgan
from jaxgan.networks.mlp import Discriminator, Generator, leaky_relu
from jaxgan.samplers import uniform_latents
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.errors.usage import UsageError, either
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
    widths: tuple[int, ...] = bounded((), at_least=1)
    """Units of the generator's hidden layers, which a dense discriminator has from the last to the first, instead of
    three by --width."""
    activation: Literal["leaky_relu", "relu"] = "leaky_relu"
    """What follows a hidden dense layer, of both players; LeakyReLU has the slope 0.2."""
    latents: Literal["normal", "uniform"] = "normal"
    """Whether latents are drawn from N(0, 1) or uniform in [-1, 1)."""
    convolutions: int | None = bounded(None, at_least=1)
    """Channels of the first layer of a convolutional discriminator, which doubles them as it halves the image; by
    default it is dense."""
    dropout: float = bounded(0.3, at_least=0, below=1)
    """The share of the discriminator's activations that is dropped in training."""

    TAKES: ClassVar = "image"
    PRESETS: ClassVar = {
        "paper": {"steps": 47_000},  # 50 epochs, as tutorials have it
        "smoke": {"dataset": "digits", "steps": 2, "batch_size": 8, "latent_size": 8, "width": 4},
    }


def networks(options: Options, data: DataSpec) -> tuple[nn.Module, nn.Module]:
    """The generator and the discriminator."""
    dtype, activation = options.compute_dtype, {"leaky_relu": leaky_relu, "relu": nn.relu}[options.activation]
    widths = options.widths or (options.width, 2 * options.width, 4 * options.width)
    generator = Generator(data.shape, widths, dtype, bounded=True, activation=activation)
    if options.convolutions is None:
        return generator, Discriminator(widths[::-1], dtype, dropout=options.dropout, activation=activation)
    height, width, _ = data.shape
    if height != width or height not in dcgan.SIZES:
        raise UsageError(
            f"--convolutions takes square images of {either(dcgan.SIZES)} pixels, got {height}×{width}; name another "
            "--image-size, such as 28, or leave it out"
        )
    return generator, dcgan.Discriminator(options.convolutions, dtype, norm=None, dropout=options.dropout, kernel=5)


def build(options: Options, data: DataSpec) -> GAN:
    terms = [d_loss(non_saturating)], [g_loss(non_saturating)]
    sampler = {"normal": latents, "uniform": uniform_latents}[options.latents]
    return compose(options, data, networks(options, data), sampler(options.latent_size), *terms, updates="joint")


if __name__ == "__main__":
    main(Options, build)
