"""XLA's programs, kept in the user's cache folder."""

import contextlib
from pathlib import Path

import jax

from jaxgan.evaluation.reference import cache_folder

__all__ = ["forget_programs", "keep_programs"]

SIZE = 2 << 30  # bytes of programs, of which one has 1 to 3 MB


def _programs() -> Path:
    return cache_folder() / "programs"


def keep_programs() -> None:
    """Makes jax keep what it compiles, so that the same program starts at once the next time; nothing is done where
    `$JAX_COMPILATION_CACHE_DIR` says where to, or the folder can't be made. What is oldest goes when it grows large."""
    if jax.config.jax_compilation_cache_dir is not None:
        return
    with contextlib.suppress(OSError):
        _programs().mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(_programs()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        room = SIZE
        for entry in sorted(_programs().iterdir(), key=lambda entry: entry.stat().st_mtime, reverse=True):
            room -= entry.stat().st_size
            if room < 0:
                entry.unlink()


def forget_programs(warning: str) -> None:
    """Empties the folder where jax warns that it can't read an entry, as after a crash while one was written: jax never
    replaces an entry."""
    ours = jax.config.jax_compilation_cache_dir == str(_programs())
    if ours and "reading persistent compilation cache entry" in warning:
        for entry in _programs().iterdir():
            with contextlib.suppress(OSError):
                entry.unlink()
