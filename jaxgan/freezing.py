"""Optimisers under which some parameters stay as they are: whole layers (FreezeD), or single weights that are 0."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgan.state import TrainState, path_name

__all__ = ["freeze", "keep_zeros", "masked"]

PyTree = Any


def masked(
    tx: optax.GradientTransformation, learns: PyTree | Callable[[PyTree], PyTree]
) -> optax.GradientTransformation:
    """Returns `tx` for the parameters that learn: the others keep their bits, as they have neither a gradient nor an
    update, so that neither moments nor weight decay move them.

    learns: for each leaf of the parameters True, False, or an array of booleans of its shape; or a function that makes
        these of the parameters. The optimiser's state has the form that it has without a mask.
    Metrics such as `gradient_norm` are computed before, from all gradients.
    """

    def update(gradients: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        mask = learns(params) if callable(learns) else learns
        updates, state = tx.update(_where(mask, gradients), state, params)
        return _where(mask, updates), state

    return optax.GradientTransformation(tx.init, update)


def _where(mask: PyTree, tree: PyTree) -> PyTree:
    """Returns the tree with zeros where the mask is false."""

    def keep(x: jax.Array, kept: Any) -> jax.Array:
        if isinstance(kept, bool):
            return x if kept else jnp.zeros_like(x)
        return jnp.where(kept, x, jnp.zeros_like(x))

    return jax.tree.map(keep, tree, mask)


def freeze(player: TrainState, layers: Sequence[str]) -> TrainState:
    """Returns the player, of which these layers are never updated. With the lowest layers of a discriminator that was
    trained on other data this is FreezeD, Mo et al. 2020 (arXiv 2002.10964), section 3.

    layers: paths in `params`, such as "down0" or "block/conv1". Other collections, such as batch statistics, follow the
    passes as before. ValueError for a path that no parameter has, and where nothing would learn.
    """
    names = [path_name(path) for path, _ in jax.tree.leaves_with_path(player.params)]
    for layer in layers:
        if not any(_within(name, layer) for name in names):
            known = ", ".join(dict.fromkeys(name.partition("/")[0] for name in names))
            raise ValueError(f"no parameters are called {layer!r}, which were to be frozen; there are {known}")
    frozen = {name for name in names if any(_within(name, layer) for layer in layers)}
    if frozen == set(names):
        raise ValueError(f"with {', '.join(layers)} frozen nothing of this player would learn; freeze fewer layers")
    learns = jax.tree.map_with_path(lambda path, _: path_name(path) not in frozen, player.params)
    return player.replace(tx=masked(player.tx, learns))


def _within(name: str, layer: str) -> bool:
    return name == layer or name.startswith(f"{layer}/")


def keep_zeros(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns `tx` under which weights that are exactly 0, of arrays with two or more axes, stay so: fine-tuning under
    the mask of a network that `jaxgan.pruning` has pruned. The mask is in the weights themselves, so that a run that is
    continued has it too. Not for training from the start, where kernels may begin at 0."""

    def learns(params: PyTree) -> PyTree:
        return jax.tree.map(lambda p: p != 0 if jnp.ndim(p) >= 2 else True, params)

    return masked(tx, learns)
