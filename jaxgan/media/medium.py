"""The interface of a medium: all that the host side must know of a kind of examples."""

import abc
from collections.abc import Mapping
from typing import Any, BinaryIO, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.media.grid import grid, label

__all__ = ["Medium"]


class Medium(abc.ABC):
    """A kind of examples. Its methods take any number N of them along the first axis, and know nothing of GANs.

    kind: its name in a record of the data. plural: the name of examples in messages. array: the name of their array in
    a file. shown: the number of examples in a picture. suffixes: those of the files that `save` writes. metrics: the
    scores for examples of which no network has features. distinct: whether "diversity" is one of their scores.
    compares: whether pictures show examples of the data too."""

    kind: ClassVar[str]
    plural: ClassVar[str]
    array: ClassVar[str]
    shown: ClassVar[int]
    metrics: ClassVar[tuple[str, ...]]
    suffixes: ClassVar[tuple[str, ...]] = (".npz",)
    distinct: ClassVar[bool] = False
    compares: ClassVar[bool] = False

    @abc.abstractmethod
    def decode(self, stored: jax.Array) -> jax.Array:
        """Decodes stored examples `[N, ...]` for a network, float32; pure."""

    @abc.abstractmethod
    def encode(self, output: jax.Array) -> jax.Array:
        """Encodes a network's output as it is stored: the inverse of `decode`; pure."""

    @abc.abstractmethod
    def show(
        self, examples: np.ndarray, columns: int | None = None, *, real: np.ndarray | None = None, scale: int = 2
    ) -> np.ndarray:
        """Draws a picture of stored examples, uint8 `[H, W, 1 or 3]`. columns: those of a grid, by default as square as
        possible. real: examples of the data, for media whose pictures compare. scale: the size of densities and
        histograms. ValueError without examples."""

    def show_members(self, examples: np.ndarray, *, real: np.ndarray | None = None) -> np.ndarray:
        """Draws the stored examples `[S, N, ...]` of S members of an ensemble: each member's picture in a frame, beside
        its number, in reading order in a grid that is as square as possible. ValueError without members or examples."""
        if 0 in examples.shape[:2]:
            raise ValueError(f"a picture of members needs at least one of each, members and examples: {examples.shape}")
        # A frame around each, since the background between them is as black as inside.
        panels = [self.show(each, real=real, scale=1) for each in examples]
        panels = [np.pad(panel, ((1, 1), (1, 1), (0, 0)), constant_values=64) for panel in panels]
        strips = [label(k, len(panel)).repeat(panel.shape[-1], axis=-1) for k, panel in enumerate(panels)]
        return grid(np.stack([np.hstack(pair) for pair in zip(strips, panels, strict=True)]))

    def tiles(self, examples: np.ndarray) -> np.ndarray | None:
        """Returns each example as a picture of its own, uint8 `[N, H, W, C]`; None where it takes many to make a
        picture."""
        del examples
        return None

    def save(self, file: BinaryIO, suffix: str, examples: np.ndarray, beside: Mapping[str, np.ndarray]) -> None:
        """Writes stored examples `[..., N, ...]`, and other arrays `beside` them by name, to a file that is open for
        writing. The suffix names the format; ValueError for one that isn't in `suffixes`."""
        if suffix not in self.suffixes:
            raise ValueError(
                f"{self.plural} are saved as {' or '.join(self.suffixes)}, not as {suffix or 'a bare name'}"
            )
        arrays: dict[str, Any] = {self.array: examples, **beside}
        np.savez_compressed(file, **arrays)


def as_float(stored: jax.Array) -> jax.Array:
    """Returns the numbers unchanged, as float32."""
    return stored.astype(jnp.float32)
