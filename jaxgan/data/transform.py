"""The way from a source to a network: the choice of images, their size and colours, and reading them into memory."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jaxgan.data.cache import Expected, cached
from jaxgan.data.errors import BadImage, DataError
from jaxgan.data.sets import DataSet
from jaxgan.data.sources.source import Source
from jaxgan.nearest import perhaps
from jaxgan.printable import listed, printable
from jaxgan.terminal import progress_bar

__all__ = [
    "Filter",
    "Fit",
    "FitOrTiles",
    "ImageTransform",
    "choose",
    "count_of",
    "depth_of",
    "first_shape",
    "follows_from",
    "in_memory",
    "in_threads",
    "readable",
]

Fit = Literal["pad", "crop", "stretch"]
FitOrTiles = Literal["pad", "crop", "stretch", "tiles"]  # what a set may be asked for; tiles are of several pictures
Filter = Literal["lanczos", "bicubic", "bilinear", "box"]
BLOCK = 64  # images that a thread reads at a time
VERSION = 2  # of the cached images: raised when the same files would give other images


@dataclass(frozen=True)
class ImageTransform:
    """A transform of single images, uint8 `[H, W, C]` -> uint8 `[*shape, channels]`: size, proportions and colours.

    size: height and width, or the side of a square. fit: `pad` centres a smaller image on black and refuses a larger
    one, `crop` cuts the largest part with these proportions out of the middle and resizes it, `stretch` resizes without
    regard to proportions, None refuses all images that don't have this size. Resizing is Pillow's, antialiased, with
    `filter`. Colours become grey by ITU-R 601 luma, grey becomes three equal channels; `equalize` flattens the
    histogram of each channel.
    """

    size: int | tuple[int, int]
    channels: int
    fit: Fit | None = None
    filter: Filter = "lanczos"
    equalize: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Returns height and width."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def __call__(self, image: np.ndarray, name: str) -> np.ndarray:
        """Returns the transformed image. BadImage, with `name`, for an image that doesn't fit."""
        from PIL import Image

        if image.shape[2] == 1 < self.channels:
            image = np.repeat(image, 3, axis=2)
        elif image.shape[2] > self.channels:
            image = np.asarray(Image.fromarray(image).convert("L"))[..., None]
        if image.shape[:2] != self.shape:
            image = self._resized(image) if self.fit in ("crop", "stretch") else self._padded(image, name)
        if self.equalize:
            image = np.stack([_equalized(image[..., c]) for c in range(self.channels)], axis=-1)
        return image

    def _padded(self, image: np.ndarray, name: str) -> np.ndarray:
        (height, width, channels), (most_height, most_width) = image.shape, self.shape
        if self.fit is None or height > most_height or width > most_width:
            what = "larger than" if self.fit else "not"
            raise BadImage(
                f"{name} has {height}×{width} pixels, {what} {most_height}×{most_width}; choose an --image-size and "
                "--fit crop, which resizes"
            )
        top, left = (most_height - height) // 2, (most_width - width) // 2
        padded = np.zeros((most_height, most_width, channels), np.uint8)
        padded[top : top + height, left : left + width] = image
        return padded

    def _resized(self, image: np.ndarray) -> np.ndarray:
        from PIL import Image

        if self.fit == "crop":  # in whole pixels and first, so that the filter doesn't see what is cut off
            height, width = largest(image.shape[:2], self.shape)
            top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
            image = image[top : top + height, left : left + width]
        channels = image.shape[2]
        picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if channels == 1 else image))
        picture = picture.resize(self.shape[::-1], Image.Resampling[self.filter.upper()])
        return np.asarray(picture).reshape(*self.shape, channels)


def largest(within: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """Returns the largest height and width, in whole pixels, that fit `within` another and are nearest to the
    proportions of `shape`."""
    (height, width), (tall, wide) = within, shape
    if height * wide <= width * tall:
        return height, max(1, round(height * wide / tall))
    return max(1, round(width * tall / wide)), width


def _equalized(layer: np.ndarray) -> np.ndarray:
    """Spreads the values of uint8 `[H, W]`, so that their cumulative histogram is a straight line from 0 to 255.

    This isn't Pillow's version, which rounds the number of pixels for a step of 1/255 down: images of 28×28 reach white
    too soon, and those of fewer than 256 pixels stay as they are."""
    below = np.cumsum(np.bincount(layer.ravel(), minlength=256))
    darkest = below[below > 0][0]
    if darkest == layer.size:  # of one colour
        return layer
    table = np.rint(np.maximum(below - darkest, 0) * (255 / (layer.size - darkest))).astype(np.uint8)
    return table[layer]


def choose(source: Source, classes: str | None, images: str | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Chooses images of a source. Returns their indices, and their labels and class names, numbered anew.

    classes: names or numbers, with commas between them; None for all. images: a number, "5000", or a share, "10%"; they
    are drawn with a fixed seed, the same in every run. DataError where no image is chosen."""
    labels, names = source.labels, source.class_names
    chosen = np.arange(len(source))
    if classes is not None:
        wanted = [_class(source, text.strip()) for text in classes.split(",")]
        if len(set(wanted)) < len(wanted):
            raise DataError(f"--classes {classes} names a class of {source.name} twice; name each once")
        chosen = chosen[np.isin(labels, wanted)]
        place = np.zeros(len(names), np.int32)
        place[wanted] = np.arange(len(wanted))
        labels, names = place[labels], tuple(names[number] for number in wanted)
    if images is not None:
        count = count_of(images, len(chosen))
        chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:count])
    if not len(chosen):
        raise DataError(f"{source.name} has no images of --classes {classes}")
    return chosen, labels[chosen], names


def _class(source: Source, text: str) -> int:
    names = source.class_names
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    has = f"it has {listed(names, 20) or 'no classes'}{perhaps(text, names)}"
    raise DataError(f"--classes: {source.name} has no class '{printable(text)}'; {has}")


def count_of(text: str, available: int, option: str = "--images") -> int:
    """Returns the count that a number, "5000", or a share, "10%", stands for. DataError, which names the option, unless
    it is between 1 and `available`."""
    share = text.endswith("%")
    try:
        number = float(text[:-1]) if share else int(text)
        count = round(available * number / 100) if share else int(number)
    except (ValueError, OverflowError):  # the latter for inf%
        raise DataError(
            f"{option} must be a number such as 5000 or a share such as 10%, got '{printable(text)}'"
        ) from None
    if not 1 <= count <= available or (share and number > 100):
        raise DataError(f"{option} {text} is {count:,} images; from 1 to the {available:,} that there are is expected")
    return count


def first_shape(source: Source, chosen: np.ndarray, *, skip: bool, keep: bool) -> tuple[str, tuple[int, ...]]:
    """Returns the title and shape (H, W, C) of the first of the chosen images or, with `skip`, of the first that can be
    read. `keep` as for `in_memory`. BadImage where the first can't be read, DataError where none can."""

    def compute() -> dict[str, np.ndarray]:
        for i in map(int, chosen):
            try:
                return {"number": np.array(i), "shape": np.array(source[i].shape)}
            except BadImage:
                if not skip:
                    raise
        raise DataError(f"none of the {len(chosen)} images of {source.name} can be read")

    expected: Expected = {"number": (np.integer, ()), "shape": (np.integer, (3,))}
    found = cached("shapes", (*follows_from(source, chosen, keep), skip), expected, compute)
    return source.title(int(found["number"])), tuple(found["shape"].tolist())


def depth_of(source: Source, chosen: np.ndarray, *, skip: bool, keep: bool) -> int:
    """Returns 1 where the chosen images are grey, as far as 16 of them, evenly spread, say so; otherwise 3. `skip` and
    `keep` as for `first_shape`."""
    looked_at = chosen[np.linspace(0, len(chosen) - 1, min(16, len(chosen))).astype(int)]

    def compute() -> dict[str, np.ndarray]:
        depths = list[int]()
        for i in map(int, looked_at):
            try:
                depths.append(source[i].shape[2])
            except BadImage:
                if not skip:
                    raise
        return {"depth": np.array(max(depths, default=3))}

    found = cached("depths", (*follows_from(source, looked_at, keep), skip), {"depth": (np.integer, ())}, compute)
    return int(found["depth"])


def in_memory(source: Source, chosen: np.ndarray, transform: ImageTransform, *, keep: bool = False) -> np.ndarray:
    """Reads and transforms the chosen images, uint8 `[len(chosen), H, W, C]`. With `keep` they are cached in the user's
    cache folder, and read from there while the source's files are unchanged. BadImage for an image that can't be used.
    """
    shape = (*transform.shape, transform.channels)
    if isinstance(source, DataSet) and source.images.shape[1:] == shape and not transform.equalize:
        return source.images if np.array_equal(chosen, np.arange(len(source))) else source.images[chosen]

    def compute() -> dict[str, np.ndarray]:
        images = np.empty((len(chosen), *shape), np.uint8)

        def read(positions: np.ndarray) -> None:
            for position in positions:
                i = int(chosen[position])
                images[position] = transform(source[i], source.title(i))

        in_threads(read, len(chosen), "reading images")
        return {"images": images}

    made_of = (*follows_from(source, chosen, keep), transform)
    return cached("images", made_of, {"images": (np.uint8, (len(chosen), *shape))}, compute)["images"]


def follows_from(source: Source, chosen: np.ndarray, keep: bool) -> tuple[str | None, ...]:
    """Returns what determines the chosen images: files, numbers, and the version of the decoder. It holds a None where
    that isn't known, or nothing is to be cached."""
    import PIL

    fingerprint = getattr(source, "fingerprint", None)  # a source of files has one
    if not keep or fingerprint is None:
        return (None,)
    numbers = hashlib.sha256(np.ascontiguousarray(chosen).data).hexdigest()
    return fingerprint(), numbers, f"{VERSION} with Pillow {PIL.__version__}"


def readable(source: Source, chosen: np.ndarray, transform: ImageTransform) -> tuple[np.ndarray, list[str]]:
    """Reads and transforms all of the chosen images. Returns a mask of those that can be used, and what is wrong with
    the others."""
    faults: list[str | None] = [None] * len(chosen)

    def read(positions: np.ndarray) -> None:
        for position in positions:
            i = int(chosen[position])
            try:
                transform(source[i], source.title(i))
            except BadImage as error:
                faults[position] = str(error)

    in_threads(read, len(chosen), "checking images")
    return np.array([fault is None for fault in faults]), [fault for fault in faults if fault is not None]


def in_threads(work: Callable[[np.ndarray], None], count: int, what: str) -> None:
    """Calls `work` with blocks of the positions 0 to count - 1; shows a progress bar if it takes longer than two
    seconds."""
    positions = np.arange(count)
    blocks = np.split(positions[1:], range(BLOCK, count, BLOCK))
    with ThreadPoolExecutor(os.cpu_count()) as pool, progress_bar(count, what) as bar:
        try:
            work(positions[:1])  # alone, so that a source opens its files once
            bar.update(1)
            for block, _ in zip(blocks, pool.map(work, blocks), strict=True):
                bar.update(len(block))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
