"""Names of folders as Orbax and TensorStore can take them, which read some characters for something else."""

import contextlib
import functools
import os
import re
from pathlib import Path

from jaxgan.training.errors.usage import UsageError

__all__ = ["taken_literally"]

# What they take for itself. Orbax looks for its own files by a pattern that has the whole path in it, so that `[1]` and
# `*` in it are patterns too, and makes gs:// of `gs:/`; TensorStore makes a slash of a backslash, and takes no bytes
# that are no UTF-8; /gs, /s3, /az and /hf are buckets to etils.
PLAIN = re.compile(r"(?!/(?:gs|s3|az|hf)/)(?:[\w.+=@,~ -]|/)+", re.ASCII)
LONGEST = 3500  # bytes of a path of 4,096, to which Orbax adds its own


def taken_literally(directory: Path) -> Path:
    """Returns a path to the same directory, which must be there, of which Orbax and TensorStore take every character
    for itself. UsageError where there is none on this system. OSError where the directory can't be opened."""
    name = os.fspath(directory.absolute())
    if PLAIN.fullmatch(name) and len(name) <= LONGEST:
        return directory.absolute()
    here = directory.stat()
    reached = Path(f"/proc/self/fd/{_descriptor(here.st_dev, here.st_ino, name)}")
    with contextlib.suppress(OSError):
        if reached.samefile(directory):
            return reached
    raise UsageError(
        f"checkpoints can't be in {directory} on this system, as their library takes some of its characters for "
        "something else; rename it, or choose another --workdir, of letters, digits, '.', '_' and '-'"
    )


@functools.cache
def _descriptor(device: int, inode: int, name: str) -> int:
    """Opens a directory for as long as the process lives: a number that is given away again would lead whoever still
    writes by it to another folder."""
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY)
