"""The GAN that an experiment hands to the loop, and the functions from which most experiments build one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.iteration import Step
from jaxgan.players import Frozen, init_players
from jaxgan.samplers import Sampler
from jaxgan.state import GANState, TrainState
from jaxgan.training.errors.usage import UsageError, refusals
from jaxgan.training.recipe.data_spec import DataSpec

__all__ = [
    "GAN",
    "Build",
    "Latents",
    "Reading",
    "Sample",
    "Translation",
    "Weights",
    "between",
    "build_gan",
    "drawn_inputs",
    "generate_with",
    "init_with",
    "sample_with",
]

State = Any  # a pytree with `step` and `key`
Example = jax.Array | jax.ShapeDtypeStruct
NO_CIRCLE = 1e-6  # sine of an angle below which float32 can't tell where a great circle would lead
# "ema", a generator's averaged weights, "raw", those of the last step, or a power-function average's width, "0.05".
Weights = str


# `(state, examples, keys, *, weights="ema", **how) -> {name: array}`, see `GAN`.
Sample = Callable[..., dict[str, jax.Array]]


class Translation(NamedTuple):
    """How a GAN makes one picture of another, of any height and width.

    apply: `(state, images, *, weights="ema", **how) -> images`, float32 `[N, H, W, C]` in [-1, 1] to `[N, s·H, s·W,
        C']`; pure. how: what the experiment's `sample` takes too, such as a style.
    channels: C, of what goes in.
    scale: s, pixels of a side that become of one.
    reach: pixels to each side of a pixel that have a say in what becomes of it; None where the whole picture has, as
        under instance normalisation.
    degrade: `(images, keys) -> images`, `[N, s·H, s·W, C']` to `[N, H, W, C]`: makes what goes in of what should come
        out, for tasks that are learned so; a key an example. None for others.
    multiple: pixels by whose multiples a picture can be shifted and the same becomes of it, shifted: 2^k of a network
        that halves it k times.
    """

    apply: Callable[..., jax.Array]
    channels: int
    scale: int = 1
    reach: int | None = None
    degrade: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    multiple: int = 1


class Reading(NamedTuple):
    """How a classifier reads an output of a GAN that was made of examples with labels.

    of: of several sets, the one whose example the output was made of, and whose label it should be read as.
    shown: `images -> images`, float32 `[N, H, W, C]` in [-1, 1], pure: what the classifier is shown instead, such as
        the inverse of a known mapping. None for the output itself.
    """

    of: str = ""
    shown: Callable[[jax.Array], jax.Array] | None = None


class Latents(NamedTuple):
    """How pictures come from latents, for tools that look into a generator; all functions are pure.

    StyleGAN's generator maps a latent z to a style w and reads a w in every layer, each of which may be handed another
    (W+). Other generators read z once. Both are *codes* `[N, K, D]`, one for each of K layers; of a generator without a
    mapping the only code is z itself.

    draw: `(examples, keys) -> inputs`, the sampler: `latent`, float32 `[N, L]`, and `condition` where there is one. One
        whose latents are all normal takes `threshold=` too, as `jaxgan.samplers.latents`.
    codes: `(state, inputs, *, weights="ema") -> codes`, float32.
    synthesize: `(state, codes, inputs, *, weights="ema") -> drawn`, as `GAN.sample`; of inputs only `condition` counts.
    mean: `(state, *, weights="ema") -> [D]`, the mean code, which truncation goes towards.
    layers: K names, from the coarsest to the finest: the pixels of a side that a code acts at; "" where it is unknown.
    factors: `(state, *, weights="ema") -> K matrices [D, outputs]`, what each layer's code is multiplied by first;
        None where directions can't be found from weights.
    mapped: whether there is a mapping, and so two spaces, z and w.
    """

    draw: Sampler
    codes: Callable[..., jax.Array]
    synthesize: Callable[..., dict[str, jax.Array]]
    mean: Callable[..., jax.Array]
    layers: tuple[str, ...] = ("",)
    factors: Callable[..., list[jax.Array]] | None = None
    mapped: bool = True


class GAN(NamedTuple):
    """All that the loop knows of a GAN.

    init: `key -> state`, a pytree with an int32 `step` and a `key`.
    iteration: `(state, batch) -> (state, metrics)`, one generator update; in an ensemble that of one member. The batch
        is a dict of the set's fields `[B, ...]`, or of several sets by name the dict of each.
    batch_size: examples that an iteration consumes, all critic steps together; of several sets by name, or of each.
    sample: `(state, examples, keys, *, weights="ema", **how) -> drawn`, what a state draws. examples: one for each
        drawn one, decoded as for training, of all sets: held-out ones, or labels alone where these are all that it
        depends on. keys: `[N]`, one an example. weights: "ema", the averaged ones, "raw", those of the last step,
        or the width of a power-function average, "0.05". how: what else a generator can be asked for, such as a
        truncation. drawn: arrays `[N, ...]` as networks have them, by name. Those called as the main field of the data
        (or, of several sets, as a set) are scored against it; all are shown side by side, in this order, and what is
        called otherwise is shown as the main field is.
    pairs: by an output's name that of the output that it should be equal to, example by example: `{"image": "target"}`.
    frozen: by name the networks that the iteration closes over and nobody trains; a continued run must have the same.
    translations: by an output's name how whole pictures become such; empty where nothing is translated.
    readings: by an output's name how a classifier reads it; where it is empty, outputs are read as they are.
    latents: how pictures come from latents; None where they don't.
    member: of an ensemble, the GAN of one member.
    log_density: `(state, examples, *, weights="ema") -> [N]`, the log density in nats that the generator gives examples
        `[N, ...]` of the main field, as networks have them; None where it isn't known.
    """

    init: Callable[[jax.Array], State]
    iteration: Step
    batch_size: int | Mapping[str, int]
    sample: Sample
    pairs: Mapping[str, str] = MappingProxyType({})
    frozen: Mapping[str, Frozen] = MappingProxyType({})
    translations: Mapping[str, Translation] = MappingProxyType({})
    readings: Mapping[str, Reading] = MappingProxyType({})
    latents: Latents | None = None
    member: "GAN | None" = None
    log_density: Callable[..., jax.Array] | None = None

    def taken(self, name: str | None = None) -> int:
        """Returns how many examples an iteration takes of a set, by default the most of any."""
        if isinstance(self.batch_size, int):
            return self.batch_size
        return max(self.batch_size.values()) if name is None else self.batch_size[name]


Build = Callable[[Any, DataSpec], GAN]


def init_with(
    generator: nn.Module,
    discriminator: nn.Module,
    tx: optax.GradientTransformation,
    latent: Example,
    image: Example,
    hyper: dict[str, float],
    *,
    conditions: tuple[Example | None, Example | None] = (None, None),
    extras: Callable[[Mapping[str, TrainState]], Mapping[str, Any]] | None = None,
) -> Callable[[jax.Array], GANState]:
    """Returns `GAN.init` for a generator and a discriminator with one kind of optimiser: `latent` and `image` are
    examples, `[1, ...]`, of what they are given, or shape and type of them, for zeros; `conditions` are what they are
    given beside it; `hyper` as in GANState; `extras`: `players -> extras`, what terms keep between steps, at step 0."""

    def init(key: jax.Array) -> GANState:
        modules = {"generator": generator, "discriminator": discriminator}
        inputs = {"generator": (latent, conditions[0]), "discriminator": (image, conditions[1])}
        players = init_players(key, modules, tx, {name: [*map(_example, given)] for name, given in inputs.items()})
        return GANState.create(key, **players, hyper=hyper, extras=extras(players) if extras else None)

    return init


def _example(like: Any) -> Any:
    """Returns zeros where only their shape and type are given; other examples, and None, as they are."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else x, like)


def generate_with(state: GANState, inputs: dict[str, jax.Array], *, weights: Weights = "ema") -> jax.Array:
    """Applies the generator to its inputs in evaluation mode, with averaged ("ema") or raw weights."""
    made: jax.Array = state.evaluate("generator", inputs["latent"], inputs.get("condition"), weights=weights)
    return made


def sample_with(sampler: Sampler, output: str = "image") -> Sample:
    """Returns `GAN.sample` of a plain GAN: the generator's outputs, in evaluation mode, for the sampler's inputs, under
    the name `output`.

    toward, share: of a walk between latents; from those that `keys` draw to those of the keys `toward` `[N]`, so much
    of the way along great circles, since N(0, I) lives near a sphere."""

    def sample(
        state: State,
        examples: Any,
        keys: jax.Array,
        *,
        weights: Weights = "ema",
        toward: jax.Array | None = None,
        share: jax.Array | float = 0.0,
    ) -> dict[str, jax.Array]:
        return {output: generate_with(state, drawn_inputs(sampler, examples, keys, toward, share), weights=weights)}

    return sample


def drawn_inputs(
    sampler: Callable[..., dict[str, jax.Array]],
    examples: Any,
    keys: jax.Array,
    toward: jax.Array | None,
    share: jax.Array | float,
    threshold: jax.Array | float | None = None,
) -> dict[str, jax.Array]:
    """Returns a sampler's inputs, whose latents are on the way that `sample_with` describes. threshold: given to a
    sampler that takes one, see `jaxgan.samplers.latents`."""
    how = {} if threshold is None else {"threshold": threshold}
    inputs = sampler(examples, keys, **how)
    if toward is None:
        return inputs
    return {**inputs, "latent": between(inputs["latent"], sampler(examples, toward, **how)["latent"], share)}


def between(start: jax.Array, end: jax.Array, share: jax.Array | float) -> jax.Array:
    """Returns latents `[N, ...]` on the great circles from `start` to `end`, `share` of the way, a number or `[N, 1]`;
    straight between those of one direction, or of opposite ones, which have no great circle of their own."""
    start_flat, end_flat = (x.reshape(len(x), -1) for x in (start, end))
    lengths = jnp.linalg.norm(start_flat, axis=-1) * jnp.linalg.norm(end_flat, axis=-1)
    angle = jnp.arccos(jnp.clip(jnp.sum(start_flat * end_flat, -1) / lengths, -1.0, 1.0))[:, None]
    turned = jnp.sin((1 - share) * angle) * start_flat + jnp.sin(share * angle) * end_flat
    alone = jnp.sin(angle) < NO_CIRCLE
    straight = (1 - share) * start_flat + share * end_flat
    return jnp.where(alone, straight, turned / jnp.where(alone, 1.0, jnp.sin(angle))).reshape(start.shape)


def build_gan(build: Build, options: Any, data: DataSpec) -> GAN:
    """Calls `build(options, data)`. UsageError for what the library refuses, and for data that the GAN doesn't take."""
    with refusals():
        gan = build(options, data)
    if not isinstance(gan.batch_size, int) and gan.batch_size.keys() != data.sets.keys():
        takes, has = ", ".join(gan.batch_size), ", ".join(data.sets) or "a single one"
        raise UsageError(f"this experiment takes the sets {takes}, and the data are {has}: --dataset NAME=SET,NAME=SET")
    return gan
