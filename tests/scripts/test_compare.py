"""Runs side by side: ranked where they were scored alike, and only there."""

import json

import pytest
from PIL import Image

from jaxgan.training import UsageError
from scripts import compare

PROTOCOL = {"metric": "fid", "version": 1, "samples": 1000, "real": 60000, "constants": {}, "features": None}
PROTOCOL |= {"dataset": "mnist", "split": "train", "content": "abc", "weights": "ema", "rounding": "uint8"}


def a_run(folder, name, *records):
    directory = folder / name
    directory.mkdir()
    (directory / "options.json").write_text('{"experiment": "e", "options": {}, "data": {}}')
    lines = [{**PROTOCOL, "key": "fid", "name": "FID", "std": None, "step": 10, "member": None, **r} for r in records]
    (directory / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return directory


def compared(*runs, **options):
    compare.run(compare.Options(runs, **options))


def test_the_best_is_first_by_each_scores_direction(tmp_path, capsys):
    key = {"key": "recall", "name": "recall", "metric": "prdc"}
    one = a_run(tmp_path, "one", {"value": 20.0}, {"value": 0.9, **key})
    two = a_run(tmp_path, "two", {"value": 10.0}, {"value": 0.3, **key})
    compared(one, two, out=tmp_path / "plot.png")
    fid, recall = capsys.readouterr().out.split("\n\n")[:2]
    assert "lower is better" in fid and fid.index("/two") < fid.index("/one")
    assert "higher is better" in recall and recall.index("/one") < recall.index("/two")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_spread_is_best_near_one(tmp_path, capsys):
    key = {"key": "spread", "name": "spread", "metric": "diversity"}
    runs = [a_run(tmp_path, name, {"value": v, **key}) for name, v in (("a", 0.02), ("b", 1.3), ("c", 0.9))]
    compared(*runs)
    said = capsys.readouterr().out
    assert "1 is best" in said and said.index("/c") < said.index("/b") < said.index("/a")


def test_runs_of_one_name_in_two_folders_have_a_bar_each(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    names = []
    monkeypatch.setattr(Axes, "set_yticks", lambda self, ticks, labels: names.append((list(ticks), labels)))
    (tmp_path / "x").mkdir()
    one, two = a_run(tmp_path, "run", {"value": 1.0}), a_run(tmp_path / "x", "run", {"value": 2.0})
    compared(one, two, out=tmp_path / "plot.png")
    assert names == [([0, 1], ["…" + str(each)[-39:] for each in (one, two)])]


@pytest.mark.parametrize("name", ["n" * 200, "$x_{$", "a\x1bb"], ids=["long", "a formula", "control"])
def test_a_plot_has_room_whatever_the_runs_are_called(name, tmp_path):
    one, two = a_run(tmp_path, name, {"value": 1.0}), a_run(tmp_path, "two", {"value": 2.0})
    compared(one, two, out=tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.size[0] == 840


def test_the_newest_step_counts_and_the_newest_record_of_it(tmp_path, capsys):
    one = a_run(tmp_path, "one", {"value": 3.0, "step": 20}, {"value": 1.0}, {"value": 4.0, "step": 20})
    compared(one, a_run(tmp_path, "two", {"value": 5.0}))
    said = capsys.readouterr().out
    assert " 4 " in said and "step 20" in said and " 3 " not in said


def test_members_are_a_mean_and_a_standard_deviation(tmp_path, capsys):
    """1, 2, 6: mean 3, squares of differences 4 + 1 + 9 = 14, over 2: 7."""
    one = a_run(tmp_path, "one", *({"value": v, "member": i, "seed": i} for i, v in enumerate([1.0, 2.0, 6.0])))
    compared(one, a_run(tmp_path, "two", {"value": 5.0}))
    assert "3 ± 2.6" in capsys.readouterr().out


@pytest.mark.parametrize(
    "other", [{"samples": 2000}, {"version": 2}, {"content": "xyz"}, {"weights": "raw"}, {"features": {"sha256": "0"}}]
)
def test_numbers_of_other_protocols_are_not_ranked(other, tmp_path, capsys):
    (name,) = other
    one, two = a_run(tmp_path, "one", {"value": 20.0}), a_run(tmp_path, "two", {"value": 10.0, **other})
    with pytest.raises(UsageError, match=f"fid is not ranked across protocols, which differ in {name}: "):
        compared(one, two)
    three = a_run(tmp_path, "three", {"value": 30.0})
    compared(one, two, three)
    said = capsys.readouterr().out
    ranked, _, rest = said.partition("\n\n")
    assert "two" not in ranked and f"differ in {name}" in rest


def test_whose_a_number_is_does_not_matter(tmp_path, capsys):
    other = {"step": 99, "seed": 7, "libraries": {"jax": "9"}, "during_training": True, "std": 0.5}
    compared(a_run(tmp_path, "one", {"value": 20.0}), a_run(tmp_path, "two", {"value": 10.0, **other}))
    assert "not ranked" not in capsys.readouterr().out


def test_what_cannot_be_compared_says_why(tmp_path):
    one = a_run(tmp_path, "one", {"value": 1.0})
    with pytest.raises(UsageError, match="two runs or more are compared, got 1"):
        compared(one, one)
    with pytest.raises(UsageError, match=r"nothing is no run directory"):
        compared(one, tmp_path / "nothing")
    with pytest.raises(UsageError, match="empty has no scores yet"):
        compared(one, a_run(tmp_path, "empty"))
    with pytest.raises(UsageError, match="no score in common"):
        compared(one, a_run(tmp_path, "other", {"key": "kid", "value": 1.0}))
    with pytest.raises(UsageError, match="--key nonsense: the runs have fid"):
        compared(one, a_run(tmp_path, "two", {"value": 2.0}), key="nonsense")
    with pytest.raises(UsageError, match="can't write"):
        compared(one, tmp_path / "two", out=tmp_path / "no" / "plot.png")
