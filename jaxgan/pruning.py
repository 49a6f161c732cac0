"""Magnitude pruning: the smallest weights of a trained network become 0. Han et al. 2015 (arXiv 1506.02626)."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.state import GANState, path_name

__all__ = ["magnitude_masks", "prune", "pruned", "weight_counts"]

PyTree = Any


def magnitude_masks(params: PyTree, share: float, *, per_layer: bool = False) -> PyTree:
    """Returns for each leaf of `params` an array of booleans of its shape: which weights stay.

    Of N weights the round(share · N) that are nearest to 0 go, of equal ones the first: of all arrays together, or
    `per_layer` of each array by itself. Weights are arrays with two or more axes, kernels and embeddings; biases, and
    the scales of norms, all stay. ValueError for a share outside of [0, 1], and where there are no weights.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"expected as the share of weights to prune a number from 0 to 1, got {share}")
    leaves, structure = jax.tree.flatten(params)
    weights = [i for i, leaf in enumerate(leaves) if jnp.ndim(leaf) >= 2]
    if not weights:
        raise ValueError("expected parameters with weights, arrays of two or more axes, to prune; there are none")
    masks = [jnp.ones(jnp.shape(leaf), bool) for leaf in leaves]
    for group in [[i] for i in weights] if per_layer else [weights]:
        flat = jnp.concatenate([jnp.abs(leaves[i]).reshape(-1) for i in group])
        order = jnp.argsort(flat, stable=True)
        stays = jnp.ones(flat.shape, bool).at[order[: round(share * flat.size)]].set(False)
        ends = [0]
        for i in group:
            ends.append(ends[-1] + leaves[i].size)
            masks[i] = stays[ends[-2] : ends[-1]].reshape(leaves[i].shape)
    return jax.tree.unflatten(structure, masks)


def pruned(params: PyTree, masks: PyTree) -> PyTree:
    """Returns the parameters with exact zeros where their masks are false."""
    return jax.tree.map(lambda p, stays: jnp.where(stays, p, jnp.zeros_like(p)), params, masks)


def prune(state: GANState, player: str, masks: PyTree) -> GANState:
    """Returns the state in which this player is pruned: its parameters, its averages, and the slow weights of
    lookahead. Trained under `jaxgan.freezing.keep_zeros` all of them keep their zeros. ValueError for an unknown
    player."""
    if player not in state.players:
        raise ValueError(f"{player!r} is no player of this state; it has {', '.join(state.players)}")
    me = state.players[player]
    averages = dict(state.ema)
    for name in state.averages_of(player):
        averages[name] = {**averages[name], "params": pruned(averages[name]["params"], masks)}
    extras = dict(state.extras)
    if "lookahead" in extras:
        slow = extras["lookahead"]
        extras["lookahead"] = {**slow, player: pruned(slow[player], masks)}
    return state.replace(ema=averages, extras=extras, **{player: me.replace(params=pruned(me.params, masks))})


def weight_counts(params: PyTree) -> dict[str, tuple[int, int]]:
    """Returns by path how many weights an array has, of those with two or more axes, and how many of them aren't 0."""
    return {
        path_name(path): (leaf.size, int(jnp.count_nonzero(leaf)))
        for path, leaf in jax.tree.leaves_with_path(params)
        if jnp.ndim(leaf) >= 2
    }
