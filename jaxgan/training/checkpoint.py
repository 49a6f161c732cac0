"""Checkpoints of a run's state, with Orbax: written in the background, whole or not at all, the newest few kept."""

import logging
from pathlib import Path
from typing import TypeVar

import jax
import orbax.checkpoint as ocp

from jaxgan.training.options import UsageError

__all__ = ["Checkpoints"]

State = TypeVar("State")
KEPT = 3


class Checkpoints:
    """The checkpoints of one run directory. Close it, or what is being written is lost."""

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        logging.getLogger("absl").setLevel(logging.ERROR)  # it warns of what read-only implies
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=True, read_only=read_only)
        self.manager = ocp.CheckpointManager((directory / "checkpoints").absolute(), options=options)

    def newest(self) -> int | None:
        """The newest saved step, None where there is none."""
        return self.manager.latest_step()

    def save(self, step: int, state: object) -> None:
        """Saves unless this step is saved already. Returns when the state is copied and may be donated."""
        if self.newest() != step:
            self.manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, step: int, like: State) -> State:
        """The state saved at `step`, with the tree, shapes and types of `like` (arrays or abstract ones).

        UsageError where it is damaged or another GAN's."""
        target = jax.tree.map(ocp.tree.to_shape_dtype_struct, like)
        try:
            restored: State = self.manager.restore(step, args=ocp.args.StandardRestore(target))
        except Exception as error:  # Orbax raises many kinds, bare Exception among them
            path = Path(self.manager.directory) / str(step)
            reason = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"checkpoint {path} can't be restored ({reason}); move it away to go on from the one before"
            ) from error
        return restored

    def close(self) -> None:
        """Waits until everything is on the disk."""
        self.manager.wait_until_finished()
        self.manager.close()
