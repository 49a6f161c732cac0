"""Errors of Orbax and TensorStore, told in one line, and once."""

import functools
import logging
import os
import re
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

__all__ = ["LEFTOVERS", "reason_of", "silence_tracebacks"]

LEFTOVERS = "*.orbax-checkpoint-tmp*"  # what a save that was killed leaves
LONGEST = 150  # characters of a reason
# Orbax' coroutines that are seen to be left behind where something fails.
ABANDONED = "_read_array_index_and_device_put|async_serialize_from_host|create_all|is_path_finalized|run_sync"


def reason_of(error: BaseException, folder: Path, late: str) -> str:
    """Returns one line of what Orbax and TensorStore say in many, without the name of the checkpoints' `folder`; `late`
    where processes waited for another in vain."""
    while error.__cause__:
        error = error.__cause__
    text = str(error)
    if "Barrier timed out" in text:  # in the process that failed it is what followed
        before = error.__context__
        return reason_of(before, folder, late) if before else late
    if code := re.search(r"os_error_code='(\d+)'", text):
        return os.strerror(int(code[1]))
    if isinstance(error, OSError) and error.strerror:
        named = error.filename and not Path(error.filename).match(LEFTOVERS)
        return f"{error.strerror}: {Path(error.filename).name}" if named else error.strerror
    if isinstance(error, AttributeError | LookupError | TypeError):
        text = f"{type(error).__name__}: {text}"
    line = " ".join(text.replace(f"{folder}/", "").split()) or type(error).__name__
    if len(line) <= LONGEST:
        return line
    what, spec, _ = line.partition(" [tensorstore_spec")  # it says last what others say first
    return f"…{what[1 - LONGEST :]}" if spec else f"{line[: LONGEST - 1]}…"


@functools.cache
def silence_tracebacks() -> None:
    """Silences, for the rest of the process, the tracebacks that Orbax prints on stderr beside the error that it
    raises: they come by the hundred, whenever its remains are collected."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # it warns of what read-only implies, too
    logging.getLogger("asyncio").addFilter(lambda record: not _of_orbax(logging.Formatter().format(record)))
    warnings.filterwarnings("ignore", f"coroutine '({ABANDONED}).*' was never awaited", RuntimeWarning)
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        # An array that is still being written when another has failed finds the event loop closed, and nameless.
        nameless = unraisable.object is None and str(unraisable.exc_value) == "Event loop is closed"
        lines = traceback.format_exception(unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback)
        coroutine = getattr(unraisable.object, "cr_code", "")  # says which file it is of
        if not (nameless or _of_orbax(f"{lines}{coroutine}")):
            before(unraisable)

    sys.unraisablehook = hook


def _of_orbax(text: str) -> bool:
    return re.search("orbax|tensorstore|ocdbt", text, re.IGNORECASE) is not None
