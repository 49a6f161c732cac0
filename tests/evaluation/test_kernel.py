"""The kernel distance against torch-fidelity (tests/golden/distances.json), its definition in float64, closed forms."""

import inspect
import itertools
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.kernel import ROWS, kernel_distance
from scripts.golden.distances import DEFAULTS, SUBSETS, pairs

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "distances.json").read_text())["kernel"]
PAIRS = pairs()


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def by_hand(x, y):
    """Computes the definition, pair after pair, in float64."""

    def k(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    x, y = x.astype(np.float64).tolist(), y.astype(np.float64).tolist()
    m = len(x)
    within = sum(k(a, b) for z in (x, y) for a, b in itertools.permutations(z, 2))
    return within / (m * (m - 1)) - 2 * sum(k(a, b) for a, b in itertools.product(x, y)) / m**2


@pytest.mark.parametrize("name", GOLDEN)
def test_against_torch_fidelity(name):
    """Its float32 numbers are compared with room for its rounding, its float64 numbers without."""
    score = kernel_distance(*PAIRS[name], **({"subsets": 10} if name == "a thousand" else SUBSETS))
    mean, std = GOLDEN[name]["torch-fidelity"]
    scale = abs(mean) + std
    np.testing.assert_allclose(score, (mean, std), rtol=0, atol=3e-7 * scale)
    np.testing.assert_allclose(score, GOLDEN[name]["torch-fidelity float32"], rtol=0, atol=1e-4 * scale)


def test_the_defaults_are_those_of_torch_fidelity():
    options = inspect.signature(kernel_distance).parameters
    found = {name: options[name].default for name in DEFAULTS}
    assert found == DEFAULTS | {"subsets": 100}


@pytest.mark.parametrize("count, size", [(2, 1), (3, 5), (30, 4)])
def test_the_definition(count, size):
    x, y = normal(count, size), 0.5 + 1.5 * normal(count, size, seed=1)
    score = kernel_distance(x, y, subsets=3, subset_size=count)
    assert score.mean == pytest.approx(by_hand(x, y), rel=1e-6)
    assert score.std == pytest.approx(0, abs=1e-12)  # every subset is the whole set


@pytest.mark.parametrize("count", [ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 3])
def test_blocks(count):
    x, y = normal(count, 6), 1.1 * normal(count, 6, seed=1)
    sums = [np.sum((a @ b.T / 6 + 1) ** 3) for a, b in ((x, x), (y, y), (x, y))]
    diagonals = sum(np.sum((np.sum(z**2, axis=1) / 6 + 1) ** 3) for z in (x, y))
    expected = (sums[0] + sums[1] - diagonals) / (count * (count - 1)) - 2 * sums[2] / count**2
    assert kernel_distance(x, y, subsets=1, subset_size=count).mean == pytest.approx(expected, rel=1e-6)


def test_point_masses():
    """Σ over equal terms: k(a, a) + k(b, b) - 2 k(a, b)."""
    a, b = np.full((40, 3), 2.0), np.full((50, 3), -1.0)
    score = kernel_distance(a, b, subsets=5, subset_size=20)
    assert score.mean == pytest.approx(5**3 + 2**3 - 2 * (-1) ** 3, rel=1e-7) and score.std == pytest.approx(
        0, abs=1e-9
    )


def test_it_is_unbiased():
    """For one distribution the mean is 0, far within what the biased estimate would give; for different ones it is
    above."""
    x, y = normal(4000, 5), normal(4000, 5, seed=1)
    alike = kernel_distance(x, y, subsets=400, subset_size=10)
    diagonal = np.mean((np.sum(x**2, axis=1) / 5 + 1) ** 3)  # a biased estimate is higher by 2/10 of about this
    assert abs(alike.mean) < 4.5 * alike.std / np.sqrt(400) < 0.1 * diagonal / 5
    assert kernel_distance(x, y + 0.5, subsets=400, subset_size=10).mean > 10 * abs(alike.mean)


def test_subsets_follow_from_the_seed():
    x, y = normal(100, 4), normal(90, 4, seed=1)
    one = kernel_distance(x, y, subsets=4, subset_size=30, seed=1)
    assert one == kernel_distance(x, y, subsets=4, subset_size=30, seed=1)
    assert one != kernel_distance(x, y, subsets=4, subset_size=30, seed=2)
    random, found = np.random.RandomState(1), []
    for _ in range(4):
        first = x[random.choice(100, 30, replace=False)]
        found.append(by_hand(first, y[random.choice(90, 30, replace=False)]))
    np.testing.assert_allclose(one, (np.mean(found), np.std(found)), rtol=1e-6)


@pytest.mark.parametrize("offset", [50, 1000])
def test_far_from_the_origin(offset):
    """With float32 throughout, no digit of the distance would be left there."""
    x = (offset + normal(200, 16)).astype(np.float32)
    y = (offset + 0.02 + normal(200, 16, seed=1)).astype(np.float32)

    def whole(dtype):
        a, b = x.astype(dtype), y.astype(dtype)
        k_xx, k_yy, k_xy = ((p @ q.T / dtype(16) + dtype(1)) ** 3 for p, q in ((a, a), (b, b), (a, b)))
        within = k_xx.sum() + k_yy.sum() - np.trace(k_xx) - np.trace(k_yy)
        return float(within) / (200 * 199) - 2 * float(k_xy.sum()) / 200**2

    assert kernel_distance(x, y, subsets=1, subset_size=200).mean == pytest.approx(whole(np.float64), rel=1e-6)
    assert abs(whole(np.float32) / whole(np.float64) - 1) > 1e-3


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32])
def test_every_float_counts_as_what_it_is(dtype):
    x, y = normal(60, 8).astype(dtype), (normal(50, 8, seed=1) + 0.3).astype(dtype)
    options = {"subsets": 3, "subset_size": 40}
    expected = kernel_distance(x.astype(np.float64), y.astype(np.float64), **options)
    np.testing.assert_allclose(kernel_distance(x, y, **options), expected, rtol=1e-6)
    assert kernel_distance(jnp.asarray(x), jnp.asarray(y), **options) == kernel_distance(x, y, **options)
    assert all(type(value) is float for value in kernel_distance(x, y, **options))


def spoilt(value):
    x = normal(20, 4)
    x[7, 2] = value
    return x


GOOD = normal(20, 4)


@pytest.mark.parametrize(
    "real, fake, options, message",
    [
        pytest.param(GOOD, GOOD, {}, "subset_size 1000 .* got 20 real and 20 fake: .* at most 20", id="too-few"),
        pytest.param(GOOD, GOOD[:9], {"subset_size": 10}, "20 real and 9 fake: .* at most 9", id="too-few-fakes"),
        pytest.param(GOOD, GOOD[:0], {"subset_size": 10}, "20 real and 0 fake", id="none"),
        pytest.param(GOOD, GOOD, {"subset_size": 1}, "subset_size >= 2, got 100 and 1", id="subsets-of-one"),
        pytest.param(GOOD, GOOD, {"subsets": 0, "subset_size": 9}, "subsets >= 1", id="no-subset"),
        pytest.param(spoilt(np.nan), GOOD, {"subset_size": 9}, "1 of 20 rows of real are not finite", id="nan"),
        pytest.param(GOOD, spoilt(np.inf), {"subset_size": 9}, "1 of 20 rows of fake are not finite", id="infinity"),
        pytest.param(GOOD, GOOD[:, :3], {"subset_size": 9}, "4 numbers a sample in real, 3 in fake", id="unlike"),
        pytest.param(GOOD[0], GOOD, {"subset_size": 9}, r"expected real \[N, D\]", id="a-vector"),
    ],
)
def test_what_cannot_be_compared(real, fake, options, message):
    with pytest.raises(ValueError, match=message) as error:
        kernel_distance(real, fake, **options)
    assert "\n" not in str(error.value)
