"""Labelled images, and the share of them that a classifier tells, for the commands that try classifiers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Labelled", "share_right"]

AT_ONCE = 256  # images in a dispatch


class Labelled(NamedTuple):
    """Images as they are stored, uint8 `[N, H, W, C]`, and their classes, integers `[N]`."""

    images: np.ndarray
    labels: np.ndarray


def share_right(
    tell: Callable[[np.ndarray], Any], test: Labelled, seen: Callable[[int], object] = lambda count: None
) -> float:
    """Returns the share, from 0 to 1, of at least one image whose class `tell` finds, stored images `[256, H, W, C]` ->
    classes `[256]`. seen: is told how many images were looked at."""
    count, right = len(test.labels), 0
    for first in range(0, count, AT_ONCE):
        some = np.arange(first, first + AT_ONCE) % count  # as many in each dispatch, so that one program does
        found = (np.asarray(tell(test.images[some])) == test.labels[some])[: count - first]
        right += int(np.sum(found))
        seen(len(found))
    return right / count
