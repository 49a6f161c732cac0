"""From options to the images that a network is given, and what is said of options that can't be."""

import dataclasses

import jax
import numpy as np
import pytest
from archives import archive
from PIL import Image

from jaxgan import data
from jaxgan.data.stream import Stream
from jaxgan.training import GAN, UsageError, train
from jaxgan.training.compiled.program import decode_examples
from jaxgan.training.options.data import DataOptions, real_transform
from jaxgan.training.options.options import Options
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.loading import load

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (12, 8, 8, 3), np.uint8)


@pytest.fixture
def pictures(tmp_path):
    """Twelve pictures of 8×8 in the folders cat and dog, in the order of IMAGES."""
    for i, image in enumerate(IMAGES):
        path = tmp_path / "set" / ("cat" if i < 5 else "dog") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "set"


def options(path, **changes):
    return DataOptions(dataset=f"folder:{path}", **changes)


def test_labels_travel_with_images(pictures):
    found = load(options(pictures))
    np.testing.assert_array_equal(found.images, IMAGES)
    assert found.labels.tolist() == [0] * 5 + [1] * 7 and found.class_names == ("cat", "dog")
    found = load(options(pictures, classes="dog,cat", images="50%"))
    assert len(found) == 6 and found.class_names == ("dog", "cat")
    for image, label in zip(found.images, found.labels, strict=True):
        (i,) = np.flatnonzero((image == IMAGES).all((1, 2, 3)))
        assert label == (0 if i >= 5 else 1)


def test_a_set_of_ones_own_is_prepared_alike():
    mine = data.from_arrays("mine", IMAGES, np.arange(12) % 3)
    found = load(DataOptions(image_size=4, channels=1, classes="2,0"), mine)
    assert found.images.shape == (8, 4, 4, 1) and found.labels.tolist() == [1, 0] * 4 and found.name == "mine"


def test_what_is_left_open_is_as_in_the_first_image(pictures):
    grey = data.from_arrays("grey", IMAGES[..., 0])
    assert load(DataOptions(), grey).images.shape == (12, 8, 8, 1)
    assert load(DataOptions(image_size=5), grey).images.shape == (12, 5, 5, 1)
    assert load(DataOptions(channels=3), grey).images.shape == (12, 8, 8, 3)
    assert load(DataOptions(image_size=5, load_size=6), grey).images.shape == (12, 6, 6, 1)
    Image.fromarray(IMAGES[0, ..., 0]).save(pictures / "cat" / "00.png")  # folders are in colour, whatever comes first
    assert load(options(pictures)).images.shape == (12, 8, 8, 3)
    assert load(options(pictures, channels=1)).images.shape == (12, 8, 8, 1)


def test_images_of_other_sizes_are_named(pictures):
    Image.fromarray(IMAGES[0, :6]).save(pictures / "dog" / "07.png")
    with pytest.raises(
        UsageError, match=r"07\.png has 6×8 pixels, not 8×8; choose an --image-size and --fit crop.*--skip"
    ):
        load(options(pictures))
    with pytest.raises(UsageError, match=r"00\.png has 8×8 pixels, larger than 6×6"):
        load(options(pictures, image_size=6, fit="pad"))
    Image.fromarray(IMAGES[0, :6]).save(pictures / "cat" / "00.png")
    with pytest.raises(UsageError, match=r"01\.png has 8×8 pixels, not 6×8; choose an --image-size"):
        load(options(pictures))
    assert load(options(pictures, image_size=6)).images.shape == (12, 6, 6, 3)


def break_some(pictures, count):
    paths = sorted(pictures.rglob("*.png"))[1 : 1 + 2 * count : 2]
    for path in paths:
        path.write_bytes(path.read_bytes()[:60])
    return paths


@pytest.mark.parametrize("stream", [False, True])
def test_bad_images_are_refused_or_left_out_and_counted(stream, pictures, capsys):
    paths = break_some(pictures, 5)
    if not stream:
        with pytest.raises(
            UsageError, match=rf"^{paths[0]} can't be read .*; --skip-bad-images leaves such images out$"
        ):
            load(options(pictures))
    found = load(options(pictures, skip_bad_images=True, stream=stream))
    kept = [i for i in range(12) if i % 2 == 0 or i == 11]
    assert found.labels.tolist() == [0 if i < 5 else 1 for i in kept]
    if stream:
        assert isinstance(found, Stream) and found.chosen.tolist() == kept
    else:
        np.testing.assert_array_equal(found.images, IMAGES[kept])
    said = capsys.readouterr().out
    assert said.startswith("NOTE: left out 5 of 12 images: ") and said.count("\n") == 1
    assert all(str(path) in said for path in paths[:3]) and said.endswith(" and 2 more\n")


def test_a_set_of_bad_images_alone_is_refused(pictures):
    for path in pictures.rglob("*.png"):
        path.write_bytes(b"")
    for size in (None, 8):
        with pytest.raises(UsageError, match="none of the 12 images"):
            load(options(pictures, skip_bad_images=True, image_size=size))


def test_bad_members_of_an_archive_are_left_out_too(pictures, capsys):
    members = {path.name: path.read_bytes() for path in sorted(pictures.rglob("*.png"))} | {"03.png": b"no"}
    found = load(options(archive(pictures.parent / "a.zip", members), skip_bad_images=True))
    assert len(found) == 11 and "a.zip/03.png is no picture" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image_size": 0}, "--image-size must be a side of the square, 64, or height and width, 48x64, got 0"),
        ({"image_size": "7x"}, "--image-size must be a side of the square, 64, or height and width, 48x64, got 7x"),
        ({"image_size": 16385}, "--image-size must be at most 16384 pixels of a side, got 16385"),
        *(
            (
                {name: text},
                f"--{name.replace('_', '-')} must be a number such as 5000 or a share such as 10%, got {text}",
            )
            for name in ("images", "hold_out")
            for text in ("0", "-5", "0%", "101%", "nan%", "1e3", "5.5", "many", "%")
        ),
        (
            {"classes": "3,"},
            "--classes must be names or numbers of classes with commas between, each of them once, got",
        ),
        ({"classes": "cat,cat"}, "--classes must be names or numbers of classes with commas between"),
        ({"load_size": 8}, "--load-size must be given together with --image-size, got 8"),
        ({"load_size": 8, "image_size": 9}, "--load-size must be at least --image-size, which is 9, got 8"),
        ({"rotate": -1.0}, "--rotate must be from 0 to 180 degrees, got -1"),
        ({"rotate": float("nan")}, "--rotate must be from 0 to 180 degrees, got nan"),
        ({"scale": float("inf")}, "--scale must be from 0 to 9, got inf"),
        ({"workers": 0}, "--workers must be from 1 to 1024, got 0"),
        ({"dataset": " "}, "--dataset must be the name of a data set"),
    ],
)
def test_options_out_of_range_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        DataOptions(**changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image_size": 28}, "--image-size 28 doesn't go with it"),
        ({"channels": 1}, "--channels 1"),
        ({"scale": 0.1}, "--scale 0.1"),
        ({"flip": True}, "--flip True"),
        ({"stream": True}, "--stream True"),
    ],
)
def test_points_are_no_images(changes, message):
    with pytest.raises(UsageError, match=f"ring is points of the plane, not images: {message}"):
        load(DataOptions(dataset="ring", **changes))


def test_points_of_some_modes():
    found = load(DataOptions(dataset="grid", classes="24,3", images="100"))
    assert (
        found.images.shape == (100, 1, 1, 2) and found.images.dtype == np.float32 and found.class_names == ("24", "3")
    )
    assert (found.images[found.labels == 0] > 0.9).all()  # the last mode lies at (1, 1)


def test_a_set_larger_than_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 30)  # a machine of 900 bytes
    with pytest.raises(
        UsageError, match=r"mine takes .* GiB and the device has .*; add --stream, take some --images, or"
    ):
        load(DataOptions(), data.from_arrays("mine", IMAGES))


def test_without_grain_nothing_is_streamed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--stream needs Grain: pip install 'jaxgan\[grain\]'"):
        load(DataOptions(dataset="digits", stream=True))


def test_auto_says_why_it_is_digits(monkeypatch, capsys):
    monkeypatch.setattr(data, "mnist_or_digits", lambda data_dir: (data.open_source("digits"), "there is no network"))
    assert load(DataOptions()).images.shape == (1797, 28, 28, 1)
    said = capsys.readouterr().out
    assert said == "NOTE: training on scikit-learn's 1,797 digits instead of MNIST: there is no network\n"


def test_random_changes_are_made_in_their_order():
    assert real_transform(DataOptions()) is None
    images = (IMAGES / 127.5 - 1).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 12)
    cropped = np.asarray(real_transform(DataOptions(image_size=5, load_size=8))(images, keys))
    assert cropped.shape == (12, 5, 5, 3)
    windows = np.lib.stride_tricks.sliding_window_view(images, (5, 5), (1, 2)).transpose(0, 1, 2, 4, 5, 3)
    assert all((windows[i] == cropped[i]).all((2, 3, 4)).sum() == 1 for i in range(12))
    both = np.asarray(real_transform(DataOptions(image_size=5, load_size=8, flip=True))(images, keys))
    mirrored = [np.array_equal(both[i], cropped[i, :, ::-1]) for i in range(12)]
    assert 0 < sum(mirrored) < 12 and all(m or np.array_equal(both[i], cropped[i]) for i, m in enumerate(mirrored))
    turned = np.asarray(real_transform(DataOptions(rotate=180.0, scale=0.5))(images, keys))
    assert turned.shape == images.shape and (np.abs(turned) <= 1).all() and (turned != images).any((1, 2, 3)).all()


def test_turns_need_squares():
    wide = data.from_arrays("wide", np.zeros((4, 6, 8, 1), np.uint8))
    message = r"^--turn needs square images, and those of wide have 6×8 pixels: --image-size 6, for example, makes them"
    for size in ({}, {"image_size": "6x8"}):
        with pytest.raises(UsageError, match=message):
            load(DataOptions(turn=True, **size), wide)
    assert load(DataOptions(turn=True, image_size=6), wide).images.shape == (4, 6, 6, 1)
    assert load(DataOptions(turn=True, image_size=6, load_size="6x8"), wide).images.shape == (4, 6, 8, 1)
    with pytest.raises(UsageError, match="--turn True doesn't go with it"):
        load(DataOptions("ring", turn=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": True, "turn": True, "image_size": 5, "load_size": 8},
        {"flip": True, "turn": True},
        {"rotate": 180.0, "scale": 0.5},
    ],
)
def test_the_fields_of_a_pair_are_changed_alike(changes):
    """The source is the mean of the image's channels, which crops, flips and turns keep."""
    grey = np.rint(IMAGES.mean(3, keepdims=True)).astype(np.uint8)
    options = DataOptions(**changes)
    loaded = load(options, data.from_arrays("pairs", IMAGES, source=grey))
    spec = DataSpec.of(loaded, options.crop_shape)
    numbers = np.arange(12)

    def changed(key):
        batch = decode_examples(spec, loaded.arrays, real_transform(options), jax.random.key(key), numbers)
        return np.asarray(batch["image"]).mean(3, keepdims=True), np.asarray(batch["source"])

    image, source = changed(0)
    assert image.shape == source.shape == (12, *(options.crop_shape or (8, 8)), 1)
    np.testing.assert_allclose(source, image, atol=0.51 / 127.5 + 1e-5)  # of rounding the means to levels
    assert np.abs(source - changed(1)[0]).mean() > 0.1  # and would not be by another draw
    whole = grey / 127.5 - 1
    assert source.shape != whole.shape or (np.abs(source - whole).max((1, 2, 3)) > 0.1).sum() > 6


def test_two_folders_have_sizes_and_channels_of_their_own(tmp_path):
    wide, tall = IMAGES[:, :, :, 0], IMAGES[:, :, :4]
    for name, several in (("grey", wide), ("coloured", tall)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(several[: 5 if name == "grey" else 7]):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    np.savez(tmp_path / "grey.npz", images=wide)
    folders = f"a=folder:{tmp_path}/grey,b=folder:{tmp_path}/coloured"
    for channels in (None, 1, 3):  # folders are coloured, unless they are asked to be otherwise
        both = load(DataOptions(folders, image_size=6, channels=channels))
        shapes = {name: found.images.shape for name, found in both.items()}
        assert shapes == {"a": (5, 6, 6, channels or 3), "b": (7, 6, 6, channels or 3)}
    both = load(DataOptions(folders))
    assert both["a"].images.shape == (5, 8, 8, 3) and both["b"].images.shape == (7, 8, 4, 3)
    both = load(DataOptions(f"a=npz:{tmp_path}/grey.npz,b=folder:{tmp_path}/coloured", image_size=6))
    assert both["a"].images.shape == (12, 6, 6, 1) and both["b"].images.shape == (7, 6, 6, 3)
    spec = DataSpec.of(both)
    assert spec.sets["a"].channels == 1 and spec.sets["b"].channels == 3 and spec.count == 7


def test_two_sets_of_one_name_are_refused():
    with pytest.raises(
        UsageError, match=r"^--dataset a=digits,b=digits,a=ring has two sets called a; give each a name"
    ):
        load(DataOptions("a=digits,b=digits,a=ring"))


def test_the_spec_tells_sets_apart(pictures):
    found = load(options(pictures))
    spec = DataSpec.of(found)
    assert (spec.count, spec.size, spec.channels, spec.classes) == (12, 8, 3, 2)
    assert DataSpec.of(found, (5, 5)).size == 5 and DataSpec.of(load(options(pictures))) == spec
    other = dataclasses.replace(found, arrays={**found.arrays, "label": 1 - found.labels})
    assert (
        len({spec.content, DataSpec.of(other).content, DataSpec.of(load(options(pictures, equalize=True))).content})
        == 3
    )


def test_fewer_images_than_a_batch_are_refused_before_anything_is_written(tmp_path):
    def build(options, spec):
        return GAN(None, None, options.batch_size, None)

    with pytest.raises(UsageError, match="an iteration takes 64 images, but mine has only 12; lower --batch-size"):
        train(build, Options(workdir=str(tmp_path / "run")), data=data.from_arrays("mine", IMAGES))
    assert not (tmp_path / "run").exists()
