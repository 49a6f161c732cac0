"""Grids and rows of pictures: uint8 arrays in, one uint8 array out."""

from collections.abc import Sequence

import numpy as np

__all__ = ["LABEL", "grid", "label", "side_by_side"]

LABEL = 16  # pixels of width for a number of two digits
GAP = 2  # pixels between pictures, and around them
SMALL = 64  # pixels of height below which images are doubled so that a person can see them


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Lays images `[N, H, W, C]` side by side, two pixels apart, in rows of `columns` (by default as square as
    possible): uint8 `[H', W', C]`. Images of less than 64 pixels of height are doubled. ValueError without images."""
    if len(images) == 0:
        raise ValueError("a grid needs at least one image, got none")
    scale = 2 if images.shape[1] < SMALL else 1
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    picture = np.zeros((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), np.uint8)
    for i, image in enumerate(images):
        y, x = (i // columns) * (height + GAP) + GAP, (i % columns) * (width + GAP) + GAP
        picture[y : y + height, x : x + width] = image
    return picture


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Lays pictures `[..., H, W, C]` from left to right, aligned at the top: `[..., H', W', C']`. Lower pictures
    continue in black; beside coloured pictures, grey ones get three equal channels. ValueError without pictures."""
    if not pictures:
        raise ValueError("at least one picture is needed, got none")
    height, channels = (max(picture.shape[axis] for picture in pictures) for axis in (-3, -1))

    def fitted(picture: np.ndarray) -> np.ndarray:
        picture = picture.repeat(channels, axis=-1) if picture.shape[-1] < channels else picture
        return np.pad(picture, (*[(0, 0)] * (picture.ndim - 3), (0, height - picture.shape[-3]), (0, 0), (0, 0)))

    return np.concatenate([fitted(picture) for picture in pictures], axis=-2)


def label(number: int, height: int) -> np.ndarray:
    """Draws a number in white on black, at half height: uint8 `[height, LABEL, 1]`."""
    from PIL import Image, ImageDraw

    strip = Image.new("L", (LABEL, height))
    ImageDraw.Draw(strip).text((2, height // 2 - 6), str(number), fill=255)  # PIL's own font is about 12 pixels high
    return np.asarray(strip)[..., None]
