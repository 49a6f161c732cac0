"""`losses.png`: which numbers are drawn, in which colours, and that no log keeps a run from its end."""

import json

import numpy as np
import pytest
from PIL import Image
from point_runs import bombs, run_points

from jaxgan.training import Stopped
from jaxgan.training.output.curves import _running_mean, _values, save_losses

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)  # of matplotlib's first two lines


def write(folder, rows):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_losses(folder)
    return folder / "losses.png"


def row(step, **values):
    return {"step": step, "images": 8 * step, "generator/gradient_norm": 1e9} | values


def drawn(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def heights(pixels, colour):
    """At which share of the picture's height, from below, a colour is, left of the middle and right of it."""
    y, x = np.nonzero(np.abs(pixels - colour).max(axis=-1) < 3)
    inside = y > 60  # below the legend
    place = 1 - y[inside] / len(pixels)
    left = x[inside] < pixels.shape[1] / 2
    return place[left].mean(), place[~left].mean()


def test_each_player_has_a_line_where_its_losses_are(tmp_path):
    rows = [
        row(step, **{"discriminator/loss": 1.0, "generator/loss": 1 + step / 1000, "discriminator/loss/std": 9.0})
        for step in range(10, 1001, 10)
    ]
    pixels = drawn(write(tmp_path, rows))
    assert pixels.shape == (540, 960, 3)
    flat, rising = heights(pixels, BLUE), heights(pixels, ORANGE)
    assert flat[0] == pytest.approx(flat[1], abs=0.01) and flat[0] < rising[0] < rising[1] - 0.2


def test_players_of_other_sizes_have_panels_of_their_own(tmp_path):
    rows = [row(step, **{"discriminator/loss": step % 3, "encoder/loss": 2000.0 + step}) for step in range(10, 201, 10)]
    pixels = drawn(write(tmp_path, rows))
    assert len(pixels) == 840
    above, below = heights(pixels, BLUE), heights(pixels, ORANGE)
    assert min(above) > 0.5 > max(below)


def test_lines_are_the_numbers_and_their_running_mean():
    rows = [row(10, loss=1.0), row(20, loss=None), row(30, loss=4.0)]
    thin, thick = _values(rows, "loss")
    np.testing.assert_equal(thin, [[1.0], [np.nan], [4.0]])
    np.testing.assert_equal(thick, [1.0, np.nan, 4.0])
    values = np.random.default_rng(0).normal(size=500)
    values[100:120] = np.nan
    means = [np.nanmean(part) if np.isfinite(part).any() else np.nan
             for i in range(500) for part in [values[max(0, i - 2) : i + 3]]]  # fmt: skip
    np.testing.assert_allclose(_running_mean(values), means, atol=1e-12)


def test_of_several_gans_each_and_their_mean_are_drawn():
    rows = [row(10, loss=2.0, members={"loss": [1.0, 3.0]}), row(20, loss=5.0, members={"loss": [5.0, None]}), row(30)]
    thin, thick = _values(rows, "loss")
    np.testing.assert_equal(thin, [[1.0, 3.0], [5.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_equal(thick, [2.0, 5.0, np.nan])


@pytest.mark.parametrize(
    "rows",
    [
        [{"step": 10, "a/loss": 1e308}, {"step": 20, "a/loss": -1e308}, {"step": 30, "a/loss": 10**17}],
        [{"step": 20, "a/loss": 1}, {"step": 10, "a/loss": 2}, {"step": 10, "b/loss": None}],
        [{"step": 10, "a/loss": None}, {"step": 20, "a/loss": None}],
        [{"step": 10, "a/loss": 0, "members": {"a/loss": []}}, {"step": 20, "members": {"a/loss": [1, None, 3]}}],
        [{"step": 10, "$x_{$/loss": 1}, {"step": 10, "_/loss": 2}],
    ],
    ids=["large", "backwards", "no numbers", "odd members", "odd names"],
)
def test_an_odd_log_is_drawn_too(rows, tmp_path):
    assert drawn(write(tmp_path, rows)).shape[1] == 960


@pytest.mark.parametrize("rows", [[], [{"step": 10, "a/loss": 1}], [{"step": 10, "fid": 1}, {"step": 20, "fid": 2}]])
def test_without_two_rows_of_losses_there_is_none(rows, tmp_path):
    assert not write(tmp_path, rows).exists()


@pytest.mark.usefixtures("as_users_have_it")
def test_a_run_leaves_it_also_where_it_diverges(tmp_path):
    run_points(tmp_path, steps=20)
    with pytest.raises(Stopped, match="diverged"):
        run_points(tmp_path, build=bombs({0: 25}), steps=30, workdir=str(tmp_path / "bad"))
    pictures = [drawn(tmp_path / name / "losses.png") for name in ("run", "bad")]
    assert (pictures[0] == pictures[1]).all(), "of steps 10 and 20, which both have"
