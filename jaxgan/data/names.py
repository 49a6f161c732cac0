"""Data sets by name: the names, and the source that each of them opens."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.npz import npz_names, read_npz
from jaxgan.data.sets import DataSet, from_arrays
from jaxgan.data.slanted import slanted_mnist
from jaxgan.data.sources import fetch, requirements, toys
from jaxgan.data.sources.folder import folder
from jaxgan.data.sources.glyphs import glyphs
from jaxgan.data.sources.pairs import pairs
from jaxgan.data.sources.source import Source
from jaxgan.data.sources.tables import table
from jaxgan.data.sources.tfds import tfds_folder, tfds_source
from jaxgan.data.stacked import stacked_mnist
from jaxgan.nearest import perhaps
from jaxgan.printable import listed, printable

__all__ = [
    "FACES",
    "diabetes",
    "digits",
    "faces",
    "kind_of",
    "machine_memory",
    "meant_path",
    "mnist_or_digits",
    "npz",
    "open_source",
]


def digits() -> DataSet:
    """Returns scikit-learn's 1,797 handwritten digits (8×8, E. Alpaydin and C. Kaynak 1998), scaled up to MNIST's
    28×28."""
    from PIL import Image
    from sklearn.datasets import load_digits

    small = load_digits()
    pixels = np.rint(small.images * (255 / 16)).astype(np.uint8)
    images = [np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC)) for image in pixels]
    return from_arrays("digits", np.stack(images), small.target)


def diabetes() -> DataSet:
    """Returns scikit-learn's table of 442 patients with diabetes (B. Efron et al. 2004, "Least angle regression"): ten
    numbers for each, in their own units, without the progression of the disease."""
    from sklearn.datasets import load_diabetes

    found = load_diabetes(scaled=False)
    return from_arrays("diabetes", vectors=found.data, columns=found.feature_names)


def _photographs() -> Source:
    """Returns scikit-learn's two photographs, of a temple and of a flower (640×427, D. Buechele and vultilion, CC BY
    2.0)."""
    import sklearn.datasets

    found = folder(Path(sklearn.datasets.__file__).with_name("images"))
    return dataclasses.replace(found, name="photographs", left_out="")


def faces() -> DataSet:
    """Returns the 100 small faces that scikit-image has, grey, of 25×25 pixels, cut out of Labeled Faces in the Wild
    (Huang et al. 2007). DataError where scikit-image isn't installed."""
    try:
        from skimage.data import lfw_subset
    except ImportError as error:
        raise DataError(f"faces are scikit-image's, which can't be imported ({error}): {FACES}") from error
    levels = lfw_subset()[:100]  # the others are none
    return from_arrays("faces", np.rint(255 * levels).astype(np.uint8))


FACES = "pip install 'jaxgan[faces]'"


def machine_memory() -> int:
    """Returns the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def npz(path: Path) -> DataSet:
    """Reads an .npz file with `images`, uint8 `[N, H, W]` or `[N, H, W, C]`, or `vectors`, numbers `[N, D]`. It may
    also hold `sources`, images or vectors that `images` are to be generated from (the field `source`), and integer
    `labels` `[N]`.

    DataError for anything else. Object arrays are refused: they are pickles, which could execute anything."""
    if not path.exists():
        raise DataError(f"npz:{path} is not there; give the path of an .npz file with uint8 `images`")
    try:
        names = npz_names(path)
        if not {"images", "vectors"} & set(names):
            has = listed(sorted(names), 20)[:1000] or "nothing"
            raise DataError(
                f"{path} holds {has}; uint8 `images` [N, H, W, C] or `vectors` [N, D] (and `labels` [N]) are "
                "expected: np.savez(path, images=..., labels=...)"
            )
        arrays = read_npz(path, machine_memory() // 2, "half of this machine's memory; split it", ARRAYS)
    except ValueError as error:
        raise DataError(
            f"{path} can't be read as an .npz file of plain arrays ({error}); write it with "
            "np.savez(path, images=..., labels=...)"
        ) from error
    found: dict[str, Any] = {ARRAYS[name]: array for name, array in arrays.items()}
    return from_arrays(f"npz:{path.name}", **found)


ARRAYS = {"images": "images", "vectors": "vectors", "sources": "source", "labels": "labels"}  # and `from_arrays`' names
CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}


def _toy(name: str) -> DataSet:
    points, labels = getattr(toys, name)()
    names = tuple(map(str, range(labels.max() + 1)))
    return DataSet(name, {"image": points, "label": labels}, names, {"image": "points"})


# The sets that aren't TFDS's, by name or by prefix; a path follows the prefix. Of these, glyphs has splits, and
# pairs may have some.
BY_NAME: dict[str, Callable[[], Source]] = {
    "digits": digits,
    "photographs": _photographs,
    "faces": faces,
    "slanted_digits": lambda: dataclasses.replace(slanted_mnist(digits()), name="slanted_digits"),
    "diabetes": diabetes,
    "ring": lambda: _toy("ring"),
    "grid": lambda: _toy("grid"),
    "glyphs": glyphs,
}
BY_PREFIX: dict[str, Callable[[Path], Source]] = {"folder": folder, "pairs": pairs, "npz": npz, "csv": table}
OF_MNIST = ("stacked_mnist", "slanted_mnist")  # made of MNIST's digits, wherever these come from
NAMES = f"{', '.join([*BY_NAME, *OF_MNIST])}, folder:PATH, pairs:PATH, npz:PATH, csv:PATH or a name of TFDS's"


def kind_of(name: str) -> str | None:
    """Returns the kind of the examples that the set called `name` has, "image", "points" or "vectors", as far as the
    name alone says: None where it may have several."""
    prefix, colon, _ = name.partition(":")
    if name in ("ring", "grid"):
        return "points"
    if name == "diabetes" or (colon and prefix == "csv"):
        return "vectors"
    return None if "=" in prefix or (colon and prefix == "npz") else "image"


def open_source(name: str, data_dir: str | None = None, *, split: str = "train") -> Source:
    """Opens the data set called `name`: `digits`, `photographs`, `faces`, `diabetes`, `ring`, `grid`, `stacked_mnist`,
    `slanted_mnist`, `glyphs`, `folder:PATH`, `pairs:PATH`, `npz:PATH`, `csv:PATH`, or a TFDS set, `NAME` or
    `NAME/CONFIG`, in `data_dir` (by default TFDS's own choice: `TFDS_DATA_DIR`, or else `~/tensorflow_datasets`). What
    is made of MNIST takes its digits from there too.

    If TFDS hasn't prepared the set there yet, it does so now where TensorFlow is installed. Without TensorFlow, MNIST,
    Fashion-MNIST and CIFAR-10 are fetched; of the first two only the files of the `split`. No other set is ever used in
    its place: DataError says what to do.

    The `split` "test" is the test set, where there is one: in prepared and fetched sets, in `slanted_mnist` and
    `glyphs`, in pairs with a folder of that name, and in `stacked_mnist`, where it is another draw of the same digits
    (see there). A prepared set may have other splits, such as "validation". DataError for one that isn't there."""
    prefix, colon, path = name.partition(":")
    by_path = bool(colon) and prefix in BY_PREFIX
    if prefix in BY_PREFIX and not path:
        raise DataError(f"{name} lacks a path; {prefix}:PATH is expected")
    if name == "glyphs":
        return glyphs(split)
    if by_path and prefix == "pairs":
        return pairs(_expanded(path), split)
    if (by_path or name in BY_NAME) and split != "train":
        raise DataError(f"{name} has no {split} split; all of it is the training split, train")
    if by_path:
        return BY_PREFIX[prefix](_expanded(path))
    if name in BY_NAME:
        return BY_NAME[name]()
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    if not all(part.replace("_", "").replace("-", "").replace(".", "").isalnum() for part in name.split("/")):
        raise DataError(f"'{printable(name)}' is no data set; {NAMES} is{_meant(name, root)}")
    if name == "stacked_mnist":
        return stacked_mnist(_of_tfds("mnist", root, "train"), _of_tfds("mnist", root, "test"), split)
    if name == "slanted_mnist":
        return slanted_mnist(_of_tfds("mnist", root, split))
    return _of_tfds(name, root, split)


def _expanded(path: str) -> Path:
    return Path(os.path.expanduser(path))  # noqa: PTH111 - ~nobody stays, and isn't there


def meant_path(name: str) -> str:
    """Returns `; perhaps you meant KIND:PATH` where a name is a path without what says its kind, otherwise ""."""
    path = Path(name).expanduser()
    kind = "folder" if path.suffix.lower() == ".zip" else path.suffix.lower().removeprefix(".")
    if name and (path.is_dir() or (kind in BY_PREFIX and path.is_file())):
        return f"; perhaps you meant {'folder' if path.is_dir() else kind}:{printable(name)}"
    return ""


def _meant(name: str, root: Path) -> str:
    """Returns what a name that no set has may have been meant to be: a path, or a set whose name is written much like
    it, one of ours or one in `root`."""
    if hint := meant_path(name):
        return hint
    known = [*BY_NAME, *OF_MNIST, "auto", *fetch.FETCHABLE, *(folder.name for folder in root.glob("*/"))]
    return "" if name in known else perhaps(name, known)


def _of_tfds(name: str, root: Path, split: str) -> Source:
    where = tfds_folder(name, root)
    # Fetched files are used for the test split too; otherwise TFDS would prepare it beside them.
    if (
        where is None
        and name in fetch.FETCHABLE
        and (fetch.is_fetched(name, root) or not requirements.has_tensorflow())
    ):
        images, labels = fetch.fetched(name, root, split)
        return from_arrays(name, images, labels, CLASSES[name])
    if where is None and requirements.has_tensorflow():
        try:
            requirements.prepare_with_tensorflow(name, root)
        except DataError as error:
            raise DataError(f"{error}{_meant(name, root)}") from error
        where = tfds_folder(name, root)
    if where is None:
        raise DataError(
            f"data set '{printable(name)}' is not prepared in {root}; point --data-dir (or TFDS_DATA_DIR) at a folder "
            "where it is, or install TensorFlow, which TFDS prepares it with: pip install 'jaxgan[tfds-prepare]'"
            f"{_meant(name, root)}"
        )
    return tfds_source(name, where, split)


def mnist_or_digits(data_dir: str | None = None) -> tuple[Source, str | None]:
    """Returns MNIST and None, or, where MNIST can't be opened, `digits` and the reason, which the caller shows to the
    user."""
    try:
        return open_source("mnist", data_dir), None
    except DataError as error:
        return digits(), str(error)
