"""The GAN of most experiments, composed of networks, a sampler and terms with the common options."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import optax

from jaxgan.adversarial import Augment, Prepare, Project, make_d_step, make_g_step, make_joint_step
from jaxgan.iteration import Step, iteration, repeat
from jaxgan.lookahead import lookahead, lookahead_start
from jaxgan.samplers import Sampler
from jaxgan.schedules import Schedule
from jaxgan.terms import Term, initial_extras
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.optimizer import OptimizerOptions, hyper, optimizer, schedule
from jaxgan.training.options.options import Options
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import GAN, init_with
from jaxgan.training.recipe.latents import latents_with, sample_through

__all__ = ["Updates", "compose", "labels_needed", "make_iteration", "with_lookahead"]

PyTree = Any
Updates = Literal["joint", "alternating"]


def compose(
    options: Options,
    data: DataSpec,
    networks: tuple[nn.Module, nn.Module],
    sampler: Sampler,
    d_terms: Sequence[Term],
    g_terms: Sequence[Term],
    *,
    updates: Updates,
    critic_steps: int = 1,
    weights: Mapping[str, float] | None = None,
    eps_root: float = 0.0,
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    together: bool = False,
    project: Project | None = None,
    tx: optax.GradientTransformation | None = None,
    schedules: Mapping[str, Schedule] | None = None,
) -> GAN:
    """Returns the GAN of a generator and a discriminator that learn as the options say.

    updates: "joint" is one pass through the generator in an iteration, from whose images the discriminator learns and
        then the generator; "alternating" is a pass for each update, from latents of its own. With `--accumulate` above
        1 updates alternate in any case: a pass that both learn from would have to hold the whole batch.
    critic_steps: the discriminator's updates for one of the generator, each on `options.batch_size` images of its own;
        more than one must alternate.
    weights: numbers by name that terms are weighted with, and that `--sweep` may vary.
    eps_root: under Adam's root, for steps that are differentiated.
    prepare, augment, together, project: as for `make_d_step`.
    tx: both players' optimiser, without a rate, in place of the options' one.
    schedules: numbers by name that change over the images of the run, as for `jaxgan.iteration.iteration`.

    What the networks are given follows from the sampler and `prepare`; what is generated is the data's main field.
    ValueError where `updates` is another word, or doesn't go with `critic_steps`.
    """
    fed, seen = _examples(options, data, sampler, prepare)
    init = init_with(
        *networks,
        tx or optimizer(options, eps_root),
        fed["latent"],
        seen[data.main],
        hyper(options) | dict(weights or {}),
        conditions=(fed.get("condition"), seen.get("condition")),
        extras=lambda players: initial_extras(players, d_terms, g_terms),
    )
    step = make_iteration(
        options,
        sampler,
        d_terms,
        g_terms,
        updates=updates,
        critic_steps=critic_steps,
        field=data.main,
        prepare=prepare,
        augment=augment,
        together=together,
        project=project,
        schedules=schedules,
    )
    latents = latents_with(sampler, fed["latent"].shape[-1], data.main)
    gan = GAN(init, step, options.batch_size * critic_steps, sample_through(latents), latents=latents)
    return with_lookahead(options, gan, {"discriminator": project} if project else None)


def make_iteration(
    options: OptimizerOptions,
    sampler: Sampler,
    d_terms: Sequence[Term],
    g_terms: Sequence[Term],
    *,
    updates: Updates,
    critic_steps: int = 1,
    field: str = "image",
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    together: bool = False,
    project: Project | None = None,
    schedules: Mapping[str, Schedule] | None = None,
) -> Step:
    """Returns an iteration in which the discriminator learns `critic_steps` times and the generator once, with
    `updates` and `schedules` as for `compose` and other options as for `make_d_step`. ValueError as there."""
    if updates not in ("joint", "alternating"):
        raise ValueError(f"updates must be 'joint' or 'alternating', got {updates!r}")
    if updates == "joint" and critic_steps != 1:
        raise ValueError(f"joint updates are one of each player, got critic_steps={critic_steps}: use 'alternating'")
    how: dict[str, Any] = {
        "field": field,
        "prepare": prepare,
        "augment": augment,
        "together": together,
        "project": project,
    }
    if updates == "joint" and options.accumulate == 1:
        return iteration(
            make_joint_step(sampler, d_terms, g_terms, schedule=schedule(options), **how), schedules=schedules
        )
    how["accumulate"] = options.accumulate
    d_step = make_d_step(sampler, d_terms, schedule=schedule(options, critic_steps), **how)
    g_step = make_g_step(sampler, g_terms, schedule=schedule(options), **how)
    return iteration(repeat(d_step, critic_steps) if critic_steps > 1 else d_step, g_step, schedules=schedules)


def with_lookahead(options: OptimizerOptions, gan: GAN, project: Mapping[str, Project] | None = None) -> GAN:
    """Returns the GAN with `--lookahead` around its iteration, and the slow weights in its state; without the option,
    itself. See `jaxgan.lookahead`; `project` as there."""
    if not options.lookahead:
        return gan
    return gan._replace(
        init=lambda key: lookahead_start(gan.init(key), project),
        iteration=lookahead(gan.iteration, options.lookahead, options.lookahead_alpha),
    )


def _examples(
    options: Options, data: DataSpec, sampler: Sampler, prepare: Prepare | None
) -> tuple[dict[str, jax.ShapeDtypeStruct], dict[str, jax.ShapeDtypeStruct]]:
    """Returns shape and type of one example `[1, ...]` of what the generator is fed, and of what the discriminator is
    shown. Not zeros: a run that is opened may ask for more than there is memory, and must be told so."""
    count = options.batch_size // options.accumulate
    batch = {name: field.batch(count) for name, field in data.fields.items()}
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))
    shapes = jax.eval_shape(sampler, batch, keys), jax.eval_shape(prepare, batch) if prepare else batch
    fed, seen = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype), shapes)
    return fed, seen


def labels_needed(data: DataSpec) -> int:
    """Returns how many classes the data have; UsageError where they have no labels to tell apart."""
    if data.classes < 2:
        has = "one class alone" if data.classes else "no labels"
        raise UsageError(
            f"--dataset {data.name} has {has}, and this experiment needs two classes or more; use mnist, cifar10, a "
            "folder with a subfolder for each class, or an .npz file with `labels`"
        )
    return data.classes
