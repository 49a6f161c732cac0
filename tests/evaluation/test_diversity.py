"""Diversity of images, against distances that SciPy computes."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from jaxgan.evaluation import diversity

RANDOM = np.random.default_rng(0)
REAL = RANDOM.integers(0, 256, (300, 6, 6, 1)).astype(np.uint8)


def by_hand(images, real):
    """Computes it from SciPy's distances of neighbours, the 1 % quantile of the real ones, and NumPy's variances."""
    near = []
    for one in (real, images):
        flat = one.reshape(len(one), -1) / 127.5
        distances = cdist(flat, flat)
        np.fill_diagonal(distances, np.inf)
        near.append(distances.min(1))
    spreads = [one.reshape(len(one), -1).astype(float).var(0).mean() for one in (images, real)]
    return np.mean(near[1] >= np.quantile(near[0], 0.01)), spreads[0] / spreads[1]


def collapsing(share, noise):
    """Returns images of which a `share` are one image with a little noise."""
    images = RANDOM.integers(0, 256, REAL.shape).astype(np.uint8)
    count = int(share * len(images))
    images[:count] = np.clip(128 + noise * RANDOM.standard_normal((count, 6, 6, 1)), 0, 255).astype(np.uint8)
    return images


@pytest.mark.parametrize("share,noise", [(0.0, 0), (0.3, 5), (0.9, 40), (1.0, 3)])
def test_as_scipy_computes_it(share, noise):
    images = collapsing(share, noise)
    np.testing.assert_allclose(diversity(images, REAL), by_hand(images, REAL), rtol=1e-9)


def test_known_cases():
    assert diversity(REAL, REAL) == pytest.approx((0.99, 1.0), abs=1 / len(REAL))  # a quantile lies between images
    assert diversity(np.full_like(REAL, 77), REAL) == (0.0, 0.0)
    half = np.concatenate([REAL[:150], REAL[:150]])
    assert diversity(half, REAL).distinct == 0  # each has a twin


def test_points_of_a_ring_that_lie_close():
    """Distances of 1e-4 between points at a distance of 1 from the origin: float32 would lose them."""
    angles = np.linspace(0, 2 * np.pi, 60_000, endpoint=False)[:2000]
    points = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float64).reshape(-1, 1, 1, 2)
    found = diversity(points, points)
    assert found.distinct > 0.9 and found.spread == pytest.approx(1)


def test_a_set_that_holds_images_twice_still_has_a_measure():
    real = np.concatenate([REAL[:100], REAL[:200]])
    assert diversity(np.full_like(real, 5), real).distinct == 0
    assert diversity(REAL, real).distinct > 0.9


def test_what_has_no_measure_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 6, 6, 1\)"):
        diversity(REAL[:1], REAL[:1])
    with pytest.raises(ValueError, match="one shape"):
        diversity(REAL[:20], REAL)
    with pytest.raises(ValueError, match="all alike"):
        diversity(REAL, np.zeros_like(REAL))
