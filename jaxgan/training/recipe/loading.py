"""Loads the examples that the options name: those to train on, and those held out."""

import dataclasses
import importlib.util
import math
import multiprocessing
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan import data
from jaxgan.data.errors import BadImage
from jaxgan.data.names import kind_of, meant_path
from jaxgan.data.sets import LABEL
from jaxgan.data.sources.pairs import PairSource
from jaxgan.data.stream import Stream
from jaxgan.data.tiles import TileSource, sizes_of, tiles_of
from jaxgan.data.transform import count_of, depth_of, first_shape, readable
from jaxgan.media import Image
from jaxgan.printable import listed, printable
from jaxgan.terminal import say
from jaxgan.training.errors.usage import UsageError, flag
from jaxgan.training.options.data import DataOptions, shape_of
from jaxgan.training.options.devices import device_memory
from jaxgan.training.recipe.data_spec import Data, DataSpec, Field

__all__ = ["Given", "Held", "address", "check_sets", "drawn_from", "drawn_order", "held_out", "load", "name_sets"]

# By the kind of examples that an experiment takes, its plural and sets that have such.
SUCH = {
    "image": ("images", "mnist, cifar10, folder:PATH or npz:PATH"),
    "points": ("points", "ring or grid"),
    "vectors": ("vectors", "csv:PATH or npz:PATH"),
}
MOST = 10_000  # examples of a set that are drawn from

Given = data.Source | Mapping[str, data.Source]  # a set of one's own, or several by name


class Held(NamedTuple):
    """Stored examples that are drawn from, `[N, ...]` by field (or by set and field), and which they are, in words."""

    examples: Mapping[str, Any]
    about: str


def load(options: DataOptions, given: Given | None = None) -> Data:
    """Returns the examples that the options name (or `given` ones), prepared as they say, without those that are held
    out. UsageError where that can't be."""
    if options.stream and importlib.util.find_spec("grain") is None:
        raise UsageError("--stream needs Grain: pip install 'jaxgan[grain]'")
    if options.stream and getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker that starts
        raise UsageError("a program that streams must train under `if __name__ == '__main__':`; its workers import it")
    try:
        if (several := _several(options, given)) is None:
            return _read(options, _open(options, _single(given)), held=False)
        if options.stream:
            raise UsageError(f"--stream reads one set, and there are several, {', '.join(several)}; leave it out")
        return {
            name: _read(one, _open(one, source), held=False)  # type: ignore[misc]  # a DataSet, without --stream
            for name, (one, source) in several.items()
        }
    except data.DataError as error:
        hint = "; --skip-bad-images leaves such images out" if isinstance(error, BadImage) else ""
        raise UsageError(f"{error}{hint}") from None


def name_sets(options: DataOptions, given: Given | None = None) -> str:
    """Names the data that `load` reads, before it does. auto is mnist, until it turns out that it can't be had."""
    if isinstance(given, Mapping):
        return ", ".join(given)
    return given.name if given is not None else "mnist" if options.dataset == "auto" else options.dataset


def held_out(options: DataOptions, given: Given | None = None) -> tuple[Data, str]:
    """Examples that no run with these options is trained on, prepared alike, and which they are, in words: those that
    --hold-out keeps, or else the set's test split. DataError where there are none."""
    options = dataclasses.replace(options, stream=False)
    if (several := _several(options, given)) is not None:
        found = {name: held_out(one, source) for name, (one, source) in several.items()}
        about = dict.fromkeys(about for _, about in found.values())
        sets = {name: one for name, (one, _) in found.items()}
        return sets, "; ".join(about)  # type: ignore[return-value]  # each is of one set, and not a stream
    single = _single(given)
    if options.hold_out:
        kept = _read(options, _open(options, single), held=True)
        return kept, f"{options.hold_out} of the set, held out"
    if single is not None:
        raise data.DataError(f"{single.name} is a set of one's own, without test examples; --hold-out 5% keeps some")
    source = data.open_source(options.dataset, options.data_dir, split="test")
    whole = dataclasses.replace(options, images=None)
    return load(whole, source), "the test images"


def drawn_from(options: DataOptions, spec: DataSpec, given: Given | None = None, training: Data | None = None) -> Held:
    """Returns the examples that a generator which needs some is shown: held-out ones or, of a set without, training
    examples; of each set up to 10,000, in the order of `drawn_order`, cut to the size that a step takes."""
    several = _several(options, given)
    if several is None:
        found, about = _held_or_training(options, given, training)
        return Held(_stored(found, spec.fields), about)
    trained = training if isinstance(training, dict) else {}
    each = {name: _held_or_training(one, source, trained.get(name)) for name, (one, source) in several.items()}
    words = dict.fromkeys(about for _, about in each.values())
    said = "; ".join(words if len(words) == 1 else [f"{name}: {about}" for name, (_, about) in each.items()])
    return Held({name: _stored(found, spec.sets[name].fields) for name, (found, _) in each.items()}, said)


def _held_or_training(options: DataOptions, given: Given | None, training: Data | None) -> tuple[Data, str]:
    try:
        return held_out(options, given)
    except data.DataError:
        return load(options, given) if training is None else training, "training examples"


def _stored(found: Data, fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
    """Returns the first examples of a single set in the order in which they are drawn from."""
    if isinstance(found, dict):
        raise TypeError("there are several sets")
    chosen = drawn_order(found)[:MOST]
    if isinstance(found, Stream):
        images = data.in_memory(found.source, found.chosen[chosen], found.transform)
        arrays = {"image": images, LABEL: found.labels[chosen]}
    else:
        arrays = dict(found.take(chosen).arrays)
    for name, field in fields.items():
        if field.kind == Image.kind:
            arrays[name] = _middle(arrays[name], field.shape)
    return {name: arrays[name] for name in fields}


def drawn_order(examples: data.DataSet | Stream) -> np.ndarray:
    """Returns the numbers of a set's examples in an order that is drawn once and for all."""
    return np.random.default_rng(0).permutation(len(examples))


def _middle(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the window `[N, *shape]` in the middle of images."""
    height, width, _ = shape
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]


def _several(options: DataOptions, given: Given | None) -> dict[str, tuple[DataOptions, data.Source | None]] | None:
    """Returns by name the options of each of several sets, and the set where it is given; None for a single set."""
    if isinstance(given, Mapping):
        return {name: (options, source) for name, source in given.items()}
    parts = re.split(r",(?=[A-Za-z_]\w*=)", options.dataset)
    pairs = [re.fullmatch(r"([A-Za-z_]\w*)=(.+)", part) for part in parts]
    if given is not None or not all(pairs):
        return None
    names = [pair[1] for pair in pairs if pair]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--dataset {options.dataset} has two sets called {twice[0]}; give each a name of its own")
    return {pair[1]: (dataclasses.replace(options, dataset=pair[2]), None) for pair in pairs if pair}


def _single(given: Given | None) -> data.Source | None:
    return None if isinstance(given, Mapping) else given


def _open(options: DataOptions, given: data.Source | None) -> data.Source:
    if given is not None:
        return given
    _check_kind(options)
    if options.dataset != "auto":
        return data.open_source(options.dataset, options.data_dir)
    source, reason = data.mnist_or_digits(options.data_dir)
    if reason:
        say(f"NOTE: training on scikit-learn's {len(source):,} digits instead of MNIST: {reason}")
    return source


def check_sets(options: DataOptions, given: Given | None = None) -> None:
    """Raises UsageError where an experiment takes several sets, and those that `load` would read are others."""
    takes, several = getattr(options, "SETS", ()), _several(options, given) or {}
    if takes and set(takes) != set(several):
        sets = ",".join(f"{name}={each}" for name, each in zip(takes, ("folder:ONE", "folder:OTHER"), strict=False))
        has = ", ".join(several) if several else name_sets(options, given)
        raise UsageError(
            f"this experiment takes the sets {' and '.join(takes)}, and the data are {has}: give --dataset {sets}, for "
            "example"
        )


def _check_kind(options: DataOptions) -> None:
    """Raises UsageError where the name of the set says that the experiment doesn't take it, before it is read."""
    takes, kind = getattr(options, "TAKES", None), kind_of(options.dataset)
    if takes and kind not in (None, takes):
        plural, such = SUCH[takes]
        raise UsageError(
            f"--dataset {printable(options.dataset)} is no set of {plural}, which this experiment draws: use {such}"
            f"{meant_path(options.dataset)}"
        )


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


def _read(options: DataOptions, source: data.Source, *, held: bool) -> data.DataSet | Stream:
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


def address(asked: str, name: str) -> str:
    """Returns where the data is, for the record: `auto` resolved, paths made absolute."""
    several = _several(DataOptions(dataset=asked), None) or {}
    if several:
        return ",".join(f"{key}={address(one.dataset, one.dataset)}" for key, (one, _) in several.items())
    kind, colon, path = asked.partition(":")
    return f"{kind}:{Path(path).expanduser().absolute()}" if colon else name
