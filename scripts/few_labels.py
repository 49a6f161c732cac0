"""Trains classifiers with few labels: on a run's discriminator as it has learned, and on the same network from nothing.

    python -m scripts.few_labels RUN --labels 100
    python -m scripts.few_labels RUN --labels 1000 --seeds 5 --steps 2000

A GAN's discriminator has seen all images of its set, and none of their labels. Radford et al. 2016 (arXiv 1511.06434),
section 5, read such features with a linear classifier. Three ways, a row each, with the same labelled images, the same
draws and as many steps: a dense layer on the discriminator's features, which stay as they are; discriminator and dense
layer trained together; and both from a new initialisation. A number is the share of held-out images, of which no label
was seen, that is told right, in per cent; columns are seeds, each with labelled images, weights and batches of its own.

Adam, with rates that fall to 0 along half a cosine; images are changed at random as the run's own options say (--flip).
The rate and the steps are what you give, and are chosen by no image that is scored.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.errors import FlaxError

from jaxgan import data
from jaxgan.iteration import Step, iteration
from jaxgan.media import Image
from jaxgan.players import init_player
from jaxgan.schedules import cosine, rates
from jaxgan.state import ROLES, GANState, TrainState
from jaxgan.terminal import Bar, progress_bar, say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, either, refusals, require
from jaxgan.training.options.data import DataOptions, RealTransform, real_transform
from jaxgan.training.options.fields import bounded
from jaxgan.training.recipe.loading import held_out, load
from jaxgan.training.scoring.report import share_table
from jaxgan.transfer import started
from jaxgan.update import update
from scripts.checkpoint_options import MemberOptions, open_checkpoint
from scripts.classifiers import Labelled, share_right

STEPS_AT_ONCE = 25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(MemberOptions):
    run: Positional[Path]
    """A run directory."""
    labels: int = bounded(1000, at_least=1)
    """Labelled images, as many of each class as can be."""
    player: str = "discriminator"
    """The network whose output `features` is classified, by its name in the run's state."""
    steps: int = bounded(1000, at_least=1)
    """Updates of each classifier."""
    batch_size: int = bounded(64, at_least=2)
    """Labelled images in a batch, drawn with replacement."""
    learning_rate: float = bounded(5e-4, above=0, below=1)
    """The rate of all layers at the beginning."""
    seed: int = bounded(0, at_least=0, at_most=2**31 - 1)
    """The first of the seeds, which labelled images, weights and batches follow from."""
    seeds: int = bounded(3, at_least=1, at_most=1000)
    """How many seeds, a column each."""
    count: int = bounded(10_000, at_least=1)
    """Held-out images that are told; at most as many as there are."""
    data_dir: str | None = None
    """Folder of TFDS's data sets; by default the run's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "weights", self.weights == "ema", "left out: a discriminator has no averaged weights")


def sets_of(options: DataOptions) -> tuple[Labelled, Labelled, str]:
    """Returns the images that a run with these options was trained on, others that it wasn't, and which the latter are,
    in words. UsageError where there are none, or they have no two classes."""
    known = load(dataclasses.replace(options, stream=False))
    try:
        others, about = held_out(options)
    except data.DataError as error:
        raise UsageError(f"no images to test on: {error}; train with --hold-out 10%") from None
    if isinstance(known, dict) or isinstance(others, dict):
        raise UsageError("the run has several sets, and this takes one of images with labels")
    if len(known.class_names) < 2:
        raise UsageError(f"{options.dataset} has no two classes to tell apart; a run of mnist or cifar10 does")
    sets = [Labelled(one.arrays["image"], np.asarray(one.labels, np.int32)) for one in (known, others)]
    return sets[0], sets[1], about


def chosen(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns `count` numbers of examples, in turn one of each class, which of it a seed draws. UsageError where there
    are not so many."""
    order = np.random.default_rng(seed).permutation(len(labels))
    ranks = np.empty(len(labels), np.int64)
    for each in np.unique(labels):
        mine = order[labels[order] == each]
        ranks[mine] = np.arange(len(mine))
    classes = len(np.unique(labels))
    if not classes <= count <= len(labels):
        raise UsageError(
            f"--labels must be from {classes}, one of each class, to {len(labels)}, the run's images, got {count}"
        )
    return np.lexsort((labels, ranks))[:count]


class Way(NamedTuple):
    """A way to train a classifier: what it is called, which of its two networks learn, and whether the first of them
    begins as the run has it."""

    name: str
    learns: tuple[str, ...]
    learned: bool


WAYS = (
    Way("its features, fixed", ("head",), True),
    Way("from the discriminator", ("trunk", "head"), True),
    Way("from scratch", ("trunk", "head"), False),
)


def begun(options: Options, trunk: TrainState, classes: int, shape: Sequence[int], key: jax.Array) -> GANState:
    """Returns the game of two players before its first step: the network with features, "trunk", and a dense layer on
    them, "head". UsageError for a network that gives no features of images alone."""
    tx = optax.scale_by_adam()
    try:
        read = jax.eval_shape(
            lambda x: trunk.apply(trunk.params, trunk.variables, x, None, train=False)["features"],
            jax.ShapeDtypeStruct((1, *shape), jnp.float32),
        )
    except (FlaxError, KeyError, TypeError, ValueError):
        raise UsageError(
            f"--player {options.player} has no output `features` of images alone, as the discriminators of "
            "jaxgan.networks have; name another network of the run"
        ) from None
    # Copies: training donates its state, and the run's is needed again.
    player, _ = started(trunk.replace(tx=tx), jax.tree.map(jnp.copy, trunk.all_variables))
    head = init_player(key, nn.Dense(classes), tx, jnp.zeros((1, math.prod(read.shape)), jnp.float32))
    numbers = {f"{name}/learning_rate": options.learning_rate for name in ("trunk", "head")}
    return GANState.of(key, {"trunk": player, "head": head}, hyper=numbers)


def step_of(options: Options, way: Way, transform: RealTransform | None) -> Step:
    """Returns the iteration on `{"image": stored, "label": labels}` in which the way's networks learn to tell classes.
    A network that doesn't learn is read in evaluation mode."""

    def objective(nets: Any, batch: Mapping[str, jax.Array], draw: Any, state: GANState) -> dict[str, jax.Array]:
        images = Image().decode(batch["image"])
        images = images if transform is None else transform(images, draw.keys("images"))
        trunk = nets["trunk"] if "trunk" in way.learns else functools.partial(nets["trunk"].frozen, train=False)
        features = trunk(images, None)["features"].reshape(len(images), -1)
        return {"class": optax.softmax_cross_entropy_with_integer_labels(nets["head"](features), batch["label"])}

    fall = cosine(1.0, 0.0, options.steps * options.batch_size)
    return iteration(update(way.learns, objective, schedules=rates(lambda images: fall(images, None), *way.learns)))


def trained(options: Options, step: Step, state: GANState, known: Labelled, bar: Bar) -> GANState:
    """Returns the state after all steps, each on labelled images that are drawn with replacement."""
    images, labels = jnp.asarray(known.images), jnp.asarray(known.labels)
    for first in range(0, options.steps, STEPS_AT_ONCE):
        count = min(STEPS_AT_ONCE, options.steps - first)
        state = _several(step, options.batch_size, state, jnp.int32(count), images, labels)
        jax.block_until_ready(state)
        bar.update(count)
    return state


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _several(
    step: Step, size: int, state: GANState, count: jax.Array, images: jax.Array, labels: jax.Array
) -> GANState:
    def one(_: jax.Array, state: GANState) -> GANState:
        key = jax.random.fold_in(jax.random.fold_in(state.key, ROLES["order"]), state.step)
        some = jax.random.randint(key, (size,), 0, len(labels))
        return step(state, {"image": images[some], "label": labels[some]})[0]

    return jax.lax.fori_loop(0, count, one, state)


@jax.jit
def told(state: GANState, images: jax.Array) -> jax.Array:
    """Returns the classes `[N]` that the classifier takes stored images for."""
    features = state.evaluate("trunk", Image().decode(images), None, weights="raw")["features"]
    return jnp.argmax(state.evaluate("head", features.reshape(len(images), -1), weights="raw"), axis=-1)


def compared(run: OpenRun, options: Options) -> tuple[dict[str, list[float]], str]:
    """Returns by way the share of held-out images that is told right, of each seed, and which images these are.
    UsageError for a run that this isn't for."""
    if run.members:
        raise UsageError(f"{run.directory} has several GANs; name one with --member")
    theirs = run.options
    wrong = run.data.kind != Image.kind or getattr(theirs, "pack", 1) > 1 or run.drawing.takes or theirs.load_size
    if wrong:
        raise UsageError(
            f"{run.directory} has a discriminator of points, packs, labels or crops (--load-size): it must judge "
            "single whole images"
        )
    players = run.state.players if isinstance(run.state, GANState) else {}
    if options.player not in players:
        raise UsageError(f"--player {options.player}: {run.directory} has none of that name; it has {either(players)}")
    known, others, about = sets_of(theirs)
    others = Labelled(others.images[: options.count], others.labels[: options.count])
    fresh = jax.jit(lambda key: run.alone.init(key).players[options.player].all_variables)
    found: dict[str, list[float]] = {way.name: [] for way in WAYS}
    with progress_bar(len(WAYS) * options.seeds * options.steps, "training", unit="steps") as bar:
        for way in WAYS:
            step, tree = step_of(options, way, real_transform(theirs)), None
            for seed in range(options.seed, options.seed + options.seeds):
                trunk, key = players[options.player], jax.random.key(seed)
                if not way.learned:
                    own = fresh(jax.random.fold_in(key, ROLES["init"]))
                    trunk = trunk.replace(params=own.pop("params"), variables=own)
                some = chosen(known.labels, options.labels, seed)
                labelled = Labelled(known.images[some], known.labels[some])
                state = begun(options, trunk, run.data.classes, known.images.shape[1:], key)
                tree = tree or jax.tree.structure(state)  # a new layer's function, a part of it, would compile again
                state = trained(options, step, jax.tree.unflatten(tree, jax.tree.leaves(state)), labelled, bar)
                found[way.name].append(share_right(functools.partial(told, state), others))
    return found, about


def run(options: Options) -> None:
    opened = open_checkpoint(options.run, options)
    with refusals():
        found, about = compared(opened, options)
    seeds = [f"seed {seed}" for seed in range(options.seed, options.seed + options.seeds)]
    say(*share_table("told right", found, seeds))
    of = f"{options.labels:,} labels, {options.steps:,} steps of {options.batch_size} at {options.learning_rate:g}"
    say(f"{of}; {about}; {options.player} of step {opened.step}")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
