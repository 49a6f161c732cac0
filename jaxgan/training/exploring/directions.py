"""Directions in a latent space along which pictures change in one way: found in the weights, without any label, or from
what a classifier reads. Functions of arrays, in float64."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Factors", "class_directions", "factorised", "spread"]


class Factors(NamedTuple):
    """directions: unit vectors `[D, D]`, a row each, the strongest first. values: of each, `[D]`: the squared length of
    what a step of 1 along it adds to what the layers read."""

    directions: np.ndarray
    values: np.ndarray


def factorised(factors: Sequence[np.ndarray]) -> Factors:
    """Finds the directions that change most what the first linear maps of some layers make of a code. Closed-form
    factorisation (SeFa), Shen & Zhou 2021 (arXiv 2007.06600), equations 5 and 6: with y = Aw + b they are the unit
    vectors that maximise |An|² one after another, the eigenvectors of AᵀA.

    factors: matrices `[D, outputs]`, as of `Latents.factors`, A transposed; those of several layers are put together as
    one A. A direction is as good as its opposite: its largest number is positive here. ValueError without factors, and
    for numbers that aren't finite."""
    if not len(factors):
        raise ValueError("at least one layer's factors are needed, got none")
    whole = np.concatenate([np.asarray(each, np.float64) for each in factors], axis=1)
    if not np.isfinite(whole).all():
        raise ValueError("the weights that read the latents have numbers that are not finite")
    values, vectors = np.linalg.eigh(whole @ whole.T)  # ascending, a column each
    directions = vectors.T[::-1]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    return Factors(directions * np.sign(largest), np.maximum(values[::-1], 0.0))


def class_directions(codes: np.ndarray, read: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Returns for each of `classes` the unit vector `[D]` from the mean code of the samples that are read as another
    class to that of those that are read as this one.

    It is the normal of the separating plane of two classes with equal spherical spread; nothing has to be fitted. A
    general separator's normal (logistic regression, a linear discriminant) would be larger along directions in which
    codes hardly vary, and so lead out of where a generator has learned what to draw.

    codes: `[N, D]`; read: integers `[N]`, what a classifier takes the samples for. ValueError where no sample, or every
    one, is read as a class, or the means are the same."""
    codes, found = np.asarray(codes, np.float64), []
    for number in classes:
        those = np.asarray(read) == number
        if not those.any() or those.all():
            raise ValueError(f"{int(those.sum())} of {len(those)} samples are read as class {number}")
        difference = codes[those].mean(0) - codes[~those].mean(0)
        length = np.linalg.norm(difference)
        if not length > 0:  # nor for NaN
            raise ValueError(f"samples that are read as class {number} have the same mean code as others, or a NaN")
        found.append(difference / length)
    return np.stack(found)


def spread(codes: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Returns the standard deviation `[n]` of codes `[N, D]` along unit vectors `[n, D]`: the unit in which steps along
    a direction are counted."""
    along = np.asarray(codes, np.float64) @ np.asarray(directions, np.float64).T
    return np.asarray(along.std(0))
