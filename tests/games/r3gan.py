"""R3GAN's training: Huang et al. 2024 (arXiv 2501.05441). Relativistic pairs, R1 and R2, schedules, ADA."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import GANState, Outcome, augment, init_player, iteration, joint, penalties, update
from jaxgan.losses import relativistic
from jaxgan.schedules import cosine


def fakes(nets, batch, draw, state):
    return nets["generator"](draw.normal("z", 4))


def augmented(images, name, draw, state):
    """Augments with ADA's probability, Karras et al. 2020 (arXiv 2006.06676), under a scheduled ceiling."""
    p = jnp.minimum(state.extras["p"], state.hyper["p"])
    changed = augment.shift(augment.flip(images, draw.keys(f"{name} flip")), draw.keys(f"{name} shift"), 1)
    return jnp.where((draw.uniform(f"{name} changes") < p).reshape(-1, 1, 1, 1), changed, images)


def discriminator(nets, batch, draw, state, fake):
    net = nets["discriminator"]
    real, fake = augmented(batch["image"], "real", draw, state), augmented(fake, "fake", draw, state)
    of_real, of_fake = net(real), net(fake)
    sure = draw.mean(jnp.mean(jnp.sign(of_real)))
    p = jnp.clip(state.extras["p"] + jnp.sign(sure - 0.6) * draw.count / 500e3, 0.0, 1.0)
    losses = {
        "adversarial": relativistic.d(of_real, of_fake),
        "r1": penalties.r1(net.frozen, real),
        "r2": penalties.r2(net.frozen, fake),
    }
    return Outcome(losses, {"p": p}, {"p": p, "sure": sure})


def generator(nets, batch, draw, state, fake):
    real, fake = augmented(batch["image"], "real", draw, state), augmented(fake, "fake", draw, state)
    return {"adversarial": relativistic.g(nets["discriminator"](fake), nets["discriminator"](real))}


SCHEDULES = {
    "generator/learning_rate": cosine(2e-1, 5e-2, 100),
    "discriminator/learning_rate": cosine(2e-1, 5e-2, 100),
    "gamma/2": cosine(1.0, 0.1, 100),
    "generator/b2": cosine(0.9, 0.99, 100),
    "discriminator/b2": cosine(0.9, 0.99, 100),
    "ema_half_life": cosine(0.0, 500e3, 100),
    "p": cosine(0.0, 0.3, 100),
}


def make(axis_name=None, accumulate=None):
    how = {"make": fakes, "axis_name": axis_name, "accumulate": accumulate or 1}
    d = update("discriminator", discriminator, weights={"r1": "gamma/2", "r2": "gamma/2"}, **how)
    g = update("generator", generator, **how)
    return iteration(*([joint(d, g)] if accumulate is None else [d, g]), schedules=SCHEDULES)


class Generator(nn.Module):
    @nn.compact
    def __call__(self, z):
        return nn.Dense(16)(jnp.tanh(nn.Dense(8)(z))).reshape(-1, 4, 4, 1)


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(jnp.tanh(nn.Dense(8)(x.reshape(len(x), -1))))[:, 0]


@optax.inject_hyperparams
def forgetful(b2: float) -> optax.GradientTransformation:
    """Returns SGD on an average of gradients, whose decay a schedule changes."""
    return optax.trace(decay=b2)


def start(key=jax.random.key(0), tx=None):  # noqa: B008 - a constant
    tx = tx or forgetful(b2=0.9)
    batch = {"image": jax.random.normal(key, (8, 4, 4, 1))}
    g_key, d_key = jax.random.split(key)
    hyper = {"generator/learning_rate": 0.2, "discriminator/learning_rate": 0.2, "ema_half_life": 1e3}
    hyper |= {"gamma/2": 1.0, "p": 0.3}
    g = init_player(g_key, Generator(), tx, jnp.zeros((1, 4)))
    d = init_player(d_key, Discriminator(), tx, batch["image"])
    return GANState.create(key, g, d, hyper=hyper, extras={"p": jnp.asarray(0.2)}), batch
