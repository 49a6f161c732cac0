"""Files that are written whole or not at all, follow no link, and outlive a power cut; folders that only we can write
to."""

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "UNFINISHED",
    "atomic_write",
    "is_private",
    "make_private",
    "open_regular",
    "own_files",
    "read_at_most",
    "remove_leftovers",
    "remove_own",
    "sync_file",
    "sync_folder",
    "sync_tree",
]

UNFINISHED = r"\.[0-9a-f]{16}\.tmp"  # how the names of `atomic_write`'s temporary files end
LEFTOVER_SECONDS = 3600.0  # without a change, after which nobody writes to a temporary file any more


@contextlib.contextmanager
def atomic_write(path: Path, *, synced: bool = True) -> Iterator[Path]:
    """Yields an empty temporary file beside `path` to write to, of a name that nobody can guess. It becomes `path`,
    synced to the disk, when the block ends well, and is removed otherwise. A link at `path` is replaced, not followed.

    synced: False for what can be made again, and is checked when it is read."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
    try:
        yield temporary
        if synced:
            sync_file(temporary)
        os.replace(temporary, path)
        if synced:
            sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # what failed first is what matters
            temporary.unlink()
        raise


def open_regular(path: Path, flags: int, *, follow: bool = False) -> int:
    """Opens `path` with the flags of `os.open` and returns the descriptor. OSError where it is a link, unless these are
    to be followed, or anything else than a regular file, of which a pipe would never answer."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW), 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise OSError(errno.ELOOP, "it is a link, which is not followed", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def read_at_most(path: Path, size: int) -> bytes:
    """Reads a whole file; a link is followed. OSError where it is no regular file or has more than `size` bytes."""
    with os.fdopen(open_regular(path, os.O_RDONLY, follow=True), "rb") as file:
        content = file.read(size + 1)
    if len(content) > size:
        raise OSError(errno.EFBIG, f"it has more than {size:,} bytes", str(path))
    return content


def is_private(path: Path) -> bool:
    """Says whether `path` is no link, belongs to this user, and no other can write to it. OSError where it can't be
    looked at."""
    about = path.lstat()
    return not stat.S_ISLNK(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o022


def make_private(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, for this user alone. One that is there stays as it is.
    OSError where it can't be made."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def own_files(folder: Path, names: re.Pattern[str]) -> list[tuple[Path, os.stat_result]]:
    """Returns this user's own regular files in a folder whose whole names match, with what `lstat` says of them.
    OSError where the folder can't be read."""
    found = []
    for path in folder.iterdir():
        if names.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                about = path.lstat()
                if stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid():
                    found.append((path, about))
    return found


def remove_own(folder: Path, names: re.Pattern[str], *, idle: float = 0.0) -> None:
    """Removes this user's own regular files in a folder whose whole names match, and which have not changed for `idle`
    seconds. OSError where the folder can't be read or written."""
    for path, about in own_files(folder, names):
        if not idle or about.st_mtime < time.time() - idle:
            path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of writers that were killed. OSError where the folder can't be read or written."""
    remove_own(folder, re.compile(f".+{UNFINISHED}"), idle=LEFTOVER_SECONDS)


def sync_folder(folder: Path) -> None:
    """Makes the disk keep which files are in a folder, as far as its file system can."""
    with contextlib.suppress(OSError):
        sync_file(folder)


def sync_tree(folder: Path) -> None:
    """Makes the disk keep a folder, all that is in it, and its name. OSError where it can't keep a file."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(place, name))
        sync_folder(Path(place))
    sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Makes the disk keep what is in a file. OSError where it can't."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
