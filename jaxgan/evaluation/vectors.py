"""Distances of two sets of vectors, of single columns and of all of them; no network is needed."""

from typing import NamedTuple

import jax
import numpy as np

from jaxgan.evaluation.frechet import checked, frechet_distance
from jaxgan.evaluation.sliced import sliced_wasserstein

__all__ = ["VectorScores", "vector_scores"]

SLICED = 2048  # vectors of each set, at most, for the sliced distance


class VectorScores(NamedTuple):
    """Distances in units of the real columns' standard deviations. frechet: the squared Fréchet distance of both sets'
    Gaussians, as in FID, but of the vectors themselves. sliced: the sliced Wasserstein distance. column, worst_column:
    the Wasserstein distance of a column, mean and largest over the columns."""

    frechet: float
    sliced: float
    column: float
    worst_column: float


def vector_scores(vectors: np.ndarray, real: np.ndarray) -> VectorScores:
    """Scores vectors `[N, D]` against real ones `[M, D]`, floats. Every column is divided by its standard deviation
    over the real vectors; one that is constant there is left as it is.

    The Fréchet distance (see `frechet_distance`) takes all vectors of both sets, the others the first min(N, M); the
    sliced one (see `sliced_wasserstein`, 512 projections) at most 2,048. A column's distance is the first Wasserstein
    distance, the mean absolute difference of sorted values. ValueError for other shapes, fewer than two, NaN and
    infinity."""
    vectors, real = checked(vectors, "vectors"), checked(real, "real vectors")
    if vectors.shape[1] != real.shape[1]:
        raise ValueError(f"vectors of {vectors.shape[1]} numbers against real ones of {real.shape[1]}")
    scale = real.std(0, dtype=np.float64)
    scale[scale == 0] = 1.0
    # Around the real mean, so that float32 loses nothing where an offset is large.
    centre = real.mean(0, dtype=np.float64)
    mine, theirs = ((x.astype(np.float64) - centre) / scale for x in (vectors, real))
    count = min(len(mine), len(theirs))
    columns = np.abs(np.sort(mine[:count], 0) - np.sort(theirs[:count], 0)).mean(0)
    few = min(count, SLICED)
    pair = (x[:few].astype(np.float32) for x in (mine, theirs))
    sliced = float(sliced_wasserstein(jax.random.key(0), *pair))
    return VectorScores(frechet_distance(mine, theirs), sliced, float(columns.mean()), float(columns.max()))
