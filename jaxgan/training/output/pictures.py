"""Pictures of all that a GAN draws, as PNG files and animated GIFs, each written atomically."""

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from jaxgan.files import atomic_write, open_regular
from jaxgan.media import Image as Shown
from jaxgan.media import Medium, side_by_side

T = TypeVar("T")

FRAMES = 100  # most frames in the animation of a run

__all__ = ["animate", "picture", "save_gif", "save_png"]


def picture(
    media: Mapping[str, Medium],
    drawn: Mapping[str, np.ndarray],
    columns: int | None = None,
    *,
    members: int = 0,
    real: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """Returns a picture of what a GAN draws, uint8 `[H, W, C]`: stored arrays `[N, ...]` of these `media` by output, of
    an ensemble with so many `members` `[members, N, ...]`. columns: as for a medium's `show`. real: examples of the
    data by output, for media that compare.

    Several outputs stand side by side, example by example where each makes a picture of its own."""

    def show(name: str, examples: np.ndarray) -> np.ndarray:
        beside = (real or {}).get(name)
        return (
            media[name].show_members(examples, real=beside)
            if members
            else media[name].show(examples, columns, real=beside)
        )

    if len(drawn) == 1:
        return next(show(name, examples) for name, examples in drawn.items())
    tiles = [media[name].tiles(examples) for name, examples in drawn.items()]
    if any(tile is None for tile in tiles):
        return side_by_side([show(name, examples) for name, examples in drawn.items()])
    rows = side_by_side([tile for tile in tiles if tile is not None])
    square = max(1, round(math.sqrt(rows.shape[-4] * rows.shape[-3] / rows.shape[-2])))
    return Shown().show_members(rows) if members else Shown().show(rows, columns or square)


def _picture(array: np.ndarray) -> Image.Image:
    """PIL shows one and three channels; of any other count it gets the first as grey."""
    return Image.fromarray(array if array.shape[-1] == 3 else array[..., 0])


def save_png(path: Path, array: np.ndarray) -> None:
    """Writes uint8 `[H, W, C]` as a PNG file, atomically."""
    with atomic_write(path) as temporary:
        _picture(array).save(temporary, format="PNG")


def save_gif(path: Path, frames: Sequence[np.ndarray], milliseconds: int = 120) -> None:
    """Writes uint8 frames `[H, W, C]` as an endless GIF that rests on its last frame. ValueError without frames."""
    if not len(frames):
        raise ValueError("an animation needs at least one frame, got none")
    first, *rest = [_picture(frame) for frame in frames]
    durations = [milliseconds] * len(rest) + [1500]
    with atomic_write(path) as temporary:
        first.save(temporary, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)


def animate(folder: Path, path: Path) -> None:
    """Writes the folder's PNG files, at most 100 evenly chosen, as one animation; none where there are no files. What
    is no picture, or not of the size that most of them have, is left out."""
    files = sorted(folder.glob("*.png"))
    if not files:
        return
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, FRAMES).astype(int))]
    sizes = {file: size for file in chosen if (size := _size(file))}
    # Of two that are as common it is the newer: the run has written its last picture just now.
    usual = max(reversed(list(sizes.values())), key=list(sizes.values()).count, default=None)
    frames = [frame for file, size in sizes.items() if size == usual and (frame := _frame(file)) is not None]
    if frames:
        save_gif(path, frames)


def _size(file: Path) -> tuple[str, int, int] | None:
    """Returns the mode and size that a picture's first bytes tell; None for what is no picture of a run's."""
    return _look(file, lambda picture: (picture.mode, *picture.size) if picture.mode in ("L", "RGB") else None)


def _frame(file: Path) -> np.ndarray | None:
    """Reads a picture `[H, W, C]`; None for a file that was damaged since, for which the animation needn't fail."""
    return _look(file, lambda picture: np.atleast_3d(np.asarray(picture)))


def _look(file: Path, at: Callable[[Image.Image], T | None]) -> T | None:
    """Opens a PNG file and returns what `at` makes of it; None where that fails, as of a link, a pipe or a file that
    would unfold to more than memory should hold."""
    try:
        with (
            warnings.catch_warnings(action="error"),
            os.fdopen(open_regular(file, os.O_RDONLY), "rb") as content,
            Image.open(content, formats=["PNG"]) as picture,
        ):
            return at(picture)
    except Exception:  # noqa: BLE001 - Pillow raises many kinds, and warns of what is odd
        return None
