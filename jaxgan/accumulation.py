"""Gradient accumulation: a batch that does not fit is cut into parts, which one update sees one after the other."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.game import Game, Left, Metrics, parts
from jaxgan.state import GANState
from jaxgan.terms import Example

__all__ = ["accumulated"]

PyTree = Any
GradientsOf = Callable[[Game, GANState, Example, Example], tuple[PyTree, Left]]


def accumulated(
    game: Game, player: str, gradients_of: GradientsOf, state: GANState, batch: Example, inputs: Example
) -> tuple[PyTree, Left]:
    """`gradients_of(game, state, batch, inputs)` over the whole batch, or its mean over `game.accumulate` parts.

    Every part finds the variables and extras that the one before left, and all the same parameters. It makes the draws
    that its examples have in the whole batch (inputs, augmentation, what terms draw by `view.keys`), other ones inside
    networks. Metrics are means. Batch normalisation sees the parts alone: warned about when the step is traced.
    """
    n = game.accumulate
    if n == 1:
        return gradients_of(game, state, batch, inputs)
    if "batch_stats" in {**state.generator.variables, **state.discriminator.variables}:
        warnings.warn(
            f"batch normalisation takes its statistics from each of the {n} parts of an accumulated batch: expect "
            "other numbers than from the whole batch at once",
            stacklevel=1,
        )

    def one(carry: tuple[GANState, PyTree], part: tuple[jax.Array, Any]) -> tuple[tuple[GANState, PyTree], Metrics]:
        (state, total), (number, (batch, inputs)) = carry, part
        mine = dataclasses.replace(game, accumulate=1, part=(number, n))
        gradients, (variables, extras, metrics) = gradients_of(mine, state, batch, inputs)
        me = getattr(state, player).replace(variables=variables)
        return (state.replace(**{player: me}, extras=extras), jax.tree.map(jnp.add, total, gradients)), metrics

    pieces = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), parts((batch, inputs), n))
    start = (state, jax.tree.map(jnp.zeros_like, getattr(state, player).params))
    (after, total), metrics = jax.lax.scan(one, start, (jnp.arange(n), pieces))
    left = (getattr(after, player).variables, after.extras, jax.tree.map(jnp.mean, metrics))
    return jax.tree.map(lambda x: x / n, total), left
