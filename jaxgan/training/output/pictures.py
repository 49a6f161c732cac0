"""Pictures of all that a GAN draws, as PNG files and animated GIFs, each written atomically."""

import functools
import math
import os
import struct
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import GifImagePlugin, Image

from jaxgan.files import atomic_write, open_regular
from jaxgan.media import Image as Shown
from jaxgan.media import Medium, side_by_side

T = TypeVar("T")

FRAMES = 100  # most frames in the animation of a run
MILLISECONDS, REST = 120, 1500  # that a frame of it is shown, and the last one

__all__ = ["animate", "picture", "save_gif", "save_png", "thinned"]


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


def save_gif(path: Path, frames: Sequence[np.ndarray], milliseconds: int = MILLISECONDS) -> None:
    """Writes uint8 frames `[H, W, C]` as an endless GIF that rests on its last frame. ValueError without frames."""
    if not len(frames):
        raise ValueError("an animation needs at least one frame, got none")
    first, *rest = [_picture(frame) for frame in frames]
    durations = [milliseconds] * len(rest) + [REST]
    with atomic_write(path) as temporary:
        first.save(temporary, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)


def animate(folder: Path, path: Path) -> None:
    """Writes the folder's PNG files, at most 100, as one endless animation that rests on the last; none where there are
    no files. Of more every second one is taken, or every fourth, ..., and the last. What is no picture, or not of the
    size that most of them have, is left out.

    It is cheap to call again after each picture: a frame is encoded once in a process, and stands by itself, so that
    the file is the same whoever has written it when."""
    files = sorted(folder.glob("*.png"))
    if not files:
        return
    sizes = {file: size for file in thinned(files, FRAMES) if (size := _size(file))}
    # Of two that are as common it is the newer: the run has written its last picture just now.
    usual = max(reversed(list(sizes.values())), key=list(sizes.values()).count, default=None)
    frames = [frame for file, size in sizes.items() if size == usual and (frame := _gif_frame(*_stamped(file)))]
    if not frames or usual is None:
        return
    screen = struct.pack("<HHBBB", *usual[1:], 0x70, 0, 0)
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", 0) + b"\0"
    durations = [*[MILLISECONDS] * (len(frames) - 1), REST]
    parts = [_timing(each) + frame for each, frame in zip(durations, frames, strict=True)]
    with atomic_write(path, synced=False) as temporary:  # the pictures are there to make it of again
        temporary.write_bytes(b"GIF89a" + screen + loop + b"".join(parts) + b";")


def thinned(items: Sequence[T], most: int) -> list[T]:
    """Returns at most so many items in their order: every n-th and the last, n a power of two, so that of more items
    later the same ones are taken, or every other of them."""
    step = 1
    while len(items[::step]) + (bool(items) and (len(items) - 1) % step > 0) > most and step < len(items):
        step *= 2
    return [item for number, item in enumerate(items) if number % step == 0 or number == len(items) - 1]


def _stamped(file: Path) -> tuple[Path, int, int]:
    """Returns a file with what changes when another one is written in its place."""
    about = file.lstat()
    return file, about.st_mtime_ns, about.st_size


@functools.lru_cache(maxsize=2 * FRAMES)
def _gif_frame(file: Path, changed: int, size: int) -> bytes | None:
    """Returns a picture as a frame of a GIF with a table of colours of its own; None for a file that was damaged."""
    del changed, size
    array = _frame(file)
    if array is None:
        return None
    frame = _picture(array).convert("P", palette=Image.Palette.ADAPTIVE)
    return b"".join(GifImagePlugin.getdata(frame, include_color_table=True))


def _timing(milliseconds: int) -> bytes:
    """Returns the block of a GIF that says how long the next frame is shown."""
    return struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 0, milliseconds // 10, 0, 0)


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
