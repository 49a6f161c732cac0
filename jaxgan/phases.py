"""Phases: one step in the first iterations of a run and another afterwards, as where a generator learns alone before a
discriminator joins in."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.iteration import Metrics, Step, StepFunction, as_step
from jaxgan.state import GANState

__all__ = ["phases"]

PyTree = Any


def phases(first: StepFunction, second: StepFunction, steps: int) -> Step:
    """Returns `first` as the step of the iterations up to `steps`, by the state's counter, and `second` as that of all
    others. It is a branch: only one of them is computed, in an ensemble too, whose members share the counter.

    Both see all of the batch. Metrics that only one of them has are 0 in the other's iterations. Both may be iterations
    themselves, and are then one together. ValueError for a negative number, and where one is an iteration and the other
    isn't, they have different `axis_name` or sizes, or take another number of batches.
    """
    if steps < 0:
        raise ValueError(f"expected the iterations of the first phase, 0 or more, got {steps}")
    one, other = as_step(first), as_step(second)
    counts = [getattr(step, "counts", False) for step in (one, other)]
    if counts[0] != counts[1]:
        raise ValueError("one of two phases is an iteration and the other isn't: the state's step would stand still")
    for what in ("axis_name", "repeats", "size"):
        here, there = getattr(one, what), getattr(other, what)
        if here != there:
            raise ValueError(f"two phases must have the same {what}, got {here!r} and {there!r}")

    def step(state: GANState, batch: PyTree) -> tuple[GANState, Metrics]:
        # Traced once for both uses of each: what metrics it has, and its branch.
        branches = [functools.partial(jax.jit, inline=True)(lambda *inputs, do=do: do(*inputs)) for do in (one, other)]
        have = [jax.eval_shape(branch, state, batch)[1] for branch in branches]
        absent = {name: jnp.zeros(like.shape, like.dtype) for metrics in have for name, like in metrics.items()}

        def filled(number: int) -> tuple[GANState, Metrics]:
            after, metrics = branches[number](state, batch)
            return after, absent | metrics

        return jax.lax.cond(state.step < steps, lambda: filled(0), lambda: filled(1))

    return Step(step, one.axis_name, one.repeats, one.size, counts[0])
