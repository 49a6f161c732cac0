"""Data sets in memory: arrays by name, with one leading axis."""

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from jaxgan.data.errors import DataError

__all__ = ["LABEL", "DataSet", "from_arrays"]

LABEL = "label"  # the one field that isn't of a medium
MAX_CLASSES = 100_000  # a larger label must be something else, such as an identifier


@dataclass(frozen=True)
class DataSet:
    """A data set in memory: its fields, arrays `[N, ...]` by name. `label`, if there is one, is int32 `[N]`, indices
    into `class_names`; a set without classes needs none.

    kinds: the medium of a field by its name (see `jaxgan.media`); by default uint8 arrays are images and floats `[N,
    D]` vectors. columns: the names of the columns of `vector`, if they are known."""

    name: str
    arrays: Mapping[str, np.ndarray]
    class_names: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def fields(self) -> tuple[str, ...]:
        """Returns the names of the fields other than labels, the main one first: `image`, or else `vector`, or else the
        first."""
        names = [name for name in self.arrays if name != LABEL]
        main = next((name for name in ("image", "vector") if name in names), names[0])
        return (main, *(name for name in names if name != main))

    def kind(self, name: str) -> str:
        """Returns the kind of a field's medium: "image", "points" or "vectors"."""
        return self.kinds.get(name) or ("image" if self.arrays[name].dtype == np.uint8 else "vectors")

    @property
    def images(self) -> np.ndarray:
        """Returns the main field, `[N, ...]`, which needn't be images."""
        return self.arrays[self.fields[0]]

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """Returns the labels, int32 `[N]`, all 0 for a set without labels."""
        return self.arrays[LABEL] if LABEL in self.arrays else np.zeros(len(self), np.int32)

    def of(self, name: str) -> "DataSet":
        """Returns a set with this field as its main one, and the labels."""
        arrays = {name: self.arrays[name], LABEL: self.labels}
        return DataSet(self.name, arrays, self.class_names, {name: self.kind(name)}, self.columns)

    def take(self, places: np.ndarray) -> "DataSet":
        """Returns the examples at these places `[M]` as a set."""
        arrays = {name: array[places] for name, array in self.arrays.items()}
        return DataSet(self.name, arrays, self.class_names, self.kinds, self.columns)

    def __getitem__(self, i: int) -> np.ndarray:
        image: np.ndarray = self.images[i]
        return image

    def title(self, i: int) -> str:
        return f"image {i} of {self.name}"

    def identity(self) -> int:
        """Returns a checksum of all fields but the labels."""
        main, *others = self.fields
        check = zlib.crc32(np.ascontiguousarray(self.arrays[main]).data)
        for name in sorted(others):
            check ^= zlib.crc32(np.ascontiguousarray(self.arrays[name]).data, zlib.crc32(name.encode()))
        return check


def from_arrays(
    name: str,
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    *,
    vectors: np.ndarray | None = None,
    columns: Sequence[str] = (),
    **fields: np.ndarray,
) -> DataSet:
    """Makes a data set of arrays; `name` is its name in messages.

    images: uint8 `[N, H, W]` or `[N, H, W, C]` with 1 or 3 channels, the field `image`. vectors: numbers `[N, D]`,
    finite as float32, the field `vector`; `columns` are the names of its columns. labels: integers `[N]` from 0 up, by
    default none. fields: other fields by name, such as the `source` of an image that is to be translated: uint8 arrays
    are images, floats `[N, D]` vectors. DataError where an array is anything else, or there are none."""
    given = {"images": images, "vectors": vectors, **fields}
    arrays = {FIELDS.get(key, key): _checked(name, key, array) for key, array in given.items() if array is not None}
    if not arrays:
        raise DataError(f"{name}: no arrays; images, vectors or another field are expected")
    count = len(next(iter(arrays.values())))
    for key, array in arrays.items():
        if len(array) != count:
            raise DataError(
                f"{name}: {len(array)} examples of {key}, of {next(iter(arrays))} {count}; as many are expected"
            )
    if "vector" in arrays and columns and len(columns) != arrays["vector"].shape[1]:
        raise DataError(f"{name}: {len(columns)} names for {arrays['vector'].shape[1]} columns")
    if labels is None and class_names:
        raise DataError(f"{name}: {len(class_names)} class names but no labels; give both or neither")
    if labels is None:
        return DataSet(name, arrays, columns=tuple(columns))
    arrays[LABEL], names = _labels(name, np.asarray(labels), class_names, count)
    return DataSet(name, arrays, names, columns=tuple(columns))


FIELDS = {"images": "image", "vectors": "vector"}  # the argument's name, and the field's


def _checked(name: str, key: str, array: np.ndarray) -> np.ndarray:
    """Returns a field's array. DataError where no medium takes it."""
    try:
        array = np.asarray(array)
    except ValueError as error:  # a list of arrays of several shapes
        raise DataError(f"{name}: {key} must have one shape ({error})") from None
    floats = key != "images" and np.issubdtype(array.dtype, np.floating) and array.ndim == 2
    return _vectors(name, key, array) if key == "vectors" or floats else _images(name, key, array)


def _images(name: str, key: str, images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8:
        raise DataError(
            f"{name}: {key} of dtype {images.dtype}; uint8 in 0..255 is expected (for floats in [0, 1]: "
            f"np.rint(255 * {key}).astype(np.uint8))"
        )
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or 0 in images.shape:
        raise DataError(f"{name}: {key} of shape {images.shape}; [N, H, W] or [N, H, W, C] with N > 0 is expected")
    if images.shape[3] not in (1, 3):
        raise DataError(f"{name}: {key} with {images.shape[3]} channels; 1 (grey) or 3 (RGB) is expected")
    return images


def _vectors(name: str, key: str, vectors: np.ndarray) -> np.ndarray:
    numbers = np.issubdtype(vectors.dtype, np.floating) or np.issubdtype(vectors.dtype, np.integer)
    if not numbers or vectors.ndim != 2 or 0 in vectors.shape:
        raise DataError(
            f"{name}: {key} of dtype {vectors.dtype} and shape {vectors.shape}; numbers [N, D] with N, D > 0 are "
            "expected"
        )
    with np.errstate(over="ignore"):
        stored = vectors.astype(np.float32)
    if not np.isfinite(stored).all():
        row, column = np.argwhere(~np.isfinite(stored))[0]
        raise DataError(
            f"{name}: {key} has {vectors[row, column]} in row {row}, column {column} (counted from 0); finite float32 "
            "numbers are expected"
        )
    return stored


def _labels(
    name: str, labels: np.ndarray, class_names: Sequence[str] | None, count: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns int32 labels and the names of their classes."""
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{name}: labels of shape {labels.shape} and dtype {labels.dtype}; one integer for each of the "
            f"{count} images is expected"
        )
    classes = len(class_names) if class_names else min(int(labels.max()) + 1, MAX_CLASSES)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        more = f" and {len(wrong) - 1:,} others" if len(wrong) > 1 else ""
        raise DataError(
            f"{name}: image {wrong[0]} has label {labels[wrong[0]]}{more}; 0 to {max(classes, 1) - 1} are expected, "
            "numbers of classes counted from 0"
        )
    return labels.astype(np.int32), tuple(class_names or map(str, range(classes)))
