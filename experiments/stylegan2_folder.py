"""StyleGAN2 on pictures of your own, of 32 to 1024 pixels. Karras et al. 2020, https://arxiv.org/abs/1912.04958

What it should reach: textures and shapes of the pictures; of two photographs, tiles that look like theirs. It takes 25
minutes of one core of an AMD EPYC.

    python -m experiments.stylegan2_folder --dataset folder:PICTURES
    python -m experiments.stylegan2_folder --dataset folder:PICTURES --image-size 256 --preset paper

Bare, it learns from scikit-learn's two photographs, in tiles, so that it runs everywhere.

Networks and objectives of `experiments.stylegan2_mnist` with style mixing and the path length of the paper. --preset
paper is configuration F at 256 pixels, for GPUs; nobody has run it here, and its time and memory are not measured. At
another --image-size S the paper's networks have --features 32768/S.
"""

import dataclasses
from typing import ClassVar

from experiments import stylegan2_mnist
from jaxgan.data.transform import FitOrTiles
from jaxgan.training import GAN, DataSpec, main
from jaxgan.training.options.data import Size
from jaxgan.training.options.fields import bounded


@dataclasses.dataclass(frozen=True)
class Options(stylegan2_mnist.Options):
    dataset: str = "photographs"
    image_size: Size | None = 32
    fit: FitOrTiles = "tiles"
    flip: bool = True
    steps: int = 6000
    mixing: float = bounded(0.9, at_least=0, at_most=1)
    ada: bool = True
    ada_images: int = bounded(50_000, at_least=1)

    PRESETS: ClassVar = {
        "paper": {
            **stylegan2_mnist.Options.PRESETS["paper"],
            "image_size": 256,
            "fit": "crop",
            "features": 128,
            "ada_images": 500_000,
        },
        "smoke": {**stylegan2_mnist.Options.PRESETS["smoke"], "channels": 3},
    }


def build(options: Options, data: DataSpec) -> GAN:
    return stylegan2_mnist.build(options, data)


if __name__ == "__main__":
    main(Options, build)
