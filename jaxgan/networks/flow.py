"""Flows: generators that can be run backwards, so that the density of what they generate is known."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.layers import Dense, Layer, build

__all__ = ["Coupling", "Flow"]


class Coupling(nn.Module):
    """An affine coupling layer: numbers `[B, D]`, D at least 2 -> numbers `[B, D]` and log |det ∂y/∂x| `[B]`. The first
    half of the numbers or, where the layer is `swapped`, the second stays as it is, and says how the others are scaled
    and moved:

        y = x · exp(s) + t,    (a, t) = network(numbers that stay),    s = scale · tanh(a),

    where the network has dense layers of `widths` with ReLU and a linear one, and `scale`, a number for each that is
    moved, begins at 1 and is learned. The Jacobian is triangular, and so log |det| = Σ s. Dinh et al. 2017, RealNVP
    (arXiv 1605.08803), equations 4 to 8. With `invert` it goes the other way, exactly but for rounding. What is
    computed in `dtype` is the network; the rest is float32."""

    widths: Sequence[int]
    swapped: bool = False
    dtype: Dtype = jnp.float32
    dense: Layer = Dense

    @nn.compact
    def __call__(self, x: jax.Array, *, invert: bool = False) -> tuple[jax.Array, jax.Array]:
        halves = jnp.split(x, [x.shape[-1] // 2], axis=-1)
        stays, moves = reversed(halves) if self.swapped else halves
        hidden = stays
        for width in self.widths:
            hidden = nn.relu(build(self.dense, width, dtype=self.dtype)(hidden))
        init = nn.initializers.normal(0.01)  # so that a flow begins near the identity
        last = build(self.dense, 2 * moves.shape[-1], kernel_init=init, dtype=self.dtype, name="last")(hidden)
        a, t = jnp.split(last.astype(jnp.float32), 2, axis=-1)
        scale = self.param("scale", nn.initializers.ones, (moves.shape[-1],))
        s = scale[None] * jnp.tanh(a)
        moved = (moves - t) * jnp.exp(-s) if invert else moves * jnp.exp(s) + t
        y = jnp.concatenate([moved, stays] if self.swapped else [stays, moved], axis=-1)
        return y, jnp.sum(-s if invert else s, axis=-1)


class Flow(nn.Module):
    """A generator of affine coupling layers, `couplings` of them, which take turns in what they leave as it is: latent
    `[B, D]` from N(0, I) -> `[B, *shape]`, where D is the number of numbers in `shape`, at least 2. RealNVP, Dinh et
    al. 2017 (arXiv 1605.08803); as a GAN's generator Grover et al. 2018, Flow-GAN (arXiv 1705.08868).

    `invert` finds the latents of examples, `log_density` says how likely examples are. `condition` is ignored.
    ValueError for latents of another size, and for a `shape` of a single number, which no coupling could move."""

    shape: Sequence[int]
    couplings: int = 8
    widths: Sequence[int] = (64, 64)
    dtype: Dtype = jnp.float32
    dense: Layer = Dense

    def setup(self) -> None:
        if (size := math.prod(self.shape)) < 2:
            raise ValueError(f"a flow needs examples of at least 2 numbers, got {size} in the shape {self.shape}")
        self.layers = [Coupling(self.widths, bool(i % 2), self.dtype, self.dense) for i in range(self.couplings)]

    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        del condition, train
        if latent.shape[1:] != (size := math.prod(self.shape),):
            raise ValueError(f"a flow of {size} numbers needs latents [B, {size}], got {latent.shape}")
        x = latent.astype(jnp.float32)
        for layer in self.layers:
            x, _ = layer(x)
        return x.reshape(-1, *self.shape)

    def invert(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the latents of examples `[B, *shape]`, float32 `[B, D]`, and log |det ∂z/∂x|, float32 `[B]`."""
        z = x.astype(jnp.float32).reshape(x.shape[0], -1)
        total = jnp.zeros(x.shape[0], jnp.float32)
        for layer in reversed(self.layers):
            z, log_determinant = layer(z, invert=True)
            total += log_determinant
        return z, total

    def log_density(self, x: jax.Array) -> jax.Array:
        """Returns the log density of examples `[B, *shape]` under the flow, in nats, float32 `[B]`: log N(z | 0, I) +
        log |det ∂z/∂x|, by the change of variables. Dinh et al. 2017, equation 2."""
        z, log_determinant = self.invert(x)
        return -0.5 * jnp.sum(z**2 + math.log(2 * math.pi), axis=-1) + log_determinant
