"""Changes of images against NumPy and SciPy; draws by their distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from jaxgan import augment
from jaxgan.augment import flip, random_crop, rotate_and_scale, shift, turn, turned


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def places(count, height, width):
    """Returns images `[count, H, W, 2]` whose pixels hold their place: (row, column)."""
    image = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).astype(np.float32)
    return np.broadcast_to(image, (count, *image.shape))


CHANGES = {
    "flip": flip,
    "random_crop": lambda images, keys: random_crop(images, keys, 3),
    "shift": lambda images, keys: shift(images, keys, 2),
    "turn": lambda images, keys: turn(images[:, :, :5], keys),  # the square of it
    "rotate_and_scale": lambda images, keys: rotate_and_scale(images, keys, 20.0, 0.2),
}
each = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


# --- what every change keeps -----------------------------------------------------------------------------------------
@each
def test_depends_on_the_key_alone(change):
    images, own = noise(8, 5, 6, 3), keys(8)
    change = jax.jit(change)
    whole = change(images, own)
    np.testing.assert_array_equal(change(images, own), whole)
    # Not bit for bit: the CPU's vectors and what is left over at their end round a cosine differently.
    for chosen in (np.array([3, 0, 7]), np.array([5])):
        np.testing.assert_allclose(change(images[chosen], own[chosen]), whole[chosen], rtol=0, atol=2e-6)


@each
def test_is_the_same_under_jit(change):
    images, own = noise(8, 5, 6, 3), keys(8)
    np.testing.assert_allclose(jax.jit(change)(images, own), change(images, own), rtol=0, atol=2e-6)


@each
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_keeps_dtype_and_range(change, dtype):
    images = jnp.asarray(noise(8, 5, 6, 3), dtype)
    changed = change(images, keys(8))
    assert changed.dtype == dtype and changed.shape[0] == 8 and changed.shape[3] == 3
    assert float(jnp.abs(changed).max()) <= 1


def test_changes_with_the_same_keys_are_independent():
    own = keys(4000)
    mirrored = flip(places(4000, 3, 3), own)[:, 0, 0, 1] > 0
    right = random_crop(places(4000, 3, 4), own, 3)[:, 0, 0, 1] > 0
    angle, factor = _angles_and_factors(rotate_and_scale(places(4000, 5, 5), own, 30.0, 0.2))
    corner = turn(places(4000, 2, 2), own)[:, 0, 0]  # which place has come to it
    signs = np.stack([mirrored, right, angle > 0, factor > 1, corner[:, 0] > 0, corner[:, 1] > 0]) * 2.0 - 1.0
    correlation = np.corrcoef(signs) - np.eye(6)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(4000)  # 4.5 standard deviations


# --- turn ------------------------------------------------------------------------------------------------------------
def test_turn_is_numpys_and_every_quarter_as_likely():
    images = noise(4000, 3, 3, 2)
    found = np.asarray(turn(images, keys(4000)))
    quarters = np.stack([np.rot90(images, k, (1, 2)) for k in range(4)])
    equal = (found == quarters).all((2, 3, 4))
    np.testing.assert_array_equal(equal.sum(0), 1)
    assert stats.chisquare(equal.sum(1)).pvalue > 1e-4


def test_with_flip_it_makes_all_eight_symmetries():
    image = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    many = np.broadcast_to(image, (4000, 3, 3, 1))
    found = np.asarray(turn(flip(many, keys(4000)), keys(4000)))
    eight = [np.rot90(each, k, (1, 2)) for each in (image, image[:, :, ::-1]) for k in range(4)]
    equal = np.stack([(found == each).all((1, 2, 3)) for each in eight])
    np.testing.assert_array_equal(equal.sum(0), 1)
    assert stats.chisquare(equal.sum(1)).pvalue > 1e-4


def test_the_gradient_of_turn_goes_back_where_the_pixels_came_from():
    images, weights = noise(8, 4, 4, 1), np.random.default_rng(1).uniform(-1, 1, (8, 4, 4, 1)).astype(np.float32)
    gradient = jax.grad(lambda x: jnp.sum(turn(x, keys(8)) * weights))(images)
    equal = (np.asarray(turn(images, keys(8))) == [np.rot90(images, k, (1, 2)) for k in range(4)]).all((2, 3, 4))
    np.testing.assert_array_equal(gradient, [np.rot90(w, -k) for w, k in zip(weights, equal.argmax(0), strict=True)])


def test_only_squares_can_be_turned():
    with pytest.raises(ValueError, match="images of 5×6 can't be turned by quarters and keep their shape; square ones"):
        turn(noise(2, 5, 6, 1), keys(2))


# --- flip ------------------------------------------------------------------------------------------------------------
def test_flip_mirrors_half_of_the_images():
    images = noise(4000, 2, 3, 1)
    changed = np.asarray(flip(images, keys(4000)))
    same = (changed == images).all((1, 2, 3))
    mirrored = (changed == np.flip(images, 2)).all((1, 2, 3))
    np.testing.assert_array_equal(same, ~mirrored)
    assert abs(same.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(4000)


# --- crop ------------------------------------------------------------------------------------------------------------
def test_crops_are_windows_uniform_over_all_places():
    images = places(6000, 6, 5)
    windows = np.asarray(random_crop(images, keys(6000), 3)).astype(int)
    top, left = windows[:, 0, 0].T
    for window, y, x in zip(windows[:100], top, left, strict=False):
        np.testing.assert_array_equal(window, images[0, y : y + 3, x : x + 3])
    counts = np.zeros((4, 3))
    np.add.at(counts, (top, left), 1)
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3  # uniform over 4·3 places, none of them left out


def test_a_crop_of_full_size_is_the_image():
    images = noise(3, 4, 4, 2)
    np.testing.assert_array_equal(random_crop(images, keys(3), 4), images)


@pytest.mark.parametrize("size", [0, 5])
def test_a_crop_must_fit(size):
    with pytest.raises(ValueError, match=f"{size}×{size} pixels doesn't fit into images of 6×4"):
        random_crop(noise(2, 6, 4, 1), keys(2), size)


# --- rotation and scale ----------------------------------------------------------------------------------------------
SHAPES = pytest.mark.parametrize("height, width", [(7, 7), (8, 8), (6, 9), (9, 4)])


def scipy_turned(image, radians, factor):
    """Computes `turned` of one image in float64. SciPy takes the map from output to input: the inverse of rotation and
    magnification."""
    cos, sin = np.cos(radians), np.sin(radians)
    # In axes (right, up) a turn counter-clockwise is [[cos, -sin], [sin, cos]]; ours are (down, right).
    axes = np.array([[0, 1], [-1, 0]])
    turn = factor * axes.T @ np.array([[cos, -sin], [sin, cos]]) @ axes
    matrix, centre = np.linalg.inv(turn), (np.array(image.shape[:2]) - 1) / 2
    image, offset = image.astype(np.float64), centre - matrix @ centre
    channels = [ndimage.affine_transform(c, matrix, offset, order=1, mode="mirror") for c in np.moveaxis(image, -1, 0)]
    return np.stack(channels, -1)


@SHAPES
def test_turned_is_scipys_affine_transform(height, width):
    images = noise(6, height, width, 2)
    radians = np.array([0.3, -0.3, 2.0, 0.0, 0.0, 0.8], np.float32)
    factors = np.array([1.0, 1.0, 1.0, 0.6, 1.7, 0.4], np.float32)  # far enough out to meet the mirror's mirror
    expected = [scipy_turned(*of) for of in zip(images, radians, factors, strict=True)]
    np.testing.assert_allclose(turned(images, radians, factors), expected, rtol=0, atol=2e-5)


@SHAPES
def test_turned_is_scipys_rotate(height, width):
    image = noise(1, height, width, 1)
    expected = ndimage.rotate(image[0].astype(np.float64), 25.0, reshape=False, order=1, mode="mirror")
    actual = turned(image, np.deg2rad(np.full(1, 25.0, np.float32)), np.ones(1, np.float32))[0]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_numpys(quarters):
    images = noise(2, 5, 5, 3)
    radians = np.full(2, quarters * np.pi / 2, np.float32)
    expected = np.rot90(images, quarters, axes=(1, 2))
    np.testing.assert_allclose(turned(images, radians, np.ones(2, np.float32)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("shape", [(3, 4, 4, 3), (3, 5, 8, 1), (3, 1, 6, 2)])
def test_nothing_asked_for_gives_the_images_back(transform, shape):
    images = noise(*shape)
    np.testing.assert_array_equal(transform(rotate_and_scale)(images, keys(3)), images)
    np.testing.assert_array_equal(transform(rotate_and_scale)(images, keys(3), 0.0, 0.0), images)


def _angles_and_factors(changed):
    """Reads degrees and magnifications off `places` of odd size after the change: a step to the right in the picture
    came from a step of 1/factor, rotated back."""
    middle, centre = changed.shape[1] // 2, changed.shape[2] // 2
    step = np.asarray(changed[:, middle, centre + 1] - changed[:, middle, centre - 1], np.float64) / 2
    return np.rad2deg(np.arctan2(step[:, 0], step[:, 1])), 1 / np.hypot(step[:, 0], step[:, 1])


def test_angles_and_scales_are_uniform():
    changed = rotate_and_scale(places(4000, 5, 5), keys(4000), 30.0, 0.2)
    angles, factors = _angles_and_factors(changed)
    for draws in (angles / 30, np.log(factors) / np.log(1.2)):
        assert np.abs(draws).max() < 1 + 1e-5
        assert stats.kstest(draws, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(angles, factors)[0, 1]) < 4.5 / np.sqrt(4000)


# --- gradients -------------------------------------------------------------------------------------------------------
def test_gradients_go_back_where_the_pixels_came_from():
    images, own, weights = noise(4, 3, 4, 1), keys(4), noise(4, 3, 4, 1)[::-1]
    mirrored = np.asarray(flip(images, own) == np.flip(images, 2)).all((1, 2, 3), keepdims=True)
    gradient = jax.grad(lambda images: jnp.vdot(flip(images, own), weights))(images)
    np.testing.assert_array_equal(gradient, np.where(mirrored, np.flip(weights, 2), weights))

    window = np.asarray(random_crop(places(4, 3, 4), own, 2))[:, :, :, 0:2].reshape(4, 4, 2).astype(int)
    expected = np.zeros_like(images)
    for i, pixels in enumerate(window):
        expected[i, pixels[:, 0], pixels[:, 1]] = 1
    gradient = jax.grad(lambda images: jnp.sum(random_crop(images, own, 2)))(images)
    np.testing.assert_array_equal(gradient, expected)


def test_the_gradient_of_turned_is_the_transpose_of_scipys_matrix():
    shape, radians, factor = (3, 4, 1), np.float32(0.5), np.float32(0.8)
    columns = [scipy_turned(unit.reshape(shape), radians, factor).ravel() for unit in np.eye(12)]
    image, weights = noise(*shape), noise(2, *shape)[1]
    gradient = jax.grad(lambda x: jnp.vdot(turned(x[None], radians[None], factor[None])[0], weights))(image)
    np.testing.assert_allclose(gradient.ravel(), np.stack(columns) @ weights.ravel(), rtol=0, atol=1e-5)


# --- shift and noise -------------------------------------------------------------------------------------------------
def test_a_shift_is_uniform_and_mirrors_at_the_edge():
    images = places(2000, 5, 6)
    moved = np.asarray(shift(images, keys(2000), 2))
    wide = np.pad(images[0], ((2, 2), (2, 2), (0, 0)), mode="reflect")
    windows = {wide[i : i + 5, j : j + 6].tobytes(): (i, j) for i in range(5) for j in range(5)}
    counts = np.zeros((5, 5))
    for image in moved:
        counts[windows[image.tobytes()]] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3
    np.testing.assert_array_equal(shift(images[:3], keys(3), 0), images[:3])
    for pixels in -1, 5:
        with pytest.raises(ValueError, match="can't be moved by up to"):
            shift(images[:3], keys(3), pixels)


def test_noise_is_normal_with_its_own_standard_deviation():
    images = np.full((200, 5, 6, 3), 0.25, np.float32)
    drawn = (np.asarray(augment.noise(images, keys(200), 0.5)) - 0.25) / 0.5
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3
    np.testing.assert_array_equal(augment.noise(images, keys(200), jnp.float32(0.0)), images)
    alone = augment.noise(images[7:8], keys(200)[7:8], 0.5)
    np.testing.assert_allclose(alone[0], drawn[7] * 0.5 + 0.25, atol=1e-6)
