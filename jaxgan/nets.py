"""Players as an objective sees them: networks that can be called, and whose variables change with a
learner's passes."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state

from jaxgan.draw import Draw
from jaxgan.state import GANState, TrainState, Variables

__all__ = ["Net", "Nets", "PassState", "nets_of"]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["variables"], meta_fields=["passes"])
@dataclasses.dataclass(frozen=True)
class PassState:
    """The state of a player's network between passes: its variables, and the number of passes so far, `(training,
    frozen)`."""

    variables: Variables
    passes: tuple[int, int] = (0, 0)


class Net:
    """A player in an update.

    It is called like its network, for a training pass. The passes of a player that learns change its variables for the
    next pass; collections of `TrainState.once` change in the first pass only. Passes of other players, and `frozen`
    ones, change nothing. Every pass starts from the variables that earlier passes left behind, and has its own key for
    draws inside.
    """

    def __init__(
        self, name: str, player: TrainState, draw: Draw, *, learns: bool, pass_state: PassState | None = None
    ) -> None:
        self.name, self.player, self.learns = name, player, learns
        self.pass_state = pass_state or PassState(player.variables)
        self._draw = draw
        self._trace = _trace()

    @property
    def params(self) -> Any:
        """Returns the parameters; of a player that learns, those that are differentiated."""
        return self.player.params

    @property
    def variables(self) -> Variables:
        """Returns the other collections, as earlier passes left them."""
        return self.pass_state.variables

    def __call__(self, *inputs: Any, key: jax.Array | str | None = None, train: bool = True, **options: Any) -> Any:
        """Returns the network's output; `options` are those of the network, such as `method` for Linen modules.

        key: a key or a name for the draws inside, by default another one for each pass. ValueError where a player that
        learns is called inside a transformation of the objective's own (grad, cond, scan, vmap, checkpoint), from which
        its changed variables can't come out; `frozen` passes are allowed there.
        """
        if not self.learns:
            return self.frozen(*inputs, key=key, train=train, **options)
        done, frozen = self.pass_state.passes
        mutable = [name for name in {*self.variables, *self.player.once} if not done or name not in self.player.once]
        key = f"{self.name}'s pass {done}" if key is None else key
        player = self.player.replace(variables=self.variables)
        out, changed = self._apply(player, inputs, key, mutable, train, options)
        if _trace() != self._trace:
            raise ValueError(
                f"{self.name} learns and is called inside a transformation (grad, cond, scan, vmap, checkpoint) of the "
                f"objective's own, from which what it changes can't come out: call nets[{self.name!r}].frozen there"
            )
        self.pass_state = PassState({**self.variables, **changed}, (done + 1, frozen))
        return out

    def frozen(
        self,
        *inputs: Any,
        key: jax.Array | str | None = None,
        by: TrainState | None = None,
        train: bool = True,
        **options: Any,
    ) -> Any:
        """Returns the output of a training pass that changes nothing, on the variables that earlier passes left behind,
        or on those of `by`, another state of this player. With `train=False` it is a pass of evaluation."""
        done, frozen = self.pass_state.passes
        if key is None:
            key = f"{self.name}'s frozen pass {frozen}"
            self.pass_state = dataclasses.replace(self.pass_state, passes=(done, frozen + 1))
        player = self.player.replace(variables=self.variables) if by is None else by
        out, _ = self._apply(player, inputs, key, [], train, options)
        return out

    def _apply(
        self,
        player: TrainState,
        inputs: tuple[Any, ...],
        key: jax.Array | str,
        mutable: Sequence[str],
        train: bool,
        options: Mapping[str, Any],
    ) -> tuple[Any, Variables]:
        if not isinstance(key, str) and jnp.ndim(key):
            raise ValueError(
                f"{self.name} takes one key a pass, `key=`, got {jnp.shape(key)} of them; hand those to the network by "
                "position"
            )
        key = self._draw.pass_key(self._draw.key(f"pass: {key}" if isinstance(key, str) else key))
        # The names of the random streams of Linen modules.
        rngs = {"dropout": jax.random.fold_in(key, 0), "noise": jax.random.fold_in(key, 1)}
        out, changed = player.apply_fn(
            player.all_variables, *inputs, train=train, rngs=rngs, mutable=sorted(mutable), **options
        )
        return out, dict(changed)


Nets = dict[str, Net]
"""The networks that an objective is given, by the names of their players."""


def nets_of(
    state: GANState, learns: Sequence[str], draw: Draw, pass_states: Mapping[str, PassState] | None = None
) -> Nets:
    """Returns the networks of a state's players. pass_states: the states that earlier passes of the same update left
    behind."""
    return {
        name: Net(name, player, draw, learns=name in learns, pass_state=(pass_states or {}).get(name))
        for name, player in state.players.items()
    }


def _trace() -> Any:
    """Returns a value that is the same inside of one transformation and differs between transformations."""
    return get_opaque_trace_state(convention="jaxgan")
