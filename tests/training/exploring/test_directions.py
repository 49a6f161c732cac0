"""Directions of weights against NumPy's singular values, directions of classes against means worked out by hand."""

import numpy as np
import pytest

from jaxgan.training.exploring.directions import class_directions, factorised, spread

random = np.random.default_rng(1)


@pytest.mark.parametrize("outputs", [[9], [4, 7, 2], [3]])
def test_factors_are_the_singular_vectors_of_all_layers_together(outputs):
    """Also where a matrix has fewer outputs than a code has numbers, and so no say in some directions."""
    factors = [random.normal(size=(5, each)) for each in outputs]
    found = factorised([each.astype(np.float32) for each in factors])
    whole = np.concatenate([each.astype(np.float32).astype(np.float64) for each in factors], axis=1)
    left, values, _ = np.linalg.svd(whole)
    there = len(values)
    np.testing.assert_allclose(found.values[:there], values**2, rtol=1e-10)
    np.testing.assert_allclose(found.values[there:], 0, atol=1e-12)
    np.testing.assert_allclose(np.abs(np.sum(found.directions[:there] * left.T[:there], axis=1)), 1, rtol=1e-10)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(5), atol=1e-12)


def test_a_step_along_a_direction_changes_what_is_read_by_the_root_of_its_value():
    """And no other unit vector changes it more than the first: equation 5 of the paper."""
    weights = random.normal(size=(6, 20))
    found = factorised([weights])
    lengths = np.linalg.norm(found.directions @ weights, axis=1)
    np.testing.assert_allclose(lengths**2, found.values, rtol=1e-10)
    others = random.normal(size=(2000, 6))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    assert np.linalg.norm(others @ weights, axis=1).max() <= lengths[0]


def test_factors_worked_out_by_hand():
    found = factorised([np.array([[0.0, 2.0], [3.0, 0.0], [0.0, 0.0]]), np.array([[0.0], [0.0], [-1.0]])])
    np.testing.assert_allclose(found.directions, [[0, 1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(found.values, [9, 4, 1])


def test_the_largest_number_of_a_direction_is_positive():
    directions = factorised([random.normal(size=(8, 30))]).directions
    assert all(row[np.abs(row).argmax()] > 0 for row in directions)


@pytest.mark.parametrize("factors, match", [([], "got none"), ([np.array([[1.0, np.nan]])], "not finite")])
def test_weights_without_directions_are_refused(factors, match):
    with pytest.raises(ValueError, match=match):
        factorised(factors)


def test_directions_of_classes_lead_from_the_others_to_them():
    codes = np.array([[0, 0], [2, 0], [1, 3], [1, 7]], np.float32)
    read = np.array([0, 0, 1, 2])
    found = class_directions(codes, read, [1, 0])
    one = np.array([0, 3 - 7 / 3])  # (1, 3) less the mean of the others, (1, 7/3)
    np.testing.assert_allclose(found, [one / np.linalg.norm(one), [0, -1]], atol=1e-12)
    np.testing.assert_allclose(spread(codes, found), [codes[:, 1].astype(float).std()] * 2)


def test_spread_is_the_standard_deviation_along_a_direction():
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    codes = random.multivariate_normal([5, 5], covariance, size=20_000)
    directions = np.array([[1, 0], [np.sqrt(0.5), np.sqrt(0.5)]])
    np.testing.assert_allclose(spread(codes, directions), np.sqrt([4, 4]), rtol=0.02)


@pytest.mark.parametrize(
    "read, number, match",
    [
        ([0, 0, 1, 1], 2, "0 of 4 samples are read as class 2"),
        ([3, 3, 3, 3], 3, "4 of 4 samples are read as class 3"),
        ([0, 1, 0, 1], 1, "the same mean code"),
    ],
)
def test_classes_without_a_direction_are_refused(read, number, match):
    codes = np.array([[0, 0], [0, 0], [1, 1], [1, 1]])
    with pytest.raises(ValueError, match=match):
        class_directions(codes, np.array(read), [number])
