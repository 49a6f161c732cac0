"""Minibatch discrimination, Salimans et al. 2016 (arXiv 1606.03498), section 3.2, against NumPy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from jaxgan.networks.minibatch import MinibatchDiscrimination

MEASURES, KERNELS = 3, 2
_random = np.random.default_rng(0)
IMAGES = _random.standard_normal((4, 2, 1, 2)).astype(np.float32)
VARIABLES = {"params": {"kernel": _random.uniform(-0.7, 0.7, (4, MEASURES * KERNELS)).astype(np.float32)}}
LAYER = MinibatchDiscrimination(MEASURES, KERNELS)
SHARDED = MinibatchDiscrimination(MEASURES, KERNELS, axis_name="devices")


def by_hand(x, kernel=VARIABLES["params"]["kernel"]):
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    m = (x @ np.asarray(kernel, np.float64)).reshape(len(x), MEASURES, KERNELS)
    near = np.zeros((len(x), MEASURES))
    for i, b in np.ndindex(near.shape):
        near[i, b] = sum(np.exp(-np.abs(m[i, b] - m[j, b]).sum()) for j in range(len(x)) if j != i)
    return np.concatenate([x, near], axis=1)


def test_values_eager_and_jitted():
    want = by_hand(IMAGES)
    assert np.ptp(want[:, 4:]) > 0.3  # neither all far apart nor all the same
    for apply in (LAYER.apply, jax.jit(LAYER.apply)):
        np.testing.assert_allclose(apply(VARIABLES, IMAGES), want, rtol=1e-5)


def test_gradients_against_central_differences():
    weights = _random.standard_normal((4, 4 + MEASURES)).astype(np.float32)
    scalar = lambda v, x: jnp.sum(weights * LAYER.apply(v, x))  # noqa: E731
    total = lambda kernel, x: np.sum(weights * by_hand(x, kernel))  # noqa: E731
    variables, images = jax.jit(jax.grad(scalar, (0, 1)))(VARIABLES, IMAGES)
    given = [VARIABLES["params"]["kernel"].astype(np.float64), IMAGES.astype(np.float64)]
    for number, got in enumerate((variables["params"]["kernel"], images)):
        want = np.zeros(got.shape)
        for index in np.ndindex(got.shape):
            nudged = [[array.copy() for array in given] for _ in range(2)]
            nudged[0][number][index] += 1e-6
            nudged[1][number][index] -= 1e-6
            want[index] = (total(*nudged[0]) - total(*nudged[1])) / 2e-6
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_an_example_is_not_its_own_neighbour():
    """Of n equal examples each has n - 1 at distance 0, and a single one has none."""
    for n in (1, 2, 6):
        x = np.repeat(IMAGES[:1], n, axis=0)
        got = jax.jit(LAYER.apply)(VARIABLES, x)
        np.testing.assert_allclose(got[:, 4:], np.full((n, MEASURES), n - 1.0), rtol=1e-6)


def test_equal_and_distant_examples_have_finite_gradients():
    """Those of second order too, which penalties need."""
    for x in (np.repeat(IMAGES[:1], 4, axis=0), 1000 * IMAGES):
        slope = jax.grad(lambda x: jnp.sum(LAYER.apply(VARIABLES, x)[:, 4:]))
        first, second = jax.jit(lambda x, slope=slope: (slope(x), jax.grad(lambda x: jnp.sum(slope(x) ** 2))(x)))(x)
        assert np.all(np.isfinite(first)) and np.all(np.isfinite(second))


def halves(x):
    return x.reshape(2, -1, *x.shape[1:])


def on_lanes(function):
    lanes = jax.vmap(function, in_axes=(None, 0), axis_name="devices")
    return lambda v, x: lanes(v, halves(x)).reshape(4, -1)


def on_devices(function, check_vma):
    specs = {"in_specs": (PartitionSpec(), PartitionSpec("devices")), "out_specs": PartitionSpec("devices")}
    mesh = Mesh(np.array(jax.devices()[:2]), ("devices",))
    return jax.shard_map(function, mesh=mesh, check_vma=check_vma, **specs)


ROADS = {
    "vmap": on_lanes,
    "shard_map": functools.partial(on_devices, check_vma=True),
    "shard_map unchecked": functools.partial(on_devices, check_vma=False),
}


@pytest.mark.parametrize("road", ROADS)
def test_neighbours_on_other_devices_count(road):
    """Values and gradients are those of the complete batch; without `axis_name` they are not."""
    weights = _random.standard_normal((4, 4 + MEASURES)).astype(np.float32)

    def outcome(apply):
        scalar = lambda v, x: (lambda y: (jnp.sum(weights * y), y))(apply(v, x))  # noqa: E731
        gradients, y = jax.jit(jax.grad(scalar, (0, 1), has_aux=True))(VARIABLES, IMAGES)
        return [y, *jax.tree.leaves(gradients)]

    got, want = outcome(ROADS[road](SHARDED.apply)), outcome(LAYER.apply)
    np.testing.assert_allclose(got[0], by_hand(IMAGES), rtol=1e-5)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    alone = outcome(ROADS[road](LAYER.apply))
    assert np.max(np.abs(alone[0] - want[0])) > 0.1


def test_sums_and_differences_are_made_in_float32():
    """With 200 equal examples, where bfloat16 cannot tell 256 from 257, and at 30 ± 1, where its steps are 1/8."""
    y = jax.jit(LAYER.apply)(VARIABLES, jnp.ones((200, 4), jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(y[:, 4:], np.float32), np.full((200, MEASURES), 199.0))
    far = jnp.asarray(30 + IMAGES, jnp.bfloat16)
    got = np.asarray(jax.jit(LAYER.apply)(VARIABLES, far), np.float64)
    np.testing.assert_allclose(got, by_hand(np.asarray(far, np.float64)), rtol=0.004)  # rounded once


@pytest.mark.parametrize("width", [16, 4096])
def test_distances_start_at_the_order_of_kernels(width):
    """Whatever the width, examples are neither so near that all look alike, nor so far that the exponential
    vanishes."""
    x = _random.standard_normal((8, width)).astype(np.float32)
    y, variables = MinibatchDiscrimination(20, 5, "devices").init_with_output(jax.random.key(0), x)  # needs no axis
    assert variables["params"]["kernel"].shape == (width, 100) and variables["params"]["kernel"].dtype == jnp.float32
    m = (x.astype(np.float64) @ np.asarray(variables["params"]["kernel"], np.float64)).reshape(8, 20, 5)
    distances = np.abs(m[:, None] - m[None]).sum(-1)[~np.eye(8, dtype=bool)]
    # Of two N(0, 1) numbers the expected distance is 2/√π = 1.13.
    assert 0.8 * 5 < distances.mean() < 1.5 * 5
    assert y.shape == (8, width + 20)
