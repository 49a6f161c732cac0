"""Lookahead for games: after every k iterations all players step back towards their earlier weights."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.iteration import Metrics, Step
from jaxgan.state import GANState

__all__ = ["lookahead", "lookahead_start"]

PyTree = Any


def lookahead_start(state: GANState, project: Mapping[str, Callable[[PyTree], PyTree]] | None = None) -> GANState:
    """Returns the state with the slow weights that `lookahead` needs, a copy of all players' parameters. `project` is
    that of `jaxgan.update.update`: it is applied to the slow weights at the start, as it is to a player's fast weights.
    If the set it projects to is convex, weights between the two are in it too."""
    slow = {name: jax.tree.map(jnp.copy, player.params) for name, player in state.players.items()}
    slow |= {name: function(slow[name]) for name, function in (project or {}).items()}
    return state.replace(extras={**state.extras, "lookahead": slow})


def lookahead(iteration: Step, every: int, alpha: float = 0.5) -> Step:
    """Returns `iteration` with lookahead. After every `every`-th iteration slow weights become slow + alpha·(fast -
    slow), for all players at once, and the fast ones continue from there; the optimisers' states are kept.

    Zhang et al. 2019 (arXiv 1907.08610); for games Chavdarova et al. 2021 (arXiv 2006.14567), algorithm 1, against the
    rotation of games. Averages are those of the fast weights. ValueError for `every` below 1, alpha outside of (0, 1],
    or a single update, which counts no iterations.
    """
    if every < 1 or not 0 < alpha <= 1:
        raise ValueError(f"expected every ≥ 1 and alpha in (0, 1], got every={every}, alpha={alpha}")
    if not getattr(iteration, "counts", False):  # a jitted iteration has its attributes
        raise ValueError(f"lookahead takes an iteration, iteration(d_step, g_step), got {type(iteration).__name__}")

    def step(state: GANState, batch: PyTree) -> tuple[GANState, Metrics]:
        state, metrics = iteration(state, batch)
        if "lookahead" not in state.extras:
            raise ValueError("the state's extras lack 'lookahead'; begin with lookahead_start(state)")
        slow = state.extras["lookahead"]
        fast = {name: player.params for name, player in state.players.items()}

        def meet() -> tuple[PyTree, PyTree]:
            met = jax.tree.map(lambda s, f: s + alpha * (f - s), slow, fast)
            return met, met

        slow, fast = jax.lax.cond(state.step % every == 0, meet, lambda: (slow, fast))
        players = {name: player.replace(params=fast[name]) for name, player in state.players.items()}
        return state.replace(players=players, extras={**state.extras, "lookahead": slow}), metrics

    return Step(step, iteration.axis_name, iteration.repeats, iteration.size, iteration.counts)
