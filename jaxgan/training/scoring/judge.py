"""Scoring a state's samples: on the way of a run, and after it."""

import dataclasses
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.evaluation import content_of, record, scores
from jaxgan.evaluation.scores import check_counts
from jaxgan.files import open_regular, sync_folder
from jaxgan.terminal import progress_bar, say
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.output.log import is_number, read_lines
from jaxgan.training.recipe.gan import Weights
from jaxgan.training.scoring.measures import Measure
from jaxgan.training.scoring.real_data import RealData

__all__ = ["Judge", "about_state", "append", "judge_against", "judge_for", "read"]

FILE = "evaluations.jsonl"
MOST, FEW = 100_000, 2048  # real images for distances of features, and for what takes no more than that
ROOM = 2**31  # bytes that they may take
MANY = {"fid", "kid", "prdc", "classes", "vectors"}  # metrics that take as many as there are


@dataclasses.dataclass(frozen=True, eq=False)
class Judge:
    """Real images, in an order that is drawn, and what samples are scored by against them.

    about: what a record says of them. labels: theirs, `[N]`; None where they have no classes."""

    measure: Measure
    real: np.ndarray
    about: dict[str, Any]
    labels: np.ndarray | None = None

    def check(self, count: int, asked: np.ndarray | None = None) -> None:
        """Raises UsageError where so many examples, asked for by these labels `[count]`, are too few for the metrics,
        or the real ones are."""
        try:
            check_counts(self.measure.metrics, count, len(self.real), (asked, self.labels))
        except ValueError as error:
            raise UsageError(str(error)) from None

    def __call__(
        self,
        images: np.ndarray,
        asked: np.ndarray | None = None,
        *,
        targets: np.ndarray | None = None,
        keep: bool = False,
        **about: Any,
    ) -> list[dict[str, Any]]:
        """Returns the records of images' scores. asked: the labels that they were asked for by, `[N]`. targets, keep:
        as in `scores`. about: what the images are. UsageError where they can't be scored."""
        metrics, network, dataset, of_pairs, border = self.measure
        try:
            with progress_bar(None, "looking at images") as bar:
                found = scores(
                    *(metrics, network, images, self.real),
                    dataset=dataset,
                    labels=(asked, self.labels),
                    targets=targets,
                    networks=of_pairs,
                    border=border,
                    keep=keep,
                    progress=bar.update,
                )
        except ValueError as error:
            raise UsageError(str(error)) from None
        rounding = "uint8, to the nearest" if images.dtype == np.uint8 else None
        records = [record(score, **self.about, **{"rounding": rounding, **about}) for score in found]
        # What no real image goes into compares with any others of its kind.
        return [one if one["real"] else {**one, "content": None} for one in records]


def judge_for(measure: Measure, data: RealData) -> Judge:
    """Returns the judge by a run's own data, a single set, of which it takes up to 100,000 examples (and 2 GiB)."""
    first = data.examples(1)
    most = min(MOST, ROOM // first.nbytes) if set(measure.metrics) & MANY else FEW
    real = data.examples(min(most, data.spec.count))
    labels = data.labels[: len(real)] if data.spec.classes else None
    return judge_against(measure, real, data.spec.name, "train", labels)


def judge_against(
    measure: Measure, real: np.ndarray, dataset: str, split: str | None, labels: np.ndarray | None = None
) -> Judge:
    """Returns the judge by these images, whose order is taken as drawn."""
    about = {"dataset": dataset, "split": split, "content": content_of(real[:FEW]), "size": list(real.shape[1:])}
    return Judge(measure, real, about, labels)


def about_state(
    step: int,
    seed: int,
    member: int | None,
    *,
    weights: Weights = "ema",
    batch_norm: str = "running averages",
    **more: Any,
) -> dict[str, Any]:
    """Returns what a record says of the state whose samples were scored. batch_norm: of its batch statistics, see
    `jaxgan.training.recipe.statistics.protocol_of`."""
    about = {"step": step, "seed": seed, "member": member, "weights": weights}
    return {**about, "batch_norm": batch_norm, **more}


def append(directory: Path, records: Sequence[dict[str, Any]]) -> None:
    """Adds records to `evaluations.jsonl` in a directory, synced to the disk. OSError where that is a link or no
    regular file."""
    with os.fdopen(open_regular(directory / FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND), "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        cut = file.read(1) not in (b"", b"\n")  # a kill may have left a line unfinished
        file.write(("\n" * cut + "".join(json.dumps(record) + "\n" for record in records)).encode())
        file.flush()
        os.fsync(file.fileno())
    sync_folder(directory)


def read(directory: Path) -> list[dict[str, Any]]:
    """Returns the records of `evaluations.jsonl` in a directory; none where there is no such file. Lines that are no
    records are left out, and stay in the file. UsageError where it can't be read."""
    try:
        lines, bad = read_lines(directory / FILE, _is_record)
    except OSError as error:
        raise UsageError(f"can't read {directory / FILE}: {error.strerror or error}; move it away") from None
    if bad:
        _warn(f"{bad} line{'s' * (bad > 1)} of {directory / FILE} can't be read, left out")
    return [record for _, record in lines]


@functools.cache  # once is enough, however often the file is read
def _warn(text: str) -> None:
    say(f"warning: {text}", error=True)


def _is_record(record: dict[str, Any]) -> bool:
    texts = all(isinstance(record.get(name), str) for name in ("key", "name"))
    counts = all(type(record.get(name, 0)) is int for name in ("samples", "real", "records_of_step", "together"))
    # None: of one GAN, or of no step.
    whole = all(type(record.get(name)) in (int, type(None)) for name in ("step", "member"))
    placed = record.get("step") is not None or "during_training" not in record
    known = "value" in record and ("member" in record or record.get("step") is None)
    numbers = all(is_number(record.get(name)) for name in ("value", "std"))
    return texts and counts and whole and placed and known and numbers
