"""Steps: pure functions `(state, batch) -> (state, metrics)` that fit `jit`, `scan`, `vmap` and `shard_map`.

A step is made of a *sampler*, which says what the generator is fed, and of *terms* (`jaxgan.terms`). The batch is a
dict of arrays with a leading axis of B examples, `image` in [-1, 1] among them. The sampler gets the batch and B keys
and returns the generator's inputs: `latent`, its first argument, `condition`, its second where present, and whatever
terms want to know. What the generator made of them is `{**inputs, "image": ...}`.

Every draw is keyed by (the run's key, role, that player's count of updates, the example's index in the global batch):
nothing random is saved, and one device draws the same numbers as eight. Draws inside networks come from one key a pass.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.accumulation import accumulated
from jaxgan.game import Game, Left, Metrics, global_count, parts
from jaxgan.samplers import Sampler
from jaxgan.state import GANState, ema_update
from jaxgan.terms import Example, Term

__all__ = [
    "Sampler",
    "Step",
    "StepFunction",
    "iteration",
    "make_d_step",
    "make_g_step",
    "make_joint_step",
    "repeat",
]

PyTree = Any
StepFunction = Callable[[GANState, Example], tuple[GANState, Metrics]]


@dataclasses.dataclass(frozen=True)
class Step:
    """`(state, batch) -> (state, metrics)`, and what a step made of it must know.

    axis_name: the mapped axis that holds the batch's shards, None where the batch is whole.
    repeats: how many batches of B examples one call takes.
    A function of one's own is a step as it is; give it an `axis_name` by `Step(function, "data")`.
    """

    function: StepFunction
    axis_name: str | None = None
    repeats: int = 1

    def __call__(self, state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        return self.function(state, batch)


def make_d_step(sampler: Sampler, terms: Sequence[Term], **options: Any) -> Step:
    """One update of the discriminator on `terms`; the generator stays as it is.

    sampler: `(batch, keys) -> inputs`, see the module's docstring.
    prepare: `example -> example`, applied to real and fake before anything sees them (PacGAN's packing).
    augment: `(example, keys, state) -> example`, before each of D's passes and inside what penalties differentiate
        (differentiable augmentation, instance noise); what it does may depend on the state, such as its counters.
    together: whether D judges real and fake examples as one batch, whose batch normalisation sees both at once, instead
        of one after the other.
    project: `params -> params`, on the discriminator's parameters after its update (`penalties.clip_weights`).
    accumulate: into how many parts the batch is cut, one after the other in memory, for one update on the mean of their
        gradients. The same draws as with 1, but inside networks; whatever looks across examples sees a part.
    schedule: `images -> factor` on the learning rate; counts the images this player has been trained on.
    axis_name: the mapped axis that holds the batch's shards, under `pmap`, `shard_map` or `vmap`; without it the batch
        is whole, on one device or, under `jit`, sharded over many.
    Metrics are scalars named `discriminator/...`: every term unweighted, loss, gradient_norm, real_logits, fake_logits.
    """
    game = Game(sampler, **options)

    def step(state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        feed_key, g_key, *_ = game.keys(state, "discriminator")

        def gradients_of(game: Game, state: GANState, batch: Example, inputs: Example) -> tuple[PyTree, Left]:
            # No stop_gradient on the fakes: a G step may differentiate through this one (unrolled GANs).
            images, _ = game.generate(state.generator, state.generator.params, inputs, g_key)
            return game.d_gradients(terms, state, batch, {**inputs, "image": images})

        result = accumulated(game, "discriminator", terms, gradients_of, state, batch, game.feed(batch, feed_key))
        return game.update("discriminator", state, *result, len(batch["image"]))

    return Step(step, game.axis_name)


def make_g_step(sampler: Sampler, terms: Sequence[Term], **options: Any) -> Step:
    """One update of the generator on `terms`; the discriminator stays as it is. Options as for `make_d_step`; metrics
    are named `generator/...`."""
    game = Game(sampler, **options)

    def step(state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        feed_key, g_key, *_ = game.keys(state, "generator")

        def gradients_of(game: Game, state: GANState, batch: Example, inputs: Example) -> tuple[PyTree, Left]:
            def loss(params: PyTree) -> tuple[jax.Array, Left]:
                images, variables = game.generate(state.generator, params, inputs, g_key, ("batch_stats", "spectral"))
                fake = {**inputs, "image": images}
                total, (_, extras, metrics) = game.objective("generator", terms, state, batch, params, fake)
                return total, (game.mean(variables), extras, metrics)

            return jax.grad(loss, has_aux=True)(state.generator.params)

        result = accumulated(game, "generator", terms, gradients_of, state, batch, game.feed(batch, feed_key))
        return game.update("generator", state, *result, len(batch["image"]))

    return Step(step, game.axis_name)


def make_joint_step(
    sampler: Sampler,
    d_terms: Sequence[Term],
    g_terms: Sequence[Term],
    *,
    simultaneous: bool = False,
    **options: Any,
) -> Step:
    """One update of both on one pass through the generator, whose `vjp` waits while the discriminator learns.

    The generator is judged by the updated discriminator or, with `simultaneous`, by the one before. On the same inputs
    it equals `make_d_step` and then `make_g_step`, at the price of one generator pass less. Options as for
    `make_d_step`, but for `accumulate`: the pass that waits is that of the whole batch (ValueError).
    """
    game = Game(sampler, **options)
    if game.accumulate != 1:
        raise ValueError(
            f"a joint step can't accumulate over {game.accumulate} parts: it keeps the generator's pass over the whole "
            "batch; use iteration(make_d_step(...), make_g_step(...))"
        )

    def step(state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        feed_key, g_key, *_ = game.keys(state, "generator")
        inputs = game.feed(batch, feed_key)
        old = state.generator
        images, pull_back, variables = jax.vjp(
            lambda params: game.generate(old, params, inputs, g_key, ("batch_stats", "spectral")),
            old.params,
            has_aux=True,
        )
        after, d_metrics = game.step_d(d_terms, state, batch, {**inputs, "image": images})
        judged = after.replace(discriminator=state.discriminator) if simultaneous else after

        def loss(params: PyTree, images: jax.Array) -> tuple[jax.Array, Left]:
            return game.objective("generator", g_terms, judged, batch, params, {**inputs, "image": images})

        # Terms may reach the parameters through the images or directly (path length, regularisers).
        (direct, cotangent), (_, extras, metrics) = jax.grad(loss, (0, 1), has_aux=True)(old.params, images)
        gradients = jax.tree.map(jnp.add, direct, pull_back(cotangent)[0])
        size = len(batch["image"])
        left = (game.mean(variables), extras, metrics)
        after, metrics = game.update("generator", after, gradients, left, size)
        return after, d_metrics | metrics

    return Step(step, game.axis_name)


def repeat(step: StepFunction, n: int) -> Step:
    """`step` n times on n·B examples, B fresh ones each: the j-th call gets examples j, j + n, j + 2n, ... Metrics are
    means. In `iteration` the others see what the last call sees. ValueError where n does not divide the examples."""
    if n < 1:
        raise ValueError(f"expected at least 1 repetition, got {n}")

    def repeated(state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        pieces = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), parts(batch, n))
        state, metrics = jax.lax.scan(step, state, pieces)
        return state, jax.tree.map(jnp.mean, metrics)

    one = _as_step(step)
    return Step(repeated, one.axis_name, n * one.repeats)


def _as_step(step: StepFunction) -> Step:
    return step if isinstance(step, Step) else Step(step)


def iteration(*steps: StepFunction) -> Step:
    """The given steps in turn as one iteration, which alone advances `step` and the generator's average.

    ValueError where the steps are not made for one `axis_name`.
    """
    pieces = [_as_step(step) for step in steps]
    most = max(piece.repeats for piece in pieces)
    axis_name, *others = {piece.axis_name for piece in pieces}
    if others:
        names = ", ".join(repr(piece.axis_name) for piece in pieces)
        raise ValueError(
            f"the steps of one iteration were made with different axis_name ({names}); give all of them the same one, "
            "a function of your own by Step(function, axis_name)"
        )

    def step(state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        divided = parts(batch, most)
        metrics: Metrics = {}
        for piece in pieces:
            own = jax.tree.map(lambda x, n=piece.repeats: x[:, most - n :].reshape(-1, *x.shape[2:]), divided)
            state, said = piece(state, own)
            metrics |= said
        state = state.replace(step=state.step + 1)
        size = global_count(len(divided["image"]), axis_name)
        return state.replace(ema=ema_update(state, size)), metrics

    return Step(step, axis_name, most)
