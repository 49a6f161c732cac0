"""Scores by their short names: from images to numbers, each with its name and all that it depends on."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan.data.sources import toys
from jaxgan.evaluation.classes import class_scores
from jaxgan.evaluation.diversity import diversity
from jaxgan.evaluation.features.cached import features_of, gaussian_of
from jaxgan.evaluation.features.classifiers import classifier_features, read_stacked
from jaxgan.evaluation.features.network import FeatureNetwork, extract
from jaxgan.evaluation.frechet import frechet_distance, gaussian
from jaxgan.evaluation.inception_score import inception_score
from jaxgan.evaluation.kernel import kernel_distance
from jaxgan.evaluation.modes import mode_coverage, nearest_modes
from jaxgan.evaluation.neighbours import prdc
from jaxgan.evaluation.pairs import NONE, OF_LUMA, OF_PAIRS, Networks, pair_values
from jaxgan.evaluation.score import HIGHER_IS_BETTER, ONE_IS_BEST, Score
from jaxgan.evaluation.sliced import sliced_wasserstein
from jaxgan.evaluation.vectors import vector_scores
from jaxgan.versions import versions

__all__ = [
    "HIGHER_IS_BETTER",
    "METRICS",
    "OF_FEATURES",
    "OF_MODES",
    "ONE_IS_BEST",
    "Score",
    "check_counts",
    "pair_score",
    "record",
    "scores",
]

SUBSET, SUBSETS, SPLITS = 1000, 100, 10  # of the kernel distance and the inception score, as torch-fidelity has them
K_PRECISION, K_DENSITY = 3, 5  # nearest neighbours, as in the papers
IN_PIXELS, PIXELS = 2048, 50_000_000  # images of each set, and numbers, at most, for distances of pixels
READ = 1024  # stacks of digits that are read in one dispatch
READ_OF_A_CLASS = 100  # real images of a class that are read, at most, to see what it is to the network
GOOD = 3  # σ within which a point belongs to a mode
LUMA = "Y of BT.601, 16 to 235, rounded"
OF_MODES = ("stacked_mnist", *toys.SIGMA)  # sets whose modes need no feature network

Progress = Callable[[int], None]
Labels = tuple[np.ndarray | None, np.ndarray | None]  # requested ones, and those of real examples


class _Sets(NamedTuple):
    """The sets that are compared. The network's outputs are computed when they are first needed."""

    images: np.ndarray
    real: np.ndarray
    network: Any  # a FeatureNetwork, where a metric needs one
    dataset: str
    progress: Progress
    requested: np.ndarray | None
    real_labels: np.ndarray | None
    outputs: Callable[[], dict[str, np.ndarray]]
    targets: np.ndarray | None
    networks: Networks
    border: int

    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the features of the real images, at most as many as there are others, and those of the others."""
        real = features_of(self.network, self.real[: len(self.images)], self.progress)
        return real["features"], self.outputs()["features"]


def scores(
    metrics: Sequence[str],
    network: FeatureNetwork | None,
    images: np.ndarray,
    real: np.ndarray,
    *,
    dataset: str = "",
    labels: Labels = (None, None),
    targets: np.ndarray | None = None,
    networks: Networks = NONE,
    border: int = 0,
    keep: bool = False,
    progress: Progress = lambda count: None,
) -> list[Score]:
    """Scores uint8 `images` `[N, H, W, C]` against `real` ones of the same size, in the order of `metrics`.

    network: computes the features; "swd" and "diversity" are of pixels and need none.
    dataset: for "stacked_mnist" the packaged classifier mnist-v1 reads its 1,000 modes; "ring" and "grid" are points
        `[N, 1, 1, 2]`, where a point within 3 σ of a centre counts for its mode; for all others the modes are the
        network's classes.
    labels: the labels that `images` were asked for by, `[N]`, and those of `real`, integers; None for what has none.
        "classes" needs both, and they must be the network's classes. "modes" needs those of `real` where it has fewer
        classes than the network tells apart: the modes are then what its classes are read as.
    targets: for scores of pairs, the target of each image, of the shape of `images`; `real` has no part in them.
    networks: what scores of pairs in features are computed with, by their names: "lpips" and "perceptual".
    border: the outermost pixels of images that "psnr_y" and "ssim_y" leave out.
    keep: caches the network's outputs of `images` on the disk too, for real images that are scored as a floor; those of
        `real` always are.
    progress: called with the size of every batch that went through the network.

    "vectors" is for vectors `[N, D]`, and the only metric for them. "fid" takes all real images, "kid", "prdc" and
    "classes" the first N, "swd" and "diversity" the first 2,048 of both, of large images fewer.

    ValueError for a name that isn't in METRICS, sets of different sizes or channels, fewer examples than a metric takes
    (see `check_counts`), NaN and infinity (of points, "modes" counts them as far from any mode), a metric without the
    network or the classes that it needs, and whatever the metrics themselves refuse."""
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown or not metrics:
        raise ValueError(f"no metric is called {', '.join(unknown) or 'nothing'}; there are {', '.join(METRICS)}")
    if images.shape[1:] != real.shape[1:]:
        raise ValueError(
            f"images of {_size(images)} against real ones of {_size(real)}; bring both to one size and channels first"
        )
    check_counts(metrics, len(images), len(real))
    if set(metrics) - {"modes"}:
        _check_finite(images, "scored")
        _check_finite(real, "real")
    own = (
        {"modes": classifier_features("mnist-v1") if dataset == "stacked_mnist" else None}
        if dataset in OF_MODES
        else {}
    )
    needing = [metric for metric in metrics if metric in OF_FEATURES and metric not in own]
    if network is None and needing:
        raise ValueError(f"{', '.join(needing)} must have a feature network; swd and diversity do without")

    @functools.cache
    def outputs() -> dict[str, np.ndarray]:
        extractor: Any = network
        return features_of(extractor, images, progress) if keep else extract(extractor, images, progress)

    sets = _Sets(images, real, network, dataset, progress, *labels, outputs, targets, networks, border)
    found = []
    for metric in metrics:
        used = own.get(metric, network) if metric in OF_FEATURES else None
        found += [score._replace(metric=metric, network=used) for score in METRICS[metric][1](sets)]
    return found


def check_counts(metrics: Sequence[str], images: int, real: int, labels: Labels = (None, None)) -> None:
    """Raises ValueError, which names the set, where there are fewer examples to score, or fewer real ones, than one of
    `metrics` takes; for "classes" with `labels` as for `scores`."""
    for metric in metrics:
        least, least_real = LEAST.get(metric, (1, 0))
        if images < least:
            raise ValueError(f"{metric} takes at least {least} examples to score, got {images}")
        if real < least_real:
            raise ValueError(f"{metric} takes at least {least_real} real examples, got {real}")
    requested, real_labels = labels
    if "classes" not in metrics or requested is None or real_labels is None:
        return
    compared = real_labels[:images]
    counts = {int(c): int(np.sum(compared == c)) for c in np.unique(requested)}
    fewest = min(counts, key=lambda c: counts[c])
    if counts[fewest] <= K_DENSITY:
        raise ValueError(
            f"classes takes at least {K_DENSITY + 1} real images of each class, and of the first {len(compared):,}, as "
            f"many as are scored, class {fewest} has {counts[fewest]}; score more samples"
        )


def _check_finite(examples: np.ndarray, what: str) -> None:
    """Raises ValueError where examples of floats hold NaN or infinity."""
    if not np.issubdtype(examples.dtype, np.floating):
        return
    if bad := int(np.sum(~np.isfinite(examples.reshape(len(examples), -1)).all(1))):
        raise ValueError(f"{bad:,} of the {len(examples):,} {what} examples hold NaN or infinity, and have no distance")


def record(score: Score, **about: Any) -> dict[str, Any]:
    """Returns a score with its protocol as a JSON record; `about` says what was scored."""
    version, _ = METRICS[score.metric]
    network = score.network
    return {
        "key": score.key,
        "name": score.name,
        "value": score.value,
        "std": score.std,
        "metric": score.metric,
        "version": version,
        "samples": score.samples,
        "real": score.real,
        "constants": score.constants,
        "features": network and {"network": network.name, "sha256": network.sha256, "resize": network.resize},
        **({"compares": "pairs"} if score.of_pairs else {}),
        **about,
        "libraries": versions("jaxgan", "jax", "flax", "numpy", "scipy"),
    }


def _frechet(sets: _Sets) -> list[Score]:
    real = gaussian_of(sets.network, sets.real, sets.progress)
    features = sets.outputs()["features"]
    return [Score("fid", frechet_distance(gaussian(features), real), len(features), real.count)]


def _kernel(sets: _Sets) -> list[Score]:
    real, features = sets.features()
    size = min(SUBSET, len(features), len(real))
    # In this order, as torch-fidelity draws its subsets where the generated set is its first input.
    distance = kernel_distance(features, real, subsets=SUBSETS, subset_size=size)
    constants = {"subsets": SUBSETS, "subset_size": size}
    return [Score("kid", distance.mean, len(features), len(real), distance.std, constants)]


def _inception(sets: _Sets) -> list[Score]:
    splits = min(SPLITS, len(sets.images))
    score = inception_score(sets.outputs()["logits"], splits=splits)
    return [Score("is", score.mean, len(sets.images), 0, score.std, {"splits": splits})]


def _neighbours(sets: _Sets) -> list[Score]:
    real, features = sets.features()
    precision, density = prdc(real, features, k=K_PRECISION, k_density=K_DENSITY)
    found = {**precision._asdict(), **density._asdict()}
    ks = dict.fromkeys(precision._fields, K_PRECISION) | dict.fromkeys(density._fields, K_DENSITY)
    return [Score(key, value, len(features), len(real), None, {"k": ks[key]}) for key, value in found.items()]


def _modes(sets: _Sets) -> list[Score]:
    count = len(sets.images)
    if sets.dataset in toys.SIGMA:
        centres = toys.centres(sets.dataset)
        near = nearest_modes(sets.images.reshape(count, 2), centres, GOOD * toys.SIGMA[sets.dataset])
        constants = {"of": len(centres), "sigmas": GOOD}
        return [Score(key, value, count, 0, None, constants) for key, value in near._asdict().items()]
    if sets.dataset == "stacked_mnist":
        reader = classifier_features("mnist-v1")
        parts = [sets.images[first : first + READ] for first in range(0, count, READ)]
        return _covered(np.concatenate([np.asarray(read_stacked(reader, part)) for part in parts]), 1000)
    if sets.network.classes is None or sets.network.classes > 100:  # Inception's are of photographs
        raise ValueError(
            f"modes are the classes of a set, which {sets.network.name} doesn't tell apart; take a packaged classifier"
        )
    read = sets.outputs()["logits"].argmax(1)
    present = _modes_present(sets)
    if len(present) == sets.network.classes:
        return _covered(read, sets.network.classes)
    # What is read as something that the set hasn't is of none of its modes.
    near = read[np.isin(read, present)]
    if not len(near):
        return [Score("modes", 0, count, 0, None, {"of": len(present)})]
    return [score._replace(samples=count) for score in _covered(np.searchsorted(present, near), len(present))]


def _modes_present(sets: _Sets) -> np.ndarray:
    """Returns, ascending, the network's classes that the classes of the real images are read as, each by most of its
    images; without their labels, or where there are no fewer than the network tells apart, all of these."""
    labels, every = sets.real_labels, np.arange(sets.network.classes)
    if labels is None or len(classes := np.unique(labels)) >= len(every):
        return every
    some = np.concatenate([np.flatnonzero(labels == c)[:READ_OF_A_CLASS] for c in classes])
    read = features_of(sets.network, sets.real[some], sets.progress)["logits"].argmax(1)
    return np.unique([np.bincount(read[labels[some] == c]).argmax() for c in classes])


def _covered(labels: np.ndarray, number: int) -> list[Score]:
    found = mode_coverage(labels, number)
    return [Score(key, value, len(labels), 0, None, {"of": number}) for key, value in found._asdict().items()]


def _classes(sets: _Sets) -> list[Score]:
    if sets.requested is None or sets.real_labels is None or sets.network.classes is None:
        raise ValueError(
            "classes scores images that were asked for by a label: give the labels of both sets, and a network that "
            "tells classes apart"
        )
    requested, real_labels = sets.requested, sets.real_labels
    check_counts(["classes"], len(sets.images), len(sets.real), (requested, real_labels))
    real, features = sets.features()
    labels = real_labels[: len(real)]
    asked = np.isin(labels, requested)  # held-out images needn't have all classes
    real, labels = real[asked], labels[asked]
    found = class_scores(real, labels, features, requested, sets.outputs()["logits"].argmax(1), k=K_DENSITY)
    count, of = len(features), {"of": len(np.unique(requested))}
    ks = {**of, "k": K_DENSITY}
    return [
        Score("agreement", found.agreement, count, 0, None, of),
        Score("class_coverage", found.coverage, count, len(real), None, ks),
        Score("least_class_coverage", found.least_coverage, count, len(real), None, ks),
    ]


def _sliced(sets: _Sets) -> list[Score]:
    if sets.images.ndim == 2:
        raise ValueError("swd is of pixels; take vectors, which is of vectors")
    count = _in_pixels(sets)
    value = float(sliced_wasserstein(jax.random.key(0), sets.images[:count], sets.real[:count]))
    return [Score("swd", value, count, count, None, {"projections": 512, "key": 0})]


def _diversity(sets: _Sets) -> list[Score]:
    count = _in_pixels(sets)
    found = diversity(sets.images[:count], sets.real[:count])
    return [Score(key, value, count, count) for key, value in found._asdict().items()]


def _in_pixels(sets: _Sets) -> int:
    """Returns the number of images of each set whose pixels are compared: fewer where an image has more than 24,000
    numbers."""
    return min(IN_PIXELS, max(16, PIXELS // sets.real[0].size), len(sets.images), len(sets.real))


def _vectors(sets: _Sets) -> list[Score]:
    found, about = vector_scores(sets.images, sets.real), {"scaled by": "the real columns' standard deviations"}
    count = min(len(sets.images), len(sets.real))
    few = min(count, IN_PIXELS)
    return [
        Score("vector_frechet", found.frechet, len(sets.images), len(sets.real), None, about),
        Score("vector_swd", found.sliced, few, few, None, {**about, "projections": 512, "key": 0}),
        Score("column_wasserstein", found.column, count, count, None, about),
        Score("worst_column_wasserstein", found.worst_column, count, count, None, about),
    ]


def _paths(sets: _Sets) -> list[Score]:
    raise ValueError("ppl is of a generator, not of what it drew: take path_length")


def _pairs(metric: str, sets: _Sets) -> list[Score]:
    if sets.targets is None:
        raise ValueError(f"{metric} compares pairs: give the targets of the images")
    values = pair_values(metric, sets.images, sets.targets, sets.networks, sets.border)
    return [pair_score(metric, values, sets.images.shape[-1], networks=sets.networks, border=sets.border)]


def pair_score(metric: str, values: np.ndarray, channels: int, *, networks: Networks = NONE, border: int = 0) -> Score:
    """Returns the score that `pair_values` `[N]` of images of so many channels come to: their mean, of PSNR that of the
    pairs that aren't equal. networks, border: as in `scores`. ValueError where all are equal."""
    finite = values[np.isfinite(values)]  # equal images have an infinite PSNR
    if not len(finite):
        raise ValueError(f"all {len(values)} pairs are of equal images: their {metric} is infinite")
    std = float(finite.std(ddof=1)) if len(finite) > 1 else None
    about: dict[str, Any] = {"equal": len(values) - len(finite)} if len(finite) < len(values) else {}
    if metric in OF_LUMA:
        about |= {"colour": LUMA if channels == 3 else "grey levels", "border": border}
    if metric == "retrieval":
        about |= {"of": len(values)}
    if metric in networks:
        about |= {"network": networks[metric].name, "sha256": networks[metric].sha256}
    return Score(metric, float(finite.mean()), len(finite), 0, std, about, metric)


# By name: its version, which is raised when the same images would give another number, and its function.
METRICS: dict[str, tuple[int, Callable[[_Sets], list[Score]]]] = {
    "fid": (1, _frechet),
    "kid": (1, _kernel),
    "is": (1, _inception),
    "prdc": (1, _neighbours),
    "modes": (1, _modes),
    "classes": (1, _classes),
    "swd": (1, _sliced),
    "diversity": (1, _diversity),
    "vectors": (1, _vectors),
    "ppl": (1, _paths),
    **{metric: (1, functools.partial(_pairs, metric)) for metric in OF_PAIRS},
}
"""What `scores` can be asked for, by name."""
# Examples to score, and real ones, that a metric takes at least; of those that aren't here 1 and none.
LEAST = {
    **dict.fromkeys(("fid", "kid", "diversity", "vectors"), (2, 2)),
    "retrieval": (2, 0),
    "prdc": (max(K_PRECISION, K_DENSITY) + 1,) * 2,  # as many real ones as there are others are compared
    "swd": (1, 1),
}
OF_FEATURES = {"fid", "kid", "is", "prdc", "modes", "classes"}


def _size(images: np.ndarray) -> str:
    return "×".join(map(str, images.shape[1:]))
