"""Pictures with captions: where images stand, pixel by pixel, and that captions stand beside them."""

import numpy as np
import pytest

from jaxgan.training.output.captions import captioned

random = np.random.default_rng(0)


def images(*shape):
    return random.integers(1, 256, shape, np.uint8)


def test_without_captions_it_is_a_grid():
    cells = images(2, 3, 64, 70, 3)
    found = captioned([list(row) for row in cells])
    assert found.shape == (2 * 66 + 2, 3 * 72 + 2, 3)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(found[66 * i + 2 : 66 * i + 66, 72 * j + 2 : 72 * j + 72], cells[i, j])
    assert not found[:2].any() and not found[:, 72:74].any()


@pytest.mark.parametrize("height, scale", [(8, 8), (28, 3), (32, 2), (63, 2), (64, 1), (100, 1)])
def test_small_images_are_enlarged_by_whole_numbers(height, scale):
    (cell,) = images(1, height, 10, 1)
    found = captioned([[cell]])
    np.testing.assert_array_equal(found[2:-2, 2:-2], cell.repeat(scale, 0).repeat(scale, 1))
    assert captioned([[cell]], least=1).shape == (height + 4, 14, 1)


def test_captions_stand_beside_their_rows_and_above_their_columns():
    cells = images(2, 2, 64, 64, 1)
    bare = captioned([list(row) for row in cells])
    found = captioned([list(row) for row in cells], ["1", "sample 23"], ["", "0.7"])
    height, width = (a - b for a, b in zip(found.shape[:2], bare.shape[:2], strict=True))
    np.testing.assert_array_equal(found[height:, width:], bare)
    assert height == 14 and width > 30
    left, above = found[height:, :width], found[:height, width:]
    assert left[:66].any() and left[66:].any() and left[66:].astype(bool).sum() > 3 * left[:66].astype(bool).sum()
    assert not above[:, :66].any() and above[:, 68:].any()


def test_a_long_caption_makes_room_and_covers_no_other():
    found = captioned([[images(64, 4, 1), images(64, 4, 1)]], columns=["a long caption", "another one"])
    half = (found.shape[1] - 2) // 2
    assert half > 60
    assert found[:14, :half].any() and found[:14, half + 2 :].any()


def test_a_place_may_be_empty():
    cell = images(64, 64, 3)
    found = captioned([[None, cell], [cell]], ["", "x"])
    width = found.shape[1] - (2 * 66 + 2)
    assert not found[2:66, width + 2 : width + 66].any()
    np.testing.assert_array_equal(found[2:66, width + 68 : width + 132], cell)
    np.testing.assert_array_equal(found[68:132, width + 2 : width + 66], cell)


@pytest.mark.parametrize("rows", [[], [[]], [[None]]])
def test_no_image_is_refused(rows):
    with pytest.raises(ValueError, match="at least one image, got none"):
        captioned(rows)
