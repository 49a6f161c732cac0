"""Diversity of images from their pixels alone, which shows a collapse: how many differ, and how much."""

from typing import NamedTuple

import numpy as np

__all__ = ["Diversity", "diversity"]

NEAR = 0.01  # the share of real images that have a near twin
ROWS = 256  # of distances at a time


class Diversity(NamedTuple):
    """distinct: the share of images without a near twin. spread: the variance of the images over that of
    the real ones."""

    distinct: float
    spread: float


def diversity(images: np.ndarray, real: np.ndarray) -> Diversity:
    """Returns how many of N images `[N, ...]` are distinct, and their spread, both relative to as many real images of
    the same shape.

    An image has a near twin when its nearest other image is closer, in Euclidean distance of the pixels, than that of
    all but one in a hundred real images; so 0.99 of the real images are distinct. The spread is the mean over pixels of
    the variance over images, divided by that of the real images: 1 for a perfect generator, 0 for one that always draws
    the same. uint8 images count as x/127.5 - 1, floats as they are. ValueError for sets of unequal shapes or of fewer
    than two, and for real images that are all alike."""
    if images.shape != real.shape or len(images) < 2:
        raise ValueError(f"expected two sets [N, ...] of one shape with N > 1, got {images.shape} and {real.shape}")
    mine, theirs = _flat(images), _flat(real)
    beyond = _nearest(theirs)
    positive = beyond[beyond > 0]
    if not len(positive):
        raise ValueError(f"the {len(real)} real images are all alike; diversity has no measure there")
    near = max(float(np.quantile(beyond, NEAR)), float(positive.min()))  # the set may hold an image twice
    spread = float(mine.var(0).mean()) / float(theirs.var(0).mean())
    return Diversity(float(np.mean(_nearest(mine) >= near)), spread)


def _flat(images: np.ndarray) -> np.ndarray:
    """Returns float64 `[N, D]`, centred, which changes no distance and saves digits."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat = flat / 127.5 if images.dtype == np.uint8 else flat
    centred: np.ndarray = flat - flat.mean(0)
    return centred


def _nearest(points: np.ndarray) -> np.ndarray:
    """Returns the distances `[N]` from each of the points `[N, D]` to the nearest other one."""
    norms = np.sum(points**2, 1)
    nearest = np.empty(len(points))
    for first in range(0, len(points), ROWS):
        rows = points[first : first + ROWS]
        squared = norms[first : first + ROWS, None] + norms - 2 * rows @ points.T
        squared[np.arange(len(rows)), first + np.arange(len(rows))] = np.inf
        nearest[first : first + ROWS] = np.sqrt(np.maximum(squared, 0.0).min(1))
    return nearest
