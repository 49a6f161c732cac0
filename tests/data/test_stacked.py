"""Stacked-MNIST, from a tiny MNIST whose digits can be told apart, and from the real one where it is available."""

import tracemalloc
import zlib

import numpy as np
import pytest
from conftest import needs_tfds
from scipy.stats import chi2
from test_fetch import idx
from tfds_records import needs, write_prepared

from jaxgan import data
from jaxgan.data import stacked
from jaxgan.data.sources import fetch, requirements
from jaxgan.data.stacked import stacked_mnist
from jaxgan.training import UsageError
from jaxgan.training.options.data import DataOptions
from jaxgan.training.recipe.loading import load

DIGITS = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1), np.uint8)
LABELS = np.repeat(np.arange(10, dtype=np.int32), 5)  # of each digit as many
TRAINING = np.random.default_rng(1).permutation(50)[:40]
TEST = np.setdiff1d(np.arange(50), TRAINING)
FROM_FAKES = 915392426  # CRC-32 of the first 100 stacks
FROM_MNIST = 1080436235


def tiny(chosen):
    return data.from_arrays("mnist", DIGITS[chosen], LABELS[chosen])


def looked_up(stacks, digits):
    """Returns the index of each channel's digit, `[N, 3]`, by its bytes."""
    place = {digit.tobytes(): i for i, digit in enumerate(digits)}
    return np.array([[place[stack[..., c].tobytes()] for c in range(3)] for stack in stacks])


def chi_square(counts, shares):
    expected = counts.sum() * np.asarray(shares)
    return ((counts - expected) ** 2 / expected).sum()


def plausible(counts, shares):
    """Returns whether the chi-square of counts is neither too large nor too small: all but 1 in 1,000 draws pass."""
    low, high = chi2.ppf([0.0005, 0.9995], len(counts) - 1)
    return low < chi_square(counts, shares) < high


@pytest.fixture(scope="module")
def stacks():
    return {split: stacked_mnist(tiny(TRAINING), tiny(TEST), split) for split in ("train", "test")}


@pytest.fixture
def few(monkeypatch):
    """Makes only the first 4,000 stacks."""
    monkeypatch.setitem(stacked.SPLITS, "train", (4000, stacked.SPLITS["train"][1]))


@pytest.mark.parametrize("split, count", [("train", 128_000), ("test", 26_000)])
def test_stacks_are_three_digits_and_labels_their_number(stacks, split, count):
    found = stacks[split]
    assert found.images.shape == (count, 28, 28, 3) and found.images.dtype == np.uint8 and found.name == "stacked_mnist"
    assert found.labels.shape == (count,) and found.labels.dtype == np.int32
    assert found.class_names[0] == "000" and found.class_names[42] == "042" and found.class_names[999] == "999"
    assert len(found.class_names) == 1000
    some = np.r_[0:2000, count - 2000 : count]
    digits = LABELS[looked_up(found.images[some], DIGITS)]
    np.testing.assert_array_equal(found.labels[some], 100 * digits[:, 0] + 10 * digits[:, 1] + digits[:, 2])
    assert digits.min(axis=0).tolist() == [0, 0, 0] and digits.max(axis=0).tolist() == [9, 9, 9]


def test_every_digit_of_both_sets_is_drawn_alike_and_by_itself(stacks):
    drawn = looked_up(stacks["train"].images[:20_000], DIGITS)
    for channel in drawn.T:
        assert plausible(np.bincount(channel, minlength=50), np.full(50, 1 / 50))
    assert plausible(np.bincount(stacks["train"].labels, minlength=1000), np.full(1000, 1 / 1000))
    assert plausible(np.bincount(stacks["test"].labels, minlength=1000), np.full(1000, 1 / 1000))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert plausible(np.bincount(50 * drawn[:, one] + drawn[:, other], minlength=2500), np.full(2500, 1 / 2500))


def test_it_is_always_the_same_set_and_another_one_for_the_test(stacks, few):
    assert zlib.crc32(stacks["train"].images[:100]) == FROM_FAKES
    assert not (stacks["train"].labels[:26_000] == stacks["test"].labels).all()
    # In whatever order, and in whichever of the two sets, the digits come.
    turned = stacked_mnist(tiny(TEST[::-1]), tiny(TRAINING[::-1]))
    np.testing.assert_array_equal(turned.images, stacks["train"].images[:4000])
    np.testing.assert_array_equal(turned.labels, stacks["train"].labels[:4000])


def test_of_equal_pictures_the_label_decides_the_order(few):
    def stacks(order):
        images, labels = np.zeros((10, 28, 28), np.uint8), np.array(order)
        halves = [data.from_arrays("mnist", images[part], labels[part]) for part in (slice(7), slice(7, 10))]
        return stacked_mnist(*halves)

    np.testing.assert_array_equal(stacks([3, 9, 0, 7, 1, 2, 8, 4, 6, 5]).labels, stacks(range(10)).labels)


def test_the_set_is_in_memory_once(monkeypatch):
    monkeypatch.setitem(stacked.SPLITS, "train", (20_000, 0))
    tracemalloc.start()
    try:
        found = stacked_mnist(tiny(TRAINING), tiny(TEST))
        assert tracemalloc.get_traced_memory()[1] < found.images.nbytes + 20_000_000
    finally:
        tracemalloc.stop()


@pytest.fixture
def prepared_mnist(tmp_path):
    """Returns a folder with a tiny MNIST, as TFDS prepares it."""
    of = {part: (DIGITS[chosen], LABELS[chosen].tolist()) for part, chosen in (("train", TRAINING), ("test", TEST))}
    names = tuple("0123456789")
    write_prepared(tmp_path, *of["train"], names, where="mnist/3.0.1", tensor="uint8", more={"test": of["test"]})
    return str(tmp_path)


def test_by_name_from_a_prepared_folder(stacks, few, prepared_mnist):
    for split, count in (("train", 4000), ("test", 26_000)):
        found = data.open_source("stacked_mnist", prepared_mnist, split=split)
        np.testing.assert_array_equal(found.images[:4000], stacks[split].images[:4000])
        np.testing.assert_array_equal(found.labels, stacks[split].labels[:count])
    assert len(data.open_source("mnist", prepared_mnist)) == 40
    with pytest.raises(data.DataError, match=r"^stacked_mnist has splits train, test, no validation split$"):
        data.open_source("stacked_mnist", prepared_mnist, split="validation")


def test_by_name_from_the_original_files(stacks, few, tmp_path, monkeypatch):
    monkeypatch.setattr(requirements, "has_tensorflow", lambda: False)
    folder = requirements.folder_of("mnist", tmp_path)
    folder.mkdir(parents=True)
    remotes = []
    for part, chosen in (("train", TRAINING), ("t10k", TEST)):
        contents = idx(DIGITS[chosen].tobytes(), len(chosen), 28, 28), idx(bytes(LABELS[chosen].tolist()), len(chosen))
        for what, content in zip(("images-idx3", "labels-idx1"), contents, strict=True):
            path = folder / f"{part}-{what}-ubyte.gz"
            path.write_bytes(content)
            digest = fetch.hashlib.sha256(content).hexdigest()
            remotes.append(fetch.Remote("http://no-such-host.invalid/", path.name, len(content), digest))
    monkeypatch.setattr(fetch, "registered", lambda name: remotes)
    found = data.open_source("stacked_mnist", str(tmp_path))
    np.testing.assert_array_equal(found.images, stacks["train"].images[:4000])
    np.testing.assert_array_equal(found.labels, stacks["train"].labels[:4000])


def test_options_choose_from_it(stacks, few, prepared_mnist):
    images, labels = stacks["train"].images[:4000], stacks["train"].labels[:4000]
    found = load(DataOptions("stacked_mnist", prepared_mnist, image_size=28, classes="7,042,999"))
    assert found.class_names == ("007", "042", "999")
    for new, old in enumerate((7, 42, 999)):
        assert len(found.images[found.labels == new])
        np.testing.assert_array_equal(found.images[found.labels == new], images[labels == old])
    padded = load(DataOptions("stacked_mnist", prepared_mnist, image_size=32, fit="pad", images="1000"))
    assert padded.images.shape == (1000, 32, 32, 3) and len(padded.class_names) == 1000
    assert set(map(bytes, padded.images[:9, 2:-2, 2:-2])) <= set(map(bytes, images))
    stream = load(DataOptions("stacked_mnist", prepared_mnist, image_size=28, images="1000", stream=True))
    assert len(stream) == 1000 and len(stream.source) == 4000


def test_without_mnist_it_is_said_as_of_mnist(tmp_path, monkeypatch):
    needs("tensorflow_datasets")
    monkeypatch.setattr(requirements, "has_tensorflow", lambda: False)
    messages = []
    for name in ("mnist", "stacked_mnist"):
        with pytest.raises(UsageError) as error:
            load(DataOptions(name, str(tmp_path)))
        messages.append(str(error.value))
    assert messages[0] == messages[1] and "of mnist can't be fetched" in messages[0] and "--data-dir" in messages[0]
    folder = write_prepared(tmp_path, DIGITS, LABELS.tolist(), tuple("0123456789"), where="mnist/3.0.1", tensor="uint8")
    with pytest.raises(data.DataError, match=rf"^{folder} has no test split; it has train$"):
        data.open_source("stacked_mnist", str(tmp_path))


def test_images_of_another_size_are_refused():
    with pytest.raises(data.DataError, match="image 0 of wide has 28×30 pixels, not 28×28"):
        stacked_mnist(tiny(TRAINING), data.from_arrays("wide", np.zeros((2, 28, 30), np.uint8), np.zeros(2, int)))


@pytest.mark.long
@pytest.mark.data
@needs_tfds
def test_of_the_real_mnist():
    every = data.ImageTransform(28, 1)
    parts = [data.open_source("mnist", split=split) for split in ("train", "test")]
    images = [data.in_memory(part, np.arange(len(part)), every) for part in parts]
    whole = [data.from_arrays("mnist", *both) for both in zip(images, (part.labels for part in parts), strict=True)]
    digits, labels = np.concatenate(images), np.concatenate([part.labels for part in parts])
    found = stacked_mnist(*whole)
    assert zlib.crc32(found.images[:100]) == FROM_MNIST
    drawn = looked_up(found.images[:20_000], digits)
    np.testing.assert_array_equal(found.labels[:20_000], labels[drawn] @ [100, 10, 1])
    assert plausible(np.bincount(drawn.ravel() // 7, minlength=10_000), np.full(10_000, 1 / 10_000))  # of both sets
    shares = np.bincount(labels) / 70_000
    for split_found in (found, stacked_mnist(*whole, "test")):
        counts = np.bincount(split_found.labels, minlength=1000)
        assert counts.min() > 0 and plausible(counts, np.einsum("i,j,k", shares, shares, shares).ravel())
    # The digits themselves aren't equally frequent, and with so many stacks it shows.
    assert not plausible(np.bincount(found.labels, minlength=1000), np.full(1000, 1 / 1000))
