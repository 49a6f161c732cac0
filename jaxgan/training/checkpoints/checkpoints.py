"""Checkpoints of a run's state, with Orbax: written in the background, whole or not at all, the newest few kept.

Orbax restores what a disk has changed without a word, so every array's digest is saved with it and compared. It syncs
the arrays to the disk, but not the names and descriptions beside them: that is done here, when a save has ended.

Where several processes train, they share the directory, and all call each method of `Checkpoints` at the same moment of
their run. The first looks at the folder, tidies it and warns, for all; a checkpoint that one can't read is damaged for
all."""

import contextlib
import functools
import itertools
import re
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxgan.files import sync_file, sync_tree
from jaxgan.terminal import say
from jaxgan.training.checkpoints.digest import digests
from jaxgan.training.checkpoints.names import taken_literally
from jaxgan.training.checkpoints.orbax_errors import LEFTOVERS, reason_of, silence_tracebacks
from jaxgan.training.checkpoints.read_back import read_back
from jaxgan.training.checkpoints.rescue import joined
from jaxgan.training.checkpoints.version_0_1 import of_version_0_1
from jaxgan.training.distributed.placement import abstract, placed
from jaxgan.training.distributed.processes import first, from_first, gather, several
from jaxgan.training.errors.usage import UsageError

__all__ = ["BEST", "Checkpoints", "SaveError"]

State = TypeVar("State")
MAX_TO_KEEP = 3
BEST = "best"  # the folder of the checkpoint that scored best
STEP = re.compile("0|[1-9][0-9]*")  # the name of a checkpoint's folder; Orbax takes 020 for step 20 as well
SIGHT = 10  # seconds after which a process must see what another has made on the disk that they share
PATIENCE = 120  # seconds for which a process that has written its part waits for one that can't write


class SaveError(OSError):
    """A checkpoint that could not be saved: one line that names it and the reason. Those saved before are whole."""


class _NotRestorable(Exception):
    """A checkpoint that was saved but can't be restored; the message says why in a line."""


class _Damaged(Exception):
    """A checkpoint that is not what was saved, or not for this state; the message says why in a line."""


def _fields(metadata: Any) -> set[str]:
    """Returns the names of the fields of the state in a file, or of its members."""
    state = metadata["state"]
    names = state.get("members", state)
    return set(names) if isinstance(names, dict) else set()


class Checkpoints:
    """The checkpoints of one run directory, the newest `max_to_keep` of them. Close it, or what is being written is
    lost.

    Unless `read_only`, the caller holds the run's lock: what killed saves left behind is removed. The first save is
    read back where `read_back` says so; `logs` are files that are synced to the disk with every checkpoint, where they
    are there. UsageError where the directory can't be read or written."""

    def __init__(
        self,
        directory: Path,
        name: str = "checkpoints",
        *,
        max_to_keep: int | None = MAX_TO_KEEP,
        read_only: bool = False,
        read_back: bool = False,
        logs: Sequence[Path] = (),
    ) -> None:
        silence_tracebacks()
        self.folder, self.max_to_keep = (directory / name).absolute(), max_to_keep
        self.aside = self.folder.with_name("damaged")
        self.read_only = read_only
        self.logs = logs
        self.saving: int | None = None  # the step that is written in the background
        self.settled: Future[None] | None = None  # its end
        self.background = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self.to_read_back = read_back
        self.reading_back = False
        self.manager: Any = None
        try:
            from_first(self._saved_steps)
            self._open()
        except OSError as error:
            use = "read" if read_only else "write in"
            raise UsageError(
                f"can't {use} run directory {directory}: {self._reason(error)}; choose another --workdir"
            ) from None

    def steps(self) -> list[int]:
        """Returns the steps that are saved or being saved, ascending. Whether they are whole, only restoring them
        shows."""
        saved = from_first(self._saved_steps)
        return sorted(saved if self.saving is None else {*saved, self.saving})

    def newest(self) -> int | None:
        """Returns the newest of them, None where there is none."""
        return max(self.steps(), default=None)

    def save(self, step: int, state: object) -> None:
        """Saves unless this step is saved already. Returns when the state is copied and may be donated.

        SaveError where this save fails at once or the one before has failed since."""
        self._wait()
        try:
            if step in self.steps():
                return
            state = jax.tree.map(placed, state)
            saved = {"state": state, "digest": digests(jax.tree.leaves(state))}
            # Orbax refuses to go back, unless it is forced to.
            if not self._open().save(step, args=ocp.args.StandardSave(saved), force=self.max_to_keep is None):
                raise ValueError(f"step {self.newest()} is saved already")
        except Exception as error:  # Orbax raises many kinds, bare Exception among them
            raise self._save_error(step, error) from error
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved)
        arguments = self.manager, step, like if self.to_read_back else None
        self.settled = self.background.submit(self._settle, *arguments)
        self.saving, self.reading_back, self.to_read_back = step, self.to_read_back, False

    def check(self) -> None:
        """Raises SaveError as soon as the checkpoint that is read back is known to be none. To be called now and then;
        waits for nothing, and asks the other processes only while that one is read."""
        if self.reading_back and gather(first() and (self.settled is None or self.settled.done()))[0].any():
            self._wait()

    def keep_only(self, step: int) -> None:
        """Waits until `step` is on the disk, then removes the others. SaveError where it could not be saved."""
        self._wait()
        for other in self.steps():
            if other != step:
                self._open().delete(other)

    def restore(self, step: int, like: State) -> State:
        """Restores the state saved at `step`, with the tree, shapes and types of `like` (arrays or abstract ones), and
        on its devices, or the first device where it names none. UsageError where it is missing, damaged or another
        GAN's."""
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
        """Restores the newest step that is whole: returns it, and its state as from `restore`; None where nothing was
        saved.

        Damaged newer ones are named on stderr and, unless `read_only`, moved to `damaged/` in the run directory, since
        Orbax saves no step that is there. UsageError, and nothing is moved, where none is whole."""
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            try:
                state = self._read(step, like)
            except _Damaged as error:
                damaged[step] = str(error)
                continue
            self._move_damaged(damaged, step)
            return step, state
        if not damaged:
            return None
        reasons = "; ".join(f"step {step}: {reason}" for step, reason in sorted(damaged.items()))
        raise UsageError(
            f"none of the checkpoints in {self.folder} can be restored ({reasons}); "
            "bring back a copy of them, or choose another --workdir to start again"
        )

    def close(self) -> None:
        """Waits until everything is on the disk. SaveError where that has failed. Asks no other process, lest one that
        ends by an error of its own wait for those that still compute."""
        try:
            self._wait(alone=True)
        finally:
            self._close_manager()

    def _open(self) -> Any:
        """Orbax' manager, a new one where there is none: it remembers steps, and errors that are told already."""
        if self.manager is None:
            if not self.read_only:
                from_first(self._prepare)
                self._check_shared_disk(self.folder)
            # Named, they meet in jax's coordination service rather than in a collective, which the training may be in.
            processes = ocp.options.MultiprocessingOptions(
                active_processes=set(range(jax.process_count())) if several() else None,
                barrier_sync_key_prefix=self.folder.name,  # or two folders that are written at once share a barrier
            )
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self.max_to_keep,
                read_only=self.read_only,
                create=False,  # it is there
                lightweight_initialize=True,  # reads no checkpoint, so that a damaged one does no harm
                multiprocessing_options=processes,
                # Otherwise, where a folder can't be made, threads wait for it and keep the process for five minutes.
                async_options=ocp.options.AsyncOptions(
                    create_directories_asynchronously=False, **({"timeout_secs": PATIENCE} if several() else {})
                ),
            )
            # Without the handler it decides by the first folder it sees, which may be damaged, what all of them are.
            handler = ocp.StandardCheckpointHandler(multiprocessing_options=processes)
            self.manager = ocp.CheckpointManager(self._literal(), options=options, item_handlers=handler)
        return self.manager

    def _close_manager(self) -> None:
        manager, self.manager = self.manager, None
        if manager is not None:
            with contextlib.suppress(Exception):  # whatever went wrong is told by _wait
                manager.close()

    def _wait(self, *, alone: bool = False) -> None:
        """Waits for the save in the background. SaveError where it failed, here or, unless `alone`, elsewhere."""
        step, settled = self.saving, self.settled
        self.saving, self.settled, self.reading_back = None, None, False
        if step is None or settled is None:
            return
        failed = settled.exception()
        if not alone and gather(failed is not None).any():
            failed = failed or OSError("another process has failed to write its part")
        if failed:
            raise self._save_error(step, failed) from failed

    def _settle(self, manager: Any, step: int, like: Any) -> None:
        """Waits for Orbax' save of a step, in a thread of our own, has the first process sync it to the disk and, where
        `like` says what was saved, read it back."""
        manager.wait_until_finished()
        if not first():
            return
        if not self._path(step).is_dir():
            raise FileNotFoundError("it was removed while it was written")
        for log in filter(Path.exists, self.logs):
            sync_file(log)
        sync_tree(self._path(step))
        if like is not None:
            with joined(self._path(step) / "default", self._literal() / str(step) / "default") as file:
                try:
                    reason = read_back(file, like)
                except Exception as error:
                    raise _NotRestorable(self._reason(error)) from error
            if reason:
                raise _NotRestorable(reason)

    def _save_error(self, step: int, error: BaseException) -> SaveError:
        """Returns the error to raise, and clears away what failed, so that the next save starts anew with its space."""
        self._close_manager()
        with contextlib.suppress(OSError):
            if first():
                self._remove_leftovers()
        if isinstance(error, _NotRestorable):
            return SaveError(f"checkpoint {self._path(step)} was saved but can't be restored: {error}")
        return SaveError(f"checkpoint {self._path(step)} can't be saved: {self._reason(error)}")

    def _entries(self) -> list[Path]:
        """Lists the folder. OSError where it can't be read, which is not the same as an empty one."""
        return list(self.folder.iterdir()) if self.folder.exists() else []

    def _saved_steps(self) -> list[int]:
        return [int(path.name) for path in self._entries() if STEP.fullmatch(path.name) and path.is_dir()]

    def _prepare(self) -> None:
        self._remove_leftovers()
        for path in self._entries():
            if path.name.isdecimal() and not STEP.fullmatch(path.name):
                raise UsageError(
                    f"{path} is named like the checkpoint of step {int(path.name)}, whose folder is "
                    f"{self._path(int(path.name))}; rename it, or move it away"
                )
        self.folder.mkdir(parents=True, exist_ok=True)

    def _check_shared_disk(self, path: Path) -> None:
        """Raises UsageError where a process doesn't find what the first has: its disk is another one."""
        until = time.monotonic() + SIGHT
        while several() and not path.is_dir() and time.monotonic() < until:
            time.sleep(0.1)
        if several() and not (seen := gather(path.is_dir())[:, 0]).all():
            raise UsageError(
                f"process {seen.argmin()} of {len(seen)} doesn't find {path}, which the first has; choose a --workdir "
                "on a disk that all processes share"
            )

    def _remove_leftovers(self) -> None:
        for path in self._entries():
            if path.match(LEFTOVERS):
                shutil.rmtree(path, ignore_errors=True)  # a save that failed may still write to it

    def _read(self, step: int, like: State) -> State:
        """Reads the state saved at `step`. _Damaged where it can't be restored or its digests differ, SaveError where
        a save that was going on failed."""
        self._wait()
        self._check_shared_disk(self._path(step))
        reason, restored, wanted, today = "", {}, [], lambda state: state
        try:
            # Not by the manager, where those who can read would wait for those who can't.
            reader, name = ocp.StandardCheckpointHandler(), Path(str(step), "default")
            with joined(self.folder / name, self._literal() / name) as file:
                shapes, today = of_version_0_1(jax.tree.map(abstract, like), _fields(reader.metadata(file)))
                wanted = jax.tree.leaves(shapes)
                target = {"state": shapes, "digest": abstract(jax.ShapeDtypeStruct((len(wanted),), jnp.uint32))}
                restored = reader.restore(file, args=ocp.args.StandardRestore(target))
        except Exception as error:  # noqa: BLE001 - as in save
            reason = self._reason(error)
        self._raise_if_damaged(reason)
        saved = restored["state"]
        wrong = np.asarray(digests(jax.tree.leaves(saved))) != np.asarray(restored["digest"])
        for (path, leaf), want, differs in zip(jax.tree.leaves_with_path(saved), wanted, wrong, strict=True):
            if differs or leaf.dtype != want.dtype:  # Orbax restores a key whatever was asked for
                is_not = "what was saved" if differs else f"of type {want.dtype} but {leaf.dtype}"
                reason = reason or f"{jax.tree_util.keystr(path)} is not {is_not}"
        state: State = today(saved)
        # What says which examples and random numbers come next is the state's own count.
        count = getattr(state, "step", None)
        if count is not None and int(count) != step:
            reason = reason or f"its state is of step {int(count)}"
        self._raise_if_damaged(reason)
        return state

    def _raise_if_damaged(self, reason: str) -> None:
        """Raises _Damaged on all processes where one has a reason."""
        if gather(bool(reason)).any():
            raise _Damaged(reason or "another process can't restore it")

    def _move_damaged(self, damaged: dict[int, str], good: int) -> None:
        for step, reason in sorted(damaged.items()):
            moved = "" if self.read_only else f"; it is now {from_first(functools.partial(self._move, step))}"
            if first():
                damaged_one = f"checkpoint {self._path(step)} is damaged ({reason})"
                say(f"warning: {damaged_one}, going on from step {good}{moved}", error=True)
        if damaged and not self.read_only:
            self._close_manager()

    def _move(self, step: int) -> str:
        try:
            self.aside.mkdir(exist_ok=True)
            names = itertools.chain([str(step)], (f"{step}-{number}" for number in itertools.count(2)))
            free = next(path for path in map(self.aside.joinpath, names) if not path.exists())
            return str(self._path(step).rename(free))
        except OSError as error:
            raise UsageError(
                f"checkpoint {self._path(step)} is damaged and can't be moved to {self.aside} "
                f"({self._reason(error)}); move it yourself"
            ) from None

    def _path(self, step: int) -> Path:
        return self.folder / str(step)

    def _literal(self) -> Path:
        """Returns the folder's path for Orbax."""
        return taken_literally(self.folder.parent) / self.folder.name

    def _reason(self, error: BaseException) -> str:
        folder = self.folder
        with contextlib.suppress(OSError, UsageError):
            folder = self._literal()
        return reason_of(error, folder, f"another process has not written its part in {PATIENCE} s")
