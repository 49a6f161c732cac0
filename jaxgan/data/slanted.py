"""MNIST's digits slanted and coloured by a known, invertible rule: a translation, learned without pairs, whose right
answer is known.

Row r of 32 moves right by 4 - ⌊(r + 2) / 4⌋ pixels, from 4 at the top to -4 at the bottom; what leaves a row comes back
at its other end, so that every picture can be turned back. No stroke of MNIST's 70,000 digits, centred in 32×32, is
moved so far. Then the grey value v in [0, 1] becomes the colour (1 - v)·`BACKGROUND` + v·`FOREGROUND`.
"""

from typing import Any

import numpy as np

from jaxgan.data.sets import DataSet, from_arrays
from jaxgan.data.sources.source import Source
from jaxgan.data.transform import ImageTransform, in_memory

__all__ = ["BACKGROUND", "FOREGROUND", "SIDE", "slant", "slanted_mnist", "upright"]

SIDE = 32  # pixels
BACKGROUND = (0, 0, 96)  # dark blue, of 255
FOREGROUND = (255, 255, 0)  # yellow; red and green hold v itself, so that 8 bits lose nothing
BLOCK = 2048  # digits that are slanted at a time

ROWS = np.arange(SIDE, dtype=np.int32)[:, None]
MOVED = 4 - (ROWS + 2) // 4  # pixels to the right
COLUMNS = np.arange(SIDE, dtype=np.int32)[None, :]


def slant(images: Any) -> Any:
    """Slants and colours grey images `[B, 32, 32, 1]`, floats in [-1, 1], to `[B, 32, 32, 3]` in [-1, 1].

    NumPy and JAX arrays alike; the result has their type. ValueError for another shape or integers."""
    background, difference = _colours(images, channels=1)
    share = (images + 1) / 2
    return (background + share * difference)[:, ROWS, (COLUMNS - MOVED) % SIDE]


def upright(images: Any) -> Any:
    """Inverts `slant`: turns `[B, 32, 32, 3]`, floats in [-1, 1], back to grey `[B, 32, 32, 1]`.

    Of a colour that isn't between the two it takes the nearest on the line through both, so that the result of colours
    in [-1, 1] lies in [-1.22, 1]. NumPy and JAX arrays alike. ValueError for another shape or integers."""
    background, difference = _colours(images, channels=3)
    along = ((images - background) * difference).sum(-1, keepdims=True) / (difference * difference).sum()
    return (2 * along - 1)[:, ROWS, (COLUMNS + MOVED) % SIDE]


def _colours(images: Any, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the background `[1, 1, 1, 3]` in [-1, 1] and the way from it to the foreground, of the images' type."""
    if images.shape != (len(images), SIDE, SIDE, channels) or np.issubdtype(images.dtype, np.integer):
        raise ValueError(f"got {images.dtype} of shape {images.shape}; floats [B, {SIDE}, {SIDE}, {channels}] expected")
    background, foreground = (np.reshape(colour, (1, 1, 1, 3)) / 127.5 - 1 for colour in (BACKGROUND, FOREGROUND))
    return background.astype(images.dtype), (foreground - background).astype(images.dtype)


def slanted_mnist(digits: Source) -> DataSet:
    """Returns MNIST's `digits`, a split of it, slanted and coloured: uint8 `[N, 32, 32, 3]`, with the digits' labels,
    in their order. BadImage for an image that is larger than 32×32."""
    grey = in_memory(digits, np.arange(len(digits)), ImageTransform(SIDE, 1, "pad"), keep=True)
    images = np.empty((*grey.shape[:3], 3), np.uint8)
    for start in range(0, len(grey), BLOCK):  # all at once, the floats would take sixteen times the room
        coloured = slant(grey[start : start + BLOCK] / np.float32(127.5) - np.float32(1))
        images[start : start + BLOCK] = np.rint((coloured + 1) * np.float32(127.5))
    return from_arrays("slanted_mnist", images, digits.labels, digits.class_names)
