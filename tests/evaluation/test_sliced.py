"""The sliced Wasserstein distance against other solvers of transport, closed forms, and by hand in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance

from jaxgan.evaluation import sliced_wasserstein
from jaxgan.evaluation.sliced import _direction

KEY = jax.random.key(3)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def directions(count, size):
    return np.asarray(jax.vmap(lambda key: _direction(key, size))(jax.random.split(KEY, count)), np.float64)


def by_hand(a, b, thetas):
    """Computes the distance in float64, direction by direction."""
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (a, b))
    return np.sqrt(np.mean([np.mean((np.sort(a @ t) - np.sort(b @ t)) ** 2) for t in thetas]))


def test_directions_are_uniform_on_the_sphere():
    thetas = directions(20_000, 5)
    np.testing.assert_allclose(np.linalg.norm(thetas, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(thetas.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(thetas.T @ thetas / len(thetas), np.eye(5) / 5, atol=0.01)
    np.testing.assert_allclose((thetas**4).mean(), 3 / 35, atol=0.003)  # E θᵢ⁴ = 3/(d(d+2))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 100, 300])  # 300: more than a block of images, and not whole blocks
@pytest.mark.parametrize("projections", [1, 100])
def test_against_float64(count, projections):
    a, b = normal(count, 3, 3, 2), 0.5 + 2 * normal(count, 3, 3, 2, seed=1)
    expected = by_hand(a, b, directions(projections, 18))
    assert sliced_wasserstein(KEY, a, b, projections) == pytest.approx(expected, rel=1e-5)


def test_on_a_line_it_is_the_wasserstein_distance():
    """SciPy's assignment solves the transport of equal weights. Its `wasserstein_distance` solves that of distances,
    which is the same number where every point moves equally far."""
    a, b = normal(40, 1), 1 + 3 * normal(40, 1, seed=1)
    cost = (a - b.T) ** 2
    expected = np.sqrt(cost[linear_sum_assignment(cost)].mean())
    assert sliced_wasserstein(KEY, a, b, 3) == pytest.approx(expected, rel=1e-5)
    assert sliced_wasserstein(KEY, a, b, 3) >= wasserstein_distance(a.ravel(), b.ravel())
    shifted = a + np.float32(0.75)
    first = wasserstein_distance(a.ravel(), shifted.ravel())
    assert sliced_wasserstein(KEY, a, shifted, 3) == pytest.approx(first, rel=1e-5)


def test_in_the_plane_against_every_angle():
    a, b = normal(30, 2), normal(30, 2, seed=1) * np.float32([3, 0.5]) + np.float32([1, 0])
    angles = np.linspace(0, np.pi, 2000, endpoint=False)
    expected = by_hand(a, b, np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert sliced_wasserstein(KEY, a, b, 20_000) == pytest.approx(expected, rel=0.01)


def test_closed_forms():
    """Shifted by v: ‖v‖/√d. Stretched by s: |s - 1| times the root mean square. Two point masses: as shifted."""
    a, v = normal(50, 4, 4), normal(4, 4, seed=1)
    length = np.linalg.norm(v) / 4
    assert sliced_wasserstein(KEY, a, a + v, 20_000) == pytest.approx(length, rel=0.02)
    assert sliced_wasserstein(KEY, 0 * a, 0 * a + v, 20_000) == pytest.approx(length, rel=0.02)
    assert sliced_wasserstein(KEY, a, 3 * a, 20_000) == pytest.approx(2 * np.sqrt((a**2).mean()), rel=0.02)


@pytest.mark.parametrize("size", [4, pytest.param(32, marks=pytest.mark.slow)])
def test_the_unit_is_a_pixel_whatever_the_size(size):
    dark, bright = (np.full((8, size, size, 3), value, np.uint8) for value in (100, 151))
    distance = sliced_wasserstein(KEY, dark, bright, 4096)
    assert distance == pytest.approx(51 / 127.5, rel=0.05)
    assert distance == pytest.approx(
        float(sliced_wasserstein(KEY, dark / np.float32(127.5), bright / 127.5, 4096)), rel=1e-5
    )


def test_equal_sets_are_at_zero_in_any_order():
    images = np.random.default_rng(0).integers(0, 256, (300, 6, 6, 1), dtype=np.uint8)
    others = np.random.default_rng(1).integers(0, 256, (300, 6, 6, 1), dtype=np.uint8)
    order = np.random.default_rng(2).permutation(300)
    assert sliced_wasserstein(KEY, images, images) == 0
    assert sliced_wasserstein(KEY, images, images[order]) < 1e-6
    one, two = sliced_wasserstein(KEY, images, others), sliced_wasserstein(KEY, others[order], images)
    assert one > 0 and one == pytest.approx(float(two), rel=1e-6)


def test_it_sees_a_collapse():
    """All images equal to one of the set, or to its mean: further than another sample."""
    real, other = normal(512, 8, 8), normal(512, 8, 8, seed=1)
    alike = sliced_wasserstein(KEY, real, other)
    for collapsed in (np.broadcast_to(real[:1], real.shape), np.broadcast_to(real.mean(axis=0), real.shape)):
        assert sliced_wasserstein(KEY, real, collapsed) > 5 * alike


def test_members_at_once():
    members, real = normal(3, 20, 4, 4, 1), normal(20, 4, 4, 1, seed=1)
    together = jax.jit(jax.vmap(sliced_wasserstein, (None, 0, None)))(KEY, members, real)
    one_by_one = [sliced_wasserstein(KEY, member, real) for member in members]
    np.testing.assert_allclose(together, one_by_one, rtol=1e-5)


def test_key_and_half_precision():
    a, b = jnp.asarray(normal(20, 9)), jnp.asarray(normal(20, 9, seed=1))
    one = sliced_wasserstein(KEY, a, b)
    assert one == sliced_wasserstein(KEY, a, b) and one.dtype == jnp.float32 and one.shape == ()
    assert one != sliced_wasserstein(jax.random.key(4), a, b)
    half = sliced_wasserstein(KEY, a.astype(jnp.bfloat16), b)
    assert half.dtype == jnp.float32 and half == pytest.approx(float(one), rel=0.01)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_shows(bad):
    a, b = normal(20, 9), normal(20, 9, seed=1)
    a[7, 3] = bad
    assert not np.isfinite(sliced_wasserstein(KEY, a, b)) and not np.isfinite(sliced_wasserstein(KEY, b, a))
    assert not np.isfinite(sliced_wasserstein(KEY, a, a))


@pytest.mark.parametrize(
    "a, b, projections, message",
    [
        pytest.param(np.zeros((3, 2)), np.zeros((4, 2)), 8, r"\(3, 2\), \(4, 2\)", id="unequal-counts"),
        pytest.param(np.zeros((3, 2)), np.zeros((3, 1, 2)), 8, "one shape", id="unequal-shapes"),
        pytest.param(np.zeros((0, 2)), np.zeros((0, 2)), 8, "at least one example", id="empty"),
        pytest.param(np.zeros(()), np.zeros(()), 8, r"\[N, ...\]", id="scalars"),
        pytest.param(np.zeros((3, 2), np.int32), np.zeros((3, 2)), 8, "got int32", id="integers"),
        pytest.param(np.zeros((3, 2)), np.zeros((3, 2)), 0, "at least 1 projection", id="no-projection"),
    ],
)
def test_what_cannot_be_compared(a, b, projections, message):
    with pytest.raises(ValueError, match=message):
        sliced_wasserstein(KEY, a, b, projections)
