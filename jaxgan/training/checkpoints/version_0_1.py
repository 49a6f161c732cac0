"""States that jaxgan 0.1 saved, which knew one generator and one discriminator, under the names that they had there.
Names of options that have changed are in `options.options`."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import jax

from jaxgan.ensemble import Ensemble
from jaxgan.state import GANState, TrainState

__all__ = ["of_version_0_1"]

PyTree = Any
PLAYERS = {"generator", "discriminator"}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Before:
    """The state of 0.1, its fields in the order in which digests of its arrays were saved."""

    step: jax.Array
    key: jax.Array
    generator: TrainState
    discriminator: TrainState
    ema: PyTree
    hyper: dict[str, jax.Array]
    extras: dict[str, PyTree]


def of_version_0_1(like: PyTree, saved: Collection[str]) -> tuple[PyTree, Callable[[PyTree], PyTree]]:
    """Returns what to restore for a state that is to be like `like`, and what makes such a state of it. `saved` are the
    names of the fields that a file has; of an ensemble, those of its members.

    ValueError where the file is of 0.1 and a plain GAN's state, which alone there was then, is not what is asked for.
    """
    if not set(saved) >= PLAYERS:
        return like, lambda state: state
    if isinstance(like, Ensemble):
        members, of_today = of_version_0_1(like.members, saved)
        return like.replace(members=members), lambda state: state.replace(members=of_today(state.members))
    if not isinstance(like, GANState) or set(like.players) != PLAYERS or set(like.ema) != {"generator"}:
        raise ValueError("it was written by jaxgan 0.1, whose runs had one generator and one discriminator")
    before = _Before(
        like.step, like.key, like.generator, like.discriminator, like.ema["generator"], like.hyper, like.extras
    )

    def back(state: _Before) -> GANState:
        players = {"generator": state.generator, "discriminator": state.discriminator}
        # In the order of `like`, as another makes another tree.
        return GANState(
            state.step,
            state.key,
            {name: players[name] for name in like.players},
            {"generator": state.ema},
            state.hyper,
            state.extras,
        )

    return before, back
