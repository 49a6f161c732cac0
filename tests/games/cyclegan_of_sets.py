"""CycleGAN as an experiment on two sets, with the arguments of `training.train`."""

import dataclasses

import jax.numpy as jnp

from games import cyclegan
from games.translation import Patches, Translator, evaluated, started
from jaxgan import Step, empty_history
from jaxgan.training import GAN, main
from jaxgan.training import Options as CommonOptions


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    """The options that all experiments have."""


def build(options, spec):
    channels = {name: of.channels for name, of in spec.sets.items()}

    def init(key):
        zeros = {name: jnp.zeros((1, *of.shape)) for name, of in spec.sets.items()}
        networks = {"G": Translator(channels["b"]), "F": Translator(channels["a"]), "Da": Patches(), "Db": Patches()}
        inputs = {"G": [zeros["a"]], "F": [zeros["b"]], "Da": [zeros["a"]], "Db": [zeros["b"]]}
        extras = {"pool": empty_history(zeros, 2 * options.batch_size)}
        return started(key, networks, inputs, {"cycle": 10.0}, extras, averaged=["G", "F"])

    step = cyclegan.make()

    def on_images(state, batch):
        return step(state, {name: examples["image"] for name, examples in batch.items()})

    def sample(state, examples, keys, *, weights="ema"):
        a, b = examples["a"]["image"], examples["b"]["image"]
        return {
            "from a": a,
            "b": evaluated(state, "G", a, weights),
            "from b": b,
            "a": evaluated(state, "F", b, weights),
        }

    return GAN(init, Step(on_images), {"a": options.batch_size, "b": options.batch_size}, sample)


if __name__ == "__main__":
    main(Options, build)
