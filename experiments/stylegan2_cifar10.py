"""StyleGAN2 in colour: CIFAR-10, or any 32-pixel set. Karras et al. 2020, https://arxiv.org/abs/2006.06676

What it should reach: colours, backgrounds and outlines of animals and vehicles, no better than a DCGAN's; its 192,000
images are a 500th of the paper's. It takes 36 minutes of one core of an AMD EPYC.

    python -m experiments.stylegan2_cifar10
    python -m experiments.stylegan2_cifar10 --conditional

Networks and objectives of `experiments.stylegan2_mnist`, in the setting that the paper's appendix has for CIFAR-10: two
mapping layers, no style mixing, no path length, rates of 2.5e-3, images mirrored at random; but R1 is stronger than its
γ = 0.01, for fewer images. --preset paper has its γ, widths, batches of 64, 100 million images and half-life of 500,000
images; nobody has run it here, and its time and memory are not measured.
"""

import dataclasses
import math
from typing import ClassVar

from experiments import stylegan2_mnist
from jaxgan.training import GAN, DataSpec, main
from jaxgan.training.options.fields import bounded


@dataclasses.dataclass(frozen=True)
class Options(stylegan2_mnist.Options):
    dataset: str = "cifar10"
    flip: bool = True
    features: int = bounded(16, at_least=1)
    steps: int = 6000
    r1: float = bounded(0.1, at_least=0, below=math.inf)

    PRESETS: ClassVar = {
        "paper": {
            "steps": 1_562_500,  # 100 million images
            "batch_size": 64,
            "features": 512,
            "max_features": 512,
            "latent_size": 512,
            "r1": 0.01,
            "ema_half_life": 500_000.0,
            "checkpoint_every": 5000,
            "sample_every": 5000,
        },
        "smoke": {**stylegan2_mnist.Options.PRESETS["smoke"], "channels": 3},
    }


def build(options: Options, data: DataSpec) -> GAN:
    return stylegan2_mnist.build(options, data)


if __name__ == "__main__":
    main(Options, build)
