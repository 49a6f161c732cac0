"""Image sets: what comes out of the sources, and what is said where nothing does."""

import os
import time

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxgan import data

needs_tfds = pytest.mark.skipif("TFDS_DATA_DIR" not in os.environ, reason="TFDS_DATA_DIR is not set")


def test_digits_are_scikit_learns_scaled_up():
    found = data.load("digits")
    assert found.images.shape == (1797, 28, 28, 1) and found.images.dtype == np.uint8
    assert found.labels.shape == (1797,) and found.labels.dtype == np.int32 and found.classes == 10
    np.testing.assert_array_equal(found.labels, load_digits().target)
    # Scaling keeps the picture: averages over the 7×7 halves of each side follow those over 2×2 of the original.
    small = load_digits().images.reshape(-1, 4, 2, 4, 2).mean((2, 4)) * 255 / 16
    large = found.images.reshape(-1, 4, 7, 4, 7).astype(float).mean((2, 4))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.98
    assert found.images.min() == 0 and found.images.max() == 255


@pytest.mark.data
@needs_tfds
def test_mnist_is_mnist():
    found = data.load("mnist")
    assert found.images.shape == (60_000, 28, 28, 1) and found.images.dtype == np.uint8 and found.classes == 10
    # Published facts: the class counts of the training set (LeCun et al.), the mean 0.1307 and deviation 0.3081 that
    # every tutorial normalises with.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(found.labels), counts)
    np.testing.assert_allclose([found.images.mean() / 255, found.images.std() / 255], [0.1307, 0.3081], atol=5e-5)
    assert data.mnist_or_digits()[1] is None


@pytest.mark.parametrize("name", ["mnist", "no_such_set"])
def test_a_set_that_was_named_is_never_replaced(name, tmp_path):
    with pytest.raises(data.DataError, match=f"{name}.*not prepared in .*--data-dir.*--dataset digits"):
        data.load(name, str(tmp_path))


def test_without_mnist_there_are_digits_within_ten_seconds(tmp_path):
    began = time.monotonic()
    found, reason = data.mnist_or_digits(str(tmp_path))
    assert time.monotonic() - began < 10
    assert found.name == "digits" and "not prepared" in reason


def test_a_broken_prepared_folder_is_named(tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{")
    with pytest.raises(data.DataError, match=r"3\.0\.1 can't be read .*prepare 'mnist' again"):
        data.load("mnist", str(tmp_path))


def test_padding_centres_on_black():
    images = np.full((2, 28, 28, 3), 7, np.uint8)
    padded = data.pad_to(images, 32)
    assert padded.shape == (2, 32, 32, 3) and padded.dtype == np.uint8
    np.testing.assert_array_equal(padded[:, 2:30, 2:30], images)
    assert padded.sum() == images.sum()
    with pytest.raises(data.DataError, match="28×28 pixels don't fit 20×20"):
        data.pad_to(images, 20)
