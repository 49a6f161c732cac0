"""Checkpoints of a run's state, with Orbax: written in the background, whole or not at all, the newest few kept.

Orbax restores what a disk has changed without a word, so every array's digest is saved with it and compared."""

import contextlib
import functools
import itertools
import logging
import os
import re
import shutil
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxgan.training.digest import digests
from jaxgan.training.usage import UsageError

__all__ = ["Checkpoints", "SaveError"]

State = TypeVar("State")
KEPT = 3
LEFTOVERS = "*.orbax-checkpoint-tmp*"  # what a save that was killed leaves
LONGEST = 150  # characters of a reason
# Orbax' coroutines that are seen to be left behind where something fails.
ABANDONED = "_read_array_index_and_device_put|async_serialize_from_host|create_all|is_path_finalized|run_sync"


class SaveError(OSError):
    """A checkpoint that could not be saved: one line that names it and the reason. Those saved before are whole."""


class _Damaged(Exception):
    """A checkpoint that is not what was saved, or not for this state; the message says why in a line."""


class Checkpoints:
    """The checkpoints of one run directory. Close it, or what is being written is lost.

    Unless `read_only`, the caller holds the run's lock: what saves that were killed have left is removed. UsageError
    where the directory can't be read or written."""

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        _hear_failures_once()
        self.folder = (directory / "checkpoints").absolute()
        self.aside = self.folder.with_name("damaged")
        self.read_only = read_only
        self.saving: int | None = None  # the step that is written in the background
        self.manager: Any = None
        try:
            self._listed()
            self._open()
        except OSError as error:
            use = "read" if read_only else "write in"
            raise UsageError(
                f"can't {use} run directory {directory}: {self._reason(error)}; choose another --workdir"
            ) from None

    def steps(self) -> list[int]:
        """The steps that are saved or being saved, ascending. Whether they are whole, only restoring them shows."""
        saved = {int(path.name) for path in self._listed() if path.name.isdecimal() and path.is_dir()}
        return sorted(saved if self.saving is None else saved | {self.saving})

    def newest(self) -> int | None:
        """The newest of them, None where there is none."""
        return max(self.steps(), default=None)

    def save(self, step: int, state: object) -> None:
        """Saves unless this step is saved already. Returns when the state is copied and may be donated.

        SaveError where this save fails at once or the one before has failed since."""
        self._settle()
        try:
            if step in self.steps():
                return
            state = jax.tree.map(jnp.asarray, state)
            saved = {"state": state, "digest": digests(jax.tree.leaves(state))}
            if not self._open().save(step, args=ocp.args.StandardSave(saved)):
                raise ValueError(f"step {self.newest()} is saved already")  # Orbax refuses to go back
        except Exception as error:  # Orbax raises many kinds, bare Exception among them
            raise self._failed(step, error) from error
        self.saving = step

    def restore(self, step: int, like: State) -> State:
        """The state saved at `step`, with the tree, shapes and types of `like` (arrays or abstract ones), and on its
        devices, or the first device where it names none. UsageError where it is missing, damaged or another GAN's."""
        steps = self.steps()
        if step not in steps:
            there = f"it has {', '.join(map(str, steps))}" if steps else "it has none at all"
            raise UsageError(f"{self.folder} has no checkpoint of step {step}; {there}")
        try:
            return self._read(step, like)
        except _Damaged as error:
            raise UsageError(
                f"checkpoint {self._path(step)} can't be restored ({error}); move it away to go on from the one before"
            ) from error

    def restore_newest(self, like: State) -> tuple[int, State] | None:
        """The newest step that is whole, and its state as from `restore`; None where nothing was saved.

        Damaged newer ones are named on stderr and, unless `read_only`, moved to `damaged/` in the run directory, since
        Orbax saves no step that is there. UsageError, and nothing is moved, where none is whole."""
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            try:
                state = self._read(step, like)
            except _Damaged as error:
                damaged[step] = str(error)
                continue
            self._put_aside(damaged, step)
            return step, state
        if not damaged:
            return None
        reasons = "; ".join(f"step {step}: {reason}" for step, reason in sorted(damaged.items()))
        raise UsageError(
            f"none of the checkpoints in {self.folder} can be restored ({reasons}); "
            "bring back a copy of them, or choose another --workdir to start again"
        )

    def close(self) -> None:
        """Waits until everything is on the disk. SaveError where that has failed."""
        try:
            self._settle()
        finally:
            self._shut()

    def _open(self) -> Any:
        """Orbax' manager, a new one where there is none: it remembers steps, and errors that are told already."""
        if self.manager is None:
            if not self.read_only:
                self._remove_leftovers()
            options = ocp.CheckpointManagerOptions(
                max_to_keep=KEPT,
                read_only=self.read_only,
                lightweight_initialize=True,  # reads no checkpoint, so that a damaged one does no harm
                # Otherwise, where a folder can't be made, threads wait for it and keep the process for five minutes.
                async_options=ocp.options.AsyncOptions(create_directories_asynchronously=False),
            )
            # Without the handler it decides by the first folder it sees, which may be damaged, what all of them are.
            handler = ocp.StandardCheckpointHandler()
            self.manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handler)
        return self.manager

    def _shut(self) -> None:
        manager, self.manager = self.manager, None
        if manager is not None:
            with contextlib.suppress(Exception):  # whatever went wrong is told by _settle
                manager.close()

    def _settle(self) -> None:
        """Waits for the save in the background. SaveError where it failed."""
        step, self.saving = self.saving, None
        if step is None:
            return
        try:
            self._open().wait_until_finished()
            if not self._path(step).is_dir():
                raise FileNotFoundError("it was removed while it was written")
        except Exception as error:  # as in save
            raise self._failed(step, error) from error

    def _failed(self, step: int, error: Exception) -> SaveError:
        """What to raise. The next save starts anew, with the space that this one took."""
        self._shut()
        with contextlib.suppress(OSError):
            self._remove_leftovers()
        return SaveError(f"checkpoint {self._path(step)} can't be saved: {self._reason(error)}")

    def _listed(self) -> list[Path]:
        """What is in the folder. OSError where it can't be read: that is not the same as nothing."""
        return list(self.folder.iterdir()) if self.folder.exists() else []

    def _remove_leftovers(self) -> None:
        for path in self._listed():
            if path.match(LEFTOVERS):
                shutil.rmtree(path, ignore_errors=True)  # a save that failed may still write to it

    def _read(self, step: int, like: State) -> State:
        """The state saved at `step`. _Damaged where it can't be restored or its digests differ, SaveError where a save
        that was going on failed."""
        self._settle()  # Orbax would raise its failure here
        wanted = jax.tree.leaves(abstract := jax.tree.map(_abstract, like))
        target = {"state": abstract, "digest": _abstract(jax.ShapeDtypeStruct((len(wanted),), jnp.uint32))}
        try:
            restored = self._open().restore(step, args=ocp.args.StandardRestore(target))
        except Exception as error:  # as in save
            raise _Damaged(self._reason(error)) from error
        state: State = restored["state"]
        wrong = np.asarray(digests(jax.tree.leaves(state))) != np.asarray(restored["digest"])
        for (path, leaf), want, differs in zip(jax.tree.leaves_with_path(state), wanted, wrong, strict=True):
            if differs or leaf.dtype != want.dtype:  # Orbax restores a key whatever was asked for
                is_not = "what was saved" if differs else f"of type {want.dtype} but {leaf.dtype}"
                raise _Damaged(f"{jax.tree_util.keystr(path)} is not {is_not}")
        return state

    def _put_aside(self, damaged: dict[int, str], good: int) -> None:
        for step, reason in sorted(damaged.items()):
            moved = "" if self.read_only else f"; it is now {self._move(step)}"
            print(
                f"warning: checkpoint {self._path(step)} is damaged ({reason}), going on from step {good}{moved}",
                file=sys.stderr,
            )
        if damaged and not self.read_only:
            self._shut()

    def _move(self, step: int) -> Path:
        try:
            self.aside.mkdir(exist_ok=True)
            names = itertools.chain([str(step)], (f"{step}-{number}" for number in itertools.count(2)))
            free = next(path for path in map(self.aside.joinpath, names) if not path.exists())
            return self._path(step).rename(free)
        except OSError as error:
            raise UsageError(
                f"checkpoint {self._path(step)} is damaged and can't be moved to {self.aside} "
                f"({self._reason(error)}); move it yourself"
            ) from None

    def _path(self, step: int) -> Path:
        return self.folder / str(step)

    def _reason(self, error: BaseException) -> str:
        """One line of what Orbax and TensorStore say in many."""
        while error.__cause__:
            error = error.__cause__
        text = str(error)
        if code := re.search(r"os_error_code='(\d+)'", text):
            return os.strerror(int(code[1]))
        if isinstance(error, OSError) and error.strerror:
            named = error.filename and not Path(error.filename).match(LEFTOVERS)
            return f"{error.strerror}: {Path(error.filename).name}" if named else error.strerror
        if isinstance(error, AttributeError | LookupError | TypeError):
            text = f"{type(error).__name__}: {text}"
        line = " ".join(text.replace(f"{self.folder}/", "").split()) or type(error).__name__
        if len(line) <= LONGEST:
            return line
        what, spec, _ = line.partition(" [tensorstore_spec")  # it says last what others say first
        return f"…{what[1 - LONGEST :]}" if spec else f"{line[: LONGEST - 1]}…"


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    """What Orbax is to make of a leaf. Without a device it would take the one that the file names, if there is one."""
    leaf = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


@functools.cache
def _hear_failures_once() -> None:
    """What fails in Orbax is raised here. That it comes as a hundred tracebacks on stderr as well is prevented, for the
    rest of the process: they come whenever the remains are collected."""
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
