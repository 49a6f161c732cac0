"""Modulated convolution against NumPy in float64, with loops over examples and kernels; both forms, derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from jax.test_util import check_grads

from jaxgan.networks.layers import equalized
from jaxgan.networks.layers.modulated import ModulatedConv, demodulation, modulated_conv

RANDOM = np.random.default_rng(2)
BATCH, SIDE, CHANNELS, FEATURES = 2, 5, 3, 4


def drawn(side=3):
    """Images, a kernel, and styles, some of them negative."""
    x = RANDOM.standard_normal((BATCH, SIDE, SIDE + 1, CHANNELS))
    kernel = RANDOM.standard_normal((side, side, CHANNELS, FEATURES))
    return [jnp.asarray(each, jnp.float32) for each in (x, kernel, 1 + RANDOM.standard_normal((BATCH, CHANNELS)))]


def by_hand(x, kernel, style, *, up, demodulate):
    """Equations 1 and 3 for each example, then the convolution of every pair of channels by SciPy."""
    x, kernel, style = (np.asarray(each, np.float64) for each in (x, kernel, style))
    side, made = len(kernel), []
    for image, factors in zip(x, style, strict=True):
        own = np.zeros_like(kernel)
        for j in range(own.shape[3]):
            for i in range(own.shape[2]):
                own[:, :, i, j] = factors[i] * kernel[:, :, i, j]
            if demodulate:
                own[:, :, :, j] /= np.sqrt(np.sum(own[:, :, :, j] ** 2) + 1e-8)
        if up:  # zeros between pixels, the whole convolution, the filter over it, and the middle of what becomes
            wide = np.zeros((2 * image.shape[0], 2 * image.shape[1], image.shape[2]))
            wide[::2, ::2] = image
            taps = np.array([1, 3, 3, 1]) / 4
            blur = functools.partial(scipy.signal.convolve2d, np.outer(taps, taps))
        planes = []
        for j in range(own.shape[3]):
            if up:
                y = sum(scipy.signal.convolve2d(wide[:, :, i], own[:, :, i, j]) for i in range(own.shape[2]))
                y, first = blur(y), (side - 1) // 2 + 1
                planes.append(y[first : first + len(wide), first : first + wide.shape[1]])
            else:
                planes.append(
                    sum(scipy.signal.correlate2d(image[:, :, i], own[:, :, i, j], "same") for i in range(own.shape[2]))
                )
        made.append(np.stack(planes, axis=-1))
    return np.stack(made)


@pytest.mark.parametrize("form", ["scaled", "grouped"])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("side, demodulate", [(3, True), (1, False), (5, True)])
def test_values_against_numpy(side, demodulate, up, form):
    x, kernel, style = drawn(side)
    got = modulated_conv(x, kernel, style, up=up, demodulate=demodulate, form=form)
    want = by_hand(x, kernel, style, up=up, demodulate=demodulate)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=3e-6 * np.max(np.abs(want)))


@pytest.mark.parametrize("up", [False, True])
def test_both_forms_have_the_same_derivatives(up):
    inputs = drawn()
    weights = RANDOM.standard_normal(by_hand(*inputs, up=up, demodulate=True).shape).astype(np.float32)

    def slopes(form):
        weighted = lambda *each: jnp.sum(weights * modulated_conv(*each, up=up, form=form))  # noqa: E731
        return jax.jit(jax.grad(weighted, (0, 1, 2)))(*inputs)

    for scaled, grouped in zip(slopes("scaled"), slopes("grouped"), strict=True):
        np.testing.assert_allclose(scaled, grouped, rtol=0, atol=5e-6 * np.max(np.abs(grouped)))


@pytest.mark.slow
def test_second_derivatives():
    x, kernel, style = drawn()
    function = jax.jit(functools.partial(modulated_conv, up=True))
    check_grads(function, (x[:1, :2, :2], kernel, style[:1]), order=2, modes="rev", rtol=0.02, atol=0.02)


def test_demodulated_outputs_have_the_variance_of_the_inputs():
    """Whatever the style: N(0, 1) goes in, and N(0, 1) comes out, away from the edges."""
    x = jnp.asarray(RANDOM.standard_normal((2, 64, 64, 8)), jnp.float32)
    kernel, style = RANDOM.standard_normal((3, 3, 8, 4)), 10.0 ** RANDOM.uniform(-2, 2, (2, 8))
    y = modulated_conv(x, jnp.asarray(kernel, jnp.float32), jnp.asarray(style, jnp.float32))
    np.testing.assert_allclose(np.std(y[:, 1:-1, 1:-1], axis=(1, 2)), 1, rtol=0.1)


def test_styles_of_any_size_stay_in_range_in_16_bits():
    """1e6 squared is no number of float16, and nothing below 1e-5 is left of 1e-9."""
    x, kernel, style = drawn()
    want = modulated_conv(x, kernel, style)
    for scale in (1e6, 1e-4):
        for form in ("scaled", "grouped"):
            low = modulated_conv(x.astype(jnp.float16), kernel, scale * style, form=form)
            assert low.dtype == jnp.float16
            np.testing.assert_allclose(low.astype(jnp.float32), want, rtol=0, atol=0.005 * np.max(np.abs(want)))


def test_demodulation_of_a_style_of_zeros_is_finite():
    _, kernel, style = drawn()
    factors, slope = jax.value_and_grad(lambda s: jnp.sum(demodulation(kernel, s)))(0 * style)
    np.testing.assert_allclose(factors, BATCH * FEATURES * 1e4, rtol=1e-5)
    np.testing.assert_array_equal(slope, 0)


def test_the_layer_with_an_equalised_rate():
    x, _, style = drawn()
    layer = equalized(ModulatedConv, gain=1.0)(FEATURES, up=True)
    variables = layer.init(jax.random.key(0), x, style)
    kernel = variables["params"]["kernel"]
    assert kernel.shape == (3, 3, CHANNELS, FEATURES)
    want = modulated_conv(x, kernel / np.float32(np.sqrt(27)), style, up=True)
    np.testing.assert_allclose(layer.apply(variables, x, style), want, rtol=1e-5, atol=1e-6)


def test_errors():
    x, kernel, style = drawn()
    for wrong in ((x, kernel, style[:1]), (x, kernel[:2], style), (x[0], kernel, style)):
        with pytest.raises(ValueError, match=r"expected images \[B, H, W, C\], a kernel"):
            modulated_conv(*wrong)
    with pytest.raises(ValueError, match="form must be one of scaled, grouped, got 'fast'"):
        modulated_conv(x, kernel, style, form="fast")
