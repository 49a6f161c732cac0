"""The interface of a source of images, and the decoding of stored pictures."""

import io
import warnings
from pathlib import Path
from typing import Protocol

import numpy as np

from jaxgan.data.errors import BadImage
from jaxgan.data.sources.pictures import formats, is_pam, pam, pixels, without_texts
from jaxgan.printable import said_by

__all__ = ["Source", "decode"]

MAX_PIXELS = 100_000_000  # of one picture; a small file that claims more is refused as a decompression bomb

# Pillow's limit is a little lower than ours, which refuses.
warnings.filterwarnings("ignore", "Image size .* exceeds limit of .* decompression bomb")


class Source(Protocol):
    """A source of images that are read one by one. Worker processes read from it too, so it can be pickled."""

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> np.ndarray:
        """Returns int32 `[N]` in [0, number of classes), all zeros where the set has no classes."""

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> np.ndarray:
        """Reads image i, uint8 `[H, W, C]` of its own size. BadImage, which names the image, where that fails."""

    def title(self, i: int) -> str:
        """Returns the name of image i for messages."""

    def identity(self) -> int:
        """Returns a checksum that tells whether the set has changed, without reading its images one by one."""


def decode(stored: bytes | Path, name: str) -> np.ndarray:
    """Decodes a stored picture to uint8 `[H, W, C]`, with C 1 for grey and 3 for all others, rotated as its EXIF data
    say.

    Transparent pixels become white, grey of more than 8 bits is scaled to 8, and of several pictures in a file the
    first is used. Damaged or large texts and profiles beside the pixels don't matter. BadImage, with `name`, for a file
    that is no picture, is cut short, holds floats or integers of unknown range, or is larger than 100 million
    pixels."""
    from PIL import UnidentifiedImageError

    try:
        return _decoded(stored, name)
    except BadImage:
        raise
    except Exception as error:  # every format's decoder raises kinds of its own
        if (plain := without_texts(stored)) is not None:
            return decode(plain, name)
        if isinstance(error, UnidentifiedImageError):  # its message names a place in memory
            raise BadImage(
                f"{name} is no picture, or of a kind that isn't known ({', '.join(formats())} are)"
            ) from None
        raise BadImage(f"{name} can't be read ({said_by(error)})") from error


def _decoded(stored: bytes | Path, name: str) -> np.ndarray:
    from PIL import Image

    def opened() -> Image.Image:
        return Image.open(io.BytesIO(stored) if isinstance(stored, bytes) else stored, formats=formats())

    if is_pam(stored):
        return pam(stored, name, MAX_PIXELS)
    with opened() as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise BadImage(f"{name} has {width}×{height} pixels; at most {MAX_PIXELS:,} are taken")
        return pixels(picture, name, opened)
