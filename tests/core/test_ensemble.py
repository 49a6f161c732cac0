"""Ensembles as pure functions: each member is as it would be alone, whatever happens to the others."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import adam, assert_same, differs, given, tiny_batch, tiny_gan
from user_state import Dict

from jaxgan import d_loss, g_loss, iteration, make_d_step, make_g_step, repeat
from jaxgan.ensemble import Ensemble, axes, begin, map_members, member, stack
from jaxgan.losses import non_saturating
from jaxgan.parallel import layout
from jaxgan.terms import Term, every
from jaxgan.terms.penalties import r1

STEPS = 10
PLAYERS = ("generator", "discriminator")
RATES = {"discriminator/learning_rate": 0.1, "gamma": 0.3}


def bomb(view):
    """Is NaN in the player's update number `hyper["bomb"]`, otherwise 0."""
    return jnp.where(view.step.astype(jnp.float32) == view.state.hyper["bomb"], jnp.nan, 0.0) * jnp.ones(1)


D_STEP = make_d_step(given, [d_loss(non_saturating), every(r1("gamma"), 4), Term("bomb", bomb)])
STEP = iteration(D_STEP, make_g_step(given, [g_loss(non_saturating)]))


def alone(seed, *, tx=None, **hyper):
    calm = {f"{player}/learning_rate": 0.01 for player in PLAYERS} if tx else {}  # Adam's steps are as long as its rate
    return tiny_gan(seed, tx=tx, hyper={"bomb": -1.0, **calm, **hyper})


def three(tx=None):
    """Returns states with seeds 0, 1 and 2, the last one with other numbers."""
    return [alone(0, tx=tx), alone(1, tx=tx), alone(2, tx=tx, **RATES)]


def batches_of(number):
    """Returns a member's batches, one for each step."""
    return [tiny_batch(4, seed=100 * number + step) for step in range(STEPS)]


def train(step, state, batches):
    """Returns the state after the batches, and metrics `[steps, ...]`."""
    step, rows = jax.jit(step), []
    for batch in batches:
        state, metrics = step(state, batch)
        rows.append(metrics)
    return state, jax.tree.map(lambda *values: np.stack(values), *rows)


def side_by_side(*batches):
    """Stacks several lists of batches `[B, ...]` to one list of batches `[S, B, ...]`."""
    return [jax.tree.map(lambda *values: jnp.stack(values), *each) for each in zip(*batches, strict=True)]


def of_all(count=3):
    return side_by_side(*map(batches_of, range(count)))


def same(one, other, tolerance=0.0):
    """Compares leaves, since two calls make two optimiser objects."""
    assert_same(jax.tree.leaves(one), jax.tree.leaves(other), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", [None, adam], ids=["sgd", "adam"])
def test_every_member_is_what_it_would_be_alone(optimiser):
    tx = optimiser() if optimiser else None
    ensemble, metrics = train(map_members(STEP), stack(three(tx)), of_all())
    assert ensemble.step == STEPS and ensemble.key.shape == (3,) and not ensemble.frozen.any()
    for number, state in enumerate(three(tx)):
        state, expected = train(STEP, state, batches_of(number))
        same(member(ensemble, number), state, 1e-5)
        assert_same(jax.tree.map(lambda values, n=number: values[:, n], metrics), expected, 1e-5)
    states = [member(ensemble, number).generator.params for number in range(3)]
    assert differs(states[0], states[1]) and differs(states[1], states[2])


def test_a_swept_number_alone_makes_the_difference():
    twins = stack([alone(0), alone(0), alone(0, gamma=0.0)])
    ensemble, _ = train(map_members(STEP), twins, side_by_side(*[batches_of(0)] * 3))
    same(member(ensemble, 0).replace(hyper={}), member(ensemble, 1).replace(hyper={}))
    assert differs(member(ensemble, 0).discriminator.params, member(ensemble, 2).discriminator.params)


def test_counters_alone_are_shared():
    state = {"step": jnp.int32(3), "inner": {"step": jnp.uint32(1), "count": jnp.int32(2)}, "none": None}
    others = {"steps": jnp.int32(0), "hyper": {"step": jnp.float32(0.5)}, "layer": {"step": {"kernel": jnp.ones(2)}}}
    more = {"list": [jnp.ones(3)], "table": {"step": jnp.zeros(4, jnp.int32)}}
    expected = {"step": None, "inner": {"step": None, "count": 0}, "none": None}
    expected |= {"steps": 0, "hyper": {"step": 0}, "layer": {"step": {"kernel": 0}}}
    assert axes(state | others | more) == expected | {"list": [0], "table": {"step": 0}}
    gan = tiny_gan(tx=adam())
    assert axes(gan).generator.step is None and axes(gan).step is None and axes(gan).key == 0
    assert axes(gan).generator.opt_state.count == 0, "Adam's count is the member's own"
    stacked = axes(stack([tiny_gan(0), tiny_gan(1)]).members)
    assert stacked.discriminator.step is None and set(jax.tree.leaves(stacked)) == {0}


def test_members_come_out_as_they_were_put_in():
    states = [tiny_gan(seed) for seed in range(3)]
    ensemble = stack(states)
    for number, state in enumerate(states):
        same(member(ensemble, number), state)
    for number in (-1, 3):
        with pytest.raises(IndexError, match=f"member {number} of an ensemble of 3; they are numbered from 0"):
            member(ensemble, number)


def test_an_ensemble_begins_as_its_members_would():
    """It also does where each call of `init` makes its own optimiser, and so its own tree."""

    def init(key):
        state = tiny_gan(tx=adam(), extras={"nothing": None})
        params = jax.tree.map(lambda p: p + jax.random.uniform(key), state.generator.params)
        return state.replace(key=key, generator=state.generator.replace(params=params))

    keys = jnp.stack([jax.random.key(seed) for seed in (5, 2**32 - 1)])
    ensemble = jax.jit(lambda: begin(init, keys))()
    assert ensemble.frozen.tolist() == [0, 0] and ensemble.members.step.shape == ()
    for number in range(2):
        same(member(ensemble, number), init(keys[number]), 1e-6)


def test_states_may_be_dicts_and_have_no_floats():
    def step(state, batch):
        seen = state["seen"] + jnp.sum(batch["image"])
        metrics = {"seen": seen, "odd": seen % 2 == 1, "half": seen / 2}
        return Dict(state | {"step": state["step"] + 1, "seen": seen}), metrics

    start = Dict(step=jnp.int32(0), key=jax.random.key(0), seen=jnp.int32(0))
    images = jnp.arange(12, dtype=jnp.int32).reshape(3, 4)
    ensemble, metrics = jax.jit(map_members(step))(stack([start] * 3), {"image": images})
    assert member(ensemble, 2)["seen"] == 8 + 9 + 10 + 11 and ensemble.step == 1
    assert {name: values.tolist() for name, values in metrics.items()} == {
        "seen": [6, 22, 38],
        "odd": [0, 0, 0],
        "half": [3, 11, 19],
    }
    assert all(values.dtype == jnp.float32 for values in metrics.values()), "they must be able to become NaN"


# --- a member that diverges ------------------------------------------------------------------------------------------
def test_one_that_becomes_nan_stays_and_the_others_do_not_notice():
    tx, counts = adam(), []
    harmless = stack(three(tx))
    ensemble = stack([alone(0, tx=tx), alone(1, tx=tx, bomb=6.0), alone(2, tx=tx, **RATES)])
    step = jax.jit(map_members(STEP))
    for number, batch in enumerate(of_all()):
        before = ensemble
        ensemble, metrics = step(ensemble, batch)
        harmless, expected = step(harmless, batch)
        assert ensemble.frozen.tolist() == [0, 7 if number >= 6 else 0, 0]
        for other in (0, 2):
            same(member(ensemble, other).replace(hyper={}), member(harmless, other).replace(hyper={}))
            assert all(values[other] == expected[name][other] for name, values in metrics.items())
        nan = {name for name, values in metrics.items() if np.isnan(values[1])}
        if number < 6:
            assert not nan
        elif number == 6:
            assert {"discriminator/bomb", "discriminator/loss"} <= nan != set(metrics), "it is told which one it was"
        else:
            assert nan == set(metrics)
        if number >= 6:
            kept, was = member(ensemble, 1), member(before, 1)
            players = {name: getattr(kept, name).replace(step=getattr(was, name).step) for name in PLAYERS}
            same(kept.replace(step=was.step, **players), was)  # but for the counters, which go on
            counts.append(int(kept.generator.opt_state.count))
    assert counts == [6] * 4 and ensemble.members.step == STEPS


def test_a_state_that_overflows_is_caught_though_no_metric_shows_it():
    def step(state, batch):
        state, metrics = STEP(state, batch)
        blow = state.hyper["blow"] ** 2
        params = jax.tree.map(lambda p: p * blow, state.generator.params)
        return state.replace(generator=state.generator.replace(params=params)), metrics

    ensemble = stack([alone(0, blow=2.0), alone(0, blow=3e38)])
    kernel = lambda ensemble, number: member(ensemble, number).generator.params["Dense_0"]["kernel"]  # noqa: E731
    after, metrics = jax.jit(map_members(step))(ensemble, of_all(2)[0])
    assert after.frozen.tolist() == [0, 1]
    assert all(np.isfinite(values).all() for values in metrics.values())
    assert differs(kernel(after, 0), kernel(ensemble, 0)) and not differs(kernel(after, 1), kernel(ensemble, 1))


@pytest.mark.parametrize("spoil", ["opt_state", "ema", "extras", "variables"])
@pytest.mark.parametrize("value", [jnp.nan, -jnp.inf])
def test_every_part_of_a_state_is_looked_at(spoil, value):
    def step(state, batch):
        bad = jnp.where(state.hyper["gamma"] == 0, value, 1.0)
        if spoil in ("opt_state", "variables"):
            parts = {"opt_state": {"x": bad}, "variables": {"batch_stats": {"mean": bad}}}
            state = state.replace(generator=state.generator.replace(**{spoil: parts[spoil]}))
        elif spoil == "ema":
            state = state.replace(ema=jax.tree.map(lambda x: x * bad, state.ema))
        else:
            state = state.replace(extras={"ada": {"p": bad}})
        return state.replace(step=state.step + 1), {"loss": jnp.zeros(())}

    start = [alone(0, gamma=gamma) for gamma in (1.0, 0.0)]
    parts = {"opt_state": {"x": jnp.ones(())}, "variables": {"batch_stats": {"mean": jnp.ones(())}}}
    if spoil in parts:
        start = [s.replace(generator=s.generator.replace(**{spoil: parts[spoil]})) for s in start]
    elif spoil == "extras":
        start = [s.replace(extras={"ada": {"p": jnp.ones(())}}) for s in start]
    ensemble, _ = map_members(step)(stack(start), {"image": jnp.zeros((2, 4))})
    assert ensemble.frozen.tolist() == [0, 1]


# --- lazy terms ------------------------------------------------------------------------------------------------------
def conditionals(step, *arguments):
    """Counts the branches in the compiled program."""
    return len(re.findall(r" conditional\(", jax.jit(step).lower(*arguments).compile().as_text()))


@pytest.mark.slow
def test_lazy_terms_stay_lazy():
    """With a count for each member XLA would compute both sides and select."""
    ensemble, (batch, *_) = stack(three()), of_all()
    by_hand = jax.vmap(STEP)
    counted = jax.tree.map(
        lambda axis, leaf: jnp.stack([leaf] * 3) if axis is None else leaf,
        *(axes(ensemble.members), ensemble.members),
        is_leaf=lambda x: x is None,
    )
    both_ways = conditionals(STEP, three()[0], batches_of(0)[0])  # forwards and backwards
    assert both_ways and conditionals(map_members(STEP), ensemble, batch) == both_ways
    assert conditionals(by_hand, counted, batch) == 0
    twice = iteration(repeat(D_STEP, 2), make_g_step(given, [g_loss(non_saturating)]))
    assert conditionals(map_members(twice), ensemble, batch) == both_ways, "also within a scan of critic steps"


def test_one_program_for_all_steps():
    traced = []

    def step(state, batch):
        traced.append(1)
        return STEP(state, batch)

    jitted, ensemble = jax.jit(map_members(step)), stack(three())
    for batch in of_all():
        ensemble, _ = jitted(ensemble, batch)
    assert jitted._cache_size() == 1 and len(traced) == 1


# --- devices ---------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 2, 3])
def test_members_on_four_devices_have_the_numbers_of_one(count):
    states = [alone(seed) for seed in range(count)]
    batches = of_all(count)[:3]
    expected, _ = train(map_members(STEP), stack(states), batches)
    where = layout(jax.devices()[:4], members=count)
    assert where.mesh.devices.shape == {4: (4, 1), 2: (2, 2), 3: (1, 4)}[count]
    ensemble = stack(states)
    lies = where.of(ensemble)
    step = jax.jit(where.over_members(STEP), in_shardings=(lies, where.batch), out_shardings=(lies, where.everywhere))
    ensemble = jax.device_put(ensemble, lies)
    for batch in batches:
        ensemble, _ = step(ensemble, batch)
    parts = ensemble.members.generator.params["Dense_0"]["kernel"].sharding.shard_shape((count, 4, 8))
    assert parts[0] == count // where.mesh.shape["seed"]
    assert_same(ensemble, expected, 1e-5)


@pytest.mark.slow
def test_an_ensemble_is_a_state():
    """It has `step` and `key`, as a state has."""
    ensemble = stack([tiny_gan(0), tiny_gan(1)])
    assert isinstance(ensemble, Ensemble) and ensemble.step == 0
    keys = jnp.stack([jax.random.key(0), jax.random.key(1)])
    assert np.array_equal(jax.random.key_data(ensemble.key), jax.random.key_data(keys))
    multi = optax.MultiSteps(adam(), 2)
    accumulating = [alone(seed, tx=multi) for seed in range(2)]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        ensemble, _ = train(map_members(STEP), stack(accumulating), of_all(2))
        for number, state in enumerate(accumulating):
            same(member(ensemble, number), train(STEP, state, batches_of(number))[0], 1e-5)
