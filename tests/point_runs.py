"""Runs of small GANs of points, alone and several at once, and what they leave."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from conftest import assert_same

from experiments import gan_ring
from jaxgan import data
from jaxgan.training import train

D_RATE = "discriminator/learning_rate"


SELDOM = {"batch_size": 8, "sample_every": 100, "devices": 1}


SMALL = {"width": 4, "latent_size": 2, "checkpoint_every": 4, **SELDOM}


def points(tmp_path, **changes):
    """Options of a GAN that draws points."""
    return gan_ring.Options(**{"workdir": str(tmp_path / "run"), "steps": 12, **SMALL, **changes})


def ring(folder, name, **changes):
    """Options of a GAN of the ring, whose run directory has this name in a folder."""
    own = {"workdir": str(folder / name), "checkpoint_every": 2, "width": 8, "batch_size": 16, "devices": 1}
    return gan_ring.Options(**(own | changes))


def recorded_options(directory):
    return json.loads((directory / "options.json").read_text())["options"]


def some_points(count=40):
    """A set of few points, which makes the score at the end cheap."""
    ring = np.random.default_rng(0).normal(size=(count, 1, 1, 2)).astype(np.float32)
    return data.DataSet("few", {"image": ring}, kinds={"image": "points"})


def run_points(tmp_path, build=gan_ring.build, **changes):
    return train(build, points(tmp_path, **changes), data=some_points())


def same(one, other, tolerance=0.0):
    """By leaves: optimisers of two calls are two objects."""
    assert_same(jax.tree.leaves(one), jax.tree.leaves(other), tolerance)


def refuse(text):
    raise AssertionError(f"{text} is no JSON")


def rows(directory):
    return [json.loads(line, parse_constant=refuse) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def report(directory):
    return json.loads((directory / "members.json").read_text(), parse_constant=refuse)


def bombs(steps):
    """gan_ring, whose members become NaN in the step that stands beside their seed."""

    def build(options, spec):
        gan = gan_ring.build(options, spec)

        def iteration(state, batch):
            state, metrics = gan.iteration(state, batch)
            seed = jax.random.key_data(state.key)[1].astype(jnp.int32)
            bad = jnp.any(jnp.stack([(seed == one) & (state.step == step) for one, step in steps.items()]))
            return state, metrics | {"generator/loss": jnp.where(bad, jnp.nan, metrics["generator/loss"])}

        return gan._replace(iteration=iteration)

    return build
