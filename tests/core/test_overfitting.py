"""What ADA and DiffAugment make of a discriminator that overfits, and of one that has nothing to learn: few real images
of a distribution, or new ones in every batch, against a generator that draws from that very distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import adam

from jaxgan import ada, d_loss, diffaugment, latents, make_d_step
from jaxgan.losses import non_saturating
from jaxgan.networks.mlp import Discriminator, Generator
from jaxgan.players import init_player
from jaxgan.state import GANState
from jaxgan.terms import initial_extras

SIDE, LATENT, BATCH, FEW = 8, 16, 32, 12
START = 0.3  # the probability at first


def started(terms):
    keys = jax.random.split(jax.random.key(0), 3)
    g = init_player(keys[0], Generator((SIDE, SIDE, 1), (32,)), adam(), jnp.zeros((1, LATENT)))
    d = init_player(keys[1], Discriminator((128, 128)), adam(), jnp.zeros((1, SIDE, SIDE, 1)))
    hyper = {"generator/learning_rate": 0.0, "discriminator/learning_rate": 1e-3, "ema_half_life": 0.0}
    state = GANState.create(keys[2], g, d, hyper=hyper, extras=initial_extras({}, terms))
    if "ada" in state.extras:
        state = state.replace(extras={"ada": {**state.extras["ada"], "p": jnp.float32(START)}})
    return state


def drawn(state, seed, count):
    """Returns images of the generator's distribution."""
    latent = jax.random.normal(jax.random.key(seed), (count, LATENT), jnp.float32)
    return state.generator.apply_fn({"params": state.generator.params}, latent, train=False)


def trained(real, steps, terms, augment):
    """Trains the discriminator alone. real: `(state, step) -> [B, H, W, 1]`. Returns the last state and the metrics."""
    step, state = make_d_step(latents(LATENT), terms, augment=augment), started(terms)
    batches = jax.vmap(functools.partial(real, state))(jnp.arange(steps))
    return jax.jit(lambda s, images: jax.lax.scan(lambda s, x: step(s, {"image": x}), s, images))(state, batches)


def few(state, step):
    places = jax.random.randint(jax.random.key(step), (BATCH,), 0, FEW, jnp.int32)
    return drawn(state, 10**6, FEW)[places]


def many(state, step):
    return drawn(state, step, BATCH)


@pytest.mark.slow
def test_the_probability_rises_where_d_overfits_and_falls_where_it_does_not():
    """Both begin at 0.3. Real images that are new in every batch can't be told from generated ones: their mean sign is
    0, the probability falls to 0. Twelve can: it rises, until the mean sign is held near its target, 0.6."""
    terms = [d_loss(non_saturating), ada.controller(non_saturating, speed=10_000)]
    how = {"steps": 400, "terms": terms, "augment": ada.augmentation(groups=("blit", "colour"))}
    rises, falls = (trained(real, **how) for real in (few, many))
    p = [np.asarray(metrics["discriminator/ada"]) for _, metrics in (rises, falls)]
    signs = [np.asarray(metrics["discriminator/ada/real_sign"])[-100:].mean() for _, metrics in (rises, falls)]
    assert p[0][-1] > START + 0.1 and p[1][-1] == 0, (p[0][::40], p[1][::40])
    assert abs(signs[0] - 0.6) < 0.1 and abs(signs[1]) < 0.15, signs


@pytest.mark.slow
def test_diffaugment_narrows_the_margin_between_known_and_unknown_images():
    """Logits of the twelve images and of others of their kind: they should be alike. Nothing is changed here."""

    def margin(augment):
        state, _ = trained(few, 300, [d_loss(non_saturating)], augment)
        d = state.discriminator
        logits = lambda x: d.apply(d.params, d.variables, x, train=False)["logits"]  # noqa: E731
        return float(jnp.mean(logits(drawn(state, 10**6, FEW))) - jnp.mean(logits(drawn(state, 77, 500))))

    plain, changed = margin(None), margin(diffaugment.augmentation())
    assert plain > 5 and 0 < changed < plain / 2, (plain, changed)
