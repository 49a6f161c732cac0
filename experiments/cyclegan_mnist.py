"""CycleGAN between upright digits and slanted, coloured ones, a known mapping. Zhu et al. 2017,
https://arxiv.org/abs/1703.10593

What it should reach: b with the slant and the colours of the set, a upright and grey, and both still the digit that
they were made of, though no digit is ever shown beside its slanted self: the two sets are read in orders of their own.
Measured numbers are in docs/results.md.

    python -m experiments.cyclegan_mnist
    python -m scripts.read RUN          # how many of the translated digits a classifier still reads right
    python -m scripts.evaluate RUN      # how near they are to the true mapping

takes minutes on two CPU cores. It is experiments.cyclegan with small networks, but for what is drawn beside: what
`jaxgan.data.slanted` makes of each example, which is what the translation should be and was never learned from.
--preset paper has the paper's networks and 200 epochs, and has not been run.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax

from experiments import cyclegan
from jaxgan.data.slanted import slant, upright
from jaxgan.data.transform import FitOrTiles
from jaxgan.training import GAN, DataSpec, UsageError, main
from jaxgan.training.options.data import Size
from jaxgan.training.recipe.gan import Reading


@dataclasses.dataclass(frozen=True)
class Options(cyclegan.Options):
    dataset: str = "a=mnist,b=slanted_mnist"
    image_size: Size | None = 32
    fit: FitOrTiles = "pad"
    steps: int = 3000
    batch_size: int = 4
    learning_rate: float = 5e-4
    features: int = 16
    blocks: int = 2

    PRESETS: ClassVar = {
        "paper": {
            "steps": 12_000_000,  # 200 epochs of MNIST
            "batch_size": 1,
            "learning_rate": 2e-4,
            "schedule": "linear",
            "ema_half_life": 0.0,
            "features": 64,
            "blocks": 9,
            "checkpoint_every": 50_000,
            "sample_every": 25_000,
        },
        "smoke": {
            "dataset": "a=digits,b=slanted_digits",
            "steps": 2,
            "batch_size": 8,
            "features": 2,
            "blocks": 1,
            "patch": 16,
        },
    }


def build(options: Options, data: DataSpec) -> GAN:
    shapes = {name: data.sets[name].shape for name in "ab"}
    if shapes != {"a": (32, 32, 1), "b": (32, 32, 3)}:
        has = " and ".join(f"{name} {data.sets[name].field.text}" for name in "ab")
        raise UsageError(
            f"the known mapping is from grey digits of 32x32 pixels to coloured ones, got {has}: take "
            "--dataset a=mnist,b=slanted_mnist --image-size 32, or for other sets experiments.cyclegan"
        )
    gan = cyclegan.build(options, data)

    def sample(state: Any, examples: Mapping[str, Any], keys: jax.Array, **how: Any) -> dict[str, jax.Array]:
        drawn = gan.sample(state, examples, keys, **how)
        true = {"true b": slant(examples["a"]["image"]), "true a": upright(examples["b"]["image"])}
        order = ("from a", "b", "true b", "a again", "from b", "a", "true a", "b again")
        return {name: (drawn | true)[name] for name in order}

    readings = {name: Reading("a", upright) for name in ("b", "true b")} | {"from b": Reading("b", upright)}
    readings |= {"from a": Reading("a"), "a again": Reading("a"), "a": Reading("b"), "true a": Reading("b")}
    readings["b again"] = Reading("b", upright)
    return gan._replace(sample=sample, pairs={"b": "true b", "a": "true a"}, readings=readings)


if __name__ == "__main__":
    main(Options, build)
