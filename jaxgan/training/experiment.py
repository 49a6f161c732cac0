"""What an experiment hands to the loop."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from jaxgan.data import ImageSet
from jaxgan.data.stream import Stream
from jaxgan.ensemble import Ensemble
from jaxgan.state import ROLES, GANState, TrainState, init_player
from jaxgan.steps import Sampler, Step
from jaxgan.training.logging import bar_interval
from jaxgan.training.pictures import to_uint8
from jaxgan.training.usage import refusals

__all__ = [
    "GAN",
    "Build",
    "DataSpec",
    "display_inputs",
    "draw",
    "drawing",
    "generate_with",
    "images_of",
    "init_with",
    "made",
    "sheet",
    "takes_labels",
]

State = Any  # a pytree with `step` and `key`
DRAWN = 256  # images at a time, of all members together
OF_A_CLASS = 8  # columns of a sheet with a class a row


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What networks must know of their data, and what a continued run must find unchanged."""

    name: str
    count: int
    size: int
    channels: int
    classes: int
    content: str = ""
    """A checksum of images and labels; of a stream from files, that of their names and sizes and of the labels."""

    @property
    def points(self) -> bool:
        """Whether the "images" are points of the plane, floats `[N, 1, 1, 2]`."""
        return (self.size, self.channels) == (1, 2)

    @property
    def shown(self) -> int:
        """How many make a picture."""
        return 2500 if self.points else 64

    @classmethod
    def of(cls, data: ImageSet | Stream, size: int | None = None) -> "DataSpec":
        """`size` where the step crops images to it."""
        check = zlib.crc32(np.ascontiguousarray(data.labels).data)
        if isinstance(data, Stream):
            check = zlib.crc32(np.ascontiguousarray(data.chosen).data, check) ^ data.source.identity()
            stored, channels = data.prepare.size, data.prepare.channels
        else:
            check ^= data.identity()
            stored, channels = data.images.shape[1], data.images.shape[3]
        return cls(data.name, len(data), size or stored, channels, len(data.class_names), f"{check:08x}")


class GAN(NamedTuple):
    """All that the loop knows of a GAN.

    init: `key -> state`, a pytree with an int32 `step` and a `key`.
    iteration: `(state, batch) -> (state, metrics)`, one generator update; in an ensemble that of one member.
    batch_size: examples that an iteration consumes, all critic steps together.
    sampler: what the generator is fed, as in the steps.
    generate: `(state, inputs, ema) -> images` in [-1, 1], with averaged (ema) or raw weights.
    """

    init: Callable[[jax.Array], State]
    iteration: Step
    batch_size: int
    sampler: Sampler
    generate: Callable[[State, dict[str, jax.Array], bool], jax.Array]


Build = Callable[[Any, DataSpec], GAN]


def init_with(
    generator: nn.Module,
    discriminator: nn.Module,
    tx: optax.GradientTransformation,
    latent: jax.Array,
    image: jax.Array,
    hyper: dict[str, float],
    *,
    conditions: tuple[jax.Array | None, jax.Array | None] = (None, None),
    extras: Callable[[TrainState, TrainState], Mapping[str, Any]] | None = None,
) -> Callable[[jax.Array], GANState]:
    """`GAN.init` for a generator and a discriminator with one kind of optimiser: `latent` and `image` are examples,
    `[1, ...]`, of what they are given; `conditions` are what they are given beside it; `hyper` as in GANState;
    `extras`: `(generator, discriminator) -> extras`, what terms keep between steps, at step 0."""

    def init(key: jax.Array) -> GANState:
        g_key, d_key = jax.random.split(jax.random.fold_in(key, ROLES["init"]))
        g = init_player(g_key, generator, tx, latent, conditions[0])
        d = init_player(d_key, discriminator, tx, image, conditions[1])
        return GANState.create(key, g, d, hyper=hyper, extras=extras(g, d) if extras else None)

    return init


def generate_with(state: GANState, inputs: dict[str, jax.Array], ema: bool) -> jax.Array:
    """`GAN.generate` for every GANState: the generator in evaluation mode."""
    generator = state.generator
    variables = state.ema if ema else {"params": generator.params, **generator.variables}
    return generator.apply_fn(variables, inputs["latent"], inputs.get("condition"), train=False)


def images_of(gan: GAN, state: State, inputs: dict[str, jax.Array], ema: bool = True) -> jax.Array:
    """uint8 images `[N, H, W, C]`, or float32 points `[N, 1, 1, 2]`; of an ensemble `[S, N, ...]`."""
    images = gan.generate(state, inputs, ema)
    return images if images.shape[-3:] == (1, 1, 2) else to_uint8(images)


def takes_labels(gan: GAN) -> bool:
    """Whether what is drawn depends on a label."""
    batch = {"label": jax.ShapeDtypeStruct((1,), jnp.int32)}
    return "condition" in jax.eval_shape(lambda x: gan.sampler(x, jax.random.split(jax.random.key(0), 1)), batch)


def made(build: Build, options: Any, data: DataSpec) -> GAN:
    """What `build` makes. On data without classes its iteration is given no labels, so that whatever needs them says
    so, where zeros would pass for a class. UsageError for what the library refuses."""
    with refusals():
        gan = build(options, data)
    if data.classes:
        return gan
    step = gan.iteration if isinstance(gan.iteration, Step) else Step(gan.iteration)

    def unlabelled(state: State, batch: dict[str, jax.Array]) -> tuple[State, dict[str, jax.Array]]:
        return step(state, {name: array for name, array in batch.items() if name != "label"})

    return gan._replace(iteration=dataclasses.replace(step, function=unlabelled))


def sheet(gan: GAN, data: DataSpec, *, square: bool = False) -> tuple[int, int | None]:
    """How many images make a sheet, and in how many columns: a class a row where there are labels to draw by, and no
    more than 16, otherwise, or where it is to be `square`, as square as can be."""
    if not square and takes_labels(gan) and 1 < data.classes <= 16:
        return OF_A_CLASS * data.classes, OF_A_CLASS
    return data.shown, None


def display_inputs(
    gan: GAN,
    key: jax.Array,
    first: int | jax.Array,
    count: int,
    classes: int,
    *,
    label: int | None = None,
    run: int | None = None,
) -> dict[str, jax.Array]:
    """Inputs number `first` to `first + count` of an endless list that `key` fixes: all of one `label`, or labels that
    take turns, after `run` of each."""
    number = first + jnp.arange(count, dtype=jnp.int32)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(number)
    labels = number // (run or 1) % max(classes, 1) if label is None else jnp.full_like(number, label)
    return gan.sampler({"label": labels}, keys)


def drawing(
    gan: GAN,
    classes: int,
    count: int,
    *,
    members: int = 0,
    seed: int = 0,
    ema: bool = True,
    label: int | None = None,
    run: int | None = None,
    everywhere: jax.sharding.Sharding | None = None,
) -> Callable[[State], np.ndarray]:
    """A function that draws, from a state, `count` of what `images_of` makes, on the host; it compiles once. `members`:
    how many GANs an ensemble's state has. `label`, `run`: as for `display_inputs`. The same seed draws the same,
    whatever the count. Where the state is spread over processes, `everywhere` is the sharding that gives each of them
    all."""
    key, size = jax.random.key(seed), max(1, min(DRAWN // max(1, members), count))  # of each member

    def some(state: State, first: jax.Array) -> jax.Array:
        return images_of(gan, state, display_inputs(gan, key, first, size, classes, label=label, run=run), ema)

    batch = jax.jit(some, out_shardings=everywhere)
    hidden = count <= size or jax.process_index() > 0

    def drawn(state: State) -> np.ndarray:
        bar = tqdm(desc="drawing", total=count, unit="image", mininterval=bar_interval(), delay=2, disable=hidden)
        parts = []
        with bar:
            for first in range(0, count, size):
                parts.append(np.asarray(batch(state, np.int32(first))))
                bar.update(size)
        images = np.concatenate(parts, axis=-4)
        return images[..., :count, :, :, :]

    return drawn


def draw(gan: GAN, state: State, classes: int, count: int, **how: Any) -> np.ndarray:
    """`count` images of a state, once, as by `drawing`."""
    members = len(state.frozen) if isinstance(state, Ensemble) else 0
    return drawing(gan, classes, count, members=members, **how)(state)
