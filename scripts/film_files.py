"""Files of frames that commands write, by their ending: GIF, or MP4 where ffmpeg is installed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.printable import printable
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.output.film import has_ffmpeg, save_mp4
from jaxgan.training.output.pictures import save_gif

__all__ = ["check_ffmpeg", "save_frames"]

MILLISECONDS = 60  # of a frame


def check_ffmpeg(path: Path) -> None:
    """Raises UsageError for an .mp4 where there is no ffmpeg."""
    if path.suffix.lower() == ".mp4" and not has_ffmpeg():
        raise UsageError(
            f"--out {printable(path)}: the program ffmpeg, which writes .mp4, isn't found; install it, or name a .gif"
        )


def save_frames(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Writes frames, uint8 `[H, W, C]`, as the file's ending says. OSError where that can't be."""
    (save_mp4 if path.suffix.lower() == ".mp4" else save_gif)(path, frames, MILLISECONDS)
