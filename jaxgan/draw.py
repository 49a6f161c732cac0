"""The context of an update: keys for its draws, by name and example, and means and gathers over several devices.

A key depends on the run's key, the learners' role, their count of updates, a name, and the example's index in the
global batch. Nothing random is saved, one device draws the same numbers as eight, and adding a draw changes no other.
"""

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.devices import global_count, mean_over
from jaxgan.losses import per_example, sum_of_means
from jaxgan.state import ROLES

__all__ = ["Draw", "batch_size", "role_number"]

PyTree = Any


def role_number(name: str) -> int:
    """Returns the number that stands for a name in `fold_in`."""
    return ROLES.get(name, zlib.crc32(name.encode()))


def batch_size(batch: PyTree) -> int:
    """Returns B, the length of the first axis of every array in a batch. ValueError where they differ, as in a batch
    that holds a network's parameters by mistake."""
    sizes = {
        jax.tree_util.keystr(path) or "the array": jnp.shape(leaf)[0] if jnp.ndim(leaf) else 0
        for path, leaf in jax.tree.leaves_with_path(batch)
    }
    if not sizes:
        raise ValueError("a batch without arrays has no size; hand the examples' number to `update(..., size=)`")
    first, *_ = sizes.values()
    if wrong := next((name for name, size in sizes.items() if size != first or not size), None):
        raise ValueError(
            f"expected a batch of arrays [B, ...] with one B; {next(iter(sizes))} has {first} examples and {wrong} "
            f"{sizes[wrong]}"
        )
    return first


@dataclasses.dataclass(frozen=True)
class Draw:
    """The keys, devices and count of one update; an objective is handed it as `draw`.

    root: the update's key. size: B examples, those of this device. step: the number of updates that the players have
    made, int32. axis_name: the mapped axis that holds the batch's shards. part: (j, n) for part j of n of an
    accumulated batch, which has the examples j, j + n, j + 2n, ...
    """

    root: jax.Array
    size: int
    step: jax.Array
    axis_name: str | None = None
    part: tuple[jax.Array | int, int] = (0, 1)

    @property
    def count(self) -> int:
        """Returns the number of examples in the update, on all devices and in all parts of an accumulated batch."""
        return global_count(self.size * self.part[1], self.axis_name)

    def key(self, name: str | jax.Array) -> jax.Array:
        """Returns one key for a name, the same on all devices. A key is returned unchanged."""
        return jax.random.fold_in(self.root, role_number(name)) if isinstance(name, str) else name

    def keys(self, name: str | jax.Array, count: int | None = None) -> jax.Array:
        """Returns keys `[count]`, one for each of `count` examples (by default B) by its index in the global batch."""
        count = self.size if count is None else count
        key = self.key(name)
        first = 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name) * count
        j, n = self.part
        return jax.vmap(lambda i: jax.random.fold_in(key, i))((first + jnp.arange(count, dtype=jnp.int32)) * n + j)

    def normal(self, name: str, *shape: int) -> jax.Array:
        """Returns float32 `[B, *shape]` from N(0, 1)."""
        return jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(self.keys(name))

    def uniform(self, name: str, *shape: int) -> jax.Array:
        """Returns float32 `[B, *shape]`, uniform in [0, 1)."""
        return jax.vmap(lambda key: jax.random.uniform(key, shape, jnp.float32))(self.keys(name))

    def pass_key(self, key: jax.Array) -> jax.Array:
        """Returns a key that differs by device and part, for draws inside a network, which don't go by example."""
        if self.axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(self.axis_name))
        return jax.random.fold_in(key, self.part[0]) if self.part[1] > 1 else key

    def mean(self, tree: PyTree) -> PyTree:
        """Returns a pytree's floats averaged over devices, see `mean_over`."""
        return mean_over(tree, self.axis_name)

    def gather(self, tree: PyTree) -> PyTree:
        """Returns the devices' shares of a batch joined in its order, `[b, ...] -> [B, ...]` for every leaf."""
        axis = self.axis_name
        return tree if axis is None else jax.tree.map(lambda x: jax.lax.all_gather(x, axis, tiled=True), tree)

    def mine(self, tree: PyTree) -> PyTree:
        """Returns this device's share of a global batch, `[B, ...] -> [b, ...]`: the inverse of `gather`."""
        axis, size = self.axis_name, self.size
        if axis is None:
            return tree
        first = jax.lax.axis_index(axis) * size
        return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, first, size), tree)

    def gradient(self, loss: Callable[[PyTree], jax.Array], params: PyTree) -> PyTree:
        """Returns the gradient, with respect to `params`, of the mean of `loss(params)`, values `[B, ...]`, over the
        global batch.

        `jax.grad` inside an objective would be N times too large on N devices under `shard_map`'s checks, where the
        gradient with respect to something equal on all devices is summed over devices; see `mean_over`.
        """
        return self.mean(jax.grad(lambda params: self.mean(jnp.mean(per_example(loss(params)))))(params))

    def every(self, n: int, compute: Callable[[], Any], carried: PyTree = None) -> Any:
        """Returns `compute()`, values `[B, ...]` or a pytree of them, times n in every n-th update of the first
        learner, and 0 in the updates between, as `[1]`.

        Lazy regularisation, Karras et al. 2020 (arXiv 1912.04958), section 3.1; a skipped value is not computed. With
        `carried`, `compute() -> (values, new)`, and `(values, carried)` is returned in the updates between. Networks
        inside must be `frozen`. ValueError for n below 1.
        """
        if n < 1:
            raise ValueError(f"expected every n-th update, n at least 1, got {n}")

        def run() -> tuple[jax.Array, PyTree]:
            values, new = (compute(), None) if carried is None else compute()
            # Means over devices, as both branches must have one type: under shard_map what is the same on every
            # device, as zeros are, has another type than what may differ.
            return n * self.mean(sum_of_means(values)).reshape(1), self.mean(new)

        values, new = jax.lax.cond(self.step % n == 0, run, lambda: (jnp.zeros(1, jnp.float32), carried))
        return values if carried is None else (values, new)
