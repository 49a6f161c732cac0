"""Lookahead for two players: after every k iterations both step back towards where they were."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.game import Metrics
from jaxgan.state import GANState
from jaxgan.steps import Step
from jaxgan.terms import Example

__all__ = ["lookahead", "lookahead_start"]

PyTree = Any
PLAYERS = ("generator", "discriminator")


def lookahead_start(state: GANState, project: Callable[[PyTree], PyTree] | None = None) -> GANState:
    """The state with the slow weights, a copy of both players' parameters, that `lookahead` needs. `project` as for
    `steps.make_d_step`: what holds the discriminator's fast weights holds its slow ones from the beginning, and what
    lies between the two as well, if the set it projects to is convex."""
    slow = {player: jax.tree.map(jnp.copy, getattr(state, player).params) for player in PLAYERS}
    if project:
        slow["discriminator"] = project(slow["discriminator"])
    return state.replace(extras={**state.extras, "lookahead": slow})


def lookahead(iteration: Step, every: int, alpha: float = 0.5) -> Step:
    """`iteration`, after every `every`-th of which slow weights become slow + alpha·(fast - slow), for both players at
    once, and the fast ones begin there again; optimisers' states go on. Zhang et al. 2019 (arXiv 1907.08610); for games
    Chavdarova et al. 2021 (arXiv 2006.14567), algorithm 1, against their rotation. The generator's average is that of
    the fast weights. ValueError for `every` below 1 or alpha outside (0, 1].
    """
    if every < 1 or not 0 < alpha <= 1:
        raise ValueError(f"expected every ≥ 1 and alpha in (0, 1], got every={every}, alpha={alpha}")

    def step(state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        state, metrics = iteration(state, batch)
        slow = state.extras["lookahead"]
        fast = {player: getattr(state, player).params for player in PLAYERS}

        def meet() -> tuple[PyTree, PyTree]:
            met = jax.tree.map(lambda s, f: s + alpha * (f - s), slow, fast)
            return met, met

        slow, fast = jax.lax.cond(state.step % every == 0, meet, lambda: (slow, fast))
        players = {player: getattr(state, player).replace(params=fast[player]) for player in PLAYERS}
        return state.replace(**players, extras={**state.extras, "lookahead": slow}), metrics

    return Step(step, iteration.axis_name, iteration.repeats)
