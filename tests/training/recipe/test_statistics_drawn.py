"""Batch statistics of averaged weights in runs: `--ema-statistics`."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same
from tiny_dcgan import tiny

import jaxgan.training
from experiments import dcgan_mnist, gan_ring
from jaxgan import ensemble, latents
from jaxgan.draw import role_number
from jaxgan.standing import standing_statistics
from jaxgan.training import DataSpec, train
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.recipe.members import ensemble_of, members_of
from jaxgan.training.recipe.statistics import BATCH, BATCHES

pytestmark = pytest.mark.usefixtures("as_users_have_it")

DATA = DataSpec.single("random", 100, (28, 28, 1), 10)


def averaged(state):
    """A state whose averaged weights and statistics are those of no step."""
    ema = {name: jax.tree.map(lambda x: x * 1.1 + 0.05, variables) for name, variables in state.ema.items()}
    return dataclasses.replace(state, ema=ema)


@pytest.mark.parametrize("powers", [(), pytest.param((0.1,), marks=pytest.mark.slow)])
def test_estimates_are_standing_statistics_of_the_runs_own_latents(tmp_path, powers):
    options = tiny(tmp_path, power_ema=powers)
    gan = dcgan_mnist.build(options, DATA)
    state = averaged(gan.init(jax.random.key(0)))
    found = Drawing(gan, DATA, state).estimated(state)

    root, sampler = jax.random.fold_in(jax.random.key(0), role_number("batch statistics")), latents(8)

    def inputs(number):
        keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(number * BATCH + jnp.arange(BATCH))
        return sampler({}, keys)["latent"], None

    assert list(found.ema) == ["generator", *(f"generator:{width}" for width in powers)]
    for name, variables in found.ema.items():
        want = jax.jit(lambda v: standing_statistics(state.generator, v, inputs, BATCHES))(state.ema[name])
        assert_same(variables["batch_stats"], want["batch_stats"], 1e-5)
        assert_same(variables["params"], state.ema[name]["params"])
    assert_same(jax.tree.leaves(found.players), jax.tree.leaves(state.players))
    assert_same(found.hyper, state.hyper)


@pytest.mark.slow
def test_members_are_estimated_as_alone(tmp_path):
    options = tiny(tmp_path, seeds=2)
    alone, members = dcgan_mnist.build(options, DATA), members_of(options)
    gan = ensemble_of(alone, members)
    state = gan.init(jax.random.key(0))
    state = state.replace(members=averaged(state.members))
    found = Drawing(gan, DATA, state, members=2).estimated(state)
    for number in range(2):
        one = ensemble.member(state, number)
        want = Drawing(alone, DATA, one).estimated(one)
        assert_same(ensemble.member(found, number).ema, want.ema, 1e-5)


@pytest.mark.parametrize("statistics", ["averaged", "estimated"])
def test_what_has_no_batch_norm_is_refused(tmp_path, statistics):
    options = gan_ring.Options(workdir=str(tmp_path / "run"), ema_statistics=statistics, steps=2)
    expected = f"^--ema-statistics {statistics}, but no averaged network of this experiment has batch statistics"
    with pytest.raises(UsageError, match=expected):
        train(gan_ring.build, options)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_estimates_change_what_is_drawn_and_nothing_that_is_learned(tmp_path):
    runs = {}
    for statistics in ("raw", "estimated"):
        options = tiny(tmp_path / statistics, ema_statistics=statistics, eval_every=12, eval_count=64)
        train(dcgan_mnist.build, options)
        runs[statistics] = jaxgan.training.open(options.workdir)
    plain, own = runs["raw"], runs["estimated"]
    assert_same(jax.tree.leaves(plain.state), jax.tree.leaves(own.state))
    again = jaxgan.training.open(own.directory)
    drawn = own.sample(16)
    np.testing.assert_array_equal(drawn, again.sample(16))
    assert np.any(drawn != plain.sample(16))
    np.testing.assert_array_equal(own.sample(16, weights="raw"), plain.sample(16, weights="raw"))
    codes = own.codes(16)
    np.testing.assert_array_equal(own.synthesize(codes), drawn)
    for run, said in ((plain, "running averages"), (own, "estimated from 64 batches of 64")):
        lines = (run.directory / "evaluations.jsonl").read_text().splitlines()
        assert {json.loads(line)["batch_norm"] for line in lines} == {said}


@pytest.mark.slow
def test_averaged_statistics_are_saved_and_continued_bit_for_bit(tmp_path):
    whole = tiny(tmp_path / "whole", ema_statistics="averaged", steps=8)
    want = train(dcgan_mnist.build, whole)
    parts = tiny(tmp_path / "parts", ema_statistics="averaged", steps=4)
    train(dcgan_mnist.build, parts)
    found = train(dcgan_mnist.build, dataclasses.replace(parts, steps=8))
    assert_same(jax.tree.leaves(found), jax.tree.leaves(want))
    mean = found.ema["generator"]["batch_stats"], found.generator.variables["batch_stats"]
    assert all(np.any(np.asarray(a) != b) for a, b in zip(*map(jax.tree.leaves, mean), strict=True))
    with pytest.raises(UsageError, match=r"--ema-statistics raw \(the run has averaged\)"):
        train(dcgan_mnist.build, dataclasses.replace(parts, steps=9, ema_statistics="raw"))


@pytest.mark.slow
def test_a_sweep_has_both(tmp_path):
    both = tiny(tmp_path, ema_statistics="averaged", sweep="ema_statistics=0,1", steps=4)
    state = train(dcgan_mnist.build, both)
    raw, own = (ensemble.member(state, number) for number in range(2))
    assert_same(raw.ema["generator"]["batch_stats"], raw.generator.variables["batch_stats"])
    assert_same(raw.ema["generator"]["params"], own.ema["generator"]["params"], 1e-6)
    kept = own.ema["generator"]["batch_stats"], own.generator.variables["batch_stats"]
    assert all(np.any(np.asarray(a) != b) for a, b in zip(*map(jax.tree.leaves, kept), strict=True))
