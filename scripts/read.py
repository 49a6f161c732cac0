"""Counts how many of the held-out digits that a run translates or repairs a classifier still reads as what they are.

    python -m scripts.read RUN
    python -m scripts.read RUN --count 1000 --weights raw

A row is what a packaged classifier makes of one of the run's outputs: the share that it reads as the label of the
example that the output was made of. Sources, and where they are known the true answers, stand beside what the run makes
of them: they are the most that can be expected. What the classifier wasn't trained on, slanted colours, is shown to it
turned back by the inverse of the known mapping, where the experiment says so (`GAN.readings`). Of a run with --seeds or
--sweep each GAN has a column, with their mean ± standard deviation.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.sets import LABEL
from jaxgan.evaluation import FeatureNetwork, classifier_features
from jaxgan.media import Image
from jaxgan.terminal import progress_bar, say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, refusals
from jaxgan.training.options.fields import bounded
from jaxgan.training.recipe.gan import Reading
from jaxgan.training.scoring.measures import SUITS
from jaxgan.training.scoring.report import share_table
from scripts.checkpoint_options import CheckpointOptions, open_checkpoint, undiverged
from scripts.classifiers import Labelled, share_right


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(CheckpointOptions):
    run: Positional[Path]
    """A run directory."""
    count: int = bounded(10_000, at_least=1)
    """Held-out examples to read; at most as many as there are."""
    member: int | None = bounded(None, at_least=0)
    """Which GAN of a run with --seeds or --sweep; by default each, and their mean."""
    classifier: Literal["auto", "mnist-v1", "cifar10-v1"] = "auto"
    """The packaged classifier that reads; by default that of the run's data."""
    data_dir: str | None = None
    """Folder of TFDS's data sets; by default the run's."""


def readings_of(run: OpenRun) -> dict[str, Reading]:
    """Returns by output how it is read: as the experiment says or, of what is made of examples of a single set with
    labels, as it is. UsageError for runs that can't be read."""
    if run.gan.readings:
        return dict(run.gan.readings)
    if run.data.sets:
        raise UsageError(
            f"{run.directory} doesn't say how a classifier is to read what it draws: its experiment gives no "
            "`GAN.readings`, as experiments.cyclegan_mnist does"
        )
    if run.drawing.held is None:
        raise UsageError(
            f"{run.directory} draws of nothing that has a label to be kept: runs that translate or repair images are "
            "read; python -m scripts.evaluate RUN --metrics classes judges conditional GANs"
        )
    return {name: Reading() for name in run.drawing.outputs}


def labels_of(run: OpenRun, of: str) -> np.ndarray:
    """Returns the labels of the examples that are drawn from, of the set `of`, in their order. UsageError where they
    have none."""
    examples = run.drawing.examples().examples
    fields = examples[of] if of else examples
    if LABEL not in fields:
        name = (run.data.sets[of] if of else run.data).name
        raise UsageError(f"the set {name} of {run.directory} has no labels, and so nothing tells what was read right")
    return np.asarray(fields[LABEL])


def reader(run: OpenRun, classifier: str) -> FeatureNetwork:
    """Returns the classifier of that name or, for "auto", that of the run's data. UsageError where there is none, or
    where it tells other classes apart."""
    sets = list(run.data.sets.values()) or [run.data]
    if classifier == "auto":
        suited = [SUITS[each.name] for each in sets if each.name in SUITS]
        if not suited:
            raise UsageError(
                f"there is no classifier of {run.data.name}; where one fits its pictures all the same, name it: "
                "--classifier mnist-v1"
            )
        classifier = suited[0]
    network = classifier_features(classifier)
    for each in sets:
        if LABEL in each.fields and each.classes != network.classes:
            raise UsageError(
                f"{classifier} tells {network.classes} classes apart, and {each.name} has {each.classes} in this run"
            )
    return network


def shares(run: OpenRun, options: Options) -> tuple[dict[str, list[float]], int]:
    """Returns by output the share of images `[0, 1]` that are read right, of each GAN, and how many were read."""
    readings, network = readings_of(run), reader(run, options.classifier)
    labels = {of: labels_of(run, of) for of in {reading.of for reading in readings.values()}}
    count = min(options.count, *map(len, labels.values()))
    members = [member.number for member in undiverged(run)] or [None]
    drawn = run.draw(count, seed=options.seed, weights=options.weights)
    found = {}
    with progress_bar(len(readings) * len(members) * count, "reading") as bar:
        for name in (output for output in run.drawing.outputs if output in readings):
            read, right = _reads(network, readings[name]), labels[readings[name].of][:count]
            images = [drawn[name] if member is None else drawn[name][member] for member in members]
            found[name] = [share_right(read, Labelled(each, right), bar.update) for each in images]
    return found, count


def _reads(network: FeatureNetwork, reading: Reading) -> Callable[[np.ndarray], jax.Array]:
    """Returns the compiled function from stored images `[N, H, W, C]` to the classes that they are read as, `[N]`."""
    medium = Image()

    def read(images: jax.Array) -> jax.Array:
        shown = images if reading.shown is None else medium.encode(reading.shown(medium.decode(images)))
        return jnp.argmax(network.apply(shown)["logits"], axis=-1)

    return jax.jit(read)


def run(options: Options) -> None:
    opened = open_checkpoint(options.run, options)
    with refusals():
        found, count = shares(opened, options)
    network = reader(opened, options.classifier)
    several = len(next(iter(found.values())))
    columns = [f"GAN {number}" for number in range(several)] if several > 1 else ["share"]
    say(*share_table("read as its label", found, columns))
    say(f"{count:,} examples, {opened.drawing.examples().about}; {options.weights} weights of step {opened.step}")
    say(f"read by {network.name}, sha256 {network.sha256}")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
