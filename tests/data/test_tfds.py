"""TFDS's prepared folders, complete, damaged and half-written, read without TensorFlow."""

import json
import pickle
import sys
import zlib

import numpy as np
import pytest
from tfds_records import png, split, write_prepared

from jaxgan import data
from jaxgan.data.errors import BadImage
from jaxgan.data.sources import fetch, tfds

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3), np.uint8)


def open_mine(root, name="mine"):
    return data.open_source(name, str(root))


@pytest.mark.parametrize("at_once", [True, False])
def test_prepared_sets_of_any_sizes(at_once, tmp_path, monkeypatch):
    """Images are as they were stored, and grey ones coloured as the set's description says; in a worker process too."""
    monkeypatch.setattr(tfds, "AT_ONCE", 2**28 if at_once else 0)
    images = [IMAGES[0], IMAGES[1][:, :4], IMAGES[2][..., :1]]
    write_prepared(tmp_path, images, [0, 1, 0], ["cat", "dog"])
    source = open_mine(tmp_path)
    for found in (source, pickle.loads(pickle.dumps(source))):  # noqa: S301 - our own
        assert found.labels.tolist() == [0, 1, 0] and found.labels.dtype == np.int32
        assert found.class_names == ("cat", "dog") and len(found) == 3 and found.name == "mine"
        for i in range(2):
            np.testing.assert_array_equal(found[i], images[i])
        np.testing.assert_array_equal(found[2], np.repeat(images[2], 3, 2))


def test_prepared_tensors_and_sets_without_labels(tmp_path):
    write_prepared(tmp_path / "a", IMAGES, tensor="uint8")
    found = open_mine(tmp_path / "a")
    np.testing.assert_array_equal(found[3], IMAGES[3])
    assert found.class_names == () and found.labels.tolist() == [0] * 6
    write_prepared(tmp_path / "b", IMAGES[..., 0], tensor="uint8")
    np.testing.assert_array_equal(open_mine(tmp_path / "b")[3], IMAGES[3, ..., :1])
    write_prepared(tmp_path / "c", IMAGES, tensor="float32")
    with pytest.raises(data.DataError, match=r"images of float32 .* uint8 \[H, W, 1 or 3\] is expected"):
        open_mine(tmp_path / "c")
    write_prepared(tmp_path / "d", IMAGES[..., :2], tensor="uint8")
    with pytest.raises(data.DataError, match=r"shape \(5, 7, 2\); uint8"):
        open_mine(tmp_path / "d")


def test_the_newest_version_and_the_only_kind(tmp_path):
    for version in ("2.0.0", "10.0.0", "10.0.1.incompleteAB", "old"):
        write_prepared(tmp_path, IMAGES[: 1 if version == "10.0.0" else 2], where=f"mine/{version}")
    assert len(open_mine(tmp_path)) == 1
    write_prepared(tmp_path, IMAGES, where="kinds/small/1.0.0")
    assert len(open_mine(tmp_path, "kinds")) == len(open_mine(tmp_path, "kinds/small")) == 6
    write_prepared(tmp_path, IMAGES, where="kinds/large/1.0.0")
    with pytest.raises(data.DataError, match=r"'kinds' has several kinds in .*; name one: kinds/large, kinds/small"):
        open_mine(tmp_path, "kinds")


def test_the_split_that_is_asked_for(tmp_path):
    more = {"test": (IMAGES[3:5], [1, 1]), "validation": (IMAGES[5:], [0])}
    folder = write_prepared(tmp_path, IMAGES[:3], [0, 1, 0], ["cat", "dog"], more=more)
    found = {part: data.open_source("mine", str(tmp_path), split=part) for part in ("train", "test", "validation")}
    for part, (expected, labels) in ({"train": (IMAGES[:3], [0, 1, 0])} | more).items():
        assert found[part].labels.tolist() == labels and found[part].class_names == ("cat", "dog")
        np.testing.assert_array_equal([found[part][i] for i in range(len(found[part]))], expected)
    assert len({source.identity() for source in found.values()}) == 3
    files = repr(sorted((file.name, file.stat().st_size) for file in folder.iterdir()))
    assert found["train"].identity() == zlib.crc32(files.encode())  # runs that are there already know it by this number
    assert found["train"].title(1) == f"image 1 of {folder}" and found["test"].title(1) == f"image 1 of {folder} (test)"
    for part in ("other", "train[:2]", "all"):
        with pytest.raises(data.DataError) as error:
            data.open_source("mine", str(tmp_path), split=part)
        assert str(error.value) == f"{folder} has no {part} split; it has train, test, validation"


def test_sets_with_a_test_split_alone(tmp_path):
    write_prepared(tmp_path, IMAGES).joinpath("mine-train.array_record-00000-of-00001").rename(
        tmp_path / "mine/1.0.0/mine-test.array_record-00000-of-00001"
    )
    info = tmp_path / "mine/1.0.0/dataset_info.json"
    info.write_text(info.read_text().replace('"train"', '"test"'))
    np.testing.assert_array_equal(data.open_source("mine", str(tmp_path), split="test")[5], IMAGES[5])
    with pytest.raises(data.DataError, match="splits test; an image and train are needed"):
        open_mine(tmp_path)


def damage(folder, what):
    (records,) = folder.glob("*array_record*")
    content = records.read_bytes()
    if what == "cut":
        records.write_bytes(content[: len(content) // 2])
    elif what == "empty":
        records.write_bytes(b"")
    elif what == "gone":
        records.unlink()
    elif what == "unfinished":
        folder.rename(folder.with_name("1.0.0.incompleteAB12CD"))
    else:
        (folder / what).write_text("{") if what == "dataset_info.json" else (folder / what).unlink()


AGAIN = r"1\.0\.0 .*; remove it and prepare 'mine' again"
NOT_PREPARED = "'mine' is not prepared in .*; point --data-dir .* or install TensorFlow"


@pytest.mark.parametrize("at_once", [2**28, 0])
@pytest.mark.parametrize(
    "what", ["cut", "empty", "gone", "features.json", "dataset_info.json", "unfinished"], ids=lambda what: what
)
def test_damaged_folders_are_told(what, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "AT_ONCE", at_once)
    damage(write_prepared(tmp_path, IMAGES), what)
    with pytest.raises(data.DataError, match=NOT_PREPARED if what == "unfinished" else AGAIN):
        open_mine(tmp_path)


@pytest.mark.parametrize("at_once", [2**28, 0])
@pytest.mark.parametrize(
    "info, message",
    [
        ({"splits": [split(shardLengths=["8"])]}, AGAIN),
        ({"splits": [split(name="test")]}, "splits test; an image and train are needed"),
        ({"splits": []}, "an image and train are needed"),
        ({"fileFormat": "tfrecord"}, "is not stored as array_record, which is what can be read without TensorFlow"),
    ],
    ids=["too few", "no train", "no splits", "tfrecord"],
)
def test_other_descriptions_are_told(info, message, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "AT_ONCE", at_once)
    write_prepared(tmp_path, IMAGES, **info)
    with pytest.raises(data.DataError, match=message):
        open_mine(tmp_path)


def test_labels_and_images_of_prepared_sets_are_checked(tmp_path):
    write_prepared(tmp_path / "a", IMAGES, [0, 1, 0, 5, 0, 1], ["cat", "dog"])
    with pytest.raises(data.DataError, match="has labels from 0 to 5, not from 0 to 1"):
        open_mine(tmp_path / "a")
    write_prepared(tmp_path / "b", [IMAGES[0], png(IMAGES[1])[:-60], b"no picture"])
    found = open_mine(tmp_path / "b")
    for i, what in ((1, "can't be read"), (2, "is no picture")):
        with pytest.raises(BadImage, match=rf"image {i} of .*/b/mine/1\.0\.0 {what}"):
            found[i]


def features_of(folder, **changes):
    """Adds features to a prepared folder's description."""
    path = folder / "features.json"
    content = json.loads(path.read_text())
    content["featuresDict"]["features"] |= changes
    path.write_text(json.dumps(content))


EVIL = {"pythonClassName": "planted.Feature", "jsonFeature": {"json": "{}"}}
LEGACY = json.dumps({"x": {"type": "planted.Feature", "content": {}}})
OWN = "tensorflow_datasets.core.features."


@pytest.mark.parametrize(
    "feature",
    [
        EVIL,
        {"python_class_name": "planted.Feature", "json_feature": {"json": "{}"}},
        {"pythonClassName": f"{OWN}sequence_feature.Sequence", "sequence": {"feature": EVIL, "length": "-1"}},
        {"pythonClassName": f"{OWN}features_dict.FeaturesDict", "jsonFeature": {"json": LEGACY}},
        {"pythonClassName": f"{OWN}../planted.Feature", "jsonFeature": {"json": "{}"}},
        {"pythonClassName": f"{OWN}image_feature.Image\nplanted.Feature", "jsonFeature": {"json": "{}"}},
    ],
    ids=["plain", "other spelling", "within", "JSON in JSON", "dots", "lines"],
)
def test_no_module_that_a_description_names_is_imported(feature, tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    folder = write_prepared(tmp_path / "sets", IMAGES, [0, 1] * 3, ["a", "b"])
    features_of(folder, x=feature)
    with pytest.raises(
        data.DataError, match=r"features\.json names the class .*, and only those of TFDS's own"
    ) as error:
        open_mine(tmp_path / "sets")
    assert not (tmp_path / "marker").exists() and str(error.value).isprintable()


@pytest.mark.parametrize(
    "info, message",
    [
        ({"splits": [split(filepathTemplate="../../{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}")]}, "outside of its"),
        ({"splits": [split(name="../train")]}, "outside of its"),
        ({"name": "/etc/passwd"}, "outside of its"),
        ({"splits": [split(shardLengths=["1000000000"])]}, r"announces 1,000,000,000 records in 1 files"),
        ({"splits": [split(shardLengths=["1"] * 1000)]}, r"announces 1,000 records in 1,000 files"),
        ({"splits": [split(shardLengths=["-6"])]}, "announces -6 records"),
        ({"splits": [split(shardLengths=float("nan"))]}, "can't be read"),
    ],
)
def test_descriptions_that_lie_are_refused(info, message, tmp_path):
    write_prepared(tmp_path, IMAGES, **info)
    with pytest.raises(data.DataError, match=message):
        open_mine(tmp_path)


def test_deep_and_endless_descriptions_are_refused(tmp_path):
    folder = write_prepared(tmp_path, IMAGES, [0, 1] * 3, ["a", "b"])
    whole = (folder / "features.json").read_text()
    for content in ("[" * 10**6, '{"a":' * 10**6, whole.replace('"2"', '"2000000000"'), whole[:-5], "\udcff"):
        (folder / "features.json").write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(data.DataError, match=r"can't be read \(|2,000,000,000 classes; at most 100,000") as error:
            open_mine(tmp_path)
        assert len(str(error.value)) < 500


def test_what_can_not_be_imported_is_said(tmp_path, monkeypatch):
    """And the folder isn't called damaged, nor its removal advised."""
    write_prepared(tmp_path, IMAGES, [0, 1] * 3, ["a", "b"])
    line = r"can't be imported \(.*{}.*\): pip install 'tensorflow-datasets>=4.9.10,<5' 'importlib_resources>=6'$"

    def refused(name, call):
        with pytest.raises(data.DataError, match=line.format(name)) as error:
            call()
        assert "remove" not in str(error.value)

    source = open_mine(tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tensorflow_datasets", None)
        refused("tensorflow_datasets", lambda: open_mine(tmp_path))
        refused("tensorflow_datasets", lambda: fetch.registered("mnist"))

    def late(*arguments, **more):
        raise ModuleNotFoundError("No module named 'etils'", name="etils")

    monkeypatch.setattr(tfds, "_records", late)  # TFDS imports array_record and others when it opens the records
    refused("etils", lambda: open_mine(tmp_path))
    source = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own
    vars(source).pop("records", None)
    refused("etils", lambda: source[0])
