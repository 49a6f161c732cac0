"""The nearest examples against loops over all of them, in Python's own numbers."""

import math

import numpy as np
import pytest

from jaxgan.training.exploring import neighbours
from jaxgan.training.exploring.neighbours import nearest

random = np.random.default_rng(2)


def by_loops(queries, examples, k):
    found = []
    for query in queries.reshape(len(queries), -1).tolist():
        apart = [
            (math.sqrt(sum((a - b) ** 2 for a, b in zip(query, each, strict=True))), number)
            for number, each in enumerate(examples.reshape(len(examples), -1).tolist())
        ]
        found.append(sorted(apart)[:k])
    return np.array([[d for d, _ in row] for row in found]), np.array([[n for _, n in row] for row in found])


@pytest.mark.parametrize("chunk", [1, 3, 1024])
@pytest.mark.parametrize("k", [1, 4, 17])
def test_as_loops_find_them(k, chunk, monkeypatch):
    """Of integers many are equally far: the lower number comes first, in whatever parts they are compared."""
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    for examples in (random.integers(0, 3, (17, 2, 2)), random.normal(size=(17, 2, 2))):
        queries, done = examples[[3, 5, 16]] + (examples.dtype.kind == "f"), []
        distances, numbers = nearest(queries, examples, k, done.append)
        expected = by_loops(queries, examples, k)
        np.testing.assert_array_equal(numbers, expected[1])
        np.testing.assert_allclose(distances, expected[0], rtol=1e-12)
        assert sum(done) == 17


def test_bytes_do_not_overflow_and_a_copy_is_at_0():
    examples = random.integers(0, 256, (50, 8, 8, 3), np.uint8)
    examples[7] = examples[30]
    distances, numbers = nearest(examples[[30, 4]], examples, 2)
    assert numbers[0].tolist() == [7, 30] and numbers[1, 0] == 4
    assert distances[0].tolist() == [0, 0] and distances[1, 0] == 0 < distances[1, 1]
    far = nearest(np.zeros((1, 2), np.uint8), np.full((1, 2), 255, np.uint8), 1)
    assert far.distances.item() == pytest.approx(255 * math.sqrt(2))


def test_copies_of_large_numbers_are_at_0_too():
    """|a|² + |b|² - 2ab would round."""
    examples = 1e4 + random.normal(size=(20, 300)).astype(np.float32)
    assert nearest(examples[5:6], examples, 1).distances.item() == 0


@pytest.mark.parametrize("k", [0, 4])
def test_more_neighbours_than_examples_are_refused(k):
    with pytest.raises(ValueError, match=f"from 1 to 3 nearest examples of 3, got {k}"):
        nearest(np.zeros((1, 2)), np.zeros((3, 2)), k)


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        nearest(np.array([[np.nan, 0]]), np.zeros((3, 2)), 1)
