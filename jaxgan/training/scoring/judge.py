"""Scoring a state's samples: on the way of a run, and after it."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.evaluation import content_of, record, scores
from jaxgan.evaluation.scores import check_counts
from jaxgan.terminal import progress_bar
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.output.log import read_rows
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
        metrics, network, dataset, lpips = self.measure
        try:
            with progress_bar(None, "looking at images") as bar:
                found = scores(
                    *(metrics, network, images, self.real),
                    dataset=dataset,
                    labels=(asked, self.labels),
                    targets=targets,
                    lpips=lpips,
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


def about_state(step: int, seed: int, member: int | None, *, weights: Weights = "ema", **more: Any) -> dict[str, Any]:
    """Returns what a record says of the state whose samples were scored."""
    about = {"step": step, "seed": seed, "member": member, "weights": weights}
    return {**about, "batch_norm": "running averages", **more}


def append(directory: Path, records: Sequence[dict[str, Any]]) -> None:
    """Adds records to `evaluations.jsonl` in a directory."""
    path = directory / FILE
    # A kill may have left a line unfinished.
    cut = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("a") as file:
        file.write("\n" * cut + "".join(json.dumps(record) + "\n" for record in records))


def read(directory: Path) -> list[dict[str, Any]]:
    """Returns the records of `evaluations.jsonl` in a directory; none where there is no such file."""
    return read_rows(directory / FILE)
