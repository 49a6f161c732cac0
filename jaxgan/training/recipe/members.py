"""Runs of several GANs at once: `--seeds` and `--sweep`, the state that they make, and what the loop says of them."""

import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.ensemble import Ensemble, axes, begin
from jaxgan.nearest import perhaps
from jaxgan.printable import printable
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.options import Options
from jaxgan.training.options.sweep import swept
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
    """Returns the GANs that the options ask for, seeds varying fastest; none for a single one without a sweep."""
    if options.seeds == 1 and options.sweep is None:
        return []
    seeds = range(options.seed, options.seed + options.seeds)
    pairs = itertools.product(swept(options), seeds)
    return [Member(number, seed, swept) for number, (swept, seed) in enumerate(pairs)]


def ensemble_of(gan: GAN, members: Sequence[Member]) -> GAN:
    """Returns the GAN whose state is an `Ensemble` of these members, and whose samples are theirs, `[S, N, ...]`, of
    the same inputs. Its `iteration` is still that of one member. UsageError where the state's `hyper` lacks what is
    swept."""
    known = getattr(jax.eval_shape(gan.init, jax.random.key(0)), "hyper", {})
    for name in members[0].swept:
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            hint = perhaps(re.sub(r"\blr\b", "learning_rate", name), known)
            raise UsageError(
                f"--sweep {printable(name)}, but the numbers that the state of this run has are: {names}{hint}"
            )

    def init(key: jax.Array) -> Ensemble:
        del key  # each member has the one that its seed gives a run of its own
        ensemble = begin(gan.init, jnp.stack([jax.random.key(member.seed) for member in members]))
        own = {name: jnp.array([member.swept[name] for member in members], jnp.float32) for name in members[0].swept}
        if not own:
            return ensemble
        states = ensemble.members
        return ensemble.replace(members=states.replace(hyper={**states.hyper, **own}))

    def sample(state: Ensemble, examples: Any, keys: jax.Array, **how: Any) -> dict[str, jax.Array]:
        names: list[str] = []

        def alone(state: Any) -> dict[str, jax.Array]:
            drawn = gan.sample(state, examples, keys, **how)
            names[:] = drawn
            return drawn

        drawn = jax.vmap(alone, in_axes=(axes(state.members),))(state.members)
        return {name: drawn[name] for name in names}  # in their order: what is mapped comes back sorted

    return gan._replace(init=init, sample=sample, member=gan)
