"""Gradient penalties on a discriminator, and the clipping of its weights.

A penalty takes a critic `images -> logits` (parameters already bound), images `[B, ...]` and returns raw values `[B]`
in float32. Weights belong to whoever sums the terms: a paper's γ/2 is weight γ/2. Logits of shape `[B, ...]` are
averaged within the example first. The critic must judge each example by itself: under batch normalisation the gradient
of one example's logit reaches into the others and these are no longer the papers' penalties.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.losses import per_example

__all__ = ["clip_weights", "dragan", "r1", "r2", "squared_derivative", "squared_gradient_norm", "wgan_gp"]

PyTree = Any
Critic = Callable[[jax.Array], jax.Array]


def clip_weights(limit: float = 0.01) -> Callable[[PyTree], PyTree]:
    """Returns `params -> params`, which clips every parameter to [-limit, limit]: the `project` of a WGAN's critic.
    Arjovsky et al. 2017 (arXiv 1701.07875), algorithm 1. ValueError for a limit that is not above 0."""
    if not limit > 0:
        raise ValueError(f"expected a limit above 0 to clip weights to, got {limit}")
    return lambda params: jax.tree.map(lambda x: jnp.clip(x, -limit, limit), params)


def squared_gradient_norm(critic: Critic, images: jax.Array) -> jax.Array:
    """Returns ‖∇ₓ D(x)‖² of every example: images `[B, ...] -> [B]`, accumulated in float32."""
    # The sum over the batch has each example's own gradient, since no logit depends on another example.
    gradients = jax.grad(lambda x: jnp.sum(per_example(critic(x))))(images)
    return jnp.sum(gradients.astype(jnp.float32).reshape(images.shape[0], -1) ** 2, axis=1)


def r1(critic: Critic, real: jax.Array) -> jax.Array:
    """Returns ‖∇ₓ D(x)‖² at real images `[B, ...] -> [B]`. Mescheder et al. 2018 (arXiv 1801.04406), equation 9; weight
    γ/2."""
    return squared_gradient_norm(critic, real)


def r2(critic: Critic, fake: jax.Array) -> jax.Array:
    """Returns ‖∇ₓ D(x)‖² at generated images `[B, ...] -> [B]`. Mescheder et al. 2018, equation 10; weight γ/2."""
    return squared_gradient_norm(critic, fake)


def squared_derivative(critic: Critic, images: jax.Array, tangents: jax.Array) -> jax.Array:
    """Returns (v · ∇ₓ D(x))² of every example, the squared derivative along its tangent v: images and tangents `[B,
    ...] -> [B]`, float32.

    With v from N(0, I) its mean over draws is ‖∇ₓ D(x)‖² (Hutchinson 1990), and its standard deviation √2 of that. It
    takes a pass forwards with a tangent in place of one backwards, and what is differentiated for the parameters is
    shorter. ValueError where the shapes differ.
    """
    if tangents.shape != images.shape:
        raise ValueError(f"expected a tangent for each image, of its shape {images.shape}, got {tangents.shape}")
    _, along = jax.jvp(lambda x: per_example(critic(x)), (images,), (tangents.astype(images.dtype),))
    return along.astype(jnp.float32) ** 2


def wgan_gp(critic: Critic, real: jax.Array, fake: jax.Array, mix: jax.Array) -> jax.Array:
    """Returns (‖∇ₓ D(x̂)‖ - 1)² at x̂ = mix·real + (1 - mix)·fake, `[B]`.

    `mix` `[B]` is uniform in [0, 1], one number an example. Gulrajani et al. 2017 (arXiv 1704.00028), equation 3 and
    algorithm 1; weight 10. Raises ValueError where the shapes don't match.
    """
    if real.shape != fake.shape or mix.shape != real.shape[:1]:
        raise ValueError(
            f"expected real and fake images of one shape and mix of shape [B], "
            f"got {real.shape}, {fake.shape} and {mix.shape}"
        )
    mix = _row(mix, real)
    return _one_centred(critic, mix * real + (1 - mix) * fake)


def dragan(critic: Critic, real: jax.Array, noise: jax.Array, mix: jax.Array) -> jax.Array:
    """Returns (‖∇ₓ D(x̂)‖ - 1)² at x̂ = x + mix·½·σ·noise, `[B]`: around the real images alone.

    `noise`, of the images' shape, and `mix` `[B]` are uniform in [0, 1]; σ is the standard deviation of all pixels of
    the batch. Kodali et al. 2017 (arXiv 1705.07215), with the noise of the authors' code (the paper's is Gaussian);
    weight 10. Raises ValueError where the shapes don't match.
    """
    if noise.shape != real.shape or mix.shape != real.shape[:1]:
        raise ValueError(
            f"expected noise of shape {real.shape} and mix of shape [B], got {noise.shape} and {mix.shape}"
        )
    return _one_centred(critic, real + _row(mix, real) * (0.5 * jnp.std(real)) * noise.astype(real.dtype))


def _row(mix: jax.Array, images: jax.Array) -> jax.Array:
    return mix.astype(images.dtype).reshape(mix.shape + (1,) * (images.ndim - 1))


def _one_centred(critic: Critic, images: jax.Array) -> jax.Array:
    squared = squared_gradient_norm(critic, images)
    # At a zero gradient the root has no derivative, and autodiff would answer NaN; the subgradient 0 is used there.
    positive = squared > 0
    norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
    return (norm - 1.0) ** 2
