"""Gradient accumulation: a batch that doesn't fit in memory is cut into parts, which one update processes in turn."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.draw import Draw
from jaxgan.iteration import parts
from jaxgan.nets import PassState
from jaxgan.state import GANState

__all__ = ["accumulated"]

PyTree = Any
GradientsOf = Callable[[PyTree, Draw, dict[str, PassState] | None], tuple[PyTree, Any]]


def accumulated(
    gradients_of: GradientsOf,
    n: int,
    state: GANState,
    batch: PyTree,
    draw: Draw,
    learns: Sequence[str],
    across: Sequence[str],
) -> tuple[PyTree, Any]:
    """Returns the mean over `n` parts of `gradients_of(batch, draw, pass_states)`, and the state of the passes, extras
    and metrics after them.

    Every part starts from the variables that the part before it left behind. All parts start from the same parameters
    and extras; floats of the new extras are averaged over the parts, as over devices. Metrics are means. Collections
    that change once in an update change in the first part. Layers and losses that look across examples see a single
    part; a warning says so when the step is traced.
    """
    if draw.size % n:
        raise ValueError(f"expected n·B examples for {n} parts, got {draw.size}, which {n} doesn't divide")
    _warn(n, state, across)
    pieces = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), parts(batch, n))
    zeros = jax.tree.map(_zeros, ({name: state.players[name].params for name in learns}, state.extras))
    pass_states = {name: PassState(state.players[name].variables) for name in learns}

    def one(carry: tuple[dict[str, PassState], PyTree], part: tuple[jax.Array, PyTree]) -> tuple[Any, Any]:
        (pass_states, total), (j, batch) = carry, part
        mine = dataclasses.replace(draw, part=(j, n), size=draw.size // n)
        gradients, (pass_states, extras, metrics) = gradients_of(batch, mine, pass_states)
        changes = jax.tree.map(lambda new, old: new - old if _is_float(new) else new, extras, state.extras)
        return (pass_states, jax.tree.map(_add, total, (gradients, changes))), metrics

    numbers = jnp.arange(n, dtype=jnp.int32)
    if any(state.players[name].once for name in learns):
        # The first part alone, since only there these collections change.
        first = jax.tree.map(lambda x: x[0], (numbers, pieces))
        (pass_states, total), metrics = one((pass_states, zeros), first)
        rest = jax.tree.map(lambda x: x[1:], (numbers, pieces))
        (pass_states, total), others = _scan(one, pass_states, total, rest)
        metrics = jax.tree.map(lambda x, rest: (x + jnp.sum(rest)) / n, metrics, others)
    else:
        (pass_states, total), history = _scan(one, pass_states, zeros, (numbers, pieces))
        metrics = jax.tree.map(jnp.mean, history)
    gradients, changes = jax.tree.map(lambda x: x / n if _is_float(x) else x, total)
    # Changes are added up, so that extras that no objective touches stay the same to the bit.
    extras = jax.tree.map(lambda old, new: old + new if _is_float(new) else new, state.extras, changes)
    return gradients, (pass_states, extras, metrics)


def _scan(one: Callable[..., Any], pass_states: dict[str, PassState], total: PyTree, parts: PyTree) -> tuple[Any, Any]:
    """Runs `jax.lax.scan` of `one`. Counts of passes are no arrays, so each part counts from where the
    first one began."""
    passes = {name: of.passes for name, of in pass_states.items()}

    def body(carry: tuple[PyTree, PyTree], part: PyTree) -> tuple[Any, Any]:
        variables, total = carry
        pass_states = {name: PassState(variables[name], passes[name]) for name in passes}
        (pass_states, total), metrics = one((pass_states, total), part)
        return ({name: of.variables for name, of in pass_states.items()}, total), metrics

    start = {name: of.variables for name, of in pass_states.items()}, total
    (variables, total), metrics = jax.lax.scan(body, start, parts)
    return ({name: PassState(variables[name], passes[name]) for name in passes}, total), metrics


def _warn(n: int, state: GANState, across: Sequence[str]) -> None:
    layers = dict.fromkeys(what for player in state.players.values() for what in player.across)
    if looking := [*layers, *across]:
        warnings.warn(
            f"{' and '.join(looking)} can see only each of the {n} parts of an accumulated batch by itself: expect "
            "other numbers than from the whole batch at once",
            stacklevel=1,
        )


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def _zeros(x: jax.Array) -> jax.Array:
    return jnp.zeros_like(x) if _is_float(x) else x


def _add(total: jax.Array, x: jax.Array) -> jax.Array:
    return total + x if _is_float(x) else x
