"""Power-function averages: against the paper's numbers and float64 loops, beside everything that a step may be in."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Generator, assert_same, differs, tiny_batch, tiny_gan
from test_roads import NAMED, ROADS, numbers, run

from jaxgan import GANState, ensemble, iteration, make_d_step, make_g_step, phases, update
from jaxgan.ema import power_ema, power_exponent, power_weights, width_name
from jaxgan.losses import non_saturating
from jaxgan.players import init_player
from jaxgan.samplers import latents
from jaxgan.terms.adversarial import d_loss, g_loss

WIDTHS = (0.05, 0.1)
POWERS = {f"power_ema/{width}": power_exponent(width) for width in WIDTHS}
DRAWN = latents(4)
STEPS = 5


def make(axis_name=None):
    return iteration(
        make_d_step(DRAWN, [d_loss(non_saturating)], axis_name=axis_name),
        make_g_step(DRAWN, [g_loss(non_saturating)], axis_name=axis_name),
    )


def profile(gamma, steps):
    """The weights of the values after each of `steps` updates in their average, float64 `[steps]`."""
    kept = (1 - 1 / np.arange(1, steps + 1)) ** (gamma + 1)
    return (1 - kept) * np.append(np.cumprod(kept[:0:-1])[::-1], 1.0)


def test_exponents_are_the_papers():
    """Karras et al. 2024, section 3.1: 5% and 10% are γ ≈ 16.97 and 6.94."""
    assert round(power_exponent(0.05), 2) == 16.97 and round(power_exponent(0.10), 2) == 6.94


@pytest.mark.parametrize("width", [0.02, 0.05, 0.1, 0.2, 0.28])
def test_a_width_is_the_deviation_of_the_profile(width):
    """Of the weights that the updates leave to each step; in proportion to τ^γ they would be for infinitely many."""
    steps = 20_000
    weights, times = profile(power_exponent(width), steps), np.arange(1, steps + 1) / steps
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-12)
    mean = (weights * times).sum()
    np.testing.assert_allclose(np.sqrt((weights * (times - mean) ** 2).sum()), width, rtol=1e-3)


@pytest.mark.parametrize("width", [0.0, -0.1, 0.2887, 1.0, float("nan")])
def test_another_width_is_refused(width):
    with pytest.raises(ValueError, match=rf"^expected a relative width above 0 and below 0\.2887, .* got {width}$"):
        power_exponent(width)


@pytest.mark.parametrize("gamma", [0.0, 6.94, 16.97])
def test_an_average_is_the_float64_loops(gamma):
    random = np.random.default_rng(0)
    values = random.normal(size=(40, 3)).astype(np.float32)
    average = {"w": jnp.full(3, 1e3), "count": jnp.int32(7)}  # the initial weights are forgotten
    expected = np.full(3, np.nan)
    for t, value in enumerate(values, 1):
        average = power_ema(average, {"w": jnp.asarray(value), "count": jnp.int32(t)}, jnp.int32(t), gamma)
        share = (1 - 1 / t) ** (gamma + 1)
        expected = value.astype(np.float64) if t == 1 else share * expected + (1 - share) * value
    np.testing.assert_allclose(average["w"], expected, atol=2e-5 if gamma == 0 else 1e-6)
    assert average["count"] == 40 and average["w"].dtype == jnp.float32
    if gamma == 0:
        np.testing.assert_allclose(average["w"], values.mean(0), atol=2e-5)


@pytest.mark.parametrize("step", [1, 2, 1000, 2_000_000])
def test_the_share_of_late_updates_is_not_rounded_away(step):
    """At two million updates it is 4e-6, of which the difference 1 - β in float32 would leave less than two digits."""
    exact = 1 - (1 - 1 / step) ** 7.94 if step < 1000 else -np.expm1(7.94 * np.log1p(-1 / step))
    found = power_ema(jnp.zeros(1), jnp.ones(1), jnp.int32(step), 6.94)
    np.testing.assert_allclose(found, [exact], rtol=1e-6)


def test_states_have_them_beside_the_others_and_change_in_nothing_else():
    step, batch = jax.jit(make()), tiny_batch(4)
    generator = Generator(batch_norm=True)
    plain = tiny_gan(generator=generator)
    state = tiny_gan(generator=generator, hyper=POWERS)
    assert plain.weights == ("ema", "raw") and state.weights == ("ema", "raw", "0.05", "0.1")
    assert list(plain.ema) == ["generator"]
    assert list(state.ema) == ["generator", "generator:0.05", "generator:0.1"]
    seen = []
    for _ in range(STEPS):
        state, _ = step(state, batch)
        plain, _ = step(plain, batch)
        seen.append(jax.tree.map(lambda x: np.asarray(x, np.float64), state.generator.params))
    assert_same(state.ema["generator"], plain.ema["generator"])
    assert_same(jax.tree.leaves(state.players), jax.tree.leaves(plain.players))
    for width in WIDTHS:
        found = state.variables_of("generator", str(width))
        weights = profile(power_exponent(width), STEPS)
        expected = jax.tree.map(lambda *values, w=weights: sum(w * x for w, x in zip(w, values, strict=True)), *seen)
        for one, other in zip(jax.tree.leaves(found["params"]), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
        assert_same(found["batch_stats"], state.generator.variables["batch_stats"])
        assert differs(found["params"], state.generator.params) and differs(found, state.ema["generator"])
    latent = batch["latent"]
    drawn = [np.asarray(state.evaluate("generator", latent, None, weights=name)) for name in state.weights]
    assert all(np.any(one != other) for i, one in enumerate(drawn) for other in drawn[:i])


def test_names_that_are_not_there_are_refused():
    state = tiny_gan(hyper=POWERS)
    with pytest.raises(ValueError, match=re.escape("weights must be one of ema, raw, 0.05, 0.1, got '0.2'")):
        state.variables_of("generator", "0.2")
    with pytest.raises(ValueError, match="weights must be one of ema, raw, got 'averaged'"):
        tiny_gan().variables_of("generator", "averaged")


def test_a_player_may_have_a_colon_in_its_name():
    player = init_player(jax.random.key(0), Generator(), tiny_gan().generator.tx, jnp.zeros((1, 4)), None)
    hyper = {"a:b/learning_rate": 0.5, "ema_half_life": 8.0, "power_ema/0.1": power_exponent(0.1)}
    state = GANState.of(jax.random.key(0), {"a:b": player}, averaged=["a:b"], hyper=hyper)
    assert state.weights == ("ema", "raw", "0.1")

    def objective(nets, batch, draw, state):
        return {"pixel": jnp.abs(nets["a:b"](draw.normal("z", 4)) - batch["image"])}

    state, _ = jax.jit(iteration(update("a:b", objective)))(state, tiny_batch(4))
    assert_same(state.variables_of("a:b", "0.1"), state.variables_of("a:b", "raw"), 1e-6)  # after the first update
    assert differs(state.variables_of("a:b"), player.all_variables)


ALL = [name if name == "vmap" else pytest.param(name, marks=pytest.mark.slow) for name in (*NAMED, "jit on 4")]


@pytest.mark.parametrize("road", ALL)
def test_every_road_leads_to_the_same_averages(road):
    state, batches = tiny_gan(hyper=POWERS), [tiny_batch(8, seed) for seed in range(3)]
    expected = run(jax.jit, make(), state, batches)
    found = run(ROADS[road], make("data" if road in NAMED else None), state, batches)
    assert_same(numbers(found), numbers(expected), 2e-5)


def test_phases_are_counted_as_one_run():
    """The average goes on where the second phase begins."""
    batch, state = tiny_batch(4), tiny_gan(hyper=POWERS)
    step, expected = jax.jit(phases(make(), make(), 2)), jax.jit(make())
    by_hand = state
    for _ in range(STEPS):
        state, _ = step(state, batch)
        by_hand, _ = expected(by_hand, batch)
    assert_same(state, by_hand, 1e-6)


def test_members_of_an_ensemble_have_their_own():
    """As each would alone; and another width each, as `hyper` is a member's own."""
    wide = {"power_ema/0.1": power_exponent(0.2)}
    states = [tiny_gan(0, hyper=POWERS), tiny_gan(1, hyper=POWERS | wide)]
    together, step, batch = ensemble.stack(states), make(), tiny_batch(4)
    mapped, alone = jax.jit(ensemble.map_members(step)), jax.jit(step)
    for _ in range(3):
        together, _ = mapped(together, jax.tree.map(lambda x: jnp.stack([x, x]), batch))
        states = [alone(state, batch)[0] for state in states]
    for number, state in enumerate(states):
        assert_same(jax.tree.leaves(ensemble.member(together, number)), jax.tree.leaves(state), 2e-6)
    assert differs(states[1].ema["generator:0.1"], states[1].ema["generator:0.05"])


def test_weights_are_the_least_squares_of_profiles():
    """Against NumPy's least squares of profiles on a fine grid of midpoints."""
    widths, steps, width, step = [0.05, 0.1, 0.05, 0.1], [60, 60, 100, 100], 0.07, 100
    times = (np.arange(200_000) + 0.5) / 2000

    def values(width, step):
        gamma = power_exponent(width)
        return np.where(times < step, (gamma + 1) * (times / step) ** gamma / step, 0)

    columns = np.stack([values(*each) for each in zip(widths, steps, strict=True)], 1)
    expected = np.linalg.lstsq(columns, values(width, step), rcond=None)[0]
    np.testing.assert_allclose(power_weights(widths, steps, width, step), expected, rtol=1e-3)
    np.testing.assert_allclose(power_weights(widths, steps, 0.1, 60), [0, 1, 0, 0], atol=1e-9)


@pytest.mark.parametrize("every, error", [(400, 0.05), (50, 0.015)])
def test_an_average_that_was_not_kept_is_put_together(every, error):
    """Of two widths at step 400, or at eight steps: its profile, to a share of its length, where the nearest of them is
    0.28 away."""

    def steps(width, step):
        return np.pad(profile(power_exponent(width), step), (0, 400 - step))

    kept = [(width, step) for step in range(every, 401, every) for width in WIDTHS]
    weights, wanted = power_weights(*zip(*kept, strict=True), 0.07, 400), steps(0.07, 400)
    found = sum(weight * steps(*each) for weight, each in zip(weights, kept, strict=True))
    length = np.linalg.norm(wanted)
    assert np.linalg.norm(found - wanted) < error * length
    assert min(np.linalg.norm(steps(width, 400) - wanted) for width in WIDTHS) > 0.27 * length


def test_weights_need_as_many_widths_as_steps():
    with pytest.raises(ValueError, match="as many widths as steps, 1 or more, got 2 and 1"):
        power_weights([0.05, 0.1], [100], 0.07, 100)
    with pytest.raises(ValueError, match="got 0 and 0"):
        power_weights([], [], 0.07, 100)


def test_a_width_has_one_name():
    assert [width_name(each) for each in (0.1, "0.10", "1e-1", 0.05)] == ["0.1", "0.1", "0.1", "0.05"]
