"""The order in which a data set is read: a keyed bijection of [0, size) for every epoch, without state.

A Feistel network is a bijection of [0, 2^bits) whatever its round function. Applying it again until the value is below
`size` ("cycle walking") makes it a bijection of [0, size) (Black & Rogaway 2002, "Ciphers with arbitrary finite
domains"). An index costs O(1) and no sort, and any position can be computed by itself: resuming needs only the step.
The same function serves a compiled program (jax.numpy) and a host that reads images by index (NumPy), with the same
numbers.

For a few values a Feistel network reaches some permutations more often than others, and with halves of more than one
bit only even ones. So small sets are shuffled by a sort: every example has a hash, and the sorted hashes give the
order.
"""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["batch_indices", "indices"]

ROUNDS = 6
SHUFFLED = 512  # examples; sets of up to so many are sorted by hashes, on a CPU 50 microseconds' work at most


def _scramble(xp: ModuleType, value: Any, key: Any) -> Any:
    """Returns a uint32 hash of value and key whose bits all look random: the finaliser of MurmurHash3 (A. Appleby)."""
    value = value ^ key
    value = (value ^ (value >> xp.uint32(16))) * xp.uint32(0x85EBCA6B)
    value = (value ^ (value >> xp.uint32(13))) * xp.uint32(0xC2B2AE35)
    return value ^ (value >> xp.uint32(16))


def _feistel(xp: ModuleType, value: Any, keys: Any, bits: int) -> Any:
    low = bits // 2
    high = bits - low
    for i in range(ROUNDS):
        # The halves differ by a bit where `bits` is odd; they swap places, widths included, from round to round.
        left, right = value >> xp.uint32(low), value & xp.uint32((1 << low) - 1)
        left = (left ^ _scramble(xp, right, keys[i])) & xp.uint32((1 << high) - 1)
        value = (right << xp.uint32(high)) | left
        low, high = high, low
    return value


def _shuffle(xp: ModuleType, position: Any, keys: Any, size: int) -> Any:
    # Each round is a bijection of 32 bits, so that no two hashes are equal and every way to sort gives one order.
    value = xp.arange(size, dtype=xp.uint32).reshape(1, -1)
    for key in keys:
        value = _scramble(xp, value, key.reshape(-1, 1))
    order = xp.argsort(value, axis=1).astype(xp.uint32)
    row = xp.arange(len(order), dtype=xp.uint32).reshape(keys[0].shape)  # of several epochs, one each
    return order.reshape(-1)[row * xp.uint32(size) + position]


def _round_keys(xp: ModuleType, words: Any, epoch: Any) -> list[Any]:
    first = _scramble(xp, words[0], _scramble(xp, xp.asarray(epoch).astype(xp.uint32), words[1]))
    return [_scramble(xp, first, words[1] + xp.uint32(0x9E3779B9 * i % 2**32)) for i in range(1, ROUNDS + 1)]


def indices(key: jax.Array | np.ndarray, epoch: Any, position: Any, size: int) -> Any:
    """Returns the examples at `position` (any shape, 0 ≤ position < size) of `epoch`: uint32 of that shape.

    `key` is a JAX key or, on the host, its two words (`np.asarray(jax.random.key_data(key))`); with these and NumPy
    positions, NumPy computes the answer. Each epoch has its own order, in which every example occurs once. ValueError
    unless 1 ≤ size ≤ 2^31.
    """
    if not 1 <= size <= 2**31:
        raise ValueError(f"expected a data set of 1 to 2^31 examples, got {size}")
    on_host = isinstance(key, np.ndarray)
    xp = np if on_host else jnp
    words = key if on_host else jax.random.key_data(key).astype(jnp.uint32)
    bits = (size - 1).bit_length()
    with np.errstate(over="ignore"):  # uint32 products wrap, as meant
        keys = _round_keys(xp, words, epoch)
        position = xp.asarray(position).astype(xp.uint32)
        if size <= SHUFFLED:
            return _shuffle(xp, position, keys, size)
        value = _feistel(xp, position, keys, bits)
        outside = lambda value: value >= xp.uint32(size)  # noqa: E731 - one line, used by both walks
        step = lambda value: xp.where(outside(value), _feistel(xp, value, keys, bits), value)  # noqa: E731
        if not on_host:
            return jax.lax.while_loop(lambda value: jnp.any(outside(value)), step, value)
        while outside(value).any():
            value = step(value)
    return value


def batch_indices(key: jax.Array | np.ndarray, step: Any, batch_size: int, size: int) -> Any:
    """Returns the examples `[batch_size]` of iteration `step`. An epoch is `size // batch_size` complete batches; the
    few examples that remain are others in every epoch. ValueError where a batch is larger than the data set."""
    if batch_size > size:
        raise ValueError(f"a batch of {batch_size} is larger than the data set of {size} images")
    batches = size // batch_size
    xp = np if isinstance(key, np.ndarray) else jnp
    # Counted in epochs and batches, not in examples, so that no run is long enough to overflow 32 bits.
    position = (step % batches) * batch_size + xp.arange(batch_size, dtype=xp.int32)
    return indices(key, step // batches, position, size)
