"""Networks with a class label among their inputs.

`LabelledGenerator` and `LabelledDiscriminator` put the label beside the input of any family's network;
`ConditionalBatchNorm` of `jaxgan.networks.layers` puts it into the normalisation; heads that use it are in
`jaxgan.networks.heads`.

A condition is the labels, integers `[B]` in [0, classes). A compiled program cannot raise an error for another label.
The result is NaN then, which is noticed, and not the nearest class or none.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.networks.layers import ConditionalBatchNorm, one_hot, rows

__all__ = ["ConditionalBatchNorm", "LabelledDiscriminator", "LabelledGenerator", "one_hot"]


class LabelledGenerator(nn.Module):
    """`generator` on latents `[B, L]` followed by the label `[B]`: as one-hot, `classes` numbers, or learned,
    `embedding` numbers for each class, which start as draws from N(0, 1) like a latent's.

    Mirza & Osindero 2014 (arXiv 1411.1784), section 3.2; in their experiments each passes a dense layer before the two
    are joined. The inner generator is given no condition. ValueError without labels.
    """

    generator: nn.Module
    classes: int
    embedding: int | None = None

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        size = latent.shape[0]
        if self.embedding is None:
            label = one_hot(condition, self.classes, size)
        else:
            init = nn.initializers.normal(1.0)
            table = self.param("embedding", init, (self.classes, self.embedding), jnp.float32)
            label = rows(table, condition, size)
        return self.generator(jnp.concatenate([latent, label.astype(latent.dtype)], axis=1), None, train=train)


class LabelledDiscriminator(nn.Module):
    """`discriminator` on images `[B, ..., C]` with more channels that show the label `[B]`: `classes` constant ones, of
    which the label's is 1 and the others 0, or, `embedded`, a learned map for each class, whose pixels start as draws
    from N(0, 1).

    Mirza & Osindero 2014 (arXiv 1411.1784), section 3.2; in their experiments each passes a dense layer before the two
    are joined. Returns the outputs of the inner discriminator, which is given no condition. ValueError without labels.
    """

    discriminator: nn.Module
    classes: int
    embedded: bool = False

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array | None = None, *, train: bool) -> dict[str, jax.Array]:
        size, *pixels, _ = image.shape
        if self.embedded:
            init = nn.initializers.normal(1.0)
            table = self.param("embedding", init, (self.classes, math.prod(pixels)), jnp.float32)
            label = rows(table, condition, size).reshape(size, *pixels, 1)
        else:
            label = one_hot(condition, self.classes, size).reshape(size, *(1,) * len(pixels), self.classes)
            label = jnp.broadcast_to(label, (size, *pixels, self.classes))
        return self.discriminator(jnp.concatenate([image, label.astype(image.dtype)], axis=-1), None, train=train)
