"""A run as small as can be of what enlarges images: no network, but a state of one number, by which bicubically
enlarged images are sharpened."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from jaxgan.degrade import blur, resize
from jaxgan.training import GAN, Translation
from jaxgan.training import Options as CommonOptions

SCALE = 2


class State(flax.struct.PyTreeNode):
    step: jax.Array
    key: jax.Array
    weight: jax.Array


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    """The options that all experiments have."""


def shrunk(images, keys):
    del keys
    return resize(images, (images.shape[1] // SCALE, images.shape[2] // SCALE))


def enlarged(images):
    return resize(images, (SCALE * images.shape[1], SCALE * images.shape[2]))


def apply(state, images, *, weights="ema", interpolation=1.0):
    x = enlarged(images)
    return x + interpolation * state.weight * (x - blur(x, 1.0))


def build(options, spec):
    def init(key):
        return State(jnp.int32(0), key, 0.3 + 0.2 * jax.random.uniform(key))

    def iteration(state, batch):
        return state.replace(step=state.step + 1, weight=0.7 * state.weight), {"generator/loss": jnp.abs(state.weight)}

    def sample(state, examples, keys, *, weights="ema"):
        target = examples["image"]
        source = shrunk(target, keys)
        return {"bicubic": enlarged(source), "image": apply(state, source), "target": target}

    translation = Translation(apply, spec.channels, SCALE, reach=6, degrade=shrunk)
    return GAN(init, iteration, options.batch_size, sample, {"image": "target"}, translations={"image": translation})
