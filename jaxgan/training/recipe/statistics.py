"""Batch statistics of averaged weights, estimated from what a GAN itself draws: `--ema-statistics estimated`."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.draw import role_number
from jaxgan.ensemble import Ensemble, axes
from jaxgan.standing import batch_statistics, has_statistics, map_statistics
from jaxgan.state import GANState, TrainState, Variables
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.optimizer import OptimizerOptions
from jaxgan.training.recipe.gan import GAN, Sample

__all__ = ["ABOUT", "BATCH", "BATCHES", "add_statistics", "check_statistics", "replace_statistics", "statistics_of"]

State = Any
Averages = dict[str, Variables]  # by name as in `GANState.ema`, batch statistics alone

BATCHES, BATCH = 64, 64
# What a score's record says of the batch statistics that averaged weights were drawn with.
ABOUT = {
    "raw": "running averages",
    "averaged": "averaged as the weights are",
    "estimated": f"estimated from {BATCHES} batches of {BATCH}",
}


def check_statistics(options: OptimizerOptions, like: State) -> None:
    """Raises UsageError where `--ema-statistics` asks for what a state like this, which may be abstract, hasn't."""
    if options.ema_statistics != "raw" and not statistics_of(like):
        raise UsageError(
            f"--ema-statistics {options.ema_statistics}, but no averaged network of this experiment has batch "
            "statistics; leave it out"
        )


def statistics_of(state: State) -> Averages:
    """Returns the batch statistics that the averaged weights of a state, or of an ensemble's members, have."""
    averages = getattr(_members(state), "ema", {})
    return {
        name: {"batch_stats": each["batch_stats"]}
        for name, each in averages.items()
        if isinstance(each, dict) and has_statistics(each)
    }


def replace_statistics(state: State, statistics: Averages) -> State:
    """Returns the state with other batch statistics of averaged weights."""
    members = _members(state)
    members = members.replace(ema=members.ema | {name: members.ema[name] | statistics[name] for name in statistics})
    return state.replace(members=members) if isinstance(state, Ensemble) else members


def add_statistics(
    gan: GAN, state: State, total: Averages, number: jax.Array, examples: Any, keys: jax.Array
) -> Averages:
    """Returns the sum of `total`, 0 before batch number 0, and a share of 1 / BATCHES of the statistics of one batch:
    of what each average samples for these examples and keys, see `GAN.sample`, while it normalises by its batch. Pure;
    of an ensemble, those of each member."""

    def of_one(state: GANState, total: Averages) -> Averages:
        found = _batch_of(gan.member.sample if gan.member else gan.sample, state, examples, keys)
        return {
            name: map_statistics(
                lambda before, now: jnp.where(number > 0, before, 0.0) + now / BATCHES, total[name], found[name]
            )
            for name in total
        }

    if not isinstance(state, Ensemble):
        return of_one(state, total)
    mapped: Averages = jax.vmap(of_one, in_axes=(axes(state.members), 0))(state.members, total)
    return mapped


def _batch_of(sample: Sample, state: GANState, examples: Any, keys: jax.Array) -> Averages:
    """Returns the statistics of one batch for each average; of a network that is called several times in a sample,
    their mean, and of one that isn't called, those that it has."""
    found = statistics_of(state)
    for weights in state.weights:
        if weights == "raw":
            continue
        passes: dict[str, list[Variables]] = {}
        players = {
            name: _normalising_by_batch(player, passes.setdefault(name, []), keys[0])
            if (name if weights == "ema" else f"{name}:{weights}") in found
            else player
            for name, player in state.players.items()
        }
        sample(state.replace(players=players), examples, keys, weights=weights)
        for name, each in passes.items():
            average = name if weights == "ema" else f"{name}:{weights}"
            if each:
                found[average] = map_statistics(lambda *values: sum(values) / len(values), *each)
    return found


def _normalising_by_batch(player: TrainState, passes: list[Variables], key: jax.Array) -> TrainState:
    """Returns the player with passes of evaluation that normalise by their batch and append its statistics to
    `passes`."""
    key = jax.random.fold_in(key, role_number("pass: batch statistics"))

    def apply_fn(variables: Variables, *inputs: Any, train: bool = False, **options: Any) -> Any:
        if train:  # normalises by its batch when it draws, too
            return player.apply_fn(variables, *inputs, train=True, **options)
        output, after = batch_statistics(player, variables, *inputs, key=key, **options)
        passes.append({"batch_stats": after["batch_stats"]})
        return output

    return player.replace(apply_fn=apply_fn)


def _members(state: State) -> State:
    return state.members if isinstance(state, Ensemble) else state
