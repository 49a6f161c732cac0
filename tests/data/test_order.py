"""The order of the data: a bijection in every epoch, the same for NumPy and jax.numpy, and as irregular as chance."""

import hashlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgan.data.order import SHUFFLED, batch_indices, indices

KEY = jax.random.key(5)
WORDS = np.asarray(jax.random.key_data(KEY))


def orders(size, count, seeds=False):
    """Returns the orders of a set in its first epochs, or of the first epoch under so many seeds, `[count, size]`."""

    def one(i):
        key, epoch = (jax.random.key(i), 0) if seeds else (KEY, i)
        return indices(key, epoch, jnp.arange(size), size)

    return np.asarray(jax.jit(jax.vmap(one))(jnp.arange(count))).astype(int)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, 64, 65, 1000, 1797])
@pytest.mark.parametrize("epoch", [0, 1, 1_000_003])
def test_every_example_comes_once_an_epoch(size, epoch):
    assert sorted(indices(WORDS, epoch, np.arange(size), size)) == list(range(size))


def test_every_example_comes_once_on_both_sides_of_what_is_shuffled():
    for size in [*range(1, 40), *range(SHUFFLED - 3, SHUFFLED + 4)]:
        for epoch in (0, 5, 2**31 - 1):
            assert sorted(indices(WORDS, epoch, np.arange(size), size)) == list(range(size)), (size, epoch)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, SHUFFLED, SHUFFLED + 1, 1797])
def test_numpy_and_compiled_order_are_equal(size):
    compiled = jax.jit(lambda epoch: indices(KEY, epoch, jnp.arange(size), size))
    for epoch in (0, 3, 2**31 - 1):
        order = indices(WORDS, epoch, np.arange(size), size)
        assert order.dtype == np.uint32
        np.testing.assert_array_equal(compiled(epoch), order)


@pytest.mark.parametrize("size", [5, 300, 1797])
def test_every_position_can_be_asked_for_by_itself(size):
    """Positions may have any shape, in compiled programs that don't know them, and for several epochs at once."""
    order = indices(WORDS, 3, np.arange(size), size)
    ask = jax.jit(lambda epoch, position: indices(KEY, epoch, position, size))
    for position in (np.int32(size - 1), np.array([4, 0, 4]), np.array([[1], [3]], np.uint32)):
        np.testing.assert_array_equal(indices(WORDS, 3, position, size), order[position])
        np.testing.assert_array_equal(ask(3, position), order[position])
    epochs, position = np.array([[2], [3]]), np.array([[0, 4, 2]])
    together = np.stack([indices(WORDS, epoch, position[0], size) for epoch in (2, 3)])
    np.testing.assert_array_equal(indices(WORDS, epochs, position, size), together)
    np.testing.assert_array_equal(ask(epochs, position), together)


def test_seeds_in_one_program_have_orders_of_their_own():
    keys = jax.random.split(KEY, 3)
    together = jax.vmap(lambda key: batch_indices(key, 2, 10, 101))(keys)
    for key, order in zip(keys, together, strict=True):
        np.testing.assert_array_equal(order, batch_indices(key, 2, 10, 101))
    assert len({tuple(np.asarray(order)) for order in together}) == 3


# Orders are fixed, so that each of the following tests passes or fails for good: by chance one in a thousand fails.


@pytest.mark.parametrize("seeds", [False, True], ids=["epochs", "seeds"])
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_permutations_of_a_few_are_equally_frequent(size, seeds):
    names = orders(size, 500_000, seeds) @ size ** np.arange(size)
    counts = np.unique(names, return_counts=True)[1]
    assert len(counts) == math.factorial(size)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("size", [16, 64, 100])
def test_odd_permutations_are_as_frequent_as_even_ones(size):
    odd = np.linalg.det(np.eye(size)[orders(size, 2000)]) < 0
    assert stats.binomtest(int(odd.sum()), len(odd)).pvalue > 1e-3


@pytest.mark.parametrize(
    "size, epochs", [(7, 100_000), (16, 100_000), (50, 20_000), (100, 20_000), (300, 20_000), (1000, 2000)]
)
def test_order_looks_like_chance(size, epochs):
    """An example's position, and the example after it, are spread as by a random permutation."""
    order = orders(size, epochs)
    places = np.bincount((size * np.arange(size) + order).ravel(), minlength=size**2)
    assert stats.chisquare(places, ddof=2 * size - 2).pvalue > 1e-3
    followers = np.bincount((size * order[:, :-1] + order[:, 1:]).ravel(), minlength=size**2).reshape(size, size)
    assert stats.chisquare(followers[~np.eye(size, dtype=bool)], ddof=size).pvalue > 1e-3


# The first of an epoch and a digest of all, by jaxgan as it was when all sets were permuted by a Feistel network:
# with another order a run of an older version could not go on, nor its numbers be had again.
ORDERS = {
    (600, 0): ([451, 571, 229, 314], "ffcd29d9d598f265"),
    (1000, 0): ([769, 571, 229, 314], "046c0be5b2195547"),
    (1000, 7): ([607, 537, 294, 315], "1dd8c3266b7081d3"),
    (1024, 7): ([607, 537, 294, 315], "9b0003e912103f91"),
    (1797, 0): ([1257, 1464, 1272, 1335], "ab27adca1fb3037a"),
    (1797, 7): ([1139, 182, 1338, 1319], "492da26b157500bd"),
    (60_000, 0): ([2200, 412, 20016, 12791], "99bbc504388d06d3"),
    (60_000, 7): ([20359, 10764, 49486, 6109], "3c31f74e43b7f736"),
    (65_536, 7): ([20359, 10764, 49486, 6109], "42ba2ded50c39f18"),
}


@pytest.mark.parametrize("size, epoch", ORDERS, ids=str)
def test_order_of_larger_sets_is_that_of_older_runs(size, epoch):
    order = indices(WORDS, epoch, np.arange(size), size)
    first, digest = ORDERS[size, epoch]
    assert order[:4].tolist() == first
    assert hashlib.sha256(order.astype("<u4").tobytes()).hexdigest()[:16] == digest


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
