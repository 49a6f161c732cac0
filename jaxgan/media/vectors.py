"""Vectors of numbers, such as the rows of a table, shown column by column."""

import dataclasses
import io
from collections.abc import Mapping
from typing import BinaryIO, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.media.grid import grid
from jaxgan.media.medium import Medium, as_float

__all__ = ["Vectors"]

COLUMNS = 16  # columns that are shown, at most
BINS, HEIGHT = 32, 64  # of a histogram, and its pixels for scale 1
DRAWN, REAL = (255, 160, 60), (70, 110, 160)


@dataclasses.dataclass(frozen=True)
class Vectors(Medium):
    """Vectors. Stored: float32 `[N, D]`, in the data's own units. For networks: float32, where each column's range from
    `low` to `high` becomes [-1, 1]; a constant column becomes 0, and its constant again when it is stored.

    names: of the columns, empty or D of them."""

    kind: ClassVar[str] = "vectors"
    plural: ClassVar[str] = "vectors"
    array: ClassVar[str] = "vectors"
    shown: ClassVar[int] = 1000
    metrics: ClassVar[tuple[str, ...]] = ("vectors",)
    suffixes: ClassVar[tuple[str, ...]] = (".npz", ".csv")
    compares: ClassVar[bool] = True

    low: tuple[float, ...]
    high: tuple[float, ...]
    names: tuple[str, ...] = ()

    def _middle_and_half(self) -> tuple[jax.Array, jax.Array]:
        low, high = np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)
        return jnp.asarray((low + high) / 2, jnp.float32), jnp.asarray((high - low) / 2, jnp.float32)

    def decode(self, stored: jax.Array) -> jax.Array:
        middle, half = (jnp.expand_dims(x, range(stored.ndim - 1)) for x in self._middle_and_half())
        return (as_float(stored) - middle) / jnp.where(half == 0, 1.0, half)

    def encode(self, output: jax.Array) -> jax.Array:
        middle, half = (jnp.expand_dims(x, range(output.ndim - 1)) for x in self._middle_and_half())
        return as_float(output) * half + middle

    def show(
        self, examples: np.ndarray, columns: int | None = None, *, real: np.ndarray | None = None, scale: int = 2
    ) -> np.ndarray:
        """Draws a histogram for each of the first 16 columns, in reading order, over the range of the data: the
        examples in orange and, if given, the `real` vectors in blue behind them. Values outside of the range count at
        its edges."""
        if not len(examples):
            raise ValueError("histograms need at least one vector, got none")
        panels = [self._panel(i, examples, real, scale) for i in range(min(COLUMNS, examples.shape[-1]))]
        return grid(np.stack(panels), columns and min(columns, len(panels)))

    def _panel(self, i: int, drawn: np.ndarray, real: np.ndarray | None, scale: int) -> np.ndarray:
        low, high = self.low[i], self.high[i]
        margin = 0.05 * (high - low) or 0.5
        edges = np.linspace(low - margin, high + margin, BINS + 1)

        def shares(values: np.ndarray) -> np.ndarray:
            values = values[np.isfinite(values)]
            return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(len(values), 1)

        mine, theirs = shares(drawn[:, i]), np.zeros(BINS) if real is None else shares(real[:, i])
        top = max(mine.max(), theirs.max()) or 1.0
        size = HEIGHT * scale
        below = (np.arange(size)[::-1, None] + 0.5) / size  # the height of a row of pixels
        panel = np.zeros((size, BINS, 3), np.uint8)
        panel[below < theirs / top] = REAL
        outline = (below < mine / top) & ((below >= mine / top - 3 / size) | (real is None))
        panel[outline] = DRAWN
        return panel.repeat(2 * scale, axis=1)

    def save(self, file: BinaryIO, suffix: str, examples: np.ndarray, beside: Mapping[str, np.ndarray]) -> None:
        """Writes .npz, or .csv with a header: the columns' names (by default x0, x1, ...), and those of other arrays
        `[N]`."""
        if suffix != ".csv":
            super().save(file, suffix, examples, beside)
            return
        if examples.ndim != 2:
            raise ValueError(f"a .csv file has vectors [N, D], not {list(examples.shape)}; take .npz, or one member")
        names = [*(self.names or [f"x{i}" for i in range(examples.shape[1])]), *beside]
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        text.write(",".join(_quoted(name) for name in names) + "\n")
        for row, *others in zip(examples, *beside.values(), strict=True):
            text.write(",".join([*(f"{value:.9g}" for value in row), *map(str, others)]) + "\n")
        text.detach()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n') else name
