"""The options that say which images a network is given, and how they come to it."""

import dataclasses
import functools
import importlib.util
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from jaxgan import augment, data
from jaxgan.data.images import BadImage
from jaxgan.data.prepare import Filter, Fit, first_shape, readable
from jaxgan.data.sources import machine_memory
from jaxgan.data.stream import Stream
from jaxgan.training.usage import UsageError, require

__all__ = ["DataOptions", "RealTransform", "address", "load", "real_transform"]

# `(images, keys) -> images`, float32 `[B, H, W, C]` in [-1, 1], a key an example.
RealTransform = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """What an experiment's options, and those of `scripts.data`, inherit."""

    dataset: str = "auto"
    """mnist, fashion_mnist, cifar10 or any other image set of TFDS's; stacked_mnist (three of mnist's digits as the
    colours of one image, 1,000 modes); digits (1,797 small ones, always there); folder:PATH (pictures, subfolders are
    classes; or a .zip of such a folder); npz:PATH (uint8 `images`, `labels`); ring or grid (points of the plane). auto
    is mnist where it can be had, otherwise digits."""
    data_dir: str | None = None
    """Folder of TFDS's data sets; by default $TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    image_size: int | None = None
    """Pixels of a side; by default the set's own."""
    fit: Fit = "crop"
    """How images of another size come to it: pad centres smaller ones on black, crop takes the middle square and
    resizes it, stretch resizes without regard to proportions."""
    filter: Filter = "lanczos"
    """Of resizing, which is antialiased."""
    channels: Literal[1, 3] | None = None
    """1 is grey, 3 colour; by default the set's own, and colour for folders."""
    classes: str | None = None
    """Only these, by name or number: 3,7 or cat,dog. They are then numbered from 0 in this order."""
    images: str | None = None
    """Only so many, drawn at random but alike in every run: 5000 or 10%."""
    equalize: bool = False
    """Flatten each image's histogram."""
    skip_bad_images: bool = False
    """Leave images out that can't be read or don't fit, and say how many, instead of refusing the set."""
    load_size: int | None = None
    """Bring images to this size first; the step then cuts out a random square of --image-size, another each time."""
    flip: bool = False
    """Mirror half of the real images left to right, at random."""
    rotate: float = 0.0
    """Turn real images by up to so many degrees, at random."""
    scale: float = 0.0
    """Scale real images by up to this share, at random: 0.1 is from 1/1.1 to 1.1."""
    stream: bool = False
    """Read images as they are needed, in processes of their own, instead of keeping the set on the device. Needs Grain:
    pip install 'jaxgan[grain]'."""
    workers: int = 2
    """Processes that read, with --stream."""

    def __post_init__(self) -> None:
        require(self, "dataset", bool(self.dataset.strip("/.: ")), "the name of a data set")
        require(self, "image_size", self.image_size is None or self.image_size >= 1, "at least 1")
        if self.load_size is not None:
            require(self, "load_size", self.image_size is not None, "given together with --image-size")
            least = self.image_size or 1
            require(self, "load_size", self.load_size >= least, f"at least --image-size, which is {least}")
        require(self, "rotate", 0 <= self.rotate <= 180, "from 0 to 180 degrees")
        require(self, "scale", 0 <= self.scale < float("inf"), "at least 0 and finite")
        require(self, "workers", self.workers >= 1, "at least 1")

    @property
    def crop_size(self) -> int | None:
        """Pixels of the square that the step cuts out, None where it takes whole images."""
        return self.image_size if self.load_size else None


def load(options: DataOptions, given: data.Source | None = None) -> data.ImageSet | Stream:
    """The images that the options name (or `given` ones), prepared as they say. UsageError where that can't be."""
    if options.stream and importlib.util.find_spec("grain") is None:
        raise UsageError("--stream needs Grain: pip install 'jaxgan[grain]'")
    if options.stream and getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker that starts
        raise UsageError("a program that streams must train under `if __name__ == '__main__':`; its workers import it")
    try:
        source: data.Source
        if given is not None:
            source = given
        elif options.dataset == "auto":
            source, reason = data.mnist_or_digits(options.data_dir)
            if reason:
                print(f"NOTE: training on scikit-learn's {len(source):,} digits instead of MNIST: {reason}", flush=True)
        else:
            source = data.open_source(options.dataset, options.data_dir)
        chosen, labels, names = data.choose(source, options.classes, options.images)
        if isinstance(source, data.ImageSet) and source.images.dtype != np.uint8:
            return _points(options, source, chosen, labels, names)
        prepare = _preparation(options, source, chosen)
        if options.skip_bad_images:
            good, faults = readable(source, chosen, prepare)
            if faults:
                print(f"NOTE: {_skipped(faults, len(chosen))}", flush=True)
            chosen, labels = chosen[good], labels[good]
        if options.stream:
            data.in_memory(source, chosen[:1], prepare)  # what is wrong with all of them is wrong with the first
            return Stream(source.name, source, chosen, prepare, labels, names, options.workers)
        _check_room(len(chosen) * prepare.size**2 * prepare.channels, source.name)
        return data.ImageSet(source.name, data.in_memory(source, chosen, prepare, keep=True), labels, names)
    except data.DataError as error:
        hint = "; --skip-bad-images leaves such images out" if isinstance(error, BadImage) else ""
        raise UsageError(f"{error}{hint}") from None


def held_out(options: DataOptions) -> data.ImageSet | Stream:
    """The set's test images, which no run is trained on, prepared as the options say. DataError where it has none."""
    source = data.open_source(options.dataset, options.data_dir, split="test")
    return load(dataclasses.replace(options, images=None, stream=False), source)


def _points(
    options: DataOptions, source: data.ImageSet, chosen: np.ndarray, labels: np.ndarray, names: tuple[str, ...]
) -> data.ImageSet:
    if source.images.shape[1:] != (1, 1, 2):
        raise data.DataError(
            f"{source.name}: images of dtype {source.images.dtype}; uint8 in 0..255 is expected, as from_arrays checks"
        )
    for name in ("image_size", "channels", "equalize", "flip", "rotate", "scale", "stream"):
        if value := getattr(options, name):
            raise UsageError(
                f"{source.name} is points of the plane, not images: --{name.replace('_', '-')} {value} doesn't go with "
                "it; take an experiment that draws points, such as experiments.gan_ring"
            )
    return data.ImageSet(source.name, source.images[chosen], labels, names)


def _preparation(options: DataOptions, source: data.Source, chosen: np.ndarray) -> data.Preparation:
    """What the options leave open is as in the first image (that can be read)."""
    size = options.load_size or options.image_size
    fit = options.fit if size else None
    channels: int | None = options.channels or (3 if source.name.startswith("folder:") else None)
    if size is None or channels is None:
        first, (height, width, depth) = first_shape(
            source, chosen, skip=options.skip_bad_images, keep=not options.stream
        )
        if size is None and height != width:
            raise data.DataError(
                f"{first} has {height}×{width} pixels; name the square that it shall become with --image-size"
            )
        size, channels = size or height, channels or depth
    return data.Preparation(size, channels, fit, options.filter, options.equalize)


def _skipped(faults: list[str], of: int) -> str:
    if len(faults) == of:
        raise data.DataError(f"none of the {of} images can be used; the first: {faults[0]}")
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return f"left out {len(faults)} of {of} images: {'; '.join(faults[:3])}{more}"


def _check_room(size: int, name: str) -> None:
    """The device's memory must hold the images beside all else."""
    stats = jax.local_devices()[0].memory_stats() or {}
    memory = stats.get("bytes_limit") or machine_memory()
    if not stats:  # devices that a CPU appears as have their copies in one memory
        size *= len(jax.local_devices())
    if size > memory // 2:
        raise UsageError(
            f"{name} takes {size / 2**30:.1f} GiB and the device has {memory / 2**30:.1f}; add --stream, take some "
            "--images, or a smaller --image-size"
        )


def address(asked: str, name: str) -> str:
    """What the record says of where the data is: `auto` resolved, a path that holds from every folder."""
    kind, colon, path = asked.partition(":")
    return f"{kind}:{Path(path).expanduser().absolute()}" if colon else name


def real_transform(options: DataOptions) -> RealTransform | None:
    """What the options do to real images inside the compiled step, at random; None for nothing."""
    parts: list[RealTransform] = []
    if options.rotate or options.scale:
        parts.append(functools.partial(augment.rotate_and_scale, degrees=options.rotate, scale=options.scale))
    if options.crop_size:
        parts.append(functools.partial(augment.random_crop, size=options.crop_size))
    if options.flip:
        parts.append(augment.flip)
    if not parts:
        return None

    return lambda images, keys: functools.reduce(lambda images, part: part(images, keys), parts, images)
