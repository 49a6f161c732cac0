"""Log ratios from logits, rejection sampling and Metropolis-Hastings chains: against sums over a few outcomes, whose
probabilities are known, and against SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import losses, rejection
from jaxgan.rejection import Bound, Calibration, Chain, acceptance, bound_of, calibrate, calibration_z

random = np.random.default_rng(0)

DATA = np.array([0.05, 0.5, 0.2, 0.25])  # of four outcomes
GENERATOR = np.array([0.4, 0.3, 0.2, 0.1])
LOG_RATIOS = np.log(DATA / GENERATOR).astype(np.float32)


def test_the_logit_of_an_optimal_discriminator_is_the_log_ratio():
    """Of the logistic loss, minimised over one logit for each outcome: the gradient is 0 there, and nowhere else."""

    def loss(logits):
        values = losses.non_saturating.d(logits, jnp.zeros(4)) - jnp.log(2.0)
        generated = losses.non_saturating.d(jnp.zeros(4), logits) - jnp.log(2.0)
        return jnp.sum(jnp.float32(DATA) * values + jnp.float32(GENERATOR) * generated)

    np.testing.assert_allclose(jax.grad(loss)(LOG_RATIOS), 0, atol=1e-6)
    assert np.abs(jax.grad(loss)(LOG_RATIOS + 0.1)).max() > 0.01


@pytest.mark.parametrize("slope, shift", [(1.0, 0.0), (3.0, 1.0), (0.2, -4.0)])
@pytest.mark.parametrize("counts", [(4000, 4000), (6000, 1500)])
def test_a_calibration_undoes_what_was_done_to_log_ratios(slope, shift, counts):
    """Of N(1, 1) against N(-1, 1) log p/q = 2x. And it is SciPy's minimum of Platt's cross-entropy."""
    from scipy.optimize import minimize

    real, fake = (slope * 2 * random.normal(mean, 1, n) + shift for mean, n in zip((1, -1), counts, strict=True))
    found = calibrate(real, fake)
    np.testing.assert_allclose(found.slope * slope, 1, atol=0.08)
    np.testing.assert_allclose(found.slope * shift + found.shift, 0, atol=0.15)
    high, low = (counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2)

    def loss(weights):
        ones, others = (weights[0] * x + weights[1] for x in (real, fake))
        cost = high * np.logaddexp(0, -ones) + (1 - high) * np.logaddexp(0, ones)
        return cost.sum() + (low * np.logaddexp(0, -others) + (1 - low) * np.logaddexp(0, others)).sum()

    scipys = minimize(loss, [1 / slope, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10}).x
    expected = [scipys[0], scipys[1] - np.log(counts[0] / counts[1])]
    np.testing.assert_allclose([found.slope, found.shift], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found(jnp.float32(real)), found.slope * real + found.shift, rtol=1e-4, atol=1e-4)


def test_a_calibration_of_logits_that_tell_all_or_nothing():
    apart = calibrate(np.full(50, 3.0), np.full(50, -3.0))
    targets = np.log(51 / 52 / (1 - 51 / 52))  # Platt's, which are met exactly
    np.testing.assert_allclose([apart.slope, apart.shift], [targets / 3, 0], atol=1e-6)
    np.testing.assert_allclose(calibrate(np.full(9, 2.0), np.full(9, 2.0)), [0, 0], atol=1e-9)
    assert calibrate(random.normal(-1, 1, 500), random.normal(1, 1, 500)).slope < 0
    one, other = random.normal(1, 1, 9), random.normal(0, 1, 9)
    plain = calibrate(one, other)
    for n in 1e4, 1e-6:  # of any scale
        np.testing.assert_allclose(calibrate(n * one, n * other), [plain.slope / n, plain.shift], rtol=1e-6)


@pytest.mark.parametrize("real, fake", [([], [1.0]), ([1.0], []), ([np.nan, 1.0], [1.0]), ([1.0], [np.inf])])
def test_what_cannot_be_calibrated(real, fake):
    with pytest.raises(ValueError, match="expected finite logits of real and of generated examples, got"):
        calibrate(np.array(real), np.array(fake))


def test_the_calibration_statistic():
    """By hand; about N(0, 1) where log ratios are right, far from it where they are moved."""
    ratios = np.array([0.0, np.log(3)]), np.array([np.log(1 / 3), 0.0])
    p = np.array([0.5, 0.75, 0.25, 0.5])
    np.testing.assert_allclose(calibration_z(*ratios), (2 - p.sum()) / np.sqrt((p * (1 - p)).sum()))
    moved = (ratios[0] + 1, ratios[1] + 1)
    p = 1 / (1 + np.exp(-np.concatenate(moved)))
    np.testing.assert_allclose(calibration_z(*moved), (2 - p.sum()) / np.sqrt((p * (1 - p)).sum()))
    values = []
    for _ in range(300):
        kinds = random.random(800) < 0.75
        x = np.where(kinds, random.normal(1, 1, 800), random.normal(-1, 1, 800))
        r = 2 * x + np.log(0.75 / 0.25) - np.log(kinds.sum() / (~kinds).sum())
        values.append(calibration_z(r[kinds], r[~kinds]))
    assert abs(np.mean(values)) < 0.2 and 0.7 < np.std(values) < 1.2
    assert calibration_z(np.array([1e5]), np.array([-1e5])) == 0


def test_exact_rejection_sampling_is_the_ratio_to_the_largest():
    probabilities = acceptance(jnp.asarray(LOG_RATIOS), bound_of(jnp.asarray(LOG_RATIOS)))
    ratios = DATA / GENERATOR
    np.testing.assert_allclose(probabilities, ratios / ratios.max(), rtol=1e-5)
    kept = GENERATOR * np.asarray(probabilities)
    np.testing.assert_allclose(kept / kept.sum(), DATA, rtol=1e-5)  # what is accepted has the data's density
    np.testing.assert_allclose(kept.sum(), 1 / ratios.max(), rtol=1e-5)  # one in so many


@pytest.mark.parametrize("percentile", [0.0, 50.0, 80.0, 95.0, 99.9])
def test_gamma_is_a_percentile_of_the_papers_f(percentile):
    """In float64, by equation 8; a share of 100 - percentile is accepted with a probability above one half."""
    ratios = random.normal(-3, 2, 2000)
    maximum, epsilon = ratios.max(), 1e-8
    f = ratios - maximum - np.log(1 - np.exp(ratios - maximum - epsilon))
    expected = 1 / (1 + np.exp(-(f - np.percentile(f, percentile))))
    bound = bound_of(jnp.float32(ratios), percentile)
    found = acceptance(jnp.float32(ratios), bound)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)
    assert abs(np.mean(np.asarray(found) > 0.5) - (100 - percentile) / 100) < 2e-3


def test_extreme_log_ratios():
    ratios = jnp.array([-1e4, -1e3, 0.0, 1e3, 1e3])
    for percentile in None, 0.0, 80.0:
        bound = bound_of(ratios, percentile)
        found = acceptance(ratios, bound)
        assert np.isfinite(found).all() and (np.diff(found) >= 0).all()
    assert acceptance(jnp.array([2.0]), Bound(jnp.float32(1), jnp.float32(0)))[0] == pytest.approx(1)  # above M: as M
    gradient = jax.grad(lambda r: acceptance(r, bound_of(ratios)).sum())(ratios)
    assert np.isfinite(gradient).all()


@functools.cache
def moves(r, new):
    """The transition matrix of equation 6, over the outcomes, of log ratios and of the generator's probabilities."""
    r, new = np.array(r), np.array(new)
    matrix = new[None] * np.minimum(1, np.exp(r[None] - r[:, None]))
    np.fill_diagonal(matrix, 0)
    return matrix + np.diag(1 - matrix.sum(1))


def drawn(key, count=20_000, steps=5, start=0, log_ratios=LOG_RATIOS):
    """Chains that all begin at one outcome, after so many steps."""
    keys, uniforms = jax.random.split(key)
    chain = Chain.start({"outcome": jnp.full(count, start)}, jnp.full(count, log_ratios[start]))

    def propose(key):
        found = jax.random.choice(key, 4, (count,), p=jnp.float32(GENERATOR))
        return {"outcome": found}, jnp.asarray(log_ratios)[found]

    given = jax.random.split(keys, steps)
    uniforms = jax.random.uniform(uniforms, (steps, count), jnp.float32)
    return jax.jit(lambda: rejection.metropolis_hastings(chain, propose, given, uniforms))()


@pytest.mark.parametrize("start", [0, 1])
def test_chains_move_as_the_matrix_says_and_towards_the_data(start):
    matrix = moves(tuple(LOG_RATIOS.astype(float)), tuple(GENERATOR))
    np.testing.assert_allclose(DATA @ matrix, DATA, atol=1e-7)  # the data's density stays as it is
    for steps in 1, 5, 40:
        chain = drawn(jax.random.key(steps), steps=steps, start=start)
        expected = np.linalg.matrix_power(matrix, steps)[start]
        found = np.bincount(chain.example["outcome"], minlength=4) / 20_000
        np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / 20_000))
    np.testing.assert_allclose(found, DATA, atol=0.02)
    np.testing.assert_array_equal(chain.log_ratio, LOG_RATIOS[chain.example["outcome"]])


def test_chains_count_what_they_accept():
    chain = drawn(jax.random.key(0), steps=1)
    better = np.minimum(1, (DATA / GENERATOR) / (DATA / GENERATOR)[0])  # from outcome 0, the worst of all: all are
    np.testing.assert_allclose(chain.accepted.mean(), GENERATOR @ better, atol=0.01)
    never = np.array([50.0, 0, 0, 0], np.float32)  # where proposals but for the first are never taken
    chain = drawn(jax.random.key(0), steps=3, log_ratios=never, count=1000)
    np.testing.assert_array_equal(chain.example["outcome"], 0)
    np.testing.assert_allclose(chain.accepted.mean(), 3 * GENERATOR[0], atol=0.1)
    assert chain.accepted.dtype == jnp.int32


def test_a_chain_holds_any_pytree_and_can_be_cut():
    """K proposals at once are as many one after another."""
    count, steps = 6, 8
    keys = jax.random.split(jax.random.key(1), steps)
    uniforms = jax.random.uniform(jax.random.key(2), (steps, count), jnp.float32)

    def propose(key):
        images = jax.random.normal(key, (count, 3, 2, 1), jnp.float32)
        return {"image": images, "label": jnp.arange(count)}, images.sum((1, 2, 3))

    chain = Chain.start(*propose(jax.random.key(3)))
    whole = rejection.metropolis_hastings(chain, propose, keys, uniforms)
    half = rejection.metropolis_hastings(chain, propose, keys[:3], uniforms[:3])
    half = rejection.metropolis_hastings(half, propose, keys[3:], uniforms[3:])
    jax.tree.map(np.testing.assert_array_equal, whole, half)
    np.testing.assert_allclose(whole.log_ratio, whole.example["image"].sum((1, 2, 3)), rtol=1e-6)
    assert 0 < whole.accepted.sum() < steps * count


def test_a_calibration_is_by_default_the_logit_itself():
    assert Calibration() == (1.0, 0.0)
    np.testing.assert_array_equal(Calibration()(jnp.asarray(LOG_RATIOS)), LOG_RATIOS)
