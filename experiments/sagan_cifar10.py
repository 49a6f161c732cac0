"""SAGAN on CIFAR-10: self-attention in both networks. Zhang et al. 2019, https://arxiv.org/abs/1805.08318

What it should reach: classes that can be told apart by colour and background in a quarter of an hour. The paper has
numbers for ImageNet alone; StudioGAN's on CIFAR-10 has a Fréchet Inception distance of 10.35. After 615 steps, nine
minutes of one core, it has a Fréchet distance of 11.7 (cifar10-v1, seed 0), SNGAN after as long 13.8; the whole of it
has not been run.

    python -m experiments.sagan_cifar10
    python -m scripts.sample RUN --label 7 --out horses.png

It takes a quarter of an hour on two idle cores of an AMD EPYC, by the speed of its first 400 steps. Networks and
options of `experiments.sngan_cifar10`, with what SAGAN adds: self-attention behind a gate that starts at zero, at 16×16
features of both networks; spectral normalisation in the generator as well; two rates, the discriminator's four times
the generator's, with one step of each; classes by conditional batch norm and a projection. --preset paper has the
paper's rates, batch and steps, and SNGAN's widths for 32 pixels; nobody has run it.
"""

import dataclasses
from typing import ClassVar

from experiments import sngan_cifar10
from jaxgan.training import GAN, DataSpec, main


@dataclasses.dataclass(frozen=True)
class Options(sngan_cifar10.Options):
    steps: int = 2600
    batch_size: int = 32
    generator_learning_rate: float | None = 5e-4
    discriminator_learning_rate: float | None = 2e-3
    conditional: bool = True
    attention: tuple[int, ...] = (16,)
    normalise_generator: bool = True

    PRESETS: ClassVar = {
        "paper": {
            **sngan_cifar10.RECIPE,
            "steps": 1_000_000,
            "batch_size": 256,
            "generator_learning_rate": 1e-4,
            "discriminator_learning_rate": 4e-4,
            "schedule": "constant",
            "critic_steps": 1,
        },
        "smoke": sngan_cifar10.Options.PRESETS["smoke"],
    }


def build(options: Options, data: DataSpec) -> GAN:
    return sngan_cifar10.build(options, data)


if __name__ == "__main__":
    main(Options, build)
