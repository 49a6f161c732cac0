"""VQGAN, an autoencoder with a critic: Esser et al. 2021 (arXiv 2012.09841). Both players are plain functions."""

import jax
import jax.numpy as jnp
import optax

from jaxgan import GANState, Outcome, adaptive_weight, iteration, joint, plain_player, update
from jaxgan.losses import hinge, per_example


def reconstruct(nets, batch, draw, state):
    return nets["generator"](batch["image"])


def generator(nets, batch, draw, state, generated):
    reconstruction = lambda image: jnp.abs(image - batch["image"])  # noqa: E731
    adversarial = lambda image: hinge.g(nets["discriminator"](image))  # noqa: E731

    def pull(loss):  # at the last layer
        return draw.gradient(lambda out: loss(last(out, generated["before"])), nets["generator"].params["out"])

    weight = adaptive_weight(pull(reconstruction), pull(adversarial))
    losses = {
        "reconstruction": reconstruction(generated["image"]),
        "codebook": generated["codebook"],
        "adversarial": weight * adversarial(generated["image"]),
    }
    return Outcome(losses, metrics={"adaptive_weight": weight})


def discriminator(nets, batch, draw, state, generated):
    net = nets["discriminator"]
    return {"adversarial": hinge.d(net(batch["image"]), net(generated["image"]))}


def make(axis_name=None):
    d = update("discriminator", discriminator, make=reconstruct, axis_name=axis_name)
    g = update("generator", generator, make=reconstruct, weights={"adversarial": 0.8}, axis_name=axis_name)
    return iteration(joint(d, g))


def conv(x, kernel, stride=1):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=layout)


def last(out, hidden):
    return jnp.tanh(conv(hidden, out))


def autoencode(p, image):
    z = conv(image, p["encode"], 4)
    distance = jnp.sum((z[..., None, :] - p["codes"][None, None, None]) ** 2, axis=-1)
    q = p["codes"][jnp.argmin(distance, axis=-1)]
    fixed = jax.lax.stop_gradient
    codebook = per_example((fixed(z) - q) ** 2 + 0.25 * (z - fixed(q)) ** 2)
    passed = jnp.repeat(jnp.repeat(z + fixed(q - z), 4, axis=1), 4, axis=2)
    hidden = jnp.tanh(conv(passed, p["decode"]))
    return {"before": hidden, "image": last(p["out"], hidden), "codebook": codebook}


def judge(p, image):
    return conv(jnp.tanh(conv(image, p["a"], 2)), p["b"], 2)[..., 0]


def start(key=jax.random.key(0), tx=optax.identity()):  # noqa: B008 - constants
    drawn = lambda i, *shape: 0.3 * jax.random.normal(jax.random.fold_in(key, i), shape)  # noqa: E731
    batch = {"image": jax.random.uniform(key, (8, 8, 8, 1), minval=-1.0)}
    coder = {"encode": drawn(0, 4, 4, 1, 4), "decode": drawn(1, 3, 3, 4, 4), "out": drawn(2, 3, 3, 4, 1)}
    g = plain_player(autoencode, coder | {"codes": drawn(3, 8, 4)}, tx)
    d = plain_player(judge, {"a": drawn(4, 4, 4, 1, 4), "b": drawn(5, 4, 4, 4, 1)}, tx)
    hyper = {"generator/learning_rate": 0.01, "discriminator/learning_rate": 0.1, "ema_half_life": 1e3}
    return GANState.create(key, g, d, hyper=hyper), batch
