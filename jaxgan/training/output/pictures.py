"""Pictures of all that a GAN draws, as PNG files and animated GIFs, each written atomically."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jaxgan.files import atomic_write
from jaxgan.media import Image as Shown
from jaxgan.media import Medium, side_by_side

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
    """Writes the folder's PNG files, at most 100 evenly chosen, as one animation; none where there are no files."""
    files = sorted(folder.glob("*.png"))
    if not files:
        return
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, FRAMES).astype(int))]
    frames = [frame for file in chosen if (frame := _frame(file)) is not None]
    if frames:
        save_gif(path, frames)


def _frame(file: Path) -> np.ndarray | None:
    """Reads a picture `[H, W, C]`; None for a file that was damaged since, for which the animation needn't fail."""
    try:
        with Image.open(file) as picture:
            return np.atleast_3d(np.asarray(picture))
    except (OSError, SyntaxError, ValueError):
        return None
