"""Mixtures of Gaussians in the plane, whose modes can be counted: a first test of whether a GAN drops some of them.

`ring`: 8 modes on the unit circle, σ 0.01. It is the 2D-ring of PacGAN (Lin et al. 2018, arXiv 1712.04086) and the
mixture of unrolled GANs (Metz et al. 2017, arXiv 1611.02163: radius 2, σ 0.02) at half its size. `grid`: PacGAN's
2D-grid, 25 modes at (-4 + 2i, -4 + 2j), σ 0.05, divided by 4: spacing 0.5, σ 0.0125. All modes are equally likely.

Points are stored as images of one pixel with two channels, (x, y). The centres lie in [-1, 1]; of those on the edge,
about half the points lie a little further out, and a generator that ends in a tanh can't reach them.
"""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["COUNT", "SIGMA", "centres", "draw", "entropy", "grid", "log_density", "ring"]

COUNT = 100_000  # as in PacGAN
SIGMA = {"ring": 0.01, "grid": 0.0125}


def centres(name: str) -> np.ndarray:
    """Returns the centres of the modes of "ring" or "grid", float32 `[K, 2]` in [-1, 1]. ValueError for
    another name.
    """
    if name == "ring":
        angles = 2 * np.pi * np.arange(8) / 8
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    if name == "grid":
        line = np.arange(-4, 5, 2, dtype=np.float32) / 4
        return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    raise ValueError(f"there are the mixtures {' and '.join(SIGMA)}, got {name!r}")


def draw(name: str, seed: int, count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    """Draws points of "ring" or "grid", float32 `[count, 1, 1, 2]`, and their modes, int32 `[count]`. The sets have the
    seeds 8 and 25; points of another seed are held out."""
    random = np.random.Generator(np.random.PCG64(seed))
    modes = centres(name)
    labels = random.integers(len(modes), size=count)
    points = modes[labels] + SIGMA[name] * random.standard_normal((count, 2))
    return points.astype(np.float32).reshape(count, 1, 1, 2), labels.astype(np.int32)


def log_density(name: str, points: ArrayLike) -> np.ndarray:
    """Returns the log density of "ring" or "grid" at points `[N, 2]`, in nats, float64 `[N]`."""
    x, modes, variance = np.asarray(points, np.float64), centres(name), SIGMA[name] ** 2
    squares = np.stack([((x - centre) ** 2).sum(axis=1) for centre in modes.astype(np.float64)], axis=1)
    normed = np.logaddexp.reduce(-0.5 * squares / variance, axis=1)
    return normed - np.log(2 * np.pi * variance * len(modes))


def entropy(name: str) -> float:
    """Returns the differential entropy of "ring" or "grid" in nats: log K + log 2πeσ², of K modes that are too far
    apart to overlap."""
    return float(np.log(len(centres(name))) + np.log(2 * np.pi * np.e * SIGMA[name] ** 2))


def ring() -> tuple[np.ndarray, np.ndarray]:
    """Returns the ring's points, float32 `[100000, 1, 1, 2]`, and their modes, int32 `[100000]` in [0, 8); always the
    same."""
    return draw("ring", 8)


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Returns the grid's points, float32 `[100000, 1, 1, 2]`, and their modes, int32 `[100000]` in [0, 25); always the
    same."""
    return draw("grid", 25)
