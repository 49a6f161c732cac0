"""pix2pix between typefaces: letters in DejaVu Serif, made of DejaVu Sans.

What it should reach: letters that training has never seen in either typeface get serifs and stresses, and are nearer
to their true form than the source is. How near, how often it is the nearest of all true forms, and what the L1 loss
alone comes to, is in docs/results.md.

    python -m experiments.pix2pix_glyphs

takes a minute of a CPU core's time; --seeds 3 took four and a half minutes on two busy cores. It is experiments.pix2pix
(Isola et al. 2017, https://arxiv.org/abs/1611.07004) with small networks, on the set `glyphs`, whose held-out letters
differ from those of training in more than their accents. --preset paper has the paper's networks for 256 pixels, to
which the letters are enlarged, and has not been run.
"""

import dataclasses
from typing import ClassVar

from experiments.pix2pix import PAPER, SMOKE, PairedOptions, build_paired
from jaxgan.training import GAN, DataSpec, UsageError, main


@dataclasses.dataclass(frozen=True)
class Options(PairedOptions):
    dataset: str = "glyphs"
    steps: int = 2000

    PRESETS: ClassVar = {"paper": {**PAPER, "flip": False}, "smoke": {**SMOKE, "dataset": "glyphs"}}


def build(options: Options, data: DataSpec) -> GAN:
    if "source" not in data.fields:
        raise UsageError(
            f"--dataset {data.name} has no sources, and this experiment makes none: take --dataset glyphs, or "
            "experiments.pix2pix"
        )
    return build_paired(options, data, lambda examples, keys: {name: examples[name] for name in ("source", "image")})


if __name__ == "__main__":
    main(Options, build)
