"""The Gaussian mixtures against their papers. Tolerances are 4.5 standard deviations of an estimate."""

import numpy as np
import pytest
from scipy import stats

from jaxgan.data.sources import toys

N = 100_000
DRAWS = {"ring": toys.ring, "grid": toys.grid}
each = pytest.mark.parametrize("name, modes, sigma", [("ring", 8, 0.01), ("grid", 25, 0.0125)], ids=DRAWS)


def test_centres_are_the_papers():
    r = np.sqrt(0.5)
    ring = [(1, 0), (r, r), (0, 1), (-r, r), (-1, 0), (-r, -r), (0, -1), (r, -r)]
    np.testing.assert_allclose(toys.centres("ring"), ring, rtol=0, atol=1e-7)
    grid = [((-4 + 2 * i) / 4, (-4 + 2 * j) / 4) for i in range(5) for j in range(5)]
    np.testing.assert_array_equal(toys.centres("grid"), np.array(grid, np.float32))
    with pytest.raises(ValueError, match="there are the mixtures ring and grid, got 'spiral'"):
        toys.centres("spiral")


@each
def test_shapes_and_types(name, modes, sigma):
    points, labels = DRAWS[name]()
    assert points.shape == (N, 1, 1, 2) and points.dtype == np.float32
    assert labels.shape == (N,) and labels.dtype == np.int32
    assert toys.centres(name).shape == (modes, 2) and toys.centres(name).dtype == np.float32
    assert toys.SIGMA[name] == sigma


@each
def test_modes_are_equally_likely_and_in_no_order(name, modes, sigma):
    labels = DRAWS[name]()[1]
    counts = np.bincount(labels, minlength=modes)
    assert len(counts) == modes and stats.chisquare(counts).pvalue > 1e-3
    assert abs(np.corrcoef(labels[1:], labels[:-1])[0, 1]) < 4.5 / np.sqrt(N)


@each
def test_points_are_gaussian_around_their_modes(name, modes, sigma):
    points, labels = DRAWS[name]()
    offsets = (points.reshape(N, 2).astype(np.float64) - toys.centres(name)[labels]) / sigma
    for mode in range(modes):
        own = offsets[labels == mode]
        # The mean of n normals is off by 1/√n, their standard deviation by 1/√(2n), a correlation by 1/√n.
        error = 4.5 / np.sqrt(len(own))
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=error)
        np.testing.assert_allclose(own.std(axis=0), 1, atol=error / np.sqrt(2))
        assert abs(np.corrcoef(own.T)[0, 1]) < error
    assert stats.kstest(offsets.ravel(), "norm").pvalue > 1e-3


@each
def test_every_point_is_nearest_to_its_own_mode(name, modes, sigma):
    points, labels = DRAWS[name]()
    squared = ((points.reshape(N, 1, 2) - toys.centres(name)[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(squared.argmin(axis=1), labels)
    # PacGAN's "high quality" samples are those within 3σ: of a plane Gaussian 1 - e^(-9/2).
    expected = -np.expm1(-4.5)
    share = (squared.min(axis=1) < (3 * sigma) ** 2).mean()
    assert abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / N)


def test_the_points_are_always_the_same():
    np.testing.assert_array_equal(toys.ring()[0], toys.ring()[0])
    # What runs were made of. NumPy may change its Generator's streams from one version to another: it would show here.
    assert toys.ring()[1][:6].tolist() == [5, 2, 1, 7, 1, 2]
    assert toys.grid()[1][:6].tolist() == [12, 4, 21, 0, 5, 5]
    np.testing.assert_allclose(toys.ring()[0][:2].ravel(), [-0.7304763, -0.7090327, -0.0099793, 1.0027530], atol=1e-6)
    np.testing.assert_allclose(toys.grid()[0][:2].ravel(), [0.0002490, -0.0204900, -0.9886330, 1.0088269], atol=1e-6)
