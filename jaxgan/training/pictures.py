"""Pictures of what a generator makes: grids, PNG files, animated GIFs. uint8 NHWC in, files out, each written whole."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from jaxgan.training.files import whole

FRAMES = 100  # most frames in the animation of a run
BINS = 128  # a side of the square in which points are counted
LABEL = 16  # pixels that a member's number takes at the left: two digits

__all__ = ["animate", "grid", "picture", "rows_of", "save_gif", "save_png", "to_uint8"]


def to_uint8(images: jax.Array) -> jax.Array:
    """Images in [-1, 1] as uint8, rounded to the nearest of 0..255: the inverse of `x / 127.5 - 1`."""
    return jnp.round((jnp.clip(images, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Images `[N, H, W, C]` side by side, two pixels apart, in rows of `columns` (as square as can be by default):
    uint8 `[H', W', C]`. Images below 64 pixels are doubled so that a person can see them. ValueError without images."""
    if len(images) == 0:
        raise ValueError("a grid needs at least one image, got none")
    scale = 2 if images.shape[1] < 64 else 1
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows, gap = -(-count // columns), 2
    sheet = np.zeros((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), np.uint8)
    for i, image in enumerate(images):
        y, x = (i // columns) * (height + gap) + gap, (i % columns) * (width + gap) + gap
        sheet[y : y + height, x : x + width] = image
    return sheet


def picture(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """uint8 images `[N, H, W, C]` as a grid, of `columns`; points `[N, 1, 1, 2]` as their density in [-1.5, 1.5]², y
    upwards, brighter with the root of the count: uint8 `[512, 512, 1]`. With an axis of members before N: `rows_of`."""
    if images.ndim == 5:
        return rows_of(images)
    return grid(images, columns) if images.dtype == np.uint8 else _density(images, 4)


def rows_of(images: np.ndarray, columns: int = 16) -> np.ndarray:
    """What S members of an ensemble draw, each beside its number: uint8 `[H', W', C]`.

    Of images `[S, N, H, W, C]`, uint8, row k holds the first `columns` of member k. Of points `[S, N, 1, 1, 2]` every
    member's density (see `picture`, half as large) stands in reading order in a grid as square as can be. ValueError
    without members or images."""
    if images.ndim != 5 or 0 in images.shape[:2]:
        raise ValueError(f"an ensemble's sheet needs [members, images, H, W, C], at least one of each: {images.shape}")
    if images.dtype != np.uint8:
        # A frame around each: between two of them the background is as black as inside.
        panels = [np.pad(_density(points, 2), ((1, 1), (1, 1), (0, 0)), constant_values=64) for points in images]
        return grid(np.stack([np.hstack([_label(k, len(panel)), panel]) for k, panel in enumerate(panels)]))
    # Each row is a grid, whose lower gap is the next one's upper gap.
    rows = [grid(of_one[:columns], min(columns, images.shape[1])) for of_one in images]
    labels = [_label(k, len(row)).repeat(row.shape[-1], axis=-1) for k, row in enumerate(rows)]
    sheet = np.vstack([np.hstack(pair)[:-2] for pair in zip(labels, rows, strict=True)])
    return np.pad(sheet, ((0, 2), (0, 0), (0, 0)))


def _density(points: np.ndarray, scale: int) -> np.ndarray:
    x, y = points.reshape(-1, 2).T
    density, *_ = np.histogram2d(-y, x, bins=BINS, range=((-1.5, 1.5), (-1.5, 1.5)))
    brightness = 255 * np.sqrt(density / max(density.max(), 1))
    return brightness.astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)[..., None]


def _label(number: int, height: int) -> np.ndarray:
    """A member's number in white on black, half-way up: uint8 `[height, LABEL, 1]`."""
    strip = Image.new("L", (LABEL, height))
    ImageDraw.Draw(strip).text((2, height // 2 - 6), str(number), fill=255)  # PIL's own font is about 12 pixels high
    return np.asarray(strip)[..., None]


def _picture(array: np.ndarray) -> Image.Image:
    """PIL shows one and three channels; of any other count it gets the first as grey."""
    return Image.fromarray(array if array.shape[-1] == 3 else array[..., 0])


def save_png(path: Path, array: np.ndarray) -> None:
    """uint8 `[H, W, C]` as a PNG file, which is there whole or not at all."""
    with whole(path) as temporary:
        _picture(array).save(temporary, format="PNG")


def save_gif(path: Path, frames: Sequence[np.ndarray], milliseconds: int = 120) -> None:
    """uint8 frames `[H, W, C]` as an endless GIF that rests on its last frame. ValueError without frames."""
    if not len(frames):
        raise ValueError("an animation needs at least one frame, got none")
    first, *rest = [_picture(frame) for frame in frames]
    durations = [milliseconds] * len(rest) + [1500]
    with whole(path) as temporary:
        first.save(temporary, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)


def animate(folder: Path, path: Path) -> None:
    """The folder's PNG files, at most 100 evenly chosen, as one animation; none where there are no files."""
    files = sorted(folder.glob("*.png"))
    if not files:
        return
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, FRAMES).astype(int))]
    frames = [frame for file in chosen if (frame := _frame(file)) is not None]
    if frames:
        save_gif(path, frames)


def _frame(file: Path) -> np.ndarray | None:
    """A picture `[H, W, C]`; None for a file that was damaged since, for which the animation needn't fail."""
    try:
        with Image.open(file) as picture:
            return np.atleast_3d(np.asarray(picture))
    except (OSError, SyntaxError, ValueError):
        return None
