"""Where a run's numbers come from: each session's command, code, time and machine in the record."""

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys

import jax
import pytest
from point_runs import run_points

from jaxgan.training.run.provenance import commit_of

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def recorded(directory):
    return json.loads((directory / "options.json").read_text())


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "own_gan.py").write_text("x = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "-a", "v1", "-m", "a tag is no commit")
    return folder


@pytest.mark.usefixtures("as_users_have_it")
def test_a_record_says_what_each_session_was(tmp_path, monkeypatch):
    typed = ["python", "-m", "my gans", "--steps", "3"]
    monkeypatch.setattr(sys, "orig_argv", typed)
    run_points(tmp_path, steps=3)
    (first,) = recorded(tmp_path / "run")["sessions"]
    assert first["step"] == 0 and "began" not in first and shlex.split(first["command"]) == typed
    assert datetime.datetime.fromisoformat(first["time"]).utcoffset() == datetime.timedelta()
    assert first["versions"]["python"] == platform.python_version() and first["versions"]["jax"] == jax.__version__
    assert first["versions"]["orbax-checkpoint"] == importlib.metadata.version("orbax-checkpoint")
    machine = {"device": jax.devices()[0].device_kind, "devices": 1, "processes": 1}
    assert first["machine"] == {"platform": platform.platform(), **machine}

    run_points(tmp_path, steps=6)
    sessions = recorded(tmp_path / "run")["sessions"]
    assert sessions[0] == first and [each["step"] for each in sessions] == [0, 3]
    run_points(tmp_path, steps=6)  # which has nothing to do
    assert recorded(tmp_path / "run")["sessions"] == sessions
    run_points(tmp_path, steps=8, from_run=str(tmp_path / "run"), workdir=str(tmp_path / "fork"))
    (forked,) = recorded(tmp_path / "fork")["sessions"]
    assert forked["step"] == 6 and forked["began"] == f"step 6 of {tmp_path / 'run'}"


@pytest.mark.usefixtures("as_users_have_it")
def test_a_run_from_before_goes_on(tmp_path):
    run_points(tmp_path, steps=3)
    record = recorded(tmp_path / "run")
    del record["sessions"]
    (tmp_path / "run" / "options.json").write_text(json.dumps(record))
    run_points(tmp_path, steps=6)
    assert [each["step"] for each in recorded(tmp_path / "run")["sessions"]] == [3]


@needs_git
def test_code_is_named_by_its_commit(checkout, tmp_path, monkeypatch):
    file, ask = checkout / "own_gan.py", commit_of.__wrapped__
    commit = git(checkout, "rev-parse", "HEAD")
    assert len(commit) == 40 and ask(str(file)) == {"commit": commit, "changed": False}
    monkeypatch.setenv("GIT_DIR", str(tmp_path))  # as in a hook of another repository
    assert ask(str(file)) == {"commit": commit, "changed": False}
    monkeypatch.delenv("GIT_DIR")
    (tmp_path / "link.py").symlink_to(file)
    assert ask(str(tmp_path / "link.py")) == {"commit": commit, "changed": False}
    file.write_text("x = 2\n")
    assert ask(str(file)) == {"commit": commit, "changed": True}
    git(checkout, "commit", "-q", "-a", "-m", "two")
    assert ask(str(file))["commit"] == git(checkout, "rev-parse", "HEAD") != commit


@needs_git
def test_what_lies_in_a_repository_without_being_its_code_has_no_commit(checkout, tmp_path, monkeypatch):
    installed = checkout / "venv" / "site-packages" / "own_gan.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("x = 1\n")
    (tmp_path / "alone.py").touch()
    for file in (installed, tmp_path / "alone.py", tmp_path / "nowhere" / "gone.py"):
        assert commit_of.__wrapped__(str(file)) is None
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "a.py").touch()
    git(fresh, "init", "-q")
    git(fresh, "add", "-A")
    assert commit_of.__wrapped__(str(fresh / "a.py")) is None, "before the first commit"
    monkeypatch.setenv("PATH", os.devnull)
    assert commit_of.__wrapped__(str(checkout / "own_gan.py")) is None, "without git"


@needs_git
@pytest.mark.usefixtures("as_users_have_it")
def test_an_experiment_of_ones_own_has_a_commit_of_its_own(checkout, tmp_path, monkeypatch):
    (checkout / "own_ring.py").write_text(
        "from experiments import gan_ring\n\ndef build(*given):\n    return gan_ring.build(*given)\n"
    )
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "two")
    monkeypatch.syspath_prepend(str(checkout))
    import own_ring

    run_points(tmp_path, build=own_ring.build, steps=1)
    (session,) = recorded(tmp_path / "run")["sessions"]
    assert session["commits"]["own_ring"] == {"commit": git(checkout, "rev-parse", "HEAD"), "changed": False}
    del sys.modules["own_ring"]
