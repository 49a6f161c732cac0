"""R3GAN on stacked MNIST, 1,000 modes of three digits each. Huang et al. 2024, https://arxiv.org/abs/2501.05441

What it should reach: all 1,000 modes, as in the paper. Not measured here yet.

    python -m experiments.r3gan_stacked_mnist
    python -m scripts.evaluate RUN

is meant for fifteen minutes on two CPU cores, and with --steps 250000 for two hours: a step takes 39 ms of CPU time.
Networks, loss and schedules of `experiments.r3gan_mnist`, without labels. Where only real images are penalised (--r2 0)
training fails in the paper. --preset paper is for GPUs; nobody has run it here, and its time and memory are not
measured.
"""

import dataclasses
from typing import ClassVar

from experiments import r3gan_mnist
from jaxgan.training import GAN, DataSpec, main


@dataclasses.dataclass(frozen=True)
class Options(r3gan_mnist.Options):
    dataset: str = "stacked_mnist"

    PRESETS: ClassVar = {
        "paper": r3gan_mnist.PAPER,
        "smoke": {**r3gan_mnist.Options.PRESETS["smoke"], "channels": 3},
    }


def build(options: Options, data: DataSpec) -> GAN:
    return r3gan_mnist.build(options, data)


if __name__ == "__main__":
    main(Options, build)
