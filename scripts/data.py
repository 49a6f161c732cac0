"""Prepares, describes and checks a data set ahead of a run.

    python -m scripts.data mnist
    python -m scripts.data folder:photos --image-size 64 --load-size 96 --flip
    python -m scripts.data folder:photos --for dcgan_cifar10 --image-size 64

It takes the options that experiments take, reads every image, and draws a picture of 64 of them as a network would get
them, random changes included. With --for EXPERIMENT options that aren't given are as that experiment has them, and what
it would refuse is refused. A set that doesn't fit the memory is read in parts with --stream.
"""

import dataclasses
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.__main__ import experiments
from jaxgan.data import DataSet, in_memory
from jaxgan.data.sets import LABEL
from jaxgan.data.stream import Stream
from jaxgan.media import Image, Vectors
from jaxgan.nearest import perhaps
from jaxgan.printable import printable
from jaxgan.terminal import say
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, require, require_file, shown, writing
from jaxgan.training.options.data import DataOptions, real_transform
from jaxgan.training.options.options import Options as CommonOptions
from jaxgan.training.options.options import of_preset
from jaxgan.training.options.parsing import taken
from jaxgan.training.output.pictures import save_png
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.loading import load, name_sets
from jaxgan.training.run.experiment import experiment_named

BARS = 16  # in the histogram of values
NAMED = 100  # classes at most that are listed one by one
BLOCK = 1024  # images that are looked at together
RENAMED = {"--picture": "--out FILE.png"}


@dataclasses.dataclass(frozen=True)
class Options(DataOptions):
    dataset: Positional[str] = "auto"
    for_experiment: str | None = None
    """An experiment, as `python -m experiments` lists them: options that aren't given are as it has them."""
    preset: str = "laptop"
    """The experiment's preset, with --for."""
    out: Path | None = None
    """File for the picture, .png; by default runs/data/NAME.png."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(self, "out", ".png")
        fits = self.preset == "laptop" or self.for_experiment is not None
        require(self, "preset", fits, "given together with --for")


def parse(arguments: Sequence[str]) -> tuple[Options, DataOptions]:
    """Returns the options that a command line gives, and as which the data are loaded: with --for the experiment's,
    otherwise the same. UsageError for what either of them refuses."""
    found = taken(arguments, "--for")[0]
    preset = taken(arguments, "--preset")[0] or "laptop"
    if not found:
        options = command_line(Options, arguments, renamed=RENAMED)
        return options, options
    theirs = of_preset(options_of(found), preset)
    names = [field.name for field in dataclasses.fields(DataOptions)]
    shared = {name: getattr(theirs, name) for name in names}
    default = Options(**shared, for_experiment=found, preset=preset)
    options = command_line(Options, arguments, default=default, renamed=RENAMED)
    return options, dataclasses.replace(theirs, **{name: getattr(options, name) for name in names})


def options_of(name: str) -> type[CommonOptions]:
    """Returns the options of the experiment called so, with or without `experiments.`. UsageError where there is none.
    Only the package's own are looked for."""
    short = name.removeprefix("experiments.")
    known = [experiment.name for experiment in experiments()]
    experiment = experiment_named(f"experiments.{short}") if short in known else None
    if experiment is None:
        hint = perhaps(short, known) or "; python -m experiments lists them"
        raise UsageError(f"--for must be the name of an experiment, got {shown(name)}{hint}")
    return experiment.options_type


def seen(options: DataOptions, images: np.ndarray) -> np.ndarray:
    """Images as a network gets them: after the random changes that the options ask for."""
    transform = real_transform(options)
    if transform is None:
        return images
    keys = jax.random.split(jax.random.key(0), len(images))
    return np.asarray(Image().encode(transform(Image().decode(jnp.asarray(images)), keys)))


def images_at(data: DataSet | Stream, places: np.ndarray) -> np.ndarray:
    """Some of the images, which a stream reads now."""
    if isinstance(data, Stream):
        return in_memory(data.source, data.chosen[places], data.transform)
    return data.images[places]


def beside_sources(options: DataOptions, data: DataSet | Stream, places: np.ndarray) -> np.ndarray:
    """Some of the images as a network gets them; of pairs of one height each with its source to the left."""
    images = seen(options, images_at(data, places))
    if isinstance(data, Stream) or not {"image", "source"} <= set(data.fields) or data.kind("source") != Image.kind:
        return images
    sources = seen(options, data.arrays["source"][places])
    if sources.shape[1] != images.shape[1]:
        return images
    most = max(images.shape[3], sources.shape[3])
    return np.concatenate([np.broadcast_to(each, (*each.shape[:3], most)) for each in (sources, images)], axis=2)


def blocks(data: DataSet | Stream) -> Iterator[np.ndarray]:
    """All the images, a part at a time."""
    for start in range(0, len(data), BLOCK):
        yield images_at(data, np.arange(start, min(start + BLOCK, len(data))))


def describe(data: DataSet | Stream, spec: DataSpec) -> str:
    """Count, size, classes, doubles and values, as text."""
    kind = "points of the plane" if spec.kind == "points" else "×".join(map(str, spec.shape))
    plural = "images" if spec.kind == "points" else spec.medium.plural
    lines = [f"{data.name}", f"  {plural:8}  {len(data):,}, {kind}"]
    if len(data_fields := [name for name in spec.fields if name != LABEL]) > 1:
        lines.append(f"  fields    {', '.join(f'{name}: {spec.fields[name].text}' for name in data_fields)}")
    different: set[bytes] = set()
    levels, flat = np.zeros(256, np.int64), 0
    for images in blocks(data):
        different.update(hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
        if spec.kind == Image.kind:
            levels += np.bincount(images.ravel(), minlength=256)
            flat += int(np.sum(images.reshape(len(images), -1).std(axis=1) == 0))
    bars: list[str] = []
    if isinstance(data, DataSet) and spec.kind == Vectors.kind:
        lines += columns(data)
    elif isinstance(data, DataSet) and spec.kind != Image.kind:
        lines.append(f"  values    {spread(data.images.ravel())}")
        bars = ["  histogram of values", histogram(data.images.ravel(), None, None)]
    else:
        values, weights = np.flatnonzero(levels), levels[levels > 0]
        lines.append(f"  values    {spread(values, weights)}")
        bars = ["  histogram of values", histogram(values, weights, (0, 256))]
    lines += classes(data, spec)
    doubles = len(data) - len(different)
    lines.append(f"  doubles   {doubles:,} {plural} are exact copies of another" if doubles else "  doubles   none")
    if flat:
        lines.append(f"  empty     {flat:,} images are of one colour")
    return "\n".join([*lines, *bars])


def classes(data: DataSet | Stream, spec: DataSpec) -> list[str]:
    """How many examples each class has."""
    if not spec.classes:
        return []
    names = [printable(name) for name in data.class_names]
    width, counts = max(map(len, names)), np.bincount(data.labels, minlength=spec.classes)
    if spec.classes > NAMED:
        each = [f"    of {counts.min():,} to {counts.max():,} images each"]
    else:
        each = [f"    {name:{width}}  {count:,}" for name, count in zip(names, counts, strict=True)]
    return [f"  classes   {spec.classes}", *each, *spec.notes]


def spread(values: np.ndarray, weights: np.ndarray | None = None) -> str:
    mean = np.average(values, weights=weights)
    deviation = np.sqrt(np.average((values - mean) ** 2, weights=weights))
    return f"{values.min():.4g} to {values.max():.4g}, mean {mean:.4g}, standard deviation {deviation:.4g}"


def columns(data: DataSet) -> list[str]:
    """A line for each column of a set of vectors."""
    names = [printable(name) for name in data.columns or (f"column {i}" for i in range(data.images.shape[1]))]
    width = max(map(len, names))
    return [f"    {name:{width}}  {spread(x)}" for name, x in zip(names, data.images.T.astype(np.float64), strict=True)]


def histogram(values: np.ndarray, weights: np.ndarray | None, limits: tuple[int, int] | None) -> str:
    """How often values occur, as bars."""
    counts, edges = np.histogram(values, BARS, limits, weights=weights)
    share = counts / counts.sum()
    return "\n".join(
        f"    {low:8.4g} to {high:8.4g}  {part:6.1%}  {'█' * round(40 * part / share.max())}"
        for low, high, part in zip(edges[:-1], edges[1:], share, strict=True)
    )


def run(options: Options, loaded_as: DataOptions | None = None) -> None:
    say(f"reading {name_sets(options)} ...")
    data = load(loaded_as or options)
    if isinstance(data, dict):
        raise UsageError(f"--dataset {options.dataset} is several sets; name one")
    spec = DataSpec.of(data, options.crop_shape)
    say(*describe(data, spec).split("\n"))
    path = options.out or Path("runs/data") / f"{data.name.replace(':', '-').replace('/', '-')}.png"
    chosen = np.random.default_rng(0).permutation(len(data))[: spec.medium.shown]
    with writing(path):
        if not options.out:
            path.parent.mkdir(parents=True, exist_ok=True)
        save_png(path, spec.medium.show(beside_sources(options, data, chosen)))
    say(f"{path}: {len(chosen)} of them, as a network gets them")


if __name__ == "__main__":
    with plain_exits():
        run(*parse(sys.argv[1:]))
