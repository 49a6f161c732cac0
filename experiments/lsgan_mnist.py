"""DCGAN with other losses, least squares above all. Mao et al. 2017, https://arxiv.org/abs/1611.04076

What it should reach: digits like those of `dcgan_mnist` with least squares, hinge and the non-saturating loss; with
minimax less, as its gradient vanishes where the discriminator is sure.

    python -m experiments.lsgan_mnist
    python -m experiments.lsgan_mnist --loss hinge
    python -m experiments.lsgan_mnist --loss non_saturating --real-target 0.9 --flip-labels 0.05

The first takes 12 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

Networks and recipe of `experiments.dcgan_mnist`. Losses that hold logits against targets (least_squares,
non_saturating, minimax) can have them smoothed and flipped: one-sided smoothing is --real-target 0.9, two-sided
--fake-target 0.1 as well. Least squares with the paper's halves.
"""

import dataclasses
from typing import Literal

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss, latents, losses
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.errors.usage import require
from jaxgan.training.options.fields import bounded


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    loss: Literal["least_squares", "hinge", "minimax", "non_saturating"] = "least_squares"
    """The loss of both players."""
    real_target: float = bounded(1.0, above=0, at_most=1)
    """The target of the discriminator for real images, instead of 1."""
    fake_target: float = 0.0
    """The same for generated images, instead of 0."""
    flip_labels: float = bounded(0.0, at_least=0, at_most=0.5)
    """The share of images, real and generated, that the discriminator is told to be of the other kind."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "fake_target", 0 <= self.fake_target < self.real_target, "at least 0 and below --real-target")
        changed = (self.real_target, self.fake_target, self.flip_labels) != (1, 0, 0)
        require(self, "loss", self.loss != "hinge" or not changed, "one with targets, when targets are changed")


def build(options: Options, data: DataSpec) -> GAN:
    loss = getattr(losses, options.loss)
    smoothed = loss
    if (options.real_target, options.fake_target) != (1, 0):
        smoothed = losses.smoothed(loss, options.real_target, options.fake_target)
    terms = [d_loss(smoothed, options.flip_labels)], [g_loss(loss)]
    networks = dcgan_mnist.networks(options, data)
    return compose(options, data, networks, latents(options.latent_size), *terms, updates="joint")


if __name__ == "__main__":
    main(Options, build)
