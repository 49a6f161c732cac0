"""Shared memory is freed when the processes that used it have ended, however they ended, and never before."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgan.data import shared_memory
from jaxgan.data.shared_memory import new_owner, remove_of_dead, remove_of_owner, share

pytest.importorskip("grain")
FOLDER = Path("/dev/shm")  # noqa: S108
pytestmark = pytest.mark.skipif(new_owner() is None, reason="shared memory can't be listed here")
ROOT = Path(__file__).parents[2]

LEAVES = """
import sys, time
from multiprocessing import resource_tracker
import numpy as np
from jaxgan.data.shared_memory import new_owner, share
memory = share(new_owner(), np.arange(5)).shm
resource_tracker.unregister(f"/{memory.name}", "shared_memory")  # as if Python's tracker had been killed too
print(memory.name, flush=True)
sys.stdin.read()
"""


def names():
    return {path.name for path in FOLDER.glob("jaxgan-*")}


def test_an_array_is_copied_and_freed_with_its_owner():
    one, other = new_owner(), new_owner()
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    first, second = share(one, array), share(other, array)
    np.testing.assert_array_equal(first, array)
    assert first.dtype == np.int16 and {first.shm.name, second.shm.name} <= names()
    assert (FOLDER / first.shm.name).stat().st_mode & 0o777 == 0o600
    remove_of_owner(one)
    assert first.shm.name not in names() and second.shm.name in names()
    remove_of_owner(None)
    remove_of_dead()
    assert second.shm.name in names(), "this process lives"
    remove_of_owner(other)
    assert second.shm.name not in names()


def test_without_names_to_list_grain_does_as_it_does(monkeypatch):
    monkeypatch.setattr(shared_memory, "PROC", Path("/nowhere"))
    assert new_owner() is None
    array = np.arange(3)
    assert share(None, array) is array and share("jaxgan-1-2-3-00000000", array[:0]).size == 0
    remove_of_owner(None)
    remove_of_dead()


def test_what_a_dead_process_left_is_freed_and_nothing_else():
    start = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([sys.executable, "-c", LEAVES], **start) as process:
        left = process.stdout.readline().strip()
        remove_of_dead()
        assert left in names(), "it lives"
        process.kill()
    assert left in names()
    _, namespace, pid, started, *rest = left.split("-")
    assert int(pid) == process.pid
    others = [
        "-".join(["jaxgan", str(int(namespace) + 1), pid, started, *rest]),  # of another container
        f"{left}x",
        f"psm_{rest[0]}",
    ]
    for name in others:
        (FOLDER / name).touch(0o600)
    try:
        remove_of_dead()
        assert left not in names()
        assert all((FOLDER / name).exists() for name in others)
    finally:
        for name in others:
            (FOLDER / name).unlink()


def test_a_number_that_another_process_has_by_now_is_not_its():
    """The time of its start tells them apart."""
    owner = new_owner()
    jaxgan, namespace, pid, started, token = owner.split("-")
    path = FOLDER / "-".join([jaxgan, namespace, pid, str(int(started) - 1), token, "0" * 16])
    path.touch(0o600)
    remove_of_dead()
    assert not path.exists()
