"""VAE-GAN, three networks: Larsen et al. 2016 (arXiv 1512.09300), algorithm 1, whose likelihood is D's features'."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import GANState, init_player, iteration, update
from jaxgan.losses import non_saturating

CODE = 3


def drawn(nets, batch, draw):
    """Returns a code of each image, its reconstruction, and an image of a code from the prior."""
    mean, log_var = nets["encoder"](batch["image"])
    code = mean + jnp.exp(0.5 * log_var) * draw.normal("posterior", CODE)
    return mean, log_var, nets["decoder"](code), nets["decoder"](draw.normal("prior", CODE))


def similarity(net, image, back):
    """Returns -log N(D_l(x) | D_l(x~), I), up to a constant: equation 7."""
    return 0.5 * (net(image)["features"] - net(back)["features"]) ** 2


def encoder(nets, batch, draw, state):
    mean, log_var, back, _ = drawn(nets, batch, draw)
    return {
        "prior": 0.5 * (mean**2 + jnp.exp(log_var) - 1.0 - log_var),
        "likelihood": similarity(nets["discriminator"], batch["image"], back),
    }


def decoder(nets, batch, draw, state):
    *_, back, prior_fake = drawn(nets, batch, draw)
    net = nets["discriminator"]
    adversarial = [non_saturating.g(net(x)["logits"]) for x in (back, prior_fake)]
    return {"adversarial": adversarial, "likelihood": similarity(net, batch["image"], back)}


def discriminator(nets, batch, draw, state):
    *_, back, prior_fake = drawn(nets, batch, draw)
    net = nets["discriminator"]
    real = net(batch["image"])["logits"]
    return {"adversarial": [non_saturating.d(real, net(x)["logits"]) for x in (back, prior_fake)]}


def make(axis_name=None, accumulate=1):
    how = {"axis_name": axis_name, "accumulate": accumulate}
    return iteration(
        update("discriminator", discriminator, **how),
        update("encoder", encoder, **how),
        update("decoder", decoder, weights={"likelihood": "gamma"}, **how),
    )


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, image):
        x = jnp.tanh(nn.Dense(8)(image.reshape(len(image), -1)))
        return nn.Dense(CODE)(x), nn.Dense(CODE)(x)


class Decoder(nn.Module):
    @nn.compact
    def __call__(self, code):
        return jnp.tanh(nn.Dense(16)(jnp.tanh(nn.Dense(8)(code)))).reshape(-1, 4, 4, 1)


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, image):
        features = jnp.tanh(nn.Dense(8)(image.reshape(len(image), -1)))
        return {"features": features, "logits": nn.Dense(1)(features)[:, 0]}


def start(key=jax.random.key(0), tx=optax.identity()):  # noqa: B008 - constants
    batch = {"image": jax.random.uniform(key, (8, 4, 4, 1), minval=-1.0)}
    modules = {"encoder": Encoder(), "decoder": Decoder(), "discriminator": Discriminator()}
    inputs = {"decoder": jnp.zeros((1, CODE))}
    keys = jax.random.split(key, len(modules))
    players = {
        name: init_player(keys[i], module, tx, inputs.get(name, batch["image"]))
        for i, (name, module) in enumerate(modules.items())
    }
    hyper = {f"{name}/learning_rate": 0.1 for name in players} | {"gamma": 0.5}
    hyper |= {"ema_half_life": 1e3, "encoder/ema_half_life": 100.0}
    return GANState.of(key, players, averaged=["encoder", "decoder"], hyper=hyper), batch
