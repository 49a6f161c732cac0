"""XLA's compiled programs, cached in the user's cache folder.

A program is native code that runs as this user, and jax takes whatever lies under a program's name. So the folder is
used only if nobody else can write to it, and a record in it says which bytes were stored under which name."""

import contextlib
import hashlib
import json
import os
import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax

from jaxgan.data.cache import cache_folder, make_room, private_folder, warn_once
from jaxgan.files import atomic_write, open_regular, own_files, remove_leftovers, remove_own
from jaxgan.printable import printable

__all__ = ["clear_damaged_cache", "compilation_cache"]

SIZE = 2 << 30  # bytes of programs, of which one has 1 to 3 MB
OURS = re.compile(r".+-[0-9a-f]{64}-(cache|atime)")  # how jax calls them
RECORD = "stored.json"
RECORD_BYTES = 1 << 24

Stored = dict[str, tuple[list[int], str]]  # what `_place` says of a program's file, and its SHA-256, by name


def _programs() -> Path:
    return cache_folder() / "programs"


def _folder() -> str | None:
    """Returns the folder in which jax caches what it compiles."""
    folder: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    return folder


@contextlib.contextmanager
def compilation_cache() -> Iterator[None]:
    """Makes jax keep what it compiles, so that the same program starts at once the next time. Does nothing where
    `$JAX_COMPILATION_CACHE_DIR` names a folder, or ours can't be made or is open to others, of which it warns. Programs
    that have changed since they were stored are removed first, the oldest when they take more than 2 GiB."""
    if (named := _folder()) is not None:
        _warn_of(named)
        yield
        return
    folder = _usable()
    if folder is None:
        yield
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            _check(folder)


def _warn_of(named: str) -> None:
    """Warns where others can put programs into the folder that the user named."""
    with contextlib.suppress(OSError):  # a folder that jax is to make, or in the cloud
        about = Path(named).stat()
        if about.st_uid not in (0, os.geteuid()) or about.st_mode & 0o022:
            warn_once(
                f"others can write to {printable(named)}, which $JAX_COMPILATION_CACHE_DIR names, and the programs in "
                "it run as yours; chmod 700 it, or name another"
            )


def _usable() -> Path | None:
    """Returns the folder of programs once there is nothing in it that was not stored there under its name. None, with a
    warning, where that can't be had."""
    if (folder := private_folder("programs")) is None:
        return None
    try:
        own = {path for path, _ in own_files(folder, OURS)}
        for path in folder.iterdir():
            if (OURS.fullmatch(path.name) and path not in own) or not _is_own(path):
                warn_once(
                    f"{printable(folder)} is not used as a cache: {printable(path.name)} in it is not a file of this "
                    "user's, and would run as a program; remove it"
                )
                return None
        remove_leftovers(folder)
        make_room(folder, SIZE, OURS)
        _check(folder)
    except OSError:
        return None
    return folder


def _is_own(path: Path) -> bool:
    about = path.lstat()
    return about.st_uid == os.geteuid() and not stat.S_ISLNK(about.st_mode)


def _check(folder: Path) -> None:
    """Removes the programs that are not what was stored under their names, with a warning, and writes down what the
    others are. A program that isn't in the record yet is trusted: its run was killed, or is still under way."""
    stored, now, changed = _stored(folder), {}, []
    for path, about in own_files(folder, OURS):
        known = stored.get(path.name)
        if known and known[0] == _place(about):
            now[path.name] = known
        elif known and known[1] != _hash(path):
            changed.append(path)
        else:
            now[path.name] = (_place(about), _hash(path))
    for path in changed:
        path.unlink(missing_ok=True)
    if changed:
        warnings.warn(
            f"compiled programs in {printable(folder)} were not what was stored under their names: {len(changed)} were "
            "removed and are compiled again",
            stacklevel=2,
        )
    if now != stored:
        with atomic_write(folder / RECORD, synced=False) as temporary:
            temporary.write_text(json.dumps(now))


def _stored(folder: Path) -> Stored:
    """Reads the record; without one, or with a damaged one, nothing is known."""
    with contextlib.suppress(Exception), os.fdopen(open_regular(folder / RECORD, os.O_RDONLY)) as file:
        found = json.loads(file.read(RECORD_BYTES))
        return {str(name): ([int(number) for number in place], str(digest)) for name, (place, digest) in found.items()}
    return {}


def _place(about: os.stat_result) -> list[int]:
    """Returns what changes with a file's content: where it lies, its size, its times."""
    return [about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def _hash(path: Path) -> str:
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clear_damaged_cache(warning: str) -> None:
    """Empties the folder where jax warns that it can't read an entry, as after a crash while one was written: jax never
    replaces an entry."""
    ours = _folder() == str(_programs())
    if ours and "reading persistent compilation cache entry" in warning:
        with contextlib.suppress(OSError):
            (_programs() / RECORD).unlink(missing_ok=True)
            remove_own(_programs(), OURS)
