"""A cache, in the user's cache folder, for arrays that take long to compute. Their key is what they were
computed from.

An entry is a file: a line of JSON with the digest of that key, the arrays' types and shapes, and a digest of all of it;
then the arrays' bytes. It is taken only if it is this user's own file and all of that is as it should be."""

import contextlib
import functools
import hashlib
import json
import math
import os
import re
import shlex
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxgan.files import atomic_write, is_private, make_private, open_regular, own_files, remove_leftovers, remove_own
from jaxgan.printable import printable

__all__ = ["Arrays", "Expected", "cache_folder", "cached", "fingerprint", "make_room", "private_folder", "warn_once"]

Arrays = dict[str, np.ndarray]
Expected = Mapping[str, tuple[type[np.generic], tuple[int | None, ...]]]  # type and shape by name; None: any length

SIZE = 4 << 30  # bytes of a kind's files, at most
SETTLED = 2.0  # seconds: a file that changed less long ago may change again within one tick of the disk's clock
OURS = re.compile(r"[0-9a-f]{32}\.arrays")
OUTDATED = re.compile(r"[0-9a-f]{32}\.(npz|[0-9]+\.unfinished)")  # entries of earlier versions
HEAD = 1 << 16  # bytes of the line of JSON, at most


def cache_folder() -> Path:
    """Returns `$JAXGAN_CACHE`, or `jaxgan` in the user's folder for caches. What is in it can be removed at
    any time.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(os.environ.get("JAXGAN_CACHE") or f"{base}/jaxgan"))  # noqa: PTH111 - some have no ~


def private_folder(kind: str) -> Path | None:
    """Returns the folder of a `kind` of entries, which it makes for this user alone. None, and a warning, where others
    could put entries there; None where it can't be made."""
    folder = cache_folder() / kind
    if any("\ud800" <= each <= "\udfff" for each in str(folder)):
        warn_once(f"{printable(folder)} is not used as a cache: its name is no UTF-8; name another in $JAXGAN_CACHE")
        return None
    try:
        make_private(folder)
        # The cache folder may be a link, to a larger disk: that is the user's choice. What is in it is ours.
        unsafe = [each for each in (cache_folder().resolve(), folder) if not is_private(each)]
    except OSError:
        return None
    if unsafe:
        warn_once(
            f"{printable(unsafe[0])} is not used as a cache: it is a link, or others own it or can write to it; "
            f"chmod 700 {printable(shlex.quote(str(unsafe[0])))}, remove it, or name another folder in $JAXGAN_CACHE"
        )
    return None if unsafe else folder


@functools.cache
def warn_once(text: str) -> None:
    """Warns of the same thing once in a process."""
    warnings.warn(text, stacklevel=3)


def fingerprint(files: Iterable[Path]) -> str | None:
    """Returns a hash that changes when any of the files changes: of their paths, places on the disk, sizes, and times
    of the last change, both the file's and the system's own. None where a file changed just now or can't be looked at.
    """
    try:
        found = [(str(file.absolute()), file.stat()) for file in files]
    except OSError:
        return None
    if not found or max(max(about.st_mtime, about.st_ctime) for _, about in found) > time.time() - SETTLED:
        return None
    attributes = [
        (path, about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns) for path, about in found
    ]
    return hashlib.sha256(repr(sorted(attributes)).encode()).hexdigest()


def cached(kind: str, made_of: Sequence[Any], expected: Expected, compute: Callable[[], Arrays]) -> Arrays:
    """Returns the arrays `expected` of `compute()`. They are read from the disk if they were computed before from the
    same `made_of`, which is compared by its `repr`; if it holds a None, nothing is cached.

    A missing or damaged entry, one of another user, of something else or of other types and shapes, or a full disk
    costs time and nothing else. When the files of a `kind` take too much room, those that were not used for the longest
    time are removed."""
    if None in made_of:
        return compute()
    if (folder := private_folder(kind)) is None:
        return compute()
    key = hashlib.sha256(repr((kind, *made_of)).encode()).hexdigest()
    path = folder / f"{key[:32]}.arrays"
    with contextlib.suppress(Exception):  # whatever is wrong with what lies there
        return _read(path, key, expected)
    computed = compute()
    if (size := sum(array.nbytes for array in computed.values())) <= SIZE:
        with contextlib.suppress(OSError):
            remove_leftovers(folder)
            remove_own(folder, OUTDATED)
            make_room(folder, SIZE - size, OURS)
            with atomic_write(path, synced=False) as temporary, temporary.open("wb") as file:
                _write(file, key, computed)
    return computed


def _write(file: BinaryIO, key: str, arrays: Arrays) -> None:
    types = {name: (array.dtype.str, array.shape) for name, array in arrays.items()}
    contents = [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in arrays.values()]
    head = {"of": key, "arrays": types, "digest": _digest(key, types, contents)}
    file.write(json.dumps(head).encode() + b"\n")
    file.writelines(contents)


def _read(path: Path, key: str, expected: Expected) -> Arrays:
    """Reads an entry. It raises any kind of Exception where it isn't the one that is expected."""
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        about = os.fstat(file.fileno())
        head = json.loads(file.readline(HEAD))
        types = {name: (np.dtype(kind), tuple(shape)) for name, (kind, shape) in head["arrays"].items()}
        fits = expected.keys() <= types.keys() and all(_fits(*types[name], *expected[name]) for name in expected)
        size = sum(dtype.itemsize * math.prod(shape) for dtype, shape in types.values())
        if about.st_uid != os.geteuid() or head["of"] != key or not fits or file.tell() + size != about.st_size:
            raise ValueError(f"{path} is not this user's entry of what is expected")
        found = {name: np.empty(shape, dtype) for name, (dtype, shape) in types.items()}
        contents = [array.reshape(-1).view(np.uint8).data for array in found.values()]
        for content in contents:
            file.readinto(content)
        if head["digest"] != _digest(key, head["arrays"], contents):
            raise ValueError(f"{path} is damaged")
        with contextlib.suppress(OSError):  # a cache that is only read
            os.utime(file.fileno())
    return found


def _fits(dtype: np.dtype, shape: tuple[int, ...], kind: type[np.generic], lengths: tuple[int | None, ...]) -> bool:
    return (
        np.issubdtype(dtype, kind)
        and len(shape) == len(lengths)
        and all(has >= 0 and wants in (None, has) for has, wants in zip(shape, lengths, strict=True))
    )


def _digest(key: str, types: Any, contents: Iterable[memoryview]) -> str:
    digest = hashlib.sha256(json.dumps([key, types]).encode())
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def make_room(folder: Path, size: int, names: re.Pattern[str]) -> None:
    """Removes this user's files with these names that were not used for the longest time, until the others in the
    folder have at most `size` bytes. OSError where the folder can't be read or written."""
    for path, about in sorted(own_files(folder, names), key=lambda each: each[1].st_mtime, reverse=True):
        size -= about.st_size
        if size < 0:
            path.unlink(missing_ok=True)
