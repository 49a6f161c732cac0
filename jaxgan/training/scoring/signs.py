"""Signs of a generator's health, from a few of its examples alone: how much they vary, and which classes are among
them. They take no feature network, and are cheap enough for every picture of a run."""

from typing import Any, Protocol

import numpy as np

from jaxgan.data.stream import Stream
from jaxgan.evaluation.diversity import diversity
from jaxgan.media import Image
from jaxgan.training.scoring.real_data import RealData

__all__ = ["FindSigns", "class_counts", "signs_for"]

REFERENCES, STREAMED, ROOM = 1000, 128, 2**25  # real examples that are compared with, from files, and their bytes
MOST_CLASSES = 100
RIGHT = 0.8  # share of real examples whose class the nearest other one must tell, for classes to be counted
MOST_DRAWN = 1024  # examples that are looked at

Signs = dict[str, Any]


class FindSigns(Protocol):
    """Finds the signs of stored examples `[N, ...]`; `by_turns` where classes took turns among them."""

    def __call__(self, drawn: np.ndarray, *, by_turns: bool = False) -> Signs: ...


def signs_for(data: RealData) -> FindSigns:
    """Returns a function that finds the signs of stored examples `[N, ...]` beside a set's own:

    - `samples`: how many there were;
    - `spread`: their variance over that of real ones; of images also `distinct`, see `jaxgan.evaluation.diversity`;
    - `classes`: how many are of each class, by the nearest real example, and `expected`, the share of each, as often
      as the set has them or, where classes took turns (`by_turns`), equal shares; where the set has up to 100 classes
      and real examples are told by their nearest neighbours for the most part.

    Examples with NaN have a spread of NaN and no other sign, which is None in its place."""
    spec = data.spec
    most = STREAMED if isinstance(data.data, Stream) else REFERENCES
    count = max(2, min(spec.count, most, ROOM // max(1, data.examples(1).nbytes)))
    real = data.examples(count)
    labels = _labels_of(data, real)
    known = np.bincount(data.labels, minlength=spec.classes) if labels is not None else np.zeros(0, int)

    def signs(drawn: np.ndarray, *, by_turns: bool = False) -> Signs:
        drawn = drawn[:MOST_DRAWN]
        if drawn.shape[1:] != real.shape[1:] or not np.isfinite(drawn).all():
            return {"samples": len(drawn), "spread": None}
        found: Signs = {"samples": len(drawn), **_variety(drawn, real, images=spec.kind == Image.kind)}
        if labels is not None:
            shares = (known > 0) / np.sum(known > 0) if by_turns else known / known.sum()
            counts = class_counts(drawn, real, labels, spec.classes)
            found |= {"classes": counts.tolist(), "expected": [round(float(share), 6) for share in shares]}
        return found

    return signs


def _labels_of(data: RealData, real: np.ndarray) -> np.ndarray | None:
    """Returns the classes of real examples, `[N]`; None where neighbours don't tell them."""
    if not 1 < data.spec.classes <= MOST_CLASSES:
        return None
    labels = data.labels[: len(real)]
    by_others = _nearest_label(_flat(real), _flat(real), labels, itself=True)
    return labels if np.mean(by_others == labels) >= RIGHT else None


def class_counts(drawn: np.ndarray, real: np.ndarray, labels: np.ndarray, number: int) -> np.ndarray:
    """Returns how many of the drawn examples `[N, ...]` are of each of so many classes, `[number]`: each is of the
    class of the real example `[M, ...]` that is nearest in Euclidean distance, with these labels `[M]`."""
    return np.bincount(_nearest_label(_flat(drawn), _flat(real), labels), minlength=number)


def _variety(drawn: np.ndarray, real: np.ndarray, *, images: bool) -> Signs:
    count = min(len(drawn), len(real))
    if images and count >= 2:
        try:
            found = diversity(drawn[:count], real[:count])
        except ValueError:  # real images that are all alike
            return {"spread": None}
        return {"spread": found.spread, "distinct": found.distinct}
    scale = _flat(real).std(0)
    scale[scale == 0] = 1.0
    return {"spread": float(np.mean((_flat(drawn) / scale).var(0)))}


def _flat(examples: np.ndarray) -> np.ndarray:
    flat = examples.reshape(len(examples), -1).astype(np.float32)
    return flat / 127.5 - 1 if examples.dtype == np.uint8 else flat


def _nearest_label(points: np.ndarray, real: np.ndarray, labels: np.ndarray, *, itself: bool = False) -> np.ndarray:
    """Returns the label of the real example that is nearest to each point; itself: not the one of the same number."""
    squared = (real**2).sum(1) - 2 * points @ real.T
    if itself:
        np.fill_diagonal(squared, np.inf)
    return labels[squared.argmin(1)]
