"""Projection into a latent space: codes whose pictures are given ones, found by gradient descent on many at once.

The optimiser of Karras et al. 2020 (arXiv 1912.04958), section 5 and appendix D: Adam, whose rate rises and falls, on
codes to which noise is added that dies away, so that they don't stay in the first hollow. What it descends on is handed
in, so it knows no generator: `loss(code, target) -> number`. All of it is pure; a `Projection` that is saved between
two steps goes on bit for bit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

__all__ = ["Projection", "projection_noise", "projection_rate", "projection_step", "start_projection"]

PyTree = Any
RISE, FALL, NOISY = (
    0.05,
    0.25,
    0.75,
)  # shares of all steps: the rate's rise and its fall, and for how long there is noise
ADAM = optax.scale_by_adam()  # with its usual numbers, as the paper has it


class Projection(NamedTuple):
    """N targets on their way into a latent space, each from S starting points.

    step: int32, steps done. codes: float32 `[N, S, ...]`. moments: Adam's. best: `[N, S, ...]`, of all codes that were
    looked at, noise and all, those with the smallest loss. loss: `[N, S]`, that loss, which never rises; infinite where
    none has been finite.
    """

    step: jax.Array
    codes: jax.Array
    moments: PyTree
    best: jax.Array
    loss: jax.Array


def start_projection(codes: jax.Array) -> Projection:
    """Returns the projection that begins at codes `[N, S, ...]`. ValueError for fewer axes."""
    if codes.ndim < 3:
        raise ValueError(f"codes are [N, S, ...], S starting points for each of N targets, got {list(codes.shape)}")
    codes = jnp.asarray(codes, jnp.float32)
    loss = jnp.full(codes.shape[:2], jnp.inf, jnp.float32)
    return Projection(jnp.zeros((), jnp.int32), codes, ADAM.init(codes), codes, loss)


def projection_rate(step: jax.Array | int, steps: int) -> jax.Array:
    """Returns the learning rate of a step, 0 to `steps` - 1, as a share of the highest: it rises linearly from 0 over
    the first twentieth of the steps and falls to 0 along half a cosine over the last quarter. Appendix D."""
    passed = jnp.asarray(step, jnp.float32) / steps
    fall = 0.5 - 0.5 * jnp.cos(jnp.pi * jnp.minimum(1.0, (1.0 - passed) / FALL))
    return jnp.minimum(1.0, passed / RISE) * fall


def projection_noise(step: jax.Array | int, steps: int) -> jax.Array:
    """Returns the noise of a step as a share of that of the first: t², where t falls linearly from 1 to 0 over three
    quarters of the steps. Appendix D."""
    passed = jnp.asarray(step, jnp.float32) / steps
    return jnp.maximum(0.0, 1.0 - passed / NOISY) ** 2


def projection_step(
    state: Projection,
    loss: Callable[[jax.Array, PyTree], jax.Array],
    targets: PyTree,
    keys: jax.Array,
    *,
    steps: int,
    rate: jax.Array | float,
    noise: jax.Array | float,
    constrain: Callable[[jax.Array], jax.Array] = lambda code: code,
) -> Projection:
    """Takes one more of the `steps` in all towards the targets.

    loss: `(code, target) -> float`, of one code and one target, differentiable in the code. targets: any pytree `[N,
        ...]`. keys: `[N]`, one for each target's noise: what becomes of a target depends on its own key alone.
    rate: the highest learning rate. noise: the deviation of the noise on codes in the first step.
    constrain: `code -> code`, to the nearest that is allowed; applied before the loss is taken, and after the step.

    To be jitted as it is: in a loop within a program XLA's convolutions take several times as long on a CPU.
    """
    deviation = noise * projection_noise(state.step, steps)

    def look(codes: jax.Array, key: jax.Array, target: PyTree) -> tuple[jax.Array, ...]:
        numbers = jax.random.normal(jax.random.fold_in(key, state.step), codes.shape, codes.dtype)
        seen = jax.vmap(constrain)(codes + deviation * numbers)
        return seen, *jax.vmap(jax.value_and_grad(loss), (0, None))(seen, target)

    seen, values, slopes = jax.vmap(look)(state.codes, keys, targets)
    moves, moments = ADAM.update(slopes, state.moments)
    codes = state.codes - rate * projection_rate(state.step, steps) * moves
    codes = jax.vmap(jax.vmap(constrain))(codes)
    better = values < state.loss  # never where it is NaN
    best = jnp.where(better.reshape(*better.shape, *[1] * (codes.ndim - 2)), seen, state.best)
    return Projection(state.step + 1, codes, moments, best, jnp.where(better, values, state.loss))
