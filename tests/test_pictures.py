"""Pictures: values, layout and files."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.training.pictures import LABEL, animate, grid, picture, rows_of, save_gif, save_png, to_uint8


def test_bytes_come_back_from_the_values_they_became():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(jnp.asarray(values, jnp.float32) / 127.5 - 1), values)
    np.testing.assert_array_equal(to_uint8(jnp.array([-3.0, 3.0])), [0, 255])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_holds_every_image_in_reading_order(channels, tmp_path):
    images = np.stack([np.full((64, 64, channels), 10 * (i + 1), np.uint8) for i in range(5)])
    sheet = grid(images)
    assert sheet.shape == (2 * 66 + 2, 3 * 66 + 2, channels)
    centres = [sheet[34 + 66 * (i // 3), 34 + 66 * (i % 3), 0] for i in range(5)]
    assert centres == [10, 20, 30, 40, 50]
    save_png(tmp_path / "grid.png", sheet)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "grid.png")).reshape(sheet.shape), sheet)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_small_images_are_doubled():
    assert grid(np.zeros((4, 28, 28, 1), np.uint8)).shape == (2 * 58 + 2, 2 * 58 + 2, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_member_has_a_row_beside_its_number(channels):
    """Twelve members of 20 images each, of which 16 are shown; the value says which member and which image."""
    values = (20 * np.arange(12)[:, None] + np.arange(20)).astype(np.uint8)
    images = np.broadcast_to(values[..., None, None, None], (12, 20, 8, 8, channels))
    sheet = rows_of(images)
    assert sheet.dtype == np.uint8 and sheet.shape == (12 * 18 + 2, LABEL + 16 * 18 + 2, channels)
    np.testing.assert_array_equal(sheet[10::18, LABEL + 10 :: 18, 0], values[:, :16])
    np.testing.assert_array_equal(sheet[:, LABEL:], grid(images[:, :16].reshape(-1, 8, 8, channels), 16))
    np.testing.assert_array_equal(picture(images), sheet)
    labels = [sheet[2 + 18 * k : 18 + 18 * k, :LABEL] for k in range(12)]
    assert all(label.max() > 200 for label in labels), "a number can be read"
    assert len({label.tobytes() for label in labels}) == 12, "and no two are the same"


def test_fewer_images_than_columns():
    images = np.full((2, 3, 64, 64, 1), 7, np.uint8)
    assert rows_of(images).shape == (2 * 66 + 2, LABEL + 3 * 66 + 2, 1)
    assert rows_of(images, columns=2).shape == (2 * 66 + 2, LABEL + 2 * 66 + 2, 1)


def test_densities_of_members_stand_in_reading_order():
    """Five members; each draws one point of its own, and one of them nothing that is a number."""
    where = np.array([(-1.0, -1.0), (1.0, -1.0), (0.0, 0.0), (-1.0, 1.0), (np.nan, np.nan)], np.float32)
    points = np.broadcast_to(where[:, None, None, None], (5, 100, 1, 1, 2))
    sheet = picture(points)
    height, width = 258 + 2, LABEL + 258 + 2  # framed, two pixels apart
    assert sheet.dtype == np.uint8 and sheet.shape == (2 * height + 2, 3 * width + 2, 1)
    for k, (x, y) in enumerate(where):
        left, top = (k % 3) * width + 3 + LABEL, (k // 3) * height + 3
        panel = sheet[top : top + 256, left : left + 256, 0]
        lit = np.argwhere(panel == 255)
        assert len(lit) == (0 if np.isnan(x) else 4)  # one bin is two pixels a side
        if len(lit):
            row, column = lit.mean(axis=0)
            assert column / 256 * 3 - 1.5 == pytest.approx(x, abs=0.03)
            assert 1.5 - row / 256 * 3 == pytest.approx(y, abs=0.03)
        assert sheet[top : top + 256, left - LABEL : left - 1].max() > 200


def test_an_animation_has_its_frames(tmp_path):
    frames = [np.full((8, 8, 1), value, np.uint8) for value in (0, 100, 200)]
    save_gif(tmp_path / "walk.gif", frames)
    with Image.open(tmp_path / "walk.gif") as file:
        assert file.n_frames == 3 and file.size == (8, 8)


def test_a_run_is_animated_in_the_order_of_its_steps(tmp_path):
    animate(tmp_path, tmp_path / "training.gif")
    assert not (tmp_path / "training.gif").exists()
    for step in (20, 0, 5):
        save_png(tmp_path / f"{step:08d}.png", np.full((8, 8, 1), 10 * step, np.uint8))
    animate(tmp_path, tmp_path / "training.gif")
    with Image.open(tmp_path / "training.gif") as file:
        shades = []
        for frame in range(file.n_frames):
            file.seek(frame)
            shades.append(file.convert("L").getpixel((0, 0)))
    assert shades == [0, 50, 200]


def test_nothing_is_no_picture(tmp_path):
    with pytest.raises(ValueError, match="at least one image"):
        grid(np.zeros((0, 8, 8, 1), np.uint8))
    for empty in (np.zeros((0, 4, 8, 8, 1), np.uint8), np.zeros((2, 0, 8, 8, 1), np.uint8), np.zeros((0, 4, 1, 1, 2))):
        with pytest.raises(ValueError, match="at least one of each"):
            rows_of(empty)
    with pytest.raises(ValueError, match="at least one frame"):
        save_gif(tmp_path / "walk.gif", [])
