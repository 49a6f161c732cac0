"""The two sets that `scripts.evaluate --generated A --reference B` compares: opened by name or path, prepared alike."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxgan import data
from jaxgan.data.errors import BadImage
from jaxgan.data.names import BY_NAME, BY_PREFIX, OF_MNIST, machine_memory
from jaxgan.data.sources import fetch
from jaxgan.data.sources.folder import FolderSource
from jaxgan.data.transform import Fit, ImageTransform, first_shape
from jaxgan.media import Image, Points, Vectors
from jaxgan.terminal import say
from jaxgan.training.errors.usage import UsageError, flag, require
from jaxgan.training.options.data import Size, shape_of
from jaxgan.training.recipe.data_spec import DataSpec

__all__ = ["ComparedSet", "SetOptions", "address_of", "fitted", "open_compared"]

KNOWN = {*BY_NAME, *OF_MNIST, *fetch.FETCHABLE}  # sets whose names mean them, whatever lies here
FILES = (".npz", ".csv", ".zip")
OF_IMAGES = ("image_size", "fit", "channels")


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """Which examples are compared, and how they are prepared."""

    image_size: Size | None = None
    """Of --generated and --reference: pixels of a side, or of height and width, 48x64; by default their own, which must
    be one."""
    fit: Fit | None = None
    """How their images of another size come to it, as in experiments: pad, crop (the default) or stretch."""
    channels: Literal[1, 3] | None = None
    """Of their images, 1 is grey, 3 colour; by default their own, which must be one number."""
    classes: str | None = None
    """Only these classes of --reference, by name or number: 3,7 or cat,dog."""

    def check(self) -> None:
        """Raises UsageError for options that don't go together."""
        right = self.image_size is None or shape_of(self.image_size) is not None
        require(self, "image_size", right, "a side of the square, 64, or height and width, 48x64")
        require(self, "fit", self.fit is None or self.image_size is not None, "given together with --image-size")

    def record(self) -> dict[str, Any]:
        """Returns what a score's record says of the preparation; nothing where all is taken as it is."""
        how = {name: getattr(self, name) for name in (*OF_IMAGES, "classes")}
        if self.image_size is not None:
            how |= {"fit": self.fit or "crop", "filter": "lanczos"}
        found = {name: value for name, value in how.items() if value is not None}
        return {"prepared": found} if found else {}


class ComparedSet(NamedTuple):
    """A set of examples, stored, `[N, ...]`. labels: `[N]`, None where it has no classes. kind: that of their medium.
    name: of the set, for those that have one, otherwise "files:" and the path."""

    examples: np.ndarray
    labels: np.ndarray | None
    kind: str
    name: str

    @property
    def named(self) -> bool:
        return not self.name.startswith("files:")

    @property
    def spec(self) -> DataSpec:
        return DataSpec.single(self.name, len(self.examples), self.examples.shape[1:], kind=self.kind)

    @property
    def text(self) -> str:
        shape = "×".join(map(str, self.examples.shape[1:]))
        return {Image.kind: f"images of {shape}", Points.kind: "points"}.get(self.kind, f"vectors of {shape} numbers")


def address_of(text: str) -> tuple[str, bool]:
    """Returns what `--dataset` calls a set, and whether it is files: a plain path is a folder of pictures, or a file
    by its suffix. UsageError for several sets, and for the choice between two."""
    if re.match(r"[A-Za-z_]\w*=", text) or text == "auto":
        raise UsageError(f"{text} doesn't name one set; give the name or path of one")
    prefix, colon, _ = text.partition(":")
    if colon and prefix in BY_PREFIX:
        return text, True
    path = Path(text).expanduser()
    if text in KNOWN:
        if path.exists():
            say(f"NOTE: {text} is the data set of that name; ./{text} would be what lies here", error=True)
        return text, False
    suffix = path.suffix.lower()
    if path.exists() or suffix in FILES or text.startswith((".", "/", "~")):
        return f"{suffix[1:] if suffix in ('.npz', '.csv') else 'folder'}:{text}", True
    return text, False


def open_compared(
    text: str, options: SetOptions, data_dir: str | None, *, classes: str | None = None, split: str = "train"
) -> ComparedSet:
    """Reads the set of a name or path, of it these `classes`, prepared as the options say, in an order that is drawn
    once and for all: metrics take the first of it. UsageError or DataError where that can't be."""
    address, files = address_of(text)
    try:
        source = data.open_source(address, data_dir, split=split)
    except data.DataError as error:
        if files or text in KNOWN:
            raise
        raise UsageError(f"{text} is no file or folder, and {error}") from None
    chosen, labels, names = data.choose(source, classes, None)
    name = f"files:{text}" if files else source.name
    kind = source.kind(source.fields[0]) if isinstance(source, data.DataSet) else Image.kind
    if kind == Image.kind:
        examples = _images(source, chosen, options)
    else:
        for option in OF_IMAGES:
            if (value := getattr(options, option)) is not None:
                raise UsageError(f"{text} is {kind}, not images: leave out --{flag(option)} {value}")
        examples = source.images[chosen]  # type: ignore[union-attr]  # a DataSet, as its kind says
    order = np.random.default_rng(0).permutation(len(examples))
    return ComparedSet(examples[order], labels[order] if names else None, kind, name)


def _images(source: data.Source, chosen: np.ndarray, options: SetOptions) -> np.ndarray:
    keep = options.channels is not None or not isinstance(source, FolderSource)
    _, (height, width, depth) = first_shape(source, chosen, skip=False, keep=keep)
    shape = (options.image_size and shape_of(options.image_size)) or (height, width)
    transform = (ImageTransform if options.channels else _AsTheyAre)(
        shape[0] if shape[0] == shape[1] else shape,
        options.channels or depth,
        (options.fit or "crop") if options.image_size else None,
    )
    if (size := len(chosen) * shape[0] * shape[1] * transform.channels) > machine_memory() // 2:
        raise UsageError(
            f"{source.name} takes {size / 2**30:.1f} GiB, more than half of this machine's memory; take a smaller "
            "--image-size, or some of its --classes"
        )
    return data.in_memory(source, chosen, transform, keep=keep)  # uncached where channels must be looked at


class _AsTheyAre(ImageTransform):
    """A transform that refuses images with other numbers of channels than the first."""

    def __call__(self, image: np.ndarray, name: str) -> np.ndarray:
        if image.shape[2] != self.channels:
            what = {1: "grey", 3: "colour"}
            raise BadImage(
                f"{name} is {what[image.shape[2]]}, and the first image {what[self.channels]}; --channels 3, or 1, "
                "makes them alike"
            )
        return super().__call__(image, name)


def fitted(generated: ComparedSet, reference: ComparedSet, names: tuple[str, str]) -> ComparedSet:
    """Returns the generated set as it is compared with the reference; vectors of two numbers are points where that is.
    UsageError, with the names of both, where they don't fit."""
    if (generated.kind, reference.kind) == (Vectors.kind, Points.kind) and generated.examples.shape[1] == 2:
        generated = generated._replace(examples=generated.examples.reshape(-1, 1, 1, 2), kind=Points.kind)
    if (generated.kind, generated.examples.shape[1:]) == (reference.kind, reference.examples.shape[1:]):
        return generated
    hint = ""
    if generated.kind == reference.kind == Image.kind:
        height, width, channels = reference.examples.shape[1:]
        size = height if height == width else f"{height}x{width}"
        hint = f"; --image-size {size} and --channels {channels}, for example, make them alike"
    raise UsageError(f"{names[0]} has {generated.text}, {names[1]} {reference.text}{hint}")
