"""StyleGAN2's training: Karras et al. 2020 (arXiv 1912.04958). Style mixing, lazy R1 and path length, `w_avg`."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import GANState, Outcome, init_player, iteration, joint, penalties, update
from jaxgan.losses import non_saturating
from jaxgan.networks.minibatch import MinibatchStdDev

LAYERS = 2


def fakes(nets, batch, draw, state):
    w, other = (nets["generator"](draw.normal(name, 6), method="mapping") for name in ("z", "other z"))
    cut = jnp.where(draw.uniform("mixes") < 0.9, 1 + (LAYERS - 1) * draw.uniform("cut"), LAYERS)
    first = (jnp.arange(LAYERS, dtype=jnp.float32)[None] < cut[:, None])[..., None]
    mixed = jnp.where(first, w[:, None], other[:, None])
    return {"w": mixed, "image": nets["generator"](mixed, method="synthesize")}


def generator(nets, batch, draw, state, fake):
    def path_length():
        noise = draw.normal("path", *fake["image"].shape[1:]) / 4  # of 4×4 pixels
        paint = lambda w: jnp.sum(nets["generator"].frozen(w, method="synthesize") * noise)  # noqa: E731
        length = jnp.sqrt(jnp.mean(jnp.sum(jax.grad(paint)(fake["w"]) ** 2, axis=2), axis=1))
        average = state.extras["path"]
        average = average + 0.01 * (draw.mean(jnp.mean(jax.lax.stop_gradient(length))) - average)
        return (length - average) ** 2, average

    path, average = draw.every(2, path_length, state.extras["path"])
    adversarial = non_saturating.g(nets["discriminator"](fake["image"]))
    return Outcome({"adversarial": adversarial, "path": path}, {"path": average})


def discriminator(nets, batch, draw, state, fake):
    net = nets["discriminator"]
    return {
        "adversarial": non_saturating.d(net(batch["image"]), net(fake["image"])),
        "r1": draw.every(2, lambda: penalties.r1(net.frozen, batch["image"])),
    }


def make(axis_name=None, accumulate=None):
    how = {"make": fakes, "axis_name": axis_name, "accumulate": accumulate or 1}
    d = update("discriminator", discriminator, weights={"r1": "gamma/2"}, **how)
    g = update("generator", generator, weights={"path": 2.0}, **how)
    return iteration(joint(d, g)) if accumulate is None else iteration(d, g)


class Generator(nn.Module):
    def setup(self):
        self.map, self.average = nn.Dense(6), self.variable("w_avg", "mean", jnp.zeros, (6,))
        self.first = nn.Dense(4 * 4 * 4)
        self.styles, self.convs = [
            [make(4) for _ in range(LAYERS)] for make in (nn.Dense, lambda n: nn.Conv(n, (3, 3)))
        ]
        self.rgb = nn.Conv(3, (1, 1))

    def mapping(self, z):
        w = self.map(z * jax.lax.rsqrt(jnp.mean(z**2, axis=-1, keepdims=True) + 1e-8))
        if self.is_mutable_collection("w_avg") and not self.is_initializing():
            mean = jnp.mean(jax.lax.stop_gradient(w), axis=0)
            self.average.value = self.average.value + 0.005 * (mean - self.average.value)
        return w

    def synthesize(self, w):
        x = jnp.tanh(self.first(jnp.ones_like(w[:, 0])).reshape(-1, 4, 4, 4))
        for i, (style, conv) in enumerate(zip(self.styles, self.convs, strict=True)):
            x = jnp.tanh(conv(x * (1 + style(w[:, i]))[:, None, None]))
        return self.rgb(x)

    def __call__(self, z):
        return self.synthesize(jnp.stack([self.mapping(z)] * LAYERS, axis=1))

    def truncated(self, z, psi=0.7):
        average = self.average.value[None]
        return self.synthesize(jnp.stack([average + psi * (self.mapping(z) - average)] * LAYERS, axis=1))


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = MinibatchStdDev(2)(jnp.tanh(nn.Conv(4, (3, 3), (2, 2))(x)))
        return nn.Dense(1)(x.reshape(len(x), -1))[:, 0]


def start(key=jax.random.key(0), tx=optax.identity()):  # noqa: B008 - constants
    batch = {"image": jax.random.normal(key, (8, 4, 4, 3))}
    g_key, d_key = jax.random.split(key)
    hyper = {"generator/learning_rate": 0.1, "discriminator/learning_rate": 0.1, "ema_half_life": 1e3, "gamma/2": 5.0}
    g, d = (
        init_player(g_key, Generator(), tx, jnp.zeros((1, 6))),
        init_player(d_key, Discriminator(), tx, batch["image"]),
    )
    return GANState.create(key, g, d, hyper=hyper, extras={"path": jnp.zeros(())}), batch
