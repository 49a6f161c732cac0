"""CycleGAN, four networks, between images of one channel and of two: the iteration of `experiments.cyclegan` on
networks as small as can be."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from experiments import cyclegan
from jaxgan import GANState, empty_history, init_player


def make(axis_name=None):
    return cyclegan.make_iteration(cyclegan.Options(), identity=False, axis_name=axis_name)


class Translator(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x):
        return jnp.tanh(nn.Conv(self.channels, (3, 3))(jnp.tanh(nn.Conv(4, (3, 3))(x))))


class Patches(nn.Module):
    @nn.compact
    def __call__(self, x):
        return {"logits": nn.Conv(1, (3, 3))(jnp.tanh(nn.Conv(4, (4, 4), (2, 2))(x)))[..., 0]}


def start(key=jax.random.key(0), tx=optax.identity()):  # noqa: B008 - constants
    a, b = (jax.random.uniform(jax.random.fold_in(key, n), (8, 8, 8, n), minval=-1.0) for n in (1, 2))
    networks = {"G": (Translator(2), a), "F": (Translator(1), b), "Da": (Patches(), a), "Db": (Patches(), b)}
    keys = jax.random.split(key, 4)
    players = {name: init_player(keys[i], module, tx, of) for i, (name, (module, of)) in enumerate(networks.items())}
    hyper = {f"{name}/learning_rate": 0.1 for name in players} | {"cycle": 10.0, "ema_half_life": 1e3}
    pools = {"pool of a": empty_history(a, 12), "pool of b": empty_history(b, 12)}
    return GANState.of(key, players, averaged=["G", "F"], hyper=hyper, extras=pools), {"a": a, "b": b}
