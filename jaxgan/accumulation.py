"""Gradient accumulation: a batch that does not fit is cut into parts, which one update sees one after the other."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.game import Game, Left, Metrics, parts
from jaxgan.state import GANState, has_batch_norm
from jaxgan.terms import Example, Term

__all__ = ["accumulated"]

PyTree = Any
GradientsOf = Callable[[Game, GANState, Example, Example], tuple[PyTree, Left]]


def _is_float(x: jax.Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def accumulated(
    game: Game,
    player: str,
    terms: Sequence[Term],
    gradients_of: GradientsOf,
    state: GANState,
    batch: Example,
    inputs: Example,
) -> tuple[PyTree, Left]:
    """`gradients_of(game, state, batch, inputs)` over the whole batch, or its mean over `game.accumulate` parts.

    Every part finds the variables that the one before left, and all the same parameters and extras, whose floats become
    the mean of what the parts make of them, as over devices. It makes the draws that its examples have in the whole
    batch (inputs, augmentation, what terms draw by `view.keys`), other ones inside networks. Metrics are means. What
    looks across examples sees the parts alone, batch normalisation, minibatch layers and packs as well as such `terms`:
    warned about when the step is traced.
    """
    n = game.accumulate
    if n == 1:
        return gradients_of(game, state, batch, inputs)
    both = state.generator.variables, state.discriminator.variables
    looking = ["batch normalisation"] if any(map(has_batch_norm, both)) else []
    looking += ["a minibatch layer"] if any("across_examples" in variables for variables in both) else []
    part = jax.eval_shape(lambda batch: jax.tree.map(lambda x: x[:, 0], parts(batch, n)), batch)
    looking += ["packing"] if len(jax.eval_shape(game.prepare, part)["image"]) < len(part["image"]) else []
    looking += [f"the term {term.name!r}" for term in terms if term.across]
    if looking:
        warnings.warn(
            f"{' and '.join(looking)} can see only each of the {n} parts of an accumulated batch by itself: expect "
            "other numbers than from the whole batch at once",
            stacklevel=1,
        )

    def add(total: jax.Array, x: jax.Array) -> jax.Array:
        return total + x if _is_float(x) else x

    def one(carry: tuple[GANState, PyTree], part: tuple[jax.Array, Any]) -> tuple[tuple[GANState, PyTree], Metrics]:
        (state, total), (number, (batch, inputs)) = carry, part
        mine = dataclasses.replace(game, accumulate=1, part=(number, n))
        gradients, (variables, extras, metrics) = gradients_of(mine, state, batch, inputs)
        state = state.replace(**{player: getattr(state, player).replace(variables=variables)})
        changes = jax.tree.map(lambda new, old: new - old if _is_float(new) else new, extras, state.extras)
        return (state, jax.tree.map(add, total, (gradients, changes))), metrics

    pieces = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), parts((batch, inputs), n))
    start = jax.tree.map(
        lambda x: jnp.zeros_like(x) if _is_float(x) else x, (getattr(state, player).params, state.extras)
    )
    (after, total), metrics = jax.lax.scan(one, (state, start), (jnp.arange(n), pieces))
    gradients, changes = jax.tree.map(lambda x: x / n if _is_float(x) else x, total)
    # Added up as changes, what no term touches stays as it is to the bit.
    extras = jax.tree.map(lambda old, new: old + new if _is_float(new) else new, state.extras, changes)
    return gradients, (getattr(after, player).variables, extras, jax.tree.map(jnp.mean, metrics))
