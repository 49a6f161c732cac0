"""LPIPS against the `lpips` package with random weights, and its errors for wrong images and networks."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.features.lpips import NETWORKS, _each, _features, load_lpips
from scripts.golden.similarity import network_images, network_weights

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "lpips.npz")


def saved(folder, net):
    backbone, linear = network_weights(net)
    np.savez(folder / f"{net}.npz", **backbone, **{"classifier.6.bias": np.zeros(1000)})  # more than is needed
    np.savez(folder / f"{net}-linear.npz", **linear)
    return folder / f"{net}.npz", folder / f"{net}-linear.npz"


@pytest.fixture(scope="module")
def alex(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("alex"), "alex")


def check_against_the_package(net, files):
    """Compares with the package. For the third pair, whose pixels differ by 1e-3, float32 leaves three digits (the
    package's error is 3e-4)."""
    expected, (a, b), backbone = GOLDEN[f"{net}/layers"], network_images(net), np.load(files[0])
    sums = [x.sum(dtype=np.float64) for x in (a, b, *(backbone[name] for name in backbone if "features" in name))]
    np.testing.assert_allclose(sums, GOLDEN[f"{net}/sum"], rtol=1e-9, err_msg="other numbers went in")
    distance = load_lpips(*files, net)
    distances = distance(a, b)
    assert distances.dtype == jnp.float32 and distances.shape == (3,)
    np.testing.assert_allclose(distances[:2], expected.sum(axis=0)[:2], rtol=5e-6)
    np.testing.assert_allclose(distances[2], expected.sum(axis=0)[2], rtol=1e-3)
    return distance.args[1]


@pytest.mark.slow
def test_alex_is_that_of_the_package(alex):
    """The contribution of each stage is the package's too."""
    weights, (a, b) = check_against_the_package("alex", alex), network_images("alex")
    for i, layer in enumerate(GOLDEN["alex/layers"]):
        others = {name: 0 * x for name, x in weights.items() if name.startswith("linear") and name[-1] != str(i)}
        found = _each("alex", weights | others, jnp.asarray(a), jnp.asarray(b))
        np.testing.assert_allclose(found[:2], layer[:2], rtol=1e-5, err_msg=f"stage {i}")
        np.testing.assert_allclose(found[2], layer[2], rtol=1e-3, err_msg=f"stage {i}")


@pytest.mark.slow
def test_vgg_is_that_of_the_package(tmp_path):
    check_against_the_package("vgg", saved(tmp_path, "vgg"))


def test_equal_images_batches_and_transformations(alex, monkeypatch):
    monkeypatch.setattr("jaxgan.evaluation.features.lpips.PAIRS", 2)
    distance = load_lpips(*alex)
    random = np.random.default_rng(0)
    a, b = random.uniform(-1, 1, (2, 4, 31, 33, 3)).astype(np.float32)
    together = distance(a, b)
    np.testing.assert_allclose(distance(a, a), 0, atol=1e-12)
    np.testing.assert_allclose(together, distance(b, a), rtol=1e-5)
    np.testing.assert_allclose(together[::-1], distance(a[::-1], b[::-1]), rtol=1e-5)
    assert np.ptp(together) > 0.01  # so that the order was seen
    assert jax.eval_shape(jax.jit(jax.vmap(distance, (0, None))), jnp.stack([a, b]), b).shape == (2, 4)


@pytest.mark.parametrize("net", NETWORKS)
def test_the_smallest_image_leaves_a_pixel_at_the_last_stage(net):
    network = NETWORKS[net]
    weights = {}
    for each in (each for stage in network.stages for each in stage):
        weights[f"{each.name}.weight"] = np.zeros((each.kernel, each.kernel, each.inputs, each.outputs), np.float32)
        weights[f"{each.name}.bias"] = np.zeros(each.outputs, np.float32)
    for size, left in ((network.smallest, 1), (network.smallest - 1, 0)):
        image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        last = jax.eval_shape(lambda x: _features(network, weights, x), image)[-1]
        assert last.shape[1:3] == (left, left)


def test_a_pth_is_read_by_the_reader_of_those(alex, monkeypatch):
    reader = "jaxgan.evaluation.features.torch_weights.read_pth"
    monkeypatch.setattr(reader, lambda path: dict(np.load(path.with_suffix(".npz"))))
    found = load_lpips(*(path.with_suffix(".pth") for path in alex))(*network_images("alex"))
    np.testing.assert_array_equal(found, load_lpips(*alex)(*network_images("alex")))


@pytest.mark.parametrize(
    "change, which, message",
    [
        pytest.param(
            {"features.3.weight": None}, 0, r"AlexNet.*features.3.weight .*\[192, 64, 5, 5\].*no such", id="gone"
        ),
        pytest.param({"features.6.bias": 256}, 0, r"features.6.bias of shape \[384\], found shape \[256\]", id="bias"),
        pytest.param(
            {"features.0.weight": (64, 3, 3, 3)}, 0, r"\[64, 3, 11, 11\], found shape \[64, 3, 3, 3\]", id="of-vgg"
        ),
        pytest.param(
            {"lin1.model.1.weight": (1, 128, 1, 1)},
            1,
            r"weights/v0.1/alex.pth: expected lin1.*\[1, 192, 1, 1\]",
            id="lin",
        ),
    ],
)
def test_weights_of_another_network(alex, tmp_path, change, which, message):
    files = list(alex)
    arrays = dict(np.load(files[which])) | {k: shape and np.zeros(shape) for k, shape in change.items()}
    files[which] = tmp_path / "other.npz"
    np.savez(files[which], **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=f"other.npz is not .*{message}"):
        load_lpips(*files)


def test_files_that_are_none(alex, tmp_path):
    for name in ("none.npz", "none.pth"):
        with pytest.raises(ValueError, match=rf"cannot read weights from .*{name}: "):
            load_lpips(tmp_path / name, alex[1])
    (tmp_path / "cut.npz").write_bytes(alex[0].read_bytes()[:1000])
    np.savez(tmp_path / "objects.npz", **{"features.0.weight": np.array([None])})
    for name in ("cut.npz", "objects.npz"):
        with pytest.raises(ValueError, match=rf"cannot read weights from .*{name}: "):
            load_lpips(alex[0], tmp_path / name)
    with pytest.raises(ValueError, match="one of alex, vgg, got 'squeeze'"):
        load_lpips(*alex, "squeeze")


def images(*shape, value=0.5):
    return np.full(shape, value, np.float32)


@pytest.mark.parametrize(
    "a, b, message",
    [
        pytest.param(images(1, 40, 40, 3), images(1, 40, 41, 3), "one shape", id="shapes"),
        pytest.param(images(1, 40, 40, 1), images(1, 40, 40, 1), "3 channels, got 1.*repeat", id="grey"),
        pytest.param(images(1, 30, 40, 3), images(1, 30, 40, 3), "at least 31×31 pixels, got 30×40", id="small"),
        pytest.param(images(1, 40, 40, 3).astype(np.uint8), images(1, 40, 40, 3), r"uint8.*127.5 - 1", id="uint8"),
        pytest.param(images(1, 40, 40, 3, value=np.nan), images(1, 40, 40, 3), "image 0 of the first set", id="nan"),
        pytest.param(
            images(1, 40, 40, 3, value=200), images(1, 40, 40, 3), r"\[-1, 1\], got values up to 200", id="range"
        ),
    ],
)
def test_what_cannot_be_compared(alex, a, b, message):
    with pytest.raises(ValueError, match=message):
        load_lpips(*alex)(a, b)
