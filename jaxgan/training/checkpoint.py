"""Checkpoints of a run's state, with Orbax: written in the background, whole or not at all, the newest few kept."""

from pathlib import Path
from typing import TypeVar

import jax
import orbax.checkpoint as ocp

__all__ = ["Checkpoints"]

State = TypeVar("State")
KEPT = 3


class Checkpoints:
    """The checkpoints of one run directory. Close it, or what is being written is lost."""

    def __init__(self, directory: Path) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=True)
        self.manager = ocp.CheckpointManager((directory / "checkpoints").absolute(), options=options)

    def newest(self) -> int | None:
        """The newest saved step, None where there is none."""
        return self.manager.latest_step()

    def save(self, step: int, state: object) -> None:
        """Saves unless this step is saved already. Returns when the state is copied and may be donated."""
        if self.newest() != step:
            self.manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, step: int, like: State) -> State:
        """The state saved at `step`, with the tree, shapes and types of `like` (arrays or abstract ones)."""
        target = jax.tree.map(ocp.tree.to_shape_dtype_struct, like)
        return self.manager.restore(step, args=ocp.args.StandardRestore(target))

    def close(self) -> None:
        """Waits until everything is on the disk."""
        self.manager.wait_until_finished()
        self.manager.close()
