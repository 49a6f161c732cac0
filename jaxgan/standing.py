"""Standing statistics: what batch norms normalise by in evaluation, estimated over many batches, and not averaged while
weights moved."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.state import TrainState, Variables

__all__ = ["standing_statistics"]

STANDS = 1e-6  # a smaller share of a batch is rounding: a statistic that a pass doesn't move


def standing_statistics(
    player: TrainState, variables: Variables, inputs: Callable[[jax.Array], Sequence[Any]], keys: jax.Array
) -> Variables:
    """Returns a player's variables with batch statistics of their own: the mean, over training passes, of what each
    pass normalised by. Brock et al. 2019 (arXiv 1809.11096), section 4.2 and appendix C: a hundred passes or so.

    It is for averaged weights, whose statistics were never measured but averaged like the weights, and where a moving
    average is of too few batches. Variances are the mean of those within batches, which training passes normalise by.

    player: the network. variables: its parameters and other collections, of which `batch_stats` must be one: a moving
    average of "before" and "batch" in any proportion, as our and Linen's batch norms keep it. inputs: `key -> inputs`,
    what the network is called with in a pass, by position. keys: `[N]`, one a pass, N at least 1. ValueError where
    there are no batch statistics.
    """
    if not jax.tree.leaves(variables.get("batch_stats")):
        raise ValueError(
            f"standing statistics are of batch norms, and this network's variables are {sorted(variables)}"
        )

    def after(before: Any, key: jax.Array) -> Any:
        rngs = {"dropout": jax.random.fold_in(key, 0), "noise": jax.random.fold_in(key, 1)}
        own = {**variables, "batch_stats": before}
        _, changed = player.apply_fn(own, *inputs(key), train=True, rngs=rngs, mutable=["batch_stats"])
        return changed["batch_stats"]

    old = variables["batch_stats"]
    zeros = jax.tree.map(jnp.zeros_like, old)
    # A pass leaves m · before + (1 - m) · batch: from 0 its own share of the batch, and from another number m.
    first = after(zeros, keys[0])
    above = jax.tree.map(lambda x: jnp.full_like(x, 1 + jnp.max(jnp.abs(x))), first)
    moved = after(above, keys[0])
    shares = jax.tree.map(lambda a, b, by: 1 - jnp.median((b - a) / by), first, moved, above)
    total, _ = jax.lax.scan(lambda sums, key: (jax.tree.map(jnp.add, sums, after(zeros, key)), None), first, keys[1:])

    def mean(was: jax.Array, sums: jax.Array, share: jax.Array) -> jax.Array:
        moves = share > STANDS
        return jnp.where(moves, sums / (len(keys) * jnp.where(moves, share, 1.0)), was).astype(was.dtype)

    return {**variables, "batch_stats": jax.tree.map(mean, old, total, shares)}
