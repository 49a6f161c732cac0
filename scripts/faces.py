"""Counts the samples of a run in which a detector finds a face.

    python -m scripts.faces RUN
    python -m scripts.faces RUN --count 1000 --weights raw

The detector is scikit-image's cascade of local binary patterns for frontal faces (pip install 'jaxgan[faces]'). A face
counts that is at least half as wide as the image. Beside it stands the share of the training images in which it finds
one, the most that can be expected. On the 200 images of 25×25 pixels that scikit-image has, it finds a face in each of
the 100 that are faces and in none of the others; by them its setting was chosen. It is easily content: of the
first 20 faces upside down it takes 10, and so nearly all that a GAN draws blotched or distorted.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxgan.data.names import FACES
from jaxgan.media import Image as ImageMedium
from jaxgan.terminal import align_columns, progress_bar, say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.fields import bounded
from jaxgan.training.scoring.real_data import RealData
from scripts.checkpoint_options import CheckpointOptions, open_checkpoint

SIDE, BORDER = 64, 16  # pixels: of the image as it is shown to the detector, and of what its edge is repeated
LEAST = 32  # pixels of the smallest face, half of a side


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(CheckpointOptions):
    run: Positional[Path]
    """A run directory."""
    count: int = bounded(500, at_least=1, at_most=100_000)
    """Samples to look at, and training images at most."""
    data_dir: str | None = None
    """Folder of TFDS's data sets; by default the run's."""


def detector() -> Any:
    """Loads scikit-image's cascade. UsageError where it isn't installed."""
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError as error:
        raise UsageError(f"faces are found by scikit-image, which can't be imported ({error}): {FACES}") from None
    return Cascade(lbp_frontal_face_cascade_filename())


def found(cascade: Any, images: np.ndarray, progress: Callable[[int], object] = lambda count: None) -> np.ndarray:
    """Tells in which of the images, uint8 `[N, H, W, C]`, there is a face, bool `[N]`. Each is resized to 64×64 pixels,
    its edge is repeated on all sides, since the cascade wants some background, and windows of 32 to 96 pixels are
    looked at, each 1.2 times as large as the one before."""
    faces = np.zeros(len(images), bool)
    for i, image in enumerate(images):
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).convert("L")
        shown = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        shown = np.pad(shown, BORDER, mode="edge")
        largest = len(shown)
        windows = cascade.detect_multi_scale(
            *(shown, 1.2, 1.0, (LEAST, LEAST), (largest, largest)), min_neighbor_number=1
        )
        faces[i] = bool(windows)
        progress(1)
    return faces


def training_images(run: OpenRun, options: Options) -> np.ndarray:
    """Returns at most `options.count` images that the run was trained on. UsageError where they aren't there."""
    one = RealData.of_run(run.options, run.given).of(run.drawing.main)
    return one.examples(min(options.count, one.spec.count))


def shares(run: OpenRun, options: Options) -> dict[str, np.ndarray]:
    """Returns in which of the samples, and of the training images, there is a face. UsageError for a run of several
    GANs, and of what are no images."""
    if run.members:
        raise UsageError(f"{run.directory} has {len(run.members)} GANs; name one of them, --member 0")
    if run.data.kind != ImageMedium.kind:
        raise UsageError(f"{run.directory} draws {run.data.medium.plural}, and faces are looked for in images")
    cascade = detector()
    drawn = run.draw(options.count, seed=options.seed, weights=options.weights)[run.drawing.main]
    sets = {"samples": drawn, "training images": training_images(run, options)}
    with progress_bar(sum(map(len, sets.values())), "looking for faces") as bar:
        return {name: found(cascade, images, bar.update) for name, images in sets.items()}


def run(options: Options) -> None:
    opened = open_checkpoint(options.run, options)
    rows = [["a face is found in", "share", "of"]]
    rows += [[name, f"{100 * each.mean():.1f} %", f"{len(each):,}"] for name, each in shares(opened, options).items()]
    say(*align_columns(rows))
    say(f"{options.weights} weights of step {opened.step}; scikit-image's cascade for frontal faces")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
