"""A small GAN with all that changes in a run, for tests that kill it: Adam, an average, a schedule, an adaptive term.

    echo --steps 100 --workdir RUN | python tests/killable.py

It says `ready` when it has imported everything, and then waits for its arguments on the standard input, so that a test
has the next process ready while the present one runs.
"""

import dataclasses
import shlex
import sys
from typing import Literal

import jax
import jax.numpy as jnp
import optax
import sklearn.datasets  # noqa: F401  # training would import the last three later
import tensorboardX  # noqa: F401

from jaxgan import GANState, d_loss, g_loss, init_player, iteration, latents, make_joint_step
from jaxgan.losses import non_saturating
from jaxgan.networks.dcgan import Discriminator, Generator
from jaxgan.state import ROLES
from jaxgan.terms import Term, View
from jaxgan.training import GAN, DataSpec, main, sample_with
from jaxgan.training import Options as CommonOptions

LATENT = 8
TARGET, SPEED = 0.6, 0.01  # of the mean sign of the real logits; of the strength, an update
DECAY = 40_000  # images after which the learning rate is a tenth


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    dataset: str = "digits"
    image_size: Literal[28] = 28
    batch_size: int = 8
    devices: int | None = 1
    checkpoint_every: int = 5
    sample_every: int = 25


def adaptive(view: View) -> tuple[jax.Array, dict[str, jax.Array]]:
    """A penalty on the logits whose strength rises while the discriminator is too sure of the real images, as that of
    the augmentation does in ADA (Karras et al. 2020, arXiv 2006.06676); and, as in LeCam's, an average of the logits
    that they are drawn to."""
    real = view.real["logits"]
    sign, mean = jax.lax.stop_gradient((jnp.mean(jnp.sign(real)), jnp.mean(real)))
    strength = jnp.clip(view.extras["strength"] + SPEED * jnp.sign(sign - TARGET), 0.0, 1.0)
    anchor = 0.9 * view.extras["anchor"] + 0.1 * mean
    return strength * (real - anchor) ** 2, {"strength": strength, "anchor": anchor}


def decay(images: jax.Array) -> jax.Array:
    """The learning rate's factor: linear, down to a tenth."""
    return jnp.maximum(0.1, 1.0 - 0.9 * images / DECAY)


def build(options: Options, data: DataSpec) -> GAN:
    generator, discriminator = Generator(data.size, data.channels, 2), Discriminator(2)
    sampler = latents(LATENT)

    def init(key: jax.Array) -> GANState:
        g_key, d_key = jax.random.split(jax.random.fold_in(key, ROLES["init"]))
        adam = optax.scale_by_adam(b1=0.5)
        return GANState.create(
            key,
            init_player(g_key, generator, adam, jnp.zeros((1, LATENT))),
            init_player(d_key, discriminator, adam, jnp.zeros((1, *data.shape))),
            hyper={"generator/learning_rate": 2e-3, "discriminator/learning_rate": 2e-3, "ema_half_life": 500.0},
            extras={"strength": jnp.zeros(()), "anchor": jnp.zeros(())},
        )

    d_terms = [d_loss(non_saturating), Term("adaptive", adaptive, 0.1)]
    step = make_joint_step(sampler, d_terms, [g_loss(non_saturating)], schedule=decay)
    return GAN(init, iteration(step), options.batch_size, sample_with(sampler))


if __name__ == "__main__":
    if sys.argv[1:] == ["cold"]:  # as one of several processes must be, which meet before XLA starts
        sys.argv.pop()
    else:
        jax.devices()  # starts XLA
    print("ready", flush=True)
    if arguments := sys.stdin.readline():  # nothing where the test has ended
        sys.argv += shlex.split(arguments)
        main(Options, build)
