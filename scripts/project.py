"""Projects pictures into a run's latent space: finds codes whose pictures are given ones, as far as there are such.

    python -m scripts.project RUN a.png b.png --out projected
    python -m scripts.project RUN --test 8 --out projected            held-out examples of the run's data
    python -m scripts.project RUN photo.jpg --fit crop --space w+ --starts 4 --out projected

The folder gets `projection.npz`, the codes, and `pictures.png`, in which each picture, its projection and the absolute
difference of both stand side by side. What was stopped or killed goes on where it was when the same command is given
again. From a program:

    run, found = jaxgan.training.open(RUN), jaxgan.training.load_projection("projected")
    edited = run.synthesize(found.codes + strength * direction, label=found.labels)
"""

import contextlib
import dataclasses
import signal
import time
from pathlib import Path

import numpy as np

from jaxgan.data.errors import BadImage
from jaxgan.data.sets import LABEL
from jaxgan.data.sources.source import decode
from jaxgan.data.transform import Fit, ImageTransform
from jaxgan.evaluation.features.perceptual import NETWORKS
from jaxgan.evaluation.pairs import pair_values, perceptual_of
from jaxgan.files import remove_leftovers
from jaxgan.nearest import perhaps
from jaxgan.printable import printable
from jaxgan.projection import Projection
from jaxgan.terminal import align_columns, progress_bar, say
from jaxgan.training import OpenRun, Stopped
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.stopping import catch_signals
from jaxgan.training.errors.usage import UsageError, require, writing
from jaxgan.training.exploring.projector import Projector, Space
from jaxgan.training.options.fields import bounded
from jaxgan.training.output.pictures import picture, save_png
from jaxgan.training.recipe.loading import drawn_from
from jaxgan.training.run.projection import (
    Projected,
    advanced,
    continued,
    image_shape,
    load_projection,
    projected,
    projector_of,
    save_projection,
)
from scripts.checkpoint_options import MemberOptions, open_checkpoint
from scripts.translate import check_folder, pictures_of

SAVE_SECONDS = 30.0  # between two saves
SHOWN = 64  # pictures in the PNG


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(MemberOptions):
    run: Positional[Path]
    """A run directory."""
    inputs: Positional[tuple[Path, ...]] = ()
    """Pictures of the size that the run draws, and folders of such."""
    test: int | None = bounded(None, at_least=1)
    """Instead of files: so many held-out examples of the run's data, with their labels."""
    out: Path
    """The folder for the results, which is made where it isn't there. A projection in it that isn't finished goes
    on."""
    space: Space | None = None
    """w, a style for all layers, w+, one for each layer, or z, the latent; z is the only one of a generator without a
    mapping, and w the default of others."""
    steps: int = bounded(1000, at_least=1, at_most=1_000_000)
    """Steps in all. The rate rises over the first twentieth and falls over the last quarter of them."""
    starts: int = bounded(1, at_least=1, at_most=1000)
    """Points from which each picture is approached; the best is kept. The first is the mean style, the others, and all
    in z, are drawn."""
    label: int | None = bounded(None, at_least=0)
    """The class of all pictures, counted from 0, of a conditional GAN."""
    fit: Fit | None = None
    """How pictures of other sizes are brought to the run's: pad puts smaller ones on black, crop cuts and resizes,
    stretch resizes; by default they are refused."""
    perceptual_network: str | None = None
    """The network whose features are compared beside pixels: mnist-v1, the default of grey pictures, cifar10-v1, of
    colour, efficientnet-lite0 where its package is installed, efficientnet-lite0:FILE, vgg16:FILE or vgg19:FILE."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = self.perceptual_network
        known = name in (None, *NETWORKS) or (f"{str(name).partition(':')[0]}:FILE" in NETWORKS and ":" in str(name))
        require(self, "perceptual_network", known, f"one of {', '.join(NETWORKS)}", perhaps(str(name), NETWORKS))
        require(self, "out", self.out.suffix.lower() not in (".npz", ".png"), "a folder, in which files are made")
        check_folder(self.out)


def examples(run: OpenRun, options: Options) -> tuple[np.ndarray, np.ndarray | int | None, tuple[str, ...]]:
    """Returns the pictures, uint8 `[N, H, W, C]`, their labels, or that of all, as far as there are any, and their
    names. UsageError or BadImage, in a line, for one that can't be had or doesn't fit."""
    height, width, channels = image_shape(run)
    require(options, "test", (options.test is None) != (not options.inputs), "given, or pictures, and not both")
    if options.test is not None:
        if options.label is not None:
            raise UsageError("--label: held-out examples have labels of their own; leave it out")
        output, held = run.drawing.main, drawn_from(run.options, run.data, run.given)
        images = held.examples[output]
        labels = held.examples[LABEL] if run.drawing.conditional else None
        if options.test > len(images):
            raise UsageError(f"--test must be at most {len(images):,}, got {options.test}: there are no more examples")
        say(f"{options.test} examples, {held.about}")
        names = tuple(f"{output} {i}" for i in range(options.test))
        return images[: options.test], None if labels is None else labels[: options.test], names
    paths, found = list(pictures_of(options.inputs)), []
    transform = ImageTransform((height, width), channels, options.fit)
    for path in paths:
        if isinstance(path, BadImage):
            raise path
        pixels, name = decode(path, printable(path)), printable(path)
        if pixels.shape[:2] != (height, width) and options.fit is None:
            raise UsageError(
                f"{name} has {pixels.shape[0]}×{pixels.shape[1]} pixels, and the run draws {height}×{width}: --fit "
                "crop resizes, --fit pad puts smaller ones on black"
            )
        if pixels.shape[2] > channels:
            say(f"{name}: its colours are made grey, which is all that the run draws", error=True)
        found.append(transform(pixels, name))
    return np.stack(found), options.label, tuple(printable(path) for path in paths)


def carry_out(run: OpenRun, projector: Projector, path: Path, images: np.ndarray, names: tuple[str, ...]) -> Projected:
    """Takes a projection to its end, and keeps it in a file on the way; it goes on with what is there of it. Stopped,
    with all that was done saved, by a signal."""

    def found(projection: Projection) -> Projected:
        return projected(run, projector, projection, images, names)

    start = projector.start()
    if path.exists():
        there = continued(path, found(start), start)
        if there is None:
            say(f"{path}: all {projector.steps:,} steps are done")
            return load_projection(path)
        say(f"{path}: {int(there.step):,} steps are done, going on")
        start = there
    saved, done = -np.inf, int(start.step)
    with catch_signals() as caught, progress_bar(projector.steps, "projecting", unit="steps", done=done) as bar:
        for projection in advanced(projector, start, bar):
            last = int(projection.step) == projector.steps
            if last or caught or time.monotonic() >= saved + SAVE_SECONDS:
                with writing(path):
                    save_projection(path, found(projection), None if last else projection)
                saved = time.monotonic()
            if caught and not last:
                name = signal.Signals(caught[0]).name
                where = f"after step {int(projection.step):,}, which is saved in {path}"
                raise Stopped(f"stopped by {name} {where}; the same command goes on from there", 128 + caught[0])
    return found(projection)


def table(found: Projected, images: np.ndarray, drawn: np.ndarray) -> list[str]:
    """Returns the table's lines: how far each picture and its projection are apart, and the means."""
    name = str(found.about["network"])
    network = {"perceptual": perceptual_of(name)}
    rmse = np.sqrt(((images.astype(np.float64) - drawn) ** 2).mean(axis=(1, 2, 3)))
    psnr, far = pair_values("psnr", drawn, images), pair_values("perceptual", drawn, images, network)
    rows = [[title, *_texts(*values)] for title, *values in zip(found.names, rmse, psnr, far, strict=True)]
    if len(rows) > 1:
        finite = psnr[np.isfinite(psnr)]
        rows.append(["mean", *_texts(rmse.mean(), finite.mean() if len(finite) else np.inf, far.mean())])
    return align_columns([["", "RMSE of 255", "PSNR", f"perceptual ({name})"], *rows])


def _texts(rmse: float, psnr: float, far: float) -> list[str]:
    return [f"{rmse:.2f}", f"{psnr:.2f} dB" if np.isfinite(psnr) else "equal", f"{far:.4f}"]


def run(options: Options) -> None:
    opened = open_checkpoint(options.run, options)
    images, labels, names = examples(opened, options)
    if opened.frozen:
        say(f"member {options.member} has diverged, and is as it was before step {opened.frozen}", error=True)
    projector = projector_of(
        opened,
        images,
        labels,
        space=options.space,
        steps=options.steps,
        starts=options.starts,
        weights=options.weights,
        network=options.perceptual_network,
    )
    path = options.out / "projection.npz"
    with writing(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            remove_leftovers(options.out)
    found = carry_out(opened, projector, path, images, names)
    drawn = opened.synthesize(found.codes, label=found.labels, weights=options.weights)
    with writing(options.out / "pictures.png"):
        save_png(options.out / "pictures.png", sheet(opened, images, drawn))
    say(*table(found, images, drawn))
    pictures = "1 picture" if len(images) == 1 else f"{len(images)} pictures"
    about = f"{pictures} in {found.about['space']}, {options.weights} weights of step {opened.step}"
    say(f"{path}: {about}", f"{options.out / 'pictures.png'}: each, its projection, and the difference")


def sheet(run: OpenRun, images: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Returns the picture of the first 64: each, its projection and their absolute difference, side by side."""
    difference = np.abs(images.astype(np.int16) - drawn).astype(np.uint8)
    shown = {"picture": images[:SHOWN], "projection": drawn[:SHOWN], "difference": difference[:SHOWN]}
    medium = run.drawing.medium(run.drawing.main)
    return picture(dict.fromkeys(shown, medium), shown)


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
