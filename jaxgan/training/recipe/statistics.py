"""Batch statistics that are estimated from what a GAN itself draws: `--ema-statistics estimated`, of averaged weights,
and `--standing-statistics`, of all."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.draw import role_number
from jaxgan.ensemble import Ensemble, axes
from jaxgan.standing import COLLECTION, batch_statistics, has_statistics, map_statistics
from jaxgan.state import GANState, TrainState, Variables, average_name
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.optimizer import OptimizerOptions
from jaxgan.training.recipe.gan import GAN, Sample, Weights

__all__ = [
    "BATCH",
    "BATCHES",
    "add_statistics",
    "check_statistics",
    "estimated_from",
    "protocol_of",
    "replace_statistics",
    "statistics_of",
]

State = Any
Statistics = dict[str, dict[str, Variables]]  # by the name of weights and by player, batch statistics alone

BATCHES, BATCH = 64, 64


def estimated_from(batches: int, batch: int) -> str:
    """Returns what a score's record says of batch statistics that are the means over so many batches."""
    return f"estimated from {batches} batches of {batch}"


def protocol_of(statistics: str, weights: Weights) -> str:
    """Returns what a score's record says of the batch statistics that weights were drawn with. statistics: as
    `--ema-statistics`."""
    own = {"averaged": "averaged as the weights are", "estimated": estimated_from(BATCHES, BATCH)}
    return "running averages" if weights == "raw" else own.get(statistics, "running averages")


def check_statistics(options: OptimizerOptions, like: State) -> None:
    """Raises UsageError where `--ema-statistics` asks for what a state like this, which may be abstract, hasn't."""
    if options.ema_statistics != "raw" and not statistics_of(like):
        raise UsageError(
            f"--ema-statistics {options.ema_statistics}, but no averaged network of this experiment has batch "
            "statistics; leave it out"
        )


def statistics_of(state: State, *, raw: bool = False) -> Statistics:
    """Returns the batch statistics that the averaged networks of a state, or of an ensemble's members, have: with all
    averaged weights and, where asked for, with the raw ones. Empty where there are none."""
    state = _members(state)
    if not isinstance(state, GANState):
        return {}
    found: Statistics = {}
    for weights in state.weights:
        if raw or weights != "raw":
            variables = {name: state.variables_of(name, weights) for name in state.players if name in state.ema}
            own = {name: {COLLECTION: each[COLLECTION]} for name, each in variables.items() if has_statistics(each)}
            found |= {weights: own} if own else {}
    return found


def replace_statistics(state: State, statistics: Statistics) -> State:
    """Returns the state with these batch statistics in place of its own."""
    members = _members(state)
    players, averages = dict(members.players), dict(members.ema)
    for weights, own in statistics.items():
        for name, each in own.items():
            if weights == "raw":
                players[name] = players[name].replace(variables=players[name].variables | each)
            else:
                average = average_name(name, weights)
                averages[average] = averages[average] | each
    members = members.replace(players=players, ema=averages)
    return state.replace(members=members) if isinstance(state, Ensemble) else members


def add_statistics(
    gan: GAN, state: State, total: Statistics, number: jax.Array, batches: int, examples: Any, keys: jax.Array
) -> Statistics:
    """Returns the sum of `total`, which doesn't count before batch number 0, and a share of 1 / batches of the
    statistics of one batch: of what each of the weights in `total` samples for these examples and keys, see
    `GAN.sample`, while it normalises by its batch. Pure; of an ensemble, those of each member."""
    sample = gan.member.sample if gan.member else gan.sample

    def add(before: jax.Array, now: jax.Array) -> jax.Array:
        return jnp.where(number > 0, before, 0.0) + now / batches

    def of_one(state: GANState, total: Statistics) -> Statistics:
        own = statistics_of(state, raw="raw" in total)
        found = {weights: _batch_of(sample, state, weights, own[weights], examples, keys) for weights in total}
        return {
            weights: {name: map_statistics(add, each, found[weights][name]) for name, each in sums.items()}
            for weights, sums in total.items()
        }

    if not isinstance(state, Ensemble):
        return of_one(state, total)
    mapped: Statistics = jax.vmap(of_one, in_axes=(axes(state.members), 0))(state.members, total)
    return mapped


def _batch_of(
    sample: Sample, state: GANState, weights: Weights, own: Mapping[str, Variables], examples: Any, keys: jax.Array
) -> dict[str, Variables]:
    """Returns the statistics of one batch; of a network that is called several times in a sample, their mean, and of
    one that isn't called, those that it has, `own`."""
    passes: dict[str, list[Variables]] = {name: [] for name in own}
    players = {name: _normalising_by_batch(state.players[name], each, keys[0]) for name, each in passes.items()}
    sample(state.replace(players=state.players | players), examples, keys, weights=weights)
    return {
        name: map_statistics(lambda *values: sum(values) / len(values), *each) if each else own[name]
        for name, each in passes.items()
    }


def _normalising_by_batch(player: TrainState, passes: list[Variables], key: jax.Array) -> TrainState:
    """Returns the player with passes of evaluation that normalise by their batch and append its statistics to
    `passes`."""
    key = jax.random.fold_in(key, role_number("pass: batch statistics"))

    def apply_fn(variables: Variables, *inputs: Any, train: bool = False, **options: Any) -> Any:
        if train:  # normalises by its batch when it draws, too
            return player.apply_fn(variables, *inputs, train=True, **options)
        output, after = batch_statistics(player, variables, *inputs, key=key, **options)
        passes.append({COLLECTION: after[COLLECTION]})
        return output

    return player.replace(apply_fn=apply_fn)


def _members(state: State) -> State:
    return state.members if isinstance(state, Ensemble) else state
