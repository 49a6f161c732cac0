"""Draws what a GAN of points has learned: its samples over the data, and the discriminator's field around them.

    python -m scripts.field RUN --out field.png

Left the data's density with a thousand samples, right the discriminator's answer, the sigmoid of its logit: white where
it takes a point for real, black where for generated, grey where it can't tell; arrows show where it draws the generator
to, up the slope of its logit. Of a run with --seeds or --sweep, --member 3 takes one of its GANs.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.sources import toys
from jaxgan.files import atomic_write
from jaxgan.terminal import say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, require_file, writing
from jaxgan.training.options.fields import bounded
from jaxgan.training.recipe.gan import Weights
from scripts.checkpoint_options import CheckpointOptions, open_checkpoint

SIDE, ARROWS, REACH = 128, 16, 1.5  # points of a side of the field, arrows along it, half of it in the data's units


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(CheckpointOptions):
    run: Positional[Path]
    """A run directory of a GAN of points."""
    out: Path
    """File for the picture, .png."""
    member: int | None = bounded(None, at_least=0)
    """Which GAN of a run with --seeds or --sweep; by default the first."""
    weights: Weights = "ema"
    """The generator's weights, as of scripts.sample. Of the discriminator it is always the last step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(self, "out", ".png")


def field(run: OpenRun, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates `[side]`, the discriminator's logits `[side, side]` there, y first, and their slopes
    `[side, side, 2]` by x and y. A discriminator of packs is shown packs of one point."""
    if "discriminator" not in run.state.players:
        raise UsageError(f"{run.directory} has no discriminator, and so no field: draw its samples with scripts.sample")
    d, line = run.state.discriminator, np.linspace(-REACH, REACH, side, dtype=np.float32)
    if "across_examples" in d.variables:
        raise UsageError(
            f"the discriminator of {run.directory} has a minibatch layer, so that its answer to a point depends on the "
            "points beside it: it has no field; draw the run's samples with scripts.sample"
        )
    points, pack = np.stack(np.meshgrid(line, line), -1).reshape(-1, 1, 1, 2), getattr(run.options, "pack", 1)

    def logits(points: jax.Array) -> jax.Array:
        return d.apply(d.params, d.variables, jnp.tile(points, pack), None, train=False)["logits"]

    slopes = jax.grad(lambda points: logits(points).sum())(points)
    return line, np.asarray(logits(points)).reshape(side, side), np.asarray(slopes).reshape(side, side, 2)


def draw(run: OpenRun, data: np.ndarray, samples: np.ndarray, path: Path) -> None:
    """The two pictures as a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    square = [[-REACH, REACH]] * 2
    left.hist2d(*data.T, bins=SIDE, range=square, cmap="Greys", density=True)
    left.scatter(*samples.T, s=3, color="tab:red", linewidths=0)
    left.set_title("data (grey) and samples (red)")
    _, logits, _ = field(run, SIDE)
    answer = 0.5 * (1 + np.tanh(logits / 2))
    right.imshow(answer, origin="lower", extent=[*square[0], *square[1]], cmap="gray", vmin=0, vmax=1)
    line, _, slopes = field(run, ARROWS)
    right.quiver(line, line, slopes[..., 0], slopes[..., 1], color="tab:blue", angles="xy")
    right.set_title("the discriminator: white is real; arrows up its slope")
    for axes in (left, right):
        axes.set(xlim=square[0], ylim=square[1], aspect="equal")
    with writing(path), atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def run(options: Options) -> None:
    opened = open_checkpoint(options.run, options)
    if opened.data.kind != "points":
        raise UsageError(f"{options.run} is a run on {opened.data.field.text}; a field needs points of the plane")
    opened = opened.member(0) if opened.members else opened
    samples = opened.sample(1000, weights=options.weights, seed=options.seed)[:, 0, 0]
    points, _ = toys.ring() if opened.data.name == "ring" else toys.grid()
    draw(opened, points[:, 0, 0], samples, options.out)
    say(f"{options.out}: {options.weights} weights of step {opened.step}")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
