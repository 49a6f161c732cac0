"""Labelled images, the share of them that a classifier tells, and its beginning and loss: for the commands that train
classifiers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan.networks.classifier import Classifier

__all__ = ["Labelled", "classifier_loss", "initial_variables", "share_right"]

AT_ONCE = 256  # images in a dispatch


class Labelled(NamedTuple):
    """Images as they are stored, uint8 `[N, H, W, C]`, and their classes, integers `[N]`."""

    images: np.ndarray
    labels: np.ndarray


def initial_variables(module: Classifier, shape: Sequence[int], key: jax.Array) -> dict[str, Any]:
    """Returns a classifier's parameters and batch statistics before its first step on images of `shape`, (H, W, C)."""
    init = jax.jit(lambda key: module.init(key, jnp.zeros((1, *shape)), train=True))
    variables: dict[str, Any] = init(jax.random.fold_in(key, 2**31 - 1))
    return variables


def classifier_loss(
    module: Classifier, params: Any, statistics: Any, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, Any]:
    """Returns the mean cross entropy of a classifier on images `[N, H, W, C]` in [-1, 1], in training, and its batch
    statistics after them."""
    variables = {"params": params, "batch_stats": statistics}
    said, moved = module.apply(variables, images, train=True, mutable="batch_stats")
    each = optax.softmax_cross_entropy_with_integer_labels(said["logits"], labels)
    return jnp.mean(each), moved["batch_stats"]


def share_right(
    tell: Callable[[np.ndarray], Any], test: Labelled, seen: Callable[[int], object] = lambda count: None
) -> float:
    """Returns the share, from 0 to 1, of at least one image whose class `tell` finds, stored images `[256, H, W, C]` ->
    classes `[256]`. seen: is told how many images were looked at."""
    count, right = len(test.labels), 0
    for first in range(0, count, AT_ONCE):
        some = np.arange(first, first + AT_ONCE) % count  # as many in each dispatch, so that one program does
        found = (np.asarray(tell(test.images[some])) == test.labels[some])[: count - first]
        right += int(np.sum(found))
        seen(len(found))
    return right / count
