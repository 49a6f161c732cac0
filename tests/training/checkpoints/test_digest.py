"""The digest of an array, by hand and on any number of devices."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.training.checkpoints.digest import digests, host_digest


def by_hand(array):
    """The digest of a NumPy array of numbers of up to 32 bits, word by word."""
    words = array.reshape(-1).view({1: np.uint8, 2: np.uint16, 4: np.uint32}[array.dtype.itemsize])
    total = 0
    for place, word in enumerate(words.tolist()):
        value = word ^ (place * 0x9E3779B9 % 2**32)
        value = (value ^ (value >> 16)) * 0x85EBCA6B % 2**32
        value = (value ^ (value >> 13)) * 0xC2B2AE35 % 2**32
        total += value ^ (value >> 16)
    return total % 2**32


def example(dtype):
    random = np.random.default_rng(0)
    if dtype is bool:
        return random.integers(0, 2, (3, 5)).astype(bool)
    return random.integers(0, 256, (3, 5 * np.dtype(dtype).itemsize), np.uint8).view(dtype)


TYPES = [np.float32, ml_dtypes.bfloat16, np.float16, np.int32, np.uint8, np.int8, bool]


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
def test_a_digest_is_what_it_is_by_hand_and_any_bit_changes_it(dtype):
    array = example(dtype)
    expected = int(digests([jnp.asarray(array)])[0])
    assert expected == by_hand(array) == host_digest(array)
    for place in range(array.nbytes):
        for bit in range(1 if dtype is bool else 8):
            flipped = array.copy()
            flipped.reshape(-1).view(np.uint8)[place] ^= 1 << bit
            assert int(digests([jnp.asarray(flipped)])[0]) != expected


def test_digests_of_keys_scalars_and_nothing():
    key = jax.random.key(7)
    leaves = [key, jnp.float32(1.5), jnp.zeros((0, 3)), jnp.zeros(4), jax.random.split(key, 3)]
    expected = [np.asarray(jax.random.key_data(x) if x is key or x.shape == (3,) else x) for x in leaves]
    assert digests(leaves).tolist() == [by_hand(array) for array in expected] == [*map(host_digest, leaves)]
    assert int(digests([jnp.zeros((0, 3))])[0]) == 0
    assert int(digests([key])[0]) != int(digests([jax.random.key(6)])[0])
    assert int(digests([jnp.array([1 + 2j, 3j])])[0]) == by_hand(np.array([1, 2, 0, 3], np.float32))
    assert host_digest(np.array([1 + 2j, 3j], np.complex64)) == by_hand(np.array([1, 2, 0, 3], np.float32))


def test_numbers_of_64_bits_are_two_words_each():
    array = np.random.default_rng(0).normal(size=(3, 5))
    with jax.enable_x64(True):
        assert int(digests([jnp.asarray(array)])[0]) == by_hand(array.view(np.uint32)) == host_digest(array)


def test_on_the_host_an_array_is_mixed_in_parts_as_if_it_were_whole(monkeypatch):
    monkeypatch.setattr("jaxgan.training.checkpoints.digest.CHUNK", 7)
    array = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    assert host_digest(array.T) == by_hand(np.ascontiguousarray(array.T))


def test_words_that_change_places_change_the_digest():
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    seen = {int(digests([jnp.asarray(x)])[0]) for x in (array, array[::-1], array[:, ::-1], array[:, :, ::-1])}
    assert len(seen) == 4


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("spec", [(), ("x",), (None, "x")], ids=str)
def test_a_digest_is_the_same_on_any_number_of_devices(count, spec):
    arrays = [example(dtype).reshape(-1)[:8].reshape(2, 4) for dtype in (np.float32, np.uint8)]
    arrays = [np.concatenate([array, array[::-1]]) for array in arrays]  # 4×4
    sharding = NamedSharding(Mesh(jax.devices()[:count], "x"), PartitionSpec(*spec))
    keys = jax.random.split(jax.random.key(0), 16).reshape(4, 4)
    got = digests([jax.device_put(leaf, sharding) for leaf in [*arrays, keys]])
    expected = [by_hand(array) for array in [*arrays, np.asarray(jax.random.key_data(keys))]]
    assert got.tolist() == expected


# --- save and restore -------------------------------------------------------------------------------------------------
