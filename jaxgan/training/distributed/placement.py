"""Placement of a state that is saved or restored, on devices of one process or of several."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.training.distributed.processes import global_array, several

__all__ = ["abstract", "placed"]


def _everywhere() -> jax.sharding.Sharding:
    """Returns the sharding of an array that has none: the first device here, or every device of all processes."""
    if several():
        mesh = jax.sharding.Mesh(np.array(jax.devices()), "all")
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def placed(leaf: Any) -> jax.Array:
    """Makes a leaf an array that can be saved: one that all processes know of."""
    array = jnp.asarray(leaf)
    if several() and array.is_fully_addressable:
        return global_array(_everywhere(), array.shape, np.asarray(array))
    return array


def abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    """Returns the shape, type and sharding that Orbax is to restore a leaf with. Without a device it would take the one
    that the file names, if there is one."""
    leaf = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)
    sharding = getattr(leaf, "sharding", None)
    if sharding is None or (several() and sharding.is_fully_addressable):
        sharding = _everywhere()
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
