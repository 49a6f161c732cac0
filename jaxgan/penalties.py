"""Gradient penalties on a discriminator, the clipping of its weights, the path length of a generator, and what is asked
of weights alone.

A penalty takes a critic `images -> logits` (parameters already bound), images `[B, ...]` and returns raw values `[B]`
in float32. Weights belong to whoever sums the terms: a paper's γ/2 is weight γ/2. Logits of shape `[B, ...]` are
averaged within the example first. The critic must judge each example by itself: under batch normalisation the gradient
of one example's logit reaches into the others and these are no longer the papers' penalties.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.losses import per_example

__all__ = [
    "clip_weights",
    "dragan",
    "orthogonality",
    "path_length",
    "r1",
    "r2",
    "squared_derivative",
    "squared_difference",
    "squared_gradient_norm",
    "wgan_gp",
]

PyTree = Any
Critic = Callable[[jax.Array], jax.Array]

# ε of finite differences. In DCGAN's discriminator of 28×28×3 pixels (LeakyReLU, float32) a draw's error is, relative,
# 2.8% at 10⁻³, and that of the mean 0.1%; at 10⁻² 8% and 1%; below 10⁻⁴ what rounding leaves begins to grow.
DIFFERENCE = 1e-3
PATH_DECAY = 0.01  # how much of a batch's mean length goes into the moving mean


def clip_weights(limit: float = 0.01) -> Callable[[PyTree], PyTree]:
    """Returns `params -> params`, which clips every parameter to [-limit, limit]: the `project` of a WGAN's critic.
    Arjovsky et al. 2017 (arXiv 1701.07875), algorithm 1. ValueError for a limit that is not above 0."""
    if not limit > 0:
        raise ValueError(f"expected a limit above 0 to clip weights to, got {limit}")
    return lambda params: jax.tree.map(lambda x: jnp.clip(x, -limit, limit), params)


def orthogonality(params: PyTree) -> jax.Array:
    """Returns how far the outputs of layers are from being orthogonal to each other, one number, float32: ‖WᵀW ⊙ (1 -
    I)‖²_F, summed over all weights W `[inputs, outputs]`. Brock et al. 2019 (arXiv 1809.11096), equation 3; weight
    1e-4 in a generator.

    Without the diagonal it doesn't ask for columns of length 1, as equation 2 (Brock et al. 2017, arXiv 1609.07093)
    does. Weights are the leaves called "kernel" of two axes or more, all axes but the last together being the inputs;
    the rest, such as biases and a class's embedding, is left out, as in the authors' code (BigGAN-PyTorch), whose
    gradient is half of this one's. ValueError where there is no such leaf.
    """
    kernels = [
        leaf
        for path, leaf in jax.tree.leaves_with_path(params)
        if getattr(path[-1], "key", None) == "kernel" and leaf.ndim >= 2
    ]
    if not kernels:
        raise ValueError("orthogonality is of weights called 'kernel' [..., outputs], and there are none")

    def of_one(kernel: jax.Array) -> jax.Array:
        matrix = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)
        gram = jnp.dot(matrix.T, matrix, precision=jax.lax.Precision.HIGHEST)
        return jnp.sum((gram * (1 - jnp.eye(len(gram), dtype=jnp.float32))) ** 2)

    return jnp.stack([of_one(kernel) for kernel in kernels]).sum()


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

    Where all layers are convolutions, dense or piecewise linear, the exact norm has as many matrix products as this: a
    pass back to the images and one forwards along it stand against one forwards with a tangent and one back along it,
    and each layer's kernel gets one more of either. Memory is saved only in what is kept between them.
    """
    _check_tangents(images, tangents)
    _, along = jax.jvp(lambda x: per_example(critic(x)), (images,), (tangents.astype(images.dtype),))
    return along.astype(jnp.float32) ** 2


def squared_difference(
    critic: Critic, images: jax.Array, tangents: jax.Array, epsilon: float = DIFFERENCE
) -> jax.Array:
    """Returns (D(x + εv) - D(x - εv))² / 4ε² of every example, by central differences along its tangent v: images and
    tangents `[B, ...] -> [B]`, float32.

    It needs no derivative by the images, so that any D will do that can be differentiated for its parameters alone, and
    goes twice through D forwards, and for the gradient twice back: twice the products of `squared_derivative`, whose
    mean over draws it has but for the curvature of D, an error of order ε² for a smooth D and, as slopes on both sides
    of a kink (ReLU) are mixed, of order ε for others. Differences lose what float32 rounds of a logit, relative to the
    derivative about 10⁻⁷ |D| / (ε ‖∇D‖); networks in bfloat16, which rounds 65,000 times as coarsely, don't fit it.
    ValueError where the shapes differ, or ε isn't above 0.
    """
    _check_tangents(images, tangents)
    if not epsilon > 0:
        raise ValueError(f"expected an epsilon above 0 to take differences over, got {epsilon}")
    step = epsilon * tangents.astype(images.dtype)
    ahead, behind = (per_example(critic(at)).astype(jnp.float32) for at in (images + step, images - step))
    return ((ahead - behind) / (2 * epsilon)) ** 2


def _check_tangents(images: jax.Array, tangents: jax.Array) -> None:
    if tangents.shape != images.shape:
        raise ValueError(f"expected a tangent for each image, of its shape {images.shape}, got {tangents.shape}")


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


def path_length(
    synthesize: Callable[[jax.Array], jax.Array],
    w: jax.Array,
    noise: jax.Array,
    mean: jax.Array,
    average: Callable[[jax.Array], jax.Array] = jnp.mean,
) -> tuple[jax.Array, jax.Array]:
    """Returns (‖Jᵀy‖₂ - a)² of every example, `[B]`, and a, the moving mean of the lengths ‖Jᵀy‖₂ after this batch.
    Karras et al. 2020 (arXiv 1912.04958), section 3.2, equation 4; weight 2.

    synthesize: `w -> images [B, H, W, C]`, of which an example depends on its own w alone. w: styles `[B, D]`, or one
    for each of K layers, `[B, K, D]`; squares are then averaged over layers. noise: of the images' shape, from N(0, I),
    float32; y is noise / √(H·W). mean: a before this batch, `[]`, 0 at first. average: the mean of the lengths `[B]`
    over the global batch. ValueError where the shapes don't match.

    The paper has the weight γ = ln 2 / (r² (ln r - ln 2)) for images of r×r pixels, y from N(0, I) and the sum over
    layers. Here y is r times shorter, and the mean is over K = 2 log₂ r - 2 layers, so that squares are r²·K times
    smaller, and the same weight is γ·r²·K = 2 ln 2 (log₂ r - 1) / (ln r - ln 2) = 2, whatever r is.
    """
    if w.ndim not in (2, 3):
        raise ValueError(f"expected styles [B, D] or [B, K, D], got {w.shape}")

    def product(w: jax.Array) -> jax.Array:
        images = synthesize(w)
        if images.shape != noise.shape or images.ndim != 4:
            raise ValueError(f"expected noise of the images' shape [B, H, W, C], got {noise.shape} and {images.shape}")
        # One sum has each example's own gradient: no image depends on another's style.
        return jnp.sum(images.astype(noise.dtype) * noise) / math.sqrt(math.prod(images.shape[1:3]))

    gradients = jax.grad(product)(w).astype(noise.dtype)
    lengths = _root(jnp.mean(jnp.sum(gradients.reshape(len(w), -1, w.shape[-1]) ** 2, axis=2), axis=1))
    mean = mean + PATH_DECAY * (average(jax.lax.stop_gradient(lengths)) - mean)
    return (lengths - mean) ** 2, mean


def _root(squared: jax.Array) -> jax.Array:
    """Returns the square root. At 0 it has no derivative, and autodiff would answer NaN; the subgradient 0 is used."""
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def _row(mix: jax.Array, images: jax.Array) -> jax.Array:
    return mix.astype(images.dtype).reshape(mix.shape + (1,) * (images.ndim - 1))


def _one_centred(critic: Critic, images: jax.Array) -> jax.Array:
    return (_root(squared_gradient_norm(critic, images)) - 1.0) ** 2
