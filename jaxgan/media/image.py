"""Images: stored as bytes, in [-1, 1] for networks, shown as a grid."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.media.grid import grid, label
from jaxgan.media.medium import Medium

__all__ = ["Image"]

COLUMNS = 16  # shown images of a member


@dataclasses.dataclass(frozen=True)
class Image(Medium):
    """Images. Stored: uint8 `[N, H, W, C]` of any height and width, with 1 or 3 channels. For networks: float32 in [-1,
    1]."""

    kind: ClassVar[str] = "image"
    plural: ClassVar[str] = "images"
    array: ClassVar[str] = "images"
    shown: ClassVar[int] = 64
    metrics: ClassVar[tuple[str, ...]] = ("swd", "diversity")
    distinct: ClassVar[bool] = True

    def decode(self, stored: jax.Array) -> jax.Array:
        return stored.astype(jnp.float32) / 127.5 - 1.0

    def encode(self, output: jax.Array) -> jax.Array:
        """Rounds to the nearest of 0..255; values outside of [-1, 1] are clipped."""
        return jnp.round((jnp.clip(output, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)

    def show(
        self, examples: np.ndarray, columns: int | None = None, *, real: np.ndarray | None = None, scale: int = 2
    ) -> np.ndarray:
        """Returns the images in rows of `columns`, small ones doubled (see `grid`)."""
        del real, scale
        return grid(examples, columns)

    def show_members(self, examples: np.ndarray, *, real: np.ndarray | None = None) -> np.ndarray:
        """Returns a grid whose row k holds the number of member k and its first 16 images."""
        del real
        if 0 in examples.shape[:2]:
            raise ValueError(f"a picture of members needs at least one of each, members and examples: {examples.shape}")
        # Each row is a grid, whose lower gap is the next one's upper gap.
        rows = [grid(of_one[:COLUMNS], min(COLUMNS, len(of_one))) for of_one in examples]
        labels = [label(k, len(row)).repeat(row.shape[-1], axis=-1) for k, row in enumerate(rows)]
        picture = np.vstack([np.hstack(pair)[:-2] for pair in zip(labels, rows, strict=True)])
        return np.pad(picture, ((0, 2), (0, 0), (0, 0)))

    def tiles(self, examples: np.ndarray) -> np.ndarray | None:
        return examples
