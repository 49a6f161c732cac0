"""The losses of style transfer against NumPy in float64; PyTorch's numbers are in networks/test_style.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgan.losses import style_distance, total_variation

RANDOM = np.random.default_rng(0)


def maps(*shape):
    return (RANDOM.normal(size=(2, *shape)) * 2 + 1).astype(np.float32)


def by_hand(x, y):
    x, y = np.float64(x), np.float64(y)
    deviations = [np.sqrt(each.var(axis=(1, 2)) + 1e-5) for each in (x, y)]
    means = x.mean((1, 2)) - y.mean((1, 2))
    return (means**2).mean(1) + ((deviations[0] - deviations[1]) ** 2).mean(1)


def test_the_distance_of_styles_is_that_of_means_and_deviations():
    x, y = (maps(5, 7, 3), maps(2, 3, 4)), (maps(4, 4, 3), maps(1, 1, 4))  # pictures of other sizes
    want = by_hand(x[0], y[0]) + by_hand(x[1], y[1])
    for compute in (style_distance, jax.jit(style_distance)):
        np.testing.assert_allclose(compute(x, y), want, rtol=1e-5)
    np.testing.assert_allclose(style_distance({"a": x[1]}, {"a": y[1]}), by_hand(x[1], y[1]), rtol=1e-5)


def test_what_keeps_the_statistics_keeps_the_style():
    """Pixels in another order; one channel's deviation doubled costs what it says."""
    x = maps(4, 4, 2)
    moved = x.reshape(2, 16, 2)[:, RANDOM.permutation(16)].reshape(x.shape)
    np.testing.assert_allclose(style_distance(x, moved), 0, atol=1e-10)
    mean = x.mean((1, 2), keepdims=True)
    wider = np.where(np.arange(2) == 0, mean + 2 * (x - mean), x)
    np.testing.assert_allclose(style_distance(x, wider), np.float64(x[..., 0]).var((1, 2)) / 2, rtol=1e-4)


def test_gradients_of_the_distance_are_right_and_finite_where_a_map_is_constant():
    x, y = maps(2, 3, 2), maps(3, 2, 2)
    check_grads(lambda x: style_distance(x, y), (x,), order=2, modes=["rev"], atol=2e-2, rtol=2e-2)
    flat = jnp.ones((2, 3, 3, 2))
    for style in (flat, y):
        assert np.isfinite(jax.grad(lambda x, style=style: jnp.sum(style_distance(x, style)))(flat)).all()


@pytest.mark.parametrize(
    "x, y",
    [
        ((2, 4, 4, 3), (2, 4, 4, 1)),
        ((2, 4, 4, 3), (1, 4, 4, 3)),
        ((2, 4, 3), (2, 4, 3)),
    ],
)
def test_maps_that_would_broadcast_are_refused(x, y):
    with pytest.raises(ValueError, match="two styles as feature maps"):
        style_distance(jnp.zeros(x), jnp.zeros(y))


def test_other_numbers_of_layers_are_refused():
    x = jnp.zeros((2, 4, 4, 3))
    with pytest.raises(ValueError, match="two styles as feature maps"):
        style_distance((x, x), (x,))
    with pytest.raises(ValueError, match="without arrays"):
        style_distance((), ())


def test_total_variation():
    image = np.array([[[0.0, 1.0], [0.5, -1.0]], [[0.25, 0.0], [2.0, 0.0]]], np.float32)[None]  # 2×2, two channels
    # Channel 0: down |.25 - 0| + |2 - .5|, right |.5 - 0| + |2 - .25|; channel 1: down 1 + 1, right 2 + 0.
    np.testing.assert_allclose(total_variation(image), [(0.25 + 1.5 + 0.5 + 1.75 + 1 + 1 + 2 + 0) / 8], rtol=1e-6)
    ramp = np.broadcast_to(np.arange(6, dtype=np.float32)[:, None, None], (2, 6, 3, 1))
    np.testing.assert_allclose(total_variation(ramp), [5 / 6, 5 / 6], rtol=1e-6)
    np.testing.assert_array_equal(total_variation(jnp.ones((3, 1, 1, 2))), np.zeros(3))
    x = maps(5, 4, 3)
    wide = np.float64(x)
    want = (np.abs(np.diff(wide, axis=1)).sum((1, 2, 3)) + np.abs(np.diff(wide, axis=2)).sum((1, 2, 3))) / 60
    np.testing.assert_allclose(jax.jit(total_variation)(x), want, rtol=1e-6)
    assert total_variation(x.astype(jnp.bfloat16)).dtype == jnp.float32
