"""Filtered up- and downsampling against SciPy's convolution of what is written out by NumPy; derivatives, mapping."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from jax.test_util import check_grads

from jaxgan.networks.layers import resample
from jaxgan.networks.layers.resample import FIR, downsample, upfirdn, upsample

CASES = [  # taps, up, down, padding
    (FIR, 1, 1, (1, 1)),
    (FIR, 1, 1, (-1, 3)),
    (FIR, 2, 1, (2, 1)),
    (FIR, 1, 2, (1, 1)),
    (FIR, 3, 2, (5, -2)),
    ((1.0, 2.0, -0.5), 2, 3, (0, 2)),
    ((1.0, 2.0, -0.5), 3, 1, (5, -2)),
    ((1.0,), 2, 1, (0, 0)),
    ((2.0, 1.0), 1, 2, (-2, -1)),
]


def images(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def by_hand(x, taps, up, down, padding, gain):
    """Every step by itself, in float64."""
    batch, height, width, channels = x.shape
    z = np.zeros((batch, height * up, width * up, channels))
    z[:, ::up, ::up] = x
    before, after = padding
    z = np.pad(z, [(0, 0), *[(max(before, 0), max(after, 0))] * 2, (0, 0)])
    z = z[:, max(-before, 0) : z.shape[1] - max(-after, 0), max(-before, 0) : z.shape[2] - max(-after, 0)]
    kernel = gain * np.outer(taps, taps) / np.sum(taps) ** 2
    planes = [[scipy.signal.convolve2d(z[b, :, :, c], kernel, "valid") for c in range(channels)] for b in range(batch)]
    return np.asarray(planes).transpose(0, 2, 3, 1)[:, ::down, ::down]


@pytest.mark.parametrize("taps, up, down, padding", CASES)
def test_values_against_scipy_and_the_transpose_against_the_values(taps, up, down, padding):
    """⟨y, A x⟩ = ⟨Aᵀ y, x⟩ for random images. XLA's own transpose of a cropped convolution reads past its input's end
    on a CPU, and isn't compared with."""
    x = images(2, 7, 6, 3)
    how = {"up": up, "down": down, "padding": padding, "gain": 2.5}
    want = by_hand(x, taps, **how)
    function = functools.partial(upfirdn, taps=taps, **how)
    got, transpose = jax.vjp(function, jnp.asarray(x))
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * np.max(np.abs(want)))
    y = images(*want.shape)
    np.testing.assert_allclose(np.vdot(transpose(jnp.asarray(y))[0], x), np.vdot(y, want), rtol=1e-4, atol=1e-4)
    # The other platforms' form.
    scaled = tuple(float(tap) * 2.5**0.5 / sum(taps) for tap in reversed(taps))
    other = resample._convolved(jnp.asarray(x), taps=scaled, up=up, down=down, pads=(padding, padding))
    np.testing.assert_allclose(other, want, rtol=0, atol=2e-6 * np.max(np.abs(want)))


def test_a_constant_image_keeps_its_brightness():
    """In its middle: zeros beyond the edge darken what is near it."""
    x = jnp.full((1, 8, 8, 1), 3.0)
    np.testing.assert_allclose(upsample(x)[:, 2:-2, 2:-2], 3.0, rtol=1e-6)
    np.testing.assert_allclose(downsample(x)[:, 1:-1, 1:-1], 3.0, rtol=1e-6)
    assert upsample(x).shape == (1, 16, 16, 1)
    assert downsample(x).shape == (1, 4, 4, 1)


def test_what_a_halved_image_cannot_show_is_filtered_out():
    """Pixels that alternate, which every second pixel alone would show as a plain image."""
    x = jnp.asarray(np.tile([1.0, -1.0], (1, 16, 8))[..., None], jnp.float32)
    np.testing.assert_allclose(downsample(x)[:, :, 1:-1], 0.0, atol=1e-6)


def test_derivatives_of_any_order_and_mode():
    x = jnp.asarray(images(1, 3, 4, 1))
    check_grads(lambda x: jnp.sin(upsample(x)), (x,), order=2, modes=("fwd", "rev"), rtol=0.02, atol=0.02)


def test_mapped_and_in_bfloat16():
    x = jnp.asarray(images(3, 2, 6, 8, 2))
    each = jnp.stack([downsample(one) for one in x])
    np.testing.assert_allclose(jax.vmap(downsample)(x), each, rtol=0, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(downsample, 4, 3)(jnp.moveaxis(x, 0, 4)), jnp.moveaxis(each, 0, 3), atol=1e-6)
    low = downsample(x[0].astype(jnp.bfloat16))
    assert low.dtype == jnp.bfloat16
    # Rounded once on the way in and once on the way out.
    np.testing.assert_allclose(low.astype(jnp.float32), each[0], rtol=2**-7, atol=2**-8 * 2)


@pytest.mark.parametrize(
    "x, how, message",
    [
        (np.zeros((2, 4, 4), np.float32), {}, "takes images"),
        (np.zeros((2, 4, 4, 1), np.float32), {"taps": ()}, "takes images"),
        (np.zeros((2, 4, 4, 1), np.float32), {"taps": (1.0, -1.0)}, "sum to 0"),
        (np.zeros((2, 4, 4, 1), np.float32), {"down": 0}, "at least 1"),
        (np.zeros((2, 4, 4, 1), np.float32), {"gain": 0.0}, "above 0"),
        (np.zeros((2, 4, 4, 1), np.float32), {"padding": (-1, 0)}, "leave nothing of"),
    ],
)
def test_errors(x, how, message):
    with pytest.raises(ValueError, match=message):
        upfirdn(jnp.asarray(x), **how)
