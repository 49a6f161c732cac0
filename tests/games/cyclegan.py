"""CycleGAN, four networks: Zhu et al. 2017 (arXiv 1703.10593), between images of one channel and of two."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import GANState, Outcome, empty_history, history, init_player, iteration, joint, update
from jaxgan.losses import least_squares


def translate(nets, batch, draw, state):
    return {"a": nets["F"](batch["b"]), "b": nets["G"](batch["a"])}


def generators(nets, batch, draw, state, fake):
    back = {"a": nets["F"](fake["b"]), "b": nets["G"](fake["a"])}
    return {
        "adversarial": [least_squares.g(nets[f"D{x}"](fake[x])) for x in "ab"],
        "cycle": jax.tree.map(lambda x, y: jnp.abs(x - y), back, batch),
    }


def discriminators(nets, batch, draw, state, fake):
    shown, pool = history(state.extras["pool"], fake, draw)
    judged = [least_squares.d(nets[f"D{x}"](batch[x]), nets[f"D{x}"](shown[x])) for x in "ab"]
    return Outcome({"adversarial": judged}, {"pool": pool})


def make(axis_name=None):
    d = update(("Da", "Db"), discriminators, make=translate, name="discriminators", axis_name=axis_name)
    g = update(
        ("G", "F"), generators, make=translate, name="generators", weights={"cycle": "cycle"}, axis_name=axis_name
    )
    return iteration(joint(d, g, simultaneous=True))  # as in the authors' code: G against the D before


class Translator(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x):
        return jnp.tanh(nn.Conv(self.channels, (3, 3))(jnp.tanh(nn.Conv(4, (3, 3))(x))))


class Patches(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Conv(1, (3, 3))(jnp.tanh(nn.Conv(4, (4, 4), (2, 2))(x)))[..., 0]


def start(key=jax.random.key(0), tx=optax.identity()):  # noqa: B008 - constants
    a, b = (jax.random.uniform(jax.random.fold_in(key, n), (8, 8, 8, n), minval=-1.0) for n in (1, 2))
    networks = {"G": (Translator(2), a), "F": (Translator(1), b), "Da": (Patches(), a), "Db": (Patches(), b)}
    keys = jax.random.split(key, 4)
    players = {name: init_player(keys[i], module, tx, of) for i, (name, (module, of)) in enumerate(networks.items())}
    hyper = {f"{name}/learning_rate": 0.1 for name in players} | {"cycle": 10.0, "ema_half_life": 1e3}
    batch = {"a": a, "b": b}
    pool = {"pool": empty_history(batch, 12)}
    return GANState.of(key, players, averaged=["G", "F"], hyper=hyper, extras=pool), batch
