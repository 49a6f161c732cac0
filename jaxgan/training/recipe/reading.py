"""Reads one set as the options say: which of its examples (or tiles of its pictures), brought to which size."""

import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from jaxgan import data
from jaxgan.data.sets import LABEL
from jaxgan.data.sources.pairs import PairSource
from jaxgan.data.stream import Stream
from jaxgan.data.tiles import TileSource, sizes_of, tiles_of
from jaxgan.data.transform import count_of, depth_of, first_shape, readable
from jaxgan.media import Image
from jaxgan.printable import listed
from jaxgan.terminal import say
from jaxgan.training.errors.usage import UsageError, flag
from jaxgan.training.options.data import DataOptions, shape_of
from jaxgan.training.options.devices import device_memory

__all__ = ["read"]


def read(options: DataOptions, source: data.Source, *, held: bool) -> data.DataSet | Stream:
    """Reads a single set into memory, or opens it as a stream. Notes on stdout what a folder has beside pictures."""
    if (left_out := getattr(source, "left_out", "")) and not held:
        say(f"NOTE: {source.name}: left out {left_out}")
    source = _reversed(source) if options.reverse_pairs else source
    alone = isinstance(source, data.DataSet) and {name: source.kind(name) for name in source.fields} == {
        "image": "image"
    }
    if isinstance(source, data.DataSet | PairSource) and not (options.stream and alone) and options.fit != "tiles":
        return _read_in_memory(options, source, held=held)
    if options.fit == "tiles":
        source, found = _cut(options, source, held=held)
    else:
        found = _choose(options, source, held=held)
    prepare = _transform_of(options, source, found.numbers)
    if options.skip_bad_images:
        found = found.at(_usable(source, found.numbers, [(source, prepare)]))
    chosen, labels, names = found
    if options.stream:
        data.in_memory(source, chosen[:1], prepare)  # what is wrong with all of them is wrong with the first
        return Stream(source.name, source, chosen, prepare, labels, names, options.workers)
    _check_room(len(chosen) * math.prod(prepare.shape) * prepare.channels, source.name)
    arrays = {"image": data.in_memory(source, chosen, prepare, keep=True)}
    return data.DataSet(source.name, {**arrays, **({LABEL: labels} if names else {})}, names)


class _Chosen(NamedTuple):
    """Of a source the numbers of images, their labels, and the names of their classes."""

    numbers: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def at(self, which: np.ndarray) -> "_Chosen":
        return self._replace(numbers=self.numbers[which], labels=self.labels[which])


def _kept(options: DataOptions, chosen: _Chosen, *, held: bool) -> np.ndarray:
    """Returns a mask of the chosen images without those that are held out, or, with `held`, only of the latter."""
    everything = np.arange(len(chosen.numbers))
    if not options.hold_out:
        return np.ones(len(everything), bool)
    count = count_of(options.hold_out, len(everything) - 1, "--hold-out")
    return np.isin(everything, np.random.default_rng(1).permutation(everything)[:count], invert=not held)


def _choose(options: DataOptions, source: data.Source, *, held: bool) -> _Chosen:
    """Chooses images as the options say, without those that are held out, or, with `held`, only the latter."""
    chosen = _Chosen(*data.choose(source, options.classes, options.images))
    return chosen.at(_kept(options, chosen, held=held))


def _cut(options: DataOptions, source: data.Source, *, held: bool) -> tuple[TileSource, _Chosen]:
    """Chooses pictures as `_choose` does, among those that are as large as a tile, and returns their tiles. Notes on
    stdout what is too small."""
    shape = shape_of(options.load_size or options.image_size or 0)
    if isinstance(source, PairSource):
        raise UsageError(
            f"--fit tiles doesn't cut up pairs, as {source.name} has: --fit crop, for example, resizes them"
        )
    if isinstance(source, data.DataSet) or shape is None:
        raise UsageError(
            f"--fit tiles cuts up pictures of files, such as folder:PATH, and {source.name} has none; leave it out"
        )
    chosen = _Chosen(*data.choose(source, options.classes, options.images))
    skip, keep = options.skip_bad_images, not options.stream
    sizes, faults = sizes_of(source, chosen.numbers, skip=skip, keep=keep)
    if faults and not held:
        say(f"NOTE: {_skipped(faults, len(faults), len(sizes))}")
    large = np.all(sizes >= shape, axis=1)
    small = [source.title(int(i)) for i in chosen.numbers[~large & (sizes > 0).all(1)]]
    what = f"a tile of {shape[0]}×{shape[1]} pixels"
    if not large.any():
        raise data.DataError(
            f"none of the {len(sizes):,} pictures of {source.name} is as large as {what}; the largest has "
            f"{'×'.join(map(str, sizes[sizes.prod(1).argmax()]))}: take a smaller --{_tile_option(options)}"
        )
    if small and not held:
        say(f"NOTE: {source.name}: left out {len(small):,} pictures that are smaller than {what}: {listed(small, 3)}")
    chosen, sizes = chosen.at(large), sizes[large]
    kept = _kept(options, chosen, held=held)
    tiles = tiles_of(source, chosen.numbers[kept], sizes[kept], shape)
    labels = np.zeros(len(source), np.int32)
    labels[chosen.numbers] = chosen.labels  # numbered anew, where there are --classes
    return tiles, _Chosen(np.arange(len(tiles)), labels[tiles.numbers], chosen.names)


def _tile_option(options: DataOptions) -> str:
    return "load-size" if options.load_size else "image-size"


def _reversed(source: data.Source) -> data.DataSet | PairSource:
    """Exchanges the image and the source of a set of pairs. UsageError for a set without them."""
    other = {"image": "source", "source": "image"}
    if not isinstance(source, data.DataSet | PairSource) or not other.keys() <= set(source.fields):
        has = listed(source.fields, 5) if isinstance(source, data.DataSet | PairSource) else "image"
        raise UsageError(
            f"--reverse-pairs exchanges the image and the source of a set of pairs, such as pairs:PATH, and "
            f"{source.name} has {has}"
        )
    if isinstance(source, PairSource):
        return dataclasses.replace(source, sides={name: source.of(other[name]) for name in source.fields})
    arrays = {name: source.arrays[other.get(name, name)] for name in source.arrays}
    return dataclasses.replace(source, arrays=arrays)


def _read_in_memory(options: DataOptions, source: data.DataSet | PairSource, *, held: bool) -> data.DataSet:
    """Reads a set of any fields into memory."""
    chosen, labels, names = _choose(options, source, held=held)
    images: dict[str, data.Source] = {
        name: source.of(name) for name in source.fields if source.kind(name) == Image.kind
    }
    _refuse(options, source, images)
    prepared = {name: (one, _transform_of(options, one, chosen)) for name, one in images.items()}
    if options.skip_bad_images and images:
        good = _usable(source, chosen, list(prepared.values()))
        chosen, labels = chosen[good], labels[good]
    _check_room(sum(len(chosen) * math.prod(each.shape) * each.channels for _, each in prepared.values()), source.name)
    arrays = {name: data.in_memory(one, chosen, prepare, keep=True) for name, (one, prepare) in prepared.items()}
    labelled = {LABEL: labels} if names else {}
    if isinstance(source, PairSource):
        return data.DataSet(source.name, {**arrays, **labelled}, names)
    arrays = {name: arrays[name] if name in arrays else source.arrays[name][chosen] for name in source.fields}
    return dataclasses.replace(source, arrays={**arrays, **labelled}, class_names=names)


def _usable(
    source: data.Source, chosen: np.ndarray, prepared: Sequence[tuple[data.Source, data.ImageTransform]]
) -> np.ndarray:
    """Returns a mask of the chosen examples that can be used, and notes the others on stderr."""
    found = [readable(one, chosen, prepare) for one, prepare in prepared]
    good = np.all([each for each, _ in found], axis=0)
    if faults := [fault for _, faults in found for fault in faults]:
        say(f"NOTE: {_skipped(faults, int(np.sum(~good)), len(chosen))}")
    return good


def _refuse(options: DataOptions, source: data.DataSet | PairSource, images: Collection[str]) -> None:
    """Raises UsageError where options of images are given for a set without any, or a set can't be streamed."""
    if options.stream and images:
        raise UsageError(f"--stream reads sets of images alone, and {source.name} has {', '.join(source.fields)}")
    if images:
        return
    kind = source.kind(source.fields[0])
    what, such = (
        ("points of the plane", "experiments.gan_ring") if kind == "points" else (kind, "experiments.gan_vectors")
    )
    for name in ("image_size", "channels", "equalize", "flip", "turn", "rotate", "scale", "stream"):
        if value := getattr(options, name):
            raise UsageError(
                f"{source.name} is {what}, not images: --{flag(name)} {value} doesn't go with "
                f"it; take an experiment that draws {kind}, such as {such}"
            )


def _transform_of(options: DataOptions, source: data.Source, chosen: np.ndarray) -> data.ImageTransform:
    """Returns the transform that the options ask for; what they leave open is as in the first readable image."""
    asked = options.load_size or options.image_size
    shape = shape_of(asked) if asked else None
    fit = options.fit if asked and options.fit != "tiles" else None
    channels: int | None = options.channels or (3 if source.name.startswith("folder:") else None)
    skip, keep = options.skip_bad_images, not options.stream
    if channels is None and source.name.startswith("pairs:"):
        channels = depth_of(source, chosen, skip=skip, keep=keep)
    if shape is None or channels is None:
        _, (height, width, depth) = first_shape(source, chosen, skip=skip, keep=keep)
        shape, channels = shape or (height, width), channels or depth
    if options.turn and not options.crop_shape and shape[0] != shape[1]:
        raise UsageError(
            f"--turn needs square images, and those of {source.name} have {shape[0]}×{shape[1]} pixels: "
            f"--image-size {min(shape)}, for example, makes them so"
        )
    size = shape[0] if shape[0] == shape[1] else shape  # what is kept of squares is known by a side of theirs
    return data.ImageTransform(size, channels, fit, options.filter, options.equalize)


def _skipped(faults: list[str], bad: int, of: int) -> str:
    if bad == of:
        raise data.DataError(f"none of the {of} images can be used; the first: {faults[0]}")
    return f"left out {bad} of {of} images: {listed(faults, 3, '; ')}"


def _check_room(size: int, name: str) -> None:
    """Raises UsageError unless half of the device's memory holds the images."""
    memory, sharing = device_memory()
    if (size := sharing * size) > memory // 2:
        raise UsageError(
            f"{name} takes {size / 2**30:.1f} GiB and the device has {memory / 2**30:.1f}; add --stream, take some "
            "--images, or a smaller --image-size"
        )
