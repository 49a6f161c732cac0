"""Distances of vectors against SciPy's."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance

from jaxgan.evaluation import scores, vector_scores

RANDOM = np.random.default_rng(0)
MIXED = RANDOM.normal(size=(4, 4))
REAL = (RANDOM.normal(size=(600, 4)) @ MIXED * [1, 100, 0.01, 1] + [0, 5000, 0, 1]).astype(np.float32)
DRAWN = (RANDOM.normal(size=(500, 4)) @ MIXED * [1, 120, 0.01, 1] + [0.3, 5000, 0, 1]).astype(np.float32)


def test_distances_are_scipys_in_units_of_the_real_columns():
    found = vector_scores(DRAWN, REAL)
    scale = REAL.astype(float).std(0)
    mine, theirs = DRAWN / scale, REAL / scale
    a, b = np.cov(mine.T), np.cov(theirs.T)
    expected = np.sum((mine.mean(0) - theirs.mean(0)) ** 2) + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert found.frechet == pytest.approx(expected, rel=1e-6)
    columns = [wasserstein_distance(mine[:, i], theirs[:500, i]) for i in range(4)]
    assert found.column == pytest.approx(np.mean(columns), rel=1e-6)
    assert found.worst_column == pytest.approx(max(columns), rel=1e-6)
    directions = np.random.default_rng(1).normal(size=(4, 20_000))
    directions /= np.linalg.norm(directions, axis=0)
    one, other = (np.sort(each[:500].astype(float) @ directions, 0) for each in (mine, theirs))
    assert found.sliced == pytest.approx(np.sqrt(np.mean((one - other) ** 2)), rel=0.05)  # 512 directions: 3 %


def test_other_units_give_the_same():
    factors, offsets = np.array([1000, 0.001, 8, 1.0]), np.array([0, 0, 3e3, -5])
    one = vector_scores(DRAWN, REAL)
    other = vector_scores((DRAWN * factors + offsets).astype(np.float32), (REAL * factors + offsets).astype(np.float32))
    np.testing.assert_allclose(other, one, rtol=2e-3)


def test_the_same_vectors_and_a_constant_column():
    found = vector_scores(REAL, REAL)
    assert found.frechet < 1e-6 and found.column == found.worst_column == found.sliced == 0
    constant = np.concatenate([REAL, np.full((600, 1), 3, np.float32)], 1)
    other = constant.copy()
    other[:, 4] = 5
    assert vector_scores(constant, constant).frechet < 1e-6
    found = vector_scores(other, constant)
    assert found.worst_column == pytest.approx(2) and found.frechet == pytest.approx(4, rel=1e-5)


def test_they_are_never_called_fid():
    found = scores(["vectors"], None, DRAWN, REAL)
    assert [score.name for score in found] == [
        "Fréchet distance of vectors",
        "sliced Wasserstein distance of vectors",
        "mean Wasserstein distance of a column",
        "largest Wasserstein distance of a column",
    ]
    assert (found[0].samples, found[0].real) == (500, 600) and not found[0].of_pairs
    with pytest.raises(ValueError, match="swd is of pixels; take vectors"):
        scores(["swd"], None, DRAWN, REAL)
    with pytest.raises(ValueError, match="1 of 500 rows of vectors are not finite"):
        vector_scores(np.where(np.arange(500)[:, None] == 3, np.nan, DRAWN), REAL)
    with pytest.raises(ValueError, match="vectors of 3 numbers against real ones of 4"):
        vector_scores(DRAWN[:, :3], REAL)
