"""Arrays in shared memory whose names say whose they are, so that none outlives the processes that use it.

A worker process that is killed leaves what it has just made, and a whole group of processes that is killed leaves
everything. Only the names tell that nobody needs it any more. They are in `/dev/shm`, on Linux; elsewhere nothing can
be listed, and this module does nothing."""

import contextlib
import re
import secrets
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import numpy as np

from jaxgan.files import own_files

__all__ = ["new_owner", "remove_of_dead", "remove_of_owner", "share"]

FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux has POSIX shared memory
PROC = Path("/proc")
NAME = re.compile(r"(?P<owner>jaxgan-(?P<process>[0-9]+-[0-9]+-[0-9]+)-[0-9a-f]{8})-[0-9a-f]{16}")


def new_owner() -> str | None:
    """Returns an unused name for an owner of shared arrays, which says that it is in this process. None where names
    can't be listed."""
    try:
        process = _process((PROC / "self").readlink().name)
    except OSError:
        return None
    return f"jaxgan-{process}-{secrets.token_hex(4)}" if process and FOLDER.is_dir() else None


def share(owner: str | None, array: np.ndarray) -> np.ndarray:
    """Returns a copy of the array in shared memory of an owner's, as Grain hands it on to another process; the array
    itself without an owner."""
    if owner is None or not array.size:
        return array
    from grain.multiprocessing import SharedMemoryArray

    memory = shared_memory.SharedMemory(f"{owner}-{secrets.token_hex(8)}", create=True, size=array.nbytes)
    shared: np.ndarray = SharedMemoryArray.from_shared_memory(memory, array.shape, array.dtype)
    np.copyto(shared, array)
    return shared


def remove_of_owner(owner: str | None) -> None:
    """Frees what an owner of this process has left, once its workers have ended."""
    for path in _left():
        if owner and (found := NAME.fullmatch(path.name)) and found["owner"] == owner:
            with contextlib.suppress(OSError):  # freed by now
                path.unlink()
                # So that Python's tracker doesn't report it; a name that it doesn't know would be an error.
                resource_tracker.register(f"/{path.name}", "shared_memory")
                resource_tracker.unregister(f"/{path.name}", "shared_memory")


def remove_of_dead() -> None:
    """Frees what this user's processes have left that have ended. Those that can't be seen from here, such as those of
    another container, keep theirs."""
    here = _namespace()
    for path in _left():
        if found := NAME.fullmatch(path.name):
            namespace, pid, _ = found["process"].split("-")
            if namespace == here and _process(pid) != found["process"]:
                with contextlib.suppress(OSError):
                    path.unlink()


def _left() -> list[Path]:
    with contextlib.suppress(OSError):
        return [path for path, _ in own_files(FOLDER, NAME)]
    return []


def _namespace() -> str | None:
    """Returns the number of the namespace in which this process' number has its meaning."""
    with contextlib.suppress(OSError):
        return re.sub("[^0-9]", "", str((PROC / "self" / "ns" / "pid").readlink()))
    return None


def _process(pid: str) -> str | None:
    """Returns what no other process is ever called: its namespace, number, and time of start. None where there is no
    such process."""
    namespace = _namespace()
    with contextlib.suppress(OSError):
        started = (PROC / pid / "stat").read_bytes().rpartition(b")")[2].split()[19].decode()
        return f"{namespace}-{pid}-{started}" if namespace else None
    return None
