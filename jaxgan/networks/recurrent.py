"""A recurrent generator, which draws an image row by row.

Its cell is handed in, and is one of flax's with a state of one array: `GRUCell` (Cho et al. 2014, arXiv 1406.1078),
`SimpleCell` or `MGUCell`. See `jaxgan.networks.layers.handed` for what a factory may be.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxgan.networks.layers import Dense, Layer, build

__all__ = ["Generator"]


class Generator(nn.Module):
    """Latents `[B, L]` -> images `[B, *shape]`, (H, W, C), in (-1, 1), one row after another from the top. A dense
    layer and tanh make the first state, `units` numbers, of the latent; in each of H steps the cell is given the latent
    again, and a dense layer and tanh, the same in every row, make a row of its state.

    A row knows of those above it what the state has kept; other than in C-RNN-GAN (Mogren 2016, arXiv 1611.09904), it
    is not fed back."""

    shape: Sequence[int]
    units: int = 256
    dtype: Dtype = jnp.float32
    cell: Layer = nn.GRUCell
    dense: Layer = Dense

    @nn.compact
    def __call__(self, latent: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        del condition, train
        height, *row = self.shape
        given = latent.astype(self.dtype)
        state = jnp.tanh(build(self.dense, self.units, dtype=self.dtype, name="first")(given))
        cell = build(self.cell, self.units, dtype=self.dtype, name="cell")
        given = jnp.broadcast_to(given[:, None], (given.shape[0], height, given.shape[1]))
        states = nn.RNN(cell, name="rows")(given, initial_carry=state)
        rows = build(self.dense, math.prod(row), dtype=self.dtype, name="row")(states).astype(jnp.float32)
        return jnp.tanh(rows).reshape(-1, *self.shape)
