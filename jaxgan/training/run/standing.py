"""The state of a run with standing statistics in its generator, see `jaxgan.standing`."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxgan.data.sets import LABEL
from jaxgan.standing import batch_statistics, has_statistics, map_statistics
from jaxgan.state import GANState, Variables
from jaxgan.terminal import progress_bar
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.recipe.gan import Weights

if TYPE_CHECKING:
    from jaxgan.training.run.open_run import OpenRun

__all__ = ["standing_state"]

PLAYER = "generator"
OWN = 2**32 - 1  # folded into the seed's key, which the numbers of samples, below 2^31, are folded into as well


def standing_state(run: "OpenRun", passes: int, weights: Weights, seed: int) -> GANState:
    """Returns the run's state with batch statistics of these weights that are the mean over so many training passes.
    UsageError as `OpenRun.with_standing_statistics`."""
    if passes < 1:
        raise UsageError(f"standing statistics are the mean over 1 pass or more, got {passes}")
    if run.members:
        raise UsageError(f"{run.directory} has {len(run.members)} GANs: name one of them (--member)")
    state, latents = run.state, run.gan.latents
    known = isinstance(state, GANState) and PLAYER in state.players
    if latents is None or not known or not has_statistics(state.variables_of(PLAYER, weights)):
        raise UsageError(
            f"no standing statistics: {run.directory} has no generator that is fed with latents and has batch norms"
        )
    size, variables = run.options.batch_size, state.variables_of(PLAYER, weights)
    root = jax.random.fold_in(jax.random.key(seed), OWN)

    @jax.jit
    def one(variables: Variables, number: jax.Array, asked: dict[str, Any]) -> Variables:
        key = jax.random.fold_in(root, number)
        drawn = latents.draw(run.drawing.decoded(asked), jax.random.split(key, size))
        inputs = drawn["latent"], drawn.get("condition")
        return batch_statistics(state.players[PLAYER], variables, *inputs, key=key)[1]

    total = map_statistics(jnp.zeros_like, variables)
    with progress_bar(passes, "estimating batch statistics", unit="passes") as bar:
        for number in range(passes):
            labels = {LABEL: run.drawing.labels(number * size, size)} if run.data.classes else {}
            each = one(variables, jnp.uint32(number), labels)
            total = map_statistics(lambda sums, now: sums + now / passes, total, each)
            bar.update(1)
    return _replaced(state, weights, map_statistics(lambda _, mean: mean, variables, total))


def _replaced(state: GANState, weights: Weights, variables: Variables) -> GANState:
    if weights == "raw":
        others = {name: value for name, value in variables.items() if name != "params"}
        return state.replace(**{PLAYER: state.players[PLAYER].replace(variables=others)})
    return state.replace(ema={**state.ema, PLAYER if weights == "ema" else f"{PLAYER}:{weights}": variables})
