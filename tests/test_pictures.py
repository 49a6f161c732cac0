"""Pictures: values, layout and files."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.training.pictures import animate, grid, save_gif, save_png, to_uint8


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
    with pytest.raises(ValueError, match="at least one frame"):
        save_gif(tmp_path / "walk.gif", [])
