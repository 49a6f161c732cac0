"""A checkpoint that was saved on N devices continues on M, of states whole on each device and spread over them."""

import contextlib
import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import LATENT, Discriminator, Generator, assert_same, differs, tiny_gan

from experiments import gan_ring
from jaxgan import parallel
from jaxgan.adversarial import make_joint_step
from jaxgan.ensemble import stack
from jaxgan.iteration import iteration
from jaxgan.losses import non_saturating
from jaxgan.parallel import layout
from jaxgan.samplers import latents
from jaxgan.terms import Term
from jaxgan.terms.adversarial import d_loss, g_loss
from jaxgan.training import GAN, DataSpec, sample_with, train
from jaxgan.training.checkpoints.checkpoints import Checkpoints
from jaxgan.training.compiled.program import compile_chunk

PLACES = [(1, False), (2, False), (4, False), (2, True), (4, True)]  # devices, whether parameters are spread over them
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (64, 2, 2, 1), np.uint8))
LABELS = jnp.zeros(64, jnp.int32)


@pytest.fixture(autouse=True)
def all_sharded(monkeypatch):
    monkeypatch.setattr(parallel, "SMALL", 4)


def kept(view):
    mean = view.extras["mean"]
    return (view.real["logits"] - mean) ** 2, {"mean": 0.5 * (mean + jnp.mean(view.real["logits"]))}


def state(seed=0):
    """Everything a state can have: batch statistics of both players, momentum, an average, extras."""
    players = {"generator": Generator(batch_norm=True), "discriminator": Discriminator(batch_norm=True, turns=True)}
    return tiny_gan(seed, tx=TX, extras={"mean": jnp.zeros(())}, **players)


TX = optax.trace(0.9)  # SGD, since Adam makes of a rounding at 0 a whole step
SAMPLER = latents(LATENT)
STEP = make_joint_step(SAMPLER, [d_loss(non_saturating), Term("kept", kept, 0.1)], [g_loss(non_saturating)])
TINY = GAN(lambda key: state(), iteration(STEP), 8, sample_with(SAMPLER))
ALONE = state()


class Place:
    """A program for TINY on some devices, and the states that it is for."""

    def __init__(self, devices, shard, members=0):
        self.where = layout(jax.devices()[:devices], members=members, shard_parameters=shard)
        alone = stack([state(seed) for seed in range(members)]) if members else ALONE
        self.state = self.where.gathering(alone)
        self.like = self.where.abstract(self.state)
        data = DataSpec.single("tiny", len(IMAGES), IMAGES.shape[1:], 3)
        examples = jax.device_put({"image": IMAGES, "label": LABELS}, self.where.everywhere)
        self.program = compile_chunk(TINY, self.like, data, examples, layout=self.where)

    def begin(self):
        return jax.device_put(jax.tree.map(jnp.copy, self.state), self.where.of(self.like))

    def run(self, state, count):
        """The state after `count` more steps, and their metrics."""
        after, metrics = self.program.run(jax.tree.map(jnp.copy, state), count)
        return after, {name: values[:count] for name, values in metrics.items()}


place_of = functools.cache(Place)  # two tests have two of them in common


def restored(directory, step, like):
    with contextlib.closing(Checkpoints(directory, read_only=True)) as checkpoints:
        return checkpoints.restore(step, like)


def assert_lies(found, where):
    for leaf, sharding in zip(jax.tree.leaves(found), jax.tree.leaves(where.of(found)), strict=True):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)


@pytest.mark.slow
@pytest.mark.parametrize(
    "between",
    [
        pytest.param([(1, False), (4, True)], id="two places"),
        pytest.param(PLACES, id="five places"),
    ],
)
def test_saved_anywhere_continued_anywhere(between, tmp_path):
    trained, places = {}, {place: place_of(*place) for place in between}
    for place, there in places.items():
        trained[place], _ = there.run(there.begin(), 3)
        with contextlib.closing(Checkpoints(tmp_path / str(place))) as checkpoints:
            checkpoints.save(3, trained[place])
    spread = trained[4, True]
    for tree in (spread.generator.params, spread.generator.opt_state.trace, spread.ema["generator"]["params"]):
        kernel = tree["Dense_0"]["kernel"]
        assert [shard.data.shape for shard in kernel.addressable_shards] == [(4, 2)] * 4
    after, expected = {}, places[1, False].run(trained[1, False], 10)
    assert differs(expected[0].discriminator.variables, ALONE.discriminator.variables)
    assert differs(expected[0].extras, ALONE.extras)
    for source, target in itertools.product(between, between):
        there = places[target]
        found = restored(tmp_path / str(source), 3, there.like)
        assert_lies(found, there.where)
        assert_same(jax.tree.leaves(found), jax.tree.leaves(trained[source]))
        after[source, target] = there.run(found, 10)
        assert_lies(after[source, target][0], there.where)
        assert_same(jax.tree.leaves(after[source, target]), jax.tree.leaves(expected), 1e-5)
    for place, there in places.items():  # on the devices that it was saved on, it goes on bit for bit
        assert_same(after[place, place], there.run(trained[place], 10))


@pytest.mark.slow
def test_an_ensemble_is_continued_anywhere(tmp_path):
    one, four = Place(1, False, members=2), Place(4, True, members=2)
    trained, _ = four.run(four.begin(), 3)
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(3, trained)
    for there in (one, four):
        found = restored(tmp_path, 3, there.like)
        assert_lies(found, there.where)
        assert_same(jax.tree.leaves(found), jax.tree.leaves(trained))
        after = there.run(found, 10)
        assert_same(jax.tree.leaves(after), jax.tree.leaves(four.run(trained, 10)), 1e-5 if there is one else 0.0)


@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.slow
def test_a_run_goes_on_with_other_devices(tmp_path):
    """With Adam, whose moments are saved too; a large epsilon keeps it from blowing up a rounding at 0."""

    def build(options, data):
        gan = gan_ring.build(options, data)

        def init(key):
            fresh = gan.init(key)
            tx = optax.scale_by_adam(eps=1e-3)
            players = {name: getattr(fresh, name).replace(tx=tx) for name in ("generator", "discriminator")}
            return fresh.replace(**players)

        return gan._replace(init=init)

    def options(name, **changes):
        own = {"workdir": str(tmp_path / name), "checkpoint_every": 2, "batch_size": 16, "width": 16}
        return gan_ring.Options(**own, **changes)

    seen = []
    expected = train(build, options("straight", steps=8, devices=1))
    train(build, options("run", steps=4, devices=4, shard_parameters=True))
    found = train(build, options("run", steps=8, devices=1), lambda state, metrics: seen.append(int(state.step)))
    assert min(seen) > 4 and int(found.step) == 8
    assert_same(jax.tree.leaves(found), jax.tree.leaves(expected), 1e-4)
    record = json.loads((tmp_path / "run" / "options.json").read_text())["options"]
    assert (record["devices"], record["shard_parameters"]) == (1, False)
