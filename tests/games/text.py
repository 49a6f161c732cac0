"""A generator of tokens that learns by REINFORCE: Yu et al. 2017 (arXiv 1609.05473), with a reward for every prefix."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import GANState, Outcome, init_player, iteration, joint, update
from jaxgan.losses import non_saturating

WORDS, LENGTH = 5, 3


def write(nets, batch, draw, state):
    return nets["generator"](draw.normal("z", 4), draw.keys("tokens"))


def generator(nets, batch, draw, state, generated):
    rewards = jax.nn.sigmoid(nets["discriminator"](generated["tokens"]))
    left = (LENGTH - jnp.arange(LENGTH)).astype(jnp.float32)[None]
    to_go = jnp.cumsum(rewards[:, ::-1], axis=1)[:, ::-1] / left
    old = state.extras["baseline"]
    baseline = 0.9 * old + 0.1 * draw.mean(jnp.mean(to_go, axis=0))
    advantage = jax.lax.stop_gradient(to_go - old[None])
    return Outcome({"reinforce": -advantage * generated["log_p"]}, {"baseline": baseline}, {"reward": rewards})


def discriminator(nets, batch, draw, state, generated):
    net = nets["discriminator"]
    return {"adversarial": non_saturating.d(net(batch["tokens"]), net(generated["tokens"]))}


def make(axis_name=None, accumulate=None):
    how = {"make": write, "axis_name": axis_name, "accumulate": accumulate or 1}
    d, g = update("discriminator", discriminator, **how), update("generator", generator, **how)
    return iteration(joint(d, g)) if accumulate is None else iteration(d, g)


class Writer(nn.Module):
    """A generator that draws token after token, each example with a key of its own."""

    @nn.compact
    def __call__(self, z, keys):
        cell, out, hidden, token = nn.Dense(6), nn.Dense(WORDS), jnp.tanh(nn.Dense(6)(z)), jnp.zeros(len(z), jnp.int32)
        kept = []
        for t in range(LENGTH):
            hidden = jnp.tanh(cell(jnp.concatenate([hidden, jax.nn.one_hot(token, WORDS)], axis=1)))
            log_p = jax.nn.log_softmax(out(hidden))
            draw = lambda key, p, t=t: jax.random.categorical(jax.random.fold_in(key, t), p)  # noqa: E731
            token = jax.vmap(draw)(keys, log_p).astype(jnp.int32)
            kept.append((token, jnp.sum(log_p * jax.nn.one_hot(token, WORDS), axis=1)))
        tokens, log_p = zip(*kept, strict=True)
        return {"tokens": jnp.stack(tokens, axis=1), "log_p": jnp.stack(log_p, axis=1)}


class Reader(nn.Module):
    """A discriminator: tokens `[B, T]` -> a logit for every prefix `[B, T]`."""

    @nn.compact
    def __call__(self, tokens):
        states = jnp.cumsum(nn.Dense(6)(jax.nn.one_hot(tokens, WORDS)), axis=1)
        return nn.Dense(1)(jnp.tanh(states))[..., 0]


def start(key=jax.random.key(0), tx=optax.identity()):  # noqa: B008 - constants
    batch = {"tokens": jax.random.randint(key, (8, LENGTH), 0, WORDS)}
    g_key, d_key = jax.random.split(key)
    hyper = {"generator/learning_rate": 0.1, "discriminator/learning_rate": 0.1, "ema_half_life": 1e3}
    g = init_player(g_key, Writer(), tx, jnp.zeros((1, 4)), key[None])
    d = init_player(d_key, Reader(), tx, batch["tokens"])
    return GANState.create(key, g, d, hyper=hyper, extras={"baseline": jnp.zeros(LENGTH)}), batch
