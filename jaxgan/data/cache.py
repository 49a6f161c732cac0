"""A cache, in the user's cache folder, for arrays that take long to compute. Their key is what they were
computed from.
"""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["cache_folder", "cached", "fingerprint", "make_room"]

Arrays = dict[str, Any]  # of NumPy's, by name

SIZE = 4 << 30  # bytes of a kind's files, at most
SETTLED = 2.0  # seconds: a file that changed less long ago may change again within one tick of the disk's clock
OURS = re.compile(r"[0-9a-f]{32}\.(npz|[0-9]+\.unfinished)")


def cache_folder() -> Path:
    """Returns `$JAXGAN_CACHE`, or `jaxgan` in the user's folder for caches. What is in it can be removed at
    any time.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(os.environ.get("JAXGAN_CACHE") or f"{base}/jaxgan"))  # noqa: PTH111 - some have no ~


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


def cached(kind: str, made_of: Sequence[Any], keys: Sequence[str], compute: Callable[[], Arrays]) -> Arrays:
    """Returns the arrays `keys` of `compute()`. They are read from the disk if they were computed before from the same
    `made_of`, which is compared by its `repr`; if it holds a None, nothing is cached.

    A damaged or missing cache file, or a full disk, costs time and nothing else. When the files of a `kind` take too
    much room, those that were not used for the longest time are removed."""
    if None in made_of:
        return compute()
    folder = cache_folder() / kind
    name = hashlib.sha256(repr(tuple(made_of)).encode()).hexdigest()[:32]
    with contextlib.suppress(Exception):  # a damaged file has errors of zipfile's, NumPy's and Python's parser
        return _read(folder / f"{name}.npz", keys)
    computed = compute()
    if (size := sum(array.nbytes for array in computed.values())) <= SIZE:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_room(folder, SIZE - size, OURS)
            unfinished = folder / f"{name}.{os.getpid()}.unfinished"  # other processes may write it too
            try:
                with unfinished.open("wb") as file:
                    np.savez(file, **computed)
                unfinished.replace(folder / f"{name}.npz")
            finally:
                unfinished.unlink(missing_ok=True)
    return computed


def _read(path: Path, keys: Sequence[str]) -> Arrays:
    with path.open("rb") as file, np.load(file) as arrays:  # alone it leaves the file open
        if arrays.zip.testzip():  # NumPy reads no further than a damaged head says, and misses the checksum
            raise ValueError(f"{path} is damaged")
        found = {key: arrays[key] for key in keys}
    with contextlib.suppress(OSError):  # a cache that is only read
        os.utime(path)
    return found


def make_room(folder: Path, size: int, names: re.Pattern[str]) -> None:
    """Removes the files with these names that were not used for the longest time, until the others in the folder have
    at most `size` bytes. OSError where the folder can't be read or written."""
    entries = [(entry, entry.stat()) for entry in folder.iterdir() if names.fullmatch(entry.name)]
    for entry, about in sorted(entries, key=lambda each: each[1].st_mtime, reverse=True):
        size -= about.st_size
        if size < 0:
            entry.unlink(missing_ok=True)
