"""Runs of every experiment that nobody has trained, for what leaves the house."""

import importlib
import pathlib

import jax
import jax.numpy as jnp

from jaxgan.training import DataSpec, OpenRun
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.loading import load


def opened(name, *arguments):
    """A run of an experiment at its smallest that was not trained, with weights of a size that tells them apart."""
    module = importlib.import_module(f"experiments.{name}")
    options = parse(module.Options, ["--preset", "smoke", "--devices", "1", *arguments])
    data = DataSpec.of(load(options), options.crop_shape)
    gan = module.build(options, data)
    state = gan.init(jax.random.key(1))
    leaves, tree = jax.tree.flatten(state)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    moved = [
        x + 0.1 * jax.random.normal(key, x.shape, x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x
        for x, key in zip(leaves, keys, strict=True)
    ]
    return OpenRun(pathlib.Path("RUN"), options, data, 0, jax.tree.unflatten(tree, moved), gan, gan)
