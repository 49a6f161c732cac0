"""Numbers of `GANState.hyper` that change as a run goes on, by the images seen: rates, weights, half-lives.

A schedule is `(images, base) -> value`, where `base` is the number in `hyper` (None for one that only the optimiser
has). `update` and `iteration` take them by name. `<player>/NAME` is handed on to the player's optimiser where that was
made with `optax.inject_hyperparams`: `schedules={"generator/b2": cosine(0.9, 0.99, 1e6)}`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.state import GANState

__all__ = ["Schedule", "cosine", "injected", "linear", "scheduled"]

PyTree = Any
Schedule = Callable[[jax.Array, Any], Any]


def linear(start: float, end: float, images: float) -> Schedule:
    """Returns the schedule from `start` to `end` over so many images, and `end` from there on."""
    return lambda count, base: start + (end - start) * jnp.minimum(count / images, 1.0)


def cosine(start: float, end: float, images: float) -> Schedule:
    """Returns the schedule from `start` to `end` along half a cosine over so many images, and `end` from there on.
    Loshchilov & Hutter 2017 (arXiv 1608.03983), equation 5, without restarts."""
    return lambda count, base: end + (start - end) * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(count / images, 1.0)))


def scheduled(state: GANState, schedules: Mapping[str, Schedule], images: jax.Array) -> GANState:
    """Returns the state with the schedules' numbers in `hyper`, float32. ValueError for a name that neither `hyper` nor
    a player's optimiser has."""
    known = set(state.hyper)
    for name, player in state.players.items():
        known |= {f"{name}/{key}" for key in _hyperparameters(player.opt_state)}
    if unknown := set(schedules) - known:
        raise ValueError(f"schedules for {sorted(unknown)}, of which nobody knows; there are {sorted(known)}")
    now = {name: jnp.asarray(f(images, state.hyper.get(name)), jnp.float32) for name, f in schedules.items()}
    return state.replace(hyper={**state.hyper, **now})


def injected(player: str, opt_state: PyTree, hyper: Mapping[str, jax.Array]) -> PyTree:
    """Returns an optimiser's state with the numbers that `hyper` has for it as `<player>/NAME`; the learning rate is
    none of them, since updates multiply by it."""

    def inject(node: Any) -> Any:
        if not _injects(node):
            return node
        own = {
            name: jnp.asarray(hyper.get(f"{player}/{name}", value), jnp.result_type(value))
            for name, value in node.hyperparams.items()
            if name != "learning_rate"
        }
        return node._replace(hyperparams={**node.hyperparams, **own})

    return jax.tree.map(inject, opt_state, is_leaf=_injects)


def _injects(node: Any) -> bool:
    return hasattr(node, "hyperparams")


def _hyperparameters(opt_state: PyTree) -> set[str]:
    nodes = jax.tree.leaves(opt_state, is_leaf=_injects)
    return {name for node in nodes if _injects(node) for name in node.hyperparams}
