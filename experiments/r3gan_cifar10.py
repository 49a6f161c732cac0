"""R3GAN in colour: CIFAR-10, or any set or folder, of 8 to 1024 pixels. Huang et al. 2024,
https://arxiv.org/abs/2501.05441

What it should reach: colours, horizons and outlines, no better than a DCGAN's; the paper has a Fréchet Inception
distance of 1.96, with labels, after four days on eight GPUs. It takes 18 minutes of one core of an AMD EPYC.

    python -m experiments.r3gan_cifar10
    python -m experiments.r3gan_cifar10 --dataset folder:PICTURES --image-size 64 --fit crop

Loss and schedules of `experiments.r3gan_mnist`, and its networks with a stage more, as stacks of three colours want;
images are mirrored at random. --preset paper is the paper's network and recipe for CIFAR-10 with labels, without its
augmentation; nobody has run it here, and its time and memory are not measured.
"""

import dataclasses
from typing import ClassVar

from experiments import r3gan_mnist
from jaxgan.training import GAN, DataSpec, main


@dataclasses.dataclass(frozen=True)
class Options(r3gan_mnist.Options):
    dataset: str = "cifar10"
    steps: int = 26_000
    widths: tuple[int, ...] = (128, 64)
    blocks: tuple[int, ...] = (1,)
    flip: bool = True

    PRESETS: ClassVar = {
        "paper": {**r3gan_mnist.PAPER, "conditional": True},
        "smoke": {**r3gan_mnist.Options.PRESETS["smoke"], "channels": 3},
    }


def build(options: Options, data: DataSpec) -> GAN:
    return r3gan_mnist.build(options, data)


if __name__ == "__main__":
    main(Options, build)
