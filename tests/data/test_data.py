"""Image sets by name, from arrays and from .npz files, and the errors where there are none."""

import io
import pickle
import sys
import tracemalloc
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import needs_tfds
from sklearn.datasets import load_digits

from jaxgan import data
from jaxgan.data.names import kind_of
from jaxgan.data.npz import read_npz

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3), np.uint8)


def open_npz(path):
    return data.open_source(f"npz:{path}")


def test_digits_are_scikit_learns_scaled_up():
    found = data.open_source("digits")
    assert found.images.shape == (1797, 28, 28, 1) and found.images.dtype == np.uint8
    assert found.labels.shape == (1797,) and found.labels.dtype == np.int32 and found.class_names == tuple("0123456789")
    np.testing.assert_array_equal(found.labels, load_digits().target)
    # Scaling keeps the picture: averages over the 7×7 halves of each side follow those over 2×2 of the original.
    small = load_digits().images.reshape(-1, 4, 2, 4, 2).mean((2, 4)) * 255 / 16
    large = found.images.reshape(-1, 4, 7, 4, 7).astype(float).mean((2, 4))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.98
    assert found.images.min() == 0 and found.images.max() == 255


def test_faces_are_the_first_hundred_of_scikit_images_subset(monkeypatch):
    levels = np.random.default_rng(0).random((200, 25, 25))
    package, module = types.ModuleType("skimage"), types.ModuleType("skimage.data")
    module.lfw_subset = lambda: levels
    monkeypatch.setitem(sys.modules, "skimage", package)
    monkeypatch.setitem(sys.modules, "skimage.data", module)
    found = data.open_source("faces")
    assert len(found) == 100 and found[0].shape == (25, 25, 1) and found[0].dtype == np.uint8
    np.testing.assert_array_equal(found.images[..., 0], np.round(255 * levels[:100]))
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(data.DataError, match=r"^faces are scikit-image's, .*: pip install 'jaxgan\[faces\]'$"):
        data.open_source("faces")


@pytest.mark.parametrize("name, modes", [("ring", 8), ("grid", 25)])
def test_points_are_a_set_with_labels(name, modes):
    found = data.open_source(name)
    assert found.images.shape == (100_000, 1, 1, 2) and found.class_names == tuple(map(str, range(modes)))


@pytest.mark.slow
@pytest.mark.data
@needs_tfds
def test_mnist_is_mnist():
    source = data.open_source("mnist")
    found = data.in_memory(source, np.arange(len(source)), data.ImageTransform(28, 1))
    assert found.shape == (60_000, 28, 28, 1) and found.dtype == np.uint8
    # Published facts: the class counts of the training set (LeCun et al.), the mean 0.1307 and deviation 0.3081 that
    # every tutorial normalises with.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(source.labels), counts)
    np.testing.assert_allclose([found.mean() / 255, found.std() / 255], [0.1307, 0.3081], atol=5e-5)
    assert data.mnist_or_digits()[1] is None


@pytest.mark.data
@needs_tfds
def test_mnists_test_split():
    source = data.open_source("mnist", split="test")
    found = data.in_memory(source, np.arange(len(source)), data.ImageTransform(28, 1))
    assert found.shape == (10_000, 28, 28, 1)
    # Published: the class counts of the test set.
    np.testing.assert_array_equal(np.bincount(source.labels), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])


@pytest.mark.slow
@pytest.mark.data
@needs_tfds
def test_cifar10_is_cifar10():
    source = data.open_source("cifar10")
    assert source.class_names[:4] == ("airplane", "automobile", "bird", "cat")
    np.testing.assert_array_equal(np.bincount(source.labels), [5000] * 10)
    np.testing.assert_array_equal(np.bincount(data.open_source("cifar10", split="test").labels), [1000] * 10)
    # The means of red, green and blue that every tutorial normalises with; of 5,000 images they differ by some 0.002.
    found = data.in_memory(source, np.arange(0, 50_000, 10), data.ImageTransform(32, 3))
    np.testing.assert_allclose(found.mean((0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=0.01)


def test_arrays_become_a_set():
    labels = np.array([0, 2, 1, 0, 2, 2], np.int64)
    found = data.from_arrays("mine", IMAGES, labels, ["a", "b", "c"])
    np.testing.assert_array_equal(found[4], IMAGES[4])
    assert found.labels.dtype == np.int32 and found.labels.tolist() == labels.tolist()
    assert found.class_names == ("a", "b", "c") and found.title(4) == "image 4 of mine" and len(found) == 6
    assert data.from_arrays("grey", IMAGES[..., 0]).images.shape == (6, 5, 7, 1)
    assert data.from_arrays("mine", IMAGES).class_names == ()
    assert data.from_arrays("mine", IMAGES, labels).class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((IMAGES / 255,), r"mine: images of dtype float64; uint8 in 0\.\.255 is expected .*astype"),
        ((IMAGES[0, 0],), r"images of shape \(7, 3\); \[N, H, W\] or \[N, H, W, C\]"),
        ((IMAGES[:0],), r"images of shape \(0, 5, 7, 3\)"),
        (([IMAGES[0], IMAGES[1, :2]],), "images must have one shape"),
        ((IMAGES[..., :2],), r"images with 2 channels; 1 \(grey\) or 3 \(RGB\)"),
        ((np.concatenate([IMAGES, IMAGES], 3),), "images with 6 channels"),
        ((IMAGES, [0, 1, 2]), r"labels of shape \(3,\) .* each of the 6 images"),
        ((IMAGES, np.zeros((6, 1), int)), r"labels of shape \(6, 1\)"),
        ((IMAGES, np.zeros(6)), "labels of shape .* dtype float64; one integer"),
        ((IMAGES, [0, 1, -1, 2, -2, 0]), "image 2 has label -1 and 1 others; 0 to 2 are expected"),
        ((IMAGES, [-1] * 6), "image 0 has label -1 and 5 others; 0 to 0 are expected"),
        ((IMAGES, [0, 1, 3, 0, 0, 0], ["a", "b", "c"]), "image 2 has label 3; 0 to 2 are expected"),
        ((IMAGES, [0, 1, 2**60, 0, 0, 0]), f"image 2 has label {2**60}; 0 to 99999 are expected"),  # at once, too
        ((IMAGES, None, ["a"]), "1 class names but no labels"),
    ],
    ids=str,
)
def test_other_arrays_are_refused(arguments, message):
    with pytest.raises(data.DataError, match=message):
        data.from_arrays("mine", *arguments)


def test_npz(tmp_path):
    path = tmp_path / "my set.npz"
    np.savez_compressed(path, images=IMAGES, labels=np.arange(6) % 3)
    found = open_npz(path)
    np.testing.assert_array_equal(found.images, IMAGES)
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2] and found.name == "npz:my set.npz"
    np.savez(path, images=IMAGES[..., 0])
    assert open_npz(path).images.shape == (6, 5, 7, 1) and open_npz(path).class_names == ()


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write_header(path, name, shape):
    with zipfile.ZipFile(path, "w") as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        archive.writestr(name, header.getvalue() + b"few")


@pytest.mark.parametrize("what", ["object array", "object labels", "pickle", "pickle called images"])
def test_nothing_in_an_npz_is_ever_run(what, tmp_path):
    path, marker = tmp_path / "bomb.npz", tmp_path / "marker"
    bomb = np.array([Bomb(marker)], object)
    if what == "pickle":
        path.write_bytes(pickle.dumps(Bomb(marker)))
    elif what == "pickle called images":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images", pickle.dumps(Bomb(marker)))
    elif what == "object array":
        np.savez(path, images=bomb)
    else:
        np.savez(path, images=IMAGES, labels=bomb)
    with pytest.raises(data.DataError, match=r"bomb\.npz"):
        open_npz(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Bomb(marker)))  # noqa: S301 - it would have gone off
    assert marker.exists()


def test_broken_npz_are_told(tmp_path, monkeypatch):
    def refused(message):
        with pytest.raises(data.DataError, match=message) as error:
            open_npz(path)
        assert "\n" not in str(error.value)

    path = tmp_path / "a.npz"
    refused(r"a\.npz is not there; give the path")
    path.write_bytes(b"")
    refused(r"a\.npz can't be read as an \.npz file of plain arrays .*np\.savez")
    np.savez(path, x_train=IMAGES, y_train=[1])
    refused(r"holds x_train, y_train; uint8 `images` .* expected")
    np.savez(path, images=IMAGES, labels=[5] * 5)
    refused(r"npz:a\.npz: labels of shape \(5,\)")
    np.savez_compressed(path, images=IMAGES)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    refused("can't be read")
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    refused("can't be read")
    for shape in ((10**7, 1000, 1000), (2**62, 4), (-1, 3)):  # what a header claims, with three bytes behind it
        write_header(path, "images.npy", shape)
        refused("can't be read")
    for name in ("images.npy", "images"):
        write_header(path, name, (10,))
        with monkeypatch.context() as patch:
            patch.setattr("os.sysconf", lambda name: 12)  # a machine of 144 bytes
            refused(r"unpacks to \d+ bytes, more than half of this machine's memory")


@pytest.mark.parametrize("name", ["../mnist", "/etc", "a b", "Folder:x", "mnist:3.0.1", "..", "x/../y", "*"])
def test_what_is_no_name_is_refused(name, tmp_path):
    with pytest.raises(
        data.DataError,
        match=r"; digits, .*diabetes, ring, grid, .*, npz:PATH, csv:PATH or a name",
    ):
        data.open_source(name, str(tmp_path))


@pytest.mark.parametrize("name", ["folder:", "npz:", "folder", "pairs"])
def test_a_path_is_needed(name):
    with pytest.raises(data.DataError, match=f"^{name} lacks a path; {name.strip(':')}:PATH is expected"):
        data.open_source(name)


@pytest.mark.parametrize("name", ["digits", "ring", "grid", "folder:x", "npz:x.npz"])
def test_sets_without_splits_say_so(name):
    with pytest.raises(data.DataError, match=f"^{name} has no test split; all of it is the training split, train$"):
        data.open_source(name, split="test")


def raw_npz(path, header, body=b"abc", method=zipfile.ZIP_DEFLATED, name="images.npy"):
    """Writes an .npz whose array has this header, whatever it says."""
    header = header.encode() + b" " * 8 + b"\n"
    with zipfile.ZipFile(path, "w", method) as archive:
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        archive.writestr(name, start + header + body)
    return path


ARRAY = "{'descr': '|u1', 'fortran_order': False, 'shape': (%s)}"


@pytest.mark.parametrize(
    "header, message",
    [
        ("{'descr': '<f8", "holds no plain numbers"),
        ("(" * 5000, "holds no plain numbers"),
        ("{" + "-" * 60_000 + "1}", "holds no plain numbers"),
        ("{'descr': '|u1', 'fortran_order': False, 'fortran_order': False}", "holds no plain numbers"),
        ("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (3,)}", "holds no plain numbers"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", "Object arrays cannot be loaded"),
        ("{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}", "can't be read"),
        (ARRAY % "1099511627776,1048576", "announces 1,152,921,504,606,846,976 bytes, and 3 are there"),
        (ARRAY % ("9" * 5000), "can't be read"),
        (ARRAY % ("1" * 40_000), "can't be read"),
        (ARRAY % "2,", "announces 2 bytes, and 3 are there"),
        (ARRAY % "-3,", "holds no plain numbers"),
        (ARRAY % "0,1152921504606846976", "announces 0 bytes, and 3 are there"),
    ],
    ids=range(13),
)
def test_headers_of_arrays_that_lie(header, message, tmp_path):
    path = raw_npz(tmp_path / "a.npz", header)
    with pytest.raises(data.DataError, match=message) as error:
        open_npz(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_arrays_as_others_write_them(tmp_path):
    """In another order, with Python 2's integers, column by column, and as big-endian numbers."""
    path = tmp_path / "a.npz"
    values = bytes(range(6))
    header = "{'shape': (1L, 2L, 3L), 'fortran_order': True, 'descr': '|u1'}"
    expected = np.frombuffer(values, np.uint8).reshape((1, 2, 3), order="F")
    np.testing.assert_array_equal(read_npz(raw_npz(path, header, values), 10**6, "that")["images"], expected)
    given = {"a": np.arange(3, dtype=">i4"), "b": np.array("text"), "c": np.float64(2), "d": np.zeros((0, 4), bool)}
    given |= {
        "e": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "f": np.array([1j, 2]),
        "g": np.array([b"x", b"yz"]),
    }
    for save in (np.savez, np.savez_compressed):
        save(path, **given)
        found = read_npz(path, 10**6, "that")
        assert list(found) == list(given)
        for name, array in given.items():
            assert found[name].dtype == np.asarray(array).dtype, name
            np.testing.assert_array_equal(found[name], array)


def test_arrays_unpack_to_no_more_than_is_allowed(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=np.zeros((20, 1000, 1000), np.uint8))
    with pytest.raises(ValueError, match=r"^it unpacks to 20,000,128 bytes, more than that$"):
        read_npz(path, 10**7, "that")
    whole = bytearray(path.read_bytes())
    entry = whole.rindex(b"PK\x01\x02")  # the directory says less than there is
    whole[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(whole)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="Bad CRC-32"):
            read_npz(path, 10**7, "that")
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
    raw_npz(path, ARRAY % "3,", method=zipfile.ZIP_BZIP2)
    with pytest.raises(ValueError, match="compressed in another way than NumPy's"):
        read_npz(path, 10**7, "that")


@pytest.mark.parametrize(
    "name, meant",
    [("mnits", "mnist"), ("CIFAR-10", "cifar10"), ("digit", "digits"), ("my_own", "my_own_set"), ("rng", "ring")],
)
def test_a_name_that_is_nearly_right_is_told(name, meant, tmp_path, monkeypatch):
    """One of ours, or one that lies where prepared sets do."""
    monkeypatch.setattr("jaxgan.data.sources.requirements.has_tensorflow", lambda: False)
    (tmp_path / "my_own_set").mkdir()
    with pytest.raises(data.DataError, match=f"; perhaps you meant {meant}$"):
        data.open_source(name, str(tmp_path))


def test_a_path_without_its_kind_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in "a.csv", "a.npz", "a.zip":
        Path(name).touch()
    for name, kind in {"photos": "folder", "a.csv": "csv", "a.npz": "npz", "./a.zip": "folder"}.items():
        with pytest.raises(data.DataError, match=f"; perhaps you meant {kind}:{name}$"):
            data.open_source(name, str(tmp_path))


def test_the_kind_of_a_set_is_told_by_its_name():
    kinds = {"ring": "points", "grid": "points", "diabetes": "vectors", "csv:a": "vectors", "npz:a": None}
    kinds |= dict.fromkeys(("auto", "mnist", "digits", "stacked_mnist", "folder:csv:a", "voc/2007"), "image")
    assert {name: kind_of(name) for name in [*kinds, "a=ring,b=mnist"]} == {**kinds, "a=ring,b=mnist": None}
