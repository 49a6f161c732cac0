"""The kernel distance of two sets of features: the arithmetic of KID."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxgan.evaluation.frechet import checked

__all__ = ["KernelDistance", "kernel_distance"]

ROWS = 64  # of a kernel matrix in float64 at a time: a block of them stays in the processor's cache


class KernelDistance(NamedTuple):
    """Mean of the squared distance over subsets, and standard deviation (divided by the number of subsets, not by one
    less)."""

    mean: float
    std: float


def kernel_distance(
    real: ArrayLike, fake: ArrayLike, *, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> KernelDistance:
    """Returns the squared kernel distance (MMD²) of features `[N, D]` and `[M, D]`, over `subsets` pairs of random
    subsets.

    The kernel is k(x, y) = (x·y/D + 1)³ and the estimate unbiased: of m samples each, Σ_{i≠j} (k(xᵢ, xⱼ) + k(yᵢ, yⱼ)) /
    (m(m - 1)) - 2 Σ_{ij} k(xᵢ, yⱼ) / m². Two sets of one distribution are at 0 on average, so the distance may be
    negative. On Inception's features it is KID (Bińkowski et al. 2018, arXiv 1801.01401, section 4), often printed
    times 1,000. Its mean doesn't depend on the number of samples.

    Subsets are those of torch-fidelity with `real` as its input 1, from NumPy's `RandomState(seed)`: one of `real`, one
    of `fake`, and so on, each without replacement. Inner products are float32, of offsets from a common centre, and all
    else is float64: that costs a millionth of mean and standard deviation, where float32 throughout (torch-fidelity,
    given float32) costs a hundred times that, and far from the origin every digit.

    ValueError for fewer samples than `subset_size`, features that are not finite, sets of unlike D, no subset, and
    subsets of 1.
    """
    real, fake = checked(real, "real"), checked(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"expected features of one network, got {real.shape[1]} numbers a sample in real, {fake.shape[1]} in fake"
        )
    if subsets < 1 or subset_size < 2:
        raise ValueError(f"expected subsets >= 1 and subset_size >= 2, got {subsets} and {subset_size}")
    few = min(len(real), len(fake))
    if few < subset_size:
        raise ValueError(
            f"subset_size {subset_size} takes as many samples, got {len(real)} real and {len(fake)} fake: "
            f"give more samples or a subset_size of at most {few}"
        )
    random = np.random.RandomState(seed)  # the reference's draws, not ours
    centre = real[:subset_size].mean(axis=0, dtype=np.float64).astype(np.float32)  # any will do that is near
    distances = np.zeros(subsets)
    for i in range(subsets):
        x = _split(real[random.choice(len(real), subset_size, replace=False)], centre)
        y = _split(fake[random.choice(len(fake), subset_size, replace=False)], centre)
        within = _total(x, x, diagonal=False) + _total(y, y, diagonal=False)
        distances[i] = within / (subset_size * (subset_size - 1)) - 2 * _total(x, y) / subset_size**2
    return KernelDistance(float(distances.mean()), float(distances.std()))


def _split(samples: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns u and p with uᵢ·vⱼ + pᵢ + qⱼ = xᵢ·yⱼ + D: float32 offsets `[m, D]`, and the part of a single sample
    `[m]`.

    u·c may be rounded to float32: that moves a sample by as little as its own rounding did, for all its pairs alike."""
    offsets = (samples - centre).astype(np.float32, copy=False)
    c = centre.astype(np.float64)
    return offsets, (offsets @ centre).astype(np.float64) + (c @ c + len(c)) / 2


def _total(x: tuple[np.ndarray, np.ndarray], y: tuple[np.ndarray, np.ndarray], diagonal: bool = True) -> float:
    """Returns Σ k(xᵢ, yⱼ) over all pairs, or over those with i ≠ j."""
    (u, p), (v, q) = x, y
    products = u @ v.T  # of x with itself at half the cost: NumPy sees that it is symmetric
    total = 0.0
    for first in range(0, len(u), ROWS):
        sums = products[first : first + ROWS].astype(np.float64)
        sums += p[first : first + ROWS, None]
        sums += q
        sums *= sums * sums
        total += float(np.sum(sums))
        if not diagonal:
            total -= float(np.trace(sums, first))
    return total / float(u.shape[1]) ** 3
