"""Looks into the latent space of a run's generator, one tool a call; what it finds is a picture.

    python -m scripts.explore RUN grid --out grid.png                samples with their numbers
    python -m scripts.explore RUN truncation --out truncation.png    samples nearer and nearer to the mean, and beyond
    python -m scripts.explore RUN mixing --layers 4-7 --out mix.png  coarse styles of the rows, --layers of the columns
    python -m scripts.explore RUN walk --numbers 3 17 42 --out walk.mp4      also .gif, and .png as a strip
    python -m scripts.explore RUN directions --out directions.png    what the weights, or a classifier, tell apart
    python -m scripts.explore RUN neighbours --out neighbours.png    samples beside the nearest training images

Samples are named by their numbers: number 3 is the fourth that scripts.sample writes to a file with the same --seed.
Truncation, walks in z, directions from a classifier and neighbours are for all GANs that draw images of latents;
mixing, walks in w and directions from weights for those that, as StyleGAN's, map z to a style w or say which weights
read it.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from jaxgan.data.names import machine_memory
from jaxgan.evaluation import FeatureNetwork, extract
from jaxgan.evaluation.features.cached import features_of
from jaxgan.terminal import align_columns, progress_bar, say
from jaxgan.training import OpenRun
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, refusals, writing
from jaxgan.training.exploring.directions import class_directions, factorised, spread
from jaxgan.training.exploring.latent_space import Inputs
from jaxgan.training.exploring.neighbours import nearest
from jaxgan.training.exploring.pictures import along_directions, mixing_matrix, truncation_sweep, walked
from jaxgan.training.options.evaluation import FeatureOptions
from jaxgan.training.output.captions import captioned
from jaxgan.training.output.pictures import save_png
from jaxgan.training.scoring.measures import measure_for
from scripts.checkpoint_options import data_of, open_checkpoint
from scripts.explore_options import ExploreOptions, numbers_of
from scripts.film_files import save_frames

READ = 200  # samples that a classifier reads at each strength
Found = tuple[np.ndarray | list[np.ndarray], list[str]]  # a picture, or frames, and the lines of a table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(ExploreOptions):
    """Which run, which tool, and how."""


def grid(run: OpenRun, options: Options) -> Found:
    """Samples, in rows, each below its number."""
    numbers = numbers_of(options, "numbers", range(64))
    columns = int(np.ceil(np.sqrt(len(numbers))))
    inputs = samples(run, options, numbers)
    images = run.latent_space.synthesize(_codes(run, options, inputs), inputs, weights=options.weights)
    names, parts = [str(number) for number in numbers], range(0, len(images), columns)
    rows = [captioned([list(images[i : i + columns])], columns=names[i : i + columns]) for i in parts]
    widest = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows]), []


def truncation(run: OpenRun, options: Options) -> Found:
    """A row for each sample, a column for each truncation."""
    numbers = numbers_of(options, "numbers", range(8))
    inputs = samples(run, options, numbers, each=len(options.truncations))
    images = truncation_sweep(run.latent_space, inputs, options.truncations, weights=options.weights)
    titles = [f"{number}" for number in numbers], [f"{each:g}" for each in options.truncations]
    return captioned([list(row) for row in images], *titles), []


def mixing(run: OpenRun, options: Options) -> Found:
    """A row for each sample, a column for each of those that give the styles of --layers, which stand in the first of
    both. Where a classifier suits the data, how often styles from one layer on keep the class."""
    space = run.latent_space
    if len(space.layers) == 1:
        raise UsageError(f"the generator of {run.directory} has one layer, and styles are mixed between several")
    numbers = numbers_of(options, "numbers", range(8))
    last = max(numbers) + 1
    styles = numbers_of(options, "styles", range(last, last + 6))
    layers = _layers(run, options, range(len(space.layers) // 2, len(space.layers)))
    given = samples(run, options, numbers, each=len(styles) + 1), samples(run, options, styles)
    how = {"weights": options.weights, "truncation": options.truncation}
    rows, columns, cells = mixing_matrix(space, *given, layers, **how)
    beside = [[row, *mixes] for row, mixes in zip(rows, cells, strict=True)]
    names = ["", *map(str, numbers)], ["", *map(str, styles)]
    return captioned([[None, *columns], *beside], *names), _kept_classes(run, options)


def _kept_classes(run: OpenRun, options: Options) -> list[str]:
    """Lines of a table: how often a sample with another's styles, from one layer on, is still read as it was."""
    network = _network(run, options)
    if network is None or network.classes is None:
        return []
    space, count = run.latent_space, options.count
    one, other = (samples(run, options, range(first, first + count)) for first in (0, count))
    codes, styles = _codes(run, options, one), _codes(run, options, other)

    def read(codes: np.ndarray, inputs: Inputs) -> np.ndarray:
        return _read(network, space.synthesize(codes, inputs, weights=options.weights))

    was, theirs = read(codes, one), read(styles, other)
    apart = was != theirs
    if not apart.any():
        return [f"{network.name} reads all samples as one class: what styles change can't be told"]
    lines = [["styles of another sample in", "keep the class", "take the other's"]]
    last = len(space.layers) - 1
    for first in range(1, last + 1):
        now = read(np.concatenate([codes[:, :first], styles[:, first:]], axis=1), one)
        shares = [f"{100 * np.mean(now[apart] == each[apart]):.1f} %" for each in (was, theirs)]
        which = f"layers {first}-{last}" if first < last else f"layer {last}"
        lines.append([f"{which} ({space.layers[first]} pixels on)", *shares])
    return [*align_columns(lines), f"{int(apart.sum())} pairs of samples of two classes, as {network.name} reads them"]


def walk(run: OpenRun, options: Options) -> Found:
    """The way from sample to sample: frames, or as a .png a row for each way."""
    space, strip = run.latent_space, options.out.suffix.lower() == ".png"
    numbers = numbers_of(options, "numbers", range(6))
    if len(numbers) < 2:
        raise UsageError("--numbers must be two samples or more between which to walk, such as 3 17")
    mapped = space.mapped if options.space is None else options.space == "w"
    if mapped and not space.mapped:
        raise UsageError(f"the generator of {run.directory} reads z itself, and has no w: --space z")
    spherical = options.path == "spherical" or (options.path is None and not mapped)
    if mapped and spherical:
        raise UsageError("--path must be linear in w, whose points lie on no sphere, got spherical; or --space z")
    frames = options.frames or (8 if strip else 30)
    inputs = samples(run, options, numbers, each=frames)
    how = {"weights": options.weights, "truncation": options.truncation}
    images = walked(space, inputs, frames, closed=options.closed, mapped=mapped, spherical=spherical, **how)
    if not strip:
        return [captioned([[image]], least=256) for image in images], []
    ends = [*numbers, numbers[0]] if options.closed else numbers
    rows = [[images[(first + i) % len(images)] for i in range(frames + 1)] for first in range(0, len(images), frames)]
    return captioned(rows[: len(ends) - 1], [f"{a} to {b}" for a, b in itertools.pairwise(ends)]), []


def directions(run: OpenRun, options: Options) -> Found:
    """Rows of samples, moved along each direction; of those from a classifier how often it reads their class."""
    space = run.latent_space
    layers = _layers(run, options, range(len(space.layers)))
    factors = space.factors(weights=options.weights)
    source = options.source or ("classifier" if factors is None or options.classes else "weights")
    numbers = numbers_of(options, "numbers", range(2))
    all_inputs = samples(run, options, range(options.count))
    codes = space.codes(all_inputs, weights=options.weights)
    if source == "weights":
        if factors is None:
            raise UsageError(f"{run.directory} doesn't say which weights read its latents: --source classifier")
        found = factorised([factors[layer] for layer in layers])
        if (count := options.directions or min(5, space.size)) > space.size:
            raise UsageError(f"--directions must be at most {space.size}, the numbers of a code, got {count}")
        vectors, names = found.directions[:count], [f"{number}" for number in range(count)]
        shares = found.values / found.values.sum() if found.values.sum() else found.values
        table = [["direction", "share of what the layers read"]]
        table += [[name, f"{share:.1%}"] for name, share in zip(names, shares, strict=False)]
    else:
        vectors, classes = _of_classes(run, options, codes, all_inputs)
        names = [f"class {number}" for number in classes]
    amounts = spread(codes[:, 0], vectors)[:, None] * np.asarray(options.strengths)
    how = {"weights": options.weights, "truncation": options.truncation}
    inputs = samples(run, options, numbers, each=amounts.size)
    images = along_directions(space, inputs, vectors, amounts, layers, **how)
    if source == "classifier":
        read = samples(run, options, range(min(READ, options.count)))
        table = _shares(run, options, along_directions(space, read, vectors, amounts, layers, **how), classes)
    rows = [list(images[i, j]) for j in range(len(vectors)) for i in range(len(numbers))]
    titles = [f"{name}: {number}" for name in names for number in numbers]
    return captioned(rows, titles, [f"{each:g}" for each in options.strengths]), align_columns(table)


def _of_classes(run: OpenRun, options: Options, codes: np.ndarray, inputs: Inputs) -> tuple[np.ndarray, list[int]]:
    """Directions `[n, D]` to classes, as the classifier reads samples of these codes, and the classes."""
    network = _classifier(run, options)
    if run.drawing.conditional and not run.latent_space.mapped:
        raise UsageError(f"the generator of {run.directory} is given the class beside z: name it, --label 7")
    wanted = options.classes.split(",") if options.classes else []
    wrong = [each for each in wanted if not (each.isdecimal() and int(each) < (network.classes or 0))]
    if wrong:
        apart = f"{network.name} tells apart, 0 to {(network.classes or 0) - 1}"
        raise UsageError(f"--classes must be numbers with commas between, of what {apart}, got {options.classes}")
    read = _read(network, run.latent_space.synthesize(codes, inputs, weights=options.weights))
    counts = np.bincount(read, minlength=network.classes or 0)
    there = [int(each) for each in np.flatnonzero(counts) if counts[each] < len(read)]
    classes = list(dict.fromkeys(map(int, wanted))) or there
    for each in classes:
        if not 0 < counts[each] < len(read):
            how_many = "all" if counts[each] else "none"
            raise UsageError(f"{how_many} of {len(read):,} samples are read as class {each}: take more, --count")
    if not classes:
        raise UsageError(f"all {len(read):,} samples are read as one class: there is no direction between classes")
    return class_directions(codes[:, 0], read, classes), classes


def _shares(run: OpenRun, options: Options, images: np.ndarray, classes: Sequence[int]) -> list[list[str]]:
    """Lines of a table: how many of images `[N, n, S, ...]` are read as the class of their direction."""
    network = _classifier(run, options)
    read = _read(network, images.reshape(-1, *images.shape[3:])).reshape(images.shape[:3])
    lines = [["read as its class at", *(f"{each:g}" for each in options.strengths)]]
    for j, number in enumerate(classes):
        lines.append([f"class {number}", *(f"{share:.1%}" for share in np.mean(read[:, j] == number, axis=0))])
    return lines


def neighbours(run: OpenRun, options: Options) -> Found:
    """A row for each sample, with the training images beside it that are nearest, and a table of their distances."""
    numbers = numbers_of(options, "numbers", range(8))
    inputs = samples(run, options, numbers)
    images = run.latent_space.synthesize(_codes(run, options, inputs), inputs, weights=options.weights)
    real = _training_images(run, options)
    if options.nearest > len(real):
        raise UsageError(f"--nearest must be at most {len(real):,}, the training images, got {options.nearest}")
    network = _network(run, options)
    mine, theirs = (_described(network, each) for each in (images, real))
    few = min(options.count, 256, len(real))
    with progress_bar(2 * len(real), "comparing") as bar, refusals():
        found = nearest(mine, theirs, options.nearest, bar.update)
        floor = nearest(theirs[:few], theirs, min(2, len(real)), bar.update)
    others = floor.distances[floor.numbers != np.arange(few)[:, None]].reshape(few, -1).min(1, initial=np.inf)
    beside = [[image, *real[near]] for image, near in zip(images, found.numbers, strict=True)]
    order = [str(place + 1) for place in range(options.nearest)]
    lines = [["sample", *(f"nearest {place}" for place in order)]]
    lines += [[str(n), *(f"{each:.4g}" for each in row)] for n, row in zip(numbers, found.distances, strict=True)]
    what = f"features of {network.name}" if network else "pixels, from 0 to 255"
    lines = align_columns(lines)
    lines.append(
        f"median distance to the nearest: {np.median(found.distances[:, 0]):.4g} of {len(numbers)} samples, "
        f"{np.median(others):.4g} of {few} training images to another; distances of {what}"
    )
    return captioned(beside, [str(number) for number in numbers], ["sample", *order]), lines


def _training_images(run: OpenRun, options: Options) -> np.ndarray:
    """All images that the run was trained on, as its discriminator sees them. UsageError where they aren't there any
    more."""
    real = data_of(run)
    one = real.of(run.drawing.main)
    if (size := one.spec.count * int(np.prod(one.spec.shape))) > (most := machine_memory() // 8):
        raise UsageError(f"the training images have {size:,} bytes; at most {most:,} are compared")
    return one.examples(one.spec.count)


def _described(network: FeatureNetwork | None, images: np.ndarray) -> np.ndarray:
    if network is None:
        return images
    with progress_bar(len(images), "features") as bar, refusals():
        return features_of(network, images, bar.update)["features"]


def _network(run: OpenRun, options: Options) -> FeatureNetwork | None:
    """The network that is named or suits the data; None for pixels."""
    if options.feature_network == "pixels":
        return None
    return measure_for(FeatureOptions(feature_network=options.feature_network), run.data).network


def _classifier(run: OpenRun, options: Options) -> FeatureNetwork:
    network = _network(run, options)
    if network is None or network.classes is None:
        raise UsageError(
            f"there is no classifier of {run.data.name}; where one fits its pictures all the same, name it: "
            "--feature-network mnist-v1"
        )
    return network


def _read(network: FeatureNetwork, images: np.ndarray) -> np.ndarray:
    """The classes that images are read as, `[N]`."""
    with progress_bar(len(images), "reading") as bar, refusals():
        return np.asarray(extract(network, images, bar.update)["logits"].argmax(-1))


def _layers(run: OpenRun, options: Options, default: Sequence[int]) -> list[int]:
    layers, known = numbers_of(options, "layers", default), run.latent_space.layers
    if wrong := [layer for layer in layers if layer >= len(known)]:
        pixels = f", of {', '.join(known)} pixels" if any(known) else ""
        has = f"layers 0 to {len(known) - 1}{pixels}" if len(known) > 1 else "one layer, 0"
        raise UsageError(f"--layers: there is no layer {wrong[0]}: the generator of {run.directory} has {has}")
    return layers


def _codes(run: OpenRun, options: Options, inputs: Inputs) -> np.ndarray:
    return run.latent_space.codes(inputs, weights=options.weights, truncation=options.truncation)


def samples(run: OpenRun, options: Options, numbers: Sequence[int], each: int = 1) -> Inputs:
    """What samples of these numbers are drawn of. UsageError where memory doesn't hold so many images, `each` of
    them."""
    if (count := each * len(numbers)) > (most := run.most() // 16):
        raise UsageError(f"{options.tool} would draw {count:,} images, and memory holds {most:,}: name fewer --numbers")
    return run.latent_space.inputs(numbers, seed=options.seed, label=options.label)


TOOLS = {each.__name__: each for each in (grid, truncation, mixing, walk, directions, neighbours)}


def run(options: Options) -> None:
    opened = open_checkpoint(options.run, options)
    medium = opened.drawing.medium(opened.drawing.main)
    if medium.kind != "image":
        raise UsageError(f"{options.run} draws {medium.plural}, and what explore shows is images")
    opened.latent_space  # noqa: B018 - refused before anything is computed
    opened.check(options.label)
    options = dataclasses.replace(options, weights=opened.named_weights(options.weights))
    if opened.frozen:
        say(f"member {options.member} has diverged, and is as it was before step {opened.frozen}", error=True)
    picture, lines = TOOLS[options.tool](opened, options)
    with writing(options.out):
        if isinstance(picture, list):
            save_frames(options.out, picture)
        else:
            save_png(options.out, picture)
    say(*lines, f"{options.out}: {options.weights} weights of step {opened.step}")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
