"""Films: what the program ffmpeg is asked and handed, by a program of its name that writes both down; and the real one,
where it is installed."""

import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest

from jaxgan.training.output.film import has_ffmpeg, save_mp4

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 7, 9, 3), np.uint8)
FAKE = """#!{python}
import sys, pathlib
pathlib.Path("{folder}/said").write_text("\\n".join(sys.argv[1:]))
content = sys.stdin.buffer.read({read})
pathlib.Path("{folder}/given").write_bytes(content)
pathlib.Path(sys.argv[-1]).write_bytes(b"film")
sys.stderr.write("{error}")
sys.exit({status})
"""


def fake(monkeypatch, folder, *, read=-1, error="", status=0):
    """Puts a program called ffmpeg first, and alone, on the path."""
    place = folder / "bin"
    place.mkdir()
    program = place / "ffmpeg"
    program.write_text(FAKE.format(python=sys.executable, folder=folder, read=read, error=error, status=status))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(place))


def test_frames_go_through_a_pipe_with_even_sides(tmp_path, monkeypatch):
    fake(monkeypatch, tmp_path)
    assert has_ffmpeg()
    save_mp4(tmp_path / "a.mp4", FRAMES, 40)
    assert (tmp_path / "a.mp4").read_bytes() == b"film"
    words = (tmp_path / "said").read_text().split("\n")
    given = words[: words.index("-i")]
    assert given[-8:] == ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "10x8", "-r", "1000/40"]
    made = words[words.index("-i") + 1 :]
    assert made[0] == "-" and made[-3:-1] == ["-f", "mp4"] and {"libx264", "yuv420p"} <= set(made)
    assert words[-1] != str(tmp_path / "a.mp4") and not os.path.lexists(words[-1]), "it is written whole or not at all"
    frames = np.frombuffer((tmp_path / "given").read_bytes(), np.uint8).reshape(5, 8, 10, 3)
    np.testing.assert_array_equal(frames[:, :7, :9], FRAMES)
    assert not frames[:, 7:].any() and not frames[:, :, 9:].any()


def test_grey_frames_are_given_as_colours(tmp_path, monkeypatch):
    fake(monkeypatch, tmp_path)
    save_mp4(tmp_path / "a.mp4", FRAMES[:, :6, :8, :1])
    frames = np.frombuffer((tmp_path / "given").read_bytes(), np.uint8).reshape(5, 6, 8, 3)
    np.testing.assert_array_equal(frames, FRAMES[:, :6, :8, :1].repeat(3, axis=3))
    assert "1000/60" in (tmp_path / "said").read_text()


@pytest.mark.parametrize("read", [-1, 10], ids=["after all frames", "in the middle of a frame"])
def test_a_program_that_fails_says_why_and_leaves_the_file_as_it_was(read, tmp_path, monkeypatch):
    fake(monkeypatch, tmp_path, read=read, error="\\nUnknown encoder 'libx264'\\nmore", status=3)
    (tmp_path / "a.mp4").write_bytes(b"before")
    many = np.zeros((400, 64, 64, 3), np.uint8)  # more than a pipe holds
    with pytest.raises(OSError, match=r"^ffmpeg ended with status 3: Unknown encoder 'libx264'$"):
        save_mp4(tmp_path / "a.mp4", many)
    assert (tmp_path / "a.mp4").read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "bin", "said", "given"}


def test_without_the_program_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not has_ffmpeg()
    with pytest.raises(OSError, match=r"the program ffmpeg, which writes .mp4, isn't found"):
        save_mp4(tmp_path / "a.mp4", FRAMES)
    with pytest.raises(ValueError, match="at least one frame, got none"):
        save_mp4(tmp_path / "a.mp4", [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_the_real_program_writes_a_film_that_it_reads_again(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 5).astype(np.uint8).reshape(5, 1, 1, 1), (5, 33, 31, 1))
    save_mp4(tmp_path / "a.mp4", smooth)
    command = [
        "ffmpeg",
        "-loglevel",
        "error",
        "-i",
        str(tmp_path / "a.mp4"),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, 34, 32, 3)
    assert len(frames) == 5
    assert np.abs(frames[:, :28, :26].astype(int) - smooth[:, :28, :26]).max() <= 6  # it is lossy
