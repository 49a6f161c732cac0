"""The most memory that this process has had, for the benchmarks."""

import contextlib
import re
import resource
import sys
from pathlib import Path

__all__ = ["forget", "peak"]


def peak() -> int:
    """The most bytes this process has had in memory."""
    with contextlib.suppress(OSError):  # getrusage's peak can be that of the process this one was started from
        if said := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return int(said[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def forget() -> int:
    """The same, after the peak so far was forgotten where that can be (Linux): what is there now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak()
