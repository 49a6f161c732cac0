"""Scores on the way of a run: what is written, which checkpoint is kept, and how a collapse ends."""

import json
import shutil

import jax
import numpy as np
import pytest
from conftest import assert_same
from point_runs import bombs, points, some_points
from tiny_dcgan import tiny

from experiments import dcgan_mnist, gan_ring
from jaxgan.training import Stopped, UsageError, open, train  # noqa: A004 - the library's name for it
from jaxgan.training.scoring import monitor
from jaxgan.training.scoring.judge import read

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def records(directory):
    return [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]


def scored(monkeypatch, values):
    """The run's k-th evaluation finds the k-th value, on healthy images."""
    values = iter(values)

    class Judge:
        real, about = np.zeros((5, 1)), {"content": "abc"}

        def __call__(self, images, targets=None, **about):
            assert targets is None
            assert images.shape == (16, 1, 1, 2)
            numbers = {"swd": next(values), "distinct": 0.9, "spread": 0.9}
            return [{"key": key, "name": f"the {key}", "value": value, **about} for key, value in numbers.items()]

    monkeypatch.setattr(monitor, "judge_for", lambda measure, real: Judge())


def evaluated(tmp_path, **more):
    """A run of a GAN that draws points, which compiles fast."""
    options = points(tmp_path, **({"eval_every": 2, "eval_count": 16, "checkpoint_every": 4} | more))
    return train(gan_ring.build, options, data=some_points())


def test_the_best_is_kept_and_the_newest_too(tmp_path, monkeypatch, capsys):
    scored(monkeypatch, [5.0, 1.5, 4.0, 2.0, 3.0, 2.5])
    state = evaluated(tmp_path)
    run = tmp_path / "run"
    assert sorted(path.name for path in (run / "best").iterdir()) == ["4"]
    assert open(run, "best").step == 4 and open(run).step == 12
    assert_same(jax.tree.leaves(open(run).state), jax.tree.leaves(state))
    assert_same(jax.tree.leaves(open(run, "best").state), jax.tree.leaves(open(run, 4).state))
    assert [row["step"] for row in records(run) if row["key"] == "swd"] == [2, 4, 6, 8, 10, 12]
    assert "best: the swd 1.5 at step 4, kept in" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_is_continued_scores_what_is_new(tmp_path, monkeypatch):
    scored(monkeypatch, [3.0, 2.0])
    evaluated(tmp_path, steps=4)
    scored(monkeypatch, [4.0, 1.0])
    evaluated(tmp_path, steps=8)
    assert [row["value"] for row in records(tmp_path / "run") if row["key"] == "swd"] == [3, 2, 4, 1]
    assert open(tmp_path / "run", "best").step == 8


def values(directory):
    return [(row["step"], row["value"]) for row in records(directory) if row["key"] == "swd"]


def test_a_step_that_was_scored_before_a_kill_is_not_scored_again(tmp_path, monkeypatch):
    """The run was killed after step 6 was scored, and goes on from checkpoint 4."""
    scored(monkeypatch, [3.0, 2.0, 1.5])
    evaluated(tmp_path, steps=6, checkpoint_every=4)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    scored(monkeypatch, [2.5])
    evaluated(tmp_path, steps=8)
    assert values(tmp_path / "run") == [(2, 3.0), (4, 2.0), (6, 1.5), (8, 2.5)]
    assert open(tmp_path / "run", "best").step == 6


@pytest.mark.parametrize(
    "left", ["one of three", *(pytest.param(left, marks=pytest.mark.slow) for left in ("nothing", "half a line"))]
)
def test_a_step_whose_score_a_kill_cut_off_is_scored_again(left, tmp_path, monkeypatch):
    """The checkpoint of step 4 was written, and then the process was killed."""
    scored(monkeypatch, [3.0, 2.0])
    evaluated(tmp_path, steps=4)
    path = tmp_path / "run" / "evaluations.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    kept = {"nothing": lines[:3], "half a line": [*lines[:3], lines[3][:30]], "one of three": lines[:4]}[left]
    path.write_text("".join(kept))
    scored(monkeypatch, [2.0, 4.0])
    evaluated(tmp_path, steps=6)
    rows = [row for row in read(tmp_path / "run") if row["key"] == "swd"]
    assert [row["step"] for row in rows] == ([2, 4, 4, 6] if left == "one of three" else [2, 4, 6])
    assert open(tmp_path / "run", "best").step == 4


def test_the_end_that_a_kill_cut_off_is_made_up_for(tmp_path, monkeypatch):
    scored(monkeypatch, [1.0, 1.1, 5.0])
    with pytest.raises(Stopped) as stopped:
        evaluated(tmp_path, steps=6)
    assert stopped.value.status == 3
    assert str(stopped.value).startswith("collapsed: the swd is 5, and was 1 at step 2; the best state, of step 2")
    with pytest.raises(Stopped, match="collapsed: the swd is 5"):
        evaluated(tmp_path, steps=6)
    path = tmp_path / "run" / "evaluations.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:6]))
    scored(monkeypatch, [5.5])
    with pytest.raises(Stopped, match=r"collapsed: the swd is 5\.5"):
        evaluated(tmp_path, steps=6)


@pytest.mark.slow
def test_scores_by_other_options_are_another_course(tmp_path, monkeypatch):
    """A Fréchet distance of 40 would lose against a sliced one of 0.1 for ever."""
    scored(monkeypatch, [0.1, 0.1])
    evaluated(tmp_path, steps=4)
    scored(monkeypatch, [0.15])
    evaluated(tmp_path, steps=6, metrics="swd", checkpoint_every=5)
    assert open(tmp_path / "run", "best").step == 2, "the same options go on"
    monkeypatch.setattr(monitor.Monitor, "protocol", "another")
    scored(monkeypatch, [40.0, 50.0])
    evaluated(tmp_path, steps=8)
    assert open(tmp_path / "run", "best").step == 6


@pytest.mark.slow
def test_real_scores_carry_their_protocol(tmp_path, capsys):
    """Nothing is replaced here: a GAN of twelve steps draws one grey image, and is not told to collapse."""
    train(dcgan_mnist.build, tiny(tmp_path, eval_every=4, eval_count=16, metrics="swd"))
    assert "not learned yet: never more than" in capsys.readouterr().out
    found = records(tmp_path / "run")
    assert {row["key"] for row in found} == {"swd", "distinct", "spread"}
    for row in found:
        assert row["samples"] == row["real"] == 16 and row["dataset"] == "digits" and row["split"] == "train"
        assert (row["weights"], row["seed"], row["member"], row["features"]) == ("ema", 0, None, None)
        assert row["libraries"]["jax"] == jax.__version__ and row["version"] == 1
    assert open(tmp_path / "run").step == 12, "it is saved all the same"


@pytest.mark.slow
def test_an_ensemble_is_ranked_by_its_mean_and_judged_by_member(tmp_path, monkeypatch, capsys):
    scored(monkeypatch, [1, 9, 4, 4, 3, 8])
    evaluated(tmp_path, seeds=2, eval_every=4)
    assert open(tmp_path / "run", "best").step == 8
    assert "collapsed, member 0: the swd is 3, and was 1 at step 4" in capsys.readouterr().out, "and the run ends well"
    assert {row["member"] for row in records(tmp_path / "run")} == {0, 1}


@pytest.mark.slow
def test_a_member_that_diverged_is_scored_no_more_and_counts_nowhere(tmp_path, monkeypatch, capsys):
    """Member 1 turns NaN in step 5: at step 4 it was scored, and the mean of then is not compared with one GAN's."""
    scored(monkeypatch, [3.0, 1.0, 2.5, 2.6])
    options = points(tmp_path, eval_every=4, eval_count=16, seeds=2, checkpoint_every=4)
    train(bombs({1: 5}), options, data=some_points())
    assert [(row["step"], row["member"]) for row in records(tmp_path / "run") if row["key"] == "swd"] == [
        *[(4, 0), (4, 1)],
        *[(8, 0), (12, 0)],
    ]
    assert "best: the swd 2.5 at step 8" in capsys.readouterr().out


def test_a_state_that_cannot_be_scored_ends_no_run(tmp_path, monkeypatch, capsys):
    def refuse(*arguments, **named):
        raise UsageError("no such thing")

    scored(monkeypatch, [])
    monkeypatch.setattr(monitor.judge_for(None, None).__class__, "__call__", refuse)
    evaluated(tmp_path, steps=4)
    assert not (tmp_path / "run" / "best").exists() and "step 4: no score (no such thing)" in capsys.readouterr().out


@pytest.mark.slow
def test_points_are_scored_by_their_modes(tmp_path):
    train(gan_ring.build, points(tmp_path, eval_every=10, eval_count=32, steps=20))
    found = records(tmp_path / "run")
    assert {row["key"] for row in found} == {"modes", "quality"} and {row["step"] for row in found} == {10, 20}


def test_what_cannot_be_scored_is_refused_before_it_is_trained(tmp_path):
    with pytest.raises(UsageError, match=r"few has no features of its own; give --inception-weights FILE"):
        evaluated(tmp_path, metrics="fid")
    assert not (tmp_path / "run").exists()
    for wrong in ("fid,nonsense", "auto,fid", ""):
        with pytest.raises(UsageError, match="--metrics must be auto or some of fid"):
            evaluated(tmp_path, metrics=wrong)
    with pytest.raises(UsageError, match="ranks checkpoints by the first of --metrics, which can't be diversity"):
        evaluated(tmp_path, metrics="diversity,swd")
    train(gan_ring.build, points(tmp_path, steps=4), data=some_points())
    with pytest.raises(UsageError, match="no best checkpoint"):
        open(tmp_path / "run", "best")
