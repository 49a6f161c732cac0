"""The minibatch's standard deviation, Karras et al. 2018 (arXiv 1710.10196), section 3, against NumPy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.minibatch import MinibatchStdDev

IMAGES = (2 + 3 * np.random.default_rng(3).standard_normal((4, 3, 2, 2))).astype(np.float32)


def _close(got, want, tolerance=1e-5):
    """Compares within `tolerance` of the largest entry."""
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.max(np.abs(want)))


def by_hand(x, group):
    deviations = [np.mean(np.sqrt(part.var(0) + 1e-8)) for part in np.split(x, len(x) // group)]
    one_map = np.repeat(deviations, group).reshape(-1, *(1,) * (x.ndim - 1))
    return np.concatenate([x, np.broadcast_to(one_map, (*x.shape[:-1], 1))], axis=-1)


@pytest.mark.parametrize("group", [1, 2, 4, None])
@pytest.mark.parametrize("shape", [IMAGES.shape, (12, 4), (4, 3, 1, 2, 2)])
def test_values_and_the_gradient_against_numpy(shape, group):
    """The gradient against central differences, in float64, of the formula written out above."""
    x = IMAGES.reshape(shape)
    expected = functools.partial(by_hand, group=group or len(x))
    layer = MinibatchStdDev(group)
    weights = np.random.default_rng(5).standard_normal(expected(x).shape).astype(np.float32)
    weights[..., -1] *= 10
    (_, y), gradient = jax.jit(
        jax.value_and_grad(lambda x: (lambda y: (jnp.sum(weights * y), y))(layer.apply({}, x)), has_aux=True)
    )(x)
    x = x.astype(np.float64)
    _close(y, expected(x), 1e-6)
    want = np.zeros(shape)
    for index in np.ndindex(shape):
        nudge = np.zeros(shape)
        nudge[index] = 1e-5
        want[index] = np.sum(weights * (expected(x + nudge) - expected(x - nudge))) / 2e-5
    _close(gradient, want)


def test_equal_examples_have_finite_gradients():
    x = jnp.ones((4, 2, 2, 3))
    layer = MinibatchStdDev()
    scalar = lambda x: jnp.sum(layer.apply({}, x)[..., -1])  # noqa: E731
    np.testing.assert_allclose(layer.apply({}, x)[..., -1], 1e-4, rtol=1e-5)  # the root of 1e-8
    penalty, gradient = jax.jit(
        jax.grad(lambda x: (lambda slope: (jnp.sum(slope**2), slope))(jax.grad(scalar)(x)), has_aux=True)
    )(x)
    np.testing.assert_array_equal(gradient, 0)
    assert np.all(np.isfinite(penalty))


def test_the_deviation_over_devices_is_that_of_the_global_batch():
    """Values and gradients, with all examples in a group; smaller groups are the same on any devices."""
    weights = np.random.default_rng(6).standard_normal((4, 3, 2, 3)).astype(np.float32)
    halves = lambda x: x.reshape(2, -1, *x.shape[1:])  # noqa: E731
    for group in None, 2:
        layer = MinibatchStdDev(group, "devices")
        sharded = jax.vmap(lambda x, layer=layer: layer.apply({}, x), axis_name="devices")
        whole = lambda x, group=group: MinibatchStdDev(group).apply({}, x)  # noqa: E731
        _close(jax.jit(sharded)(halves(IMAGES)), halves(whole(IMAGES)), 1e-6)
        got = jax.jit(jax.grad(lambda x, sharded=sharded: jnp.sum(halves(weights) * sharded(x))))(halves(IMAGES))
        want = jax.jit(jax.grad(lambda x, whole=whole: jnp.sum(weights * whole(x))))(IMAGES)
        _close(got, halves(want), 1e-6)


def test_the_deviation_is_made_in_float32():
    x = jnp.asarray(100 + IMAGES, jnp.bfloat16)
    y = MinibatchStdDev(2).apply({}, x)
    assert y.dtype == jnp.bfloat16
    _close(np.asarray(y, np.float64), by_hand(np.asarray(x, np.float64), 2), 0.004)  # rounded once


def test_a_batch_that_cannot_be_divided_is_refused_but_initialises():
    with pytest.raises(ValueError, match="a multiple of group=4 examples on each device, got 6"):
        MinibatchStdDev().apply({}, jnp.ones((6, 2)))
    y, variables = MinibatchStdDev(None, "devices").init_with_output(jax.random.key(0), jnp.ones((1, 2)))
    assert y.shape == (1, 3) and set(variables) == {"across_examples"}
    assert MinibatchStdDev(4).init_with_output(jax.random.key(0), jnp.ones((1, 2)))[0].shape == (1, 3)
