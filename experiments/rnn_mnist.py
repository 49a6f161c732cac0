"""A recurrent generator draws MNIST's digits row by row. After C-RNN-GAN, Mogren 2016, https://arxiv.org/abs/1611.09904

What it should reach: digits whose strokes go on from row to row, and that a reader tells apart; less than a DCGAN's.

    python -m experiments.rnn_mnist

It is meant for ten minutes on two CPU cores.

A GRU of 256 units, which is given the latent before each of 28 rows, against the dense discriminator of
`experiments.gan_mnist`, with its loss and rates. The paper's generator makes music and its discriminator is recurrent
too; here only the generator is, so that what it does can be compared with a dense one.
"""

import dataclasses
from typing import ClassVar

from jaxgan import d_loss, g_loss, latents
from jaxgan.data.transform import FitOrTiles
from jaxgan.losses import non_saturating
from jaxgan.networks import mlp, recurrent
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.options.data import Size
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    image_size: Size | None = 28
    fit: FitOrTiles = "pad"
    steps: int = 15_000
    batch_size: int = 64
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    checkpoint_every: int = 2500
    sample_every: int = 2500
    latent_size: int = bounded(100, at_least=1)
    """Numbers in a latent."""
    units: int = bounded(256, at_least=1)
    """Numbers in the state of the recurrent cell."""
    width: int = bounded(256, at_least=1)
    """Units of the discriminator's last hidden layer; the others have four times and twice as many."""
    dropout: float = bounded(0.3, at_least=0, below=1)
    """The share of the discriminator's activations that is dropped in training."""

    TAKES: ClassVar = "image"
    PRESETS: ClassVar = {
        "paper": {"steps": 47_000, "units": 350},  # 50 epochs, with the units of the paper's cells; nobody has run it
        "smoke": {"dataset": "digits", "steps": 2, "batch_size": 8, "latent_size": 8, "units": 8, "width": 4},
    }


def build(options: Options, data: DataSpec) -> GAN:
    dtype, width = options.compute_dtype, options.width
    networks = (
        recurrent.Generator(data.shape, options.units, dtype),
        mlp.Discriminator((4 * width, 2 * width, width), dtype, dropout=options.dropout),
    )
    terms = [d_loss(non_saturating)], [g_loss(non_saturating)]
    return compose(options, data, networks, latents(options.latent_size), *terms, updates="joint")


if __name__ == "__main__":
    main(Options, build)
