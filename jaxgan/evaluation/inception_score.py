"""The inception score of a classifier's logits."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from scipy.special import log_softmax, logsumexp

from jaxgan.evaluation.frechet import checked

__all__ = ["InceptionScore", "inception_score"]


class InceptionScore(NamedTuple):
    """Mean of the score over splits, and standard deviation (divided by the number of splits, not by one less)."""

    mean: float
    std: float


def inception_score(logits: ArrayLike, *, splits: int = 10, seed: int = 2020) -> InceptionScore:
    """Returns exp of the mean KL(p(y|x) ‖ p(y)) for logits `[N, K]` of generated images: from 1 to K, higher is better.

    p(y) is the mean of p(y|x) over a split (Salimans et al. 2016, arXiv 1606.03498, section 4). The images are shuffled
    with NumPy's `RandomState(seed)` and cut into `splits` parts, as in torch-fidelity; each is scored by itself. The
    score of a part is at most its number of images, so small parts score too low. The score is 1 where all images are
    classified alike, and K where each is certain and all classes are equally frequent; it doesn't look at real images.
    It is computed in float64, from logarithms: a class without images costs no digits.

    ValueError for fewer images than splits, no split, and logits that are not finite.
    """
    x = checked(logits, "logits")
    count = len(x)
    if not 1 <= splits <= count:
        raise ValueError(f"expected splits from 1 to the number of images, got splits {splits} for {count} images")
    order = np.random.RandomState(seed).permutation(count)  # the reference's order, not ours
    scores = []
    for i in range(splits):
        part = x[order[i * count // splits : (i + 1) * count // splits]].astype(np.float64)
        log_p = log_softmax(part, axis=1)
        log_mean = logsumexp(log_p, axis=0) - np.log(len(part))
        scores.append(np.exp(np.mean(np.sum(np.exp(log_p) * (log_p - log_mean), axis=1))))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))
