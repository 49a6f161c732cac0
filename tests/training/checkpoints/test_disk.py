"""Disks that are full, read-only or in use: with real file systems, limits and processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY_RUN
from PIL import Image

from jaxgan.files import atomic_write
from jaxgan.training import UsageError
from jaxgan.training.checkpoints.checkpoints import Checkpoints, SaveError
from jaxgan.training.output.log import Log
from jaxgan.training.output.pictures import save_png
from jaxgan.training.run.lock import locked

pytestmark = pytest.mark.usefixtures("as_users_have_it")

ROOT = Path(__file__).parents[3]
MEBIBYTE = 1 << 20


def mount(*arguments):
    """Skips the test where this process may not mount."""
    try:
        subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"may not mount: {error.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    """A directory that takes 1 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", path)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def read_only(tmp_path):
    """A directory in which nothing can be written. Root may write whatever the permissions, but not where it is mounted
    read-only."""
    path = tmp_path / "read-only"
    path.mkdir()
    if os.geteuid() != 0:
        path.chmod(0o555)
        yield path
        path.chmod(0o755)
        return
    mount("--bind", path, path)
    try:
        mount("-o", "remount,bind,ro", path)
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(directory):
    """Takes all the space there is; the file to delete for having it back."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return path
    return path


def state(step):
    return {"x": jax.random.bits(jax.random.key(step), (8000,)), "step": jnp.int32(step)}


def save_and_close(checkpoints, step):
    checkpoints.save(step, state(step))
    checkpoints.close()


def log_steps(log, steps):
    for step in steps:
        log.rows(step, {"loss": np.ones(1)})


# --- a full disk ------------------------------------------------------------------------------------------------------


def test_a_full_disk_fails_a_checkpoint_and_keeps_those_before(small_disk, capfd):
    checkpoints = Checkpoints(small_disk)
    checkpoints.save(4, state(4))
    checkpoints.save(8, state(8))
    checkpoints.close()
    filler = fill(small_disk)
    with pytest.raises(SaveError, match=r"^checkpoint .*/checkpoints/12 can't be saved: No space left on device$"):
        save_and_close(checkpoints, 12)
    checkpoints.close()
    assert capfd.readouterr().err == ""
    step, restored = Checkpoints(small_disk).restore_newest(state(0))
    assert step == 8
    np.testing.assert_array_equal(restored["x"], state(8)["x"])
    filler.unlink()
    save_and_close(checkpoints, 12)
    assert Checkpoints(small_disk, read_only=True).restore_newest(state(0))[0] == 12


def test_a_disk_that_turns_read_only_fails_a_checkpoint_and_keeps_those_before(small_disk):
    checkpoints = Checkpoints(small_disk)
    save_and_close(checkpoints, 4)
    mount("-o", "remount,ro", small_disk)
    with pytest.raises(SaveError, match=r"^checkpoint .*/checkpoints/8 can't be saved: Read-only file system"):
        save_and_close(checkpoints, 8)
    assert Checkpoints(small_disk, read_only=True).restore_newest(state(0))[0] == 4


def test_a_state_larger_than_the_disk_leaves_the_space_that_it_took(small_disk):
    checkpoints = Checkpoints(small_disk)
    checkpoints.save(4, state(4))
    checkpoints.save(8, {"x": jax.random.bits(jax.random.key(0), (MEBIBYTE // 3,))})
    with pytest.raises(SaveError, match=r"/checkpoints/8 can't be saved: No space left on device$"):
        checkpoints.close()
    assert Checkpoints(small_disk).steps() == [4]
    assert shutil.disk_usage(small_disk).free > 0.8 * MEBIBYTE


def test_a_full_disk_leaves_pictures_whole_and_nothing_beside_them(small_disk):
    sheets = np.random.default_rng(0).integers(0, 256, (2, 100, 100, 1), np.uint8)
    save_png(small_disk / "old.png", sheets[0])
    filler = fill(small_disk)
    for name in ("old.png", "new.png"):
        with pytest.raises(OSError, match="No space left"):
            save_png(small_disk / name, sheets[1])
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "old.png"]
    with Image.open(small_disk / "old.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), sheets[0, ..., 0])
    filler.unlink()
    save_png(small_disk / "new.png", sheets[1])


def test_a_full_disk_ends_the_log_at_a_whole_line_which_is_continued(small_disk):
    log = Log(small_disk, 0, 8)
    log_steps(log, [10])
    filler = fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        log_steps(log, range(20, 100_000, 10))
    whole_lines = (small_disk / "metrics.jsonl").read_text().count("\n")
    assert 0 < whole_lines < 9999
    filler.unlink()
    log.close()
    log = Log(small_disk, 10 * whole_lines, 8)
    log_steps(log, [10 * whole_lines + 10])
    log.close()
    lines = (small_disk / "metrics.jsonl").read_text().splitlines()
    assert lines == [f'{{"step": {10 * n}, "images": {80 * n}, "loss": 1.0}}' for n in range(1, whole_lines + 2)]


def test_atomic_write_removes_its_temporary_file_whatever_ends_the_block(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("no")):
        with pytest.raises(type(error)), atomic_write(path) as temporary:  # noqa: PT012 - both belong to the block
            temporary.write_text("half")
            raise error
    with pytest.raises(ValueError, match="before it was there"), atomic_write(path):
        raise ValueError("before it was there")
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"), atomic_write(tmp_path / "folder") as temporary:
        temporary.write_text("can't become a folder")
    assert len(list(tmp_path.iterdir())) == 2


PROGRAM = """
import resource, sys
from pathlib import Path
import jax
from jaxgan.training.checkpoints.checkpoints import Checkpoints, SaveError

directory, mishap = Path(sys.argv[1]), sys.argv[2]
state = {str(i): jax.random.bits(jax.random.key(i), (2000,)) for i in range(50)}
checkpoints = Checkpoints(directory)
checkpoints.save(4, state)
checkpoints.close()
if mishap == "no space":
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
else:
    (directory / "checkpoints").rename(directory / "away")
    (directory / "checkpoints").write_text("")
try:
    checkpoints.save(8, state)
    checkpoints.close()
except SaveError as error:
    sys.exit(str(error))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "mishap, reason", [("no space", "File too large"), ("no folder", "Not a directory: checkpoints")]
)
def test_a_save_that_fails_says_one_line_and_the_process_ends(mishap, reason, tmp_path):
    """Orbax by itself says a hundred tracebacks, and keeps a process that can't make a folder for five minutes."""
    arguments = [sys.executable, "-c", PROGRAM, tmp_path, mishap]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.stderr == f"checkpoint {tmp_path}/checkpoints/8 can't be saved: {reason}\n"
    assert done.returncode == 1


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_with_a_line_and_goes_on_where_there_is_space(small_disk):
    run = [sys.executable, "-m", "experiments.dcgan_mnist", *TINY_RUN, "--sample-every", "40"]
    run += ["--checkpoint-every", "20", "--workdir", small_disk / "run", "--steps"]
    done = subprocess.run([*run, "120"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"can't write in {small_disk}/run: ") and "No space left on device" in last
    mount("-o", "remount,size=50m", small_disk)
    done = subprocess.run([*run, "140"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "\ncontinuing at step " in done.stdout and "Traceback" not in done.stderr
    assert not list(small_disk.rglob("*tmp*"))


# --- a read-only directory, and one that is in use --------------------------------------------------------------------


def test_a_read_only_directory_is_refused_and_can_be_read(read_only):
    with (
        pytest.raises(UsageError, match=r"^can't write in run directory .*: .+; choose another --workdir$"),
        locked(read_only),
    ):
        pass
    with pytest.raises(UsageError, match=r"^can't write in run directory .*; choose another --workdir$"):
        Checkpoints(read_only)
    assert Checkpoints(read_only, read_only=True).restore_newest(state(0)) is None


def test_one_at_a_time_in_a_process_too(tmp_path):
    who = rf"process {os.getpid()} on {socket.gethostname()}"
    for _ in range(2):  # what the first has left is no hindrance
        with locked(tmp_path):
            assert (tmp_path / "lock").read_text() == who + "\n"
            with (
                pytest.raises(
                    UsageError,
                    match=rf"^{tmp_path} is being trained by {who}; wait for it or choose another --workdir$",
                ),
                locked(tmp_path),
            ):
                pass
            with pytest.raises(UsageError, match="is being trained by"), locked(tmp_path):  # still
                pass
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


def test_a_directory_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "missing"):
        with (
            pytest.raises(UsageError, match=rf"^can't write in run directory {path}: .+; choose another"),
            locked(path),
        ):
            pass


def test_where_there_are_no_locks_it_warns_and_goes_on(tmp_path, monkeypatch, capsys):
    def unsupported(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")
    said = capsys.readouterr().err
    assert (
        said
        == f"warning: {tmp_path}/lock can't be locked (Operation not supported); train here with one process only\n"
    )


@pytest.mark.slow
def test_a_process_that_is_killed_gives_its_directory_free(tmp_path):
    program = "import sys, time; from pathlib import Path; from jaxgan.training.run.lock import locked\n"
    program += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    other = subprocess.Popen([sys.executable, "-c", program, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        for _ in range(2):
            with pytest.raises(UsageError, match=rf"is being trained by process {other.pid} on "), locked(tmp_path):
                pass
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    with locked(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / "lock").read_text()
