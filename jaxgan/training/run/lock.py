"""One process trains in a run directory at a time."""

import contextlib
import errno
import fcntl
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from jaxgan.terminal import say
from jaxgan.training.errors.usage import UsageError

__all__ = ["locked"]

TAKEN = (errno.EAGAIN, errno.EACCES)
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the run directory, which must exist, for the block.

    UsageError where another holds it or it can't be written in. The kernel ends the hold with the process, however
    that ends; the file `lock`, which says who has it, stays and means nothing by itself.
    """
    path = directory / "lock"
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("a+b", buffering=0))
            if _taken(file, path):
                file.seek(0)
                holder = file.read().decode().strip() or "another process"
                raise UsageError(f"{directory} is being trained by {holder}; wait for it or choose another --workdir")
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            raise UsageError(
                f"can't write in run directory {directory}: {error.strerror}; choose another --workdir"
            ) from None
        yield


def _taken(file: io.FileIO, path: Path) -> bool:
    """Takes the lock unless another has it. On a file system without locks it says so and takes it for free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            return True
        if error.errno not in UNSUPPORTED:
            raise
        say(f"warning: {path} can't be locked ({error.strerror}); train here with one process only", error=True)
    return False
