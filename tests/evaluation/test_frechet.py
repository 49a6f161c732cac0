"""The Fréchet distance against 50 digits and other packages (tests/golden/distances.json), and closed forms."""

import json
import pathlib
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.frechet import Gaussian, frechet_distance, gaussian
from scripts.golden.distances import pairs

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "distances.json").read_text())["frechet"]
PAIRS = pairs()


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def trace(features):
    return np.var(np.asarray(features, np.float64), axis=0, ddof=1).sum()


def rotation(size, seed=9):
    return np.linalg.qr(normal(size, size, seed=seed))[0]


@pytest.mark.parametrize("name", PAIRS)
def test_against_other_packages(name):
    distance = frechet_distance(*PAIRS[name])
    for package, expected in GOLDEN[name].items():
        # torch-fidelity's mean of float32 features is float32; all others lose half the digits where variances span
        # many orders or are 0.
        tolerance = {"mpmath": 1e-12, "torch-fidelity float32": 2e-6}.get(package, 1e-7)
        assert distance == pytest.approx(expected, rel=tolerance), package
    assert frechet_distance(PAIRS[name][1], PAIRS[name][0]) == pytest.approx(distance, rel=1e-12)


def test_the_golden_file_is_of_these_pairs():
    assert list(GOLDEN) == list(PAIRS)
    assert all({"torch-fidelity", "sqrtm"} <= set(found) for found in GOLDEN.values())
    assert sum("mpmath" in found for found in GOLDEN.values()) == 5


def test_moments_are_those_of_numpy():
    x = (normal(301, 7) @ normal(7, 7, seed=1) + normal(7, seed=2)).astype(np.float32)
    expected = np.cov(x.astype(np.float64), rowvar=False)
    for chunk in (1, 100, 301, 5000):
        found = gaussian(x, chunk)
        assert found.count == 301 and found.mean.dtype == found.covariance.dtype == np.float64
        np.testing.assert_allclose(found.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(found.covariance, expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(found.covariance, found.covariance.T)


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_an_offset_costs_no_digits(offset):
    """Standard deviation 1e-2 around it. In steps of 2⁻²⁴ both the features and their offset are exact."""
    x = np.round(1e-2 * normal(5000, 6) * 2**24) / 2**24
    np.testing.assert_allclose(gaussian(offset + x).covariance, np.cov(x, rowvar=False), rtol=1e-8, atol=1e-12)
    y = np.round(2e-2 * normal(5000, 6, seed=1) * 2**24) / 2**24
    assert frechet_distance(offset + x, offset + y) == pytest.approx(frechet_distance(x, y), rel=1e-6)


def test_float64_is_in_force():
    """Stretched by 1.001, features of variances over ten orders are at 1e-6 of their trace: float32 loses it."""
    x = ((normal(400, 32) + 2) * np.geomspace(1e-2, 1e3, 32) @ rotation(32)).astype(np.float32)
    y = np.float32(1.001) * x[::-1]
    expected = (float(np.float32(1.001)) - 1) ** 2 * (np.sum(x.mean(axis=0, dtype=np.float64) ** 2) + trace(x))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)

    def single(z):
        return Gaussian(jnp.mean(jnp.asarray(z), axis=0), jnp.cov(jnp.asarray(z), rowvar=False), len(z))

    with jax.numpy_rank_promotion("allow"):
        assert abs(frechet_distance(single(x), single(y)) / expected - 1) > 1e-3


def test_features_are_never_whole_in_float64():
    x = normal(40_000, 32).astype(np.float32)
    tracemalloc.start()
    found = gaussian(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x.nbytes / 2
    np.testing.assert_allclose(found.covariance, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-10, atol=1e-12)


def test_closed_forms():
    """Shifted by v: ‖v‖². Stretched by s about the origin: (s - 1)² of the mean's square and the trace."""
    x, v = normal(200, 12) @ normal(12, 12, seed=1) + 2, normal(12, seed=2)
    assert frechet_distance(x, x + v) == pytest.approx(v @ v, rel=1e-10)
    assert frechet_distance(x, 3 * x) == pytest.approx(4 * (np.sum(x.mean(axis=0) ** 2) + trace(x)), rel=1e-10)
    assert frechet_distance(x, -x) == pytest.approx(4 * np.sum(x.mean(axis=0) ** 2), rel=1e-9)


@pytest.mark.parametrize("digits", [1, 6, 12])
def test_covariances_of_common_axes(digits):
    """Σ (√aᵢ - √bᵢ)², for variances over so many digits, and some of them 0."""
    axes, a = rotation(60), np.concatenate([10 ** np.linspace(2 - digits, 2, 50), np.zeros(10)])
    b = a * np.linspace(0.5, 2, 60)
    b[:5] = 0
    expected = np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    one, two = (Gaussian(np.zeros(60), (axes * x) @ axes.T, 1000) for x in (a, b))
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-6)
    far = Gaussian(np.full(60, 0.5), two.covariance, 1000)
    assert frechet_distance(one, far) == pytest.approx(15 + expected, rel=1e-6)


def test_fewer_samples_than_dimensions():
    """The trace of the root is the nuclear norm of the product of the centred features, which are few."""
    x, y = normal(20, 300) * np.geomspace(0.01, 10, 300), normal(30, 300, seed=1) * np.geomspace(0.02, 10, 300)
    one, two = ((z - z.mean(axis=0)) / np.sqrt(len(z) - 1) for z in (x, y))
    expected = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + np.sum(one**2) + np.sum(two**2)
    expected -= 2 * np.linalg.norm(one @ two.T, "nuc")
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10)
    # The root of a zero variance that came out as 1e-16 would be 1e-8, 280 times.
    assert frechet_distance(gaussian(x), gaussian(y)) == frechet_distance(x, y) == frechet_distance(y, x)


@pytest.mark.parametrize("name", PAIRS)
def test_a_set_is_at_zero_from_itself(name):
    x = PAIRS[name][1]
    for other in (x, x[::-1]):
        assert 0 <= frechet_distance(x, other) < 1e-9 * trace(x)


def test_constant_features():
    still, other, moving = np.full((5, 3), 2.0), np.full((7, 3), -1.0), normal(50, 3)
    assert frechet_distance(still, other) == 27 and frechet_distance(still, still) == 0
    expected = np.sum((2 - moving.mean(axis=0)) ** 2) + trace(moving)
    for distance in (frechet_distance(still, moving), frechet_distance(moving, still)):
        assert distance == pytest.approx(expected, rel=1e-12)
    # A feature that is dead in one set, and uncorrelated with the others in the other, adds as if it stood alone.
    live = np.concatenate([moving, moving * [1, -1, 1]])
    live[:, 1] += 3
    dead = live * [1, 0, 1]
    for distance in (frechet_distance(dead, live), frechet_distance(live, dead)):
        assert distance == pytest.approx(9 + trace(live[:, [1]]), rel=1e-7)


def test_one_dimension():
    """(μₐ - μᵦ)² + (σₐ - σᵦ)²."""
    x, y = normal(30, 1), 3 + 2 * normal(40, 1, seed=1)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(x[:2], y[:2]) == pytest.approx(
        (x[:2].mean() - y[:2].mean()) ** 2 + (x[:2].std(ddof=1) - y[:2].std(ddof=1)) ** 2, rel=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32, np.float64])
def test_every_float_counts_as_what_it_is(dtype):
    x, y = normal(60, 8).astype(dtype), (normal(50, 8, seed=1) + 0.3).astype(dtype)
    expected = frechet_distance(x.astype(np.float64), y.astype(np.float64))
    assert frechet_distance(x, y) == expected and isinstance(frechet_distance(x, y), float)
    if dtype != np.float64:
        assert frechet_distance(jnp.asarray(x), gaussian(jnp.asarray(y))) == expected


def with_bad_rows(*rows):
    x = normal(20, 4)
    for row, value in zip(rows, (np.nan, np.inf, -np.inf), strict=False):
        x[row, row % 4] = value
    x[rows[-1], :2] = np.nan  # a row counts once
    return x


GOOD = normal(20, 4)


@pytest.mark.parametrize(
    "a, b, message",
    [
        pytest.param(with_bad_rows(3), GOOD, "1 of 20 rows of a are not finite", id="nan"),
        pytest.param(GOOD, with_bad_rows(3, 5, 19), "3 of 20 rows of b are not finite", id="nan-and-infinities"),
        pytest.param(GOOD[:1], GOOD, "at least 2 samples, got 1 in a", id="one-sample"),
        pytest.param(GOOD, GOOD[:0], "at least 2 samples, got 0 in b", id="none"),
        pytest.param(GOOD[0], GOOD, r"expected a \[N, D\], a row a sample, got shape \[4\]", id="a-vector"),
        pytest.param(GOOD, GOOD.reshape(5, 2, 2, 4), r"got shape \[5, 2, 2, 4\]", id="images"),
        pytest.param(GOOD[:, :0], GOOD[:, :0], r"got shape \[20, 0\]", id="no-dimension"),
        pytest.param(GOOD, GOOD[:, :3], "one network, got 4 numbers a sample in a, 3 in b", id="unlike"),
        pytest.param(GOOD, gaussian(GOOD[:, :3]), "4 numbers a sample in a, 3 in b", id="unlike-gaussian"),
        pytest.param(GOOD.astype(np.uint8), GOOD, "a to be floats, got uint8", id="integers"),
        pytest.param(GOOD + 1j, GOOD, "a to be floats, got complex128", id="complex"),
        pytest.param(Gaussian(np.zeros(4), np.eye(3), 9), GOOD, r"got \[4\] and \[3, 3\]", id="moments-of-unlike"),
        pytest.param(
            GOOD, Gaussian(np.zeros(4), np.full((4, 4), np.nan), 9), "finite mean and covariance of b", id="nans"
        ),
    ],
)
def test_what_cannot_be_compared(a, b, message):
    with pytest.raises(ValueError, match=message) as error:
        frechet_distance(a, b)
    assert "\n" not in str(error.value)


def test_what_has_no_moments():
    with pytest.raises(ValueError, match="1 of 20 rows of features are not finite"):
        gaussian(with_bad_rows(3))
    with pytest.raises(ValueError, match="at least 2 samples, got 1 in features"):
        gaussian(GOOD[:1])
    with pytest.raises(ValueError, match="chunk of at least 1 row, got -1"):
        gaussian(GOOD, -1)
