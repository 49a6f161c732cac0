"""XLA's compiled programs, cached in the user's cache folder."""

import contextlib
import os
import re
from pathlib import Path

import jax

from jaxgan.data.cache import cache_folder, make_room

__all__ = ["clear_damaged_cache", "enable_cache"]

SIZE = 2 << 30  # bytes of programs, of which one has 1 to 3 MB
OURS = re.compile(r".+-[0-9a-f]{64}-(cache|atime)")  # how jax calls them


def _programs() -> Path:
    return cache_folder() / "programs"


def _folder() -> str | None:
    """Returns the folder in which jax caches what it compiles."""
    folder: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    return folder


def enable_cache() -> None:
    """Makes jax keep what it compiles, so that the same program starts at once the next time. Does nothing where
    `$JAX_COMPILATION_CACHE_DIR` names a folder, or ours can't be made. The oldest programs are removed when they take
    more than 2 GiB."""
    if _folder() is not None:
        return
    with contextlib.suppress(OSError):
        _programs().mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(_programs()))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        make_room(_programs(), SIZE, OURS)


def clear_damaged_cache(warning: str) -> None:
    """Empties the folder where jax warns that it can't read an entry, as after a crash while one was written: jax never
    replaces an entry."""
    ours = _folder() == str(_programs())
    if ours and "reading persistent compilation cache entry" in warning:
        with contextlib.suppress(OSError):
            make_room(_programs(), 0, OURS)
