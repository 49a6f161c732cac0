"""Runs of what makes pictures of pictures of any size, by convolutions of a few numbers that nobody trains. What they
make can be worked out by hand."""

import dataclasses
from typing import Literal

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import data
from jaxgan.networks.superresolution import SRResNet
from jaxgan.training import GAN, Translation, train
from jaxgan.training import Options as CommonOptions


class State(flax.struct.PyTreeNode):
    step: jax.Array
    key: jax.Array
    offset: jax.Array  # 0.1 times the number of the member, in what a network makes


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    kind: Literal["enlarged", "luma", "grey", "styled", "both", "none", "deep", "diverged", "network"] = "enlarged"
    """What becomes of pictures."""


def start(key):
    return State(jnp.int32(0), key, 0.1 * (jax.random.key_data(key)[-1] % 10).astype(jnp.float32))


def doubled(x):
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def blurred(x):
    """The mean over 3×3 pixels of each channel; beyond the border is nothing, 0."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    return sum(padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9


def enlarged(state, images, *, weights="ema", interpolation=0.0):
    """Twice as large; `interpolation` of the way to black."""
    return doubled(images) * (1 - interpolation) - interpolation + state.offset + (0.5 if weights == "raw" else 0.0)


def styled(state, images, *, weights="ema", style, strength=1.0, mix=None):
    """Moved towards the mean colour of the styles."""
    shares = jnp.full(len(style), 1 / len(style)) if mix is None else mix
    colour = jnp.einsum("k,khwc->c", shares, style) / (style.shape[1] * style.shape[2])
    return (1 - strength) * images + strength * colour[None, None, None]


def four_times():
    network = SRResNet(3, 4, 8, 2)
    variables = network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)

    def apply(state, images, *, weights="ema"):
        return network.apply(variables, images, train=False)

    return {"image": Translation(apply, 3, 4, reach=network.reach)}


def translations(kind):
    def negative(state, images, *, weights="ema"):
        return -images

    def first(state, images, *, weights="ema"):
        return images[..., :1]

    def coloured(state, images, *, weights="ema"):
        return jnp.concatenate([images, -images, images], axis=-1)

    if kind == "network":
        return four_times()
    return {
        "enlarged": {"image": Translation(enlarged, 3, 2, reach=0)},
        "luma": {"image": Translation(enlarged, 1, 2, reach=0)},
        "grey": {"image": Translation(negative, 1, reach=0)},
        "styled": {"image": Translation(styled, 3, reach=0)},
        "both": {"a": Translation(first, 3, reach=0), "b": Translation(coloured, 1, reach=0)},
        "none": {},
        "deep": {"image": Translation(lambda state, images, *, weights: images, 4)},
        "diverged": {"image": Translation(lambda state, images, *, weights: images * jnp.nan, 3)},
    }[kind]


def build(options, spec):
    def iteration(state, batch):
        return state.replace(step=state.step + 1), {"generator/loss": batch["image"].mean()}

    def sample(state, examples, keys, *, weights="ema"):
        return {"image": examples["image"] + state.offset}

    return GAN(start, iteration, options.batch_size, sample, translations=translations(options.kind))


def run_of(directory, **changes):
    """Trains such a run for a step on red pictures of 6×8 pixels, and returns its directory."""
    options = {"steps": 1, "checkpoint_every": 1, "batch_size": 2, "devices": 1} | changes
    images = np.zeros((8, 6, 8, 3), np.uint8)
    images[..., 0] = 255
    train(build, Options(workdir=str(directory), **options), data=data.from_arrays("red", images))
    return directory
