"""SNGAN with classes and a projection discriminator on CIFAR-10. Miyato & Koyama 2018, https://arxiv.org/abs/1802.05637

What it should reach: classes that can be told apart by colour and background in a quarter of an hour; a Fréchet
Inception distance of 17.5 in the paper. What it reaches here has not been measured yet.

    python -m experiments.cgan_projection_cifar10
    python -m scripts.sample RUN --label 7 --out horses.png

It should take a quarter of an hour on two idle cores of an AMD EPYC. Networks, loss and recipe of
`experiments.sngan_cifar10`. The label reaches the generator as the scales and biases of its batch norms, and the
discriminator as an inner product of its features with a vector of the class, spectrally normalised as all its weights.
--preset paper is that of SNGAN, with classes; nobody has run it.
"""

import dataclasses
from typing import ClassVar

from experiments import sngan_cifar10
from jaxgan.training import GAN, DataSpec, main


@dataclasses.dataclass(frozen=True)
class Options(sngan_cifar10.Options):
    conditional: bool = True

    PRESETS: ClassVar = {"paper": sngan_cifar10.RECIPE, "smoke": sngan_cifar10.Options.PRESETS["smoke"]}


def build(options: Options, data: DataSpec) -> GAN:
    return sngan_cifar10.build(options, data)


if __name__ == "__main__":
    main(Options, build)
