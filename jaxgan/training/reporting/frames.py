"""A run's pictures as they stand in a page: few enough, small enough, and as text."""

import base64
import functools
import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from jaxgan.files import open_regular
from jaxgan.training.output.pictures import thinned

__all__ = ["MOST", "as_address", "frames"]

MOST = 32  # pictures of a page
LARGEST, PIXELS = 2**26, 2**24  # bytes and pixels of a file that is opened
SIZE, SIDE = 64 * 1024, 128  # bytes that a picture should have at most, and pixels below which none is shrunk


def frames(pictures: Mapping[int, Path], most: int = MOST) -> list[tuple[int, str]]:
    """Returns steps and addresses (`data:`) of at most so many pictures, evenly chosen, the first and the last among
    them; what is no picture is left out."""
    found = []
    for step in thinned(sorted(pictures), most):
        address = _address(pictures[step])
        if address:
            found.append((step, address))
    return found


def _address(path: Path) -> str | None:
    try:
        about = path.lstat()
    except OSError:
        return None
    return _read(path, about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=4 * MOST)
def _read(path: Path, changed: int, size: int) -> str | None:
    """Reads a picture once, as long as its file is as it was."""
    del changed
    try:
        with warnings.catch_warnings(action="error"), os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            content = file.read() if size < LARGEST else b""
            with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
                if picture.width * picture.height > PIXELS or picture.mode not in ("L", "RGB"):
                    return None
                return as_address(content if size <= SIZE else _smaller(picture, content))
    except Exception:  # noqa: BLE001 - Pillow raises many kinds, and warns of what is odd
        return None


def _smaller(picture: Image.Image, content: bytes) -> bytes:
    """Returns the picture with a whole part of its height and width, as far as it takes to be small."""
    for factor in range(2, min(picture.size) // SIDE + 1):
        file = io.BytesIO()
        picture.reduce(factor).save(file, format="PNG")
        content = file.getvalue()
        if len(content) <= SIZE:
            break
    return content


def as_address(content: bytes) -> str:
    """Returns a PNG file as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
