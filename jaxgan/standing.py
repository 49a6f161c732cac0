"""Batch statistics of networks whose weights were never trained with them: averaged weights, truncated latents.

A batch norm keeps running means and variances of what passes a network in training, and a network whose weights are an
average of many steps' has others. Either they are averaged as the weights are (`map_statistics` in
`jaxgan.iteration`), or standing ones are computed before drawing: the means over batches that are each normalised by
themselves. Brock et al. 2019 (arXiv 1809.11096), section 2.1 and appendix B.

Statistics are the entries `mean` and `var` of the collection `batch_stats`, as jaxgan's and flax's batch normalisation
keep them. What else is there, such as flax's spectral normalisation, stays as it is.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.state import TrainState, Variables

__all__ = ["COLLECTION", "batch_statistics", "has_statistics", "map_statistics", "standing_statistics"]

NAMES = ("mean", "var")

COLLECTION = "batch_stats"
"""The collection of a network's variables that batch statistics are kept in."""


def has_statistics(variables: Variables) -> bool:
    """Returns whether a network has batch statistics."""
    return any(_is_statistic(path) for path, _ in jax.tree.leaves_with_path(variables.get(COLLECTION, {})))


def map_statistics(function: Callable[..., jax.Array], variables: Variables, *others: Variables) -> Variables:
    """Returns variables in which each batch statistic is `function` of what it is in them and in the others; all else
    is as it is in `variables`."""
    if COLLECTION not in variables:
        return variables

    def mapped(path: Any, *values: jax.Array) -> jax.Array:
        return function(*values) if _is_statistic(path) else values[0]

    collections = [each[COLLECTION] for each in (variables, *others)]
    return {**variables, COLLECTION: jax.tree.map_with_path(mapped, *collections)}


def batch_statistics(
    player: TrainState, variables: Variables, *inputs: Any, key: jax.Array | None = None, **options: Any
) -> tuple[Any, Variables]:
    """Returns the output of a training pass, in which each batch norm normalises by its batch, and the variables with
    the statistics of that batch in place of running ones. Other variables don't change.

    key: for "dropout" and "noise", of networks that draw. options: as `player.apply_fn` takes them.
    """
    before = variables.get(COLLECTION, {})
    rngs = None if key is None else {name: jax.random.fold_in(key, i) for i, name in enumerate(("dropout", "noise"))}

    def passed(statistics: Any) -> tuple[Variables, Any]:
        given = {**variables, COLLECTION: statistics} if before else variables
        output, changed = player.apply_fn(given, *inputs, train=True, rngs=rngs, mutable=[COLLECTION], **options)
        return {COLLECTION: changed.get(COLLECTION, statistics)}, output

    # A running statistic r becomes m·r + (1 - m)·b, b the batch's: m is the derivative, whatever a layer calls it.
    ones = map_statistics(jnp.ones_like, jax.tree.map(jnp.zeros_like, {COLLECTION: before}))[COLLECTION]
    after, kept, output = jax.jvp(passed, (before,), (ones,), has_aux=True)

    def of_batch(old: jax.Array, new: jax.Array, m: jax.Array) -> jax.Array:
        return jnp.where(m < 1, (new - m * old) / jnp.where(m < 1, 1 - m, 1.0), old)  # 1: a layer that keeps its own

    return output, map_statistics(of_batch, variables, after, kept)


def standing_statistics(
    player: TrainState,
    variables: Variables,
    inputs: Callable[[jax.Array], tuple[Any, ...]],
    batches: int = 64,
    *,
    key: jax.Array | None = None,
    **options: Any,
) -> Variables:
    """Returns variables with standing statistics: the means over `batches` batches of those of each batch.

    inputs: the number of a batch, int32 from 0 on, to the player's positional inputs `[B, ...]`; pure. The same numbers
    give the same statistics. key, options: as of `batch_statistics`, a key for each batch. ValueError for fewer than 1
    batch.
    """
    if batches < 1:
        raise ValueError(f"expected at least 1 batch to compute statistics of, got {batches}")
    if not has_statistics(variables):
        return variables

    def add(total: Variables, number: jax.Array) -> tuple[Variables, None]:
        own = None if key is None else jax.random.fold_in(key, number)
        _, found = batch_statistics(player, variables, *inputs(number), key=own, **options)
        return map_statistics(lambda before, now: before + now / batches, total, found), None

    total, _ = jax.lax.scan(add, map_statistics(jnp.zeros_like, variables), jnp.arange(batches, dtype=jnp.int32))
    return map_statistics(lambda _, mean: mean, variables, total)


def _is_statistic(path: Any) -> bool:
    return jax.tree_util.keystr(path[-1:], simple=True) in NAMES
