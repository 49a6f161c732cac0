"""`--until`: a run ends at the first score that is as good, says so, and nothing else of it changes."""

import json
import shutil

import jax
import numpy as np
import pytest
from conftest import assert_same
from point_runs import points, some_points

from experiments import gan_ring
from jaxgan.training import UsageError, open, train  # noqa: A004 - the library's name for it
from jaxgan.training.scoring import monitor

pytestmark = pytest.mark.usefixtures("as_users_have_it")


@pytest.fixture
def scores(monkeypatch):
    """`scores(values)`: the run's k-th evaluation finds the k-th value."""

    def set_to(values):
        values = iter(values)

        class Judge:
            real, about = np.zeros((5, 1)), {"content": "abc"}

            def __call__(self, images, targets=None, **about):
                return [{"key": "swd", "name": "the swd", "value": next(values), **about}]

        monkeypatch.setattr(monitor, "judge_for", lambda measure, real: Judge())

    return set_to


def run(tmp_path, name="run", **more):
    how = {"eval_every": 2, "eval_count": 16, "checkpoint_every": 5, "workdir": str(tmp_path / name)}
    return train(gan_ring.build, points(tmp_path, **(how | more)), data=some_points())


def scored_steps(directory):
    return [json.loads(line)["step"] for line in (directory / "evaluations.jsonl").read_text().splitlines()]


def test_a_run_ends_at_the_score_and_goes_on_without_it_bit_for_bit(tmp_path, scores, capsys):
    scores([5, 4, 3, 2, 1, 1])
    straight = run(tmp_path, "straight")
    scores([5, 4, 3])
    state = run(tmp_path, until="swd=3.5")
    said = capsys.readouterr().out
    assert int(state.step) == 6 and open(tmp_path / "run").step == 6
    assert "done: 6 steps" in said and "--until swd=3.5: the swd 3 at step 6\n" in said
    assert (tmp_path / "run" / "samples" / "00000006.png").exists() and (tmp_path / "run" / "training.gif").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    scores([])
    again = run(tmp_path, until="swd=3.5", steps=20)
    said = capsys.readouterr().out
    assert int(again.step) == 6 and "is at step 6 already; without --until it would be trained further" in said
    assert "--until swd=3.5: the swd 3 at step 6\n" in said
    after = {path for path in before if path.stat().st_mtime_ns != before[path]}
    made_again = {"training.gif", "losses.png", "report.html", "lock"}
    assert {path.name for path in after} <= made_again, "nothing is trained, drawn, saved or scored again"
    scores([2, 1, 1])
    assert_same(jax.tree.leaves(run(tmp_path)), jax.tree.leaves(straight))
    assert scored_steps(tmp_path / "run") == scored_steps(tmp_path / "straight") == [2, 4, 6, 8, 10, 12]


def test_a_kill_behind_the_score_changes_nothing(tmp_path, scores):
    """The score of step 6 was written, its checkpoint was not: the run goes from step 5 to 6, and no further."""
    scores([5, 4, 3])
    state = run(tmp_path, until="swd=3")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    scores([])
    again = run(tmp_path, until="swd=3")
    assert int(again.step) == 6
    assert_same(jax.tree.leaves(again), jax.tree.leaves(state))


def test_a_score_that_is_not_reached_ends_nothing(tmp_path, scores, capsys):
    scores([5, 4, 3, 2, 1, 1])
    assert int(run(tmp_path, until="swd=0.5").step) == 12
    assert "--until" not in capsys.readouterr().out


@pytest.mark.slow
def test_of_several_gans_the_mean_ends_the_run_which_has_its_table(tmp_path, scores):
    scores([1, 9, 4, 4, 1, 1])
    state = run(tmp_path, until="swd=4.5", seeds=2, metrics="swd")
    assert np.asarray(state.step).tolist() == [4, 4] or int(state.step) == 4
    assert (tmp_path / "run" / "members.json").exists()


@pytest.mark.parametrize(
    "until, said",
    [
        ("fid", "--until must be METRIC=VALUE, such as fid=5, got fid"),
        ("=5", "--until must be METRIC=VALUE, such as fid=5, got =5"),
        ("", "--until must be METRIC=VALUE, such as fid=5, got an empty text"),
        ("fid=nan", "--until must be METRIC=VALUE, such as fid=5, got fid=nan"),
        ("fid=good", "--until must be METRIC=VALUE, such as fid=5, got fid=good"),
        ("fidd=5", "--until must be METRIC=VALUE, such as fid=5, with one of fid, kid, .* got fidd=5; perhaps you"),
    ],
)
def test_what_is_no_score_is_refused(until, said, tmp_path):
    with pytest.raises(UsageError, match=f"^{said}"):
        points(tmp_path, until=until, eval_every=2)


def test_what_is_not_scored_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"^--until swd=5 needs --eval-every, which scores on the way, such as 1000$"):
        points(tmp_path, until="swd=5")
    with pytest.raises(UsageError, match=r"^--until fid=5: what is scored on the way is swd, .*, or put fid first$"):
        run(tmp_path, until="fid=5")
    assert not (tmp_path / "run" / "options.json").exists()
