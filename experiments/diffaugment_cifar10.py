"""DCGAN on a tenth of CIFAR-10 with DiffAugment. Zhao et al. 2020, https://arxiv.org/abs/2006.10738

What it should reach: a Fréchet distance to all 50,000 images that goes on falling where, without the changes, the
discriminator comes to know its 5,000 images and the distance rises again; the paper's BigGAN comes from 39.8 to 22.4
(Inception, its table of 10 % of the data).

    python -m experiments.diffaugment_cifar10
    python -m experiments.diffaugment_cifar10 --augment none
    python -m experiments.diffaugment_cifar10 --augment ada

None has been trained to its end or scored yet. Scores on the way are of the 5,000 images that it is trained on, which a
network that learns them by heart would meet; of all images say `python -m scripts.sample RUN --count 5000 --out
FILE.npz` and `python -m scripts.evaluate --generated FILE.npz --reference cifar10 --feature-network cifar10-v1`.

Networks and options of `experiments.ada_digits` in colour, images mirrored at random. --preset paper has twice the
channels and as many steps as StudioGAN's DCGAN on all of CIFAR-10; nobody has run it here.
"""

import dataclasses
from typing import ClassVar, Literal

from experiments import ada_digits, dcgan_mnist
from jaxgan.training import GAN, DataSpec, main


@dataclasses.dataclass(frozen=True)
class Options(ada_digits.Options):
    dataset: str = "cifar10"
    images: str | None = "10%"
    image_size: dcgan_mnist.ImageSize = 32
    flip: bool = True
    steps: int = 6000
    augment: Literal["none", "ada", "diffaugment"] = "diffaugment"
    """What changes the images that the discriminator sees, in both players' updates."""

    PRESETS: ClassVar = {
        "paper": {
            "steps": 200_000,
            "features": 64,
            "ada_images": 500_000.0,
            "checkpoint_every": 5000,
            "sample_every": 5000,
            "ema_half_life": 100_000.0,
        },
        "smoke": {**dcgan_mnist.Options.PRESETS["smoke"], "images": "100", "channels": 3},
    }


def build(options: Options, data: DataSpec) -> GAN:
    return ada_digits.build(options, data)


if __name__ == "__main__":
    main(Options, build)
