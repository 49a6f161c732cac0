"""Runs of several GANs at once: `--seeds` and `--sweep`, the state that they make, and what the loop says of them."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.ensemble import Ensemble, axes, begin
from jaxgan.printable import shortened
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.options import MOST_GANS, Options
from jaxgan.training.recipe.gan import GAN

__all__ = ["Member", "ensemble_of", "members_of"]

State = Any


class Member(NamedTuple):
    """One of a run's GANs: its seed, and by name the number of the state's `hyper` that `--sweep` sets."""

    number: int
    seed: int
    swept: dict[str, float]

    def __str__(self) -> str:
        swept = "".join(f", {name} {value:g}" for name, value in self.swept.items())
        return f"member {self.number} (seed {self.seed}{swept})"


def members_of(options: Options) -> list[Member]:
    """Returns the GANs that the options ask for, seeds varying fastest; none for a single one without a sweep.
    UsageError where `--sweep` can't be read."""
    if options.seeds == 1 and options.sweep is None:
        return []
    swept = [{}] if options.sweep is None else _swept(options.sweep)
    seeds = range(options.seed, options.seed + options.seeds)
    if len(swept) * len(seeds) > MOST_GANS:
        raise UsageError(f"--seeds and --sweep ask for {len(swept) * len(seeds)} GANs; at most {MOST_GANS} at once")
    pairs = itertools.product(swept, seeds)
    return [Member(number, seed, swept) for number, (swept, seed) in enumerate(pairs)]


def _swept(text: str) -> list[dict[str, float]]:
    name, _, values = (part.strip() for part in text.rpartition("="))
    try:
        numbers = [float(value) for value in values.split(",")]
    except ValueError:
        numbers = [math.nan]
    with np.errstate(over="ignore"):
        stored = np.asarray(numbers, np.float32)  # as the state has them
    if not name or not np.isfinite(stored).all() or len(np.unique(stored)) < len(stored):
        raise UsageError(
            f"--sweep '{shortened(text)}' is not NAME=VALUE,VALUE,... with finite float32 numbers that differ, "
            "such as discriminator/learning_rate=1e-4,2e-4"
        )
    return [{name: number} for number in numbers]


def ensemble_of(gan: GAN, members: Sequence[Member]) -> GAN:
    """Returns the GAN whose state is an `Ensemble` of these members, and whose samples are theirs, `[S, N, ...]`, of
    the same inputs. Its `iteration` is still that of one member. UsageError where the state's `hyper` lacks what is
    swept."""
    known = getattr(jax.eval_shape(gan.init, jax.random.key(0)), "hyper", {})
    for name in members[0].swept:
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise UsageError(f"--sweep {name}, but the numbers that the state of this run has are: {names}")

    def init(key: jax.Array) -> Ensemble:
        del key  # each member has the one that its seed gives a run of its own
        ensemble = begin(gan.init, jnp.stack([jax.random.key(member.seed) for member in members]))
        own = {name: jnp.array([member.swept[name] for member in members], jnp.float32) for name in members[0].swept}
        if not own:
            return ensemble
        states = ensemble.members
        return ensemble.replace(members=states.replace(hyper={**states.hyper, **own}))

    def sample(state: Ensemble, examples: Any, keys: jax.Array, **how: Any) -> dict[str, jax.Array]:
        alone = lambda state: gan.sample(state, examples, keys, **how)  # noqa: E731 - one line, used at once
        return jax.vmap(alone, in_axes=(axes(state.members),))(state.members)

    return gan._replace(init=init, sample=sample)
