"""VGG's convolutions against torchvision's modules with random weights, and the files they are read from."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.features.perceptual import feature_maps
from jaxgan.networks.vgg import VGG, VGG16, VGG19, variables
from scripts.golden.perceptual import DEPTHS, images, probe, total, vgg_weights

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "perceptual.npz")
IMAGE = images(1, 35, 32)


def tiny(layers):
    return VGG(layers, (2, 2, 1), (4, 6, 8))


def tiny_weights(network):
    random, weights = np.random.default_rng(0), {}
    for each in network.convolutions:
        weights[f"{each.key}.weight"] = random.normal(size=(each.outputs, each.inputs, 3, 3)).astype(np.float32)
        weights[f"{each.key}.bias"] = random.normal(size=each.outputs).astype(np.float32)
    return weights


@pytest.mark.parametrize("name", ["vgg16", pytest.param("vgg19", marks=pytest.mark.slow)])
def test_every_layer_is_that_of_torchvision(name, tmp_path):
    weights = vgg_weights(name)
    assert total([IMAGE, *weights.values()]) == pytest.approx(float(GOLDEN[f"{name}/sum"]), rel=1e-9)
    np.savez(tmp_path / "vgg.npz", **weights, **{"classifier.6.bias": np.zeros(1000)})  # more than is needed
    layers = [key.partition("/")[2] for key in GOLDEN if key.startswith(f"{name}/") and not key.endswith("sum")]
    assert len(layers) == 2 * sum(DEPTHS[name])
    found = feature_maps(f"{name}:{tmp_path / 'vgg.npz'}", layers)(jnp.asarray(IMAGE))
    for layer, values in zip(layers, found, strict=True):
        expected = GOLDEN[f"{name}/{layer}"]
        np.testing.assert_allclose(
            probe(np.asarray(values)), expected, atol=2e-5 * np.abs(expected).max(), err_msg=layer
        )


def test_layers_that_papers_use_are_there():
    vgg19, vgg16 = VGG19(["conv5_4"]), VGG16(["relu4_1"])
    assert {"conv5_4", "relu5_4", "relu1_1", "relu2_1", "relu3_1", "relu4_1"} < set(vgg19.names)
    assert len(vgg19.names) == 32 and len(vgg16.names) == 26 and vgg16.names[-1] == "relu5_3"
    assert (vgg19.smallest, vgg16.smallest, VGG16(["conv1_2"]).smallest) == (16, 8, 1)
    # Where torchvision's documentation has them: features[28] is VGG-19's conv5_1, features[34] its conv5_4.
    keys = {each.name: each.key for each in vgg19.convolutions}
    assert keys["5_1"] == "features.28" and keys["5_4"] == "features.34" and keys["1_2"] == "features.2"


def test_nothing_behind_the_last_layer_is_computed_or_read():
    few, all_of_it = tiny(["conv2_1"]), tiny(["relu3_1", "conv2_1"])
    weights = tiny_weights(few)
    assert list(weights) == [f"features.{i}.{part}" for i in (0, 2, 5) for part in ("weight", "bias")]
    x = jnp.asarray(images(2, 9, 6))
    found = few.apply(variables(few, weights), x)
    whole = all_of_it.apply(variables(all_of_it, tiny_weights(all_of_it)), x)
    assert list(found) == ["conv2_1"] and list(whole) == ["conv2_1", "relu3_1"]
    np.testing.assert_allclose(found["conv2_1"], whole["conv2_1"], rtol=1e-5)
    assert found["conv2_1"].shape == (2, 4, 3, 6) and whole["relu3_1"].shape == (2, 2, 1, 8)
    assert float(found["conv2_1"].min()) < 0 == float(whole["relu3_1"].min())


@pytest.mark.parametrize("size", [1, 3, 4])
def test_the_smallest_image_leaves_a_pixel(size):
    network = tiny(["relu3_1"])
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    made = jax.eval_shape(lambda x: network.init_with_output(jax.random.key(0), x)[0]["relu3_1"], image)
    assert (min(made.shape) > 0) == (size >= network.smallest)


def test_layers_that_there_are_not():
    for layers, message in ((["conv4_1"], "got conv4_1"), ([], "got none")):
        with pytest.raises(ValueError, match=f"some of the layers conv1_1, relu1_1, .*{message}"):
            tiny(layers).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


@pytest.mark.parametrize(
    "change, message",
    [
        pytest.param(
            {"features.2.weight": None}, r"expected features.2.weight of shape \[4, 4, 3, 3\], .*no such", id="gone"
        ),
        pytest.param(
            {"features.0.bias": np.zeros(64)}, r"features.0.bias of shape \[4\], found shape \[64\]", id="wide"
        ),
        pytest.param({"features.5.bias": np.full(6, np.nan)}, "features.5.bias holds NaN or infinity", id="nan"),
    ],
)
def test_weights_of_another_network(change, message):
    network = tiny(["relu3_1"])
    weights = {name: array for name, array in (tiny_weights(network) | change).items() if array is not None}
    with pytest.raises(ValueError, match=message):
        variables(network, weights)
