"""Samples beside the training images that are nearest to them: is the generator copying? `neighbours.png` in a run's
directory, with what it shows in words in its text."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jaxgan.data.stream import Stream
from jaxgan.files import atomic_write, open_regular
from jaxgan.training.exploring.neighbours import Neighbours, nearest
from jaxgan.training.output.captions import captioned
from jaxgan.training.scoring.real_data import RealData

__all__ = ["FILE", "copies_of", "look_for_copies", "nearest_of_many"]

FILE = "neighbours.png"
SHOWN, BESIDE = 12, 3  # samples in the picture, and training images below each
SAMPLES, COMPARED = 64, 128  # samples, and training images, whose distances are told
ROOM, STREAMED = 2**28, 2000  # bytes of training images that are compared with; how many from files
CHUNK, CANDIDATES = 4096, 8
LARGEST = 2**24  # bytes of the file
TEXT = "Description"


def nearest_of_many(queries: np.ndarray, examples: np.ndarray, k: int) -> Neighbours:
    """Finds the k nearest of many uint8 images `[M, ...]` to each query `[N, ...]`, in pixels from 0 to 255: exact
    distances of the candidates that matrix products in float32 have found."""
    points = queries.reshape(len(queries), -1).astype(np.float32)
    found = np.empty((len(points), 0), int)
    squares = np.empty((len(points), 0), np.float32)
    for first in range(0, len(examples), CHUNK):
        part = examples[first : first + CHUNK].reshape(-1, points.shape[1]).astype(np.float32)
        squares = np.concatenate([squares, (part**2).sum(1) - 2 * points @ part.T], axis=1)
        found = np.concatenate([found, np.broadcast_to(first + np.arange(len(part)), (len(points), len(part)))], axis=1)
        if (most := k + CANDIDATES) < found.shape[1]:
            kept = np.argpartition(squares, most - 1, axis=1)[:, :most]
            found, squares = np.take_along_axis(found, kept, 1), np.take_along_axis(squares, kept, 1)
    found = np.sort(found, axis=1)
    exact = [nearest(query[None], examples[near], k) for query, near in zip(queries, found, strict=True)]
    numbers = [near[each.numbers[0]] for each, near in zip(exact, found, strict=True)]
    return Neighbours(np.concatenate([each.distances for each in exact]), np.stack(numbers))


def look_for_copies(directory: Path, step: int, drawn: np.ndarray, data: RealData) -> str:
    """Writes `neighbours.png` in a run's directory: samples, uint8 `[N, H, W, C]`, of the state of `step`, each above
    the nearest of a set's images, and how near they are beside how near these are to each other. Returns "", or why it
    has not been done. OSError where it can't be written."""
    if drawn.ndim != 4 or drawn.dtype != np.uint8 or min(drawn.shape[1:3]) < 4:
        return "samples are no images"
    if drawn.shape[1:] != tuple(data.spec.shape):
        return "samples are of another size than the training images"
    most = STREAMED if isinstance(data.data, Stream) else ROOM // int(np.prod(drawn.shape[1:]))
    real = data.examples(min(data.spec.count, most))
    if len(real) <= BESIDE:
        return f"there are only {len(real)} training images"
    drawn, few = drawn[:SAMPLES], min(COMPARED, len(real))
    mine = nearest_of_many(drawn, real, BESIDE)
    theirs = nearest_of_many(real[:few], real, 2)
    others = np.where(theirs.numbers[:, 0] == np.arange(few), theirs.distances[:, 1], theirs.distances[:, 0])
    unit = 1 / np.sqrt(np.prod(drawn.shape[1:]))  # the root of the mean square over pixels
    near = mine.distances[:, 0] * unit
    close = int(np.sum(near < np.quantile(others * unit, 0.01)))
    some = "" if len(real) == data.spec.count else f" (of {data.spec.count:,})"
    said = (
        f"Step {step:,}: samples above the nearest of {len(real):,}{some} training images. The nearest is "
        f"{np.median(near):.3g} grey levels away, the median of {len(drawn)} samples; from a training image to the "
        f"nearest other it is {np.median(others * unit):.3g}. {_count(close)} nearer to a training image than all but "
        "one in a hundred training images are to another, as a copy would be."
    )
    shown = drawn[:SHOWN]
    rows = [list(shown), *([real[number] for number in mine.numbers[: len(shown), place]] for place in range(BESIDE))]
    titles = ["sample", *(f"nearest {place + 1}" for place in range(BESIDE))]
    array = captioned(rows, titles, [f"{each:.3g}" for each in near[: len(shown)]], least=32)
    text = PngInfo()
    text.add_itxt(TEXT, said)
    with atomic_write(directory / FILE, synced=False) as temporary:  # it can be made again
        picture = Image.fromarray(array if array.shape[-1] == 3 else array[..., 0])
        picture.save(temporary, format="PNG", pnginfo=text)
    return ""


def _count(number: int) -> str:
    return "No sample is" if not number else "One sample is" if number == 1 else f"{number} samples are"


def copies_of(directory: Path) -> tuple[bytes, str] | None:
    """Returns the picture in a run's directory and what it shows in words; None where there is none."""
    try:
        with (
            warnings.catch_warnings(action="error"),
            os.fdopen(open_regular(directory / FILE, os.O_RDONLY), "rb") as file,
        ):
            content = file.read(LARGEST + 1)
            with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
                said = str(picture.info.get(TEXT, ""))
        return (content, said[:2000]) if len(content) <= LARGEST else None
    except Exception:  # noqa: BLE001 - Pillow raises many kinds, and warns of what is odd
        return None
