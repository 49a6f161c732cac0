"""Layers that look across the batch, so that a discriminator notices a generator's lack of variety.

Both leave a mark in the variables, the collection "across_examples", which tells others about them: for such a network
the parts of a batch give other results than the batch, and an example's result depends on the others.

Where the batch is on several devices under `pmap`, `shard_map` or `vmap(axis_name=...)`, they are given its
`axis_name`; initialising takes any batch and no such axis.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["MinibatchDiscrimination", "MinibatchStdDev"]


def _mark(layer: nn.Module) -> None:
    if layer.is_initializing():
        layer.variable("across_examples", "mark", lambda: jnp.zeros((), bool))


class MinibatchDiscrimination(nn.Module):
    """`[B, ...] -> [B, A + features]`: the A features of an example, flattened, followed by its nearness to the other
    examples in `features` learned measures. Salimans et al. 2016 (arXiv 1606.03498), section 3.2.

    The b-th measure is Σ_j exp(-‖M_ib - M_jb‖₁), where M_ib are `kernels` numbers, linear in example i's features (the
    paper's B and C; its code has C = 5). The sum, in float32, is over all *other* examples of the batch. The paper's
    formula includes j = i, which adds 1 to every number; its code leaves it out, too. Weights start with variance 1 /
    A, so that for features of order 1 the distances are of order `kernels`, whatever A is.
    """

    features: int
    kernels: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _mark(self)
        x = x.reshape(x.shape[0], -1)
        kernel = self.param(
            "kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features * self.kernels), jnp.float32
        )
        own = (x @ kernel.astype(x.dtype)).astype(jnp.float32).reshape(x.shape[0], self.features, self.kernels)
        every, first = own, jnp.zeros((), jnp.int32)
        if self.axis_name is not None and not self.is_initializing():
            every = lax.all_gather(own, self.axis_name, tiled=True)
            first = x.shape[0] * lax.axis_index(self.axis_name)
        # One difference after the other: all at once, the gradient takes twice the memory and thrice the time.
        parts = [jnp.abs(own[:, None, :, c] - every[None, :, :, c]) for c in range(self.kernels)]
        distances = jnp.asarray(sum(parts))  # [b, B, features]
        number, numbers = (jnp.arange(x.shape[0], dtype=jnp.int32) for x in (own, every))
        other = (first + number)[:, None] != numbers[None]
        nearness = jnp.sum(jnp.where(other[:, :, None], jnp.exp(-distances), 0.0), axis=1)
        return jnp.concatenate([x, nearness.astype(x.dtype)], axis=-1)


class MinibatchStdDev(nn.Module):
    """`[B, ..., C] -> [B, ..., C + 1]`: adds a feature map, constant within a group of examples, that tells the
    discriminator how much they vary. It is the standard deviation over the group of every feature at every position
    (1e-8 under the root), averaged over features and positions. Karras et al. 2018 (arXiv 1710.10196), section 3.

    A group is `group` consecutive examples (the published code takes every (B / group)-th), so that it is on one
    device; None is the whole batch, over `axis_name` too where one is given. ValueError where B (on one device) is no
    multiple of `group`. Initialising takes any B.
    """

    group: int | None = 4
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _mark(self)
        size, starts = x.shape[0], self.is_initializing()
        group = size if self.group is None or starts else self.group
        axis_name = self.axis_name if self.group is None and not starts else None
        if size % group:
            raise ValueError(f"MinibatchStdDev needs a multiple of group={group} examples on each device, got {size}")

        def mean(x: jax.Array) -> jax.Array:
            x = jnp.mean(x, axis=1, keepdims=True)
            return x if axis_name is None else lax.pmean(x, axis_name)

        grouped = x.astype(jnp.float32).reshape(size // group, group, *x.shape[1:])
        deviation = jnp.sqrt(mean((grouped - mean(grouped)) ** 2) + 1e-8)
        each = jnp.mean(deviation.reshape(size // group, -1), axis=1)
        one_map = jnp.repeat(each, group).reshape(size, *(1,) * (x.ndim - 1))
        one_map = jnp.broadcast_to(one_map, (*x.shape[:-1], 1)).astype(x.dtype)
        return jnp.concatenate([x, one_map], axis=-1)
