"""A run as small as can be of what turns images into images: paired, or two sets that aren't. No network and no core,
but a state of a few numbers, so that it shows what the host side asks of a GAN."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import data
from jaxgan.training import GAN
from jaxgan.training import Options as CommonOptions


class State(flax.struct.PyTreeNode):
    step: jax.Array
    key: jax.Array
    weight: jax.Array
    bias: jax.Array


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    flipped: bool = False
    """Ask for the sources turned upside down."""


def start(key):
    return State(jnp.int32(0), key, jnp.full(3, 0.5), jax.random.normal(key, (3,)) * 0.01)


def pairs(count=40, height=12, width=11):
    """Coloured images, and as sources their mean over the colours."""
    images = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)
    return data.from_arrays("pairs", images, source=np.rint(images.mean(-1, keepdims=True)).astype(np.uint8))


def numbered(count, shape, name):
    """Images that hold nothing but their number."""
    values = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return data.from_arrays(name, np.broadcast_to(values, (count, *shape)).copy())


def sets():
    return {"a": numbered(50, (8, 8, 1), "grey"), "b": numbered(37, (6, 12, 3), "coloured")}


def build(options, spec):
    return unpaired(options, spec) if spec.sets else paired(options)


def paired(options):
    def translate(state, source):
        return source * state.weight + state.bias

    def iteration(state, batch):
        def loss(state):
            return jnp.mean((translate(state, batch["source"]) - batch["image"]) ** 2)

        value, slope = jax.value_and_grad(loss, allow_int=True)(state)
        after = state.replace(
            step=state.step + 1, weight=state.weight - 0.1 * slope.weight, bias=state.bias - 0.1 * slope.bias
        )
        return after, {"generator/loss": value}

    def sample(state, examples, keys, *, weights="ema", flipped=False):
        source = examples["source"][:, ::-1] if flipped else examples["source"]
        return {"source": source, "image": translate(state, source), "target": examples["image"]}

    return GAN(start, iteration, options.batch_size, sample, {"image": "target"})


def unpaired(options, spec):
    """The batches' numbers are its metrics; a translation has its source's mean and, of b, colours."""

    def number(batch):
        return jnp.rint((batch["image"][:, 0, 0, 0] + 1) * 127.5)

    def iteration(state, batch):
        assert batch["a"]["image"].shape == (options.batch_size, 8, 8, 1) and batch["b"].keys() == {"image"}
        numbers = {f"{name}/{i}": value for name in "ab" for i, value in enumerate(number(batch[name]))}
        bias = state.bias + 0.001 * batch["a"]["image"].mean() - 0.001 * batch["b"]["image"].mean()
        return state.replace(step=state.step + 1, bias=bias), numbers

    def sample(state, examples, keys, *, weights="ema"):
        means = {name: each["image"].mean((1, 2, 3), keepdims=True) for name, each in examples.items()}
        grey = means["b"] + 0.01 * jax.vmap(lambda key: jax.random.normal(key, (8, 8, 1)))(keys)
        coloured = jnp.broadcast_to(means["a"], (len(keys), 6, 12, 3)) * state.weight + state.bias
        return {"b": coloured, "a": grey}

    sizes = {"a": options.batch_size, "b": 2 * options.batch_size}
    return GAN(start, iteration, sizes, sample)
