"""Slanted and coloured MNIST: its rule against numbers worked out by hand, and that it loses nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import needs_tfds
from jax.test_util import check_grads
from tfds_records import write_prepared

from jaxgan import data
from jaxgan.data.slanted import slant, slanted_mnist, upright
from jaxgan.media import Image
from jaxgan.training import UsageError
from jaxgan.training.options.data import DataOptions
from jaxgan.training.recipe.loading import load

RANDOM = np.random.default_rng(0)
DIGITS = RANDOM.integers(0, 256, (7, 28, 28, 1), np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9, 2], np.int32)
# How far each of the 32 rows moves to the right, from the top.
MOVED = [4, 4, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, -1, -1, -1, -1, -2, -2, -2, -2, -3, -3, -3, -3, -4, -4]


def by_hand(grey):
    """Slants and colours one picture of levels, `[32, 32]` of 0 to 255, pixel by pixel, to `[32, 32, 3]`."""
    out = np.zeros((32, 32, 3))
    for row in range(32):
        for column in range(32):
            v = grey[row, column] / 255
            out[row, (column + MOVED[row]) % 32] = (255 * v, 255 * v, 96 * (1 - v))
    return out


def test_the_rule_by_hand():
    grey = RANDOM.integers(0, 256, (2, 32, 32, 1), np.uint8)
    expected = np.stack([by_hand(one[..., 0]) for one in grey])
    np.testing.assert_allclose((slant(grey / 127.5 - 1) + 1) * 127.5, expected, atol=1e-10)
    corner = np.full((1, 32, 32, 1), -1.0)
    corner[0, 0, 0] = corner[0, 31, 31] = corner[0, 15, 9] = 1.0
    white = np.argwhere(slant(corner)[0, :, :, 0] == 1.0)
    assert white.tolist() == [[0, 4], [15, 9], [31, 27]]
    np.testing.assert_array_equal(slant(corner)[0, 5, 5], [-1.0, -1.0, 96 / 127.5 - 1])


@pytest.mark.parametrize("dtype, within", [(np.float64, 1e-14), (np.float32, 5e-7)])
@pytest.mark.parametrize("xp", [np, jnp])
def test_each_inverts_the_other(xp, dtype, within):
    grey = RANDOM.uniform(-1, 1, (3, 32, 32, 1)).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        there = slant(xp.asarray(grey))
        back = upright(there)
        assert there.dtype == back.dtype == dtype and isinstance(back, type(xp.zeros(1)))
        np.testing.assert_allclose(np.asarray(back), grey, atol=within, rtol=0)
        np.testing.assert_allclose(np.asarray(slant(back)), np.asarray(there), atol=within, rtol=0)


def test_compiled_and_with_a_gradient():
    grey = jnp.asarray(RANDOM.uniform(-1, 1, (2, 32, 32, 1)), jnp.float32)
    np.testing.assert_allclose(jax.jit(slant)(grey), slant(np.asarray(grey)), atol=1e-6)
    coloured = slant(grey)
    np.testing.assert_allclose(jax.jit(upright)(coloured), upright(np.asarray(coloured)), atol=1e-6)
    half = upright(coloured.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16 and np.abs(half.astype(jnp.float32) - grey).max() < 0.05
    check_grads(lambda x: upright(slant(x)), (grey,), order=1, modes=["rev"], eps=1e-2)


def test_a_colour_beside_the_line_is_read_as_the_nearest_on_it():
    levels = np.array([[255, 255, 0], [0, 0, 96], [255, 255, 255], [0, 0, 255], [0, 255, 0]])
    images = np.broadcast_to(levels[:, None, None] / 127.5 - 1, (5, 32, 32, 3))
    # The share w that is nearest to c: the least squares of (255, 255, -96)·w = c - (0, 0, 96), from NumPy.
    shares = np.linalg.lstsq(np.array([[255.0], [255.0], [-96.0]]), (levels - [0, 0, 96]).T)[0][0]
    np.testing.assert_allclose(upright(images)[:, 9, 9, 0], 2 * shares - 1, atol=1e-12)
    corners = np.array(np.meshgrid(*[[0, 255]] * 3)).reshape(3, 8).T
    found = upright(np.broadcast_to(corners[:, None, None] / 127.5 - 1, (8, 32, 32, 3)))
    assert found.max() == pytest.approx(1) and -1.22 < found.min() < -1.21  # as its docstring says


@pytest.mark.parametrize(
    "function, wrong",
    [
        (slant, np.zeros((2, 32, 32, 3))),
        (slant, np.zeros((2, 28, 28, 1))),
        (slant, np.zeros((2, 32, 32, 1), np.uint8)),
        (slant, np.zeros((32, 32, 1))),
        (upright, np.zeros((2, 32, 32, 1))),
        (upright, jnp.zeros((1, 32, 32, 3), jnp.int32)),
    ],
)
def test_other_arrays_are_refused(function, wrong):
    with pytest.raises(ValueError, match=r"^got \w+ of shape .*; floats \[B, 32, 32, [13]\] expected$"):
        function(wrong)


def test_the_set_is_what_the_rule_makes_of_the_digits():
    found = slanted_mnist(data.from_arrays("mnist", DIGITS, LABELS))
    assert found.name == "slanted_mnist" and found.images.shape == (7, 32, 32, 3) and found.images.dtype == np.uint8
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.class_names == tuple(map(str, range(10)))
    padded = np.pad(DIGITS[..., 0], ((0, 0), (2, 2), (2, 2)))
    np.testing.assert_array_equal(found.images, np.rint([by_hand(each) for each in padded]).astype(np.uint8))
    # Its 8 bits hold all of the digit.
    medium = Image()
    back = medium.encode(jnp.asarray(upright(np.asarray(medium.decode(jnp.asarray(found.images))))))
    np.testing.assert_array_equal(back[..., 0], padded)


@pytest.fixture
def prepared_mnist(tmp_path):
    """Returns a folder with a tiny MNIST, as TFDS prepares it."""
    parts = (DIGITS[:4], LABELS[:4].tolist()), (DIGITS[4:], LABELS[4:].tolist())
    names = tuple("0123456789")
    write_prepared(tmp_path, *parts[0], names, where="mnist/3.0.1", tensor="uint8", more={"test": parts[1]})
    return str(tmp_path)


def test_by_name_with_both_splits(prepared_mnist):
    for split, part in (("train", slice(4)), ("test", slice(4, 7))):
        found = data.open_source("slanted_mnist", prepared_mnist, split=split)
        np.testing.assert_array_equal(found.labels, LABELS[part])
        np.testing.assert_array_equal(found.images, slanted_mnist(data.from_arrays("mnist", DIGITS[part])).images)
    with pytest.raises(data.DataError, match=r"no validation split"):
        data.open_source("slanted_mnist", prepared_mnist, split="validation")
    # Beside the digits that it is made of, as two sets of one experiment.
    both = load(DataOptions("a=mnist,b=slanted_mnist", prepared_mnist, image_size=32, fit="pad"))
    assert both["a"].images.shape == (4, 32, 32, 1) and both["b"].images.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(both["a"].images[..., 0], np.pad(DIGITS[:4, ..., 0], ((0, 0), (2, 2), (2, 2))))


def test_a_name_that_is_written_much_like_it():
    with pytest.raises(UsageError, match="perhaps you meant slanted_mnist"):
        load(DataOptions("slanted-mnist"))


@pytest.mark.long
@pytest.mark.data
@needs_tfds
def test_no_stroke_of_mnist_leaves_the_picture():
    grey = data.ImageTransform(32, 1, "pad")
    ink = np.zeros((32, 32), bool)
    for split in ("train", "test"):
        digits = data.open_source("mnist", split=split)
        images = data.in_memory(digits, np.arange(len(digits)), grey, keep=True)[..., 0]
        ink |= (images > 0).any(0)
        found = slanted_mnist(digits)
        for start in range(0, len(images), 4096):  # every one of them is read back
            block = slice(start, start + 4096)
            back = (upright(found.images[block] / np.float32(127.5) - np.float32(1)) + 1) * np.float32(127.5)
            np.testing.assert_array_equal(np.rint(back)[..., 0], images[block])
    for row, moved in enumerate(MOVED):
        columns = np.flatnonzero(ink[row]) + moved
        assert len(columns) == 0 or (columns.min() >= 0 and columns.max() <= 31), f"row {row}"
