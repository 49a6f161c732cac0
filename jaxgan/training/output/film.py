"""Films, MP4, written by the program ffmpeg where that is installed."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from jaxgan.files import atomic_write

__all__ = ["has_ffmpeg", "save_mp4"]


def has_ffmpeg() -> bool:
    """Tells whether a program called ffmpeg is found."""
    return shutil.which("ffmpeg") is not None


def save_mp4(path: Path, frames: Sequence[np.ndarray], milliseconds: int = 60) -> None:
    """Writes uint8 frames `[H, W, C]` of one size, C 1 or 3, as an MP4 file (H.264), atomically, each shown for so many
    milliseconds. ffmpeg is handed them through a pipe. A side of an odd number of pixels gets a black line, since H.264
    halves the resolution of colours. ValueError without frames, OSError, which says why, where ffmpeg isn't found or
    fails."""
    if not len(frames):
        raise ValueError("a film needs at least one frame, got none")
    height, width = (side + side % 2 for side in frames[0].shape[:2])
    program = shutil.which("ffmpeg")
    if program is None:
        raise OSError("the program ffmpeg, which writes .mp4, isn't found")
    with atomic_write(path) as temporary, tempfile.TemporaryFile() as said:
        shape = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"1000/{milliseconds}"]
        coded = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "16", "-movflags", "+faststart", "-f", "mp4"]
        command = [program, "-hide_banner", "-loglevel", "error", "-y", *shape, "-i", "-", *coded, str(temporary)]
        running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said)  # noqa: S603 - no shell
        try:
            status = _fed(running, (_padded(frame, height, width).tobytes() for frame in frames))
        except BaseException:
            running.kill()
            running.wait()
            raise
        if status:
            said.seek(0)
            lines = said.read().decode(errors="replace").split("\n")
            why = next((line.strip() for line in lines if line.strip()), "it says nothing")
            raise OSError(f"ffmpeg ended with status {status}: {why}")


def _fed(running: subprocess.Popen[bytes], parts: Iterable[bytes]) -> int:
    """Writes to a program's input, waits for its end and returns its status. One that ends before has its reasons,
    which it says elsewhere."""
    if (pipe := running.stdin) is not None:
        with contextlib.suppress(BrokenPipeError):
            for part in parts:
                pipe.write(part)
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
    return running.wait()


def _padded(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns a frame of three channels, with black below and to the right up to these sides."""
    coloured = frame if frame.shape[2] == 3 else frame[..., :1].repeat(3, axis=2)
    return np.pad(coloured, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)))
