"""`--log`: what is sent to a tracker, once each, and that its failures end no training. The tracker is a module of the
interface that wandb and trackio have; trackio itself is tried where it is installed."""

import contextlib
import json
import math
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from point_runs import run_points

from jaxgan.training import UsageError
from jaxgan.training.output.log import Log
from jaxgan.training.run.tracker import Tracker

pytestmark = pytest.mark.usefixtures("as_users_have_it")


@pytest.fixture
def sent(monkeypatch):
    """What a tracker was given: calls of init, (step, values) of log, and how often it was finished."""
    given = types.SimpleNamespace(runs=[], logged=[], finished=0)

    def finish():
        given.finished += 1

    tracker = types.ModuleType("trackio")
    tracker.init = lambda **how: given.runs.append(how)
    tracker.log = lambda values, step: given.logged.append((step, values))
    tracker.finish, tracker.Image = finish, lambda array: array
    given.module = tracker
    monkeypatch.setitem(sys.modules, "trackio", tracker)
    return given


def numbers(given):
    return {step: values for step, values in given.logged if "samples" not in values}


def rows(directory):
    lines = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return {row.pop("step"): row for row in lines if row.pop("images")}


def test_what_is_logged_is_sent_once_however_often_a_run_goes_on(sent, tmp_path):
    run = tmp_path / "my run"
    run_points(tmp_path, steps=23, sample_every=10, workdir=str(run), log="trackio")
    (how,) = sent.runs
    assert how["project"] == "jaxgan" and how["group"] == "gan_ring" and how["config"]["learning_rate"] > 0
    assert how["name"].startswith("my-run-") and how["resume"] == "allow" and sent.finished == 1
    assert numbers(sent) == rows(run) and set(rows(run)) == {10, 20}
    pictures = [(step, values["samples"]) for step, values in sent.logged if "samples" in values]
    assert [step for step, _ in pictures] == [0, 10, 20, 23]
    assert all(picture.dtype == np.uint8 and picture.shape[-1] == 3 for _, picture in pictures)

    for step in (20, 23):  # as if it had been killed before these were saved
        shutil.rmtree(run / "checkpoints" / str(step))
    sent.logged.clear()
    run_points(tmp_path, steps=33, sample_every=10, workdir=str(run), log="trackio")
    assert sent.runs[1]["name"] == how["name"] and sorted({step for step, _ in sent.logged}) == [30, 33]
    assert set(rows(run)) == {10, 20, 30}

    shutil.rmtree(run)
    run_points(tmp_path, steps=1, workdir=str(run), log="trackio")
    assert sent.runs[2]["name"].startswith("my-run-")


def test_each_member_of_several_is_sent(sent, tmp_path):
    tracker = Tracker("trackio", "run", {"experiment": "experiments.gan_ring"}, str(tmp_path), done=0)
    with contextlib.closing(Log(tmp_path, 9, 8, 2, tracker)) as log:
        log.rows(10, {"loss": np.array([[1.0, 3.0]]), "gone": np.array([[np.nan, 2.0]])})
    deviation = {"loss/std": pytest.approx(math.sqrt(2))}  # by n - 1
    means, alone = {"loss": 2.0, "gone": 2.0}, {"member-0/loss": 1.0, "member-1/loss": 3.0, "member-1/gone": 2.0}
    assert sent.logged == [(10, means | deviation | alone)] and sent.finished == 1


def fail(*given, **how):
    raise RuntimeError("the network is down\nand more")


WARNING = "warning: nothing more is sent to trackio: the network is down\n"


def test_a_failing_tracker_ends_no_training(sent, tmp_path, capsys):
    sent.module.log = fail
    assert int(run_points(tmp_path, steps=30, log="trackio").step) == 30
    assert capsys.readouterr().err.count(WARNING) == 1 and set(rows(tmp_path / "run")) == {10, 20, 30}


@pytest.mark.parametrize("name", ["log", "Image", "finish"])
def test_whatever_of_a_tracker_fails_is_told_once(name, sent, capsys):
    tracker = Tracker("trackio", "run", {"experiment": "/home/a/my_gan.py"}, "runs/run", done=10)
    assert sent.runs[0]["group"] == "my_gan"
    setattr(sent.module, name, fail)
    for step in (10, 20, 30):
        tracker.scalars(step, {"loss": 1.0, "other": None})
        tracker.image(step, np.zeros((2, 2, 1), np.uint8))
        tracker.close()
    assert capsys.readouterr().err == WARNING
    assert [values for _, values in sent.logged if "loss" in values] == [{"loss": 1.0}] * len(sent.logged)


def test_a_tracker_that_begins_no_run_is_told_in_a_line(sent, tmp_path):
    sent.module.init = lambda **how: 1 / 0
    with pytest.raises(UsageError, match="--log trackio: no run could be begun there: division by zero"):
        run_points(tmp_path, steps=1, log="trackio")


@pytest.mark.parametrize("module", [None, types.ModuleType("a folder that happens to be called so")])
def test_a_package_that_is_missing_is_told_before_anything_is_written(module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", module)
    with pytest.raises(UsageError, match=r"--log wandb needs the package wandb \(.*\): pip install wandb"):
        run_points(tmp_path, steps=1, log="wandb")
    assert not (tmp_path / "run").exists()


def test_trackio_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    run_points(tmp_path, steps=20, log="trackio")
    (run,) = trackio.Api().runs("jaxgan")
    ask = [sys.executable, "-m", "trackio.cli", "get", "metric", "--project", "jaxgan", "--run", run.name, "--json"]
    done = subprocess.run([*ask, "--metric", "generator/loss"], capture_output=True, text=True, check=True)
    losses = {each["step"]: each["value"] for each in json.loads(done.stdout)["values"]}
    assert losses == {step: row["generator/loss"] for step, row in rows(tmp_path / "run").items()}
