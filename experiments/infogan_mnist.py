"""InfoGAN on MNIST: codes that come to mean something, without labels. Chen et al. 2016,
https://arxiv.org/abs/1606.03657

What it should reach: one of ten codes goes, for the most part, with one digit each, and two continuous ones with
slant and width.

    python -m experiments.infogan_mnist
    python -m scripts.codes RUN --out codes.png

The first takes 14 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

Section 6 and appendix C.1 of the paper: 62 numbers of noise, a code with ten values, two uniform in [-1, 1]; Adam
with rates 1e-3 for the generator and 2e-4 for the discriminator, beta1 0.5. Networks of `experiments.dcgan_mnist`;
what the discriminator says of the codes comes from its own features through one hidden layer, and both players are
paid for it. Of continuous codes that is a squared error, as in the authors' code: with a deviation that is learned they
take over from the categorical one what tells digits apart.
"""

import dataclasses
from typing import ClassVar

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss
from jaxgan.losses import non_saturating
from jaxgan.networks.heads import Codes
from jaxgan.samplers import codes
from jaxgan.terms.auxiliary import information
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.errors.usage import require


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    generator_learning_rate: float | None = 1e-3
    latent_size: int = 62
    """Numbers of noise in a latent, beside the codes."""
    categories: int = 10
    """Values of the categorical code."""
    continuous: int = 2
    """Continuous codes."""
    information: float = 1.0
    """Weight of the codes' information, for both players; `information` for --sweep."""

    SIZES: ClassVar = {
        # The authors' code for MNIST: 50 times 100 updates.
        "paper": {"steps": 5000, "batch_size": 128, "generator_learning_rate": 1e-3},
        "smoke": dcgan_mnist.Options.SIZES["smoke"],
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "categories", self.categories >= 2, "at least 2")
        require(self, "continuous", self.continuous >= 0, "at least 0")
        require(self, "information", 0 <= self.information < float("inf"), "at least 0 and finite")


def build(options: Options, data: DataSpec) -> GAN:
    generator, discriminator = dcgan_mnist.networks(options, data)
    return compose(
        options,
        data,
        (generator, discriminator.clone(head=Codes((options.categories,), options.continuous, unit_std=True))),
        codes(options.latent_size, (options.categories,), options.continuous),
        [d_loss(non_saturating), information("information")],
        [g_loss(non_saturating), information("information")],
        weights={"information": options.information},
    )


if __name__ == "__main__":
    main(Options, build)
