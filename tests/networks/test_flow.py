"""Flows: passes against NumPy in float64, the determinant against a numerical Jacobian, the inverse, the density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.flow import Coupling, Flow

random = np.random.default_rng(0)


def perturbed(module, x, **how):
    """Variables that are far from the identity."""
    variables = module.init(jax.random.key(0), x, **how)
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, moved)


def by_hand(params, x, swapped):
    """A coupling in float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    half = x.shape[-1] // 2
    stays, moves = (x[:, half:], x[:, :half]) if swapped else (x[:, :half], x[:, half:])
    hidden = stays
    for name in sorted(name for name in params if name.startswith("Dense")):
        hidden = np.maximum(hidden @ params[name]["kernel"] + params[name]["bias"], 0)
    a, t = np.split(hidden @ params["last"]["kernel"] + params["last"]["bias"], 2, axis=-1)
    s = params["scale"] * np.tanh(a)
    moved = moves * np.exp(s) + t
    return np.concatenate([moved, stays] if swapped else [stays, moved], axis=-1), s.sum(-1)


def generated(params, latent):
    """A flow in float64."""
    x = latent.reshape(len(latent), -1)
    for i in range(sum(name.startswith("layers") for name in params)):
        x, _ = by_hand(params[f"layers_{i}"], x, swapped=bool(i % 2))
    return x


def jacobian(function, x, step=1e-5):
    """`[B, D, D]` by central differences in float64."""
    columns = []
    for i in range(x.shape[-1]):
        moved = np.zeros(x.shape[-1])
        moved[i] = step
        columns.append((function(x + moved) - function(x - moved)) / (2 * step))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_coupling_is_what_numpy_says_and_its_determinant_a_numerical_one(size, swapped):
    x = random.normal(size=(5, size))
    module = Coupling((7, 6), swapped)
    variables = perturbed(module, jnp.float32(x))
    y, log_determinant = module.apply(variables, jnp.float32(x))
    expected, sums = by_hand(variables["params"], x, swapped)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    matrices = jacobian(lambda x: by_hand(variables["params"], x, swapped)[0], x)
    np.testing.assert_allclose(sums, np.linalg.slogdet(matrices)[1], atol=1e-6)
    np.testing.assert_allclose(log_determinant, np.linalg.slogdet(matrices)[1], atol=1e-5)
    back, minus = module.apply(variables, y, invert=True)
    np.testing.assert_allclose(back, x, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(minus, -np.asarray(log_determinant))
    half = slice(size // 2, None) if swapped else slice(size // 2)
    np.testing.assert_array_equal(y[:, half], jnp.float32(x)[:, half])


@pytest.mark.parametrize("shape", [(1, 1, 2), (5,), (2, 2, 1)])
def test_a_flow_is_inverted_and_its_density_is_that_of_the_change_of_variables(shape):
    from scipy.stats import multivariate_normal

    size = int(np.prod(shape))
    latent = random.normal(size=(6, size))
    module = Flow(shape, 4, (8,))
    variables = perturbed(module, jnp.float32(latent), train=False)
    params = variables["params"]
    x = module.apply(variables, jnp.float32(latent), train=True)
    assert x.shape == (6, *shape) and x.dtype == jnp.float32
    expected = generated(params, latent)
    np.testing.assert_allclose(x.reshape(6, -1), expected, rtol=1e-4, atol=1e-4)
    z, log_determinant = module.apply(variables, x, method="invert")
    np.testing.assert_allclose(z, latent, rtol=1e-3, atol=1e-4)
    numerical = np.linalg.slogdet(jacobian(lambda z: generated(params, z), latent))[1]
    np.testing.assert_allclose(log_determinant, -numerical, atol=1e-4)
    density = multivariate_normal(np.zeros(size)).logpdf(latent) - numerical
    np.testing.assert_allclose(module.apply(variables, x, method="log_density"), density, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_the_density_of_the_plane_sums_to_one():
    module = Flow((2,), 3, (8,))
    variables = perturbed(module, jnp.zeros((1, 2)), train=False)
    line = np.linspace(-40, 40, 1001, dtype=np.float32)
    points = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    parts = np.array_split(points, 8)
    log_density = jax.jit(lambda x: module.apply(variables, x, method="log_density"))
    total = sum(np.exp(np.asarray(log_density(part), np.float64)).sum() for part in parts)
    np.testing.assert_allclose(total * (line[1] - line[0]) ** 2, 1, atol=0.01)


def test_a_flow_begins_near_the_identity_and_every_parameter_learns():
    module, latent = Flow((1, 1, 2), 4, (8, 8)), random.normal(size=(16, 2)).astype(np.float32)
    variables = module.init(jax.random.key(0), latent, train=False)
    np.testing.assert_allclose(module.apply(variables, latent, train=False).reshape(-1, 2), latent, atol=0.2)
    points = random.normal(size=(16, 1, 1, 2)).astype(np.float32)

    def loss(variables):
        return -module.apply(variables, points, method="log_density").mean()

    gradients = jax.grad(loss)(variables)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradients))
    # A step of gradient descent goes down by what the gradient says.
    step = 1e-3
    moved = jax.tree.map(lambda x, g: x - step * g, variables, gradients)
    square = sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradients))
    np.testing.assert_allclose(loss(variables) - loss(moved), step * square, rtol=0.1)


def test_products_may_be_in_bfloat16_and_the_inverse_is_still_one():
    module = Flow((1, 1, 2), 4, (8,), jnp.bfloat16)
    latent = random.normal(size=(16, 2)).astype(np.float32)
    variables = perturbed(module, latent, train=False)
    x = module.apply(variables, latent, train=False)
    z, _ = module.apply(variables, x, method="invert")
    assert x.dtype == z.dtype == jnp.float32
    np.testing.assert_allclose(z, latent, atol=0.1)  # numbers that are rounded to the other side become others
    assert np.median(np.abs(z - latent)) < 2e-3


@pytest.mark.parametrize(
    "shape, latent, message",
    [
        ((1,), (3, 1), r"a flow needs examples of at least 2 numbers, got 1 in the shape \(1,\)"),
        ((1, 1, 2), (3, 16), r"a flow of 2 numbers needs latents \[B, 2\], got \(3, 16\)"),
        ((1, 1, 2), (2,), r"a flow of 2 numbers needs latents \[B, 2\], got \(2,\)"),
    ],
)
def test_what_no_flow_can_be(shape, latent, message):
    with pytest.raises(ValueError, match=message):
        Flow(shape, 2, (4,)).init(jax.random.key(0), jnp.zeros(latent), train=False)
