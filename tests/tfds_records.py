"""Writes folders as TFDS prepares them, and files of records."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image


def needs(*modules):
    """Skips a test where one of these can't be imported."""
    for module in modules:
        pytest.importorskip(module, exc_type=ImportError)


def png(image):
    out = io.BytesIO()
    Image.fromarray(image.squeeze()).save(out, "PNG")
    return out.getvalue()


def write_prepared(
    root, images, labels=None, names=(), *, where="mine/1.0.0", tensor=None, more=None, beside=None, **info
):
    """Writes a set by hand as TFDS does: its two descriptions, and Examples (pictures, or numbers where `tensor` is
    their dtype) in array_record. `more` has images and labels of further splits, `beside` integers by the key
    that each record has besides, `info` overrides entries of dataset_info.json. The test is skipped where TFDS can't be
    imported."""
    needs("tensorflow_datasets", "array_record")
    folder, kind = Path(root) / where, "tensorflow_datasets.core.features."
    folder.mkdir(parents=True)
    shape = {"dimensions": [str(n) for n in images[0].shape] if tensor else ["-1", "-1", "3"]}
    features = {"image": {"pythonClassName": kind + "image_feature.Image", "image": {"shape": shape, "dtype": "uint8"}}}
    if tensor:
        numbers = {"shape": shape, "dtype": tensor, "encoding": "none"}
        features = {"image": {"pythonClassName": kind + "tensor_feature.Tensor", "tensor": numbers}}
    if labels is not None:
        about = {"classLabel": {"numClasses": str(len(names))}}
        features["label"] = {"pythonClassName": kind + "class_label_feature.ClassLabel", **about}
        (folder / "label.labels.txt").write_text("\n".join(names) + "\n")
    of = {"pythonClassName": kind + "features_dict.FeaturesDict", "featuresDict": {"features": features}}
    (folder / "features.json").write_text(json.dumps(of))
    parts = {"train": (images, labels)} | (more or {})
    splits = [split(name=part, shardLengths=[str(len(stored))]) for part, (stored, _) in parts.items()]
    description = {"name": "mine", "version": "1.0.0", "fileFormat": "array_record", "splits": splits} | info
    (folder / "dataset_info.json").write_text(json.dumps(description))
    for part, (stored, numbers) in parts.items():
        name = f"{description['name'].rpartition('/')[2]}-{part}.array_record-00000-of-00001"
        write_records(folder / name, stored, numbers, tensor, beside)
    return folder


def split(**changes):
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    return {"name": "train", "numBytes": "1", "shardLengths": ["6"], "filepathTemplate": template} | changes


def write_records(path, images, labels, tensor, beside=None):
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for i, image in enumerate(images):
        example = tf_example_pb2.Example()
        values = example.features.feature["image"]
        if tensor:
            numbers = values.int64_list if tensor == "uint8" else values.float_list
            numbers.value.extend(image.ravel().tolist())
        else:
            values.bytes_list.value.append(image if isinstance(image, bytes) else png(image))
        if labels is not None:
            example.features.feature["label"].int64_list.value.append(labels[i])
        for key, number in (beside or {}).items():
            example.features.feature[key].int64_list.value.append(number)
        writer.write(example.SerializeToString())
    writer.close()
