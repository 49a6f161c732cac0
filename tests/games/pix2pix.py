"""pix2pix as an experiment, with the arguments of `training.train`: Isola et al. 2017 (arXiv 1611.07004)."""

import dataclasses

import jax
import jax.numpy as jnp

from games.translation import Patches, Translator, evaluated, started
from jaxgan import iteration, joint, update
from jaxgan.losses import non_saturating
from jaxgan.training import GAN
from jaxgan.training import Options as CommonOptions


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    """The options that all experiments have."""


def build(options, spec):
    def translate(nets, batch, draw, state):
        return nets["generator"](batch["source"])

    def generator(nets, batch, draw, state, fake):
        logits = nets["discriminator"](fake, batch["source"])
        return {"adversarial": non_saturating.g(logits), "l1": jnp.abs(fake - batch["image"])}

    def discriminator(nets, batch, draw, state, fake):
        net = nets["discriminator"]
        return {"adversarial": non_saturating.d(net(batch["image"], batch["source"]), net(fake, batch["source"]))}

    def init(key):
        example = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), spec.batch(1))
        networks = {"generator": Translator(spec.channels), "discriminator": Patches()}
        inputs = {"generator": [example["source"]], "discriminator": [example["image"], example["source"]]}
        return started(key, networks, inputs, {"l1": 100.0})

    step = joint(
        update("discriminator", discriminator, make=translate),
        update("generator", generator, make=translate, weights={"l1": "l1"}),
    )

    def sample(state, examples, keys, *, weights="ema"):
        return {
            "source": examples["source"],
            "image": evaluated(state, "generator", examples["source"], weights),
            "target": examples["image"],
        }

    return GAN(init, iteration(step), options.batch_size, sample, {"image": "target"})
