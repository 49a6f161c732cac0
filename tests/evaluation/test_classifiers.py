"""Packaged classifiers: their weights against NumPy in float64 and against labels, the images they take, and the script
that trains them."""

import dataclasses
import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import needs_tfds
from PIL import Image

from jaxgan import data
from jaxgan.data.errors import DataError
from jaxgan.evaluation.features import classifiers
from jaxgan.evaluation.features.classifiers import (
    CLASSIFIERS,
    WEIGHTS,
    classifier_features,
    from_file,
    packed,
    read_stacked,
)
from jaxgan.evaluation.features.network import FeatureNetwork, extract
from jaxgan.networks.classifier import Classifier
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.errors.usage import UsageError
from scripts import train_features
from scripts.train_features import RECIPES, Options, changed, run, train

NAMES = ("mnist-v1", "cifar10-v1")
TINY = Classifier(widths=(6,), depths=(0,))
DEPTHS = {"mnist-v1": (0, 1, 1), "cifar10-v1": (0, 2, 2)}


def some(count, height, width, channels, seed=0):
    """Returns random uint8 images in which neighbours resemble each other."""
    small = np.random.default_rng(seed).integers(0, 256, (count, height // 2 + 1, width // 2 + 1, channels))
    return np.repeat(np.repeat(small, 2, 1), 2, 2)[:, :height, :width].astype(np.uint8)


def native(name, count, seed=0):
    return some(count, CLASSIFIERS[name].size, CLASSIFIERS[name].size, CLASSIFIERS[name].channels, seed)


def convolved(x, kernel):
    """Computes the cross-correlation with 3×3 numbers and a border of 1."""
    height, width = x.shape[1:3]
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [(i, j) for i in range(3) for j in range(3)]
    return sum(np.tensordot(x[:, i : i + height, j : j + width], kernel[i, j], 1) for i, j in taps)


def by_hand(name, values, depths):
    """Computes the network in float64 on images of values 0 to 255, as described in `Classifier`'s docstring."""
    with np.load(WEIGHTS / f"{name}.npz") as file:
        stored = {key: file[key].astype(np.float64) for key in file.files if key != "about"}
    norms = iter(range(100))

    def normalised(x):
        of = f"BatchNorm_{next(norms)}"
        mean, var = stored[f"batch_stats/{of}/mean"], stored[f"batch_stats/{of}/var"]
        scaled = (x - mean) / np.sqrt(var + 1e-5) * stored[f"params/{of}/scale"] + stored[f"params/{of}/bias"]
        return np.maximum(scaled, 0)

    x = np.asarray(values, np.float64) / 127.5 - 1
    kernels = iter([stored[f"params/Conv_{i}/kernel"] for i in range(len(depths) + sum(depths))])
    for depth in depths:
        y = convolved(x, next(kernels))
        count, height, width = len(y), y.shape[1] // 2, y.shape[2] // 2
        y = y[:, : 2 * height, : 2 * width].reshape(count, height, 2, width, 2, -1)
        x = normalised(y.max(axis=(2, 4)))
        for _ in range(depth):
            x = x + normalised(convolved(x, next(kernels)))
    features = x.mean(axis=(1, 2))
    return {"features": features, "logits": features @ stored["params/Dense_0/kernel"] + stored["params/Dense_0/bias"]}


def assert_close(actual, expected):
    assert actual.keys() == expected.keys() == {"features", "logits"}
    for name, values in expected.items():
        largest = np.abs(values).max()
        np.testing.assert_allclose(actual[name], values, rtol=1e-5, atol=1e-5 * largest, err_msg=name)


@pytest.mark.parametrize("name, most", [("mnist-v1", 600_000), ("cifar10-v1", 1_200_000)])
def test_the_packaged_file(name, most):
    stored = (WEIGHTS / f"{name}.npz").read_bytes()
    assert len(stored) <= most
    assert hashlib.sha256(stored).hexdigest() == CLASSIFIERS[name].sha256 == classifier_features(name).sha256
    with np.load(WEIGHTS / f"{name}.npz", allow_pickle=False) as file:
        assert json.loads(str(file["about"]))["network"] == name
        assert all(np.isfinite(file[key]).all() for key in file.files if key != "about")
    assert RECIPES[{"mnist-v1": "mnist", "cifar10-v1": "cifar10"}[name]].network == name


@pytest.mark.parametrize("name", NAMES)
def test_against_float64(name):
    network, images = classifier_features(name), native(name, 2)
    images[1] = 255 * (images[1] > 127)
    assert network.name == name and network.classes == 10
    found = extract(network, images)
    assert_close(found, by_hand(name, images, DEPTHS[name]))
    assert found["features"].shape == (2, {"mnist-v1": 96, "cifar10-v1": 128}[name])
    assert found["logits"].shape == (2, 10) and found["features"].min() >= 0
    assert all(values.dtype == np.float32 for values in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_an_image_counts_alone(name):
    images, network = native(name, 3), classifier_features(name)
    assert classifier_features(name) is network
    one, other = extract(network, images[:2]), extract(network, images[[2, 1]])
    for key in one:
        np.testing.assert_array_equal(one[key][1], other[key][1])
        assert np.abs(one[key][0] - other[key][0]).max() > 0.01


def test_padded_digits_are_digits():
    images, network = native("mnist-v1", 2), classifier_features("mnist-v1")
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    transform = data.ImageTransform(32, 1, "pad")
    np.testing.assert_array_equal(padded, [transform(image, "") for image in images])  # what our experiments train on
    for key, values in extract(network, padded).items():
        np.testing.assert_array_equal(values, extract(network, images)[key])


@pytest.mark.parametrize("name, height, width", [("mnist-v1", 64, 40), ("mnist-v1", 16, 31), ("cifar10-v1", 20, 96)])
def test_other_sizes_are_resized_as_pillow_does(name, height, width):
    """Pillow's bilinear filter is antialiased; in its mode F nothing is rounded."""
    channels, size = CLASSIFIERS[name].channels, CLASSIFIERS[name].size
    images = some(2, height, width, channels)

    def resized(layer):
        picture = Image.fromarray(layer.astype(np.float32))
        return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))

    values = np.stack([np.stack([resized(image[..., c]) for c in range(channels)], -1) for image in images])
    assert_close(extract(classifier_features(name), images), by_hand(name, values, DEPTHS[name]))


def test_the_resize_is_in_words():
    assert classifier_features("mnist-v1").resize == (
        "to 28x28: 32x32 loses its border of 2, others antialiased bilinear, not rounded"
    )
    assert classifier_features("cifar10-v1").resize == "to 32x32: antialiased bilinear, not rounded"


@pytest.mark.parametrize(
    "name, images, message",
    [
        pytest.param("mnist-v1", np.zeros((2, 28, 28, 3), np.uint8), "1 channels, got 3; cifar10-v1", id="colour"),
        pytest.param("cifar10-v1", np.zeros((2, 32, 32, 1), np.uint8), "3 channels, got 1; mnist-v1", id="grey"),
        pytest.param("mnist-v1", np.zeros((2, 28, 28, 1), np.float32), "uint8 .* got float32", id="floats"),
        pytest.param("mnist-v1", np.zeros((28, 28, 1), np.uint8), r"\[B, H, W, C\]", id="one-image"),
    ],
)
def test_what_a_network_does_not_take(name, images, message):
    with pytest.raises(ValueError, match=message) as raised:
        classifier_features(name).apply(jnp.asarray(images))
    assert "\n" not in str(raised.value)


def test_damaged_missing_and_unknown_weights(tmp_path, monkeypatch):
    stored = bytearray((WEIGHTS / "mnist-v1.npz").read_bytes())
    monkeypatch.setattr(classifiers, "WEIGHTS", tmp_path)
    load = classifier_features.__wrapped__  # not what is kept
    with pytest.raises(ValueError, match=r"mnist-v1.npz can't be read \(No such file or directory\); install"):
        load("mnist-v1")
    stored[len(stored) // 2] ^= 1
    (tmp_path / "mnist-v1.npz").write_bytes(stored)
    with pytest.raises(ValueError, match=r"damaged: its SHA-256 is [0-9a-f]{64}, not [0-9a-f]{64}; install"):
        load("mnist-v1")
    with pytest.raises(ValueError, match="'svhn-v1'; there are mnist-v1 and cifar10-v1"):
        load("svhn-v1")


def test_stacked_digits_are_read_channel_by_channel():
    """The network reads a digit from the brightest pixel."""

    def apply(images):
        assert images.shape[1:] == (5, 6, 1) and images.dtype == jnp.uint8
        return {"logits": jax.nn.one_hot(jnp.max(images, axis=(1, 2, 3)), 10)}

    images = np.zeros((4, 5, 6, 3), np.uint8)
    images[:, 2, 3] = [[3, 1, 4], [0, 0, 7], [9, 9, 9], [0, 5, 0]]
    read = read_stacked(FeatureNetwork("brightest", "", "none", 10, apply), images)
    np.testing.assert_array_equal(read, [314, 7, 999, 50])
    assert read.dtype == jnp.int32


@pytest.mark.parametrize(
    "images", [np.zeros((2, 28, 28, 1), np.uint8), np.zeros((28, 28, 3), np.uint8), np.zeros((2, 28, 28, 3))]
)
def test_what_is_no_stack(images):
    with pytest.raises(ValueError, match=r"uint8 stacked digits \[B, H, W, 3\], got"):
        read_stacked(classifier_features("mnist-v1"), images)


def of_test_split(name, chosen):
    source = data.open_source(name, split="test")
    assert len(source) == 10_000
    transform = data.ImageTransform(*{"mnist": (28, 1), "cifar10": (32, 3)}[name])
    return data.in_memory(source, np.arange(10_000)[chosen], transform), source.labels[chosen]


def accuracy(name, images, labels):
    return np.mean(extract(classifier_features(name), images)["logits"].argmax(1) == labels)


@pytest.mark.slow
@pytest.mark.data
@needs_tfds
def test_digits_are_told_apart_and_stacks_are_read():
    images, labels = of_test_split("mnist", slice(None))
    assert accuracy("mnist-v1", images, labels) > 0.993
    reds, greens, blues = np.random.default_rng(0).integers(0, 10_000, (3, 200))
    stacked = np.concatenate([images[reds], images[greens], images[blues]], axis=-1)
    expected = 100 * labels[reds] + 10 * labels[greens] + labels[blues]
    assert np.mean(read_stacked(classifier_features("mnist-v1"), stacked) == expected) > 0.96


@pytest.mark.data
@needs_tfds
def test_a_thousand_photographs_are_told_apart():
    assert accuracy("cifar10-v1", *of_test_split("cifar10", slice(1000))) > 0.82


@pytest.mark.long
@pytest.mark.data
@needs_tfds
def test_all_photographs_are_told_apart():
    assert accuracy("cifar10-v1", *of_test_split("cifar10", slice(None))) > 0.85


def test_random_changes_are_windows_of_the_mirrored_image():
    images = some(40, 6, 6, 3)
    wide = np.pad(images / 127.5 - 1, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    both = jax.jit(lambda x, key: [changed(x, key, 2, flip) for flip in (False, True)])(images, jax.random.key(0))
    places = [(top, left, way) for way in (1, -1) for top in range(5) for left in range(5)]
    for found, ways in zip(both, ({1}, {1, -1}), strict=True):
        used = set()
        for image, whole in zip(found, wide, strict=True):
            windows = [whole[top : top + 6, left : left + 6][:, ::way] for top, left, way in places]
            used.add(places[next(i for i, window in enumerate(windows) if np.allclose(window, image, atol=1e-6))])
        assert {way for _, _, way in used} == ways and len(used) > 10


@pytest.fixture(scope="module")
def few():
    """Returns images of stripes, horizontal (class 3) and vertical (class 7), anywhere."""
    random, labels = np.random.default_rng(0), np.repeat(np.int32([3, 7]), 32)
    lying = [((np.arange(28) + random.integers(4)) // 2 % 2)[:, None] * np.full((28, 28), 200) for _ in labels]
    stripes = np.stack([x if label == 3 else x.T for x, label in zip(lying, labels, strict=True)])
    return (stripes + random.integers(0, 55, (64, 28, 28)))[..., None].astype(np.uint8), labels


@pytest.mark.slow
def test_it_learns_stripes(few, as_users_have_it):
    losses: list[float] = []
    recipe = RECIPES["mnist"]
    one = train(TINY, recipe, *few, epochs=15, batch=16, seen=losses.append)
    assert len(losses) == 60 and np.isfinite(losses).all()
    assert losses[0] == pytest.approx(np.log(10), rel=0.5) and np.mean(losses[-8:]) < 0.7 * np.mean(losses[:4])
    assert packed(one, {}) == packed(train(TINY, recipe, *few, epochs=15, batch=16), {})
    assert packed(one, {}) != packed(train(TINY, recipe, *few, epochs=15, batch=16, seed=1), {})


def test_weights_come_back_rounded(tmp_path, monkeypatch):
    monkeypatch.setitem(CLASSIFIERS, "mnist-v1", dataclasses.replace(CLASSIFIERS["mnist-v1"], module=TINY))
    shapes = jax.eval_shape(lambda: TINY.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)), train=True))
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: jnp.asarray(random.uniform(0.1, 0.9, x.shape), x.dtype), shapes)
    path, images = tmp_path / "a.npz", native("mnist-v1", 2)
    path.write_bytes(packed(variables, {"seed": 0}))
    rounded = jax.tree.map(lambda x: x.astype(jnp.float16).astype(x.dtype) if x.ndim > 1 else x, variables)
    expected = jax.jit(lambda x: TINY.apply(rounded, x, train=False))(images.astype(np.float32) / np.float32(127.5) - 1)
    assert_close(extract(from_file("mnist-v1", path), images), {k: np.asarray(v) for k, v in expected.items()})


def test_the_script_writes_weights_and_says_how_good_they_are(tmp_path, monkeypatch, few, capsys, as_users_have_it):
    monkeypatch.setitem(CLASSIFIERS, "mnist-v1", dataclasses.replace(CLASSIFIERS["mnist-v1"], module=TINY))
    monkeypatch.setattr(train_features, "split", lambda dataset, data_dir, name: few)
    monkeypatch.setattr(train_features, "BATCH", 16)  # as above: compiled already
    path = tmp_path / "deep" / "weights.npz"
    with pytest.raises(UsageError, match=r"can't write .*: the folder .*deep doesn't exist"):
        Options("mnist", epochs=15, out=path)
    path.parent.mkdir()
    run(Options("mnist", epochs=15, out=path))
    assert [file.name for file in path.parent.iterdir()] == ["weights.npz"]
    lines = capsys.readouterr().out.splitlines()
    right = extract(from_file("mnist-v1", path), few[0])["logits"].argmax(1) == few[1]
    assert (
        lines[0] == f"training images: {right.mean():.2%} of 64"
        and lines[1] == f"test images: {right.mean():.2%} of 64"
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert lines[2] == f"{path}: {path.stat().st_size:,} bytes, SHA-256 {digest}"
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"can't write .*: the folder .*file is a file"):
        Options("mnist", epochs=15, out=tmp_path / "file" / "a.npz")


@pytest.mark.parametrize(
    "arguments, message",
    [
        pytest.param(["svhn"], "mnist.*cifar10", id="dataset"),
        pytest.param(["mnist", "--epochs", "0"], "--epochs must be at least 1, got 0", id="epochs"),
        pytest.param(["mnist", "--seed", "-1"], "--seed must be from 0", id="seed"),
        pytest.param(["mnist", "--out", "a.pth"], "ends in .npz, got a.pth", id="out"),
    ],
)
def test_wrong_options_of_the_script(arguments, message):
    with pytest.raises(UsageError, match=message):
        command_line(Options, arguments)


def test_a_set_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxgan.data.sources.requirements.has_tensorflow", lambda: False)
    with pytest.raises(DataError, match="mnist"):
        run(Options("mnist", data_dir=str(tmp_path)))
