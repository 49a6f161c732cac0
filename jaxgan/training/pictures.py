"""Pictures of what a generator makes: grids, PNG files, animated GIFs. uint8 NHWC in, files out, each written whole."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxgan.training.files import whole

FRAMES = 100  # most frames in the animation of a run

__all__ = ["animate", "grid", "picture", "save_gif", "save_png", "to_uint8"]


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


def picture(images: np.ndarray) -> np.ndarray:
    """uint8 images as a grid; points `[N, 1, 1, 2]` as their density in [-1.5, 1.5]², y upwards,
    brighter with the root of the count: uint8 `[512, 512, 1]`."""
    if images.dtype == np.uint8:
        return grid(images)
    x, y = images.reshape(-1, 2).T
    density, *_ = np.histogram2d(-y, x, bins=128, range=((-1.5, 1.5), (-1.5, 1.5)))
    brightness = 255 * np.sqrt(density / max(density.max(), 1))
    return brightness.astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)[..., None]


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
