"""`jaxgan.projection`: the schedules against hand numbers, steps against NumPy, best-so-far, resuming bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same

from jaxgan.projection import projection_noise, projection_rate, projection_step, start_projection

pytestmark = pytest.mark.usefixtures("as_users_have_it")
TARGETS = np.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.0]], np.float32)


def bowl(code, target):
    """Steep in one direction, with hollows."""
    far = code[0] - target
    return jnp.sum(far**2 * jnp.array([1.0, 4.0])) + jnp.sum(jnp.sin(3 * far) ** 2)


def codes(starts=2):
    return jnp.asarray(np.random.default_rng(0).normal(size=(3, starts, 1, 2)).astype(np.float32))


def keys(seeds=(5, 6, 7)):
    return jax.vmap(jax.random.key)(jnp.array(seeds, jnp.uint32))


def stepper(steps=40, rate=0.1, noise=0.3, **how):
    settings = {"steps": steps, "rate": rate, "noise": noise, **how}
    return jax.jit(lambda state, targets, keys: projection_step(state, bowl, targets, keys, **settings))


def taken(state, step, count, targets=TARGETS, own=None):
    for _ in range(count):
        state = step(state, jnp.asarray(targets), keys() if own is None else own)
    return state


@pytest.mark.parametrize(
    "step, rate, noise",
    [
        # Of 1,000 steps, in the paper's words: up from zero in 50, down by a cosine in the last 250, t from 1 to 0 in
        # 750.
        (0, 0.0, 1.0),
        (25, 0.5, (1 - 25 / 750) ** 2),
        (50, 1.0, (700 / 750) ** 2),
        (375, 1.0, 0.25),
        (750, 1.0, 0.0),
        (875, 0.5, 0.0),
        (1000 - 125 // 2 - 21, 0.5 - 0.5 * np.cos(np.pi / 3), 0.0),  # a third of the fall is left: 83 of 250
        (999, 0.5 - 0.5 * np.cos(np.pi / 250), 0.0),
    ],
)
def test_the_schedules_of_the_paper(step, rate, noise):
    np.testing.assert_allclose(projection_rate(step, 1000), rate, atol=4e-3 if step == 917 else 1e-6)
    np.testing.assert_allclose(projection_noise(step, 1000), noise, atol=1e-6)


def test_steps_are_adams_along_the_gradient_where_the_noise_is():
    """In NumPy, in float64, from the formulas of Kingma & Ba; the noise is read off the codes that were looked at."""
    start, step, steps = codes(), stepper(), 40
    state = start_projection(start)
    x, m, v = np.asarray(start, np.float64), 0.0, 0.0
    for t in range(12):
        share = max(0, 1 - t / steps / 0.75) ** 2
        draw = [np.asarray(jax.random.normal(jax.random.fold_in(key, t), (2, 1, 2))) for key in keys()]
        seen = x + 0.3 * share * np.stack(draw)
        far = seen - TARGETS[:, None, None]
        slope = 2 * far * np.array([1.0, 4.0]) + 6 * np.sin(3 * far) * np.cos(3 * far)
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        rate = 0.1 * min(1, t / steps / 0.05) * (0.5 - 0.5 * np.cos(np.pi * min(1, (1 - t / steps) / 0.25)))
        x = x - rate * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
        state = taken(state, step, 1)
        np.testing.assert_allclose(state.codes, x, atol=2e-5)
    assert int(state.step) == 12


def test_the_best_never_gets_worse_and_is_where_its_loss_says():
    state, step = start_projection(codes()), stepper(noise=1.0, rate=0.5)
    assert np.isinf(state.loss).all()
    before = state.loss
    for _ in range(40):
        state = taken(state, step, 1)
        assert (state.loss <= before).all()
        before = state.loss
        found = [[float(bowl(code, target)) for code in some] for some, target in zip(state.best, TARGETS, strict=True)]
        np.testing.assert_allclose(state.loss, found, rtol=1e-5)
    assert (state.loss < 0.5).any()


def test_a_step_that_is_not_finite_changes_nothing_of_the_best():
    def broken(code, target):
        return jnp.where(target[0] > 0.7, jnp.nan, bowl(code, target))

    state = taken(start_projection(codes()), stepper(), 5)
    after = projection_step(state, broken, jnp.asarray(TARGETS), keys(), steps=40, rate=0.1, noise=0.3)
    np.testing.assert_array_equal(after.loss[0], state.loss[0])
    np.testing.assert_array_equal(after.best[0], state.best[0])
    assert (after.loss[1:] <= state.loss[1:]).all()


def test_a_batch_is_each_alone():
    """Whatever else is in the batch, and in which place."""
    together = taken(start_projection(codes()), stepper(), 40)
    for i in (0, 2):
        one = slice(i, i + 1)
        alone = taken(start_projection(codes()[one]), stepper(), 40, TARGETS[one], keys()[one])
        for name in ("codes", "best", "loss"):
            np.testing.assert_allclose(getattr(alone, name)[0], getattr(together, name)[i], atol=1e-5, err_msg=name)


def test_saved_between_two_steps_it_goes_on_bit_for_bit():
    whole = taken(start_projection(codes()), stepper(), 30)
    half = jax.tree.map(np.array, taken(start_projection(codes()), stepper(), 13))
    assert_same(taken(jax.tree.map(jnp.asarray, half), stepper(), 17), whole)


def test_the_constraint_holds_where_it_is_looked_and_where_it_stays():
    ball = lambda code: code / jnp.maximum(1.0, jnp.linalg.norm(code))  # noqa: E731
    state = taken(start_projection(codes()), stepper(noise=2.0, rate=0.5, constrain=ball), 40)
    for found in (state.codes, state.best):
        assert np.linalg.norm(found, axis=-1).max() < 1 + 1e-6
    np.testing.assert_allclose(np.linalg.norm(state.codes[1], axis=-1), 1, atol=1e-5)  # the target is outside


def test_codes_without_starting_points_are_refused():
    with pytest.raises(ValueError, match=r"S starting points for each of N targets, got \[3, 2\]"):
        start_projection(jnp.zeros((3, 2)))
