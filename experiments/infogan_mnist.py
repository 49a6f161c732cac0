"""InfoGAN on MNIST: codes that come to mean something, without labels. Chen et al. 2016,
https://arxiv.org/abs/1606.03657

What it should reach: one of ten codes goes, for the most part, with one digit each, and two continuous ones with
slant and width.

    python -m experiments.infogan_mnist
    python -m scripts.codes RUN --out codes.png

The first takes 14 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

Section 6 and appendix C.1 of the paper: 62 numbers of noise, a code with ten values, two uniform in [-1, 1];
Adam, with a higher rate for the generator. Networks of `experiments.dcgan_mnist`; what the discriminator says of the
codes comes from its own features through one hidden layer, and both players are paid for it. Of continuous codes that
is a squared error, as in the authors' code: with a deviation that is learned they take over from the categorical one
what tells digits apart.
"""

import dataclasses
import math
from typing import ClassVar

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss
from jaxgan.losses import non_saturating
from jaxgan.networks.heads import Codes
from jaxgan.samplers import codes
from jaxgan.terms.auxiliary import information
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    batch_size: int = 64
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-4
    generator_learning_rate: float | None = 1e-3
    beta1: float = 0.5
    beta2: float = 0.999
    latent_size: int = 62
    """Numbers of noise in a latent, beside the codes."""
    categories: int = bounded(10, at_least=2)
    """Values of the categorical code."""
    continuous: int = bounded(2, at_least=0)
    """Continuous codes."""
    information: float = bounded(1.0, at_least=0, below=math.inf)
    """Weight of the codes' information, for both players; `information` for --sweep."""

    PRESETS: ClassVar = {
        # The authors' code for MNIST: 50 times 100 updates.
        "paper": {"steps": 5000, "batch_size": 128, "generator_learning_rate": 1e-3},
        "smoke": dcgan_mnist.Options.PRESETS["smoke"],
    }


def build(options: Options, data: DataSpec) -> GAN:
    generator, discriminator = dcgan_mnist.networks(options, data)
    return compose(
        options,
        data,
        (generator, discriminator.clone(head=Codes((options.categories,), options.continuous, unit_std=True))),
        codes(options.latent_size, (options.categories,), options.continuous),
        [d_loss(non_saturating), information("information")],
        [g_loss(non_saturating), information("information")],
        updates="joint",
        weights={"information": options.information},
    )


if __name__ == "__main__":
    main(Options, build)
