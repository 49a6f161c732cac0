"""One process trains in a run directory at a time."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxgan.files import open_regular
from jaxgan.terminal import say
from jaxgan.training.errors.stopping import Stopped
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.run.folder import writing_run

__all__ = ["locked"]

TAKEN = (errno.EAGAIN, errno.EACCES)
# EBADF: NFS locks only what is open for writing, which no directory can be.
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[Callable[[], None]]:
    """Holds the run directory, which must exist, for the block. Yields a function that raises Stopped where the
    directory's name leads to another one by now.

    UsageError where another holds it or it can't be written in. It is the directory itself that is locked, whatever it
    is called and whoever removes files from it. The file `lock` says who has it; it is locked too, for file systems
    that lock no directories, and stays and means nothing by itself. The kernel ends the hold with the process, however
    that ends.
    """
    directory = directory.absolute()
    with contextlib.ExitStack() as stack:
        with writing_run(directory):
            folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, folder)
            file = os.fdopen(open_regular(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_APPEND), "r+b", buffering=0)
            stack.enter_context(file)
            of_folder, of_file = _take(folder), _take(file.fileno())
            if any(error and error.errno in TAKEN for error in (of_folder, of_file)):
                holder = file.read().decode(errors="replace").strip() or "another process"
                raise UsageError(f"{directory} is being trained by {holder}; wait for it or choose another --workdir")
            if of_folder and of_file:
                why = f"{directory / 'lock'} can't be locked ({of_file.strerror})"
                say(f"warning: {why}; train here with one process only", error=True)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())

        def still_there() -> None:
            locks = [(folder, directory), *([(file.fileno(), directory / "lock")] if of_folder else [])]
            with contextlib.suppress(OSError):
                if all(os.path.samestat(os.fstat(descriptor), path.stat()) for descriptor, path in locks):
                    return
            raise Stopped(
                f"{locks[-1][1]} was moved, removed or replaced while this run trained in {directory}; what was saved "
                "before is in the directory, wherever it is now, and can be continued there",
                1,
            )

        yield still_there


def _take(descriptor: int) -> OSError | None:
    """Takes the lock of a file or directory. Returns the error where another has it, or its file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (*TAKEN, *UNSUPPORTED):
            raise
        return error
    return None
