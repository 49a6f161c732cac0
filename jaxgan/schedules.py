"""Schedules: numbers of `GANState.hyper` as functions of the images so far in a run: rates, weights, half-lives.

A schedule is `(images, base) -> value`, where `base` is the number in `hyper` (None for a number that only the
optimiser has). `update` and `iteration` take them by name. `<player>/NAME` is passed to the player's optimiser if that
was made with `optax.inject_hyperparams`: `schedules={"generator/b2": cosine(0.9, 0.99, 1e6)}`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.state import GANState

__all__ = ["Schedule", "cosine", "injected", "linear", "ramp", "rates", "scheduled"]

PyTree = Any

Schedule = Callable[[jax.Array, Any], Any]
"""A number's value, of the images so far and its base."""


def linear(start: float, end: float, images: float) -> Schedule:
    """Returns the linear schedule from `start` to `end` over so many images; afterwards it stays at `end`."""
    return lambda count, base: start + (end - start) * jnp.minimum(count / images, 1.0)


def cosine(start: float, end: float, images: float) -> Schedule:
    """Returns the schedule from `start` to `end` along half a cosine over so many images; afterwards it stays at `end`.
    Loshchilov & Hutter 2017 (arXiv 1608.03983), equation 5, without restarts."""
    return lambda count, base: end + (start - end) * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(count / images, 1.0)))


def ramp(start: float, images: float = 0.0) -> Schedule:
    """Returns the schedule that is 0 up to `start` images and then rises to the number's own value, its base, over
    `images` more, at once where these are 0: a loss that joins in later."""

    def schedule(count: jax.Array, base: Any) -> jax.Array:
        since = jnp.asarray(count - start, jnp.float32)
        return base * (jnp.clip(since / images, 0.0, 1.0) if images else jnp.where(since < 0, 0.0, 1.0))

    return schedule


def rates(factor: Callable[[jax.Array], Any] | None, *players: str) -> dict[str, Schedule]:
    """Returns the schedules of the learning rates of these players, each its own rate times `factor(images)`; none
    where that is None."""
    return {f"{player}/learning_rate": lambda images, base: base * factor(images) for player in players if factor}


def scheduled(state: GANState, schedules: Mapping[str, Schedule], images: jax.Array) -> GANState:
    """Returns the state with the schedules' numbers in `hyper`, float32. ValueError for a name that neither `hyper` nor
    a player's optimiser has, or a schedule whose value is no number."""
    known = set(state.hyper)
    for name, player in state.players.items():
        known |= {f"{name}/{key}" for key in _hyperparameters(player.opt_state)}
    if unknown := set(schedules) - known:
        raise ValueError(
            f"schedules for {sorted(unknown)}, which neither hyper nor an optimiser has; there are {sorted(known)}"
        )
    now = {name: jnp.asarray(f(images, state.hyper.get(name)), jnp.float32) for name, f in schedules.items()}
    if wrong := [name for name, value in now.items() if value.ndim]:
        raise ValueError(f"the schedule of {wrong[0]!r} must return a number, got the shape {now[wrong[0]].shape}")
    return state.replace(hyper={**state.hyper, **now})


def injected(player: str, opt_state: PyTree, hyper: Mapping[str, jax.Array]) -> PyTree:
    """Returns an optimiser's state with the numbers in `hyper` that are called `<player>/NAME`, except for the learning
    rate, since updates multiply by it."""

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
