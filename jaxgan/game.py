"""The pieces that every step is composed of: feed, generate, judge, objective, update. See `jaxgan.steps`."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgan.samplers import Sampler
from jaxgan.state import ROLES, GANState, TrainState, Variables, has_spectral_norm
from jaxgan.terms import Example, Term, View, evaluate

__all__ = ["Game", "Left", "Metrics", "example_keys", "global_count", "parts"]

PyTree = Any
SEEN = ("image", "condition")  # what of an example a discriminator is shown
Metrics = dict[str, jax.Array]
Schedule = Callable[[jax.Array], jax.Array]
Left = tuple[Variables, dict[str, PyTree], Metrics]  # what an objective leaves behind


def example_keys(
    key: jax.Array, count: int, axis_name: str | None = None, part: tuple[jax.Array | int, int] = (0, 1)
) -> jax.Array:
    """Keys `[count]` of the local examples, each by its index in the global batch over `axis_name`. Of a batch that was
    cut into n parts, part j holds the examples j, j + n, j + 2n, ...: `part` is (j, n)."""
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * count
    return jax.vmap(lambda i: jax.random.fold_in(key, i))((first + jnp.arange(count)) * part[1] + part[0])


def global_count(count: int, axis_name: str | None) -> int:
    """Examples on all devices, where each has `count`."""
    return count if axis_name is None else count * jax.lax.axis_size(axis_name)


def parts(batch: PyTree, n: int) -> PyTree:
    """n·B examples as `[B, n, ...]`: part j, of B, is the examples j, j + n, j + 2n, ...

    Blocks of B would lie on other devices than the batch they are cut from. These parts stay where they are, and a
    device that cuts its own share makes the same ones.
    """
    size = len(jax.tree.leaves(batch)[0])
    if size % n:
        raise ValueError(f"expected n·B examples for {n} parts, got {size}, which {n} doesn't divide")
    return jax.tree.map(lambda x: x.reshape(-1, n, *x.shape[1:]), batch)


def _weight(term: Term, state: GANState) -> Any:
    if not isinstance(term.weight, str):
        return term.weight
    if term.weight not in state.hyper:
        raise ValueError(
            f"term {term.name!r} has weight {term.weight!r}, which hyper lacks; it has {sorted(state.hyper)}"
        )
    return state.hyper[term.weight]


@dataclasses.dataclass(frozen=True)
class Game:
    """What both players share, and the pieces that every step is composed of. For the fields, see
    `steps.make_d_step`."""

    sampler: Sampler
    prepare: Callable[[Example], Example] = lambda example: example
    augment: Callable[[Example, jax.Array, GANState], Example] = lambda example, keys, state: example
    together: bool = False
    schedule: Schedule = lambda images: jnp.ones(())
    project: Callable[[PyTree], PyTree] | None = None
    accumulate: int = 1
    axis_name: str | None = None
    part: tuple[jax.Array | int, int] = (0, 1)  # of an accumulated batch, this is part `part[0]` of `part[1]`

    def mean(self, tree: PyTree) -> PyTree:
        """The one place that averages over devices: losses inside the differentiated function, gradients outside.
        Counters stay as they are, equal everywhere.

        Why both. On N devices let device k have the loss V_k, which may depend on every device's copy θ_j of the
        parameters (through batch norm's statistics, gathered logits); wanted is d/dθ of V = Σ_k V_k / N with all copies
        moving together, Σ_j Σ_k ∂V_k/∂θ_j / N. Under pmap, vmap and shard_map(check_vma=False) device j's gradient is
        that of the sum over devices of what each of them differentiates; each has V, so it is Σ_k ∂V_k/∂θ_j, and the
        mean over j is what is wanted. Under shard_map(check_vma=True) V and θ are known to be one and the same
        everywhere: the gradient is exact and equal already, and a mean over equals changes nothing.
        """
        axis = self.axis_name
        if axis is None:
            return tree
        return jax.tree.map(lambda x: jax.lax.pmean(x, axis) if jnp.issubdtype(x.dtype, jnp.inexact) else x, tree)

    def gather(self, tree: PyTree) -> PyTree:
        """What the devices have of a batch, put together: local `[b, ...]` -> global `[B, ...]`, for every leaf."""
        axis = self.axis_name
        return tree if axis is None else jax.tree.map(lambda x: jax.lax.all_gather(x, axis, tiled=True), tree)

    def keys(self, state: GANState, player: str) -> jax.Array:
        """Six keys of the player's next update: for inputs, the generator's pass, three of D's, and the terms."""
        role = jax.random.fold_in(state.key, ROLES[player])
        return jax.random.split(jax.random.fold_in(role, getattr(state, player).step), 6)

    def apply(
        self,
        player: TrainState,
        params: PyTree,
        variables: Variables,
        inputs: tuple[jax.Array, jax.Array | None],
        key: jax.Array,
        mutable: Sequence[str],
    ) -> tuple[Any, Variables]:
        """One pass through a network in training: what comes out, and its variables afterwards."""
        if self.axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(self.axis_name))
        if self.part[1] > 1:
            key = jax.random.fold_in(key, self.part[0])
        # By the names under which Linen modules ask for a key.
        rngs = {"dropout": jax.random.fold_in(key, 0), "noise": jax.random.fold_in(key, 1)}
        out, changed = player.apply(params, variables, *inputs, train=True, rngs=rngs, mutable=list(mutable))
        return out, {**variables, **changed}

    def feed(self, batch: Example, key: jax.Array) -> Example:
        """What the generator is fed."""
        return self.sampler(batch, self._keys_of(batch, key))

    def _keys_of(self, example: Example, key: jax.Array) -> jax.Array:
        return example_keys(key, len(example["image"]), self.axis_name, self.part)

    def generate(
        self, player: TrainState, params: PyTree, inputs: Example, key: jax.Array, mutable: Sequence[str] = ()
    ) -> tuple[jax.Array, Variables]:
        """The generator's images and its variables afterwards."""
        return self.apply(player, params, player.variables, (inputs["latent"], inputs.get("condition")), key, mutable)

    def judge(
        self,
        player: TrainState,
        variables: Variables,
        example: Example,
        key: jax.Array,
        state: GANState,
        mutable: Sequence[str] = (),
    ) -> tuple[Example, Variables]:
        """What the discriminator says of an example, seen through the augmentation, and its variables afterwards."""
        augment_key, key = jax.random.split(key)
        seen = self.augment(example, self._keys_of(example, augment_key), state)
        return self.apply(player, player.params, variables, (seen["image"], seen.get("condition")), key, mutable)

    def judge_both(
        self, state: GANState, real: Example, fake: Example, keys: tuple[jax.Array, jax.Array], trains: bool
    ) -> tuple[Example, Example, Variables]:
        """What the discriminator says of real and of fake examples, one after the other or in one batch, and its
        variables afterwards. Where this `trains` it, the power iteration turns once; elsewhere D is a fixed function.
        """
        d, mutable = state.discriminator, ("batch_stats", "spectral") if trains else ()
        if not self.together:
            said_of_real, variables = self.judge(d, d.variables, real, keys[0], state, mutable)
            said_of_fake, variables = self.judge(d, variables, fake, keys[1], state, mutable[:1])
            return said_of_real, said_of_fake, variables
        (real_augment, key), (fake_augment, _) = (jax.random.split(key) for key in keys)
        real_seen = self.augment(real, self._keys_of(real, real_augment), state)
        fake_seen = self.augment(fake, self._keys_of(fake, fake_augment), state)
        both = {name: jnp.concatenate([real_seen[name], fake_seen[name]]) for name in SEEN if name in real_seen}
        said, variables = self.apply(d, d.params, d.variables, (both["image"], both.get("condition")), key, mutable)
        size = len(real["image"])
        return jax.tree.map(lambda x: x[:size], said), jax.tree.map(lambda x: x[size:], said), variables

    def objective(
        self, player: str, terms: Sequence[Term], state: GANState, batch: Example, params: PyTree, fake: Example
    ) -> tuple[jax.Array, Left]:
        """The weighted sum of the player's terms over the global batch, with `params` for its own; and what it leaves
        behind: the discriminator's variables, the extras, the metrics."""
        me = getattr(state, player).replace(params=params)
        state = state.replace(**{player: me})
        generator, d = state.generator, state.discriminator
        _, g_key, real_key, fake_key, critic_key, terms_key = self.keys(state, player)

        trains_d = player == "discriminator"
        real, fake = self.prepare(batch), self.prepare(fake)
        said_of_real, said_of_fake, variables = self.judge_both(state, real, fake, (real_key, fake_key), trains_d)
        left = d.replace(variables=variables)

        def critic(images: jax.Array, condition: jax.Array | None = None, by: TrainState = left) -> Example:
            example = {"image": images} if condition is None else {"image": images, "condition": condition}
            return self.judge(by, by.variables, example, critic_key, state)[0]

        total, extras, metrics = jnp.zeros(()), state.extras, {}
        for number, term in enumerate(terms):
            key, examples_key = jax.random.split(jax.random.fold_in(terms_key, number))
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
                keys=self._keys_of(fake, examples_key),
                step=me.step,
                gather=self.gather,
                mean=self.mean,
            )
            values, kept = evaluate(term, view)
            extras = extras if kept is extras else self.mean(kept)
            value = self.mean(jnp.mean(values))
            total += value * _weight(term, state)
            metrics[f"{player}/{term.name}"] = value
        metrics[f"{player}/loss"] = total
        metrics[f"{player}/fake_logits"] = self.mean(jnp.mean(said_of_fake["logits"]))
        if trains_d:
            metrics[f"{player}/real_logits"] = self.mean(jnp.mean(said_of_real["logits"]))
        return total, (self.mean(variables), extras, metrics)

    def update(
        self, player: str, state: GANState, gradients: PyTree, left: Left, images: int
    ) -> tuple[GANState, Metrics]:
        """The state after one step of the player's optimiser at its rate times the schedule, with what its objective
        left behind; and the metrics, with its gradients' norm."""
        me: TrainState = getattr(state, player)
        variables, extras, metrics = left
        gradients = self.mean(gradients)
        seen = jnp.asarray(me.step, jnp.float32) * global_count(images, self.axis_name)
        rate = state.hyper[f"{player}/learning_rate"] * self.schedule(seen)
        updates, opt_state = me.tx.update(gradients, me.opt_state, me.params)
        params = jax.tree.map(lambda p, u: (p - rate * u).astype(p.dtype), me.params, updates)
        if self.project and player == "discriminator":
            if has_spectral_norm(me.variables):
                raise ValueError(
                    "this discriminator has spectral normalisation, which divides every weight by its matrix's norm, "
                    "so that clipping the weights bounds nothing: leave out one of the two"
                )
            params = self.project(params)
        me = me.replace(step=me.step + 1, params=params, opt_state=opt_state, variables=variables)
        norm = optax.tree.norm(gradients)
        return state.replace(**{player: me}, extras=extras), metrics | {f"{player}/gradient_norm": norm}

    def step_d(self, terms: Sequence[Term], state: GANState, batch: Example, fake: Example) -> tuple[GANState, Metrics]:
        """The discriminator's update on these fakes, through which a caller may differentiate."""
        gradients, left = self.d_gradients(terms, state, batch, fake)
        return self.update("discriminator", state, gradients, left, len(batch["image"]))

    def d_gradients(self, terms: Sequence[Term], state: GANState, batch: Example, fake: Example) -> tuple[PyTree, Left]:
        """Gradients of the discriminator's objective on these fakes, and what it leaves behind."""
        return jax.grad(
            lambda params: self.objective("discriminator", terms, state, batch, params, fake), has_aux=True
        )(state.discriminator.params)
