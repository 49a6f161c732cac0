"""Data sets that TFDS has prepared, read without TensorFlow."""

import functools
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.cache import Expected, cached, fingerprint
from jaxgan.data.errors import BadImage, DataError
from jaxgan.data.sources.prepared import check_description
from jaxgan.data.sources.requirements import tensorflow_datasets, unimportable
from jaxgan.data.sources.source import decode
from jaxgan.printable import printable
from jaxgan.terminal import progress_bar

__all__ = ["TfdsSource", "tfds_folder", "tfds_source"]

CHANNELS = ((1,), (3,), (4,), (None,))
BLOCK = 1024  # records that are read at a time for their labels
VERSION = 1  # of cached labels: raised when the same files would give others, or be refused
AT_ONCE = 2**28  # bytes: smaller sets are read as they are stored in one go, which is three times as fast


@dataclass(frozen=True)
class TfdsSource:
    """The records of a prepared set by index, decoded when they are read. channels: as TFDS declares them; grey
    pictures in a set of coloured ones become coloured, as in TFDS. files: the folder's fingerprint before it was
    opened."""

    name: str
    folder: Path
    labels: np.ndarray
    class_names: tuple[str, ...]
    channels: int | None = None
    split: str = "train"
    files: str | None = None

    @functools.cached_property
    def records(self) -> Any:
        """Opens the records through TFDS when they are first needed. DataError where the files have changed since the
        labels were read."""
        if self.files and _fingerprint(self.folder) != self.files:
            raise DataError(f"{self.folder} has changed since it was opened; start again")
        try:
            return _records(_builder(self.folder), self.folder, self.split)
        except ImportError as error:
            raise unimportable(error) from error

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> np.ndarray:
        try:
            stored = self.records[i]["image"]
        except DataError:
            raise
        except Exception as error:  # array_record's errors have no common type
            raise BadImage(f"{self.title(i)} can't be read ({error})") from error
        image = decode(stored, self.title(i)) if isinstance(stored, bytes) else np.asarray(stored)
        image = image[..., None] if image.ndim == 2 else image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
            raise BadImage(f"{self.title(i)} is {image.dtype} of shape {image.shape}, expected uint8 [H, W, 1 or 3]")
        return np.repeat(image, 3, axis=2) if image.shape[2] == 1 and self.channels == 3 else image

    def title(self, i: int) -> str:
        return f"image {i} of {self.folder}" + ("" if self.split == "train" else f" ({self.split})")

    def identity(self) -> int:
        """Returns a checksum of the split and of the files' names and sizes, which all splits share."""
        files = repr(sorted((file.name, file.stat().st_size) for file in self.folder.iterdir()))
        return zlib.crc32((files if self.split == "train" else files + self.split).encode())

    def fingerprint(self) -> str | None:
        """Returns a text that changes with any change of the files, on this machine; None where that isn't known."""
        return self.files and f"{self.files} {self.split}"


def tfds_folder(name: str, root: Path) -> Path | None:
    """Returns the folder under `root` with the newest prepared version of `name` (`NAME` or `NAME/CONFIG`), or None. A
    version that TFDS was still writing when it was stopped doesn't count. DataError where there are several configs and
    the name doesn't say which."""
    found = _versions(root, f"{name}/*") or _versions(root, f"{name}/*/*")
    if len(configs := sorted({folder.parent.relative_to(root).as_posix() for folder in found})) > 1:
        raise DataError(f"data set {name!r} has several kinds in {root}; name one: {', '.join(configs)}")
    return max(found, key=lambda folder: [int(part) for part in folder.name.split(".")], default=None)


def _versions(root: Path, pattern: str) -> list[Path]:
    found = [path.parent for path in root.glob(f"{pattern}/dataset_info.json")]
    return [folder for folder in found if all(part.isdecimal() for part in folder.name.split("."))]


def _labels(records: Any, count: int) -> np.ndarray:
    """Reads the labels of all records, int32 `[count]`; shows a progress bar if it takes longer than two seconds."""
    if isinstance(records, list):
        return np.array([row["label"] for row in records], np.int32)
    labels = np.empty(count, np.int32)
    with progress_bar(count, "reading labels") as bar:
        for start in range(0, count, BLOCK):
            rows = records.__getitems__(range(start, min(start + BLOCK, count)))
            labels[start : start + len(rows)] = [row["label"] for row in rows]
            bar.update(len(rows))
    return labels


def tfds_source(name: str, folder: Path, split: str = "train") -> TfdsSource:
    """Opens a split of the prepared set in `folder`. While the folder's files are unchanged, its labels come from the
    user's cache folder, without TFDS. DataError where the set is damaged or half-written, is in a format that only
    TensorFlow reads, or has no images or no such split."""
    files, read = _fingerprint(folder), {}

    def compute() -> dict[str, np.ndarray]:
        read["records"], labels, names, channels = _checked(name, folder, split)
        return {"labels": labels, "class_names": np.array(names, str), "channels": np.array(channels or 0)}

    expected: Expected = {
        "labels": (np.int32, (None,)),
        "class_names": (np.str_, (None,)),
        "channels": (np.integer, ()),
    }
    found = cached("labels", (files, split, VERSION), expected, compute)
    names, channels = tuple(found["class_names"].tolist()), int(found["channels"]) or None
    source = TfdsSource(name, folder, found["labels"], names, channels, split, files)
    vars(source).update(read)  # in place of the cached property
    return source


def _fingerprint(folder: Path) -> str | None:
    try:
        return fingerprint(list(folder.iterdir()))
    except OSError:
        return None


def _builder(folder: Path) -> Any:
    """Opens the set in a folder through TFDS, after a check of its description."""
    check_description(folder)
    logging.getLogger("absl").setLevel(logging.ERROR)  # it recommends OpenCV at every start
    return tensorflow_datasets().builder_from_directory(folder)


def _records(builder: Any, folder: Path, split: str) -> Any:
    """Returns the records of a split, undecoded: of a small set a list of them, otherwise an object that reads them one
    by one."""
    raw = tensorflow_datasets().decode.SkipDecoding()
    records = builder.as_data_source(split=split, decoders={"image": raw})
    small = sum(file.stat().st_size for file in folder.iterdir()) < AT_ONCE
    return records.__getitems__(range(len(records))) if small and len(records) else records


def _checked(name: str, folder: Path, split: str) -> tuple[Any, np.ndarray, tuple[str, ...], int | None]:
    """Opens and checks a split; returns its records, labels, class names, and number of channels."""
    again = f"remove it and prepare {name!r} again"
    try:
        builder = _builder(folder)
        features, splits = builder.info.features, builder.info.splits
        if split != "train" and split not in splits:
            raise DataError(f"{folder} has no {split} split; it has {', '.join(splits)}")
        if "image" not in features or split not in splits:
            raise DataError(
                f"{folder} has features {', '.join(features)} and splits {', '.join(splits)}; an image and train are "
                "needed: take another data set"
            )
        kind, shape = np.dtype(features["image"].np_dtype), features["image"].shape
        if kind not in (np.uint8, np.uint16) or len(shape) not in (2, 3) or shape[2:] not in ((), *CHANNELS):
            raise DataError(f"{folder} has images of {kind} and shape {shape}; uint8 [H, W, 1 or 3] is expected")
        records = _records(builder, folder, split)
        expected, count = splits[split].num_examples, len(records)
        if count != expected or count == 0:
            raise DataError(f"{folder} holds {count} of the {expected} images that it should; {again}")
        labelled = "label" in features and hasattr(features["label"], "names")
        names = tuple(map(printable, features["label"].names)) if labelled else ()
        if any(records[i].get("image") is None for i in (0, count // 2, count - 1)):  # a file that was cut short
            raise DataError(f"{folder} holds records without images; {again}")
        labels = _labels(records, count) if labelled else np.zeros(count, np.int32)
        if labelled and not (labels.min() >= 0 and labels.max() < len(names)):
            raise DataError(
                f"{folder} has labels from {labels.min()} to {labels.max()}, not from 0 to {len(names) - 1}; {again}"
            )
    except DataError:
        raise
    except ImportError as error:
        raise unimportable(error) from error
    except NotImplementedError as error:
        raise DataError(
            f"{folder} is not stored as array_record, which is what can be read without TensorFlow; remove it, or name "
            "another folder with --data-dir, and prepare it again"
        ) from error
    except Exception as error:  # half-written folders fail in as many ways as there are files
        reason = (str(error) or type(error).__name__).partition("\n")[0]
        raise DataError(f"{folder} can't be read ({reason}); {again}") from error
    return records, labels, names, shape[2] if len(shape) == 3 else 1
