"""Image sets as arrays, and the ways to get one."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["SOURCES", "DataError", "ImageSet", "digits", "load", "mnist_or_digits", "pad_to", "prepared"]


class DataError(Exception):
    """A data set that cannot be had or used; the message says which, why and what to do."""


class ImageSet(NamedTuple):
    """images: uint8 `[N, H, W, C]`; labels: int32 `[N]` in [0, classes)."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: int


def digits() -> ImageSet:
    """scikit-learn's 1,797 handwritten digits (8×8, E. Alpaydin and C. Kaynak 1998), scaled up to MNIST's 28×28."""
    from PIL import Image
    from sklearn.datasets import load_digits

    small = load_digits()
    pixels = np.rint(small.images * (255 / 16)).astype(np.uint8)
    images = [np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC)) for image in pixels]
    return ImageSet("digits", np.stack(images)[..., None], small.target.astype(np.int32), 10)


def prepared(name: str, data_dir: str | None = None) -> ImageSet:
    """The training split of a set that TFDS has prepared under `data_dir`, read without TensorFlow.

    `data_dir` is by default what TFDS takes: `TFDS_DATA_DIR`, or else `~/tensorflow_datasets`. DataError where the set
    isn't there, is stored in a format that only TensorFlow reads, or isn't one of labelled images of one size.
    """
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    versions = sorted(path.parent for path in root.glob(f"{name}/*/dataset_info.json"))
    if not versions:
        raise DataError(
            f"data set {name!r} is not prepared in {root}; point --data-dir (or TFDS_DATA_DIR) at a folder where it "
            "is, or take --dataset digits, which is always there"
        )
    logging.getLogger("absl").setLevel(logging.ERROR)  # it recommends OpenCV at every start
    import tensorflow_datasets as tfds

    folder = max(versions, key=lambda path: [int(part) for part in path.name.split(".") if part.isdigit()])
    try:
        builder = tfds.builder_from_directory(folder)
        examples = builder.as_data_source(split="train")
        rows = examples.__getitems__(range(len(examples)))
    except NotImplementedError as error:
        raise DataError(
            f"{folder} is not stored as array_record; prepare {name!r} again with "
            f"tfds.builder({name!r}, file_format='array_record').download_and_prepare()"
        ) from error
    except Exception as error:  # half-written folders fail in as many ways as there are files
        raise DataError(f"{folder} can't be read ({error}); remove it and prepare {name!r} again") from error
    if not rows or "image" not in rows[0] or "label" not in rows[0]:
        raise DataError(f"{folder} holds no labelled images; its features are {list(builder.info.features)}")
    shapes = {row["image"].shape for row in rows}
    if len(shapes) > 1:
        raise DataError(f"{folder} holds images of different sizes, {sorted(shapes)[:3]}; one size is expected")
    images = np.stack([row["image"] for row in rows])
    labels = np.array([row["label"] for row in rows], np.int32)
    return ImageSet(name, images, labels, builder.info.features["label"].num_classes)


# The sources that are not simply a name of TFDS's; each takes the folder that --data-dir names.
SOURCES: dict[str, Callable[[str | None], ImageSet]] = {"digits": lambda data_dir: digits()}


def load(name: str, data_dir: str | None = None) -> ImageSet:
    """The set called `name`: one of `SOURCES`, or one that TFDS has prepared. Never another in its place: DataError."""
    return SOURCES[name](data_dir) if name in SOURCES else prepared(name, data_dir)


def mnist_or_digits(data_dir: str | None = None) -> tuple[ImageSet, str | None]:
    """MNIST where it can be had, otherwise `digits` and the reason, which belongs on a user's screen."""
    try:
        return load("mnist", data_dir), None
    except DataError as error:
        return digits(), str(error)


def pad_to(images: np.ndarray, size: int) -> np.ndarray:
    """Images `[N, H, W, C]` centred on a black square of `size` pixels. DataError where they are larger than that."""
    height, width = images.shape[1:3]
    if max(height, width) > size:
        raise DataError(f"images of {height}×{width} pixels don't fit {size}×{size}; choose a larger --image-size")
    rows, columns = size - height, size - width
    pads = ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0))
    return np.pad(images, pads)
