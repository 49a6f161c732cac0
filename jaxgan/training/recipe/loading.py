"""Loads the examples that the options name: those to train on, and those held out."""

import dataclasses
import importlib.util
import multiprocessing
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan import data
from jaxgan.data.errors import BadImage
from jaxgan.data.names import kind_of, meant_path
from jaxgan.data.sets import LABEL
from jaxgan.data.stream import Stream
from jaxgan.media import Image
from jaxgan.printable import printable
from jaxgan.terminal import say
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.data import DataOptions
from jaxgan.training.recipe.data_spec import Data, DataSpec, Field
from jaxgan.training.recipe.reading import read

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
            return read(options, _open(options, _single(given)), held=False)
        if options.stream:
            raise UsageError(f"--stream reads one set, and there are several, {', '.join(several)}; leave it out")
        return {
            name: read(one, _open(one, source), held=False)  # type: ignore[misc]  # a DataSet, without --stream
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
        kept = read(options, _open(options, single), held=True)
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


def address(asked: str, name: str) -> str:
    """Returns where the data is, for the record: `auto` resolved, paths made absolute."""
    several = _several(DataOptions(dataset=asked), None) or {}
    if several:
        return ",".join(f"{key}={address(one.dataset, one.dataset)}" for key, (one, _) in several.items())
    kind, colon, path = asked.partition(":")
    return f"{kind}:{Path(path).expanduser().absolute()}" if colon else name
