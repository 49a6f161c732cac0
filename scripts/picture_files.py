"""Photographs as files: read upright with what lies beside the pixels, and written with it."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, features

from jaxgan.data.errors import BadImage
from jaxgan.data.sources.pictures import formats, is_pam
from jaxgan.data.sources.source import decode
from jaxgan.files import atomic_write, open_regular
from jaxgan.printable import printable

__all__ = [
    "Format",
    "Photograph",
    "check_sides",
    "missing_codec",
    "picture_size",
    "read_photograph",
    "write_photograph",
]

Format = Literal["png", "jpg", "webp"]
NAMES = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
MOST = {"png": 2**31 - 1, "jpg": 65_500, "webp": 16_383}  # pixels of a side; libjpeg takes a few less than 2^16
SPACES = {1: b"GRAY", 3: b"RGB "}  # of an ICC profile's numbers: ICC.1:2022, 7.2.8, bytes 16 to 19
ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")


@dataclass(frozen=True)
class Photograph:
    """A picture as people keep them.

    pixels: uint8 `[H, W, C]`, C 1 for grey and 3 for colour, upright. opacity: uint8 `[H, W]`, None where all of it is
    opaque. profile: the ICC profile that the numbers are meant in, None where there is none. notes: what of the file
    is not as it was, in words."""

    pixels: np.ndarray
    opacity: np.ndarray | None = None
    profile: bytes | None = None
    notes: tuple[str, ...] = ()


def picture_size(path: Path) -> tuple[int, int]:
    """Returns height and width of a picture, upright, of which only the head is read. (0, 0) where that can't be."""
    if not path.is_file():
        return 0, 0
    with contextlib.suppress(Exception), Image.open(path, formats=formats()) as opened:  # as many kinds as formats
        width, height = opened.size
        turned = opened.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (width, height) if turned else (height, width)
    return 0, 0


def read_photograph(path: Path, *, with_opacity: bool) -> Photograph:
    """Reads a picture of any kind that `jaxgan.data.sources.source.decode` takes, with 8 bits a channel. BadImage, in a
    line with its path, where it can't be read.

    with_opacity: whether a channel of opacity is kept, and colours as they are beneath; otherwise, and where a single
    colour stands for transparency, the picture is put on white."""
    name = printable(path)
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY, follow=True), "rb") as file:  # a pipe would never answer
            empty = not file.read(1)
    except OSError as error:
        raise BadImage(f"{name} can't be read ({error.strerror or error})") from None
    if empty:
        raise BadImage(f"{name} is an empty file")
    if is_pam(path):
        return Photograph(decode(path, name))
    pixels = decode(path, name)
    found = Photograph(pixels, notes=("what lies beside its pixels is damaged: left out",))
    with contextlib.suppress(Exception), Image.open(path, formats=formats()) as opened:  # the pixels are whole
        found = _with_what_lies_beside(opened, pixels, with_opacity)
    return found


def _with_what_lies_beside(opened: Image.Image, pixels: np.ndarray, with_opacity: bool) -> Photograph:
    profile, notes = opened.info.get("icc_profile"), _notes(opened)
    if not _is_transparent(opened):
        return Photograph(pixels, None, profile, notes)
    if with_opacity and opened.mode in (*ALPHA, "P"):
        layer = ImageOps.exif_transpose(opened).convert("LA" if opened.mode in ("LA", "La") else "RGBA")
        numbers = np.asarray(layer)
        return Photograph(np.ascontiguousarray(numbers[..., :-1]), numbers[..., -1], profile, notes)
    return Photograph(pixels, None, profile, (*notes, "what is transparent is put on white"))


def _is_transparent(opened: Image.Image) -> bool:
    """Says whether a pixel of the picture isn't opaque; a channel that says 255 everywhere is none."""
    if not opened.has_transparency_data:
        return False
    if opened.mode not in (*ALPHA, "P"):
        return True  # a single colour stands for it
    return opened.convert("RGBA").getchannel("A").getextrema()[0] != 255


def _notes(opened: Image.Image) -> tuple[str, ...]:
    """Returns what isn't kept of a file, in words."""
    told: Any = opened.tile[0][3] if opened.tile else ()
    told = told if isinstance(told, tuple) else (told,)
    deep = any(";16" in part for part in told if isinstance(part, str)) or opened.mode.startswith(("I", "F"))
    deep = deep or (opened.format == "PPM" and isinstance(told[-1], int) and told[-1] > 255)
    notes = ["more than 8 bits a channel are scaled to 8"] if deep else []
    if (frames := getattr(opened, "n_frames", 1)) > 1:
        notes.append(f"the first of {frames} pictures in it")
    return tuple(notes)


def missing_codec(kind: Format) -> bool:
    """Says whether the installed Pillow can't write a format."""
    return kind == "webp" and "webp" not in features.get_supported_modules()


def check_sides(kind: Format, height: int, width: int, name: str) -> None:
    """Raises BadImage, with `name`, for more pixels of a side than a format has room for."""
    if max(height, width) > MOST[kind]:
        raise BadImage(
            f"{name} would have {height}×{width} pixels, and .{kind} holds {MOST[kind]:,} a side: --format png"
        )


def write_photograph(path: Path, picture: Photograph, kind: Format, quality: int) -> tuple[str, ...]:
    """Writes a picture whole or not at all, with its opacity and its profile, and returns what isn't kept of these, in
    words. quality: from 1 to 100, of JPEG and WebP. OSError where it can't be written."""
    pixels, opacity = picture.pixels, picture.opacity
    made = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    if opacity is not None:
        made.putalpha(Image.fromarray(opacity))
    how: dict[str, Any] = {} if kind == "png" else {"quality": quality}
    space = SPACES[3 if kind == "webp" else pixels.shape[2]]  # WebP has no grey
    fits = picture.profile is not None and picture.profile[16:20] == space
    if fits:
        how["icc_profile"] = picture.profile
    with atomic_write(path) as temporary:
        made.save(temporary, format=NAMES[kind], **how)
    return () if fits or picture.profile is None else ("its colour profile is of another kind of colours: left out",)
