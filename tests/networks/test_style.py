"""Style transfer's networks: PyTorch's numbers (golden/style.npz), statistics in float64 by hand, any size."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgan import losses
from jaxgan.networks.style import StyleTransfer, adain, moments

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "style.npz")
NETWORK = StyleTransfer(channels=3, features=2)
RANDOM = np.random.default_rng(0)


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


@pytest.fixture(scope="module")
def params():
    """PyTorch's weights in our layout."""
    params = {}
    for full, array in GOLDEN.items():
        if full.count("/") == 2 and not full.startswith("gradient"):
            part, name, what = full.split("/")
            own = {"kernel": array.transpose(2, 3, 1, 0)} if what == "weight" else {"bias": array}
            params.setdefault(part, {}).setdefault(name, {}).update(own)
    return params


def applied(params, *inputs, **how):
    return NETWORK.apply({"params": params}, *inputs, **how)


def test_numbers_are_pytorchs(params):
    content, style = nhwc(GOLDEN["content"]), nhwc(GOLDEN["style"])
    shapes = jax.eval_shape(lambda: NETWORK.init(jax.random.key(0), content, style))["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    features, styles = (applied(params, x, method="encode") for x in (content, style))
    np.testing.assert_allclose(features, nhwc(GOLDEN["content features"]), rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(styles, nhwc(GOLDEN["style features"]), rtol=1e-5, atol=2e-6)
    normalised = adain(features, *moments(styles))
    np.testing.assert_allclose(normalised, nhwc(GOLDEN["normalised"]), rtol=1e-5, atol=5e-6)
    image = nhwc(GOLDEN["image"])
    np.testing.assert_allclose(applied(params, normalised, method="decode"), image, rtol=1e-5, atol=5e-6)
    np.testing.assert_allclose(applied(params, content, style), image, rtol=1e-5, atol=5e-6)
    code = applied(params, style, method="code")
    np.testing.assert_allclose(applied(params, content, code), image, rtol=1e-5, atol=5e-6)
    np.testing.assert_allclose(losses.style_distance(features, styles), GOLDEN["loss/style"], rtol=1e-5)
    np.testing.assert_allclose(losses.total_variation(image), GOLDEN["loss/variation"], rtol=1e-6)


def test_gradients_are_pytorchs(params):
    """Through AdaIN, back to the first layer of the encoder, which both pictures have passed."""
    content, style = nhwc(GOLDEN["content"]), nhwc(GOLDEN["style"])
    slopes = jax.grad(lambda params: jnp.mean(applied(params, content, style) ** 2))(params)
    for name in ("encoder/first", "decoder/last"):
        part, layer = name.split("/")
        want = GOLDEN[f"gradient/{name}"].transpose(2, 3, 1, 0)
        np.testing.assert_allclose(slopes[part][layer]["kernel"], want, rtol=1e-4, atol=1e-6 * np.abs(want).max())


def in_float64(x):
    x = np.asarray(x, np.float64)
    return x.mean((1, 2)), np.sqrt(((x - x.mean((1, 2), keepdims=True)) ** 2).mean((1, 2)))


def test_what_is_normalised_has_the_styles_statistics():
    x = (RANDOM.normal(size=(3, 7, 5, 4)) * [0.5, 1, 2, 40] + [0, 3, -5, 100]).astype(np.float32)
    y = (RANDOM.normal(size=(3, 4, 9, 4)) * [3, 0.2, 1, 7] + [-1, 50, 0, 2]).astype(np.float32)
    got = in_float64(adain(x, *moments(y)))
    for own, wanted in zip(got, in_float64(y), strict=True):
        np.testing.assert_allclose(own, wanted, rtol=1e-4, atol=1e-4)
    # Pixel by pixel it is an affine map of the input with a positive slope, so nothing of the content is lost.
    slope = in_float64(y)[1] / in_float64(x)[1]
    by_hand = slope[:, None, None] * (x - in_float64(x)[0][:, None, None]) + in_float64(y)[0][:, None, None]
    np.testing.assert_allclose(adain(x, *moments(y)), by_hand, rtol=1e-4, atol=2e-3)


def test_a_style_of_its_own_changes_nothing_and_constants_become_the_mean():
    x = RANDOM.normal(size=(2, 6, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(adain(x, *moments(x)), x, atol=1e-6)
    flat, mean, deviation = np.full((2, 1, 1, 3), 7, np.float32), np.full((2, 3), -2.0), np.full((2, 3), 5.0)
    mean, deviation = mean.astype(np.float32), deviation.astype(np.float32)
    np.testing.assert_array_equal(adain(flat, mean, deviation), np.full((2, 1, 1, 3), -2))
    slope = jax.grad(lambda flat: jnp.sum(adain(flat, mean, deviation)) + jnp.sum(moments(flat)[1]))(flat)
    assert np.isfinite(slope).all()  # a root at 0 has none
    broken, style = x.copy(), moments(x)
    broken[0, 0, 0, 0] = np.nan
    spread = np.isnan(adain(broken, *style))
    assert spread[0, :, :, 0].all() and spread.sum() == 36  # in its channel, and nowhere else


def test_gradients_of_adain():
    x, y = (RANDOM.normal(size=(2, 3, 4, 2)).astype(np.float32) for _ in range(2))
    check_grads(lambda x, y: adain(x, *moments(y)), (x, y), order=2, modes=["rev"], atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 1), (2, 3, 1)])
def test_statistics_that_would_broadcast_are_refused(shape):
    x, mean = jnp.zeros((2, 4, 4, 3)), jnp.zeros((2, 3))
    with pytest.raises(ValueError, match=r"take means and deviations of shape \(2, 3\), got"):
        adain(x, mean, jnp.zeros(shape))
    with pytest.raises(ValueError, match=r"take means and deviations of shape \(2, 3\), got"):
        adain(x, jnp.zeros(shape), mean)


def test_half_precision_keeps_its_type_and_float32_statistics():
    x = jnp.asarray(RANDOM.normal(size=(2, 8, 8, 3)) + 100, jnp.bfloat16)
    mean, deviation = moments(x)
    assert mean.dtype == deviation.dtype == jnp.float32
    exact = in_float64(x)
    np.testing.assert_allclose(mean, exact[0], rtol=1e-6)
    np.testing.assert_allclose(deviation, exact[1], rtol=1e-4)
    assert adain(x, mean, deviation).dtype == jnp.bfloat16
    half = StyleTransfer(channels=3, features=2, dtype=jnp.bfloat16)
    images = jnp.zeros((1, 8, 8, 3))
    variables = half.init(jax.random.key(0), images, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert half.apply(variables, images, images).dtype == jnp.float32


@pytest.mark.parametrize("size", [(1, 1), (3, 2), pytest.param((13, 21), marks=pytest.mark.slow)])
def test_any_size_comes_back_as_it_was(params, size):
    images, style = (RANDOM.uniform(-1, 1, (1, *s, 3)).astype(np.float32) for s in (size, (5, 3)))
    transfer = jax.jit(lambda images, style: applied(params, images, style))
    made = transfer(images, style)
    assert made.shape == images.shape and np.isfinite(made).all() and np.abs(made).max() <= 1
    # Beyond the edge the image is mirrored: padded by hand to multiples of 4, and 8 at least, it gives the same.
    padded, framed = (
        np.pad(x, [(0, 0), *((0, max(8, n + -n % 4) - n) for n in x.shape[1:3]), (0, 0)], "symmetric")
        for x in (images, style)
    )
    np.testing.assert_array_equal(made, transfer(padded, framed)[:, : size[0], : size[1]])


def test_grey_images_and_colour_of_them():
    images, style = jnp.zeros((2, 6, 7, 1)), jnp.zeros((2, 9, 9, 1))
    for channels in (1, 3):
        network = StyleTransfer(channels=channels, features=2)
        made = jax.eval_shape(lambda network=network: network.init_with_output(jax.random.key(0), images, style))[0]
        assert made.shape == (2, 6, 7, channels)


def test_strength_and_mixtures_are_the_papers(params):
    """Equations 14 and 15, on features; ours are computed on codes."""
    content, styles = nhwc(GOLDEN["content"]), nhwc(GOLDEN["style"])
    features = applied(params, content, method="encode")
    codes = applied(params, styles, method="code")
    both = [adain(features, *moments(applied(params, np.stack([x, x]), method="encode"))) for x in styles]
    for strength in (0.0, 0.25, 1.0):
        mixed = (1 - strength) * features + strength * both[0]
        got = applied(params, content, jnp.stack([codes[0]] * 2), strength)
        np.testing.assert_allclose(got, applied(params, mixed, method="decode"), rtol=1e-5, atol=5e-6)
    mixed = 0.3 * both[0] + 0.7 * both[1]
    got = applied(params, content, jnp.stack([0.3 * codes[0] + 0.7 * codes[1]] * 2))
    np.testing.assert_allclose(got, applied(params, mixed, method="decode"), rtol=1e-5, atol=5e-6)
    each = applied(params, content, styles, jnp.array([0.0, 1.0]))  # a strength for each example
    np.testing.assert_allclose(each[0], applied(params, features, method="decode")[0], rtol=1e-5, atol=5e-6)
    np.testing.assert_array_equal(each[1], applied(params, content, styles)[1])
