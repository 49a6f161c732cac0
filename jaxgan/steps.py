"""Steps: pure functions `(state, batch) -> (state, metrics)` that fit `jit`, `scan`, `vmap` and `shard_map` as they are.

A step is made of a *sampler*, which says what the generator is fed, and of *terms* (`jaxgan.terms`). The batch is a dict
of arrays with a leading axis of B examples, `image` in [-1, 1] among them. The sampler gets the batch and B keys and
returns the generator's inputs: `latent`, its first argument, `condition`, its second where present, and whatever terms
want to know. What the generator made of them is `{**inputs, "image": ...}`.

Every draw is keyed by (the run's key, role, that player's count of updates, the example's index in the global batch):
nothing random is saved, and one device draws the same numbers as eight. Draws inside networks come from one key a pass.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgan.state import GANState, TrainState, Variables, ema_update
from jaxgan.terms import Example, Term, View, evaluate

__all__ = [
    "Sampler",
    "Step",
    "example_keys",
    "iteration",
    "latents",
    "make_d_step",
    "make_g_step",
    "make_joint_step",
    "repeat",
]

PyTree = Any
Metrics = dict[str, jax.Array]
Step = Callable[[GANState, Example], tuple[GANState, Metrics]]
Sampler = Callable[[Example, jax.Array], Example]
Schedule = Callable[[jax.Array], jax.Array]
Left = tuple[Variables, dict[str, PyTree], Metrics]  # what an objective leaves behind

ROLES = {"generator": 0, "discriminator": 1}  # part of every run's numbers


def latents(size: int) -> Sampler:
    """The sampler of plain GANs: latents `[B, size]` from N(0, I)."""
    return lambda batch, keys: {"latent": jax.vmap(lambda key: jax.random.normal(key, (size,)))(keys)}


def example_keys(key: jax.Array, count: int, axis_name: str | None = None) -> jax.Array:
    """Keys `[count]` of the local examples, each by its index in the global batch over `axis_name`."""
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * count
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(count))


@dataclasses.dataclass(frozen=True)
class _Game:
    """What both players share, and the pieces that every step is composed of."""

    sampler: Sampler
    prepare: Callable[[Example], Example] = lambda example: example
    augment: Callable[[Example, jax.Array], Example] = lambda example, keys: example
    schedule: Schedule = lambda images: jnp.ones(())
    axis_name: str | None = None

    def mean(self, tree: PyTree) -> PyTree:
        """The one place that averages over devices: losses inside the differentiated function, gradients outside."""
        return tree if self.axis_name is None else jax.lax.pmean(tree, self.axis_name)

    def keys(self, state: GANState, player: str, terms: int = 0) -> jax.Array:
        """The keys of the player's next update: for inputs, the generator's pass, three of D's, and one a term."""
        role = jax.random.fold_in(state.key, ROLES[player])
        return jax.random.split(jax.random.fold_in(role, getattr(state, player).step), 5 + terms)

    def rngs(self, key: jax.Array) -> dict[str, jax.Array]:
        """The key of one pass, by the names under which Linen modules ask for it."""
        if self.axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(self.axis_name))
        return {"dropout": key, "noise": key}

    def feed(self, batch: Example, key: jax.Array) -> Example:
        return self.sampler(batch, example_keys(key, len(batch["image"]), self.axis_name))

    def generate(
        self, player: TrainState, params: PyTree, inputs: Example, key: jax.Array, mutable: Sequence[str] = ()
    ) -> tuple[jax.Array, Variables]:
        """The generator's images and its variables afterwards."""
        images, changed = player.apply(
            params,
            player.variables,
            inputs["latent"],
            inputs.get("condition"),
            train=True,
            rngs=self.rngs(key),
            mutable=list(mutable),
        )
        return images, {**player.variables, **changed}

    def judge(
        self, player: TrainState, variables: Variables, example: Example, key: jax.Array, mutable: Sequence[str] = ()
    ) -> tuple[Example, Variables]:
        """What the discriminator says of an example, seen through the augmentation, and its variables afterwards."""
        seen = self.augment(example, example_keys(key, len(example["image"]), self.axis_name))
        said, changed = player.apply(
            player.params,
            variables,
            seen["image"],
            seen.get("condition"),
            train=True,
            rngs=self.rngs(key),
            mutable=list(mutable),
        )
        return said, {**variables, **changed}

    def objective(
        self, player: str, terms: Sequence[Term], state: GANState, batch: Example, params: PyTree, fake: Example
    ) -> tuple[jax.Array, Left]:
        """The weighted sum of the player's terms over the global batch, with `params` for its own; and what it leaves
        behind: the discriminator's variables, the extras, the metrics."""
        me = getattr(state, player).replace(params=params)
        state = state.replace(**{player: me})
        generator, d = state.generator, state.discriminator
        _, g_key, real_key, fake_key, critic_key, *term_keys = self.keys(state, player, len(terms))

        # One power iteration a step: only a D step's real pass turns it. For a G step, D is a fixed function.
        trains_d = player == "discriminator"
        real, fake = self.prepare(batch), self.prepare(fake)
        said_of_real, variables = self.judge(
            d, d.variables, real, real_key, ("batch_stats", "spectral") if trains_d else ()
        )
        said_of_fake, variables = self.judge(d, variables, fake, fake_key, ("batch_stats",) if trains_d else ())

        def critic(images: jax.Array, condition: jax.Array | None = None) -> Example:
            example = {"image": images} if condition is None else {"image": images, "condition": condition}
            return self.judge(d, variables, example, critic_key)[0]

        total, extras, metrics = jnp.zeros(()), state.extras, {}
        for term, key in zip(terms, term_keys, strict=True):
            view = View(
                real={**real, **said_of_real},
                fake={**fake, **said_of_fake},
                critic=critic,
                generate=lambda inputs: self.generate(generator, generator.params, inputs, g_key)[0],
                params=params,
                state=state,
                batch=batch,
                extras=extras,
                key=key,
                keys=example_keys(key, len(fake["image"]), self.axis_name),
                step=me.step,
            )
            values, extras = evaluate(term, view)
            value = self.mean(jnp.mean(values))
            total += value * (state.hyper[term.weight] if isinstance(term.weight, str) else term.weight)
            metrics[f"{player}/{term.name}"] = value
        metrics[f"{player}/loss"] = total
        metrics[f"{player}/fake_logits"] = self.mean(jnp.mean(said_of_fake["logits"]))
        if trains_d:
            metrics[f"{player}/real_logits"] = self.mean(jnp.mean(said_of_real["logits"]))
        return total, (self.mean(variables), self.mean(extras), metrics)

    def update(
        self, player: str, state: GANState, gradients: PyTree, variables: Variables, extras: PyTree, images: int
    ) -> tuple[GANState, Metrics]:
        """The player after one step of its optimiser at its rate times the schedule, and its gradients' norm."""
        me: TrainState = getattr(state, player)
        gradients = self.mean(gradients)
        seen = me.step.astype(jnp.float32) * _global(images, self.axis_name)
        rate = state.hyper[f"{player}/learning_rate"] * self.schedule(seen)
        updates, opt_state = me.tx.update(gradients, me.opt_state, me.params)
        params = jax.tree.map(lambda p, u: (p - rate * u).astype(p.dtype), me.params, updates)
        me = me.replace(step=me.step + 1, params=params, opt_state=opt_state, variables=variables)
        norm = optax.global_norm(gradients)
        return state.replace(**{player: me}, extras=extras), {f"{player}/gradient_norm": norm}

    def step_d(self, terms: Sequence[Term], state: GANState, batch: Example, fake: Example) -> tuple[GANState, Metrics]:
        """The discriminator's update on these fakes, through which a caller may differentiate."""
        gradients, (variables, extras, metrics) = jax.grad(
            lambda params: self.objective("discriminator", terms, state, batch, params, fake), has_aux=True
        )(state.discriminator.params)
        state, norm = self.update("discriminator", state, gradients, variables, extras, len(batch["image"]))
        return state, metrics | norm


def make_d_step(sampler: Sampler, terms: Sequence[Term], **options: Any) -> Step:
    """One update of the discriminator on `terms`; the generator stays as it is.

    sampler: `(batch, keys) -> inputs`, see the module's docstring.
    prepare: `example -> example`, applied to real and fake before anything sees them (PacGAN's packing).
    augment: `(example, keys) -> example`, before each of D's passes and inside what penalties differentiate
        (differentiable augmentation, instance noise).
    schedule: `images -> factor` on the learning rate; counts the images this player has been trained on.
    axis_name: the mapped axis that holds the batch's shards, under `pmap`, `shard_map` or `vmap`.
    Metrics are scalars named `discriminator/...`: every term unweighted, loss, gradient_norm, real_logits, fake_logits.
    """
    game = _Game(sampler, **options)

    def step(state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        feed_key, g_key, *_ = game.keys(state, "discriminator")
        inputs = game.feed(batch, feed_key)
        # No stop_gradient on the fakes: a G step may differentiate through this one (unrolled GANs).
        images, _ = game.generate(state.generator, state.generator.params, inputs, g_key)
        return game.step_d(terms, state, batch, {**inputs, "image": images})

    return step


def make_g_step(sampler: Sampler, terms: Sequence[Term], **options: Any) -> Step:
    """One update of the generator on `terms`; the discriminator stays as it is. Options as for `make_d_step`; metrics are
    named `generator/...`."""
    game = _Game(sampler, **options)

    def step(state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        feed_key, g_key, *_ = game.keys(state, "generator")
        inputs = game.feed(batch, feed_key)

        def loss(params: PyTree) -> tuple[jax.Array, Left]:
            images, variables = game.generate(state.generator, params, inputs, g_key, ("batch_stats", "spectral"))
            fake = {**inputs, "image": images}
            total, (_, extras, metrics) = game.objective("generator", terms, state, batch, params, fake)
            return total, (game.mean(variables), extras, metrics)

        gradients, (variables, extras, metrics) = jax.grad(loss, has_aux=True)(state.generator.params)
        state, norm = game.update("generator", state, gradients, variables, extras, len(batch["image"]))
        return state, metrics | norm

    return step


def make_joint_step(
    sampler: Sampler,
    d_terms: Sequence[Term],
    g_terms: Sequence[Term],
    *,
    simultaneous: bool = False,
    **options: Any,
) -> Step:
    """One update of both on one pass through the generator, whose `vjp` waits while the discriminator learns.

    The generator is judged by the updated discriminator or, with `simultaneous`, by the one before. On the same inputs it
    equals `make_d_step` and then `make_g_step`, at the price of one generator pass less. Options as for `make_d_step`.
    """
    game = _Game(sampler, **options)

    def step(state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        feed_key, g_key, *_ = game.keys(state, "generator")
        inputs = game.feed(batch, feed_key)
        old = state.generator
        images, pull_back, variables = jax.vjp(
            lambda params: game.generate(old, params, inputs, g_key, ("batch_stats", "spectral")), old.params, has_aux=True
        )
        after, d_metrics = game.step_d(d_terms, state, batch, {**inputs, "image": images})
        judged = after.replace(discriminator=state.discriminator) if simultaneous else after

        def loss(params: PyTree, images: jax.Array) -> tuple[jax.Array, Left]:
            return game.objective("generator", g_terms, judged, batch, params, {**inputs, "image": images})

        # Terms may reach the parameters through the images or directly (path length, regularisers).
        (direct, cotangent), (_, extras, metrics) = jax.grad(loss, (0, 1), has_aux=True)(old.params, images)
        gradients = jax.tree.map(jnp.add, direct, pull_back(cotangent)[0])
        size = len(batch["image"])
        after, norm = game.update("generator", after, gradients, game.mean(variables), extras, size)
        return after, d_metrics | metrics | norm

    return step


@dataclasses.dataclass(frozen=True)
class _Repeat:
    step: Step
    n: int

    def __call__(self, state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        if len(batch["image"]) % self.n:
            raise ValueError(f"repeat(step, {self.n}) needs {self.n}·B examples, got {len(batch['image'])}")
        parts = jax.tree.map(lambda x: x.reshape(self.n, -1, *x.shape[1:]), batch)
        state, metrics = jax.lax.scan(self.step, state, parts)
        return state, jax.tree.map(jnp.mean, metrics)


def repeat(step: Step, n: int) -> Step:
    """`step` n times on n·B examples, B fresh ones each; metrics are means. In `iteration`, the others see the last B."""
    return _Repeat(step, n)


def iteration(*steps: Step, axis_name: str | None = None) -> Step:
    """The given steps in turn as one iteration, which alone advances `step` and the generator's average."""
    parts = max(step.n if isinstance(step, _Repeat) else 1 for step in steps)

    def step(state: GANState, batch: Example) -> tuple[GANState, Metrics]:
        total, metrics = len(batch["image"]), {}
        for part in steps:
            own = total * (part.n if isinstance(part, _Repeat) else 1) // parts
            state, said = part(state, jax.tree.map(lambda x, own=own: x[total - own :], batch))
            metrics |= said
        state = state.replace(step=state.step + 1)
        return state.replace(ema=ema_update(state, _global(total // parts, axis_name))), metrics

    return step


def _global(count: int, axis_name: str | None) -> int:
    return count if axis_name is None else count * jax.lax.axis_size(axis_name)
