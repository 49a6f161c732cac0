"""Networks from images to images, as small as possible, with reflected borders, and the start of a game of them."""

import functools

import flax.linen as nn
import jax.numpy as jnp
import optax

from jaxgan import GANState, init_players
from jaxgan.networks.layers import Conv, InstanceNorm, build, normalise


def started(key, networks, inputs, weights, extras=None, averaged=("generator",)):
    players = init_players(key, networks, optax.scale_by_adam(0.5), inputs)
    hyper = {f"{name}/learning_rate": 2e-3 for name in networks} | {"ema_half_life": 100.0} | weights
    return GANState.of(key, players, averaged=averaged, hyper=hyper, extras=extras)


def evaluated(state, name, source, weights):
    return state.evaluate(name, source, weights=weights)


reflecting = functools.partial(Conv, padding_mode="reflect")


class Translator(nn.Module):
    channels: int
    norm: type = InstanceNorm

    @nn.compact
    def __call__(self, x, *, train):
        x = build(reflecting, 8, 3, 1, 1, name="first")(x)
        x = nn.relu(normalise(self.norm, x, train=train, name="norm"))
        return jnp.tanh(build(reflecting, self.channels, 3, 1, 1, name="last")(x))


class Patches(nn.Module):
    @nn.compact
    def __call__(self, image, source=None):
        x = image if source is None else jnp.concatenate([image, source], axis=-1)
        return Conv(1, 4, 2, 1)(nn.leaky_relu(Conv(8, 4, 2, 1)(x), 0.2))[..., 0]
