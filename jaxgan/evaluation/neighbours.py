"""Fidelity and variety from nearest neighbours in a feature space: improved precision and recall, and density and
coverage.

Both take the support of a set to be the union of balls, one around each example. A ball's radius is the distance to the
example's k-th nearest neighbour in its own set, not counting the example itself. A point is in a ball when it is
strictly nearer than the radius, as in the authors' `prdc` (Kynkäänniemi et al. write ≤, which differs where distances
are equal): a ball whose k nearest neighbours are copies of its centre has radius 0 and is empty. So a set in which all
features are equal has no support, and every score that needs it is 0.

Distances are squared and in float64, |a|² + |b|² - 2ab of centred features: in float32, rounding would often decide
whether a point is nearer than the radius. They are computed in blocks of `chunk` × `chunk`: besides the features,
memory holds one block and a few numbers for each example.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

__all__ = ["DensityCoverage", "PrecisionRecall", "density_coverage", "prdc", "precision_recall"]

CHUNK = 1024  # examples of each set that are compared at a time: a matrix of 8 MB


class PrecisionRecall(NamedTuple):
    """precision: share of generated examples in the real support. recall: share of real examples in the generated
    support. Both in [0, 1]."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """density: the number of real balls that a generated example is in, over k; near 1 for samples of one distribution,
    and above 1 where the generated examples crowd where the real ones do. coverage: share of real balls with a
    generated example in them, in [0, 1]."""

    density: float
    coverage: float


def precision_recall(real: ArrayLike, fake: ArrayLike, *, k: int = 3, chunk: int = CHUNK) -> PrecisionRecall:
    """Returns improved precision and recall of features `[N, D]` and `[M, D]` (Kynkäänniemi et al. 2019, arXiv
    1904.06991, equations 1 and 2). N and M may differ, but both scores depend on them.

    Two samples of one distribution score below 1; a set against itself scores 1 but for examples with k or more copies.
    ValueError for anything but finite floats `[N, D]` of one D, for k below 1, and for fewer than k + 1 examples."""
    return prdc(real, fake, k=k, k_density=k, chunk=chunk)[0]


def density_coverage(real: ArrayLike, fake: ArrayLike, *, k: int = 5, chunk: int = CHUNK) -> DensityCoverage:
    """Returns density and coverage of features `[N, D]` and `[M, D]` (Naeem et al. 2020, arXiv 2002.09797, section 3).

    For two large samples of one distribution, equal in size, density is 1 on average and coverage 1 - 2⁻ᵏ; a set
    without copies scores 1 and 1 against itself. ValueError for anything but finite floats `[N, D]` of one D, for k
    below 1, for fewer than k + 1 real examples, and for no generated one."""
    real, fake = _features(real, "real", k + 1), _features(fake, "generated", 1)
    mean = _common_mean(real, fake, k, chunk)
    limits = _limits(real, _squared_radii(real, mean, k, chunk)[:, -1], mean, chunk)
    counts = _count(real, fake, mean, limits, limits, np.full(len(fake), -np.inf), chunk)
    return DensityCoverage(counts.inside / (k * len(fake)), counts.covered / len(real))


def prdc(
    real: ArrayLike, fake: ArrayLike, *, k: int = 3, k_density: int = 5, chunk: int = CHUNK
) -> tuple[PrecisionRecall, DensityCoverage]:
    """Returns `precision_recall` with k and `density_coverage` with k_density in the time of the first, with the same
    numbers and errors."""
    most = max(k, k_density)
    real, fake = _features(real, "real", most + 1), _features(fake, "generated", k + 1)
    mean = _common_mean(real, fake, min(k, k_density), chunk)
    radii = _squared_radii(real, mean, most, chunk)
    limits = _limits(real, radii[:, k - 1], mean, chunk)
    dense_limits = _limits(real, radii[:, k_density - 1], mean, chunk)
    fake_limits = _limits(fake, _squared_radii(fake, mean, k, chunk)[:, -1], mean, chunk)
    counts = _count(real, fake, mean, limits, dense_limits, fake_limits, chunk)
    return (
        PrecisionRecall(counts.precise / len(fake), counts.recalled / len(real)),
        DensityCoverage(counts.inside / (k_density * len(fake)), counts.covered / len(real)),
    )


def _features(given: ArrayLike, name: str, least: int) -> np.ndarray:
    """Returns finite float32 or float64 `[N, D]` with N at least `least`; ValueError for anything else."""
    x = np.asarray(given)
    if x.ndim != 2 or not jnp.issubdtype(x.dtype, jnp.floating) or x.shape[1] == 0:
        raise ValueError(f"expected {name} features as floats [N, D], got {x.dtype} of shape {x.shape}")
    if len(x) < least:
        raise ValueError(f"expected at least {least} {name} examples (k + 1 where they have radii), got {len(x)}")
    x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)
    with np.errstate(over="ignore"):
        lengths = np.einsum("nd,nd->n", x, x, dtype=np.float64)
    if not np.isfinite(lengths).all():
        bad = np.flatnonzero(~np.isfinite(lengths))
        raise ValueError(
            f"{len(bad)} of {len(x)} {name} examples have features that are NaN or infinite, or too large to be "
            f"squared, the first is number {bad[0]}"
        )
    return x


def _common_mean(real: np.ndarray, fake: np.ndarray, k: int, chunk: int) -> np.ndarray:
    """Returns the mean of both sets, float64 `[1, D]`. Subtracting it changes no distance and leaves more digits to the
    differences."""
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"expected features of one network, got {real.shape[1]} numbers a real example and {fake.shape[1]} a "
            "generated one"
        )
    if k < 1 or chunk < 1:
        raise ValueError(f"expected k and chunk to be at least 1, got k {k}, chunk {chunk}")
    means = [x.mean(axis=0, dtype=np.float64, keepdims=True) for x in (real, fake)]
    return (means[0] + means[1]) / 2


def _block_size(count: int, chunk: int) -> int:
    """Returns `chunk`, or less for fewer examples: a power of two, so that sets of many sizes share a
    compiled program."""
    return min(chunk, 1 << (count - 1).bit_length())


def _blocks(x: np.ndarray, size: int, first: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (position, block `[size, ...]`) from `first` on; zeros fill up the last block."""
    for start in range(first, len(x), size):
        block = x[start : start + size]
        yield start, np.concatenate([block, np.zeros((size - len(block), *x.shape[1:]), x.dtype)])


def _squared_radii(x: np.ndarray, mean: np.ndarray, k: int, chunk: int) -> np.ndarray:
    """Returns float64 `[N, k]`: the squared distances to the 1st, ..., k-th nearest neighbour among the others,
    ascending."""
    size = _block_size(len(x), chunk)
    whole = -(-len(x) // size) * size
    nearest = np.full((whole, k), np.inf)
    with jax.enable_x64(True):
        for i, rows in _blocks(x, size):
            for j, columns in _blocks(x, size, i):  # distances are symmetric: half of the blocks do
                of_rows, of_columns = nearest[i : i + size], nearest[j : j + size]
                found = _nearest(rows, columns, mean, of_rows, of_columns, i, j, len(x))
                nearest[j : j + size] = found[1]
                nearest[i : i + size] = found[0]
    return nearest[: len(x)]


def _limits(x: np.ndarray, squared_radii: np.ndarray, mean: np.ndarray, chunk: int) -> np.ndarray:
    """Returns float64 `[N]`: a point is in a ball when its squared distance is below this limit.

    The limit is the squared radius less the error with which it, and a distance equal to it, are computed. A point
    exactly on the sphere (the neighbour itself, in the other set) is then outside whatever the blocks, and not by
    chance."""
    norms = [((x[i : i + chunk] - mean) ** 2).sum(axis=1) for i in range(0, len(x), chunk)]
    error = 8 * np.finfo(np.float64).eps * np.sqrt(x.shape[1])
    return squared_radii - error * (np.concatenate(norms) + squared_radii)


class _Counts(NamedTuple):
    precise: int  # generated examples in a real ball
    recalled: int  # real examples in a generated ball
    inside: int  # pairs of a generated example and a (dense) real ball it is in
    covered: int  # (dense) real balls with a generated example


def _count(
    real: np.ndarray,
    fake: np.ndarray,
    mean: np.ndarray,
    limits: np.ndarray,
    dense_limits: np.ndarray,
    fake_limits: np.ndarray,
    chunk: int,
) -> _Counts:
    size = _block_size(max(len(real), len(fake)), chunk)
    precise, recalled, inside, covered = np.zeros(len(fake), bool), 0, 0, 0

    with jax.enable_x64(True):
        for (i, rows), (_, of_rows), (_, dense_rows) in zip(
            _blocks(real, size), _blocks(limits, size), _blocks(dense_limits, size), strict=True
        ):
            recalled_here, covered_here = np.zeros((2, size), bool)
            for (j, columns), (_, of_columns) in zip(_blocks(fake, size), _blocks(fake_limits, size), strict=True):
                counts = (len(real) - i, len(fake) - j)
                found = _inside(rows, columns, mean, of_rows, dense_rows, of_columns, *counts)
                precise[j : j + size] |= np.asarray(found[0])[: counts[1]]
                recalled_here |= np.asarray(found[1])
                inside += int(found[2])
                covered_here |= np.asarray(found[3])
            recalled += int(recalled_here.sum())
            covered += int(covered_here.sum())
    return _Counts(int(precise.sum()), recalled, inside, covered)


def _squared(a: jax.Array, b: jax.Array, mean: jax.Array) -> jax.Array:
    """Returns the squared distances `[n, m]` of `[n, D]` and `[m, D]` in float64."""
    a, b = (x.astype(jnp.float64) - mean for x in (a, b))
    lengths = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)[None, :]
    return jnp.maximum(lengths - 2 * jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST), 0)


@jax.jit
def _nearest(
    rows: jax.Array,
    columns: jax.Array,
    mean: jax.Array,
    of_rows: jax.Array,
    of_columns: jax.Array,
    first_row: jax.Array,
    first_column: jax.Array,
    count: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Returns the k nearest distances, `[n, k]`: of those known so far and those in this block of one set of `count`
    examples."""
    row = first_row + jnp.arange(len(rows))[:, None]
    column = first_column + jnp.arange(len(columns))[None, :]
    others = (row != column) & (row < count) & (column < count)
    squared = jnp.where(others, _squared(rows, columns, mean), jnp.inf)
    return (
        _smallest(jnp.concatenate([of_rows, squared], axis=1), of_rows.shape[1]),
        _smallest(jnp.concatenate([of_columns, squared.T], axis=1), of_columns.shape[1]),
    )


def _smallest(values: jax.Array, k: int) -> jax.Array:
    """Returns the k smallest numbers of every row `[n, m]`, ascending. On a CPU `lax.top_k` sorts whole rows of
    float64, which takes longer than computing the distances."""
    distinct, reached = [], []
    last = jnp.full(len(values), -jnp.inf)
    for _ in range(k):
        last = jnp.min(jnp.where(values > last[:, None], values, jnp.inf), axis=1)
        distinct.append(last)
        reached.append(jnp.sum((values <= last[:, None]).astype(jnp.float32), axis=1))
    # With equal values among them, the p-th smallest is the first that at least p are at or below.
    place = jnp.arange(1, k + 1, dtype=jnp.float32)[None, :, None]
    first = jnp.argmax(jnp.stack(reached, axis=1)[:, None, :] >= place, axis=2)
    return jnp.take_along_axis(jnp.stack(distinct, axis=1), first, axis=1)


@jax.jit
def _inside(
    real: jax.Array,
    fake: jax.Array,
    mean: jax.Array,
    limits: jax.Array,
    dense_limits: jax.Array,
    fake_limits: jax.Array,
    reals: jax.Array,
    fakes: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Returns the counts of `_Counts` for a block whose first `reals` rows and `fakes` columns are examples."""
    squared = _squared(real, fake, mean)
    examples = (jnp.arange(len(real)) < reals)[:, None] & (jnp.arange(len(fake)) < fakes)[None, :]
    balls = examples & (squared < limits[:, None])
    dense = examples & (squared < dense_limits[:, None])
    recalled = jnp.any(examples & (squared < fake_limits[None, :]), axis=1)
    return jnp.any(balls, axis=0), recalled, jnp.sum(dense), jnp.any(dense, axis=1)
