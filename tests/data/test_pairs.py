"""Folders and archives of pairs of pictures: which belong together, which side is which, and how both are prepared."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan import data
from jaxgan.training import UsageError
from jaxgan.training.options.data import DataOptions
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.loading import address, drawn_from, held_out, load
from scripts import data as script

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (8, 6, 9, 3), np.uint8)
GREY = RANDOM.integers(0, 256, (8, 6, 9), np.uint8)


def save(path, image, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **how)


def two_folders(root, names=("A", "B"), count=5):
    """Writes grey pictures into the first folder and coloured ones, of equal names, into the second."""
    for i in range(count):
        save(root / names[0] / f"{i}.png", GREY[i])
        save(root / names[1] / f"{i}.bmp", COLOUR[i])
    return f"pairs:{root}"


def halves(root, numbers=range(5), under=""):
    """Writes pictures whose left half is coloured and whose right half is grey."""
    for i in numbers:
        save(root / under / f"{i}.png", np.concatenate([COLOUR[i], np.repeat(GREY[i][..., None], 3, 2)], axis=1))
    return f"pairs:{root}"


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as out:
        for file in sorted(folder.rglob("*.*")):
            out.write(file, file.relative_to(folder.parent))
    return f"pairs:{path}"


@pytest.mark.parametrize("names", [("A", "B"), ("a", "b"), ("source", "target"), ("Input", "Target")])
def test_two_folders_with_pictures_of_equal_names(tmp_path, names):
    found = load(DataOptions(two_folders(tmp_path / "photos", names)))
    assert found.name == "pairs:photos" and found.fields == ("image", "source") and not found.class_names
    np.testing.assert_array_equal(found.images, COLOUR[:5])
    np.testing.assert_array_equal(found.arrays["source"][..., 0], GREY[:5])
    spec = DataSpec.of(found)
    assert spec.fields["image"].shape == (6, 9, 3) and spec.fields["source"].shape == (6, 9, 1) and spec.classes == 0


def test_pictures_that_hold_both_beside_each_other(tmp_path):
    found = load(DataOptions(halves(tmp_path / "facades")))
    assert found.images.shape == found.arrays["source"].shape == (5, 6, 9, 3)
    np.testing.assert_array_equal(found.arrays["source"], COLOUR[:5])
    np.testing.assert_array_equal(found.images, np.repeat(GREY[:5, ..., None], 3, 3))


@pytest.mark.parametrize("make", [two_folders, halves])
def test_an_archive_is_read_like_its_folder(tmp_path, make):
    whole = load(DataOptions(make(tmp_path / "photos")))
    packed = load(DataOptions(zipped(tmp_path / "photos", tmp_path / "photos.zip")))
    for name in ("image", "source"):
        np.testing.assert_array_equal(packed.arrays[name], whole.arrays[name])


def test_the_other_direction(tmp_path):
    for name in (two_folders(tmp_path / "a"), halves(tmp_path / "b")):
        forth, back = load(DataOptions(name)), load(DataOptions(name, reverse_pairs=True))
        assert back.fields == ("image", "source")
        np.testing.assert_array_equal(back.images, forth.arrays["source"])
        np.testing.assert_array_equal(back.arrays["source"], forth.images)
    np.savez(tmp_path / "c.npz", images=COLOUR, sources=GREY, labels=np.arange(8))
    forth, back = (load(DataOptions(f"npz:{tmp_path}/c.npz", reverse_pairs=each)) for each in (False, True))
    np.testing.assert_array_equal(forth.images, COLOUR)
    np.testing.assert_array_equal(back.arrays["source"], COLOUR)
    np.testing.assert_array_equal(back.images[..., 0], GREY)
    np.testing.assert_array_equal(back.labels, np.arange(8))
    held, _ = held_out(DataOptions(f"npz:{tmp_path}/c.npz", reverse_pairs=True, hold_out="2"))
    assert held.images.shape == (2, 6, 9, 1)
    save(tmp_path / "d" / "x.png", GREY[0])
    for name, has in ((f"folder:{tmp_path}/d", "image"), ("digits", "image"), ("diabetes", "vector")):
        with pytest.raises(UsageError, match=rf"^--reverse-pairs exchanges .* pairs:PATH, and {name[:6]}.* has {has}$"):
            load(DataOptions(name, reverse_pairs=True))


def test_both_sides_are_brought_to_one_size_alike(tmp_path):
    """The source is drawn at half the size; a crop and a resize of either show the same part of the picture."""
    ramp = np.zeros((40, 60, 3), np.uint8)
    ramp[..., 0] = 4 * np.arange(60)
    ramp[..., 1] = 6 * np.arange(40)[:, None]
    small = ramp.reshape(20, 2, 30, 2, 3).mean((1, 3)).astype(np.uint8)
    save(tmp_path / "A" / "x.png", small)
    save(tmp_path / "B" / "x.png", ramp)
    found = load(DataOptions(f"pairs:{tmp_path}", image_size=10, filter="box"))
    assert found.images.shape == (1, 10, 10, 3)
    # Of 40×60 the middle 40×40; each pixel is the mean of 4×4.
    np.testing.assert_allclose(found.images[0], ramp[:, 10:50].reshape(10, 4, 10, 4, 3).mean((1, 3)), atol=1)
    np.testing.assert_allclose(found.arrays["source"].astype(int), found.images, atol=2)
    for fit in ("pad", "stretch"):
        both = load(DataOptions(f"pairs:{tmp_path}", image_size=60, fit=fit, channels=1))
        assert both.images.shape == both.arrays["source"].shape == (1, 60, 60, 1)


def test_a_side_has_channels_of_its_own_unless_they_are_given(tmp_path):
    name = two_folders(tmp_path)
    for channels in (1, 3):
        found = load(DataOptions(name, channels=channels))
        assert found.images.shape[3] == found.arrays["source"].shape[3] == channels
    save(tmp_path / "A" / "3.png", COLOUR[3])  # one that isn't grey makes the side coloured
    assert load(DataOptions(name)).arrays["source"].shape[3] == 3


def test_what_has_no_partner_is_left_out_and_named(tmp_path, capsys):
    name = two_folders(tmp_path)
    save(tmp_path / "A" / "nine.png", GREY[0])
    save(tmp_path / "B" / "deep" / "0.png", COLOUR[0])
    save(tmp_path / "masks" / "0.png", GREY[0])
    (tmp_path / "notes.txt").write_text("")
    assert len(load(DataOptions(name))) == 5
    assert capsys.readouterr().out == (
        f"NOTE: pairs:{tmp_path.name}: left out 2 pictures without a partner: A/nine.png, B/deep/0.png; "
        "1 pictures that are neither in A nor in B; 1 files that are no pictures by their suffix: 1 .txt\n"
    )
    both = load(DataOptions(f"x={name},y=digits", images="3"))  # one of several sets says it too
    assert "left out 2 pictures" in capsys.readouterr().out and len(both["x"]) == 3


def test_pictures_deeper_down_are_paired_by_their_whole_path(tmp_path):
    for i, where in enumerate(("x/1", "y/1", "y/2")):
        save(tmp_path / "A" / f"{where}.png", GREY[i])
        save(tmp_path / "B" / f"{where}.jpeg.png", COLOUR[7])
        save(tmp_path / "B" / f"{where}.png", COLOUR[i])
    found = load(DataOptions(f"pairs:{tmp_path}"))
    np.testing.assert_array_equal(found.images, COLOUR[:3])
    np.testing.assert_array_equal(found.arrays["source"][..., 0], GREY[:3])


@pytest.mark.parametrize("inside", [False, True])
def test_folders_of_splits(tmp_path, inside):
    for split, numbers in (("train", (0, 1, 2)), ("val", (3, 4))):
        for i in numbers:
            for side, images in (("A", GREY), ("B", COLOUR)):
                save(tmp_path / (f"{side}/{split}" if inside else f"{split}/{side}") / f"{i}.png", images[i])
    options = DataOptions(f"pairs:{tmp_path}")
    np.testing.assert_array_equal(load(options).images, COLOUR[:3])
    held, about = held_out(options)
    assert about == "the test images" and np.array_equal(held.images, COLOUR[3:5])  # val, where there is no test
    assert len(data.open_source(f"pairs:{tmp_path}", split="val")) == 2
    save(tmp_path / ("A/test" if inside else "test/A") / "7.png", GREY[7])
    save(tmp_path / ("B/test" if inside else "test/B") / "7.png", COLOUR[7])
    np.testing.assert_array_equal(held_out(options)[0].images, COLOUR[7:])
    with pytest.raises(data.DataError, match=r"has no unheard split; it has test, train, val$"):
        data.open_source(f"pairs:{tmp_path}", split="unheard")
    drawn = drawn_from(options, DataSpec.of(load(options)))
    assert drawn.examples["source"].shape == (1, 6, 9, 1)


def test_halves_have_splits_too_and_no_classes(tmp_path):
    for split, numbers in (("train", (0, 1, 2)), ("test", (3, 4))):
        halves(tmp_path, numbers, split)
    options = DataOptions(f"pairs:{tmp_path}")
    found = load(options)
    np.testing.assert_array_equal(found.arrays["source"], COLOUR[:3])
    assert found.class_names == () and len(held_out(options)[0]) == 2
    save(tmp_path / "example.png", COLOUR[0])
    with pytest.raises(UsageError, match=r"holds|has 1 pictures beside"):
        load(options)


def test_pairs_stay_together_in_what_is_chosen_and_held_out(tmp_path):
    name = two_folders(tmp_path, count=8)
    trained, (held, _) = load(DataOptions(name, hold_out="3")), held_out(DataOptions(name, hold_out="3"))
    assert len(trained) == 5 and len(held) == 3
    place = {image.tobytes(): i for i, image in enumerate(COLOUR)}
    for found in (trained, held, load(DataOptions(name, images="4"))):
        at = [place[image.tobytes()] for image in found.images]
        np.testing.assert_array_equal(found.arrays["source"][..., 0], GREY[at])


def test_both_sides_are_cached_until_a_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("jaxgan.data.cache.SETTLED", -1.0)
    for make in (two_folders, halves):
        name = make(tmp_path / make.__name__)
        first = load(DataOptions(name, image_size=5))
        with monkeypatch.context() as patch:
            patch.setattr("jaxgan.data.sources.folder.decode", lambda *_: pytest.fail("read again"))
            again = load(DataOptions(name, image_size=5))
        for field in ("image", "source"):
            np.testing.assert_array_equal(again.arrays[field], first.arrays[field])
        reverse = load(DataOptions(name, image_size=5, reverse_pairs=True))
        np.testing.assert_array_equal(reverse.images, first.arrays["source"])
        changed = next(iter(sorted(Path(name.removeprefix("pairs:")).rglob("0.*"))))
        with Image.open(changed) as picture:
            Image.fromarray(255 - np.asarray(picture)).save(changed)
        other = load(DataOptions(name, image_size=5))
        assert not np.array_equal(other.arrays["source"], first.arrays["source"])


def cases(tmp_path):
    """Sets that can't be used, and the line that says why."""
    save(tmp_path / "alone" / "A" / "x.png", GREY[0])
    save(tmp_path / "alone" / "photos" / "x.png", GREY[0])
    two_folders(tmp_path / "twice")
    save(tmp_path / "twice" / "A" / "0.bmp", GREY[0])
    save(tmp_path / "none" / "A" / "x.png", GREY[0])
    save(tmp_path / "none" / "B" / "y.png", GREY[0])
    (tmp_path / "empty").mkdir()
    save(tmp_path / "odd" / "x.png", GREY[0])
    save(tmp_path / "other" / "A" / "x.png", GREY[0])
    save(tmp_path / "other" / "B" / "x.png", GREY[0].T)
    return {
        "alone": "has a folder A and no other to go with it; A and B, source and target or input and target are",
        "twice": r"has two pictures of one name, A/0\.bmp and A/0\.png; a pair has one on each side",
        "none": r"has no pairs: no picture in A has the name of one in B; there are A/x\.png, B/y\.png",
        "empty": "holds no pictures",
        "missing": "pairs:.*missing is not there; give the path of a folder of pictures",
        "odd": r"x\.png has 9 columns; an even number is expected",
        "other": r"B/x\.png has 9×6 pixels, and its partner .*A/x\.png has 6×9, which are other proportions",
    }


def test_what_cannot_be_paired_is_said_in_one_line(tmp_path):
    for name, message in cases(tmp_path).items():
        with pytest.raises(UsageError, match=message) as error:
            load(DataOptions(f"pairs:{tmp_path}/{name}"))
        assert "\n" not in str(error.value)
    for options, message in (
        ({"stream": True}, r"^--stream reads sets of images alone, and pairs:twice has image, source$"),
        ({"classes": "A"}, r"^--classes: pairs:twice has no class 'A'; it has no classes$"),
    ):
        (tmp_path / "twice" / "A" / "0.bmp").unlink(missing_ok=True)
        with pytest.raises(UsageError, match=message):
            load(DataOptions(f"pairs:{tmp_path}/twice", **options))
    with pytest.raises(data.DataError, match="lacks a path; pairs:PATH is expected"):
        data.open_source("pairs:")
    with pytest.raises(data.DataError, match="has no test split; all of it is the training split, train"):
        data.open_source(f"pairs:{tmp_path}/twice", split="test")


def test_pairs_with_one_side_that_cannot_be_read_are_left_out_if_asked(tmp_path, capsys):
    name = two_folders(tmp_path)
    (tmp_path / "A" / "1.png").write_text("no picture")
    save(tmp_path / "B" / "2.bmp", COLOUR[2].transpose(1, 0, 2))
    with pytest.raises(UsageError, match="--skip-bad-images leaves such images out"):
        load(DataOptions(name))
    found = load(DataOptions(name, skip_bad_images=True))
    np.testing.assert_array_equal(found.images, COLOUR[[0, 3, 4]])
    np.testing.assert_array_equal(found.arrays["source"][..., 0], GREY[[0, 3, 4]])
    assert "left out 2 of 5 images" in capsys.readouterr().out


def test_members_of_an_archive_that_lie_are_refused(tmp_path):
    content = io.BytesIO()
    Image.fromarray(GREY[0]).save(content, "png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr("A/x.png", content.getvalue())
        out.writestr("B/../../x.png", content.getvalue())
    with pytest.raises(UsageError, match="leaves its folder"):
        load(DataOptions(f"pairs:{tmp_path}/a.zip"))


def test_the_record_has_the_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two_folders(tmp_path / "photos")
    assert address("pairs:photos", "pairs:photos") == f"pairs:{tmp_path}/photos"


def test_scripts_data_shows_the_source_beside_the_image(tmp_path, capsys):
    name = two_folders(tmp_path / "photos", count=1)
    script.run(script.Options(name, out=tmp_path / "a.png"))
    said = capsys.readouterr().out
    assert "fields    image: image 6×9×3, source: image 6×9×1" in said
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    expected = np.concatenate([np.repeat(GREY[0][..., None], 3, 2), COLOUR[0]], axis=1)
    row = np.flatnonzero((picture[:, :, 0] > 0).any(1))[0]
    column = np.flatnonzero((picture[:, :, 0] > 0).any(0))[0]
    shown = picture[row :: 2 if picture.shape[0] > 12 else 1][:6, column :: 2 if picture.shape[0] > 12 else 1][:, :18]
    np.testing.assert_array_equal(shown, expected)
    shutil.rmtree(tmp_path / "photos")
