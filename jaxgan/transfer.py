"""Transfer: a network begins with what another has learned, as far as both have arrays of the same path and shape.

    player, found = started(state.players["discriminator"], other.players["discriminator"].all_variables)

Functions of pytrees: of players, of whole states, or of what any other library has made.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.state import GANState, TrainState, Variables, path_name

__all__ = ["Match", "begin_with", "matches", "started", "transferred"]

PyTree = Any
Shape = tuple[int, ...]


class Match(NamedTuple):
    """One array of two pytrees: its path, "params/conv/kernel", its shape in either, None where it isn't there, and
    whether it is taken."""

    path: str
    here: Shape | None
    there: Shape | None
    taken: bool


def matches(here: PyTree, there: PyTree) -> list[Match]:
    """Returns which arrays of `there` can take the place of one of `here`: those of the same path and shape that are
    both floats, or of one type. The arrays of `here` come in their order, then those that only `there` has. Leaves may
    be abstract (`jax.eval_shape`)."""
    mine, theirs = _by_path(here), _by_path(there)
    return [_match(path, mine.get(path), theirs.get(path)) for path in mine | theirs]


def transferred(here: PyTree, there: PyTree) -> tuple[PyTree, list[Match]]:
    """Returns `here` with the arrays that match taken from `there`, in the types they have here, and the matches."""
    found, theirs = matches(here, there), _by_path(there)
    taken = {match.path for match in found if match.taken}

    def one(path: Any, leaf: Any) -> Any:
        name = path_name(path)
        return jnp.asarray(theirs[name], jnp.result_type(leaf)) if name in taken else leaf

    return jax.tree.map_with_path(one, here), found


def started(player: TrainState, variables: Variables) -> tuple[TrainState, list[Match]]:
    """Returns the player before its first update, which begins with the parameters and other collections of `variables`
    (`TrainState.all_variables` of another player) that match its own, and the matches. Its optimiser begins anew."""
    mine, found = transferred(player.all_variables, variables)
    others = {name: collection for name, collection in mine.items() if name != "params"}
    again = TrainState.create(
        apply_fn=player.apply_fn,
        params=mine["params"],
        tx=player.tx,
        variables=others,
        once=player.once,
        across=player.across,
    )
    return again, found


def begin_with(state: GANState, variables: Mapping[str, Variables]) -> GANState:
    """Returns the state, at step 0, whose players of these names are `started` with these variables. Their averages,
    and the copies of their parameters that lookahead and historical averaging store, begin with them too. ValueError
    for a name that is no player's."""
    if unknown := sorted(set(variables) - set(state.players)):
        raise ValueError(f"{unknown[0]!r} is no player of this state; it has {', '.join(state.players)}")
    players = {name: started(state.players[name], theirs)[0] for name, theirs in variables.items()}
    averages, extras = dict(state.ema), dict(state.extras)
    for name, player in players.items():
        # Copies: a program that donates its state may give no buffer away twice.
        for average in state.averages_of(name):
            averages[average] = jax.tree.map(jnp.copy, player.all_variables)
        if f"{name}/history" in extras:
            extras[f"{name}/history"] = jax.tree.map(jnp.copy, player.params)
        if "lookahead" in extras:
            extras["lookahead"] = {**extras["lookahead"], name: jax.tree.map(jnp.copy, player.params)}
    return state.replace(ema=averages, extras=extras, **players)


def _match(path: str, mine: Any, theirs: Any) -> Match:
    here, there = (None if leaf is None else tuple(jnp.shape(leaf)) for leaf in (mine, theirs))
    if here is None or here != there:
        return Match(path, here, there, False)
    types = jnp.result_type(mine), jnp.result_type(theirs)
    floats = all(jnp.issubdtype(each, jnp.floating) for each in types)
    return Match(path, here, there, floats or types[0] == types[1])


def _by_path(tree: PyTree) -> dict[str, Any]:
    return {path_name(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}
