"""Ensembles: many GANs in one program, with their states stacked along a leading axis of members, trained side by side.

A member is trained exactly as it would be alone: it has its own key, and so its own initial weights, data order and
draws, and its own `hyper`. Only counters are shared, so that code that depends on them (a lazy term) remains a branch,
instead of computing both sides.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

__all__ = ["Ensemble", "axes", "begin", "finite", "map_members", "member", "stack"]

PyTree = Any
State = Any  # a pytree with `step` and `key`
Metrics = dict[str, jax.Array]


class Ensemble(struct.PyTreeNode):
    """The state of an ensemble.

    members: the members' states, each array `[S, ...]`; counters are those of a single member. frozen: int32 `[S]`, the
    iteration in which a member would have become NaN or infinite, 0 for none; it has kept its state from before that
    iteration. Counters go on with the other members."""

    members: State
    frozen: jax.Array

    @property
    def step(self) -> jax.Array:
        """Returns the number of iterations done, int32 scalar."""
        step: jax.Array = self.members.step
        return step

    @property
    def key(self) -> jax.Array:
        """Returns the members' keys `[S]`."""
        key: jax.Array = self.members.key
        return key


def axes(state: State) -> PyTree:
    """Returns the axis of members for each leaf of a state: 0, or None for counters, which are integers `[]` in fields
    named `step`. The state may be that of one member, or an ensemble's `members`."""
    return jax.tree.map_with_path(_axis, state)


def _axis(path: Any, leaf: Any) -> int | None:
    counts = jnp.ndim(leaf) == 0 and jnp.issubdtype(jnp.result_type(leaf), jnp.integer)
    return None if counts and jax.tree_util.keystr(path[-1:], simple=True) == "step" else 0


def begin(init: Callable[[jax.Array], State], keys: jax.Array) -> Ensemble:
    """Returns an ensemble of the states that `init` makes of keys `[S]`."""
    # By leaves, as in `stack`: each call of `init` may make another tree.
    alone = jax.eval_shape(init, keys[0])
    stacked = [_axis(path, leaf) for path, leaf in jax.tree.leaves_with_path(alone)]
    leaves = jax.vmap(lambda key: jax.tree.leaves(init(key)), out_axes=stacked)(keys)
    return Ensemble(jax.tree.unflatten(jax.tree.structure(alone), leaves), jnp.zeros(len(keys), jnp.int32))


def stack(states: Sequence[State]) -> Ensemble:
    """Returns an ensemble of these states. ValueError where their counters differ, since an ensemble has a single one
    of each."""
    # By leaves: states that were made by separate calls differ as trees, in the functions that they hold.
    first, *others = (jax.tree.unflatten(jax.tree.structure(states[0]), jax.tree.leaves(state)) for state in states)

    def joined(axis: int | None, *leaves: jax.Array) -> jax.Array:
        if axis == 0:
            return jnp.stack(leaves)
        if len({int(leaf) for leaf in leaves}) > 1:
            raise ValueError(f"these states are at different steps: {', '.join(str(int(leaf)) for leaf in leaves)}")
        return leaves[0]

    return Ensemble(_map(joined, first, *others), jnp.zeros(len(states), jnp.int32))


def member(ensemble: Ensemble, number: int) -> State:
    """Returns one member's state, as if it had been trained alone. IndexError where there is no such member."""
    if not 0 <= number < len(ensemble.frozen):
        raise IndexError(f"member {number} of an ensemble of {len(ensemble.frozen)}; they are numbered from 0")
    return _map(lambda axis, leaf: leaf if axis is None else leaf[number], ensemble.members)


def map_members(
    step: Callable[..., tuple[State, Metrics]], axis_name: str | None = None
) -> Callable[..., tuple[Ensemble, Metrics]]:
    """Maps a step over the members: returns `(state, *inputs) -> (state, metrics)` for an ensemble, whose inputs and
    metrics have a leading axis of members too.

    If a step makes a member's state or metrics NaN or infinite, the member keeps its state from before that step for
    good, except for its counters; its metrics are NaN from the next step on. axis_name: the mesh's axis that members
    are spread over, if there is one.
    """

    def alone(state: State, frozen: jax.Array, *inputs: Any) -> tuple[State, jax.Array, Metrics]:
        after, metrics = step(state, *inputs)
        going = frozen == 0
        good = going & finite((after, metrics))
        state = _map(lambda axis, new, old: new if axis is None else jnp.where(good, new, old), after, state)
        frozen = jnp.where(going & ~good, after.step, frozen)
        return state, frozen, jax.tree.map(lambda value: jnp.where(going, _float(value), jnp.nan), metrics)

    def all_members(ensemble: Ensemble, *inputs: Any) -> tuple[Ensemble, Metrics]:
        states = axes(ensemble.members)
        mapped = jax.vmap(
            alone, in_axes=(states, 0, *(0 for _ in inputs)), out_axes=(states, 0, 0), spmd_axis_name=axis_name
        )
        members, frozen, metrics = mapped(ensemble.members, ensemble.frozen, *inputs)
        return Ensemble(members, frozen), metrics

    return all_members


def _map(function: Callable[..., Any], state: State, *others: State) -> State:
    """Maps `function(axis, leaf, ...)` over the leaves of states."""
    return jax.tree.map(function, axes(state), state, *others, is_leaf=lambda x: x is None)


def _float(value: jax.Array) -> jax.Array:
    """Returns a metric as a number that can be NaN: an integer or a boolean becomes float32."""
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.float32)


def finite(tree: PyTree) -> jax.Array:
    """Returns whether no float of a pytree is NaN or infinite; true without floats."""
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in floats], bool))
