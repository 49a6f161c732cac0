"""Points in the plane, shown as their density, over that of the data."""

import dataclasses
from typing import ClassVar

import jax
import numpy as np

from jaxgan.media.medium import Medium, as_float

__all__ = ["Points"]

BINS = 128  # a side of the square in which points are counted
DRAWN, REAL = np.array((255, 160, 60)), np.array((0, 95, 195))  # colours, which make white where both are


@dataclasses.dataclass(frozen=True)
class Points(Medium):
    """Points. Stored, and for networks: float32 `[N, 1, 1, 2]`, (x, y) as the two channels of an image of one pixel, so
    that functions that pack or augment images work for points too."""

    kind: ClassVar[str] = "points"
    plural: ClassVar[str] = "points"
    array: ClassVar[str] = "images"
    shown: ClassVar[int] = 2500
    metrics: ClassVar[tuple[str, ...]] = ("swd",)
    compares: ClassVar[bool] = True

    def decode(self, stored: jax.Array) -> jax.Array:
        return as_float(stored)

    def encode(self, output: jax.Array) -> jax.Array:
        return as_float(output)

    def show(
        self, examples: np.ndarray, columns: int | None = None, *, real: np.ndarray | None = None, scale: int = 2
    ) -> np.ndarray:
        """Draws the density in [-1.5, 1.5]², y upwards, with brightness as the root of the count: uint8 `[256 s, 256 s,
        1]` for scale s. With `real` points it is `[256 s, 256 s, 3]`: the examples in orange, the real points in blue,
        white where both are. Points that aren't finite are left out."""
        del columns
        if not len(examples):
            raise ValueError("a density needs at least one point, got none")
        if real is None:
            picture = (255 * _brightness(examples)).astype(np.uint8)
        else:
            both = _brightness(examples) * DRAWN + _brightness(real) * REAL
            picture = np.minimum(both, 255).astype(np.uint8)
        return picture.repeat(2 * scale, axis=0).repeat(2 * scale, axis=1)


def _brightness(points: np.ndarray) -> np.ndarray:
    """Returns the root of the points' density, relative to the largest, `[128, 128, 1]` in [0, 1]."""
    x, y = points.reshape(-1, 2).T
    density, *_ = np.histogram2d(-y, x, bins=BINS, range=((-1.5, 1.5), (-1.5, 1.5)))
    root: np.ndarray = np.sqrt(density / max(density.max(), 1))
    return root[..., None]
