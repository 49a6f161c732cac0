"""Counts of the modes that a generator reaches, and how evenly: the scores of stacked MNIST and of toys in the plane.

The divergence of a finite sample isn't 0 where the distribution is right, so a result means something only beside that
floor. For 26,000 samples on 1,000 modes, `kl_floor` gives 0.01934 for modes that are equally likely, and 0.02362 for
stacks of three digits that are as frequent as in MNIST's training set (`stacked_frequencies`). The first term (K -
1)/2N of the known series in 1/N, added to the distribution's own divergence, gives 0.0192 and 0.0235.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, xlog1py, xlogy

__all__ = [
    "MNIST_COUNTS",
    "ModeCoverage",
    "NearestModes",
    "kl_floor",
    "mode_coverage",
    "nearest_modes",
    "stacked_frequencies",
]

MNIST_COUNTS = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)  # of the digits 0 to 9 in its training set


class ModeCoverage(NamedTuple):
    """modes: the number of modes with a sample. kl: KL(samples ‖ uniform) in nats, 0 to log(number of modes)."""

    modes: int
    kl: float


class NearestModes(NamedTuple):
    """modes: the number of modes with a high-quality sample. quality: share of such samples, 0 to 1."""

    modes: int
    quality: float


def mode_coverage(labels: ArrayLike, number: int = 1000) -> ModeCoverage:
    """Counts the modes among the labels `[N]` of samples, integers in [0, number). Also returns Σ pᵢ log(pᵢ · number)
    over the modes with samples, where pᵢ is the share of mode i: KL(samples ‖ uniform) in nats, as in the code of
    PacGAN (Lin et al. 2018, arXiv 1712.04086, section 4.2; "reverse KL" elsewhere).

    Stacked-MNIST's protocol is 26,000 samples with label = 100 r + 10 g + b of a classifier's digits; other numbers of
    samples don't compare, see `kl_floor`. ValueError for anything but at least one integer `[N]` in that range."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected labels as integers [N], at least one, got {labels.dtype} of shape {labels.shape}")
    if number < 1 or labels.min() < 0 or labels.max() >= number:
        raise ValueError(f"expected labels from 0 to {number - 1}, got {labels.min()} to {labels.max()}")
    shares = np.bincount(labels.astype(np.int64), minlength=number) / len(labels)
    return ModeCoverage(int(np.count_nonzero(shares)), float(xlogy(shares, shares * number).sum()))


def kl_floor(samples: int, frequencies: ArrayLike) -> float:
    """Returns the expected `mode_coverage(...).kl` of `samples` independent samples of a distribution over K modes,
    given as `frequencies` `[K]`: probabilities, or counts that are proportional to them.

    It is exact: log K + Σᵢ E[(n/N) log(n/N)], n binomial with N and fᵢ. KL(f ‖ uniform) + (K - 1)/2N is close to it
    where N is many times K and no fᵢ is 0. ValueError for no sample, and for frequencies that aren't numbers of at
    least 0 with a sum above 0."""
    weights = np.asarray(frequencies, np.float64)
    if weights.ndim != 1 or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(f"expected frequencies [K], finite, at least 0, and not all 0, got {weights}")
    if samples < 1:
        raise ValueError(f"expected at least 1 sample, got {samples}")
    probabilities, times = np.unique(weights / weights.sum(), return_counts=True)
    means = [_mean_term(samples, probability) for probability in probabilities]
    return float(np.log(len(weights)) + times @ np.array(means))


def _mean_term(samples: int, probability: float) -> float:
    """Returns E[(n/N) log(n/N)], n binomial."""
    # Outside of this range are less than 1e-17 of the draws, by Bernstein's inequality.
    reach = 9 * np.sqrt(samples * probability * (1 - probability)) + 27
    first, last = np.floor(samples * probability - reach), np.ceil(samples * probability + reach)
    n = np.arange(max(first, 0), min(last, samples) + 1)
    ways = gammaln(samples + 1) - gammaln(n + 1) - gammaln(samples - n + 1)
    chances = np.exp(ways + xlogy(n, probability) + xlog1py(samples - n, -probability))
    return float(chances @ xlogy(n / samples, n / samples))


def stacked_frequencies(digits: ArrayLike = MNIST_COUNTS) -> np.ndarray:
    """Returns probabilities, float64 `[K³]`, of stacks of three independent classes (mode K² r + K g + b), which are as
    frequent as `digits` `[K]`, probabilities or counts; by default those of MNIST's training set."""
    shares = np.asarray(digits, np.float64)
    shares = shares / shares.sum()
    return np.einsum("r,g,b->rgb", shares, shares, shares).ravel()


def nearest_modes(points: ArrayLike, centres: ArrayLike, radius: float) -> NearestModes:
    """Counts the modes of a mixture with centres `[K, D]` that are the nearest to a high-quality point among points
    `[N, D]`. A point is of high quality within `radius` of its nearest centre (Srivastava et al. 2017, arXiv
    1705.07761, and PacGAN, with a radius of 3σ); one that isn't finite is not. Also returns the share of such points.
    ValueError for other shapes, for no point or centre, and for a radius that isn't above 0."""
    points, centres = np.asarray(points, np.float64), np.asarray(centres, np.float64)
    if (
        points.ndim != 2
        or centres.ndim != 2
        or points.shape[1] != centres.shape[1]
        or not (points.size and centres.size)
    ):
        raise ValueError(
            f"expected points [N, D] and centres [K, D], at least one, got {points.shape}, {centres.shape}"
        )
    if not radius > 0:
        raise ValueError(f"expected a radius above 0, got {radius}")
    squared = np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres], axis=1)
    near = squared.min(axis=1) <= radius**2
    return NearestModes(len(np.unique(squared.argmin(axis=1)[near])), float(near.mean()))
