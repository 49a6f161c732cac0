"""Draws from a run.

    python -m scripts.sample RUN --count 10000 --out samples.npz     uint8 `images` [N, H, W, C], `labels`
    python -m scripts.sample RUN --count 10000 --out table.csv       of vectors
    python -m scripts.sample RUN --out grid.png                      of a conditional GAN, a class a row
    python -m scripts.sample RUN --label 7 --out sevens.png
    python -m scripts.sample RUN --out walk.gif                      a walk between latents on the sphere; also .mp4
    python -m scripts.sample RUN --truncation 0.7 --out grid.png     nearer to the mean: better, and more alike
    python -m scripts.sample RUN --latent-threshold 0.5 --out grid.png   BigGAN's truncation, another way to the same
    python -m scripts.sample RUN --standing-statistics 100 --out grid.png    batch statistics estimated again
    python -m scripts.sample RUN --reject drs --out grid.png         what the discriminator lets pass

One command may ask for all of them, `--out samples.npz grid.png walk.gif`. The same seed draws the same images,
whatever the count. Of a run with --seeds or --sweep, --member 3 takes one of its GANs.
`python -m scripts.explore` looks further into a generator.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.sets import LABEL
from jaxgan.files import atomic_write
from jaxgan.media import Medium, Vectors
from jaxgan.printable import printable
from jaxgan.terminal import progress_bar, say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, check_file, require, writing
from jaxgan.training.options.fields import bounded
from jaxgan.training.output.pictures import save_png
from jaxgan.training.recipe.gan import Weights
from scripts.checkpoint_options import CheckpointOptions, data_of, open_checkpoint, takes, threshold_of, truncation_of
from scripts.film_files import check_ffmpeg, save_frames
from scripts.rejected import RejectionOptions, drawer

WALKERS, STOPS, FRAMES = 16, 6, 15  # latents that walk side by side, stops on the way, frames from stop to stop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RejectionOptions, CheckpointOptions):
    run: Positional[Path]
    """A run directory."""
    out: tuple[Path, ...] = ()
    """One file or several, at most one of a kind: .npz (of vectors .csv too) gets samples with the labels that they
    were asked for by, .png a grid of the first 64, or of 8 of each class, .gif an animated walk through the latents, or
    .mp4 where ffmpeg is installed."""
    count: int = bounded(64, at_least=1)
    """Images (or points, or vectors) in a file of samples."""
    member: int | None = bounded(None, at_least=0)
    """Which GAN of a run with --seeds or --sweep; by default all, images [members, N, H, W, C]."""
    label: int | None = bounded(None, at_least=0)
    """The class of all images, counted from 0, of a conditional GAN; by default they come as often as the data have
    them."""
    truncation: float = bounded(1.0, at_least=-100, at_most=100)
    """How far images stay from the mean latent (of StyleGAN: style): 1 is as they are, 0 makes all the mean."""
    latent_threshold: float | None = bounded(None, above=0, below=math.inf)
    """Draw again what is further from 0 than this in a latent, until nothing is: BigGAN's truncation trick. By default
    latents are as in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_rejection()
        check_files(self.out)  # before the run is opened
        walks = any(path.suffix.lower() in (".gif", ".mp4") for path in self.out)
        require(self, "reject", not (self.reject and walks), "left out with a walk: latents on the way are none's own")


def walk(
    run: OpenRun, *, weights: Weights = "ema", seed: int = 0, label: int | None = None, **how: Any
) -> list[np.ndarray]:
    """Frames of a closed walk: latents turned into each other along great circles. Labels stay. how: what else the
    experiment's `sample` takes. UsageError for a GAN whose sample has no latents to walk between."""
    run.check(label)
    weights = run.named_weights(weights)
    if not takes(run, "toward"):
        raise UsageError(f"no .gif or .mp4: the samples of {run.directory} have no latents to walk between")
    drawing, root = run.drawing, jax.random.key(seed)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(WALKERS * STOPS)).reshape(STOPS, WALKERS)
    asked = drawing.asked(0, WALKERS, label=label, run=1)

    @jax.jit
    def frame(state: Any, start: jax.Array, end: jax.Array, share: jax.Array) -> dict[str, jax.Array]:
        return drawing.stored(state, asked, start, weights=weights, toward=end, share=share, **how)

    moments = [(i, t) for i in range(STOPS) for t in np.linspace(0, 1, FRAMES, endpoint=False, dtype=np.float32)]
    frames = []
    with progress_bar(len(moments), "walking", unit="frames") as bar:
        for i, t in moments:
            drawn = frame(run.drawn_state, keys[i], keys[(i + 1) % STOPS], t)
            frames.append(drawing.picture({name: np.asarray(drawn[name]) for name in drawing.outputs}))
            bar.update(1)
    return frames


def save(path: Path, run: OpenRun, drawn: Mapping[str, np.ndarray]) -> None:
    """Writes what was drawn of a run to a file, atomically."""
    names = {LABEL: "labels"}
    beside = {names.get(name, name): array for name, array in drawn.items() if name != run.drawing.main}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        run.drawing.medium(run.drawing.main).save(file, path.suffix.lower(), drawn[run.drawing.main], beside)


def behind(run: OpenRun, count: int) -> dict[str, np.ndarray]:
    """Examples of the run's data that its picture shows behind what is drawn, by output: of points and vectors. Where
    the data can't be had any more there are none, which is said."""
    drawing = run.drawing
    if not any(drawing.medium(name).compares for name in drawing.scored):
        return {}
    try:
        real = data_of(run)
    except UsageError as error:
        say(f"the picture is without the data: {error}", error=True)
        return {}
    return real.beside(drawing, count)


def check_files(out: Sequence[Path], medium: Medium | None = None) -> None:
    """Raises UsageError for files that can't be written, whose ending says nothing, or of which two get the same. An
    ending may be in capitals. medium: of what is drawn, None where it isn't known yet."""
    suffixes = medium.suffixes if medium else Vectors.suffixes  # which are all that there are
    samples = f"{medium.plural} are saved as {' or '.join(suffixes)}" if medium else "samples are saved as .npz or .csv"
    says = f"{samples}, a grid as .png, a walk as .gif or .mp4"
    if not out:
        raise UsageError(f"--out names no file: {says}")
    kinds: dict[str, Path] = {}
    for path in out:
        suffix = path.suffix.lower()
        if suffix not in (*suffixes, ".png", ".gif", ".mp4"):
            raise UsageError(f"--out {printable(path)}: {says}")
        kind = "samples" if suffix in suffixes else suffix
        if kind in kinds:
            raise UsageError(f"--out {kinds[kind]} {path}: at most one file of a kind; {says}")
        kinds[kind] = path
        check_file(path)
        check_ffmpeg(path)


def run(options: Options) -> None:
    opened = open_checkpoint(options.run, options)
    check_files(options.out, opened.drawing.medium(opened.drawing.main))
    if opened.members and any(path.suffix.lower() == ".csv" for path in options.out):
        raise UsageError(f"{options.run} has several GANs, of which a .csv file takes one: name it with --member")
    weights = opened.named_weights(options.weights)
    how: dict[str, Any] = {"weights": weights, "seed": options.seed, "label": options.label}
    how |= truncation_of(opened, options.truncation) | threshold_of(opened, options.latent_threshold)
    draw = drawer(opened, options)
    whose = f" of all {len(opened.members)} members" if opened.members else ""
    whose += f"; diverged, and is as it was before step {opened.frozen}" if opened.frozen else ""
    for path in options.out:
        with writing(path):
            if path.suffix.lower() == ".png":
                square = bool(opened.members) or options.label is not None
                count, columns = opened.drawing.grid_shape(square=square)
                drawn = draw(count, **{"run": columns or 1, **how})
                drawn = {name: drawn[name] for name in opened.drawing.outputs if name in drawn}
                save_png(path, opened.drawing.picture(drawn, columns, real=behind(opened, count)))
            elif path.suffix.lower() in (".gif", ".mp4"):
                save_frames(path, walk(opened, **how))
            else:
                save(path, opened, draw(options.count, **how))
        say(f"{path}: {weights} weights of step {opened.step}{whose}")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options, renamed={"--grid": "--out FILE.png", "--interpolate": "--out FILE.gif"}))
