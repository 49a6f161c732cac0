"""Tiles of pictures of any size: which they are, that nothing is resized, and that a picture is on one side only."""

import collections
import pickle

import numpy as np
import pytest
from PIL import Image

from jaxgan import data
from jaxgan.data import tiles as module
from jaxgan.data.sources import folder as folder_module
from jaxgan.data.stream import _Read
from jaxgan.data.tiles import sizes_of, tiles_of
from jaxgan.training import UsageError
from jaxgan.training.options.data import DataOptions
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.loading import held_out, load
from scripts import data as script

RANDOM = np.random.default_rng(0)
SIZES = [(8, 12), (9, 14), (3, 20), (4, 4), (17, 5), (4, 3)]  # with tiles of 4×4: 6, 6, 0, 1, 4 and 0
PICTURES = [RANDOM.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


def save(root, numbers=range(6), **where):
    for i in numbers:
        path = root / where.get("under", "") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PICTURES[i]).save(path)
    return f"folder:{root}"


def tiles_by_hand(image, height, width):
    """Cuts tiles by slicing, row by row; of what is left over, half lies before the first."""
    top, left = image.shape[0] % height // 2, image.shape[1] % width // 2
    return [
        image[row : row + height, column : column + width]
        for row in range(top, image.shape[0] - height + 1, height)
        for column in range(left, image.shape[1] - width + 1, width)
    ]


def test_the_tiles_of_a_folder(tmp_path, capsys):
    found = load(DataOptions(save(tmp_path / "a"), image_size=4, fit="tiles"))
    expected = [tile for image in PICTURES for tile in tiles_by_hand(image, 4, 4)]
    assert len(expected) == 17 and found.name == "folder:a"
    np.testing.assert_array_equal(found.images, expected)
    assert capsys.readouterr().out == (
        f"NOTE: folder:a: left out 2 pictures that are smaller than a tile of 4×4 pixels: {tmp_path}/a/2.png, "
        f"{tmp_path}/a/5.png\n"
    )
    oblong = load(DataOptions(save(tmp_path / "a"), image_size="3x5", fit="tiles", channels=1))
    grey = [np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in PICTURES]
    np.testing.assert_array_equal(oblong.images, [tile for image in grey for tile in tiles_by_hand(image, 3, 5)])
    # Tiles are of --load-size, and the step cuts --image-size out of them.
    larger = load(options := DataOptions(save(tmp_path / "a"), image_size=3, load_size=4, fit="tiles"))
    np.testing.assert_array_equal(larger.images, expected)
    assert DataSpec.of(larger, options.crop_shape).shape == (3, 3, 3)


def test_where_tiles_lie_worked_out_by_hand():
    source = data.from_arrays("x", np.zeros((2, 9, 9, 1), np.uint8))
    found = tiles_of(source, np.array([1, 0]), np.array([[7, 10], [4, 3]]), (2, 4))
    # Of 7 rows three tiles and one row over, of 10 columns two tiles and a column on both sides; of 3 columns none.
    assert found.corners.tolist() == [[0, 1], [0, 5], [2, 1], [2, 5], [4, 1], [4, 5]]
    assert found.numbers.tolist() == [1] * 6 and len(found) == 6


def test_no_tile_of_a_held_out_picture_is_trained_on(tmp_path):
    name = save(tmp_path)
    owner = {tile.tobytes(): i for i, image in enumerate(PICTURES) for tile in tiles_by_hand(image, 4, 4)}
    assert len(owner) == 17
    for share in ("1", "2", "3", "50%"):
        options = DataOptions(name, image_size=4, fit="tiles", hold_out=share)
        trained, (held, _) = load(options), held_out(options)
        sides = [{owner[tile.tobytes()] for tile in each.images} for each in (trained, held)]
        assert not sides[0] & sides[1] and sides[0] | sides[1] == {0, 1, 3, 4}
        assert len(sides[1]) == (2 if share == "50%" else int(share)) and len(trained) + len(held) == 17
    with pytest.raises(UsageError, match="--hold-out 4 is 4 images; from 1 to the 3 that there are"):
        load(DataOptions(name, image_size=4, fit="tiles", hold_out="4"))
    some = load(DataOptions(name, image_size=4, fit="tiles", images="3"))
    assert len({owner[tile.tobytes()] for tile in some.images}) <= 3


def test_tiles_have_the_classes_of_their_pictures(tmp_path):
    save(tmp_path, (0, 1), under="cat")
    save(tmp_path, (3, 5), under="dog")
    name = save(tmp_path, (4,), under="eel")
    found = load(DataOptions(name, image_size=4, fit="tiles"))
    assert found.class_names == ("cat", "dog", "eel") and found.labels.tolist() == [0] * 12 + [1] + [2] * 4
    some = load(DataOptions(name, image_size=4, fit="tiles", classes="eel,cat"))
    assert some.class_names == ("eel", "cat") and some.labels.tolist() == [1] * 12 + [0] * 4


def test_a_picture_is_not_read_once_per_tile(tmp_path, monkeypatch):
    Image.fromarray(RANDOM.integers(0, 256, (160, 160, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(RANDOM.integers(0, 256, (160, 160, 3), np.uint8)).save(tmp_path / "b.png")
    read = collections.Counter()
    decode = folder_module.decode

    def counted(stored, name):
        read[name] += 1
        return decode(stored, name)

    monkeypatch.setattr(folder_module, "decode", counted)
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("jaxgan.data.cache.SETTLED", -1.0)
    options = DataOptions(f"folder:{tmp_path}", image_size=4, fit="tiles")
    found = load(options)
    assert len(found) == 3200 and max(read.values()) <= 3200 / 64  # once for its size, and once per block at most
    before = read.total()
    np.testing.assert_array_equal(load(options).images, found.images)
    assert read.total() == before  # all of it is cached
    Image.fromarray(np.zeros((160, 80, 3), np.uint8)).save(tmp_path / "b.png")
    assert len(load(options)) == 2400 and read.total() > before


def test_one_after_another_a_picture_is_read_once(tmp_path, monkeypatch):
    source = data.open_source(save(tmp_path))
    sizes, faults = sizes_of(source, np.arange(6), skip=False, keep=False)
    assert sizes.tolist() == [list(size) for size in SIZES] and faults == []
    found = pickle.loads(pickle.dumps(tiles_of(source, np.arange(6), sizes, (4, 4))))  # noqa: S301 - workers do that
    read = []
    decode = folder_module.decode
    monkeypatch.setattr(folder_module, "decode", lambda *of: read.append(of[1]) or decode(*of))
    every = [found[i] for i in range(len(found))]
    assert len(read) == 4 == len(set(read)) and every[0].base is None  # no tile keeps its picture in memory
    assert found.identity() == tiles_of(source, np.arange(6), sizes, (4, 4)).identity()
    assert found.identity() != tiles_of(source, np.arange(6), sizes, (4, 2)).identity()
    assert found.identity() != tiles_of(source, np.arange(5), sizes[:5] - 4, (4, 4)).identity()


def test_a_picture_that_shrinks_meanwhile_is_said(tmp_path):
    source = data.open_source(save(tmp_path))
    found = tiles_of(source, np.arange(6), np.array(SIZES), (4, 4))
    Image.fromarray(PICTURES[0][:6]).save(tmp_path / "0.png")
    module._recent.source = None
    with pytest.raises(data.DataError, match=r"0\.png has another size than before; start again"):
        found[5]


def test_a_stream_reads_the_same_tiles(tmp_path):
    name = save(tmp_path)
    whole = load(DataOptions(name, image_size=4, fit="tiles"))
    stream = load(DataOptions(name, image_size=4, fit="tiles", stream=True, workers=1))
    assert len(stream) == 17 and DataSpec.of(stream).shape == (4, 4, 3)
    words = np.array([3, 4], np.uint32)
    for step in range(3):  # as its workers read
        batch = pickle.loads(pickle.dumps(_Read(stream, words, 5, (), None)))._batch(step)  # noqa: S301
        np.testing.assert_array_equal(batch["image"], whole.images[data.batch_indices(words, step, 5, 17)])


def test_what_cannot_be_cut_is_said_in_one_line(tmp_path, capsys):
    with pytest.raises(UsageError, match=r"^--fit must be given together with --image-size, the size of the tiles"):
        DataOptions("folder:x", fit="tiles")
    name = save(tmp_path / "a")
    with pytest.raises(
        UsageError, match=r"^none of the 6 pictures of folder:a is as large as a tile of 64×64 pixels; "
    ):
        load(DataOptions(name, image_size=64, fit="tiles"))
    with pytest.raises(UsageError, match=r"the largest has 9×14: take a smaller --load-size$"):
        load(DataOptions(name, image_size=2, load_size=64, fit="tiles"))
    np.savez(tmp_path / "a.npz", images=PICTURES[:1])
    for other in ("digits", "ring", f"npz:{tmp_path}/a.npz", f"a={name},b=digits"):
        with pytest.raises(UsageError, match=r"^--fit tiles cuts up pictures of files, such as folder:PATH, and"):
            load(DataOptions(other, image_size=4, fit="tiles"))
    for side in ("A", "B"):
        save(tmp_path / "pairs" / side)
    with pytest.raises(UsageError, match=r"^--fit tiles doesn't cut up pairs, as pairs:pairs has: --fit crop, for"):
        load(DataOptions(f"pairs:{tmp_path}/pairs", image_size=4, fit="tiles"))
    (tmp_path / "a" / "7.png").write_text("no picture")
    with pytest.raises(UsageError, match=r"7\.png is no picture.*; --skip-bad-images leaves such images out$"):
        load(DataOptions(name, image_size=4, fit="tiles"))
    capsys.readouterr()
    assert len(load(DataOptions(name, image_size=4, fit="tiles", skip_bad_images=True))) == 17
    said = capsys.readouterr().out.splitlines()
    assert "left out 1 of 7 images" in said[0] and "left out 2 pictures that are smaller" in said[1] and len(said) == 2


def test_two_folders_and_what_scripts_data_shows(tmp_path, capsys):
    save(tmp_path / "a", (0, 1))
    save(tmp_path / "b", (4,))
    both = load(DataOptions(f"x=folder:{tmp_path}/a,y=folder:{tmp_path}/b", image_size=4, fit="tiles"))
    assert both["x"].images.shape == (12, 4, 4, 3) and both["y"].images.shape == (4, 4, 4, 3)
    script.run(script.Options(f"folder:{tmp_path}/a", image_size=4, fit="tiles", out=tmp_path / "a.png"))
    assert "12, 4×4×3" in capsys.readouterr().out and (tmp_path / "a.png").exists()
