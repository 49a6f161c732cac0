"""Scores of a conditional generator: whether it draws the requested class, and how much of each class it covers."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxgan.evaluation.neighbours import density_coverage

__all__ = ["ClassScores", "class_scores"]


class ClassScores(NamedTuple):
    """agreement: share of images that the classifier predicts to be of the requested class. coverage: that of
    `density_coverage` inside each class, on average over the classes. least_coverage: the smallest of these. All in [0,
    1]."""

    agreement: float
    coverage: float
    least_coverage: float


def class_scores(
    real: ArrayLike, real_labels: ArrayLike, fake: ArrayLike, requested: ArrayLike, predicted: ArrayLike, *, k: int = 5
) -> ClassScores:
    """Scores features `[M, D]` of images with `requested` classes `[M]` and a classifier's `predicted` classes `[M]`,
    against real features `[N, D]` with `real_labels` `[N]`; all labels are integers.

    One good picture a class is enough for agreement; it isn't for coverage inside each class, Naeem et al. 2020 (arXiv
    2002.09797). Coverage depends on the number of images: compare it with that of as many real ones. ValueError for
    labels that don't fit the images, where the real and the requested classes are not the same, for fewer than k + 1
    real images of a class, and for what `density_coverage` refuses."""
    real, fake, real_labels, requested, predicted = map(np.asarray, (real, fake, real_labels, requested, predicted))
    given = (("real", real_labels, real), ("requested", requested, fake), ("predicted", predicted, fake))
    for name, labels, images in given:
        if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"expected {name} labels as integers [{len(images)}], got {labels.dtype} {list(labels.shape)}"
            )
    classes = np.unique(real_labels)
    if not np.array_equal(classes, np.unique(requested)):
        raise ValueError(
            f"real images are of the classes {classes.tolist()}, asked for were {np.unique(requested).tolist()}"
        )
    fewest = classes[np.argmin([np.sum(real_labels == c) for c in classes])]
    if (count := np.sum(real_labels == fewest)) <= k:
        raise ValueError(
            f"coverage inside a class takes at least {k + 1} real images of each, and class {fewest} has {count}; "
            "score more samples"
        )
    covered = [density_coverage(real[real_labels == c], fake[requested == c], k=k).coverage for c in classes]
    return ClassScores(float(np.mean(requested == predicted)), float(np.mean(covered)), min(covered))
