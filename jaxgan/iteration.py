"""Steps: pure functions `(state, batch) -> (state, metrics)` that work under `jit`, `scan`, `vmap` and `shard_map`.
Steps are combined by `iteration`, which is what a run repeats, and by `repeat`.

A batch is any pytree of arrays with a leading axis of B examples. Under `pmap`, `shard_map` or `vmap(axis_name=...)` it
is this device's share. Metrics are a flat dict of scalars.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.devices import global_count
from jaxgan.draw import batch_size
from jaxgan.ema import ema, power_ema, warmed_up
from jaxgan.schedules import Schedule, scheduled
from jaxgan.standing import map_statistics
from jaxgan.state import GANState, Variables

__all__ = ["Metrics", "Step", "StepFunction", "as_step", "iteration", "merged", "parts", "repeat"]

PyTree = Any

Metrics = dict[str, jax.Array]
"""Numbers by name: scalars, `discriminator/loss`."""

StepFunction = Callable[[GANState, PyTree], tuple[GANState, Metrics]]
"""A step: state and batch to the next state and its metrics."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A function `(state, batch) -> (state, metrics)` with what a step that contains it needs to know.

    axis_name: the mapped axis that holds the batch's shards, None where the batch is complete.
    repeats: the number of batches of B examples that one call takes.
    size: B, for batches without arrays to tell it.
    counts: whether a call counts itself in the state's `step`, as an `iteration` does.
    A function of your own is a step as it is; give it an `axis_name` by `Step(function, "data")`.
    """

    function: StepFunction
    axis_name: str | None = None
    repeats: int = 1
    size: int | None = None
    counts: bool = False

    def __call__(self, state: GANState, batch: PyTree) -> tuple[GANState, Metrics]:
        return self.function(state, batch)


def parts(batch: PyTree, n: int) -> PyTree:
    """Returns n·B examples as `[B, n, ...]`: part j of n holds the B examples j, j + n, j + 2n, ...

    Contiguous blocks of B would be on other devices than the batch they are cut from. These parts stay where they are,
    and a device that cuts its own share gets the same parts. ValueError where n does not divide the examples.
    """
    if not jax.tree.leaves(batch):
        return batch
    if (size := batch_size(batch)) % n:
        raise ValueError(f"expected n·B examples for {n} parts, got {size}, which {n} doesn't divide")
    return jax.tree.map(lambda x: x.reshape(-1, n, *x.shape[1:]), batch)


def repeat(step: StepFunction, n: int) -> Step:
    """Returns `step` repeated n times on n·B examples, B new ones each time: call j gets the examples j, j + n, j + 2n,
    ...

    Metrics are means. In an `iteration`, the other steps get the examples of the last call. ValueError where n does not
    divide the examples.
    """
    if n < 1:
        raise ValueError(f"expected at least 1 repetition, got {n}")
    one = as_step(step)

    def repeated(state: GANState, batch: PyTree) -> tuple[GANState, Metrics]:
        pieces = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), parts(batch, n))
        state, metrics = jax.lax.scan(step, state, pieces, length=n)
        return state, jax.tree.map(jnp.mean, metrics)

    return Step(repeated, one.axis_name, n * one.repeats, one.size, getattr(one, "counts", False))


def iteration(*steps: StepFunction, schedules: Mapping[str, Schedule] | None = None) -> Step:
    """Returns one iteration of the given steps in turn. It alone increases the state's `step` and updates the averages.

    schedules: by name in `hyper`, for the complete iteration and the averages' half-lives; they count the images of all
        iterations, of a repeated step those of its last call. Their numbers are metrics, `hyper/NAME`.
    ValueError where the steps have different `axis_name`, one is an iteration itself, or there is no step.
    """
    if not steps:
        raise ValueError("an iteration needs at least one step")
    pieces = [as_step(step) for step in steps]
    if any(getattr(piece, "counts", False) for piece in pieces):
        raise ValueError(
            "an iteration inside of another would count twice: give one iteration all steps, iteration(d_step, g_step)"
        )
    most = max(piece.repeats for piece in pieces)
    axis_name, *others = {piece.axis_name for piece in pieces}
    if others:
        names = ", ".join(repr(piece.axis_name) for piece in pieces)
        raise ValueError(
            f"the steps of one iteration were made with different axis_name ({names}); give all of them the same one, "
            "a function of your own by Step(function, axis_name)"
        )
    given = next((piece.size for piece in pieces if piece.size), None)

    def step(state: GANState, batch: PyTree) -> tuple[GANState, Metrics]:
        divided, hyper = parts(batch, most), state.hyper
        size = global_count(given or batch_size(divided), axis_name)
        metrics: Metrics = {}
        if schedules:
            state = scheduled(state, schedules, state.step.astype(jnp.float32) * size)
            metrics = {f"hyper/{name}": state.hyper[name] for name in schedules}
        for piece in pieces:
            own = jax.tree.map(lambda x, n=piece.repeats: x[:, most - n :].reshape(-1, *x.shape[2:]), divided)
            state, more = piece(state, own)
            metrics = merged(metrics, more)
        state = state.replace(step=state.step + 1)
        return state.replace(ema=_averages(state, size), hyper=hyper), metrics

    return Step(step, axis_name, most, given, counts=True)


def merged(metrics: Metrics, more: Metrics) -> Metrics:
    """Returns the metrics of both steps. Only a number that follows a schedule may be in both; ValueError
    for others."""
    if twice := sorted(name for name in set(metrics) & set(more) if not name.startswith("hyper/")):
        raise ValueError(f"two steps report {', '.join(twice)}; give one of them another name, `update(..., name=)`")
    return metrics | more


def as_step(step: Any) -> Any:
    """Returns a step with axis and repeats, as `Step` and `jaxgan.update.Update` have them. ValueError for what is
    no function."""
    if not callable(step):
        raise ValueError(f"expected steps, iteration(d_step, g_step), got {type(step).__name__}")
    return step if hasattr(step, "repeats") else Step(step)


def _averages(state: GANState, size: int) -> dict[str, Variables]:
    """Returns the averages after `size` more images. Batch statistics are averages already, and are copied as all other
    collections are, unless `hyper` has `ema_statistics`, which averages them as the parameters are."""
    # In 21 states of 4 runs on MNIST (DCGAN) the averaged weights' own statistics had a better Fréchet distance in 13,
    # statistics averaged with the same half-life in 9: not enough to change what is drawn.
    images = state.step.astype(jnp.float32) * size
    after = {}
    for name, old in state.ema.items():
        average: Callable[[PyTree, PyTree], PyTree]
        if name not in state.players:
            whose, _, width = name.rpartition(":")
            player = state.players[whose]
            average = partial(power_ema, step=state.step, gamma=state.hyper[f"power_ema/{width}"])
        else:
            player = state.players[name]
            own = f"{name}/ema_half_life"
            half_life = state.hyper[own if own in state.hyper else "ema_half_life"]
            average = partial(ema, images=size, half_life=warmed_up(half_life, images))
        after[name] = {"params": average(old["params"], player.params), **player.variables}
        if "ema_statistics" in state.hyper:
            averaged = state.hyper["ema_statistics"] > 0

            def statistic(
                new: jax.Array, old: jax.Array, average: Any = average, averaged: jax.Array = averaged
            ) -> jax.Array:
                return jnp.where(averaged, average(old, new), new)

            after[name] = map_statistics(statistic, after[name], old)
    return after
