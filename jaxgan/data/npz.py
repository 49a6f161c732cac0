"""A reader of `.npz` files of others' making: plain arrays, no more memory than is allowed, and ValueError in one line
for all else.

NumPy's own reader gives a header to Python's parser, which fails in ways of its own, and unpacks whatever is there.
"""

import contextlib
import io
import math
import re
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxgan.printable import printable, said_by

__all__ = ["npz_names", "read_npz"]

LONGEST_HEADER = 65_536  # bytes; NumPy writes fewer than 1,000 for plain arrays
BLOCK = 1 << 20
# A header is a dictionary as Python writes it; spaces are taken out before.
KIND = r"'descr':'([<>|=]?(?:[biufc][1-9]\d?|[SU][1-9]\d{0,8}))'"
ORDER = r"'fortran_order':(True|False)"
SHAPE = r"'shape':\(((?:\d+L?,)*(?:\d+L?)?)\)"
ENTRY = f"(?:{KIND}|{ORDER}|{SHAPE})"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that NumPy writes; others unpack at any length


def npz_names(file: Path | BinaryIO) -> list[str]:
    """Returns the names of the arrays in an `.npz` file. ValueError for a file that is none or is damaged."""
    with _opened(file) as archive:
        return list(_members(archive))


def read_npz(
    file: Path | BinaryIO, most: int, bound: str, wanted: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Reads the arrays of an `.npz` file by name, all or those that are `wanted`: numbers and texts of any shape.
    bound: what `most` is, in words.

    ValueError for a file that is none or is damaged, for arrays of other kinds (Python objects are pickles, which could
    execute anything), for more than `most` bytes in all, and where arrays that aren't compressed are said to have more
    bytes than the file."""
    with _opened(file) as archive:
        chosen = {name: info for name, info in _members(archive).items() if wanted is None or name in wanted}
        if (size := sum(info.file_size for info in chosen.values())) > most:
            raise ValueError(f"it unpacks to {size:,} bytes, more than {bound}")
        for name, info in chosen.items():
            if info.compress_type not in METHODS:
                raise ValueError(f"its {name[:80]!r} is compressed in another way than NumPy's")
        stored = sum(info.file_size for info in chosen.values() if info.compress_type == zipfile.ZIP_STORED)
        if stored > _length(archive):
            raise ValueError(f"its arrays are said to have {stored:,} bytes, more than the file has")
        return {name: _array(archive, name, info) for name, info in chosen.items()}


@contextlib.contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[zipfile.ZipFile]:
    """Opens an archive. Every error in the block becomes a ValueError of one line."""
    try:
        if isinstance(file, Path) and not file.is_file():
            raise ValueError(f"it is {'a folder' if file.is_dir() else 'not there, or no regular file'}")
        with zipfile.ZipFile(file) as archive:
            yield archive
    except Exception as error:  # zipfile has no error in common for what is damaged
        raise ValueError(printable(said_by(error))) from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def _length(archive: zipfile.ZipFile) -> int:
    """Returns the bytes of the file that an archive is in."""
    file = archive.fp
    if file is None:
        raise ValueError("it is closed")
    return file.seek(0, io.SEEK_END)


def _array(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> np.ndarray:
    """Reads one array, a block at a time. ValueError unless it has the bytes that its header and the archive say."""
    with archive.open(info) as member:
        start = member.read(8)
        if start[:6] != b"\x93NUMPY" or len(start) < 8 or start[6] not in (1, 2, 3):
            raise ValueError(f"its {name[:80]!r} is no array of NumPy's")
        count = member.read(2 if start[6] == 1 else 4)
        length = int.from_bytes(count, "little")
        if length > LONGEST_HEADER or len(header := member.read(length)) < length:
            raise ValueError(f"its {name[:80]!r} is cut short, or its header too long")
        kind, columns_first, shape = _header(header, name)
        buffer = _space(math.prod(shape) * kind.itemsize, info.file_size - len(start) - len(count) - length, name)
        for place in range(0, len(buffer), BLOCK):
            part = buffer[place : place + BLOCK]
            if len(block := member.read(len(part))) < len(part):
                raise ValueError(f"its {name[:80]!r} is cut short")
            part[:] = np.frombuffer(block, np.uint8)
        if member.read(1):  # and its checksum was right
            raise ValueError(f"its {name[:80]!r} is longer than it is said to be")
    array = buffer.view(kind)
    return array.reshape(shape[::-1]).T if columns_first else array.reshape(shape)


def _header(header: bytes, name: str) -> tuple[np.dtype, bool, tuple[int, ...]]:
    """Returns type, order and shape of an array."""
    text = "".join(header.decode("latin-1").split())
    found = [re.search(pattern, text) for pattern in (KIND, ORDER, SHAPE)]
    if not re.fullmatch(rf"\{{{ENTRY},{ENTRY},{ENTRY},?\}}", text) or None in found:
        if "'descr':'|O'" in text:
            raise ValueError(f"Object arrays cannot be loaded: {name[:80]!r} is a pickle, which could execute anything")
        raise ValueError(f"its {name[:80]!r} holds no plain numbers, but {text[:80]}")
    kind, order, shape = (match[1] for match in found if match)
    return np.dtype(kind), order == "True", tuple(int(part.rstrip("L")) for part in shape.split(",") if part)


def _space(announced: int, there: int, name: str) -> np.ndarray:
    """Returns room for the bytes of an array."""
    if announced != there:
        raise ValueError(f"its {name[:80]!r} announces {min(announced, 10**30):,} bytes, and {there:,} are there")
    try:
        return np.empty(there, np.uint8)
    except MemoryError:
        raise ValueError(f"its {name[:80]!r} has {there:,} bytes, for which there is no memory") from None
