"""The examples that are nearest to samples, by which one sees whether a GAN copies what it was trained on."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["Neighbours", "nearest"]

CHUNK = 1024  # examples that are compared at a time


class Neighbours(NamedTuple):
    """distances: float64 `[N, k]`, ascending. numbers: of the examples, `[N, k]`."""

    distances: np.ndarray
    numbers: np.ndarray


def nearest(
    queries: np.ndarray, examples: np.ndarray, k: int, progress: Callable[[int], object] = lambda count: None
) -> Neighbours:
    """Finds the k nearest of the examples `[M, ...]` to each query `[N, ...]`, by Euclidean distance, exactly, in
    float64; of equal distances that of the lower number comes first. `progress` is called with numbers of examples.
    ValueError for more neighbours than examples, and for NaN."""
    if not 1 <= k <= len(examples):
        raise ValueError(f"there are from 1 to {len(examples)} nearest examples of {len(examples)}, got {k}")
    points = np.asarray(queries, np.float64).reshape(len(queries), -1)
    squares = np.empty((len(points), len(examples)))
    for first in range(0, len(examples), CHUNK):
        part = np.asarray(examples[first : first + CHUNK], np.float64).reshape(-1, points.shape[1])
        for row, point in enumerate(points):
            apart = part - point  # not |a|² + |b|² - 2ab, by which copies would not be at 0
            squares[row, first : first + len(part)] = np.einsum("ij,ij->i", apart, apart)
        progress(len(part))
    if np.isnan(squares).any():
        raise ValueError("distances can't be computed of numbers that are NaN")
    numbers = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return Neighbours(np.sqrt(np.take_along_axis(squares, numbers, 1)), numbers)
