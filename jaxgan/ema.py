"""Averages of parameters: exponential ones, with a half-life in images, and power-function ones, whose width grows with
the run, so that several are kept and one is chosen afterwards."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["ema", "power_ema", "power_exponent", "power_weights", "warmed_up", "width_name"]

PyTree = Any
WIDEST = 12**-0.5  # relative width at γ = 0, where all steps weigh the same


def ema(old: PyTree, new: PyTree, images: Any, half_life: Any) -> PyTree:
    """Returns the moving average of a pytree after `images` more images: from the average `old` before them and the
    values `new` after them.

    The share ½^(images / half_life) of `old` remains; with half_life 0 none does. Karras et al. 2018 (arXiv
    1710.10196), section 3, by batches. Integers are counters; they are those of `new`.
    """
    decay = 0.5 ** (images / half_life)

    def average(a: jax.Array, p: jax.Array) -> jax.Array:
        return (p + decay * (a - p)).astype(p.dtype) if jnp.issubdtype(p.dtype, jnp.inexact) else p

    return jax.tree.map(average, old, new)


def warmed_up(half_life: jax.Array, images: jax.Array) -> jax.Array:
    """Returns the half-life after `images` of a run: at most a twentieth of the images, so that an average forgets the
    initial weights. Karras et al. 2020 (arXiv 2006.06676), appendix; their ramp-up 0.05."""
    return jnp.minimum(half_life, 0.05 * images)


def power_ema(old: PyTree, new: PyTree, step: Any, gamma: Any) -> PyTree:
    """Returns the power-function average of a pytree after update `step`, counted from 1: from the average `old` before
    it and the values `new` after it.

    Karras et al. 2024 (arXiv 2312.02696), section 3.1: the values after update τ of t weigh in proportion to about τ^γ,
    as the share β = (1 - 1/t)^(γ + 1) of `old` remains. After the first update the average is `new`: it needs no
    warm-up, and forgets the initial weights. Integers are counters; they are those of `new`.
    """
    # The share of `new`, 1 - β, which float32 would round away for a large t where it is computed as the difference.
    share = -jnp.expm1((gamma + 1) * jnp.log1p(-1 / jnp.asarray(step, jnp.float32)))

    def average(a: jax.Array, p: jax.Array) -> jax.Array:
        return (a + share * (p - a)).astype(p.dtype) if jnp.issubdtype(p.dtype, jnp.inexact) else p

    return jax.tree.map(average, old, new)


def power_exponent(width: float) -> float:
    """Returns the exponent γ of the power-function average of a relative width, 0.05 -> 16.97, 0.1 -> 6.94.

    Karras et al. 2024, section 3.1: the width is the standard deviation of the average's profile as a share of the
    run so far, σ² = (γ + 1) / ((γ + 2)² (γ + 3)); γ is the largest root of that cubic equation. ValueError for a width
    that isn't between 0 and 0.2887 (= 12^-½), where all steps weigh the same.
    """
    if not 0 < width < WIDEST:
        raise ValueError(f"expected a relative width above 0 and below {WIDEST:.4f}, such as 0.05, got {width}")
    square = float(width) ** -2
    return float(np.roots([1, 7, 16 - square, 12 - square]).real.max())


def power_weights(widths: Sequence[float], steps: Sequence[int], width: float, step: int) -> np.ndarray:
    """Returns the weights, float64 `[N]`, with which N stored power-function averages add up to about that of another
    width, or of an earlier step: the sum of weight · average.

    Karras et al. 2024, appendix C.3: the least squares between profiles, over the time of the run. widths, steps: of
    each stored average, all different; more of them, of several steps, come closer. ValueError where they are not as
    many, or none.
    """
    if not len(widths) == len(steps) > 0:
        raise ValueError(f"expected as many widths as steps, 1 or more, got {len(widths)} and {len(steps)}")
    gammas, times = np.array([power_exponent(each) for each in widths]), np.array(steps, np.float64)
    overlaps = _overlap(gammas[:, None], times[:, None], gammas, times)
    wanted = _overlap(gammas, times, power_exponent(width), float(step))
    return np.linalg.solve(overlaps, wanted)


def _overlap(gamma: Any, time: Any, other_gamma: Any, other_time: Any) -> Any:
    """Returns the integral over τ of the product of two profiles (γ + 1) τ^γ / t^(γ + 1), each on 0 < τ < t."""
    both, first = gamma + other_gamma + 1, np.minimum(time, other_time)
    shares = (first / time) ** (gamma + 1) * (first / other_time) ** (other_gamma + 1)
    return (gamma + 1) * (other_gamma + 1) * shares / (both * first)


def width_name(width: float | str) -> str:
    """Returns the name of a relative width, as averages and `weights` have it: 0.10 and "0.10" -> "0.1"."""
    return str(float(width))
