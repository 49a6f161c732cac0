"""Inception-v3 against torch-fidelity's and pytorch-fid's with the same (random) weights: golden/inception.npz."""

import hashlib
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.features.inception import INCEPTION_SHA256, MODES, _preprocess, _resize, inception_features
from jaxgan.networks import inception
from scripts.golden.inception import RESIZED, SIZES, SMALL, digest, random_images, random_weight

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
GOLDEN = np.load(FOLDER / "inception.npz")
SHAPES = {name: tuple(shape) for name, shape in json.loads(str(GOLDEN["shapes"])).items()}
WIDTHS = {"64": 64, "192": 192, "768": 768, "2048": 2048, "logits": 1008, "logits_unbiased": 1008}

every_mode = pytest.mark.parametrize("mode", ["torch-fidelity", "pytorch-fid"])


@pytest.fixture(scope="module")
def weights():
    return {name: random_weight(name, shape) for name, shape in SHAPES.items()}


@pytest.fixture(scope="module")
def variables(weights):
    return inception.variables(weights)


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.npz"
    np.savez(path, **weights)
    return path


def compare(outputs, prefix):
    """Compares every stored output, each number within 1e-5 of the largest of its kind."""
    expected = {name: GOLDEN[f"{prefix}/{name}"] for name in outputs if f"{prefix}/{name}" in GOLDEN}
    assert {"64", "192", "768", "2048"} <= set(expected) <= set(outputs)
    for name, values in expected.items():
        assert outputs[name].dtype == jnp.float32
        found = digest(outputs[name])
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-5 * abs(values[:, :-1]).max(), err_msg=name)
    return set(expected)


@pytest.mark.slow
def test_every_output(variables):
    """At 107×107, where the last maps are 2×2: most pooled and convolved values are at an edge."""
    images = (jnp.asarray(random_images(*SMALL)).astype(jnp.float32) - 128) / 128
    outputs = jax.jit(inception.InceptionV3().apply)(variables, images)
    assert {name: values.shape for name, values in outputs.items()} == {name: (2, WIDTHS[name]) for name in WIDTHS}
    assert compare(outputs, "torch-fidelity/107") == set(outputs)


@every_mode
@pytest.mark.slow
def test_every_output_at_every_size(mode, variables):
    forward = jax.jit(inception.InceptionV3().apply)
    for size, shape in SIZES.items():
        images = _preprocess(jnp.asarray(random_images(*shape)), mode)
        assert images.shape == (shape[0], 299, 299, 3)
        compare(forward(variables, images), f"{mode}/{size}")


@pytest.mark.slow
def test_the_feature_network(file, weights):
    """From a file to the reference's numbers, in the same way as scores are computed."""
    network = inception_features(file)
    assert network.name == "inception-v3-torch-fidelity" and network.classes == 1008
    assert network.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    images = random_images(*SIZES["32x32"])
    assert sum(leaf.size for leaf in jax.tree.leaves(network.apply)) > 23e6  # weights are arguments, not constants
    outputs = jax.jit(lambda apply, images: apply(images))(network.apply, images)
    assert set(outputs) == {"features", "logits"}
    compared = {"2048": outputs["features"], "logits_unbiased": outputs["logits"]}
    for name, values in compared.items():
        expected = GOLDEN[f"torch-fidelity/32x32/{name}"]
        np.testing.assert_allclose(digest(values), expected, rtol=1e-4, atol=1e-5 * abs(expected[:, :-1]).max())


@every_mode
@pytest.mark.parametrize("size", RESIZED)
def test_resizing(mode, size):
    """Up and down, for images that are not square, and for a single row."""
    x = jnp.asarray(random_images(*RESIZED[size])).astype(jnp.float32)
    resized = _resize(x, MODES[mode].positions, 13)
    np.testing.assert_allclose(resized, GOLDEN[f"resize/{mode}/{size}"], rtol=1e-6, atol=1e-4)


def test_the_modes_differ():
    """Otherwise a test of one could pass with the other."""
    for prefix in ("resize/{}/6x9", "resize/{}/40x23", "{}/32x32/2048", "{}/75x60/64", "{}/299x299/64"):
        one, two = (GOLDEN[prefix.format(mode)] for mode in ("torch-fidelity", "pytorch-fid"))
        assert abs(one - two).max() > 1e-3 * abs(one).max()


@every_mode
def test_values_and_what_needs_no_resizing(mode):
    """torch-fidelity maps 0, 128, 255 to -1, 0, 127/128; pytorch-fid to -1, 1/255, 1."""
    image = np.zeros((1, 299, 299, 3), np.uint8)
    image[0, 5, 7], image[0, 8, 9] = (255, 128, 1), 255
    x = _preprocess(jnp.asarray(image), mode)
    expected = {"torch-fidelity": [127 / 128, 0, -127 / 128], "pytorch-fid": [1, 1 / 255, 2 / 255 - 1]}[mode]
    np.testing.assert_allclose(x[0, 5, 7], expected, atol=1e-7)
    np.testing.assert_allclose(x[0, 8, 9], expected[0], atol=1e-7)
    assert x.dtype == jnp.float32 and (x[0, 0] == -1).all()
    constant = _preprocess(jnp.full((1, 20, 30, 3), 128, jnp.uint8), mode)
    np.testing.assert_allclose(constant, expected[1], atol=1e-6)


@every_mode
def test_grey_is_repeated(mode):
    grey = jnp.asarray(random_images(2, 6, 9)[..., :1])
    once, thrice = _preprocess(grey, mode), _preprocess(jnp.tile(grey, (1, 1, 1, 3)), mode)
    np.testing.assert_array_equal(once, thrice)


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(np.zeros((2, 8, 8, 4), np.uint8), id="four-channels"),
        pytest.param(np.zeros((2, 8, 8, 3), np.float32), id="floats"),
        pytest.param(np.zeros((8, 8, 3), np.uint8), id="one-image"),
        pytest.param(np.zeros((2, 0, 8, 3), np.uint8), id="no-rows"),
    ],
)
def test_images_it_does_not_take(images):
    with pytest.raises(ValueError, match=r"takes uint8 images \[B, H, W, 3\], or of 1 channel, got (uint8|float32) \["):
        _preprocess(jnp.asarray(images), "torch-fidelity")


def with_entry(weights, name, values):
    changed = dict(weights)
    if values is None:
        del changed[name]
    else:
        changed[name] = values
    return changed


@pytest.mark.parametrize(
    "name, values, message",
    [
        pytest.param(
            "Mixed_6c.branch7x7_2.bn.bias", None, r"Mixed_6c.branch7x7_2.bn.bias \[160\] is missing", id="gone"
        ),
        pytest.param(
            "fc.weight", np.zeros((1000, 2048)), r"fc.weight is \[1000, 2048\], not \[1008, 2048\]", id="torch"
        ),
        pytest.param(
            "Conv2d_1a_3x3.conv.weight", np.zeros((32, 1, 3, 3)), r"is \[32, 1, 3, 3\], not \[32, 3", id="grey"
        ),
        pytest.param("fc.bias", np.full(1008, np.nan), "damaged: fc.bias holds NaN", id="nan"),
        pytest.param("Mixed_7c.branch_pool.bn.running_var", np.full(192, -1.0), "negative numbers", id="variance"),
    ],
)
def test_weights_of_another_network(name, values, message, weights):
    with pytest.raises(ValueError, match=message):
        inception.variables(with_entry(weights, name, values))


def test_entries_that_are_not_needed(weights):
    """Counters of batches are in newer files and not in older ones."""
    needed = {name: values for name, values in weights.items() if not name.endswith("num_batches_tracked")}
    assert len(needed) == 94 * 5 + 2 < len(weights)
    shapes = jax.tree.map(jnp.shape, inception.variables(needed))
    image = jax.ShapeDtypeStruct((1, 75, 75, 3), jnp.float32)
    assert shapes == jax.tree.map(jnp.shape, jax.eval_shape(inception.InceptionV3().init, jax.random.key(0), image))


def test_where_the_weights_are(monkeypatch, tmp_path):
    monkeypatch.delenv("JAXGAN_INCEPTION_WEIGHTS", raising=False)
    with pytest.raises(ValueError, match=r"no weights .*pt_inception-2015-12-05-6726825d.pth.*pytorch-fid.*") as error:
        inception_features(None)
    for words in ("weights-inception-2015-12-05-6726825d.pth", "--inception-weights FILE", INCEPTION_SHA256, "\n"):
        assert (words in str(error.value)) == (words != "\n")
    assert INCEPTION_SHA256.startswith("6726825d") and len(INCEPTION_SHA256) == 64

    golden = FOLDER / "inception.zip.pth"  # of another network
    monkeypatch.setenv("JAXGAN_INCEPTION_WEIGHTS", str(golden))
    missing = r"inception.zip.pth: these are not the weights .*: Conv2d_1a_3x3.conv.weight \[32, 3, 3, 3\] is missing"
    with pytest.raises(ValueError, match=missing):
        inception_features()
    with pytest.raises(ValueError, match=r"cannot read weights from .*other.pth: it is not there"):
        inception_features(tmp_path / "other.pth")  # before the environment
    for content in (b"", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x02."):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot read weights from .*bad.npz: "):
            inception_features(tmp_path / "bad.npz")
    with (tmp_path / "bad.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="it holds one array, not arrays by name"):
        inception_features(tmp_path / "bad.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match=r"cannot read weights from .*objects.npz: Object arrays cannot be loaded"):
        inception_features(tmp_path / "objects.npz")
    with pytest.raises(ValueError, match="expected mode 'torch-fidelity' or 'pytorch-fid', got 'clean-fid'"):
        inception_features(golden, mode="clean-fid")
