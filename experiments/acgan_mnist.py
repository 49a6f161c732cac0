"""Auxiliary-classifier GAN on MNIST. Odena, Olah & Shlens 2017, https://arxiv.org/abs/1610.09585

What it should reach: at least nine of ten samples are read as the digit that was asked for; the classifier draws
samples of a class towards what is easily told apart, at the price of variety.

    python -m experiments.acgan_mnist
    python -m scripts.sample RUN --label 7 --out sevens.png

The first took 19 minutes on two cores of an AMD EPYC, beside other work; pictures and numbers are in docs/results.md.

Networks and recipe of `experiments.dcgan_mnist`. The generator is given the label as one-hot beside the latent; the
discriminator is not, but says what it takes an image for: both players are paid for the right class, the
discriminator also on real images.
"""

import dataclasses
import math

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss
from jaxgan.losses import non_saturating
from jaxgan.networks.conditional import LabelledGenerator
from jaxgan.networks.heads import AuxiliaryClassifier
from jaxgan.samplers import labelled_latents
from jaxgan.terms.auxiliary import classify_fake, classify_real_and_fake
from jaxgan.training import GAN, DataSpec, compose, labels_needed, main
from jaxgan.training.options.fields import bounded


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    class_weight: float = bounded(1.0, at_least=0, below=math.inf)
    """Weight of the classifier's cross-entropy, for both players; `class_weight` for --sweep."""


def build(options: Options, data: DataSpec) -> GAN:
    classes = labels_needed(data)
    generator, discriminator = dcgan_mnist.networks(options, data)
    return compose(
        options,
        data,
        (LabelledGenerator(generator, classes), discriminator.clone(head=AuxiliaryClassifier(classes))),
        labelled_latents(options.latent_size),
        [d_loss(non_saturating), classify_real_and_fake("class_weight")],
        [g_loss(non_saturating), classify_fake("class_weight")],
        updates="joint",
        weights={"class_weight": options.class_weight},
    )


if __name__ == "__main__":
    main(Options, build)
