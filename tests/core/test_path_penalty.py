"""The path-length penalty against Jacobians by finite differences and by hand, in NumPy and float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgan import penalties

B, K, D, SHAPE = 3, 2, 4, (4, 2, 2)  # examples, layers, numbers of a style; images of 4×2 pixels and 2 channels
PIXELS, NUMBERS = 8, 16

_random = np.random.default_rng(0)
HIDDEN = 0.5 * _random.standard_normal((K, D, 5))
OUT = _random.standard_normal((5, NUMBERS))
W = _random.standard_normal((B, K, D))
NOISE = _random.standard_normal((B, *SHAPE))


def painted(w, xp):
    """A network of K layers that each read a style: `[B, K, D] -> [B, H, W, C]`, in NumPy or JAX."""
    hidden, out = (xp.asarray(x, w.dtype) for x in (HIDDEN, OUT))
    x = xp.tanh(w[:, 0] @ hidden[0])
    x = x * (1.0 + xp.sin(w[:, 1] @ hidden[1]))
    return (x @ out).reshape(len(w), *SHAPE)


def jacobian(image, w, h=1e-6):
    """Returns ∂image/∂w by central differences, `[pixels and channels, numbers of w]`."""
    columns = []
    for i in np.ndindex(w.shape):
        shift = np.zeros_like(w)
        shift[i] = h
        columns.append((image(w + shift) - image(w - shift)).reshape(-1) / (2 * h))
    return np.stack(columns, axis=1)


def exact_jacobian(image, w, h=1e-30):
    """The same by a complex step, which has no rounding: for differences of differences."""
    steps = [w + 1j * h * (np.arange(w.size) == i).reshape(w.shape) for i in range(w.size)]
    return np.stack([image(step).imag.reshape(-1) / h for step in steps], axis=1)


def lengths(image, w, noise, jacobian=jacobian):
    """‖Jᵀy‖₂ of each example, y = noise / √pixels, mean of squares over layers."""
    values = []
    for one, direction in zip(w, noise, strict=True):
        product = jacobian(lambda w: image(w[None]), one).T @ direction.reshape(-1) / math.sqrt(PIXELS)
        values.append(math.sqrt(np.sum(product**2) / (one.size / one.shape[-1])))
    return np.array(values)


def test_the_length_is_that_of_a_jacobian_by_finite_differences():
    want = lengths(lambda w: painted(w, np), W, NOISE)
    before = 0.7
    mean = before + 0.01 * (want.mean() - before)
    with jax.enable_x64(True):
        for transform in (lambda f: f, jax.jit):
            function = transform(lambda w, y, a: penalties.path_length(lambda w: painted(w, jnp), w, y, a))
            values, after = function(jnp.asarray(W), jnp.asarray(NOISE), jnp.asarray(before))
            assert values.shape == (B,) and values.dtype == jnp.float64
            np.testing.assert_allclose(values, (want - mean) ** 2, rtol=1e-7)
            np.testing.assert_allclose(after, mean, rtol=1e-9)
    single = [jnp.asarray(x, jnp.float32) for x in (W, NOISE, before)]
    values, after = penalties.path_length(lambda w: painted(w, jnp), *single)
    assert values.dtype == after.dtype == jnp.float32
    np.testing.assert_allclose(values, (want - mean) ** 2, rtol=1e-4)


def test_one_style_for_all_layers():
    def image(w, xp=np):
        return painted(xp.stack([w, w], axis=1), xp)

    want = lengths(image, W[:, 0], NOISE)
    with jax.enable_x64(True):
        args = jnp.asarray(W[:, 0]), jnp.asarray(NOISE), jnp.zeros(())
        values, mean = penalties.path_length(lambda w: image(w, jnp), *args)
        np.testing.assert_allclose(mean, 0.01 * want.mean(), rtol=1e-7)
        np.testing.assert_allclose(values, (want - 0.01 * want.mean()) ** 2, rtol=1e-7)


def test_a_linear_generator_by_hand():
    """image = A·w: Jᵀy = Aᵀy, whatever w is; of 1×4 pixels, so that y = noise / 2."""
    a = np.arange(8.0).reshape(4, 2) - 3.0
    noise = np.array([[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 2.0, 0.0]])
    want = np.array([math.hypot(-3, -2), math.hypot(-1 + 1, 0 + 2)])  # A's first row; the sum of its second and third
    values, mean = penalties.path_length(
        lambda w: (w @ jnp.asarray(a.T, jnp.float32)).reshape(2, 1, 4, 1),
        jnp.asarray([[5.0, 1.0], [-7.0, 2.0]]),
        jnp.asarray(noise.reshape(2, 1, 4, 1), jnp.float32),
        jnp.float32(2.0),
    )
    after = 2.0 + 0.01 * (want.mean() - 2.0)
    np.testing.assert_allclose(mean, after, rtol=1e-6)
    np.testing.assert_allclose(values, (want - after) ** 2, rtol=1e-5)


def _mean_penalty(scale):
    hidden, out = jnp.asarray(HIDDEN), jnp.asarray(OUT)

    def image(w):
        x = jnp.tanh(w[:, 0] @ hidden[0] * scale) * (1.0 + jnp.sin(w[:, 1] @ hidden[1]))
        return (x @ out).reshape(B, *SHAPE)

    values, _ = penalties.path_length(image, jnp.asarray(W), jnp.asarray(NOISE), jnp.asarray(1.3))
    return jnp.mean(values)


def test_gradients_of_the_parameters_hold_the_mean_fixed():
    """What training follows: the derivative of (length - a)², a being no function of the parameters."""

    def by_hand(scale, fixed):
        def image(w):
            x = np.tanh(w[:, 0] @ HIDDEN[0] * scale) * (1.0 + np.sin(w[:, 1] @ HIDDEN[1]))
            return (x @ OUT).reshape(len(w), *SHAPE)

        all_lengths = lengths(image, W, NOISE, exact_jacobian)
        return np.mean((all_lengths - fixed) ** 2), all_lengths

    _, at_one = by_hand(1.0, 0.0)
    fixed = 1.3 + 0.01 * (at_one.mean() - 1.3)
    want = (by_hand(1 + 1e-4, fixed)[0] - by_hand(1 - 1e-4, fixed)[0]) / 2e-4
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.grad(_mean_penalty)(1.0), want, rtol=1e-5)


def test_second_derivatives():
    with jax.enable_x64(True):
        image, noise, mean = (lambda w: painted(w, jnp)), jnp.asarray(NOISE), jnp.asarray(0.0)
        # Without the moving mean, whose gradient is cut on purpose.
        values = lambda w: penalties.path_length(image, w, noise, mean, lambda x: jnp.zeros(()))[0]  # noqa: E731
        check_grads(values, (jnp.asarray(W),), order=2, modes=["rev"])


def test_no_gradient_is_no_nan():
    """A generator that reads no style has length 0, where a root has no derivative."""
    image = lambda scale, w: scale * jnp.ones((B, *SHAPE)) * jnp.sum(w, axis=(1, 2)).reshape(B, 1, 1, 1)  # noqa: E731
    single = [jnp.asarray(x, jnp.float32) for x in (W, NOISE, 2.0)]
    values, gradient = jax.value_and_grad(
        lambda scale: jnp.mean(penalties.path_length(lambda w: image(scale, w), *single)[0])
    )(0.0)
    np.testing.assert_allclose(values, (2.0 - 0.01 * 2.0) ** 2, rtol=1e-6)
    assert np.isfinite(gradient)
    big = jax.grad(lambda scale: jnp.mean(penalties.path_length(lambda w: image(scale, w), *single)[0]))(1e3)
    assert np.isfinite(big)


def test_the_mean_goes_over_all_devices():
    single = [jnp.asarray(x, jnp.float32) for x in (W, NOISE, 0.5)]
    image = lambda w: painted(w, jnp)  # noqa: E731
    _, other = penalties.path_length(image, *single, lambda x: jnp.mean(x) + 1.0)
    _, mean = penalties.path_length(image, *single)
    np.testing.assert_allclose(other - mean, 0.01, rtol=1e-5)


@pytest.mark.parametrize("size", [4, 32, 256, 1024])
def test_the_papers_weight_is_two(size):
    """γ of the paper's appendix B, with its unscaled noise and its sum over 2 log₂ r - 2 layers."""
    paper = math.log(2) / (size**2 * (math.log(size) - math.log(2)))
    layers = 2 * int(math.log2(size)) - 2
    assert math.isclose(paper * size**2 * layers, 2.0)


@pytest.mark.parametrize(
    "w, noise, named",
    [
        ((3, 2, 4), (3, 4, 2, 1), "noise of the images' shape"),
        ((3, 2, 4), (1, 4, 2, 2), "noise of the images' shape"),
        ((3,), (3, 4, 2, 2), r"styles \[B, D\]"),
    ],
)
def test_mismatched_shapes_are_refused(w, noise, named):
    with pytest.raises(ValueError, match=named):
        penalties.path_length(lambda w: painted(w, jnp), jnp.zeros(w), jnp.zeros(noise), jnp.zeros(()))
