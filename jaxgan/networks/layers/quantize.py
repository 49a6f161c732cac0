"""Vector quantisation: every vector of a map replaced by the nearest of a codebook's. Van den Oord et al. 2017 (arXiv
1711.00937).

The functions are the parts, and `Codebook` the layer made of them. Its two losses are returned unweighted, for the
caller to sum: 1 for `codebook`, β = 0.25 for `commitment` in the papers.

Codes that no vector is nearest to get no gradient and stay dead. With `normalised`, the layer's default, vectors and
codes are compared by their angle, which the codes' lengths have no part in, and in few dimensions: Yu et al. 2022
(ViT-VQGAN, arXiv 2110.04627), section 3.2, which there brings the codes in use from a few per cent to nearly all. It
needs no state, and gives latents of known size.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.networks.layers.labels import rows
from jaxgan.networks.layers.norms import PixelNorm

__all__ = ["Codebook", "Quantized", "code_shares", "nearest", "perplexity", "straight_through"]


class Quantized(NamedTuple):
    """Quantised vectors. values: `[B, ..., D]`, float32, codes whose gradient goes to the vectors. indices: int32 `[B,
    ...]`, which codes. codebook, commitment: the losses, float32 `[B]`."""

    values: jax.Array
    indices: jax.Array
    codebook: jax.Array
    commitment: jax.Array


def nearest(vectors: jax.Array, codes: jax.Array) -> jax.Array:
    """Returns the index of the code `[K, D]` with the least squared distance from each vector `[..., D]`, of several
    the first: int32 `[...]`. ValueError where D differs, or there is no code."""
    if codes.ndim != 2 or not len(codes) or vectors.shape[-1] != codes.shape[-1]:
        raise ValueError(
            f"expected codes [K, D] for vectors [..., D], one at least, got {codes.shape} for {vectors.shape}"
        )
    vectors, codes = vectors.astype(jnp.float32), codes.astype(jnp.float32)
    # ‖v‖² is the same for all codes. With all bits: GPUs and TPUs would otherwise round products to 10 bits or fewer.
    products = jnp.matmul(vectors, codes.T, precision=lax.Precision.HIGHEST)
    squares = jnp.sum(codes**2, axis=-1).reshape((1,) * (vectors.ndim - 1) + (-1,))
    return jnp.argmin(squares - 2.0 * products, axis=-1).astype(jnp.int32)


def straight_through(vectors: jax.Array, quantized: jax.Array) -> jax.Array:
    """Returns `quantized`, whose gradient goes to `vectors` as it is and to nothing else. Van den Oord et al. 2017,
    section 3.2."""
    return vectors + lax.stop_gradient(quantized - vectors)


def code_shares(indices: jax.Array, codes: int) -> jax.Array:
    """Returns how often each of so many codes is among the indices `[...]`, as shares that sum to one: float32
    `[codes]`."""
    return jnp.bincount(indices.reshape(-1), length=codes).astype(jnp.float32) / indices.size


def perplexity(shares: jax.Array) -> jax.Array:
    """Returns the exponential of the entropy of shares `[K]`, how many codes would be in use if all were used equally
    often: from 1 to K, float32 `[]`."""
    positive = jnp.where(shares > 0, shares, 1.0)
    return jnp.exp(-jnp.sum(shares * jnp.log(positive)))


class Codebook(nn.Module):
    """Vectors `[B, ..., D]` -> `Quantized`. The parameter `codes` is `[size, D]`.

    The losses are means over positions and D of (sg[v] - c)², which moves the codes, and (v - sg[c])², which moves the
    vectors: van den Oord et al. 2017, equation 3, Esser et al. 2021 (arXiv 2012.09841), equation 4.

    normalised: vectors and codes are brought to a root mean square of 1 first, so that a loss is the mean of 2 - 2 cos
        of their angle.
    ValueError for a size below 1.
    """

    size: int
    normalised: bool = True

    @nn.compact
    def __call__(self, vectors: jax.Array) -> Quantized:
        if self.size < 1:
            raise ValueError(f"a codebook has at least 1 code, got size={self.size}")
        width = vectors.shape[-1]
        # Of length 1: an optimiser such as Adam turns short vectors faster than long ones.
        init = nn.initializers.normal(width**-0.5)
        codes = self.param("codes", init, (self.size, width), jnp.float32)
        vectors, unit = vectors.astype(jnp.float32), PixelNorm()
        if self.normalised:
            vectors, codes = unit(vectors), unit(codes)
        indices = nearest(vectors, codes)
        chosen, fixed = rows(codes, indices.reshape(-1)).reshape(vectors.shape), lax.stop_gradient
        axes = tuple(range(1, vectors.ndim))
        codebook = jnp.mean((fixed(vectors) - chosen) ** 2, axes)
        commitment = jnp.mean((vectors - fixed(chosen)) ** 2, axes)
        return Quantized(straight_through(vectors, chosen), indices, codebook, commitment)
