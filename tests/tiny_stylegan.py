"""A StyleGAN as small as can be, with 8×8 images: a mapping, a w read in each of three layers, noise, and `w_avg`. Also
one that is told a class, and a generator without a mapping."""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan import GANState, init_player
from jaxgan.samplers import labelled_latents, latents
from jaxgan.training import GAN, Latents, latents_with, sample_through, sample_with, train
from jaxgan.training import Options as CommonOptions

LATENT, SIDE, LAYERS, CLASSES = 6, 8, ("4", "8", "8"), 3


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    kind: Literal["style", "classes", "plain", "plain classes", "none", "diverged"] = "style"
    """What the generator is."""
    channels: Literal[1, 3] = 1
    """Of its images."""


class Generator(nn.Module):
    channels: int
    classes: bool = False

    def setup(self):
        self.map, self.average = nn.Dense(LATENT), self.variable("w_avg", "mean", jnp.zeros, (LATENT,))
        self.first = nn.Dense(4 * 4 * 8)
        self.styles = [nn.Dense(8) for _ in LAYERS]
        self.convs = [nn.Conv(8, (3, 3)) for _ in LAYERS]
        self.rgb = nn.Conv(self.channels, (1, 1), kernel_init=nn.initializers.normal(0.5))
        self.noise = self.variable("noise", "image", lambda: jnp.asarray(np.random.default_rng(0).normal(size=(8, 8))))

    def mapping(self, latent, condition=None, *, train=False):
        z = latent * jax.lax.rsqrt(jnp.mean(latent**2, axis=-1, keepdims=True) + 1e-8)
        if self.classes:
            z = jnp.concatenate([z, jax.nn.one_hot(condition, CLASSES, dtype=jnp.float32)], axis=-1)
        w = 2 * jnp.tanh(self.map(z))
        if self.is_mutable_collection("w_avg") and not self.is_initializing():
            mean = jnp.mean(jax.lax.stop_gradient(w), axis=0)
            self.average.value = self.average.value + 0.005 * (mean - self.average.value)
        return w

    def synthesize(self, w, *, train=False):
        x = jnp.tanh(self.first(jnp.ones_like(w[:, 0]))).reshape(-1, 4, 4, 8)
        for i, (style, conv) in enumerate(zip(self.styles, self.convs, strict=True)):
            if i == 1:
                x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
            x = conv(x * (1 + style(w[:, i]))[:, None, None])
            x = jnp.tanh(x + 0.05 * self.noise.value.astype(jnp.float32)[None, : x.shape[1], : x.shape[2], None])
        return jnp.tanh(self.rgb(x))

    def __call__(self, latent, condition=None, *, train):
        return self.synthesize(jnp.stack([self.mapping(latent, condition, train=train)] * len(LAYERS), axis=1))


class Plain(nn.Module):
    """A generator without a mapping."""

    channels: int
    classes: bool = False

    @nn.compact
    def __call__(self, latent, condition=None, *, train):
        told = [jax.nn.one_hot(condition, CLASSES, dtype=jnp.float32)] if self.classes else []
        x = jnp.tanh(nn.Dense(32)(jnp.concatenate([latent, *told], axis=-1)))
        return jnp.tanh(nn.Dense(SIDE * SIDE * self.channels)(x)).reshape(-1, SIDE, SIDE, self.channels)


def style_latents(sampler, *, diverged=False):
    def codes(state, inputs, *, weights="ema"):
        given = inputs["latent"], inputs.get("condition")
        w = state.evaluate("generator", *given, weights=weights, method="mapping")
        return jnp.stack([w] * len(LAYERS), axis=1)

    def synthesize(state, codes, inputs, *, weights="ema"):
        drawn = state.evaluate("generator", codes, weights=weights, method="synthesize")
        return {"image": drawn * jnp.nan if diverged else drawn}

    def mean(state, *, weights="ema"):
        return state.variables_of("generator", weights)["w_avg"]["mean"]

    return Latents(sampler, codes, synthesize, mean, LAYERS)


def untrained(network, latent_size, condition):
    """The init and the iteration of a generator alone, which never learns; condition: labels it is given, or none."""

    def init(key):
        player = init_player(key, network, optax.identity(), jnp.zeros((1, latent_size)), condition)
        hyper = {"generator/learning_rate": 0.0, "ema_half_life": 0.0}
        return GANState.of(key, {"generator": player}, averaged=["generator"], hyper=hyper)

    def iteration(state, batch):
        return state.replace(step=state.step + 1), {"generator/loss": batch["image"].mean()}

    return init, iteration


def build(options, spec):
    classes = "classes" in options.kind
    network = (Plain if options.kind.startswith("plain") else Generator)(options.channels, classes)
    sampler = (labelled_latents if classes else latents)(LATENT)
    condition = jnp.zeros((1,), jnp.int32) if classes else None

    init, iteration = untrained(network, LATENT, condition)
    mapped = style_latents(sampler, diverged=options.kind == "diverged")
    if options.kind.startswith("plain"):
        mapped = latents_with(sampler, LATENT)
    sample = sample_with(sampler) if options.kind.startswith("plain") else sample_through(mapped)
    return GAN(init, iteration, options.batch_size, sample, latents=None if options.kind == "none" else mapped)


def run_of(directory, **changes):
    """Trains such a run, whose weights stay as they begin, for a step, and returns its directory."""
    options = {"steps": 1, "checkpoint_every": 1, "batch_size": 2, "devices": 1} | changes
    images = np.random.default_rng(0).integers(0, 256, (12, SIDE, SIDE, options.get("channels", 1)), np.uint8)
    file = directory.with_name(f"{directory.name} data.npz")
    np.savez(file, images=images, labels=np.arange(12) % CLASSES)
    train(build, Options(dataset=f"npz:{file}", workdir=str(directory), **options))
    return directory
