"""The Fréchet distance of two sets of features, each modelled as a Gaussian: the arithmetic of FID, in float64."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy.linalg.lapack import dpstrf

__all__ = ["Gaussian", "checked", "frechet_distance", "gaussian"]


class Gaussian(NamedTuple):
    """Mean `[D]` and covariance `[D, D]` of features, float64 NumPy, and the number of samples they come from."""

    mean: np.ndarray
    covariance: np.ndarray
    count: int  # type: ignore[assignment]  # a tuple's own `count` gives way to the field


def gaussian(features: ArrayLike, chunk: int = 2048) -> Gaussian:
    """Returns the mean and unbiased covariance (over N - 1, as in `numpy.cov`) of features `[N, D]` of any float type.

    They are computed in float64 around the mean, so that an offset far larger than the spread costs no digits, from
    `chunk` rows at a time: 50,000 × 2,048 features are never held in float64. ValueError for fewer than 2 samples, for
    features that are not finite, and for a chunk below 1.
    """
    return _fitted(checked(features, "features"), "features", chunk)


def frechet_distance(a: ArrayLike | Gaussian, b: ArrayLike | Gaussian) -> float:
    """Returns the squared Fréchet distance of two Gaussians, each given or fitted to features `[N, D]`; at least 0.

    ‖μₐ - μᵦ‖² + tr(A + B - 2(AB)^½) for covariances A and B (Dowson and Landau 1982). On Inception's features it is FID
    (Heusel et al. 2017, arXiv 1706.08500, eq. 6). Its unit is that of the features, squared. It is biased: fewer
    samples give a larger distance, so compare distances at the same number of samples only.

    (AB)^½ is never formed. With A = LLᵀ, AB has the eigenvalues of LᵀBL but for zeros, and that matrix is symmetric, so
    they are real. L is the pivoted Cholesky factor, which exists for fewer samples than dimensions and constant
    features too. The distance of a set to itself is less than 1e-9 of its trace. ValueError for fewer than 2 samples,
    features or moments that are not finite, and sets of unlike D.
    """
    a, b = _moments(a, "a"), _moments(b, "b")
    if len(a.mean) != len(b.mean):
        raise ValueError(
            f"expected features of one network, got {len(a.mean)} numbers a sample in a, {len(b.mean)} in b"
        )
    # Of fewer samples, the lower rank: zeros of the factor stay zeros, where a zero eigenvalue comes out as 1e-16 of
    # the largest, whose root is 1e-8.
    low, high = (a, b) if a.count <= b.count else (b, a)
    factor = _factor(low.covariance)
    eigenvalues = np.linalg.eigvalsh(factor.T @ high.covariance @ factor)
    root = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    trace = np.trace(a.covariance) + np.trace(b.covariance)
    return max(float(np.sum((a.mean - b.mean) ** 2) + trace - 2 * root), 0.0)


def checked(array: ArrayLike, name: str) -> np.ndarray:
    """Returns `array` as NumPy, without a copy if possible. ValueError, which names it, unless it holds finite floats
    `[N, D]`."""
    x = np.asarray(array)
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"expected {name} [N, D], a row a sample, got shape {list(x.shape)}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"expected {name} to be floats, got {x.dtype}")
    bad = sum(int((~np.isfinite(x[i : i + 2048])).any(axis=1).sum()) for i in range(0, len(x), 2048))
    if bad:
        raise ValueError(f"{bad} of {len(x)} rows of {name} are not finite: look for NaN in the images they are of")
    return x


def _moments(x: ArrayLike | Gaussian, name: str) -> Gaussian:
    if not isinstance(x, Gaussian):
        return _fitted(checked(x, name), name)
    mean, covariance = np.asarray(x.mean, np.float64), np.asarray(x.covariance, np.float64)
    if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
        shapes = f"{list(mean.shape)} and {list(covariance.shape)}"
        raise ValueError(f"expected {name} to have a mean [D] and a covariance [D, D], got {shapes}")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError(f"expected a finite mean and covariance of {name}, got NaN or infinity: compute them afresh")
    return Gaussian(mean, covariance, x.count)


def _fitted(features: np.ndarray, name: str, chunk: int = 2048) -> Gaussian:
    count = len(features)
    if count < 2:
        raise ValueError(f"a covariance takes at least 2 samples, got {count} in {name}")
    if chunk < 1:
        raise ValueError(f"expected a chunk of at least 1 row, got {chunk}")
    parts = [features[first : first + chunk] for first in range(0, count, chunk)]  # views
    mean = sum(part.astype(np.float64).sum(axis=0) for part in parts) / count
    scatter = np.zeros((len(mean), len(mean)))
    for part in parts:
        centred = part.astype(np.float64) - mean
        scatter += centred.T @ centred  # symmetric bit for bit, and at half the cost: NumPy sees that it is
    return Gaussian(mean, scatter / (count - 1), count)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """Returns L `[D, rank]` with LLᵀ = covariance, its columns from large to small.

    LAPACK stops at a pivot below the rounding error of the largest one. The order keeps small eigenvalues exact to
    their own size in what is computed from L: a root from an eigendecomposition loses half the digits of a distance
    where variances span many orders."""
    tolerance = np.finfo(np.float64).eps * np.diag(covariance).max()
    packed, pivots, rank, _ = dpstrf(covariance, tol=tolerance, lower=1)
    factor = np.empty((len(covariance), rank))
    factor[pivots - 1] = np.tril(packed)[:, :rank]
    return factor
