"""Phases: which step is made when, that only one is computed, and that every road leads to the same state."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import adam, assert_same, differs, tiny_batch, tiny_gan
from test_roads import NAMED, ROADS, numbers, run

from jaxgan import Step, ensemble, iteration, make_d_step, make_g_step, phases, repeat, update
from jaxgan.lookahead import lookahead, lookahead_start
from jaxgan.losses import non_saturating
from jaxgan.samplers import latents
from jaxgan.state import GANState
from jaxgan.terms.adversarial import d_loss, g_loss

FIRST = 2  # iterations of the first phase
STEPS = 4
BATCH = tiny_batch(8)
DRAWN = latents(4)


def pixels(nets, batch, draw, state):
    """The generator alone, without the discriminator."""
    drawn = nets["generator"](draw.normal("z", 4))
    return {"pixel": jnp.abs(drawn - batch["image"])}


def alone(axis_name=None):
    return update("generator", pixels, axis_name=axis_name)


def both(axis_name=None):
    return (
        make_d_step(DRAWN, [d_loss(non_saturating)], axis_name=axis_name),
        make_g_step(DRAWN, [g_loss(non_saturating)], axis_name=axis_name),
    )


def make(axis_name=None, first=FIRST):
    return phases(iteration(alone(axis_name)), iteration(*both(axis_name)), first)


def test_the_first_step_is_made_first_and_then_the_second():
    """As the steps would be made by hand, one after the other; metrics that a phase lacks are 0."""
    step, state = jax.jit(make()), tiny_gan(tx=adam())
    by_hand, steps = state, [jax.jit(iteration(alone())), jax.jit(iteration(*both()))]
    for i in range(STEPS):
        state, metrics = step(state, BATCH)
        by_hand, expected = steps[i >= FIRST](by_hand, BATCH)
        assert_same(state, by_hand, 1e-6)
        absent = {name for name, value in metrics.items() if name not in expected and float(value) == 0}
        assert {"generator/pixel", "discriminator/adversarial"} & absent and metrics.keys() - absent == expected.keys()
        assert_same({name: metrics[name] for name in expected}, expected, 1e-6)
        assert int(state.step) == i + 1
        assert int(state.discriminator.step) == max(0, i + 1 - FIRST)
    assert int(state.generator.step) == STEPS


@pytest.mark.slow
def test_it_is_one_step_of_an_iteration():
    """Of steps that don't count themselves: the iteration does, once."""
    _, g_step = both()
    step = jax.jit(iteration(phases(alone(), g_step, 1), update("discriminator", judge, name="d")))
    state = tiny_gan()
    for i in range(3):
        was = state
        state, metrics = step(state, BATCH)
        assert int(state.step) == int(state.generator.step) == int(state.discriminator.step) == i + 1
        assert (float(metrics["generator/pixel"]) > 0) == (i < 1)
        assert (float(metrics["generator/adversarial"]) > 0) == (i >= 1)
        assert differs(state.ema, was.ema)


def judge(nets, batch, draw, state):
    logits = nets["discriminator"](batch["image"])["logits"]
    return {"adversarial": non_saturating.d(logits, -logits)}


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, STEPS])
def test_a_phase_may_be_all(first):
    state, step = tiny_gan(), make(first=first)
    after, _ = run(jax.jit, step, state, [BATCH] * STEPS)
    only = iteration(*both()) if first == 0 else iteration(alone())
    expected, _ = run(jax.jit, only, state, [BATCH] * STEPS)
    assert_same(after, expected, 1e-6)


FAST = ("vmap",)


@pytest.mark.parametrize(
    "road", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in (*NAMED, "jit on 4")]
)
def test_every_road_leads_to_the_same_state(road):
    state, step = tiny_gan(), make("data" if road in NAMED else None)
    expected = run(jax.jit, make(), state, [BATCH] * STEPS)
    assert_same(numbers(run(ROADS[road], step, state, [BATCH] * STEPS)), numbers(expected), 2e-5)


@pytest.mark.slow
def test_a_scan_and_eager_steps_lead_to_the_same_state():
    state, step = tiny_gan(), make()
    expected, _ = run(jax.jit, step, state, [BATCH] * STEPS)
    scanned, metrics = jax.jit(lambda state: jax.lax.scan(lambda s, _: step(s, BATCH), state, length=STEPS))(state)
    assert_same(scanned, expected, 2e-5)
    assert np.flatnonzero(metrics["generator/pixel"]).tolist() == [0, 1]
    assert np.flatnonzero(metrics["discriminator/loss"]).tolist() == [2, 3]
    eager = state
    for _ in range(STEPS):
        eager, _ = step(eager, BATCH)
    assert_same(eager, expected, 2e-5)


def conditionals(step, *arguments):
    return len(re.findall(r" conditional\(", jax.jit(step).lower(*arguments).compile().as_text()))


@pytest.mark.slow
def test_only_one_of_both_is_computed_in_ensembles_too():
    members = [tiny_gan(seed) for seed in range(3)]
    members = [jax.tree.unflatten(jax.tree.structure(members[0]), jax.tree.leaves(each)) for each in members]
    many, batches = ensemble.stack(members), jax.tree.map(lambda x: jnp.stack([x] * 3), BATCH)
    step = jax.jit(ensemble.map_members(make()))
    assert conditionals(make(), members[0], BATCH) == conditionals(step, many, batches) == 1
    for _ in range(STEPS):
        many, _ = step(many, batches)
    for number, state in enumerate(members):
        after, _ = run(jax.jit, make(), state, [BATCH] * STEPS)
        assert_same(jax.tree.leaves(ensemble.member(many, number)), jax.tree.leaves(after), 2e-5)


def test_the_other_phase_really_is_left_out():
    """Of a step that would be NaN, and of one that says that it ran."""
    ran = []

    def spoiling(state: GANState, batch):
        jax.debug.callback(lambda: ran.append("second"))
        params = jax.tree.map(lambda p: p * jnp.nan, state.generator.params)
        return state.replace(step=state.step + 1, generator=state.generator.replace(params=params)), {}

    step, state = jax.jit(phases(iteration(alone()), Step(spoiling, counts=True), 2)), tiny_gan()
    for i in range(3):
        state, _ = step(state, BATCH)
        jax.effects_barrier()
        assert ran == ["second"] * (i == 2)
        finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.generator.params))
        assert finite == (i < 2)


def test_both_are_traced_once_and_one_program_serves_both_phases():
    traced = []

    def noted(name, step):
        def function(state, batch):
            traced.append(name)
            return step(state, batch)

        return Step(function, counts=True)

    step = jax.jit(phases(noted("first", iteration(alone())), noted("second", iteration(*both())), FIRST))
    state = tiny_gan()
    for _ in range(STEPS):
        state, _ = step(state, BATCH)
    assert sorted(traced) == ["first", "second"] and step._cache_size() == 1


@pytest.mark.slow
def test_repetitions_and_lookahead_are_kept():
    d_step, g_step = both()
    critics = iteration(repeat(d_step, 2), g_step)
    step = phases(iteration(repeat(alone(), 2)), critics, 1)
    assert step.repeats == 2 and step.counts and step.axis_name is None
    around = lookahead(step, 2)
    state = lookahead_start(tiny_gan())
    for i in range(2):
        state, _ = jax.jit(around)(state, BATCH)
        assert int(state.generator.step) == [2, 3][i] and int(state.discriminator.step) == [0, 2][i]
    slow = state.extras["lookahead"]["generator"]
    assert_same(slow, state.generator.params)


@pytest.mark.parametrize(
    "first, second, message",
    [
        (alone("data"), alone(), "two phases must have the same axis_name, got 'data' and None"),
        (repeat(alone(), 2), alone(), "two phases must have the same repeats, got 2 and 1"),
        (update("generator", pixels, size=8), alone(), "two phases must have the same size, got 8 and None"),
        (iteration(alone()), alone(), "one of two phases is an iteration and the other isn't"),
        (alone(), iteration(alone()), "one of two phases is an iteration and the other isn't"),
    ],
)
def test_phases_that_do_not_fit_are_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        phases(first, second, 3)


def test_a_negative_number_is_refused_and_axis_name_is_that_of_both():
    with pytest.raises(ValueError, match="0 or more, got -1"):
        phases(alone(), alone(), -1)
    step = phases(alone("data"), alone("data"), 1)
    assert step.axis_name == "data" and step.repeats == 1 and not step.counts
    with pytest.raises(ValueError, match="different axis_name"):
        iteration(step, alone())
