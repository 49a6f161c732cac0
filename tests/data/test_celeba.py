"""CelebA as TFDS prepares it: a folder with the description of TFDS's own builder and a few records."""

import json

import numpy as np
from tfds_records import needs, write_prepared

from experiments import dcgan_celeba
from jaxgan import data
from jaxgan.training import DataSpec
from jaxgan.training.options.options import of_preset
from jaxgan.training.recipe.loading import load

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 218, 178, 3), np.uint8)


def leaves(features, path=""):
    """The keys under which a record holds the numbers of nested features."""
    for name, feature in features.items():
        yield from leaves(feature, f"{path}{name}/") if hasattr(feature, "items") else [f"{path}{name}"]


def write_celeba(root):
    """Images of CelebA's size with its attributes, landmarks and identities; two of them are for validation."""
    needs("tensorflow_datasets", "array_record")
    import tensorflow_datasets as tfds

    builder = tfds.builder("celeb_a", data_dir=str(root / "none"))
    features, version = builder.info.features, str(builder.version)
    beside = {key: 1 for key in leaves(features) if key != "image"}
    assert {"attributes/Smiling", "landmarks/lefteye_x"} <= set(beside)
    more = {"validation": (IMAGES[3:], None)}
    about = {"where": f"celeb_a/{version}", "name": "celeb_a", "version": version}
    folder = write_prepared(root, IMAGES[:3], more=more, beside=beside, **about)
    (folder / "features.json").unlink()
    features.save_config(folder)
    assert "attributes" in json.loads((folder / "features.json").read_text())["featuresDict"]["features"]


def test_celeba_is_read_and_cut_to_squares(tmp_path):
    write_celeba(tmp_path)
    source = data.open_source("celeb_a", str(tmp_path))
    assert len(source) == 3 and source.class_names == ()
    for i in range(3):
        np.testing.assert_array_equal(source[i], IMAGES[i])
    held = data.open_source("celeb_a", str(tmp_path), split="validation")
    np.testing.assert_array_equal(held[1], IMAGES[4])
    options = dcgan_celeba.Options(data_dir=str(tmp_path))
    found = load(options)
    assert DataSpec.of(found, options.crop_shape).shape == (64, 64, 3)
    square = data.ImageTransform(64, 3, "crop")(IMAGES[0][20:198], "a")  # 178 of 218 rows, in the middle
    np.testing.assert_array_equal(found.arrays["image"][0], square)
    assert of_preset(dcgan_celeba.Options, "paper").latents == "uniform"
