"""Codes beside and between others, against loops and numbers worked out by hand."""

import numpy as np
import pytest

from jaxgan.training.exploring.codes import mixed, moved, walk
from jaxgan.training.recipe.gan import between
from jaxgan.training.recipe.latents import truncated

pytestmark = pytest.mark.usefixtures("as_users_have_it")
random = np.random.default_rng(0)


def drawn(*shape):
    return random.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("layers", [[], [0], [1, 3], [0, 1, 2, 3]])
def test_mixed_codes_are_the_columns_in_the_named_layers_and_the_rows_elsewhere(layers):
    rows, columns = drawn(3, 4, 5), drawn(2, 4, 5)
    found = mixed(rows, columns, layers)
    assert found.shape == (3, 2, 4, 5)
    for i in range(3):
        for j in range(2):
            for k in range(4):
                np.testing.assert_array_equal(found[i, j, k], columns[j, k] if k in layers else rows[i, k])


@pytest.mark.parametrize("layer", [4, -1])
def test_a_layer_that_there_is_not_is_refused(layer):
    with pytest.raises(IndexError, match=f"there is no layer {layer}: layers are 0 to 3"):
        mixed(drawn(3, 4, 5), drawn(2, 4, 5), [0, layer])


def test_moved_codes_are_moved_in_the_named_layers_alone():
    codes, directions, amounts = drawn(2, 3, 4), drawn(5, 4).astype(np.float64), drawn(5, 6).astype(np.float64)
    found = moved(codes, directions, amounts, [2, 0])
    assert found.shape == (2, 5, 6, 3, 4) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :, :, 1], np.broadcast_to(codes[:, None, None, 1], (2, 5, 6, 4)))
    for i, j, s in np.ndindex(2, 5, 6):
        expected = codes[i, [0, 2]].astype(np.float64) + amounts[j, s] * directions[j]
        np.testing.assert_allclose(found[i, j, s][[0, 2]], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spherical", [False, True])
def test_walks_hit_their_ends(spherical):
    stops = drawn(4, 8)
    straight = walk(stops, 5, closed=False, spherical=spherical)
    assert straight.shape == (16, 8)
    np.testing.assert_allclose(straight[::5], stops, rtol=1e-5, atol=1e-6)
    closed = walk(stops, 5, closed=True, spherical=spherical)
    assert closed.shape == (20, 8)
    np.testing.assert_allclose(closed[::5], stops, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(closed[:15], straight[:15])
    home = walk(np.stack([stops[3], stops[0]]), 5, closed=False, spherical=spherical)
    np.testing.assert_allclose(closed[15:], home[:5], rtol=1e-6)


def test_a_linear_walk_is_exact_at_both_ends_and_even_between():
    stops = np.array([[[0.1, 3.0]], [[0.7, -1.0]]], np.float32)  # codes of one layer
    found = walk(stops, 4, closed=False, spherical=False)
    np.testing.assert_array_equal(found[[0, -1]], stops)
    np.testing.assert_allclose(found[:, 0], [[0.1, 3], [0.25, 2], [0.4, 1], [0.55, 0], [0.7, -1]], atol=1e-7)


def test_a_spherical_walk_keeps_length_and_turns_evenly():
    stops = np.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]], np.float32)
    found = walk(stops, 3, closed=False, spherical=True)  # 30° a frame
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 3.0, rtol=1e-6)
    half, root = 1.5, 1.5 * np.sqrt(3)
    np.testing.assert_allclose(found, [[3, 0, 0], [root, half, 0], [half, root, 0], [0, 3, 0]], atol=1e-6)
    chord = walk(stops, 2, closed=False, spherical=False)[1]
    assert np.linalg.norm(chord) == pytest.approx(3 / np.sqrt(2))  # what a straight line would do


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_between_latents_of_one_or_of_opposite_directions_lie_finite_numbers(share):
    """Where there is no great circle, as of latents of one number."""
    start = np.array([[1.0], [2.0], [-1.0], [0.5]], np.float32)
    end = np.array([[1.0], [4.0], [1.0], [-0.5]], np.float32)
    np.testing.assert_allclose(between(start, end, share), start + share * (end - start), atol=1e-6)


@pytest.mark.parametrize("stops, frames", [(1, 3), (0, 3), (3, 0)])
def test_a_walk_needs_stops_and_frames(stops, frames):
    with pytest.raises(ValueError, match=f"two stops or more and a frame to each, got {stops} and {frames}"):
        walk(drawn(stops, 2), frames, closed=True, spherical=False)


def test_truncation_is_exact_at_both_ends():
    codes, mean = drawn(50, 4, 3), drawn(3)
    np.testing.assert_array_equal(truncated(codes, mean, 1.0), codes)
    np.testing.assert_array_equal(truncated(codes, mean, 0.0), np.broadcast_to(mean, codes.shape))
    np.testing.assert_allclose(truncated(codes, mean, 0.7), mean + 0.7 * (codes - mean), rtol=1e-5, atol=1e-6)
    each = truncated(codes, mean, [1.0, 0.0, -1.0, 0.5])
    np.testing.assert_array_equal(each[:, :2], np.stack([codes[:, 0], np.broadcast_to(mean, (50, 3))], axis=1))
    np.testing.assert_allclose(each[:, 2], 2 * mean - codes[:, 2], rtol=1e-5, atol=1e-6)
