"""Media: values there and back, pictures, files."""

import csv
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.media import Image, Points, Vectors, grid, side_by_side
from jaxgan.media.grid import LABEL


def test_bytes_come_back_from_the_values_they_became():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_allclose(Image().decode(values), values / 127.5 - 1, atol=1e-7)
    np.testing.assert_array_equal(Image().encode(Image().decode(jnp.asarray(values))), values)
    np.testing.assert_array_equal(Image().encode(jnp.array([-3.0, 3.0, 0.0])), [0, 255, 128])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_holds_every_image_in_reading_order(channels):
    images = np.stack([np.full((64, 64, channels), 10 * (i + 1), np.uint8) for i in range(5)])
    picture = grid(images)
    assert picture.shape == (2 * 66 + 2, 3 * 66 + 2, channels)
    assert [picture[34 + 66 * (i // 3), 34 + 66 * (i % 3), 0] for i in range(5)] == [10, 20, 30, 40, 50]


def test_a_grid_of_any_height_and_width():
    images = np.stack([np.full((70, 96, 1), 10 * (i + 1), np.uint8) for i in range(4)])
    picture = Image().show(images, 4)
    assert picture.shape == (72 + 2, 4 * 98 + 2, 1) and picture[40, 2 + 98 : 2 + 98 + 96].tolist() == [[20]] * 96


def test_small_images_are_doubled():
    assert grid(np.zeros((4, 28, 28, 1), np.uint8)).shape == (2 * 58 + 2, 2 * 58 + 2, 1)
    assert grid(np.zeros((4, 20, 28, 1), np.uint8)).shape == (2 * 42 + 2, 2 * 58 + 2, 1)


def test_pictures_of_several_sizes_side_by_side():
    grey, colour = np.full((2, 4, 3, 1), 9, np.uint8), np.full((2, 2, 5, 3), 7, np.uint8)
    found = side_by_side([grey, colour])
    assert found.shape == (2, 4, 8, 3)
    assert (found[:, :, :3] == 9).all() and (found[:, :2, 3:] == 7).all() and (found[:, 2:, 3:] == 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_every_member_has_a_row_beside_its_number(channels):
    """Twelve members of 20 images each, of which 16 are shown; a pixel's value encodes member and image."""
    values = (20 * np.arange(12)[:, None] + np.arange(20)).astype(np.uint8)
    images = np.broadcast_to(values[..., None, None, None], (12, 20, 8, 8, channels))
    picture = Image().show_members(images)
    assert picture.dtype == np.uint8 and picture.shape == (12 * 18 + 2, LABEL + 16 * 18 + 2, channels)
    np.testing.assert_array_equal(picture[10::18, LABEL + 10 :: 18, 0], values[:, :16])
    np.testing.assert_array_equal(picture[:, LABEL:], grid(images[:, :16].reshape(-1, 8, 8, channels), 16))
    labels = [picture[2 + 18 * k : 18 + 18 * k, :LABEL] for k in range(12)]
    assert all(label.max() > 200 for label in labels), "a number can be read"
    assert len({label.tobytes() for label in labels}) == 12, "and no two are the same"


def test_fewer_images_than_columns():
    images = np.full((2, 3, 64, 64, 1), 7, np.uint8)
    assert Image().show_members(images).shape == (2 * 66 + 2, LABEL + 3 * 66 + 2, 1)


def test_densities_of_members_stand_in_reading_order():
    """Five members; each draws one point of its own, and one of them nothing but NaN."""
    where = np.array([(-1.0, -1.0), (1.0, -1.0), (0.0, 0.0), (-1.0, 1.0), (np.nan, np.nan)], np.float32)
    points = np.broadcast_to(where[:, None, None, None], (5, 100, 1, 1, 2))
    picture = Points().show_members(points)
    height, width = 258 + 2, LABEL + 258 + 2  # framed, two pixels apart
    assert picture.dtype == np.uint8 and picture.shape == (2 * height + 2, 3 * width + 2, 1)
    for k, (x, y) in enumerate(where):
        left, top = (k % 3) * width + 3 + LABEL, (k // 3) * height + 3
        panel = picture[top : top + 256, left : left + 256, 0]
        lit = np.argwhere(panel == 255)
        assert len(lit) == (0 if np.isnan(x) else 4)  # one bin is two pixels a side
        if len(lit):
            row, column = lit.mean(axis=0)
            assert column / 256 * 3 - 1.5 == pytest.approx(x, abs=0.03)
            assert 1.5 - row / 256 * 3 == pytest.approx(y, abs=0.03)
        assert picture[top : top + 256, left - LABEL : left - 1].max() > 200


def test_a_density_alone_is_twice_as_large():
    points = np.array([[0.75, -0.75]] * 3, np.float32).reshape(3, 1, 1, 2)
    picture = Points().show(points)
    lit = np.argwhere(picture[..., 0] == 255)
    assert picture.shape == (512, 512, 1) and lit.mean(0) == pytest.approx([384, 384], abs=3) and len(lit) == 16


def test_points_stand_before_those_of_the_data():
    """Blue where only real points are, orange where only drawn ones, white where both are."""

    def points(*where):
        return np.array(where, np.float32).reshape(-1, 1, 1, 2)

    picture = Points().show(points((1, 1), (-1, 1)), real=points((-1, 1), (-1, -1), (np.nan, 0)), scale=1)
    assert picture.shape == (256, 256, 3) and picture.dtype == np.uint8
    found = {
        tuple(colour): np.argwhere((picture == colour).all(-1)).mean(0)
        for colour in np.unique(picture.reshape(-1, 3), axis=0)
    }
    assert set(found) == {(0, 0, 0), (255, 160, 60), (0, 95, 195), (255, 255, 255)}
    for colour, (x, y) in {(255, 160, 60): (1, 1), (0, 95, 195): (-1, -1), (255, 255, 255): (-1, 1)}.items():
        row, column = found[colour]
        assert (column / 256 * 3 - 1.5, 1.5 - row / 256 * 3) == pytest.approx((x, y), abs=0.03)
    members = np.broadcast_to(points((1, 1)), (3, 4, 1, 1, 2))
    sheet = Points().show_members(members, real=points((-1, -1)))
    assert sheet.shape == (*Points().show_members(members).shape[:2], 3)
    assert (sheet == (0, 95, 195)).all(-1).sum() == 3 * 4, "behind each member"


def test_nothing_is_no_picture():
    with pytest.raises(ValueError, match="at least one image"):
        grid(np.zeros((0, 8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="at least one picture"):
        side_by_side([])
    for medium, shape in ((Image(), (8, 8, 1)), (Points(), (1, 1, 2)), (Vectors((0.0,), (1.0,)), (1,))):
        for members in ((0, 4), (2, 0)):
            with pytest.raises(ValueError, match="at least one of each"):
                medium.show_members(np.zeros((*members, *shape)))
        with pytest.raises(ValueError, match="at least one"):
            medium.show(np.zeros((0, *shape)))


TABLE = np.array([[0.0, 100.0, 7.0], [5.0, 300.0, 7.0], [10.0, 200.0, 7.0]], np.float32)
MEDIUM = Vectors((0.0, 100.0, 7.0), (10.0, 300.0, 7.0), ("a", "b,c", "d"))


def test_a_columns_range_is_that_of_networks_and_comes_back():
    """The third column is constant."""
    given = MEDIUM.decode(jnp.asarray(TABLE))
    np.testing.assert_allclose(given, [[-1, -1, 0], [0, 1, 0], [1, 0, 0]], atol=1e-7)
    np.testing.assert_allclose(MEDIUM.encode(given), TABLE, rtol=1e-6)
    np.testing.assert_allclose(MEDIUM.encode(jnp.array([[0.5, -0.5, 0.9]])), [[7.5, 150, 7]])  # constant whatever comes
    many = jnp.stack([given, given])
    np.testing.assert_allclose(jax.jit(MEDIUM.encode)(many), np.stack([TABLE, TABLE]), rtol=1e-6)


def test_histograms_of_drawn_and_real_vectors():
    """All drawn vectors are at a column's lower end, all real ones at its upper end."""
    low, high = np.zeros((50, 2), np.float32), np.ones((80, 2), np.float32)
    medium = Vectors((0.0, 0.0), (1.0, 1.0))
    picture = medium.show(low, real=high)
    assert picture.shape == (128 + 4, 2 * (128 + 2) + 2, 3)
    for left in (2, 2 + 130):
        panel = picture[2:130, left : left + 128].astype(int)
        drawn, real = (np.flatnonzero((panel == colour).all(-1).any(0)) for colour in ((255, 160, 60), (70, 110, 160)))
        assert drawn.max() < 20 and real.min() > 108
        assert np.flatnonzero((panel[:, real] == (70, 110, 160)).all(-1).all(1)).size == 128  # the whole height
    alone = medium.show(low)
    assert not (alone == (70, 110, 160)).all(-1).any()
    assert medium.show_members(np.stack([low, low])).shape == (68 + 2 + 4, 2 * (LABEL + 134 + 2 + 2) + 2, 3)


def test_files_hold_what_was_stored():
    file = io.BytesIO()
    Image().save(file, ".npz", np.full((2, 3, 4, 1), 5, np.uint8), {"labels": np.array([1, 0])})
    file.seek(0)
    with np.load(file) as found:
        assert found["images"].shape == (2, 3, 4, 1) and found["labels"].tolist() == [1, 0]
    file = io.BytesIO()
    MEDIUM.save(file, ".csv", TABLE + np.float32(1 / 3), {"labels": np.array([3, 1, 2])})
    rows = list(csv.reader(io.StringIO(file.getvalue().decode())))
    assert rows[0] == ["a", "b,c", "d", "labels"] and [row[3] for row in rows[1:]] == ["3", "1", "2"]
    np.testing.assert_array_equal(
        np.array([row[:3] for row in rows[1:]], np.float32), TABLE + np.float32(1 / 3)
    )  # to the last bit
    with pytest.raises(ValueError, match=r"images are saved as \.npz, not as \.csv"):
        Image().save(io.BytesIO(), ".csv", np.zeros((2, 3, 4, 1), np.uint8), {})
    with pytest.raises(ValueError, match=r"\.csv file has vectors \[N, D\], not \[2, 3, 3\]"):
        MEDIUM.save(io.BytesIO(), ".csv", np.stack([TABLE, TABLE]), {})
