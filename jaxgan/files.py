"""Files that are written whole or not at all, follow no link, and outlive a power cut; folders that only we can write
to."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_write", "is_private", "open_regular", "sync_file", "sync_folder", "sync_tree"]


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields an empty temporary file beside `path` to write to, of a name that nobody can guess. It becomes `path`,
    synced to the disk, when the block ends well, and is removed otherwise. A link at `path` is replaced, not followed.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
    try:
        yield temporary
        sync_file(temporary)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # what failed first is what matters
            temporary.unlink()
        raise


def open_regular(path: Path, flags: int) -> int:
    """Opens `path` with the flags of `os.open` and returns the descriptor. OSError where it is a link or anything else
    than a regular file, of which a pipe would never answer."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link, which is not followed", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def is_private(path: Path) -> bool:
    """Says whether `path` is no link, belongs to this user, and no other can write to it. OSError where it can't be
    looked at."""
    about = path.lstat()
    return not stat.S_ISLNK(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o022


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
