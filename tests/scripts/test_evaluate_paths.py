"""`scripts.evaluate RUN --metrics ppl`: its records, beside others, and what it refuses."""

import json

import numpy as np
import painted_runs
import pytest
import tiny_stylegan
from point_runs import points

from experiments import gan_ring
from jaxgan.training import UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.evaluation import FeatureOptions
from jaxgan.training.scoring.path_length import path_distance, path_score
from scripts import compare, evaluate

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def evaluated(run=None, experiment=painted_runs, **options):
    evaluate.run(evaluate.Options(run=run, experiment=experiment and experiment.__file__, **options))


def test_paths_are_scored_beside_other_metrics_and_without_the_data(tmp_path, capsys):
    run = painted_runs.run_of(tmp_path)
    capsys.readouterr()
    evaluated(run, metrics="ppl,swd", count=24, weights="ema,raw", seed=4)
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if "perceptual path length in w, features of cifar10-v1" in line]
    assert len(rows) == 2 and all("24 pairs" in row for row in rows) and "sliced Wasserstein" in said
    found = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    assert [(row["key"], row["weights"]) for row in found if row["key"] == "ppl"] == [("ppl", "ema"), ("ppl", "raw")]
    one = next(row for row in found if row["key"] == "ppl")
    about = {"samples": 24, "real": 0, "step": 1, "latents_seed": 4, "rounding": None, "size": [8, 8, 1], "version": 1}
    assert about.items() <= one.items()
    space = open_run(run, build=painted_runs).latent_space
    direct = path_score(space, path_distance(FeatureOptions(), space.drawing.data.field), 24, seed=4)
    assert one["value"] == direct.value and one["std"] == direct.std and one["constants"] == direct.constants
    (tmp_path / "images.npz").unlink()
    evaluated(run, metrics="ppl", count=24, seed=4, out=tmp_path / "a.json")
    again = json.loads((tmp_path / "a.json").read_text())
    assert [row["value"] for row in again] == [direct.value]
    assert compare.lines_of(run)[-1].name == one["name"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classes", "plain classes"])
def test_each_gan_of_an_ensemble_has_paths_of_its_own(kind, tmp_path, capsys):
    run = tiny_stylegan.run_of(tmp_path / "run", kind=kind, seeds=2)
    evaluated(run, tiny_stylegan, metrics="ppl", count=16, out=tmp_path / "a.json")
    both = json.loads((tmp_path / "a.json").read_text())
    assert [(row["member"], row["seed"]) for row in both] == [(0, 0), (1, 1)]
    assert both[0]["value"] != both[1]["value"] and np.isfinite([row["value"] for row in both]).all()
    assert {row["labels"] for row in both} == {"as often as in the data"}
    evaluated(run, tiny_stylegan, metrics="ppl", count=16, member=1, out=tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())[0]["value"] == pytest.approx(both[1]["value"], rel=1e-6)


def test_what_has_no_paths_is_refused_in_a_line(tmp_path, monkeypatch):
    none = painted_runs.run_of(tmp_path, "none", kind="none")
    with pytest.raises(UsageError, match=r"has no latent space: its GAN doesn't say how pictures come from latents$"):
        evaluated(none, metrics="ppl,swd")
    only = r"^--metrics ppl scores a generator, which only scripts\.evaluate RUN has; leave it out$"
    file = str(tmp_path / "images.npz")
    with pytest.raises(UsageError, match=only):
        evaluated(experiment=None, generated=file, reference=file, metrics="ppl,swd")
    for metrics in ("ppl", "swd,ppl"):
        with pytest.raises(UsageError, match=only):
            painted_runs.run_of(tmp_path, "on the way", metrics=metrics, eval_every=1)
    with pytest.raises(UsageError, match=r"^--truncation must be left out with ppl, .*, got 0\.5$"):
        evaluated(painted_runs.run_of(tmp_path, "whole"), metrics="ppl", truncation=0.5)
    monkeypatch.setattr(evaluate, "machine_memory", lambda: 2**20)  # a quarter holds 2,730 pairs of 4·3 numbers
    with pytest.raises(UsageError, match=r"^--count must be at most 2,730 paths, .*, got 2,731$"):
        evaluated(painted_runs.run_of(tmp_path), metrics="ppl,swd", count=2731)


@pytest.mark.slow
def test_points_and_diverged_generators_are_refused_in_a_line(tmp_path):
    train(gan_ring.build, points(tmp_path, steps=2))
    with pytest.raises(UsageError, match=r"^--metrics ppl compares images, and this run draws points; leave it out$"):
        evaluated(tmp_path / "run", None, metrics="ppl")
    run = tiny_stylegan.run_of(tmp_path / "diverged", kind="diverged")
    with pytest.raises(UsageError, match=r"^image 0 of the first set holds NaN or infinity$"):
        evaluated(run, tiny_stylegan, metrics="ppl", count=4)
