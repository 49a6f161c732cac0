"""The order of the data: a bijection in every epoch, one for NumPy and jax.numpy, and as irregular as chance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgan.data.order import batch_indices, indices

KEY = jax.random.key(5)
WORDS = np.asarray(jax.random.key_data(KEY))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, 64, 65, 1000, 1797])
@pytest.mark.parametrize("epoch", [0, 1, 1_000_003])
def test_every_example_comes_once_an_epoch(size, epoch):
    assert sorted(indices(WORDS, epoch, np.arange(size), size)) == list(range(size))


@pytest.mark.parametrize("size", [2, 64, 1797])
def test_numpy_and_compiled_order_are_equal(size):
    compiled = jax.jit(lambda epoch: indices(KEY, epoch, jnp.arange(size), size))
    for epoch in (0, 3):
        np.testing.assert_array_equal(compiled(epoch), indices(WORDS, epoch, np.arange(size), size))


def test_seeds_in_one_program_have_orders_of_their_own():
    keys = jax.random.split(KEY, 3)
    together = jax.vmap(lambda key: batch_indices(key, 2, 10, 101))(keys)
    for key, order in zip(keys, together, strict=True):
        np.testing.assert_array_equal(order, batch_indices(key, 2, 10, 101))
    assert len({tuple(np.asarray(order)) for order in together}) == 3


def test_order_looks_like_chance():
    """Where an example comes, and what follows it, are spread as by a random permutation: two chi-square tests over
    2,000 epochs of 50 examples. The order is fixed, so this passes or fails for good."""
    size, epochs = 50, 2000
    orders = np.stack([indices(WORDS, epoch, np.arange(size), size) for epoch in range(epochs)]).astype(int)
    places = np.zeros((size, size))
    np.add.at(places, (np.tile(np.arange(size), epochs), orders.ravel()), 1)
    assert stats.chisquare(places.ravel(), ddof=2 * size - 2).pvalue > 1e-3
    followers = np.zeros((size, size))
    np.add.at(followers, (orders[:, :-1].ravel(), orders[:, 1:].ravel()), 1)
    assert stats.chisquare(followers[~np.eye(size, dtype=bool)], ddof=size).pvalue > 1e-3


def test_an_epoch_is_its_whole_batches():
    first = np.concatenate([batch_indices(WORDS, step, 10, 105) for step in range(10)])
    assert len(set(first.tolist())) == 100
    second = np.concatenate([batch_indices(WORDS, step, 10, 105) for step in range(10, 20)])
    assert len(set(second.tolist())) == 100 and not np.array_equal(first, second)


def test_steps_near_the_end_of_32_bits_are_as_good_as_others():
    step = 2**31 - 1
    batch = batch_indices(WORDS, step, 64, 60_000)
    np.testing.assert_array_equal(jax.jit(lambda s: batch_indices(KEY, s, 64, 60_000))(step), batch)
    assert len(set(batch.tolist())) == 64 and batch.max() < 60_000


@pytest.mark.parametrize("size", [0, -1, 2**31 + 1])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"got {size}"):
        indices(WORDS, 0, np.arange(1), size)


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(ValueError, match="a batch of 11 is larger than the data set of 10 images"):
        batch_indices(WORDS, 0, 11, 10)
