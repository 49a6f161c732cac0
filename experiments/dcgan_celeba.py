"""DCGAN on faces of 64×64 pixels: CelebA through TFDS, or a folder. Radford, Metz & Chintala 2016,
https://arxiv.org/abs/1511.06434

What it should reach on CelebA: faces with hair and background after an epoch or two, as tutorials show them. Nobody has
trained it on CelebA here, where that can't be had. On scikit-image's 100 faces, which are far too few, the third line
takes two minutes of CPU time on an AMD EPYC. What it draws then is blotched and distorted; a detector takes 94 % of it
for faces all the same (docs/results.md).

    python -m experiments.dcgan_celeba
    python -m experiments.dcgan_celeba --dataset folder:FACES
    python -m experiments.dcgan_celeba --dataset faces --image-size 32 --batch-size 32 --steps 2000
    python -m scripts.faces RUN
    python -m scripts.explore RUN neighbours --out neighbours.png

Networks and recipe of `experiments.dcgan_mnist`, half as wide, for two CPU cores, on squares cut out of the middle,
mirrored at random. `scripts.faces` counts the samples in which a detector finds a face, `neighbours` shows beside
samples the training images that are nearest. --preset paper is the paper's network with its uniform latents, for five
epochs as tutorials have it; nobody has run it here, and its time and memory are not measured.
"""

import dataclasses
from typing import ClassVar, Literal

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss, latents
from jaxgan.data.transform import FitOrTiles
from jaxgan.losses import non_saturating
from jaxgan.samplers import uniform_latents
from jaxgan.training import GAN, DataSpec, compose, main


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    dataset: str = "celeb_a"
    image_size: dcgan_mnist.ImageSize = 64
    fit: FitOrTiles = "crop"
    flip: bool = True
    features: int = 32
    latents: Literal["normal", "uniform"] = "normal"
    """Whether latents are drawn from N(0, 1) or uniform in [-1, 1)."""

    PRESETS: ClassVar = {
        "paper": {"steps": 6400, "batch_size": 128, "features": 128, "latents": "uniform"},
        "smoke": {**dcgan_mnist.Options.PRESETS["smoke"], "channels": 3},
    }


def build(options: Options, data: DataSpec) -> GAN:
    terms = [d_loss(non_saturating)], [g_loss(non_saturating)]
    sampler = {"normal": latents, "uniform": uniform_latents}[options.latents]
    networks = dcgan_mnist.networks(options, data)
    return compose(options, data, networks, sampler(options.latent_size), *terms, updates="joint")


if __name__ == "__main__":
    main(Options, build)
