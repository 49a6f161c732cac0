"""Games of two, three and four networks: one step gives the same numbers in every way to run it."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same, differs
from test_roads import NAMED, ROADS, numbers, run

from jaxgan import ensemble
from jaxgan.training.checkpoints.checkpoints import Checkpoints

GAMES = ["cyclegan", "stylegan2", "waveform", "vqgan", "text", "r3gan", "vaegan"]
STEPS = 3


@functools.cache
def game(name):
    return importlib.import_module(f"games.{name}")


@functools.cache
def started(name):
    """Returns the game's state and batch; a single state, since another call makes another tree of functions."""
    return game(name).start()


@functools.cache
def reference(name):
    state, batch = started(name)
    return run(jax.jit, game(name).make(), state, [batch] * STEPS)


FAST = {("shard_map", "vqgan"), ("vmap", "text")}
# Roads that test_roads.py compares for many GANs.
MORE_OF_THE_SAME = ("pmap", "shard_map unchecked", "vmap")


def marks(road, name):
    if (road, name) in FAST:
        return ()
    return pytest.mark.long if road in MORE_OF_THE_SAME else pytest.mark.slow


CASES = [pytest.param(road, name, marks=marks(road, name)) for road in (*NAMED, "jit on 4") for name in GAMES]


@pytest.mark.parametrize("road, name", CASES)
def test_every_road_leads_to_the_same_state(road, name):
    state, batch = started(name)
    step = game(name).make("data" if road in NAMED else None)
    assert_same(numbers(run(ROADS[road], step, state, [batch] * STEPS)), numbers(reference(name)), 2e-5)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "stylegan2" else n for n in GAMES])
def test_all_players_move_and_stay_finite(name):
    state, _ = started(name)
    after, metrics = reference(name)
    assert int(after.step) == STEPS
    for player, was in state.players.items():
        assert differs(after.players[player].params, was.params) and int(after.players[player].step) == STEPS
        for kind in was.variables:
            if jax.tree.leaves(was.variables[kind])[0].dtype == jnp.float32:
                assert differs(after.players[player].variables[kind], was.variables[kind]), (player, kind)
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
    assert differs(after.ema, state.ema)


# Eager steps compile each operation by itself: the largest networks take a quarter of a minute.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in ("text", "vaegan") else pytest.mark.long) for n in GAMES]
)
def test_a_scan_and_eager_steps_lead_to_the_same_state(name):
    state, batch = started(name)
    step = game(name).make()
    after, _ = jax.jit(lambda state: jax.lax.scan(lambda state, _: step(state, batch), state, length=STEPS))(state)
    assert_same(numbers((after, {})), numbers((reference(name)[0], {})), 2e-5)
    once = jax.jit(step)(state, batch)
    assert_same(numbers(step(state, batch)), numbers(once), 2e-5)


@pytest.mark.parametrize("name", ["text", *(pytest.param(n, marks=pytest.mark.slow) for n in GAMES if n != "text")])
def test_a_member_of_an_ensemble_is_as_alone(name):
    state, batch = started(name)
    other = state.replace(key=jax.random.key(9))
    both = jax.tree.map(lambda x: jnp.stack([x, x]), batch)
    step = jax.jit(ensemble.map_members(game(name).make()))
    many = ensemble.stack([state, other])
    for _ in range(STEPS):
        many, metrics = step(many, both)
    after, expected_metrics = reference(name)
    assert_same(
        numbers((ensemble.member(many, 0), jax.tree.map(lambda x: x[0], metrics))),
        numbers((after, expected_metrics)),
        2e-5,
    )
    assert differs(ensemble.member(many, 1).players, after.players) or name in ("vqgan", "waveform")  # draw nothing
    assert many.frozen.tolist() == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text", "r3gan", "waveform", "vaegan"])
def test_accumulation_is_one_batch(name):
    state, batch = started(name)
    whole, parts = (run(jax.jit, game(name).make(accumulate=n), state, [batch] * STEPS) for n in (1, 2))
    assert_same(numbers(parts), numbers(whole), 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_a_saved_game_goes_on_bit_for_bit(name, tmp_path):
    state, batch = started(name)
    step = jax.jit(game(name).make())
    state, _ = step(state, batch)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state)
    checkpoints.close()
    _, found = Checkpoints(tmp_path).restore_newest(state)
    assert_same(step(found, batch), step(state, batch))
