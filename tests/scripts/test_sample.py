"""`scripts.sample`: what stands behind the samples in a picture."""

import numpy as np
import pytest
from PIL import Image
from point_runs import points, run_points

from experiments import gan_ring
from jaxgan.training import train
from scripts import sample

pytestmark = pytest.mark.usefixtures("as_users_have_it")

REAL = (0, 95, 195)  # a bin with many of the data's points, and none that are drawn


def picture(path):
    with Image.open(path) as shown:
        return np.asarray(shown)


def test_a_picture_of_points_shows_the_modes(tmp_path, capsys):
    """Of the run and of scripts.sample; what is drawn after two steps is near the middle."""
    train(gan_ring.build, points(tmp_path, steps=2))
    sample.run(sample.Options(run=tmp_path / "run", out=(tmp_path / "a.png",)))
    for path in (tmp_path / "run" / "samples" / "00000002.png", tmp_path / "a.png"):
        shown = picture(path)
        assert shown.shape == (512, 512, 3)
        for angle in np.arange(8) * np.pi / 4:
            column, row = (1.5 + np.cos(angle)) / 3 * 512, (1.5 - np.sin(angle)) / 3 * 512
            around = shown[int(row) - 6 : int(row) + 7, int(column) - 6 : int(column) + 7].astype(int)
            assert (around.reshape(-1, 3).max(0) >= np.array(REAL) // 2).all()
    assert "without the data" not in capsys.readouterr().err


def test_where_the_data_is_gone_the_picture_is_without(tmp_path, capsys):
    run_points(tmp_path, steps=2)
    sample.run(sample.Options(run=tmp_path / "run", out=(tmp_path / "a.png",)))
    assert capsys.readouterr().err.count("the picture is without the data: ") == 1
    assert picture(tmp_path / "a.png").shape == (512, 512)
