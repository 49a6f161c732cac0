"""From an opened picture of any kind to 8 bits a channel: what lies outside of Pillow's own conversions.

Pillow drops the transparent colour of grey PNGs, doesn't scale numbers of 12 bits, and refuses whole pictures for the
texts beside them; it doesn't read PAM. The rules are those of the formats: PNG (W3C, third edition, 11.3.2.1: tRNS),
TIFF 6.0 (BitsPerSample, PhotometricInterpretation), EXIF 2.3 (Orientation), Netpbm's pgm, ppm and pam.
"""

import contextlib
import functools
import io
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxgan.data.errors import BadImage
from jaxgan.printable import printable

__all__ = ["formats", "is_pam", "pam", "pixels", "suffixes", "without_texts"]

# Not all of Pillow's formats: its EPS starts Ghostscript, its TGA takes any bytes for a picture.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".mpo": "JPEG",
    ".apng": "PNG",
    ".dib": "DIB",
    ".pbm": "PPM",
    ".pnm": "PPM",
    ".pam": "PPM",
    ".avif": "AVIF",
    ".jp2": "JPEG2000",
    ".j2k": "JPEG2000",
    ".jpx": "JPEG2000",
}
PNG = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
LONGEST_HEADER = 4096  # bytes of a PAM's, comments included
# Tags of TIFF.
BITS, PHOTOMETRIC, LEAST, MOST, S_LEAST, S_MOST = 258, 262, 280, 281, 340, 341
ORIENTATION = 0x0112
# To upright pixels from those whose EXIF says 2 to 8.
TURNS: dict[Any, Any] = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x[:, ::-1].swapaxes(0, 1),
}


@functools.cache
def formats() -> tuple[str, ...]:
    """Returns the names of the formats that are read, as far as the installed Pillow has them."""
    from PIL import features

    more = {
        "AVIF": "avif" in features.get_supported_modules(),
        "JPEG2000": "jpg_2000" in features.get_supported_codecs(),
    }
    return (*FORMATS, *(name for name, there in more.items() if there))


@functools.cache
def suffixes() -> tuple[str, ...]:
    """Returns the suffixes of files that are taken for pictures, in lower case."""
    return tuple(suffix for suffix, name in SUFFIXES.items() if name in formats())


def pixels(picture: Any, name: str, again: Any) -> np.ndarray:
    """Returns the first picture of an opened file as uint8 `[H, W, C]`, with C 1 for grey and 3 for all others,
    upright, with white where it is transparent. `again()` opens the file once more. BadImage, with `name`, for numbers
    whose range isn't known."""
    raw, last = _rawmode(picture)
    picture.load()
    clear = picture.info.get("transparency")
    if picture.mode.startswith(("I", "F")):
        found = _grey(picture, name, raw, last, clear)
    elif picture.mode in ("1", "L"):
        found = np.array(picture.convert("L"))[..., None]
        if isinstance(clear, int):
            found[found == _shade(clear, raw)] = 255
    elif picture.mode == "RGB" and isinstance(clear, tuple):
        found = np.array(picture)
        found[_is_colour(picture, found, raw, clear, again)] = 255
    else:
        found = _on_white(picture)
    return np.ascontiguousarray(TURNS.get(_orientation(picture), lambda x: x)(found))


def _rawmode(picture: Any) -> tuple[str, Any]:
    """Returns how the file stores its numbers, in Pillow's words, and what a decoder is told last."""
    told = picture.tile[0][3] if picture.tile else ""
    told = told if isinstance(told, tuple) else (told,)
    return (str(told[0]), told[-1]) if told else ("", None)


def _grey(picture: Any, name: str, raw: str, last: Any, clear: Any) -> np.ndarray:
    """Returns grey numbers of more than 8 bits as uint8 `[H, W, 1]`. Of 16 the lower ones are cut off, as libpng does;
    other ranges are scaled and rounded, as Netpbm does."""
    numbers, tags = np.asarray(picture), getattr(picture, "tag_v2", {})
    if picture.mode.startswith("I;16"):
        bits = _first(tags.get(BITS, 16))
        found = (numbers >> max(0, int(bits) - 8)).astype(np.uint8)
        if _first(tags.get(PHOTOMETRIC)) == 0:  # white is zero
            found = 255 - found
    elif picture.format == "PPM" and picture.mode == "I":  # by Pillow, from 0 to 65535
        exact = raw == "I;16B" or last == 65535
        found = (numbers >> 8 if exact else np.rint(numbers / 257)).astype(np.uint8)
    else:
        low, high = (_first(tags.get(a, tags.get(b))) for a, b in ((S_LEAST, LEAST), (S_MOST, MOST)))
        if low is None or high is None or not float(low) < float(high) < float("inf"):
            raise BadImage(
                f"{name} holds numbers of mode {picture.mode}, whose range isn't known; 8 bits are expected, or a TIFF "
                "with SMinSampleValue and SMaxSampleValue"
            )
        if not np.isfinite(numbers).all():
            raise BadImage(f"{name} holds NaN or infinity; finite numbers are expected")
        share = (numbers.astype(np.float64) - float(low)) / (float(high) - float(low))
        found = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    if isinstance(clear, int):
        found = np.where(numbers == clear, 255, found).astype(np.uint8)
    return found[..., None]


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _shade(clear: int, raw: str) -> int:
    """Returns the transparent number of a grey PNG as Pillow shows it, from 0 to 255: the lower bits count."""
    bits = {"L;2": 2, "L;4": 4}.get(raw, 8)
    return (clear & (2**bits - 1)) * (255 // (2**bits - 1))


def _is_colour(picture: Any, shown: np.ndarray, raw: str, clear: tuple[int, ...], again: Any) -> np.ndarray:
    """Returns a mask `[H, W]` of the pixels that have a PNG's transparent colour, compared in all of their bits."""
    colour = np.array(clear)
    if raw != "RGB;16B":
        return np.all(shown == (colour & 255), axis=-1)
    with again() as lower:  # Pillow shows the upper halves of 16 bits, or, read in the other order, the lower ones
        lower.tile = [(*lower.tile[0][:3], "RGB;16L")]
        lower.load()
        return np.all((shown == colour >> 8) & (np.asarray(lower) == (colour & 255)), axis=-1)


def _on_white(picture: Any) -> np.ndarray:
    from PIL import Image

    if not picture.has_transparency_data:
        return np.asarray(picture.convert("RGB"))
    layer = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    white.alpha_composite(layer)
    return np.asarray(white.convert("RGB"))


def _orientation(picture: Any) -> Any:
    """Returns the orientation that the EXIF data give; 1, upright, where they are damaged: the pixels are whole."""
    with contextlib.suppress(Exception):  # as many kinds as there are ways to damage them
        return picture.getexif().get(ORIENTATION, 1)
    return 1


def without_texts(stored: bytes | Path) -> bytes | None:
    """Returns a PNG without its texts and colour profile, which no pixel depends on; None for other files, and for
    those without any. Programs that read PNGs leave out such parts where they are too large or damaged."""
    parts, left_out = [PNG], False
    try:
        with _file(stored) as file:
            if file.read(len(PNG)) != PNG:
                return None
            while len(head := file.read(8)) == 8:
                length, kind = struct.unpack(">I4s", head)
                if kind in TEXTS:
                    file.seek(length + 4, io.SEEK_CUR)
                    left_out = True
                else:
                    parts += [head, file.read(length + 4)]
    except OSError:
        return None
    return b"".join(parts) if left_out else None


def is_pam(stored: bytes | Path) -> bool:
    """Says whether a file begins as Netpbm's PAM does."""
    with _file(stored) as file:
        return file.read(3) == b"P7\n"


def pam(stored: bytes | Path, name: str, most_pixels: int) -> np.ndarray:
    """Returns the first picture of a PAM, uint8 `[H, W, 1 or 3]`, with white where it is transparent. BadImage, with
    `name`, for other kinds of it, and for more pixels than are taken; ValueError for a damaged one."""
    with _file(stored) as file:
        head, end, _ = file.read(LONGEST_HEADER).partition(b"\nENDHDR\n")
        if not end:
            raise ValueError("its header has no end")
        lines = (line.split(maxsplit=1) for line in head.decode("ascii", "replace").splitlines())
        header = {line[0]: line[1] for line in lines if len(line) == 2}
        file.seek(len(head) + len(end))
        width, height, depth, most = (_of_header(header, key) for key in ("WIDTH", "HEIGHT", "DEPTH", "MAXVAL"))
        if not (0 < most < 65536 and 1 <= depth <= 4):
            raise BadImage(f"{name} is a PAM of {depth} channels up to {most}; 1 to 4, and 1 to 65535, are read")
        if width * height > most_pixels:
            raise BadImage(f"{name} has {width}×{height} pixels; at most {most_pixels:,} are taken")
        kind = np.dtype(">u2" if most > 255 else "u1")
        size = width * height * depth * kind.itemsize
        content = file.read(size)
    if len(content) < size:
        raise ValueError(f"it has {len(content):,} bytes of pixels, and {size:,} are expected")
    numbers = np.frombuffer(content, kind).reshape(height, width, depth).astype(np.int32)
    scaled = numbers >> 8 if most == 65535 else np.rint(np.minimum(numbers, most) * (255 / most)).astype(np.int32)
    if depth in (2, 4):  # the last is opacity
        scaled = np.rint(255 + (scaled[..., :-1] - 255) * (scaled[..., -1:] / 255))
    return scaled.astype(np.uint8)


def _of_header(header: dict[str, str], key: str) -> int:
    """Returns a number of a PAM's header, above 0. ValueError where it is missing or none."""
    if key not in header:
        raise ValueError(f"its header has no {key}")
    text = header[key].strip()
    if not re.fullmatch("0*[1-9][0-9]{0,9}", text, re.ASCII):
        raise ValueError(f"its header has {key} {printable(text[:20])}; a whole number above 0 is expected")
    return int(text)


def _file(stored: bytes | Path) -> BinaryIO:
    return io.BytesIO(stored) if isinstance(stored, bytes) else stored.open("rb")
