"""Repair of images: holes, noise, low contrast and blur. By pix2pix's networks, on pairs that are made of any set.

What it should reach: what is missing continues what is there, and a digit is read as what it was. What was measured,
with a picture, is in docs/results.md.

    python -m experiments.repair
    python -m experiments.repair --degrade noise
    python -m scripts.read RUN          # how many of the repaired digits a classifier still reads right

takes a minute of a CPU core's time. Holes are Pathak et al. 2016 (https://arxiv.org/abs/1604.07379): an absolute error
and an adversarial loss, on what was torn out. Squares of half the side, at places that are drawn, are mid-grey in the
source. Outside of the hole the image is known and kept, so that all losses and scores are those of the hole: its PSNR
is that of the picture less 10·log10 of how many times larger the picture is (6.02 dB). What is otherwise than in the
paper: its error is squared, its network has no connections past its bottleneck, and its D sees neither what is around
the hole nor the source. Other degradations are of the whole image, and nothing is kept.

For whole pictures (scripts.translate) a hole is what is mid-grey, 127 or 128 in all channels. --preset paper has
pix2pix's networks for 256 pixels, and has not been run.
"""

import dataclasses
import math
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from experiments.pix2pix import PAPER, SMOKE, Images, PairedOptions, Pairs, build_paired
from jaxgan import degrade
from jaxgan.data.transform import FitOrTiles
from jaxgan.training import GAN, DataSpec, main
from jaxgan.training.options.fields import bounded

LEAST_CONTRAST = 0.1
GREY = 1 / 127.5  # stored mid-grey, 127 or 128, is half of that from 0


@dataclasses.dataclass(frozen=True)
class Options(PairedOptions):
    fit: FitOrTiles = "pad"
    steps: int = 2000
    degrade: Literal["hole", "noise", "contrast", "blur"] = "hole"
    """What is to be repaired."""
    hole: float = bounded(0.5, above=0, at_most=1)
    """Height and width of the hole, as shares of the image's."""
    noise: float = bounded(0.5, at_least=0, below=math.inf)
    """The noise's standard deviation; black and white are 2 apart."""
    contrast: float = bounded(0.5, at_least=LEAST_CONTRAST, at_most=1)
    """The most contrast that is left, as a share; how much is drawn for each image, from 0.1 on."""
    blur: float = bounded(2.0, at_least=0, at_most=64, unit="pixels")
    """The standard deviation of the Gaussian that blurs."""

    PRESETS: ClassVar = {"paper": {**PAPER, "fit": "crop"}, "smoke": SMOKE}


def pairs_of(options: Options) -> Pairs:
    """Returns what makes a pair of an example, a source in [-1, 1] as pictures are stored."""

    def pairs(examples: Images, keys: jax.Array) -> dict[str, jax.Array]:
        image = examples["image"]
        if options.degrade == "hole":
            source, mask = degrade.hole(image, keys, smallest=options.hole, largest=options.hole)
            return {"source": source, "image": image, "mask": mask}
        if options.degrade == "noise":
            source = degrade.noise(image, keys, options.noise)
        elif options.degrade == "contrast":
            source = degrade.contrast(image, keys, LEAST_CONTRAST, options.contrast)
        else:
            source = degrade.blur(image, options.blur)
        return {"source": jnp.clip(source, -1.0, 1.0), "image": image}

    return pairs


def mid_grey(images: jax.Array) -> jax.Array:
    """Returns the mask `[B, H, W, 1]` of the pixels that are mid-grey as they are stored: holes of whole pictures."""
    return jnp.all(jnp.abs(images) < GREY, axis=-1, keepdims=True).astype(jnp.float32)


def build(options: Options, data: DataSpec) -> GAN:
    pairs = pairs_of(options)
    return build_paired(
        options,
        data,
        pairs,
        degrade=lambda images, keys: pairs({"image": images}, keys)["source"],
        mask_of=mid_grey if options.degrade == "hole" else None,
    )


if __name__ == "__main__":
    main(Options, build)
