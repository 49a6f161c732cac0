"""Conditional GAN on MNIST: digits that are asked for. Mirza & Osindero 2014, https://arxiv.org/abs/1411.1784

What it should reach: at least nine of ten samples are read as the digit that was asked for, in many hands.

    python -m experiments.cgan_mnist
    python -m experiments.cgan_mnist --condition embed
    python -m experiments.cgan_mnist --condition projection
    python -m scripts.sample RUN --label 7 --out sevens.png

The first takes 14 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

Networks and recipe of `experiments.dcgan_mnist`. The label reaches both: concatenated as one-hot to the latent and,
as constant feature maps, to the image (concatenate, as in the paper), the same learned (embed), or as conditional
batch norm in the generator and a projection in the discriminator (projection; Miyato & Koyama 2018, arXiv 1802.05637,
with this experiment's loss).
"""

import dataclasses
import functools
from typing import Literal

import flax.linen as nn

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss
from jaxgan.losses import non_saturating
from jaxgan.networks.conditional import LabelledDiscriminator, LabelledGenerator
from jaxgan.networks.heads import Projection
from jaxgan.networks.layers import ConditionalBatchNorm
from jaxgan.samplers import labelled, labelled_latents
from jaxgan.training import GAN, DataSpec, compose, labels_needed, main


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    condition: Literal["concatenate", "embed", "projection"] = "concatenate"
    """How the label reaches the networks."""


def build(options: Options, data: DataSpec) -> GAN:
    classes = labels_needed(data)
    generator, discriminator = dcgan_mnist.networks(options, data)
    embed = options.condition == "embed"
    networks: tuple[nn.Module, nn.Module] = (
        LabelledGenerator(generator, classes, 50 if embed else None),
        LabelledDiscriminator(discriminator, classes, embed),
    )
    if options.condition == "projection":
        by_class = functools.partial(ConditionalBatchNorm, classes=classes)
        networks = generator.clone(norm=by_class), discriminator.clone(head=Projection(classes))
    terms = [d_loss(non_saturating)], [g_loss(non_saturating)]
    sampler = labelled_latents(options.latent_size)
    return compose(options, data, networks, sampler, *terms, updates="joint", prepare=labelled)


if __name__ == "__main__":
    main(Options, build)
