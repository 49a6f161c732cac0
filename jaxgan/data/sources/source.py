"""The interface of a source of images, and the decoding of stored pictures."""

import io
import warnings
from pathlib import Path
from typing import Protocol

import numpy as np

from jaxgan.data.errors import BadImage

__all__ = ["Source", "decode"]

MAX_PIXELS = 100_000_000  # of one picture; a small file that claims more is refused as a decompression bomb
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # not all of Pillow's: its EPS starts Ghostscript

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

    Transparent pixels become white, 16-bit grey is scaled to 8 bits, and of several pictures in a file the first is
    used. BadImage, with `name`, for a file that is no picture, is cut short, holds floats, or is larger than 100
    million pixels."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(stored) if isinstance(stored, bytes) else stored, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise BadImage(f"{name} has {width}×{height} pixels; at most {MAX_PIXELS:,} are taken")
            if picture.mode in ("I", "F"):
                raise BadImage(f"{name} holds numbers of mode {picture.mode}, whose range isn't known; 8 bits expected")
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I;16"):
                return (np.asarray(upright) >> 8).astype(np.uint8)[..., None]
            if upright.mode in ("1", "L"):
                return np.asarray(upright.convert("L"))[..., None]
            if upright.has_transparency_data:
                layer = upright.convert("RGBA")
                upright = Image.new("RGBA", layer.size, "white")
                upright.alpha_composite(layer)
            return np.asarray(upright.convert("RGB"))
    except BadImage:
        raise
    except UnidentifiedImageError:  # its message names a place in memory
        raise BadImage(f"{name} is no picture, or of a kind that isn't known ({', '.join(FORMATS)} are)") from None
    except Exception as error:  # every format's decoder raises kinds of its own
        raise BadImage(f"{name} can't be read ({str(error) or type(error).__name__})") from error
