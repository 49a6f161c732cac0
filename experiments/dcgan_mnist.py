"""DCGAN on MNIST. Radford, Metz & Chintala 2016, https://arxiv.org/abs/1511.06434

What it should reach: after 1,000 steps most shapes are digits, after 3,000 (3.2 epochs) most are well written. Pictures
and measured numbers are in docs/results.md.

    python -m experiments.dcgan_mnist

takes six minutes on two CPU cores. Generator 100 - 4x4x256 - 8x8x128 - 16x16x64 - 32x32x1, discriminator the
mirror image, non-saturating loss, the paper's Adam; MNIST is padded from 28 to 32 pixels. Both players learn from one
generator pass, as in PyTorch's example. What is shown and sampled is an exponential average of the generator's weights,
which the paper doesn't have; `scripts.sample --weights raw` shows the others. --preset paper trains for 50 epochs, as
tutorials do.
"""

import dataclasses
from typing import ClassVar, Literal

from jaxgan import d_loss, g_loss, latents
from jaxgan.data.transform import FitOrTiles
from jaxgan.losses import non_saturating
from jaxgan.networks.dcgan import SIZES, Discriminator, Generator
from jaxgan.networks.layers import BatchNorm, Layer
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.errors.usage import either, require
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName

ImageSize = Literal[16, 28, 32, 64, 128]
FIFTY_EPOCHS = {"steps": 47_000, "checkpoint_every": 5000, "sample_every": 2500}  # of MNIST


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    image_size: ImageSize = 32
    fit: FitOrTiles = "pad"
    steps: int = 3000
    batch_size: int = 64
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    latent_size: int = bounded(100, at_least=1)
    """Numbers in a latent."""
    features: int = bounded(64, at_least=1)
    """Channels of the layers next to the image; deeper ones have twice as many each."""
    discriminator_features: int | None = bounded(None, at_least=1)
    """The discriminator's, by default --features."""

    TAKES: ClassVar = "image"
    PRESETS: ClassVar = {
        "paper": FIFTY_EPOCHS,
        "smoke": {"dataset": "digits", "steps": 2, "batch_size": 8, "image_size": 28, "features": 2, "latent_size": 8},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "image_size", self.image_size in SIZES, either(SIZES))


def networks(options: Options, data: DataSpec, *, norm: Layer | None = BatchNorm) -> tuple[Generator, Discriminator]:
    """The generator and the discriminator, the latter with this norm: gradient penalties need it without batch norm."""
    dtype = options.compute_dtype
    generator = Generator(data.size, data.channels, options.features, dtype)
    return generator, Discriminator(options.discriminator_features or options.features, dtype, norm=norm)


def build(options: Options, data: DataSpec) -> GAN:
    terms = [d_loss(non_saturating)], [g_loss(non_saturating)]
    return compose(options, data, networks(options, data), latents(options.latent_size), *terms, updates="joint")


if __name__ == "__main__":
    main(Options, build)
