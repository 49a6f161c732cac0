"""What a run says of itself as it is trained: its report, its history, and an animation that grows."""

import json

import numpy as np
import pytest
from PIL import Image
from point_runs import bombs, points, run_points, some_points

from jaxgan.training import Stopped, train
from jaxgan.training.output.history import read_history
from jaxgan.training.reporting import live
from jaxgan.training.reporting.course import read_course

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def frames(directory):
    with Image.open(directory / "training.gif") as file:
        return file.n_frames


def test_report_and_animation_are_there_and_whole_at_every_moment(tmp_path):
    run, seen = tmp_path / "run", []

    def on_chunk(state, metrics):
        """What a kill would leave: the events of the chunk's last step come after this."""
        report = run / "report.html"
        text = report.read_text() if report.exists() else ""
        assert not text or text.endswith("</html>\n")
        seen.append((int(state.step), frames(run), "step 4 of 12" in text, "step 8 of 12" in text))

    train_points(tmp_path, on_chunk, sample_every=3)
    by_step = {step: rest for step, *rest in seen}
    assert by_step[3] == [1, False, False], "the picture of step 0"
    assert by_step[6][0] == 2 and by_step[12][0] == 4
    assert by_step[6][1] and by_step[12][2], "of the last checkpoint"
    assert frames(run) == len(list((run / "samples").iterdir())) == 5
    assert "step 12 of 12" in (run / "report.html").read_text()


def train_points(tmp_path, on_chunk=None, **changes):
    from experiments import gan_ring

    return train(gan_ring.build, points(tmp_path, **changes), on_chunk, data=some_points())


def test_a_run_that_is_continued_has_every_frame_once_and_both_sessions(tmp_path):
    run = tmp_path / "run"
    train_points(tmp_path, steps=4, sample_every=2)
    train_points(tmp_path, steps=8, sample_every=2)
    assert frames(run) == len(list((run / "samples").iterdir())) == 5
    events = [(each["event"], each["step"]) for each in read_history(run) if each["event"] in ("began", "ended")]
    assert events == [("began", 0), ("ended", 4), ("began", 4), ("ended", 8)]
    assert "taken up at step 4" in (run / "report.html").read_text()


def test_a_run_that_diverges_has_it_in_its_report(tmp_path):
    with pytest.raises(Stopped, match="diverged"):
        train(bombs({0: 7}), points(tmp_path), data=some_points())
    course = read_course(tmp_path / "run")
    assert course.verdict().state == "diverged" and course.verdict().sign.startswith(
        "generator/loss became nan at step 7"
    )
    assert "generator/loss became nan at step 7" in (tmp_path / "run" / "report.html").read_text()


def test_of_several_the_one_that_diverged_is_named(tmp_path):
    train(bombs({1: 3}), points(tmp_path, seeds=2, steps=20), data=some_points())
    course = read_course(tmp_path / "run")
    assert [course.verdict(number).state for number in (0, 1)] == ["learning", "diverged"]


def test_pictures_have_signs(tmp_path):
    run_points(tmp_path, seeds=2, sample_every=6)
    drawn = [each for each in read_history(tmp_path / "run") if each["event"] == "drawn"]
    assert [each["step"] for each in drawn] == [0, 6, 12]
    assert (
        all(np.isfinite(each["spread"]) for event in drawn for each in event["signs"]) and len(drawn[0]["signs"]) == 2
    )


def test_no_run_ends_for_want_of_a_report(tmp_path, monkeypatch, capsys):
    def broken(*arguments, **others):
        raise ZeroDivisionError("in the report")

    monkeypatch.setattr(live, "refresh", broken)
    monkeypatch.setattr(live, "signs_for", broken)
    assert int(run_points(tmp_path).step) == 12
    said = capsys.readouterr().err
    assert said.count("warning: no new report (in the report); the run goes on without") == 1, "once"
    assert said.count("warning: no signs of its health in the report (in the report)") == 1


def test_images_have_their_neighbours_at_the_end(tmp_path):
    from tiny_dcgan import tiny

    from experiments import dcgan_mnist

    train(dcgan_mnist.build, tiny(tmp_path, steps=2))
    text = (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "neighbours.png").exists() and "Step 2: samples above the nearest of" in text
    assert json.loads((tmp_path / "run" / "history.jsonl").read_text().splitlines()[0])["event"] == "began"
