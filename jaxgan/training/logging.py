"""What a run leaves to read: metrics as JSON lines and TensorBoard events, and one progress bar."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxgan.training.files import whole

__all__ = ["Log", "progress_bar", "write_json"]

LOG_EVERY = 10  # steps between two rows; the rows that are logged must not depend on where chunks end


def write_json(path: Path, value: Any) -> None:
    """`value` as a JSON file, which is there whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def progress_bar(done: int, total: int) -> tqdm:
    """The bar of a run, on stderr; a run whose stderr is a file gets a line now and then instead of a flood."""
    return tqdm(
        total=total,
        initial=done,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 30.0,
        bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}",
    )


class Log:
    """`metrics.jsonl` and `tensorboard/` in a run directory, continued after step `done` without gaps or doubles."""

    def __init__(self, directory: Path, done: int, images_per_step: int) -> None:
        from tensorboardX import SummaryWriter

        self.images_per_step = images_per_step
        self.path = directory / "metrics.jsonl"
        self._forget_after(done)
        self.file = self.path.open("a")
        self.events = SummaryWriter(logdir=str(directory / "tensorboard"), purge_step=done + 1)

    def _forget_after(self, done: int) -> None:
        """Drops rows of steps that a killed run made after its last checkpoint, and a line it didn't finish."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row["step"] <= done:
                kept.append(line)
        with whole(self.path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept))

    def rows(self, first_step: int, metrics: dict[str, np.ndarray]) -> None:
        """Metrics `[count]` by name of the steps from `first_step` on; every `LOG_EVERY`th step is kept."""
        count = len(next(iter(metrics.values())))
        for i in range(-first_step % LOG_EVERY, count, LOG_EVERY):
            step = first_step + i
            row = {name: float(values[i]) for name, values in metrics.items()}
            self.file.write(json.dumps({"step": step, "images": step * self.images_per_step, **row}) + "\n")
            for name, value in row.items():
                self.events.add_scalar(name, value, step)
        self.file.flush()

    def image(self, step: int, sheet: np.ndarray) -> None:
        """A sample grid, uint8 `[H, W, C]`."""
        self.events.add_image("samples", sheet if sheet.shape[-1] == 3 else sheet[..., :1], step, dataformats="HWC")

    def close(self) -> None:
        self.file.close()
        self.events.close()
