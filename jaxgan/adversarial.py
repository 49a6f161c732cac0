"""Steps of a plain GAN, one generator against one discriminator, from a *sampler* and *terms*, built on
`jaxgan.update`.

A sampler draws the generator's inputs. It gets the batch and B keys and returns `latent`, the generator's first
argument, `condition`, its second where present, and whatever terms need. The batch is a dict of arrays with a leading
axis of B examples, among them the `field` that is generated, by default `image`. A fake is `{**inputs, field: ...}`,
with all outputs of a generator that returns a dict. `jaxgan.terms` explains terms.

Games of another shape (two generators, an autoencoder, scales) are objectives of their own, see `jaxgan.update`.
"""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.draw import Draw
from jaxgan.iteration import Step
from jaxgan.joint import joint
from jaxgan.nets import Nets
from jaxgan.samplers import Sampler
from jaxgan.schedules import rates
from jaxgan.state import GANState, TrainState
from jaxgan.terms.term import Example, Term, View, evaluate
from jaxgan.update import Outcome, Update, update

__all__ = ["Augment", "Prepare", "Project", "make_d_step", "make_g_step", "make_joint_step"]

PyTree = Any
Factor = Callable[[jax.Array], Any]

Prepare = Callable[[Example], Example]
"""What is done to examples, real and fake, before a discriminator sees them: `samplers.pack`."""

Augment = Callable[[Example, jax.Array, GANState], Example]
"""A change of what a discriminator sees at random, by keys `[B]` and the state: instance noise."""

Project = Callable[[PyTree], PyTree]
"""What is done to a discriminator's parameters after each update: `penalties.clip_weights`."""


@dataclasses.dataclass(frozen=True)
class _Game:
    """The common part of both players' updates. For the fields, see `make_d_step`."""

    sampler: Sampler
    field: str
    prepare: Prepare | None
    augment: Augment | None
    together: bool
    schedule: Factor | None
    project: Project | None
    accumulate: int
    axis_name: str | None

    def update(self, player: str, terms: Sequence[Term]) -> Update:
        """Returns the player's update on these terms."""
        if isinstance(terms, Term) or not all(isinstance(term, Term) for term in terms):
            raise ValueError(f"expected a list of terms, such as [d_loss(hinge)], got {terms!r}")
        names = [term.name for term in terms]
        if len(set(names)) < len(names):
            raise ValueError(f"each term needs a name of its own, got {names}; rename one by `term._replace(name=...)`")

        def objective(nets: Nets, batch: Example, draw: Draw, state: GANState, fake: Example) -> Outcome:
            return self.objective(player, terms, nets, batch, draw, state, fake)

        return update(
            player,
            objective,
            make=self.generate,
            weights={term.name: term.weight for term in terms},
            schedules=rates(self.schedule, player),
            project={"discriminator": self.project} if self.project and player == "discriminator" else {},
            accumulate=self.accumulate,
            across=[f"the term {term.name!r}" for term in terms if term.across],
            axis_name=self.axis_name,
        )

    def generate(self, nets: Nets, batch: Example, draw: Draw, state: GANState) -> Example:
        """Returns fakes: the generator's inputs and outputs."""
        feed, passing, *_ = _keys(draw)
        inputs = self.sampler(batch, draw.keys(feed))
        out = nets["generator"](inputs["latent"], inputs.get("condition"), key=passing)
        return {**inputs, **(out if isinstance(out, Mapping) else {self.field: out})}

    def _shown(self, example: Example, key: jax.Array, draw: Draw, state: GANState) -> Example:
        """Returns the parts of an example that the discriminator is shown, augmented."""
        if self.augment is not None:
            example = self.augment(example, draw.keys(key, len(example[self.field])), state)
        return {name: example[name] for name in (self.field, "condition") if name in example}

    def judge(
        self, nets: Nets, example: Example, key: jax.Array, draw: Draw, state: GANState, by: TrainState | None = None
    ) -> Example:
        """Returns the outputs of a frozen discriminator for an example, after the augmentation."""
        augment_key, key = jax.random.split(key)
        shown = self._shown(example, augment_key, draw, state)
        outputs: Example = nets["discriminator"].frozen(shown[self.field], shown.get("condition"), key=key, by=by)
        return outputs

    def judge_both(
        self, nets: Nets, real: Example, fake: Example, keys: Sequence[jax.Array], draw: Draw, state: GANState
    ) -> tuple[Example, Example]:
        """Returns the discriminator's outputs for real and for fake examples, from two passes or from one batch."""
        d, field = nets["discriminator"], self.field
        (real_augment, real_key), (fake_augment, fake_key) = (jax.random.split(key) for key in keys)
        shown = self._shown(real, real_augment, draw, state), self._shown(fake, fake_augment, draw, state)
        if not self.together:
            pairs = zip(shown, (real_key, fake_key), strict=True)
            real_outputs, fake_outputs = (d(each[field], each.get("condition"), key=key) for each, key in pairs)
            return real_outputs, fake_outputs
        both = {name: jnp.concatenate([each[name] for each in shown]) for name in shown[0]}
        outputs = d(both[field], both.get("condition"), key=real_key)
        size = len(real[field])
        return jax.tree.map(lambda x: x[:size], outputs), jax.tree.map(lambda x: x[size:], outputs)

    def objective(
        self, player: str, terms: Sequence[Term], nets: Nets, batch: Example, draw: Draw, state: GANState, fake: Example
    ) -> Outcome:
        """Returns the losses, extras and metrics of the player's terms on these fakes."""
        if self.project and nets["discriminator"].player.once:
            raise ValueError(
                "this discriminator has spectral normalisation, which divides every weight by its matrix's norm, "
                "so that clipping the weights bounds nothing: leave out one of the two"
            )
        _, g_key, *pass_keys, critic_key, terms_key = _keys(draw)
        self._check(batch)
        real, fake = self._prepared(batch, draw), self._prepared(fake, draw)
        real_outputs, fake_outputs = self.judge_both(nets, real, fake, pass_keys, draw, state)

        def critic(values: jax.Array, condition: jax.Array | None = None, by: TrainState | None = None) -> Example:
            example = {self.field: values} if condition is None else {self.field: values, "condition": condition}
            return self.judge(nets, example, critic_key, draw, state, by)

        losses, extras = {}, state.extras
        metrics: dict[str, jax.Array] = {}
        for number, term in enumerate(terms):
            key, examples_key = jax.random.split(jax.random.fold_in(terms_key, number))
            view = View(
                real={**real, **real_outputs},
                fake={**fake, **fake_outputs},
                critic=critic,
                generate=lambda inputs: nets["generator"].frozen(inputs["latent"], inputs.get("condition"), key=g_key),
                nets=nets,
                params=state.players[player].params,
                state=state,
                batch=batch,
                field=self.field,
                extras=extras,
                key=key,
                keys=draw.keys(examples_key, len(fake[self.field])),
                step=draw.step,
                count=draw.count,
                gather=draw.gather,
                mean=draw.mean,
            )
            values, new_extras, numbers = evaluate(term, view)
            losses[term.name] = values
            metrics |= {f"{term.name}/{name}": x for name, x in numbers.items()}
            extras = {name: x if x is extras.get(name) else draw.mean(x) for name, x in new_extras.items()}
        metrics["fake_logits"] = _mean_logit(fake_outputs)
        if player == "discriminator":
            metrics["real_logits"] = _mean_logit(real_outputs)
        changed = {name: x for name, x in extras.items() if x is not state.extras.get(name)}
        return Outcome(losses, changed, metrics)

    def _check(self, batch: Example) -> None:
        if not isinstance(batch, Mapping) or self.field not in batch:
            has = sorted(batch) if isinstance(batch, Mapping) else f"an array {jnp.shape(batch)}"
            raise ValueError(f"expected as a batch a dict of arrays with {self.field!r} (see `field`), got {has}")
        if not jnp.issubdtype(dtype := jnp.result_type(batch[self.field]), jnp.floating):
            raise ValueError(f"expected floats as the batch's {self.field!r}, images in [-1, 1], got {dtype}")

    def _prepared(self, example: Example, draw: Draw) -> Example:
        if self.prepare is None:
            return example
        prepared = self.prepare(example)
        if draw.part[1] > 1 and len(prepared[self.field]) < len(example[self.field]):
            warnings.warn(
                f"packing can see only each of the {draw.part[1]} parts of an accumulated batch by itself: expect "
                "other numbers than from the whole batch at once",
                stacklevel=1,
            )
        return prepared


def _mean_logit(outputs: Example) -> jax.Array:
    means = [jnp.mean(x) for x in jax.tree.leaves(outputs["logits"])]
    return sum(means[1:], means[0]) / len(means)


def _keys(draw: Draw) -> jax.Array:
    """Returns six keys of an update: for inputs, the generator's pass, D's passes of real, of fake and in terms, and
    the terms. Their positions are part of saved runs."""
    return jax.random.split(draw.root, 6)


def make_d_step(
    sampler: Sampler,
    terms: Sequence[Term],
    *,
    field: str = "image",
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    together: bool = False,
    schedule: Factor | None = None,
    project: Project | None = None,
    accumulate: int = 1,
    axis_name: str | None = None,
) -> Update:
    """Returns one update of the discriminator on `terms`; the generator stays as it is.

    sampler: `(batch, keys) -> inputs`, see the module's docstring.
    field: the part of a batch that is generated and judged.
    prepare: `example -> example`, applied to real and fake examples before all else (PacGAN's packing).
    augment: `(example, keys, state) -> example`, applied before each of D's passes and inside what penalties
        differentiate (differentiable augmentation, instance noise); it may depend on the state, such as its counters.
    together: whether D judges real and fake examples in one batch, whose batch normalisation sees both at once, instead
        of one after the other.
    schedule: `images -> factor` on the learning rate; it counts the images that this player has been trained on.
    project: `params -> params`, applied to the discriminator's parameters after its update (`penalties.clip_weights`).
    accumulate: the number of parts that the batch is cut into, one after the other in memory, for one update on the
        mean of their gradients. The draws are the same as with 1, except inside networks. Layers and losses that look
        across examples see a single part.
    axis_name: the mapped axis that holds the batch's shards, under `pmap`, `shard_map` or `vmap`; without it the batch
        is complete, on one device or, under `jit`, sharded over many.
    Metrics are scalars named `discriminator/...`: every term unweighted, loss, gradient_norm, real_logits, fake_logits.
    ValueError for two terms of one name.
    """
    game = _Game(sampler, field, prepare, augment, together, schedule, project, accumulate, axis_name)
    return game.update("discriminator", terms)


def make_g_step(
    sampler: Sampler,
    terms: Sequence[Term],
    *,
    field: str = "image",
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    together: bool = False,
    schedule: Factor | None = None,
    project: Project | None = None,
    accumulate: int = 1,
    axis_name: str | None = None,
) -> Update:
    """Returns one update of the generator on `terms`; the discriminator stays as it is. Options are those of
    `make_d_step`; metrics are named `generator/...`."""
    game = _Game(sampler, field, prepare, augment, together, schedule, project, accumulate, axis_name)
    return game.update("generator", terms)


def make_joint_step(
    sampler: Sampler,
    d_terms: Sequence[Term],
    g_terms: Sequence[Term],
    *,
    simultaneous: bool = False,
    field: str = "image",
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    together: bool = False,
    schedule: Factor | None = None,
    project: Project | None = None,
    axis_name: str | None = None,
) -> Step:
    """Returns one update of both players on a single pass through the generator. The pass's `vjp` is kept while the
    discriminator learns.

    The generator is judged by the updated discriminator or, with `simultaneous`, by the one before. On the same inputs
    it equals `make_d_step` and then `make_g_step`, with one generator pass less. Options are those of `make_d_step`,
    except for `accumulate`: the pass is over the complete batch.
    """
    game = _Game(sampler, field, prepare, augment, together, schedule, project, 1, axis_name)
    first, second = game.update("discriminator", d_terms), game.update("generator", g_terms)
    return joint(first, second, simultaneous=simultaneous)
