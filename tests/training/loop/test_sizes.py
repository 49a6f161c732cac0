"""Images of any height and width: read, described, trained on, shown and scored."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import dcgan_mnist, gan_mnist
from jaxgan import data
from jaxgan.data import ImageTransform
from jaxgan.data.transform import largest
from jaxgan.training import DataSpec, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.data import DataOptions, shape_of
from jaxgan.training.options.evaluation import FeatureOptions
from jaxgan.training.options.options import of_preset
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.loading import load
from jaxgan.training.scoring.measures import measure_for
from scripts import evaluate

pytestmark = pytest.mark.usefixtures("as_users_have_it")
WIDE = np.random.default_rng(0).integers(0, 256, (30, 20, 28, 1), np.uint8)


@pytest.mark.parametrize(
    "text, shape",
    [
        *((64, (64, 64)), ("64", (64, 64)), ("48x64", (48, 64)), ("48×64", (48, 64))),
        *((text, None) for text in ("0", "48x", "x64", "4.5", "48x0", "a", -3, "48x64x3")),
    ],
)
def test_sizes_are_height_times_width(text, shape):
    assert shape_of(text) == shape


def test_a_size_is_given_as_such_on_a_command_line(tmp_path):
    options = parse(gan_mnist.Options, ["--image-size", "20x28"])
    assert options.image_size == "20x28" and parse(gan_mnist.Options, ["--image-size", "32"]).image_size == 32
    record = tmp_path / "options.json"
    record.write_text(json.dumps({"experiment": "experiments.gan_mnist", "options": {"image_size": "20x28"}}))
    assert parse(gan_mnist.Options, ["--options", str(record)]).image_size == "20x28"
    with pytest.raises(UsageError, match="--image-size must be a side of the square, 64, or height and width, 48x64"):
        DataOptions(image_size="48 by 64")
    with pytest.raises(UsageError, match="--image-size must be a square with --load-size"):
        DataOptions(image_size="48x64", load_size="96x128")


def test_images_come_to_any_size():
    image = np.arange(6 * 10, dtype=np.uint8).reshape(6, 10, 1)
    np.testing.assert_array_equal(ImageTransform((6, 4), 1, "crop")(image, "a"), image[:, 3:7])
    np.testing.assert_array_equal(ImageTransform((3, 5), 1, "crop", "box")(image, "a"), boxes(image, 2, 2))
    np.testing.assert_array_equal(ImageTransform((3, 5), 1, "stretch", "box")(image, "a"), boxes(image, 2, 2))
    padded = ImageTransform((8, 11), 1, "pad")(image, "a")
    np.testing.assert_array_equal(padded[1:7, 0:10], image)
    assert padded.shape == (8, 11, 1) and padded.sum(dtype=int) == image.sum(dtype=int)
    with pytest.raises(data.DataError, match="a has 6×10 pixels, larger than 8×9"):
        ImageTransform((8, 9), 1, "pad")(image, "a")
    with pytest.raises(data.DataError, match="a has 6×10 pixels, not 10×6"):
        ImageTransform((10, 6), 1)(image, "a")


def boxes(image, tall, wide):
    """Means of 2×2 pixels, rounded, by hand."""
    height, width, _ = image.shape
    return np.rint(image.reshape(height // tall, tall, width // wide, wide).mean((1, 3))).astype(np.uint8)[..., None]


@pytest.mark.parametrize(
    "within, shape, expected",
    [
        ((33, 50), (28, 28), (33, 33)),
        ((50, 33), (28, 28), (33, 33)),
        ((100, 100), (48, 64), (75, 100)),
        ((100, 300), (64, 48), (100, 75)),
        ((48, 64), (48, 64), (48, 64)),
        ((1, 9), (64, 1), (1, 1)),
    ],
)
def test_the_largest_part_of_some_proportions(within, shape, expected):
    assert largest(within, shape) == expected


def test_a_folder_of_one_size_needs_no_option(tmp_path):
    for i, image in enumerate(WIDE[:4, ..., 0]):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    found = load(DataOptions(dataset=f"folder:{tmp_path}", channels=1))
    np.testing.assert_array_equal(found.images, WIDE[:4])
    assert DataSpec.of(found).shape == (20, 28, 1)
    assert load(DataOptions(dataset=f"folder:{tmp_path}", image_size="10x14")).images.shape == (4, 10, 14, 3)
    Image.fromarray(WIDE[0, :18, :, 0]).save(tmp_path / "4.png")
    with pytest.raises(UsageError, match=r"4\.png has 18×28 pixels, not 20×28; choose an --image-size"):
        load(DataOptions(dataset=f"folder:{tmp_path}"))


@pytest.mark.slow
def test_the_dense_gan_trains_on_them(tmp_path):
    small = {"image_size": "20x28", "steps": 2, "width": 4, "latent_size": 2, "batch_size": 8, "devices": 1}
    options = of_preset(gan_mnist.Options, "smoke", workdir=str(tmp_path / "run"), **small)
    train(gan_mnist.build, options, data=data.from_arrays("wide", WIDE))
    run = open_run(tmp_path / "run")
    assert run.data.shape == (20, 28, 1) and run.sample(3).shape == (3, 20, 28, 1)
    with Image.open(tmp_path / "run" / "samples" / "00000002.png") as sheet:
        assert sheet.size == (8 * 58 + 2, 8 * 42 + 2)
    record = json.loads((tmp_path / "run" / "options.json").read_text())
    assert record["options"]["image_size"] == "20x28" and record["data"]["fields"]["image"]["shape"] == [20, 28, 1]
    wide = data.from_arrays("wide", WIDE)
    found, _ = evaluate.of_run(evaluate.Options(run=tmp_path / "run", count=20), tmp_path / "run", wide)
    assert {record["key"] for record in found} == {"swd", "distinct", "spread"} and found[0]["size"] == [20, 28, 1]


def test_dcgan_refuses_them_in_a_line(tmp_path):
    with pytest.raises(
        UsageError, match=r"wide is image 20×28×1, and this experiment needs square images: --image-size"
    ):
        dcgan_mnist.build(of_preset(dcgan_mnist.Options, "smoke"), DataSpec.single("wide", 30, (20, 28, 1)))
    with pytest.raises(UsageError, match="--image-size must be 16, 28, 32, 64 or 128, got 20x28"):
        parse(dcgan_mnist.Options, ["--image-size", "20x28"])


def test_features_take_them():
    """Packaged classifiers resize what comes; the network is traced, not run."""
    spec = DataSpec.single("mnist", 100, (20, 28, 1), 10)
    measure = measure_for(FeatureOptions(), spec)
    assert measure.network.name == "mnist-v1" and "fid" in measure.metrics
    said = jax.eval_shape(measure.network.apply, jax.ShapeDtypeStruct((3, 20, 28, 1), np.uint8))
    assert said["logits"].shape == (3, 10)
