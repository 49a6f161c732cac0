"""DCGAN in colour: CIFAR-10, or any 32- or 64-pixel set or folder. Radford, Metz & Chintala 2016,
https://arxiv.org/abs/1511.06434

What it should reach: colours, backgrounds and outlines of animals and vehicles; no object that a person would name
with certainty.

    python -m experiments.dcgan_cifar10
    python -m experiments.dcgan_cifar10 --dataset folder:PICTURES --image-size 64 --fit crop

Networks and recipe of `experiments.dcgan_mnist`, images mirrored at random. `--preset paper` trains as long as
StudioGAN's DCGAN on CIFAR-10, 200,000 generator updates of batch 64, which is no laptop's work.
"""

import dataclasses
from typing import ClassVar

from experiments import dcgan_mnist
from jaxgan.training import GAN, DataSpec, main


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    dataset: str = "cifar10"
    flip: bool = True

    PRESETS: ClassVar = {
        "paper": {"steps": 200_000, "checkpoint_every": 5000, "sample_every": 5000, "ema_half_life": 100_000.0},
        "smoke": {**dcgan_mnist.Options.PRESETS["smoke"], "channels": 3},
    }


def build(options: Options, data: DataSpec) -> GAN:
    return dcgan_mnist.build(options, data)


if __name__ == "__main__":
    main(Options, build)
