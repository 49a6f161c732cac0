"""Measures how much better a run's discriminator knows the images it was trained on than others of their kind.

    python -m scripts.margin RUN

prints its mean logit, in evaluation mode, of up to 10,000 training images, of as many that it has never seen, and of as
many that the generator draws, by default with its last weights; the margin, which is the difference of the first two;
r_v, the margin as a share of the difference of the first and the last: about 0 where nothing is learned by heart, 1
where unseen images pass for generated ones (Karras et al. 2020, arXiv 2006.06676, equation 1); and how often a training
image stands above an unseen one (the area under the ROC curve), which doesn't depend on the logits' scale: half of all
pairs where nothing is learned by heart. Unseen are the set's test images or, where it has none, those that the run's
--images left out.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan import data
from jaxgan.media import Image
from jaxgan.terminal import align_columns, say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.data import DataOptions, real_transform
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import Weights
from jaxgan.training.recipe.loading import held_out, load
from jaxgan.training.scoring.real_data import RealData
from scripts.checkpoint_options import CheckpointOptions, open_checkpoint

MOST, AT_ONCE = 10_000, 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(CheckpointOptions):
    run: Positional[Path]
    """A run directory."""
    weights: Weights = "raw"
    """The generator's weights of the last step, or its averaged ones."""
    data_dir: str | None = None
    """Folder of TFDS's data sets; by default the run's."""


class Margin(NamedTuple):
    """Mean logits of training images, of unseen and of generated ones; and the share of pairs of a training and an
    unseen image, ties counted half, in which the former's is higher."""

    seen: float
    unseen: float
    generated: float
    above: float

    @property
    def margin(self) -> float:
        """How much higher seen images stand than unseen ones."""
        return self.seen - self.unseen

    @property
    def share(self) -> float:
        """Karras et al.'s r_v."""
        return self.margin / (self.seen - self.generated)


def unseen(options: DataOptions) -> Any:
    """Images that a run with these options was not trained on, prepared alike. UsageError where there are none."""
    try:
        return held_out(options)[0]
    except data.DataError as error:
        if options.images is None:
            raise UsageError(f"no images that the run wasn't trained on: {error}") from None
    whole = load(dataclasses.replace(options, images=None, stream=False))
    known, *_ = data.choose(whole, None, options.images)
    rest = np.setdiff1d(np.arange(len(whole)), known)
    return whole.take(rest)


def measure(run: OpenRun, options: DataOptions, *, weights: Weights = "raw", seed: int = 0) -> Margin:
    """The margin of a run's discriminator on images as the options have them. UsageError for discriminators that judge
    packs, or images by their labels, and for points."""
    if run.members:
        raise UsageError(f"{run.directory} has several GANs; name one with --member")
    if run.data.kind != Image.kind or getattr(run.options, "pack", 1) > 1 or run.drawing.takes:
        raise UsageError(f"{run.directory} has a discriminator of points, packs or labels: it must judge single images")
    d, transform = run.state.discriminator, real_transform(options)

    @jax.jit
    def judge(images: jax.Array) -> jax.Array:
        x = Image().decode(images)
        return d.apply(d.params, d.variables, x, None, train=False)["logits"]

    known, others = load(options), unseen(options)
    count = min(MOST, len(known), len(others))
    real = [
        RealData(each, DataSpec.of(each, options.crop_shape), transform).examples(count) for each in (known, others)
    ]
    sets = (*real, run.sample(count, weights=weights, seed=seed))
    parts = [np.split(images, range(AT_ONCE, count, AT_ONCE)) for images in sets]
    logits = [np.concatenate([judge(some) for some in of_one]) for of_one in parts]
    return Margin(*(float(each.mean()) for each in logits), above(*logits[:2]))


def above(first: np.ndarray, second: np.ndarray) -> float:
    """The share of pairs in which the number of `first` `[M]` is larger than that of `second` `[N]`, ties counted
    half."""
    ordered = np.sort(second)
    places = (np.searchsorted(ordered, first, side) for side in ("left", "right"))
    return float(sum(np.mean(place, dtype=np.float64) for place in places)) / (2 * len(second))


def run(options: Options) -> None:
    opened = open_checkpoint(options.run, options)
    found = measure(opened, opened.options, weights=options.weights, seed=options.seed)
    rows = [("training images", found.seen), ("unseen images", found.unseen), ("generated images", found.generated)]
    rows += [("margin", found.margin), ("r_v", found.share), ("training above unseen", found.above)]
    lines = [["mean logit of", f"step {opened.step}"], *([name, f"{value:.4g}"] for name, value in rows)]
    say(*align_columns(lines))


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
