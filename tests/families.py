"""A small GAN of every family of networks, for tests of what all of them must hold."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.networks import dcgan, heads, minibatch, mlp, resnet
from jaxgan.networks.conditional import LabelledDiscriminator, LabelledGenerator
from jaxgan.networks.layers import BatchNorm, ConditionalBatchNorm, Conv, spectral
from jaxgan.players import init_player
from jaxgan.samplers import codes, labelled, labelled_latents, latents
from jaxgan.state import GANState
from jaxgan.terms import auxiliary

SIZE, LATENT, CLASSES = 4, 6, 3
PLAIN = latents(LATENT)
RATES = {"generator/learning_rate": 0.1, "discriminator/learning_rate": 0.1, "ema_half_life": 1e3}


@dataclasses.dataclass(frozen=True)
class Family:
    """shape: of an image. terms: what its heads ask for beside the adversarial term, for D and for G."""

    generator: nn.Module
    discriminator: nn.Module
    shape: tuple[int, ...]
    sampler: Callable[..., Any] = PLAIN
    prepare: Callable[..., Any] = lambda example: example
    terms: tuple[Any, Any] = ((), ())
    batch_norm: bool = False

    def but(self, **changes):
        return dataclasses.replace(self, **changes)

    def batch(self):
        return {"image": jnp.zeros((SIZE, *self.shape), jnp.float32), "label": jnp.zeros(SIZE, jnp.int32)}

    def state(self, tx=None, hyper=None, extras=None):
        key, batch, tx = jax.random.key(0), self.batch(), tx or optax.identity()
        fed, seen = self.sampler(batch, jax.random.split(key, SIZE)), self.prepare(batch)
        generator = init_player(key, self.generator, tx, fed["latent"], fed.get("condition"))
        discriminator = init_player(key, self.discriminator, tx, seen["image"], seen.get("condition"))
        kept = extras({"generator": generator, "discriminator": discriminator}) if extras else None
        return GANState.create(key, generator, discriminator, hyper=RATES | (hyper or {}), extras=kept)


def families(dtype=jnp.float32):
    """By name, computing in `dtype`."""
    of_labels = {"sampler": labelled_latents(LATENT), "prepare": labelled}
    small = (28, 28, 1)

    def g(**how):
        return dcgan.Generator(size=28, features=2, dtype=dtype, **how)

    def d(**how):
        return dcgan.Discriminator(features=2, dtype=dtype, **{"norm": None} | how)

    by_class = functools.partial(ConditionalBatchNorm, classes=CLASSES)

    return {
        "mlp": Family(mlp.Generator((2,), (8,), dtype), mlp.Discriminator((8,), dtype, dropout=0.2), (2,)),
        "mlp discrimination": Family(
            mlp.Generator((2,), (8,), dtype, bounded=True),
            mlp.Discriminator((8,), dtype, minibatch=minibatch.MinibatchDiscrimination(3, 2), head=heads.Logits()),
            (2,),
        ),
        "dcgan": Family(g(), d(norm=BatchNorm, dropout=0.2), small, batch_norm=True),
        "dcgan deviation": Family(g(norm=None), d(minibatch=minibatch.MinibatchStdDev(2)), small),
        "dcgan projection": Family(g(norm=by_class), d(head=heads.Projection(classes=CLASSES)), small, **of_labels),
        "dcgan one-hot": Family(
            LabelledGenerator(g(), CLASSES), LabelledDiscriminator(d(), CLASSES), small, **of_labels
        ),
        "dcgan embedded": Family(
            LabelledGenerator(g(), CLASSES, 2), LabelledDiscriminator(d(), CLASSES, True), small, **of_labels
        ),
        "dcgan classifier": Family(
            g(norm=by_class),
            d(head=heads.AuxiliaryClassifier(classes=CLASSES)),
            small,
            **of_labels,
            terms=((auxiliary.classify_real_and_fake(),), (auxiliary.classify_fake(),)),
        ),
        "dcgan codes": Family(
            g(),
            d(head=heads.Codes(categories=(3,), continuous=2)),
            small,
            codes(LATENT, (3,), 2),
            terms=((auxiliary.information(),), (auxiliary.information(),)),
        ),
        "residual attention": Family(
            resnet.Generator(16, 1, 4, dtype, conv=spectral(Conv), block_norm=by_class, dropout=0.2, attended=(8,)),
            resnet.Discriminator(4, dtype, heads.Projection(classes=CLASSES), spectral(Conv), attended=(8,)),
            (16, 16, 1),
            **of_labels,
        ),
        "residual": Family(resnet.Generator(16, 1, 4, dtype), resnet.Discriminator(4, dtype), (16, 16, 1)),
    }
