"""A run directory is held by one process, whatever becomes of its files and of its name."""

import errno
import fcntl
import os
import stat

import pytest

from jaxgan.training import Stopped, UsageError
from jaxgan.training.run.lock import locked

ME = rf"process {os.getpid()} on "


def refused(directory, holder=ME):
    with pytest.raises(UsageError, match=rf"is being trained by {holder}.*; wait for it"), locked(directory):
        pass


def test_it_is_held_once_and_free_afterwards(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            refused(tmp_path)


@pytest.mark.parametrize("replace", [lambda path: None, lambda path: path.write_text("")], ids=["gone", "new"])
def test_who_removes_the_lock_file_gets_no_second_hold(replace, tmp_path):
    with locked(tmp_path) as still_there:
        (tmp_path / "lock").unlink()
        replace(tmp_path / "lock")
        refused(tmp_path, "another process")
        still_there()


def test_a_directory_that_was_moved_is_held_there_and_its_holder_notices(tmp_path):
    run, away = tmp_path / "run", tmp_path / "away"
    run.mkdir()
    with locked(run) as still_there:
        run.rename(away)
        refused(away)
        with pytest.raises(Stopped, match=r"run was moved, removed or replaced while this run trained") as stopped:
            still_there()
        assert stopped.value.status == 1
        run.mkdir()
        with pytest.raises(Stopped), locked(run):  # another one
            still_there()
        run.joinpath("lock").unlink()
        run.rmdir()
        away.rename(run)
        still_there()


def test_who_holds_the_file_alone_as_0_1_did_is_respected(tmp_path):
    with (tmp_path / "lock").open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"process 7 on elsewhere\n")
        refused(tmp_path, "process 7 on elsewhere")


@pytest.fixture
def no_directory_locks(monkeypatch):
    """As NFS, which locks only what is open for writing."""
    flock = fcntl.flock

    def like_nfs(descriptor, operation):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", like_nfs)


@pytest.mark.usefixtures("no_directory_locks")
def test_where_no_directory_can_be_locked_the_file_is_and_its_holder_notices_a_removal(tmp_path, capsys):
    with locked(tmp_path) as still_there:
        still_there()
        refused(tmp_path)
        (tmp_path / "lock").unlink()
        with pytest.raises(Stopped, match="/lock was moved, removed or replaced"):
            still_there()
    assert capsys.readouterr().err == ""


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "lock").symlink_to("victim")
    with pytest.raises(UsageError, match="it is a link, which is not followed"), locked(tmp_path):
        pass
    assert (tmp_path / "victim").read_text() == "precious"
