"""Mode coverage against hand-made counts, SciPy's entropy, and samples that NumPy draws."""

import numpy as np
import pytest
from conftest import needs_tfds
from scipy import stats

from jaxgan import data
from jaxgan.data.sources import toys
from jaxgan.evaluation.modes import (
    MNIST_COUNTS,
    kl_floor,
    mode_coverage,
    nearest_modes,
    stacked_frequencies,
)

SAMPLES = 26_000  # of stacked-MNIST's protocol


def test_by_hand():
    """Shares 1/2, 1/4, 1/4 and 0 of four modes: log 4 less the entropy 3/2 log 2, so log(2)/2."""
    modes, kl = mode_coverage([3, 0, 3, 1], 4)
    assert modes == 3 and kl == pytest.approx(np.log(2) / 2, rel=1e-14)
    assert type(modes) is int and type(kl) is float


def test_the_best_and_the_worst():
    assert mode_coverage(np.repeat(np.arange(1000), 26)) == (1000, pytest.approx(0, abs=1e-12))
    assert mode_coverage(np.full(SAMPLES, 999)) == (1, pytest.approx(np.log(1000)))
    assert mode_coverage(np.zeros(1, np.uint8)) == (1, pytest.approx(np.log(1000)))
    assert mode_coverage(np.zeros(5, np.uint64), 1) == (1, 0)
    half = np.arange(SAMPLES) % 500
    assert mode_coverage(half) == (500, pytest.approx(np.log(2)))


def test_against_scipys_entropy():
    labels = np.random.default_rng(0).zipf(1.3, SAMPLES) % 1000
    shares = np.bincount(labels, minlength=1000) / SAMPLES
    expected = stats.entropy(shares, np.full(1000, 1 / 1000))
    assert (shares == 0).any() and mode_coverage(labels) == (np.count_nonzero(shares), pytest.approx(expected))


@pytest.mark.parametrize(
    "labels, number, message",
    [
        pytest.param([], 10, "at least one", id="none"),
        pytest.param([0.0, 1.0], 10, "got float64", id="floats"),
        pytest.param([True, False], 10, "got bool", id="truths"),
        pytest.param([[1, 2], [0, 1]], 10, r"shape \(2, 2\)", id="matrix"),
        pytest.param(3, 10, r"shape \(\)", id="scalar"),
        pytest.param([0, 10], 10, "from 0 to 9, got 0 to 10", id="too-large"),
        pytest.param([-1, 3], 10, "from 0 to 9, got -1 to 3", id="negative"),
        pytest.param([0], 0, "from 0 to -1", id="no-mode"),
    ],
)
def test_labels_that_cannot_be(labels, number, message):
    with pytest.raises(ValueError, match=message):
        mode_coverage(labels, number)


@pytest.mark.parametrize("frequencies, published", [(np.ones(1000), 0.0192), (stacked_frequencies(), 0.0235)])
def test_the_floors_of_stacked_mnist(frequencies, published):
    """The mean over NumPy's multinomial draws, to three standard errors; and the first terms of its series, the
    published numbers, which are 1 in 200 lower."""
    floor = kl_floor(SAMPLES, frequencies)
    shares = np.random.default_rng(0).multinomial(SAMPLES, frequencies / frequencies.sum(), size=400) / SAMPLES
    drawn = stats.entropy(shares, np.full(1000, 1 / 1000), axis=1)
    error = drawn.std(ddof=1) / 20
    assert error < 1e-4 and abs(drawn.mean() - floor) < 3 * error
    assert shares.all()  # no mode is missed

    series = stats.entropy(frequencies, np.ones(1000)) + 999 / (2 * SAMPLES)
    assert series == pytest.approx(published, abs=5e-5) and floor == pytest.approx(series, rel=0.008)


def test_the_floor_is_what_mode_coverage_gets():
    labels = np.random.default_rng(0).integers(0, 1000, (20, SAMPLES))
    drawn = [mode_coverage(each) for each in labels]
    assert {modes for modes, _ in drawn} == {1000}
    assert np.mean([kl for _, kl in drawn]) == pytest.approx(kl_floor(SAMPLES, np.ones(1000)), rel=0.03)


def test_floors_of_few_samples():
    """One sample is in one mode. Two are in the same one with Σ fᵢ², else in two."""
    assert kl_floor(1, np.ones(1000)) == pytest.approx(np.log(1000))
    frequencies = np.array([0.5, 0.3, 0.2])
    same = (frequencies**2).sum()
    assert kl_floor(2, frequencies) == pytest.approx(same * np.log(3) + (1 - same) * np.log(1.5))
    assert kl_floor(2, 10 * frequencies) == pytest.approx(kl_floor(2, frequencies))


@pytest.mark.parametrize("samples", [1, 7, 300, 100_000])
def test_a_floor_is_a_sum_over_binomials(samples):
    frequencies = np.array([0.9, 0.0999, 1e-4, 0])
    n = np.arange(samples + 1)
    terms = stats.binom.pmf(n[:, None], samples, frequencies[None]).T @ (
        n / samples * np.log(np.maximum(n, 1) / samples)
    )
    assert kl_floor(samples, frequencies) == pytest.approx(np.log(4) + terms.sum(), rel=1e-8)


def test_of_very_many_samples_it_is_the_distributions_own():
    frequencies = stacked_frequencies()
    expected = stats.entropy(frequencies, np.ones(1000))
    assert kl_floor(10**7, frequencies) == pytest.approx(expected + 999 / 2e7, rel=1e-4)
    assert kl_floor(10**6, [0, 1, 0, 0]) == pytest.approx(np.log(4))  # always the same mode


def test_stacked_frequencies():
    shares = stacked_frequencies()
    assert shares.shape == (1000,) and shares.sum() == pytest.approx(1)
    assert shares[507] == pytest.approx(5421 * 5923 * 6265 / 60_000**3)  # digits 5, 0, 7
    np.testing.assert_allclose(stacked_frequencies([1, 3]), np.array([1, 3, 3, 9, 3, 9, 9, 27]) / 64)


@pytest.mark.parametrize(
    "samples, frequencies, message",
    [
        pytest.param(0, [1.0], "at least 1 sample", id="no-sample"),
        pytest.param(5, [0.0, 0.0], "not all 0", id="nothing"),
        pytest.param(5, [0.5, -0.5, 1], "at least 0", id="negative"),
        pytest.param(5, [0.5, np.nan], "finite", id="nan"),
        pytest.param(5, [[0.5, 0.5]], r"\[K\]", id="matrix"),
        pytest.param(5, [], "not all 0", id="empty"),
    ],
)
def test_floors_that_cannot_be(samples, frequencies, message):
    with pytest.raises(ValueError, match=message):
        kl_floor(samples, frequencies)


@pytest.mark.data
@needs_tfds
def test_the_digits_are_as_frequent_as_that():
    labels = data.open_source("mnist").labels
    np.testing.assert_array_equal(np.bincount(labels), MNIST_COUNTS)
    stacks = np.random.default_rng(0).choice(labels, (20, 3, SAMPLES)).astype(int)
    drawn = [mode_coverage(100 * r + 10 * g + b).kl for r, g, b in stacks]
    assert np.mean(drawn) == pytest.approx(kl_floor(SAMPLES, stacked_frequencies()), rel=0.03)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_the_toys_modes(name):
    """Within 3σ are 1 - exp(-9/2) of a Gaussian in the plane."""
    points, labels = toys.draw(name, 3)
    centres = toys.centres(name)
    found = nearest_modes(points.reshape(-1, 2), centres, 3 * toys.SIGMA[name])
    assert found.modes == len(centres) and found.quality == pytest.approx(1 - np.exp(-4.5), abs=1e-3)
    kept = points.reshape(-1, 2)[labels % 2 == 0]
    assert nearest_modes(kept, centres, 3 * toys.SIGMA[name]).modes == (len(centres) + 1) // 2


def test_nearest_modes_by_hand():
    centres = [[0, 0], [10, 0], [0, 10]]
    points = [[0, 1], [0, 2], [9.5, 0], [5, 5], [np.nan, 0], [np.inf, 0], [0, -0.5], [3, 0]]
    assert nearest_modes(points, centres, 1.0) == (2, 3 / 8)  # [0, 1] lies on the edge, which counts
    assert nearest_modes(points, centres, 0.1) == (0, 0.0)
    assert nearest_modes(points, centres, 20.0) == (2, 6 / 8)  # [5, 5] belongs to the first of three as near


@pytest.mark.parametrize(
    "points, centres, radius, message",
    [
        (np.zeros((0, 2)), np.zeros((3, 2)), 1.0, r"\(0, 2\)"),
        (np.zeros((4, 2)), np.zeros((0, 2)), 1.0, r"\(0, 2\)"),
        (np.zeros((4, 2)), np.zeros((3, 3)), 1.0, r"\(3, 3\)"),
        (np.zeros((4, 1, 1, 2)), np.zeros((3, 2)), 1.0, r"\(4, 1, 1, 2\)"),
        (np.zeros((4, 2)), np.zeros((3, 2)), 0.0, "radius above 0, got 0.0"),
    ],
)
def test_modes_that_cannot_be_near(points, centres, radius, message):
    with pytest.raises(ValueError, match=message):
        nearest_modes(points, centres, radius)
