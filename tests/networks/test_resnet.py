"""Residual networks: PyTorch's numbers (golden/residual.npz), shapes, weights as they are drawn, precision."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks import resnet
from jaxgan.networks.heads import Projection

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "residual.npz")
MODULES = {"g": resnet.Generator(size=32, channels=3, features=2), "d": resnet.Discriminator(features=2)}


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


def variables_of(net):
    """Returns PyTorch's weights, `[out, in, k, k]`, `[out, in]` and by channels before pixels, in our layout."""
    params, stats = {}, {}
    for full, array in GOLDEN.items():
        if not full.startswith(f"{net}/") or full.count("/") != 2:
            continue
        _, name, what = full.split("/")
        if what.startswith("running_"):
            stats.setdefault(name, {})[what.removeprefix("running_")] = array
            continue
        if what == "weight":
            what = "scale" if name.startswith("norm") else "kernel"
            array = {4: lambda a: a.transpose(2, 3, 1, 0), 2: np.transpose, 1: lambda a: a}[array.ndim](array)
        if name == "project":  # channels, 4, 4 -> 4, 4, channels
            array = np.moveaxis(array.reshape(*array.shape[:-1], -1, 4, 4), -3, -1).reshape(array.shape)
        params.setdefault(name, {})[what] = array
    return {"params": params} | ({"batch_stats": stats} if stats else {})


@pytest.mark.parametrize("net", ["g", "d"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_numbers_are_pytorchs(net, mode):
    x = GOLDEN["g/input"] if net == "g" else nhwc(GOLDEN["g/train"])
    module, variables = MODULES[net], variables_of(net)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    got = jax.jit(lambda x: module.apply(variables, x, train=mode == "train"))(x)
    got, want = (got, nhwc(GOLDEN[f"g/{mode}"])) if net == "g" else (got["logits"], GOLDEN[f"d/{mode}"])
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=5e-6)


def test_resizing_against_numpy():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(resnet.twice(x), x.repeat(2, 1).repeat(2, 2))
    by_hand = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    np.testing.assert_allclose(resnet.halve(x), by_hand, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("size, channels", [(16, 1), (64, 3)])
def test_shapes_at_other_sizes(size, channels):
    generator, judge = resnet.Generator(size, channels, 4), resnet.Discriminator(4)
    key, latents = jax.random.key(0), jnp.zeros((3, 7))
    image, variables = jax.eval_shape(lambda: generator.init_with_output(key, latents, train=False))
    assert image.shape == (3, size, size, channels) and image.dtype == jnp.float32
    assert len([name for name in variables["params"] if name.startswith("short")]) == size.bit_length() - 3
    outputs, _ = jax.eval_shape(lambda: judge.init_with_output(key, jnp.zeros(image.shape), train=False))
    assert {name: array.shape for name, array in outputs.items()} == {"logits": (3,), "features": (3, 4)}


@pytest.mark.parametrize("size", [4, 8, 24, 28])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"16, 32, 64, ... pixels, got {size}"):
        jax.eval_shape(lambda: resnet.Generator(size).init(jax.random.key(0), jnp.zeros((1, 4)), train=False))
    x = jnp.zeros((1, size, size, 1))
    with pytest.raises(ValueError, match=f"got {size}"):
        jax.eval_shape(lambda: resnet.Discriminator().init(jax.random.key(0), x, train=False))


def test_images_that_are_not_square_are_refused():
    x = jnp.zeros((1, 32, 16, 1))
    with pytest.raises(ValueError, match=r"\(32, 16\)"):
        jax.eval_shape(lambda: resnet.Discriminator().init(jax.random.key(0), x, train=False))


def test_weights_are_drawn_uniformly_with_hes_or_glorots_variance():
    """Variance 2 / inputs for 3×3 convolutions before a ReLU, 2 / (inputs + outputs) elsewhere."""
    x = jnp.zeros((1, 16, 16, 3))
    params = jax.jit(lambda: resnet.Discriminator(32).init(jax.random.key(0), x, train=False))()["params"]
    for name, inputs, outputs in (("conv0b", 288, None), ("conv2a", 288, None), ("short0", 3, 32)):
        kernel = np.asarray(params[name]["kernel"], np.float64)
        variance = 2 / inputs if outputs is None else 2 / (inputs + outputs)
        assert np.var(kernel) == pytest.approx(variance, rel=5 * np.sqrt(0.8 / kernel.size)), name
        assert np.max(np.abs(kernel)) <= np.sqrt(3 * variance) * (1 + 1e-6)
        assert not np.any(params[name]["bias"])


def test_bfloat16_computes_in_bfloat16_and_a_head_sees_the_label():
    labels = jnp.array([0, 1])
    judge = resnet.Discriminator(4, jnp.bfloat16, Projection(classes=2))
    forward = lambda: judge.init_with_output(  # noqa: E731
        jax.random.key(0), jnp.ones((2, 16, 16, 1)), labels, train=False, capture_intermediates=True
    )
    outputs, variables = jax.jit(forward)()
    inner = {name: layer["__call__"] for name, layer in variables.pop("intermediates").items() if name[-1] in "ab012"}
    layers = {array.dtype for outputs in inner.values() for array in outputs}
    assert len(inner) == 7
    assert layers == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs, variables))} == {jnp.dtype("float32")}
    assert outputs["logits"][0] != outputs["logits"][1]
