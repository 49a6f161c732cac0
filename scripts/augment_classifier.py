"""Trains classifiers on the few images that a conditional GAN was trained on, with and without its samples.

    python -m experiments.cgan_mnist --images 100 --seeds 3 --steps 1500
    python -m scripts.augment_classifier RUN

prints the share of test images that are told right by a classifier of the run's real images alone, of these shifted at
random, and of both beside the generator's samples, which make half of every batch then, labelled as they were asked for
(Antoniou et al. 2017, https://arxiv.org/abs/1711.04340, ask what such samples are worth). Every classifier is trained
from scratch for the same number of steps, and so sees as many images. Of a run with --seeds each GAN has a column and
a classifier of its own seed, with their mean ± standard deviation; the real images are the same in all.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan import augment, data
from jaxgan.data.sets import LABEL
from jaxgan.media import Image
from jaxgan.networks.classifier import Classifier
from jaxgan.terminal import progress_bar, say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, refusals, require_file, writing
from jaxgan.training.options.data import real_transform
from jaxgan.training.options.fields import bounded
from jaxgan.training.output.log import write_json
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.loading import held_out
from jaxgan.training.scoring.real_data import RealData
from jaxgan.training.scoring.report import share_table
from scripts.checkpoint_options import CheckpointOptions, open_checkpoint, undiverged
from scripts.classifiers import Labelled, classifier_loss, initial_variables, share_right

WIDTHS, DEPTHS = (16, 48, 96), (0, 1, 1)  # of the packaged classifier of digits
SMALLEST = 8  # pixels of a side, which it halves three times
RATE = 1e-3  # Adam's, which falls to 0 as a cosine
PIECE = 20  # steps in a dispatch
ROWS = {  # whether images are shifted, and whether there are samples
    "real images": (False, False),
    "real images, shifted": (True, False),
    "real images and samples": (False, True),
    "real images and samples, shifted": (True, True),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(CheckpointOptions):
    run: Positional[Path]
    """A run directory of a conditional GAN of images."""
    count: int = bounded(5000, at_least=1)
    """Images that the generator draws, of all classes alike."""
    steps: int = bounded(1000, at_least=1)
    """Steps of each classifier."""
    batch_size: int = bounded(100, at_least=2)
    """Images of a step; where there are samples, half of them are some."""
    shift: int = bounded(2, at_least=1)
    """Pixels by which images are shifted at most, where they are."""
    data_dir: str | None = None
    """Folder of TFDS's data sets; by default the run's."""
    out: Path | None = None
    """File for the shares, .json."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(self, "out", ".json")


def sets_of(run: OpenRun) -> tuple[Labelled, Labelled, str]:
    """Returns the images that a run was trained on, those that are held out, and what these are, in words. UsageError
    where there are none, or they have no classes."""
    if run.data.sets or run.data.kind != Image.kind or not run.drawing.by_label:
        raise UsageError(
            f"{run.directory} draws no images by their class: runs of conditional GANs can teach a classifier, such as "
            "experiments.cgan_mnist"
        )
    real = RealData.of_run(run.options, run.given)
    try:
        held, about = held_out(run.options, run.given)
    except data.DataError as error:
        raise UsageError(f"there are no test images: {error}") from None
    others = RealData(held, DataSpec.of(held, run.options.crop_shape), real_transform(run.options))
    first, second = (Labelled(one.examples(one.spec.count), one.labels) for one in (real, others))
    if min(first.images.shape[1:3]) < SMALLEST:
        sides = "×".join(map(str, first.images.shape[1:3]))
        raise UsageError(f"a classifier needs images of at least {SMALLEST} pixels a side, {run.directory} has {sides}")
    return first, second, about


def samples_of(run: OpenRun, options: Options) -> list[Labelled]:
    """Returns samples of each GAN of a run, of the classes by turns. UsageError where all have diverged."""
    drawn = run.draw(options.count, seed=options.seed, weights=options.weights, run=1)
    images, labels = drawn[run.drawing.main], drawn[LABEL]
    if not run.members:
        return [Labelled(images, labels)]
    return [Labelled(images[member.number], labels) for member in undiverged(run)]


def fit(
    module: Classifier,
    real: Labelled,
    fake: Labelled | None,
    *,
    steps: int,
    batch_size: int,
    shift: int = 0,
    seed: int = 0,
    seen: Callable[[int], Any] = lambda steps: None,
) -> dict[str, Any]:
    """Trains a classifier with Adam on real images or, in every batch, on as many of `fake` as of `real` ones, all
    drawn with replacement and shifted by up to `shift` pixels. Returns its variables. seen: is told how many steps were
    done."""
    sets = [jax.tree.map(jnp.asarray, real), *([jax.tree.map(jnp.asarray, fake)] if fake else [])]
    parts = (batch_size - batch_size // 2, batch_size // 2) if fake else (batch_size,)
    tx, advanced = _program(module, steps, parts, shift)
    root = jax.random.key(seed)
    variables = initial_variables(module, real.images.shape[1:], root)
    state = variables["params"], variables["batch_stats"], tx.init(variables["params"])
    for first in range(0, steps, PIECE):
        numbers = np.arange(first, min(first + PIECE, steps), dtype=np.int32)
        state = jax.block_until_ready(advanced(root, state, numbers, sets))
        seen(len(numbers))
    return {"params": state[0], "batch_stats": state[1]}


@functools.cache
def _program(
    module: Classifier, steps: int, parts: tuple[int, ...], shift: int
) -> tuple[optax.GradientTransformation, Callable[..., Any]]:
    """Returns the optimiser, and the compiled function that makes the steps of these numbers, each on so many images of
    each set."""
    tx = optax.adam(optax.cosine_decay_schedule(RATE, steps))

    loss = functools.partial(classifier_loss, module)

    def some(one: Labelled, key: jax.Array, count: int) -> Labelled:
        chosen = jax.random.randint(key, (count,), 0, len(one.images))
        return jax.tree.map(lambda array: array[chosen], one)

    @jax.jit
    def advanced(root: jax.Array, state: Any, numbers: jax.Array, sets: Any) -> Any:
        def step(state: Any, number: jax.Array) -> tuple[Any, None]:
            params, statistics, moments = state
            *choosing, shifting = jax.random.split(jax.random.fold_in(root, number), len(parts) + 1)
            drawn = [some(*each) for each in zip(sets, choosing, parts, strict=True)]
            images = Image().decode(jnp.concatenate([one.images for one in drawn]))
            labels = jnp.concatenate([one.labels for one in drawn])
            if shift:
                images = augment.shift(images, jax.random.split(shifting, len(images)), shift)
            gradient, statistics = jax.grad(loss, has_aux=True)(params, statistics, images, labels)
            updates, moments = tx.update(gradient, moments, params)
            return (optax.apply_updates(params, updates), statistics, moments), None

        return jax.lax.scan(step, state, numbers)[0]

    return tx, advanced


@functools.partial(jax.jit, static_argnums=0)
def told(module: Classifier, variables: dict[str, Any], images: jax.Array) -> jax.Array:
    """Returns the classes `[N]` that a classifier takes stored images for."""
    return jnp.argmax(module.apply(variables, Image().decode(images), train=False)["logits"], axis=-1)


def shares(real: Labelled, test: Labelled, samples: list[Labelled], options: Options, classes: int) -> dict[str, Any]:
    """Returns by row the share of test images that each seed's classifier tells, `[seeds]`."""
    module = Classifier(WIDTHS, DEPTHS, classes)
    found: dict[str, list[float]] = {name: [] for name in ROWS}
    with progress_bar(len(ROWS) * len(samples) * options.steps, "training classifiers", unit="steps") as bar:
        for name, (shifted, generated) in ROWS.items():
            for number, fake in enumerate(samples):
                how: dict[str, Any] = {"steps": options.steps, "batch_size": options.batch_size}
                how |= {"shift": options.shift if shifted else 0, "seed": options.seed + number}
                variables = fit(module, real, fake if generated else None, **how, seen=bar.update)
                found[name].append(share_right(functools.partial(told, module, variables), test))
    return found


def run(options: Options) -> None:
    opened = open_checkpoint(options.run, options)
    real, test, about = sets_of(opened)
    samples = samples_of(opened, options)
    with refusals():
        found = shares(real, test, samples, options, opened.data.classes)
    seeds = [f"seed {options.seed + number}" for number in range(len(samples))]
    say(*share_table("told right of test images", found, seeds))
    each = np.bincount(real.labels, minlength=opened.data.classes)
    say(
        f"{len(real.images):,} real images, {each.min()} to {each.max()} of a class; {options.count:,} samples with "
        f"{options.weights} weights of step {opened.step}; tested on {len(test.images):,}, {about}"
    )
    if options.out:
        with writing(options.out):
            write_json(options.out, {"shares": found, "real": len(real.images), "samples": options.count})


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
