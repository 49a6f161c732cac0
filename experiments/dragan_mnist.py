"""DRAGAN on MNIST: a gradient penalty around the real images alone. Kodali et al. 2017,
https://arxiv.org/abs/1705.07215

What it should reach: digits like DCGAN's with one step of each player, no batch norm in the discriminator, and
gradients of a norm near 1 around the data.

    python -m experiments.dragan_mnist

With scores it takes 19 minutes on one core of an Intel Xeon beside another run; `--dry-run` says 8 minutes for two idle
ones. Pictures and numbers are in docs/results.md.

Non-saturating loss, networks and recipe of `experiments.dcgan_mnist`. The disturbance is half the batch's standard
deviation times uniform noise, as in the authors' code.
"""

import dataclasses
import math

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss, latents
from jaxgan.losses import non_saturating
from jaxgan.terms.penalties import dragan
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.options.fields import bounded


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    steps: int = 2500
    penalty: float = bounded(10.0, at_least=0, below=math.inf)
    """Weight of the gradient penalty; `penalty` for --sweep."""


def build(options: Options, data: DataSpec) -> GAN:
    return compose(
        options,
        data,
        dcgan_mnist.networks(options, data, norm=None),
        latents(options.latent_size),
        [d_loss(non_saturating), dragan("penalty")],
        [g_loss(non_saturating)],
        updates="joint",
        weights={"penalty": options.penalty},
    )


if __name__ == "__main__":
    main(Options, build)
