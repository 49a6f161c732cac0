"""A number for every array of a state, by which a restored one is known to be the one that was saved, bit by bit."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["digests", "host_digest"]

CHUNK = 1 << 20  # words that are mixed at once on the host


def _words(leaf: jax.Array) -> jax.Array:
    """Returns the bits of an array of any shape as uint32; numbers of 64 bits are two words each, along a new last
    axis."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        leaf = jnp.stack([leaf.real, leaf.imag], axis=-1)
    if leaf.dtype == jnp.bool_:
        return leaf.astype(jnp.uint32)
    narrow = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize)
    if narrow is None:
        return jax.lax.bitcast_convert_type(leaf, jnp.uint32)
    return jax.lax.bitcast_convert_type(leaf, narrow).astype(jnp.uint32)


def _positions(shape: tuple[int, ...]) -> jax.Array:
    """Returns each element's place in C order, uint32 of that shape. Not by a reshape, which would move sharded
    data."""
    places = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = jnp.uint32(np.prod(shape[axis + 1 :], dtype=np.uint64) % 2**32)
        places += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return places


@jax.jit  # traced once for all leaves of a shape: a parameter's, its average's and its moments'
def _digest(leaf: jax.Array) -> jax.Array:
    words = _words(leaf)
    # The finaliser of MurmurHash3 (A. Appleby) is a bijection of a word at its place: a word that changed changes its
    # term and so the sum. A sum of integers is the same in any order, on any number of devices.
    mixed = words ^ (_positions(words.shape) * jnp.uint32(0x9E3779B9))
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
    return jnp.sum(mixed ^ (mixed >> 16), dtype=jnp.uint32)


@jax.jit
def digests(leaves: Sequence[jax.Array]) -> jax.Array:
    """Returns a digest of each array or typed key, uint32 `[number of leaves]`, computed where the arrays are, without
    a copy.

    Any single word of 32 bits (or of 8 or 16 in narrower types) that differs makes the digest differ; anything else
    does but for one case in 2^32. Zero bits where there are no elements. ValueError without leaves.
    """
    return jnp.stack([_digest(leaf) for leaf in leaves])


def host_digest(leaf: np.ndarray | jax.Array) -> int:
    """Returns the digest of an array or typed key as `digests` does, computed by NumPy in the host's memory."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    flat = np.ascontiguousarray(leaf).reshape(-1)
    if flat.dtype != np.bool_:
        flat = flat.view({1: np.uint8, 2: np.uint16}.get(flat.dtype.itemsize, np.uint32))
    total = 0
    for start in range(0, len(flat), CHUNK):
        words = flat[start : start + CHUNK].astype(np.uint32)
        places = np.arange(start, start + len(words), dtype=np.uint64).astype(np.uint32)
        mixed = words ^ (places * np.uint32(0x9E3779B9))
        mixed = (mixed ^ (mixed >> 16)) * np.uint32(0x85EBCA6B)
        mixed = (mixed ^ (mixed >> 13)) * np.uint32(0xC2B2AE35)
        total += int(np.sum(mixed ^ (mixed >> 16), dtype=np.uint64))
    return total % 2**32
