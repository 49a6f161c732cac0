"""The one primitive: `update(learns, objective)`, a step of the players it names on a common objective.

An objective is an ordinary function that is differentiated with respect to the learners' parameters:

    def translate(nets, batch, draw, state):
        fake = nets["G"](batch["a"])
        return {"adversarial": least_squares.g(nets["D"](fake)), "l1": jnp.abs(fake - batch["b"])}

    step = iteration(update("G", translate, weights={"l1": 100.0}), update("D", judge))

nets: the players, see `jaxgan.nets`. draw: keys and means over devices, see `jaxgan.draw`. state: the GAN's state, in
which the learners have the parameters that are differentiated. It returns losses by name: values `[B, ...]`, or a
pytree of them (scales, layers, domains), whose leaves' means are summed. To return extras or metrics as well, it
returns an `Outcome`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgan import accumulation
from jaxgan.devices import global_count, mean_over
from jaxgan.draw import Draw, batch_size, role_number
from jaxgan.iteration import Metrics
from jaxgan.losses import sum_of_means
from jaxgan.nets import PassState, nets_of
from jaxgan.schedules import Schedule, injected, scheduled
from jaxgan.state import GANState, first_change

__all__ = ["Objective", "Outcome", "Result", "Update", "update"]

PyTree = Any

Objective = Callable[..., Any]
"""What players minimise, `(nets, batch, draw, state) -> losses` or an `Outcome`; see the module's docstring."""

Result = tuple[dict[str, PassState], dict[str, PyTree], Metrics]
"""What an objective leaves: the states of passes, extras, metrics."""


class Outcome(NamedTuple):
    """The results of an objective or a term: losses, extras that change, and metrics that are only logged, arrays of
    any shape, whose means are logged."""

    losses: PyTree
    extras: Mapping[str, PyTree] = {}
    metrics: Mapping[str, jax.Array] = {}


@dataclasses.dataclass(frozen=True, eq=False)  # compared by identity, like a function: scan hashes its body
class Update:
    """A step that `update` makes; for the fields, see there. Its methods are the step's two halves, `total` and `move`,
    for steps such as `jaxgan.joint` that are composed of halves."""

    learns: tuple[str, ...]
    objective: Objective
    name: str
    make: Callable[..., PyTree] | None
    weights: Mapping[str, float | str]
    schedules: Mapping[str, Schedule]
    project: Mapping[str, Callable[[PyTree], PyTree]]
    accumulate: int
    across: tuple[str, ...]
    axis_name: str | None
    size: int | None
    repeats: int = 1

    def __call__(self, state: GANState, batch: PyTree) -> tuple[GANState, Metrics]:
        return self.learn(state, batch)

    def learn(self, state: GANState, batch: PyTree, generated: PyTree = None) -> tuple[GANState, Metrics]:
        """Returns the state after the update, and metrics. generated: the result of `make`, if it has been computed
        already."""
        self.check(state)
        if generated is not None and self.accumulate != 1:
            raise ValueError(
                f"the result of `make` for the whole batch can't be accumulated over {self.accumulate} parts"
            )
        draw, now = self.draw(state, batch), self.at(state, batch)

        def gradients_of(batch: PyTree, draw: Draw, pass_states: dict[str, PassState] | None) -> tuple[PyTree, Result]:
            return jax.grad(self.total, has_aux=True)(self.params(state), now, batch, draw, generated, pass_states)

        if self.accumulate == 1:
            gradients, result = gradients_of(batch, draw, None)
        else:
            gradients, result = accumulation.accumulated(
                gradients_of, self.accumulate, now, batch, draw, self.learns, self.across
            )
        return self.move(state, gradients, result, now.hyper)

    def draw(self, state: GANState, batch: PyTree) -> Draw:
        """Returns the keys and the count of the next update on this batch."""
        step = jnp.asarray(state.players[self.learns[0]].step)
        role = jax.random.fold_in(state.key, role_number("+".join(self.learns)))
        return Draw(jax.random.fold_in(role, step), self.examples(batch), step, self.axis_name)

    def examples(self, batch: PyTree) -> int:
        """Returns B. ValueError where `size` differs from the batch's."""
        if self.size is None or not jax.tree.leaves(batch):
            return self.size or batch_size(batch)
        if batch_size(batch) != self.size:
            raise ValueError(f"size={self.size}, but the batch has {batch_size(batch)} examples; leave size out")
        return self.size

    def at(self, state: GANState, batch: PyTree) -> GANState:
        """Returns the state with `hyper` as the schedules set it for the next update."""
        if not self.schedules:
            return state
        images = jnp.asarray(state.players[self.learns[0]].step, jnp.float32)
        images = images * global_count(self.examples(batch), self.axis_name)
        return scheduled(state, self.schedules, images)

    def params(self, state: GANState) -> dict[str, PyTree]:
        """Returns the learners' parameters by name."""
        return {name: state.players[name].params for name in self.learns}

    def with_params(self, state: GANState, params: Mapping[str, PyTree]) -> GANState:
        """Returns the state in which the learners have these parameters."""
        return state.replace(**{name: state.players[name].replace(params=p) for name, p in params.items()})

    def total(
        self,
        params: dict[str, PyTree],
        state: GANState,
        batch: PyTree,
        draw: Draw,
        generated: PyTree = None,
        pass_states: Mapping[str, PassState] | None = None,
    ) -> tuple[jax.Array, Result]:
        """Returns the weighted sum of losses over the global batch, and the objective's results. pass_states: those
        that passes of this update outside of this function left behind."""
        state = self.with_params(state, params)
        nets = nets_of(state, self.learns, draw, pass_states)
        if self.make is None:
            outcome = self.objective(nets, batch, draw, state)
        else:
            generated = self.make(nets, batch, draw, state) if generated is None else generated
            outcome = self.objective(nets, batch, draw, state, generated)
        outcome = outcome if isinstance(outcome, Outcome) else Outcome(outcome)
        self._check_names(outcome)
        total, metrics = jnp.zeros((), jnp.float32), {}
        for name, values in outcome.losses.items():
            value = draw.mean(sum_of_means(values))
            total += value * self._weight(name, state)
            metrics[f"{self.name}/{name}"] = value
        metrics[f"{self.name}/loss"] = total
        metrics |= {f"{self.name}/{name}": draw.mean(jnp.mean(x)) for name, x in outcome.metrics.items()}
        extras = state.extras | {name: draw.mean(x) for name, x in outcome.extras.items()}
        after = {
            name: dataclasses.replace(nets[name].pass_state, variables=draw.mean(nets[name].variables))
            for name in self.learns
        }
        return total, (after, extras, metrics)

    def move(
        self, state: GANState, gradients: PyTree, result: Result, hyper: Mapping[str, jax.Array]
    ) -> tuple[GANState, Metrics]:
        """Returns the state after a step of the learners' optimisers, with the objective's results, and metrics. hyper:
        that of `at`."""
        after, extras, metrics = result
        gradients = mean_over(gradients, self.axis_name)
        players = {}
        for name in self.learns:
            me, rate = state.players[name], hyper[f"{name}/learning_rate"]
            updates, opt_state = me.tx.update(gradients[name], injected(name, me.opt_state, hyper), me.params)
            params = jax.tree.map(lambda p, u, rate=rate: (p - rate * u).astype(p.dtype), me.params, updates)
            params = self.project[name](params) if name in self.project else params
            players[name] = me.replace(
                step=me.step + 1, params=params, opt_state=opt_state, variables=after[name].variables
            )
        metrics = metrics | {f"hyper/{name}": hyper[name] for name in self.schedules}
        metrics |= {f"{self.name}/gradient_norm": optax.tree.norm(gradients)}
        updated = state.replace(extras=extras, **players)
        if changed := first_change(state, updated):
            hint = "; a state is made with all that objectives store, extras=" if changed.startswith("extras") else ""
            raise ValueError(f"the update {self.name!r} can change no shape or type of the state, but {changed}{hint}")
        return updated, metrics

    def _weight(self, name: str, state: GANState) -> Any:
        weight = self.weights.get(name, 1.0)
        if isinstance(weight, str) and weight not in state.hyper:
            raise ValueError(f"term {name!r} has weight {weight!r}, which hyper lacks; it has {sorted(state.hyper)}")
        return state.hyper[weight] if isinstance(weight, str) else weight

    def check(self, state: GANState) -> None:
        """Raises ValueError where the state lacks a player or a learning rate."""
        if unknown := [name for name in self.learns if name not in state.players]:
            raise ValueError(f"{unknown[0]!r} is no player of this state; it has {sorted(state.players)}")
        if missing := [name for name in self.learns if f"{name}/learning_rate" not in state.hyper]:
            raise ValueError(f"hyper lacks '{missing[0]}/learning_rate'; it has {sorted(state.hyper)}")

    def _check_names(self, outcome: Outcome) -> None:
        if not isinstance(outcome.losses, Mapping):
            raise ValueError(
                f"expected of the objective {self.name!r} a dict of losses by name or an Outcome, got "
                f"{type(outcome.losses).__name__}"
            )
        if unknown := set(self.weights) - set(outcome.losses):
            raise ValueError(
                f"weights for {sorted(unknown)}, which the objective lacks; it has {sorted(outcome.losses)}"
            )
        if empty := [name for name, values in outcome.losses.items() if not jax.tree.leaves(values)]:
            raise ValueError(
                f"the loss {empty[0]!r} of {self.name!r} has no values; return them, or leave the loss out"
            )
        if not outcome.losses:
            raise ValueError(
                f"the objective {self.name!r} has no loss, so that nobody would learn; return at least one"
            )
        reserved = {"loss", "gradient_norm"}
        if clashing := (reserved & {*outcome.losses, *outcome.metrics}) | (set(outcome.losses) & set(outcome.metrics)):
            raise ValueError(f"two numbers of {self.name!r} would be called {sorted(clashing)}; rename yours")


def update(
    learns: str | Sequence[str],
    objective: Objective,
    *,
    name: str | None = None,
    make: Callable[..., PyTree] | None = None,
    weights: Mapping[str, float | str] | None = None,
    schedules: Mapping[str, Schedule] | None = None,
    project: Mapping[str, Callable[[PyTree], PyTree]] | None = None,
    accumulate: int = 1,
    across: Sequence[str] = (),
    axis_name: str | None = None,
    size: int | None = None,
) -> Update:
    """Returns one optimiser step of the players `learns`, as one, on the weighted sum of the losses of `objective`.

    objective: `(nets, batch, draw, state) -> losses | Outcome`; with `make`, its result is the fifth argument.
    name: the first part of the metrics' names; by default the learners', joined with +.
    make: `(nets, batch, draw, state) -> generated`, passes that another update may share, see `jaxgan.joint`.
    weights: of losses by name, numbers or names in the state's `hyper`, which a sweep may vary; 1 for others.
    schedules: by name in `hyper`, see `jaxgan.schedules`; they count the images that the learners have been trained on.
        Their numbers are metrics, `hyper/NAME`.
    project: by player, `params -> params`, applied after its update (`penalties.clip_weights`).
    accumulate: the number of parts that the batch is cut into, one after the other in memory, for one update on the
        mean of their gradients. The draws are the same as with 1, except inside networks. Layers and losses that look
        across examples see a single part; a warning names them: layers by `TrainState.across`, losses by `across`.
    across: losses that look across examples, described in words.
    axis_name: the mapped axis that holds the batch's shards, under `pmap`, `shard_map` or `vmap`; without it the batch
        is complete, on one device or, under `jit`, sharded over many.
    size: B, for a batch that holds no arrays.
    Metrics are scalars: every loss unweighted, `loss`, `gradient_norm` of all learners, and the objective's own.
    ValueError for an unknown player, weight or rate, and for two numbers of one name.
    """
    learners = (learns,) if isinstance(learns, str) else tuple(learns)
    if not learners or len(set(learners)) < len(learners):
        raise ValueError(f"expected the names of players that learn, each once, got {list(learners)}")
    if idle := sorted(set(project or {}) - set(learners)):
        raise ValueError(f"project names {idle}, which don't learn here; the learners are {list(learners)}")
    if accumulate < 1:
        raise ValueError(f"expected at least 1 part to accumulate over, got {accumulate}")
    return Update(
        learns=learners,
        objective=objective,
        name="+".join(learners) if name is None else name,
        make=make,
        weights=dict(weights or {}),
        schedules=dict(schedules or {}),
        project=dict(project or {}),
        accumulate=accumulate,
        across=tuple(across),
        axis_name=axis_name,
        size=size,
    )
