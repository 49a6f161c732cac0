"""Shows what the codes of an InfoGAN have come to mean: each of them walked, in a picture and as a classifier reads it.

    python -m scripts.codes RUN --out codes.png

The picture has four rows for each code. In the first ones the categorical code takes its values from left to right, in
the others a continuous one goes from -2 to 2, as in figure 2 of Chen et al. 2016 (arXiv 1606.03657); in training it is
between -1 and 1. Along a row all else stays, continuous codes at 0.

Of sets that have features of their own, a table says how their classifier reads 500 images for each value, all else as
in the picture: which class is most frequent, and for continuous codes, from -1 to 1 in eight steps, how often a step
moves the reading in the direction in which the whole walk moves it. For a code without a meaning, and for one that
changes nothing, it would be half of the steps.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.evaluation import FeatureNetwork, extract
from jaxgan.media import grid
from jaxgan.terminal import align_columns, say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, require_file, writing
from jaxgan.training.options.evaluation import FeatureOptions
from jaxgan.training.output.pictures import save_png
from jaxgan.training.recipe.gan import Weights
from jaxgan.training.scoring.measures import measure_for
from scripts.checkpoint_options import CheckpointOptions, open_checkpoint

ROWS, COLUMNS, REACH = 4, 10, 2.0  # of a code in the picture, and how far a continuous one goes
READ, STEPS = 500, 8  # images for each value, and steps of a walk, that are read


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(CheckpointOptions):
    run: Positional[Path]
    """A run of experiments.infogan_mnist."""
    out: Path
    """File for the picture, .png."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(self, "out", ".png")


def drawn(run: OpenRun, seed: int, classes: np.ndarray, values: np.ndarray, *, weights: Weights = "ema") -> np.ndarray:
    """uint8 images `[R, C, ...]` for codes `classes` `[R, C]` and `values` `[R, C, continuous]`, each row with noise of
    its own."""
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(len(classes)))
    weights = run.named_weights(weights)

    @jax.jit
    def column(state: object, classes: jax.Array, values: jax.Array) -> jax.Array:
        given = {"code_class": classes[:, None], "code_value": values}
        return run.drawing.stored(state, given, keys, weights=weights)[run.drawing.main]

    images = [np.asarray(column(run.drawn_state, classes[:, i], values[:, i])) for i in range(classes.shape[1])]
    return np.stack(images, axis=1)


def walks(categories: int, continuous: int, rows: int, stops: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each code, first the categorical one, the codes `[rows, C]` and `[rows, C, continuous]` of its walk; in row i
    of a continuous one the category is i."""
    first = np.broadcast_to(np.arange(categories), (rows, categories))
    found = [(first, np.zeros((*first.shape, continuous), np.float32))]
    for number in range(continuous):
        classes = np.broadcast_to(np.arange(rows)[:, None] % categories, (rows, len(stops)))
        values = np.zeros((rows, len(stops), continuous), np.float32)
        values[..., number] = stops
        found.append((classes, values))
    return found


def one_way(logits: np.ndarray) -> tuple[float, float]:
    """Of readings `[N, S + 1, classes]` along N walks: the share of the S steps in which the mean, and in which single
    walks, go on in the direction from the mean at the beginning to that at the end."""
    mean = logits.mean(0)
    direction = mean[-1] - mean[0]
    on, single = (np.sign(np.diff(readings, axis=-2) @ direction) for readings in (mean, logits))
    return float(np.mean(on + 1) / 2), float(np.mean(single + 1) / 2)  # to rest is half a step on


def readings(run: OpenRun, network: FeatureNetwork, categories: int, continuous: int, **how: Any) -> list[list[str]]:
    """Lines of a table: how the network reads the values of each code."""
    walked = walks(categories, continuous, READ, np.linspace(-1, 1, STEPS + 1, dtype=np.float32))
    logits = []
    for classes, values in walked:
        images = drawn(run, classes=classes, values=values, **how)
        said = extract(network, images.reshape(-1, *images.shape[2:]))["logits"]
        logits.append(said.reshape(*classes.shape, -1))
    lines = [["code", "value", "read as", "share"]]
    shares = []
    for value in range(categories):
        counts = np.bincount(logits[0][:, value].argmax(1))
        shares.append(counts.max() / READ)
        lines.append(["categorical", str(value), str(counts.argmax()), f"{shares[-1]:.1%}"])
    lines.append(["", "mean", "", f"{np.mean(shares):.1%}"])
    lines.append(["code", "steps", "the mean goes on", "single images go on"])
    for number, said in enumerate(logits[1:]):
        mean, single = one_way(said)
        lines.append([f"continuous {number}", str(STEPS), f"{mean:.1%}", f"{single:.1%}"])
    return lines


def run(options: Options) -> None:
    opened = open_checkpoint(options.run, options)
    categories, continuous = (getattr(opened.options, name, None) for name in ("categories", "continuous"))
    if categories is None or continuous is None or opened.members:
        what = "several GANs; name one with --member" if opened.members else "no codes; name one of infogan_mnist"
        raise UsageError(f"{options.run} is a run with {what}")
    how = {"seed": options.seed, "weights": options.weights}
    stops = np.linspace(-REACH, REACH, COLUMNS, dtype=np.float32)
    with writing(options.out):
        sheets = [
            grid(images.reshape(-1, *images.shape[2:]), images.shape[1])
            for images in (
                drawn(opened, classes=c, values=v, **how) for c, v in walks(categories, continuous, ROWS, stops)
            )
        ]
        widest = max(sheet.shape[1] for sheet in sheets)
        save_png(options.out, np.vstack([np.pad(s, ((0, 8), (0, widest - s.shape[1]), (0, 0))) for s in sheets]))
    say(f"{options.out}: {options.weights} weights of step {opened.step}")
    network = measure_for(FeatureOptions(), opened.data).network
    if network and network.classes == opened.data.classes:
        say(*align_columns(readings(opened, network, categories, continuous, **how)))


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
