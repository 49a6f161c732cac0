"""Weights that balance losses by the size of their gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

__all__ = ["adaptive_weight"]

PyTree = Any


def adaptive_weight(first: PyTree, second: PyTree, *, delta: float = 1e-4, most: float = 1e4) -> jax.Array:
    """Returns the weight under which a second loss pulls at some parameters as hard as a first one, from the gradients
    of both with respect to these: ‖first‖ / (‖second‖ + delta), at most `most`; a float32 scalar, a constant to
    differentiation.

    VQGAN, Esser et al. 2021 (arXiv 2012.09841), equation 7: first is the gradient of the reconstruction loss, second
    that of the generator's adversarial loss, at the decoder's last layer.

        weight = adaptive_weight(jax.grad(reconstruction)(last), jax.grad(adversarial)(last))
        loss = reconstruction + share * weight * adversarial

    delta: against a division by 0. The paper has 1e-6, the authors' code 1e-4 and `most` 1e4, and multiplies the result
        by a share of 0.75 to 1 that is 0 in the beginning (`schedules.ramp`).
    Gradients are of means over the global batch: on several devices, average each over them before (`Draw.gradient`
    does). A gradient that isn't finite gives a weight that isn't, or 0, and no error.
    """
    first, second = jax.lax.stop_gradient((first, second))
    sizes = [optax.tree.norm(jax.tree.map(lambda x: x.astype(jnp.float32), tree)) for tree in (first, second)]
    return jnp.minimum(sizes[0] / (sizes[1] + delta), most)
