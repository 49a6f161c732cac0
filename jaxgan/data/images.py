"""Image sets: whole ones in memory, and what a source of images must offer to be read one by one."""

import io
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

__all__ = ["BadImage", "DataError", "ImageSet", "Source", "decode", "from_arrays"]

MAX_PIXELS = 100_000_000  # of one picture; a small file that claims more is taken for a decompression bomb
MAX_CLASSES = 100_000  # a label above is taken for something else, such as an identifier
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # not all of Pillow's: its EPS starts Ghostscript

# Pillow's limit is a little lower than ours, which refuses.
warnings.filterwarnings("ignore", "Image size .* exceeds limit of .* decompression bomb")


class DataError(Exception):
    """A data set that cannot be had or used; the message says which, why and what to do."""


class BadImage(DataError):
    """One image of a set that cannot be used; the message names it."""


class Source(Protocol):
    """Images that are read one by one, by worker processes too: a source can be pickled."""

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> np.ndarray:
        """int32 `[N]` in [0, number of classes), zeros where the set has no classes."""

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> np.ndarray:
        """Image i, uint8 `[H, W, C]` of its own size. Raises BadImage, which names it."""

    def title(self, i: int) -> str:
        """How image i is called in messages."""

    def identity(self) -> int:
        """A checksum by which a set that changed is known, without reading its images one by one."""


@dataclass(frozen=True)
class ImageSet:
    """A whole set in memory. images: uint8 `[N, H, W, C]`, or float32 points of the plane `[N, 1, 1, 2]`; labels: int32
    `[N]`, indices into `class_names`; without classes all are 0."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> np.ndarray:
        image: np.ndarray = self.images[i]
        return image

    def title(self, i: int) -> str:
        return f"image {i} of {self.name}"

    def identity(self) -> int:
        return zlib.crc32(np.ascontiguousarray(self.images).data)


def from_arrays(
    name: str, images: np.ndarray, labels: np.ndarray | None = None, class_names: Sequence[str] | None = None
) -> ImageSet:
    """A data set of one's own: uint8 images `[N, H, W]` or `[N, H, W, C]` with 1 or 3 channels, integer labels `[N]`
    from 0 up, by default none. DataError where they are anything else."""
    try:
        images = np.asarray(images)
    except ValueError as error:  # a list of arrays of several shapes
        raise DataError(f"{name}: images must have one shape ({error})") from None
    if images.dtype != np.uint8:
        raise DataError(
            f"{name}: images of dtype {images.dtype}; uint8 in 0..255 is expected (for floats in [0, 1]: "
            "np.rint(255 * images).astype(np.uint8))"
        )
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or 0 in images.shape:
        raise DataError(f"{name}: images of shape {images.shape}; [N, H, W] or [N, H, W, C] with N > 0 is expected")
    if images.shape[3] not in (1, 3):
        raise DataError(f"{name}: images with {images.shape[3]} channels; 1 (grey) or 3 (RGB) is expected")
    if labels is None:
        if class_names:
            raise DataError(f"{name}: {len(class_names)} class names but no labels; give both or neither")
        return ImageSet(name, images, np.zeros(len(images), np.int32))
    labels = np.asarray(labels)
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{name}: labels of shape {labels.shape} and dtype {labels.dtype}; one integer for each of the "
            f"{len(images)} images is expected"
        )
    classes = len(class_names) if class_names else min(int(labels.max()) + 1, MAX_CLASSES)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        more = f" and {len(wrong) - 1:,} others" if len(wrong) > 1 else ""
        raise DataError(
            f"{name}: image {wrong[0]} has label {labels[wrong[0]]}{more}; 0 to {max(classes, 1) - 1} are expected, "
            "numbers of classes counted from 0"
        )
    return ImageSet(name, images, labels.astype(np.int32), tuple(class_names or map(str, range(classes))))


def decode(stored: bytes | Path, name: str) -> np.ndarray:
    """A stored picture as uint8 `[H, W, C]`, C 1 for grey and 3 for all others, turned upright as its EXIF says.

    Transparent pixels are laid on white, 16-bit grey is scaled to 8, the first picture of several counts. BadImage,
    with `name`, for what is no picture, is cut short, holds floats, or is larger than 100 million pixels."""
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
