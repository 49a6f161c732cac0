"""Many GANs in one program: their states stacked along a leading axis of members, trained side by side.

A member is trained as it would be alone: it has its own key, and so its own initial weights, data order and draws, and
its own `hyper`. Only counters are shared, so that what depends on them (a lazy term) stays a branch instead of becoming
a computation of both sides.
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
    """members: their states, each array `[S, ...]` but counters, which are as those of one member. frozen: int32 `[S]`,
    the iteration in which a member would have become NaN or infinite, before which it has stayed since; 0 for none.
    Counters go on for those who go on."""

    members: State
    frozen: jax.Array

    @property
    def step(self) -> jax.Array:
        """Iterations done, int32 scalar."""
        step: jax.Array = self.members.step
        return step

    @property
    def key(self) -> jax.Array:
        """The members' keys `[S]`."""
        key: jax.Array = self.members.key
        return key


def axes(state: State) -> PyTree:
    """For each leaf of a state the axis of members in an ensemble's: 0, or None for counters, which are integers `[]`
    in fields named `step`. The state may be that of one member, or an ensemble's `members`."""
    return jax.tree.map_with_path(_axis, state)


def _axis(path: Any, leaf: Any) -> int | None:
    counts = jnp.ndim(leaf) == 0 and jnp.issubdtype(jnp.result_type(leaf), jnp.integer)
    return None if counts and jax.tree_util.keystr(path[-1:], simple=True) == "step" else 0


def begin(init: Callable[[jax.Array], State], keys: jax.Array) -> Ensemble:
    """An ensemble of the states that `init` makes of keys `[S]`."""
    # By leaves, as in `stack`: each call of `init` may make another tree.
    alone = jax.eval_shape(init, keys[0])
    stacked = [_axis(path, leaf) for path, leaf in jax.tree.leaves_with_path(alone)]
    leaves = jax.vmap(lambda key: jax.tree.leaves(init(key)), out_axes=stacked)(keys)
    return Ensemble(jax.tree.unflatten(jax.tree.structure(alone), leaves), jnp.zeros(len(keys), jnp.int32))


def stack(states: Sequence[State]) -> Ensemble:
    """An ensemble of these states. ValueError where their counters, of which it has one each, differ."""
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
    """One member's state, as if it had been trained alone. IndexError where there is no such member."""
    if not 0 <= number < len(ensemble.frozen):
        raise IndexError(f"member {number} of an ensemble of {len(ensemble.frozen)}; they are numbered from 0")
    return _map(lambda axis, leaf: leaf if axis is None else leaf[number], ensemble.members)


def map_members(
    step: Callable[..., tuple[State, Metrics]], axis_name: str | None = None
) -> Callable[..., tuple[Ensemble, Metrics]]:
    """`(state, *inputs) -> (state, metrics)` for an ensemble: inputs and metrics have a leading axis of members too.

    A member that a step makes NaN or infinite, in its state or its metrics, stays as it was before that step for good,
    but for its counters; its metrics are NaN from the next one on. axis_name: the mesh's axis that members are spread
    over, if there is one.
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
    """`function(axis, leaf, ...)` on the leaves of states."""
    return jax.tree.map(function, axes(state), state, *others, is_leaf=lambda x: x is None)


def _float(value: jax.Array) -> jax.Array:
    """A metric as a number that can be NaN: a count or a truth becomes float32."""
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.float32)


def finite(tree: PyTree) -> jax.Array:
    """Whether every float of a pytree is neither NaN nor infinite; true without floats."""
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in floats], bool))
