"""The cache of data read from files: it is used when nothing changed, and never when something did."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image
from tfds_records import png, write_prepared, write_records

from jaxgan import data
from jaxgan.data import cache, transform
from jaxgan.data.cache import cache_folder, fingerprint, make_room
from jaxgan.data.sources import tfds
from jaxgan.data.sources.folder import folder
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.data import DataOptions
from jaxgan.training.recipe.loading import load

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "SETTLED", -10.0)  # files of this very moment count as settled


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "pictures", IMAGES)


def write_pictures(root, images):
    for i, image in enumerate(images):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (root / "ab"[i % 2] / f"{i}.bmp").write_bytes(bmp(image))
    return root


def bmp(image):
    Image.fromarray(image).save(out := io.BytesIO(), "BMP")
    return out.getvalue()


def entries():
    return sorted(path for path in cache_folder().rglob("*") if path.is_file())


def later(path):
    """Waits until a file that is written now gets another time than this file has."""
    scratch = path.with_name("scratch")
    while not scratch.exists() or scratch.stat().st_ctime_ns <= path.stat().st_ctime_ns:
        scratch.write_text("")
    scratch.unlink()


def options(root, **changes):
    return DataOptions(dataset=f"folder:{root}", **changes)


def forbid(monkeypatch, owner, name):
    def called(*arguments, **others):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(owner, name, called)


def same(one, other):
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert (one.name, one.class_names) == (other.name, other.class_names)
    assert one.labels.dtype == other.labels.dtype and one.images.dtype == np.uint8


def test_a_folder_is_decoded_once(pictures, monkeypatch):
    first = load(options(pictures))
    assert {path.parent.stat().st_mode & 0o777 for path in entries()} == {0o700}
    forbid(monkeypatch, sys.modules[folder.__module__], "decode")
    same(load(options(pictures)), first)
    np.testing.assert_array_equal(first.images, IMAGES[[0, 2, 4, 1, 3, 5]])
    with pytest.raises(AssertionError, match="decode was called"):
        load(options(pictures, image_size=4))
    monkeypatch.setattr(PIL, "__version__", "0")
    with pytest.raises(AssertionError, match="decode was called"):
        load(options(pictures))


@pytest.mark.parametrize(
    "changes",
    [{"image_size": 5}, {"channels": 1}, {"equalize": True}, {"classes": "a"}, {"images": "3"}, {"classes": "b,a"},
     {"filter": "box"}, {"fit": "stretch"}],
    ids=str,
)  # fmt: skip
def test_other_options_are_other_entries(changes, tmp_path, monkeypatch):
    root = write_pictures(tmp_path / "pictures", IMAGES[:, :, :7])
    changed = options(root, **{"image_size": 4, **changes})
    before, found = load(options(root, image_size=4)), load(changed)
    assert not np.array_equal(before.images, found.images) or "classes" in changes
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "another"))
    same(found, load(changed))


@pytest.mark.parametrize("what", ["content", "name", "gone", "new"])
def test_a_folder_that_changed_is_read_again(what, pictures):
    load(options(pictures))
    path = pictures / "a" / "0.bmp"
    later(path)
    before = path.stat()
    if what == "content":  # as long as before, and with its old date
        path.write_bytes(bmp(IMAGES[5]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        expected = [5, 2, 4, 1, 3, 5]
    elif what == "name":
        path.rename(pictures / "a" / "7.bmp")
        expected = [2, 4, 0, 1, 3, 5]
    elif what == "gone":
        path.unlink()
        expected = [2, 4, 1, 3, 5]
    else:
        (pictures / "b" / "0.bmp").write_bytes(bmp(IMAGES[2]))
        expected = [0, 2, 4, 2, 1, 3, 5]
    np.testing.assert_array_equal(load(options(pictures)).images, IMAGES[expected])


def test_a_folder_that_took_anothers_place_is_read_again(pictures, tmp_path):
    """It is even where the disk's clock can't tell them apart."""
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    (other / "a" / "0.bmp").write_bytes(bmp(IMAGES[5]))
    for path in (pictures, other):
        for file in path.rglob("*.bmp"):
            os.utime(file, (1e9, 1e9))
    files = sorted(pictures.rglob("*.bmp"))
    before = fingerprint(files)
    load(options(pictures))
    pictures.rename(tmp_path / "old")
    other.rename(pictures)
    assert load(options(pictures)).images[0].tolist() == IMAGES[5].tolist()
    stats = [file.stat() for file in files]
    assert fingerprint(files) != before and len({each.st_ino for each in stats}) == 6


def sevens():
    """Fills an array of the expected shape, in an entry of its own."""
    return cache.cached(
        "sevens", ("sevens",), {"x": (np.uint8, (3, None))}, lambda: {"x": np.full((3, 5), 7, np.uint8)}
    )


def planted(x, made_of=("sevens",), kind="sevens"):
    """Stores `x` as the entry of `made_of`, and returns its file."""
    before = set(entries())
    cache.cached(kind, made_of, {"x": (x.dtype.type, x.shape)}, lambda: {"x": x})
    return (set(entries()) - before).pop()


@pytest.mark.parametrize("shape", [(4, 5), (3,), (3, 5, 1)])
def test_an_entry_of_another_shape_is_not_taken(shape):
    planted(np.zeros(shape, np.uint8))
    np.testing.assert_array_equal(sevens()["x"], np.full((3, 5), 7))


@pytest.mark.parametrize("kind", [np.int8, np.float32, np.uint16, np.str_])
def test_an_entry_of_another_type_is_not_taken(kind):
    planted(np.zeros((3, 5), kind))
    found = sevens()["x"]
    assert found.dtype == np.uint8 and (found == 7).all()


@pytest.mark.parametrize("other", [{"made_of": ("eights",)}, {"kind": "eights"}], ids=str)
def test_an_entry_of_something_else_is_not_taken(other):
    """It is of the same type and shape, whole, and lies under the right name."""
    sevens()
    (entry,) = entries()
    entry.write_bytes(planted(np.full((3, 5), 8, np.uint8), **other).read_bytes())
    assert (sevens()["x"] == 7).all()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_entry_of_another_user_is_replaced():
    sevens()
    (entry,) = entries()
    os.chown(entry, 65534, 65534)
    assert (sevens()["x"] == 7).all() and entry.stat().st_uid == 0


@pytest.mark.parametrize(
    "make",
    [lambda path, entry: path.symlink_to(entry), lambda path, entry: os.mkfifo(path), lambda path, entry: path.mkdir()],
    ids=["link", "pipe", "folder"],
)
def test_what_is_no_file_in_an_entrys_place_is_not_followed_nor_waited_for(tmp_path, make):
    sevens()
    (entry,) = entries()
    whole = entry.read_bytes()
    entry.rename(tmp_path / "elsewhere")
    make(entry, tmp_path / "elsewhere")
    assert (sevens()["x"] == 7).all()
    (tmp_path / "elsewhere").write_text("precious")
    assert (sevens()["x"] == 7).all()
    assert (tmp_path / "elsewhere").read_text() == "precious"
    assert entry.is_dir() or (not entry.is_symlink() and entry.read_bytes() == whole), (
        "it is replaced where that can be"
    )


def test_an_entry_that_says_it_is_huge_takes_no_memory():
    sevens()
    (entry,) = entries()
    head, _, content = entry.read_bytes().partition(b"\n")
    said = json.loads(head)
    said["arrays"]["x"][1] = [3, 1 << 60]
    entry.write_bytes(json.dumps(said).encode() + b"\n" + content)
    assert (sevens()["x"] == 7).all()


@pytest.mark.parametrize("which", ["the kind's", "the cache's", "a link"])
def test_a_folder_that_others_can_write_to_is_not_used(which):
    sevens()
    (entry,) = entries()
    whole, folder = entry.read_bytes(), entry.parent
    if which == "a link":
        folder.rename(folder.with_name("elsewhere"))
        folder.symlink_to(folder.with_name("elsewhere"))
    else:
        (folder if which == "the kind's" else folder.parent).chmod(0o707)
    entry.write_bytes(whole[:-1])
    with pytest.warns(UserWarning, match="is not used as a cache: it is a link, or others own it"):
        assert (sevens()["x"] == 7).all()
    assert (sevens()["x"] == 7).all(), "the same is said once: a warning is an error here"
    assert entry.read_bytes() == whole[:-1], "nothing is written there"


def test_the_cache_folder_may_be_a_link_to_another_disk(tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "link"))
    sevens()
    assert list((tmp_path / "disk" / "sevens").iterdir())


def test_folders_are_made_for_their_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "a" / "b"))
    sevens()
    made = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "sevens"]
    assert {path.stat().st_mode & 0o777 for path in made} == {0o700}


def test_nothing_but_our_own_old_files_is_removed():
    """Entries of earlier versions go, and what killed writers left when it is old; a link's target never does."""
    sevens()
    (entry,) = entries()
    folder, name = entry.parent, "0" * 32
    old = [f"{name}.npz", f"{name}.1234.unfinished", f"{name}.arrays.{'0' * 16}.tmp"]
    stay = [f"{name}.arrays.{'1' * 16}.tmp", "holiday.tmp", "holiday.npz", f"{'2' * 32}.arrays", f"{'3' * 32}.arrays"]
    for each in (*old, *stay[:3]):
        (folder / each).write_text("")
    for each in (*old, "holiday.tmp", "holiday.npz"):
        os.utime(folder / each, (1e9, 1e9))
    (folder / stay[3]).symlink_to(folder / "gone")
    (folder / stay[4]).mkdir()
    entry.unlink()
    sevens()
    assert {path.name for path in folder.iterdir()} == {entry.name, *stay}
    make_room(folder, 0, cache.OURS)
    assert {path.name for path in folder.iterdir()} == {*stay}


def test_streams_and_single_images_are_not_cached(pictures):
    source = folder(pictures)
    data.in_memory(source, np.arange(3), data.ImageTransform(8, 3))
    assert not entries()


def test_a_picture_that_became_bad_is_told(pictures):
    load(options(pictures))
    (pictures / "a" / "2.bmp").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"2\.bmp is no picture"):
        load(options(pictures))
    for _ in range(2):
        assert len(load(options(pictures, skip_bad_images=True)).images) == 5


def test_what_cannot_be_read_is_not_kept(pictures):
    (pictures / "a" / "0.bmp").write_bytes(b"no picture")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"0\.bmp is no picture"):
            load(options(pictures))
    assert not entries()


def test_a_file_that_changed_just_now_is_not_trusted(pictures, monkeypatch):
    files = list(pictures.rglob("*.bmp"))
    assert fingerprint(files) == fingerprint(files[::-1]) != fingerprint(files[1:])
    monkeypatch.setattr(cache, "SETTLED", 3600.0)
    assert fingerprint(files) is None and fingerprint([]) is None
    load(options(pictures))
    assert not entries()
    now = time.time() + 3601
    monkeypatch.setattr(time, "time", lambda: now)
    assert fingerprint(files)


def test_prepared_sets_are_opened_once(tmp_path, monkeypatch):
    test = {"test": (IMAGES[:2], [1, 1])}
    where = write_prepared(tmp_path / "sets", IMAGES, [0, 1, 0, 1, 1, 1], ["cat", "dog"], more=test)
    choice = DataOptions(dataset="mine", data_dir=str(tmp_path / "sets"))
    first = load(choice)
    with monkeypatch.context() as patch:
        patch.setattr(transform, "VERSION", 0)  # as if the images alone were not kept: TFDS is asked for them
        same(load(choice), first)
    with monkeypatch.context() as patch:
        forbid(patch, tfds, "_builder")
        same(load(choice), first)
    held_out = data.open_source("mine", choice.data_dir, split="test")
    np.testing.assert_array_equal(load(choice, held_out).images, IMAGES[:2])
    assert held_out.labels.tolist() == [1, 1] and held_out.class_names == ("cat", "dog")
    assert (where / "dataset_info.json").write_text("{")
    with pytest.raises(UsageError, match="remove it and prepare 'mine' again"):
        load(choice)


def test_prepared_sets_without_labels_and_of_any_colours(tmp_path):
    write_prepared(tmp_path / "a", IMAGES, tensor="uint8")
    write_prepared(tmp_path / "b", [png(IMAGES[0]), png(IMAGES[1, ..., :1])])
    for name in "ab":
        found = [data.open_source("mine", str(tmp_path / name)) for _ in range(2)]
        assert [source.channels for source in found] == [3, 3]
        assert [source.class_names for source in found] == [()] * 2
        np.testing.assert_array_equal(found[0].labels, found[1].labels)
        np.testing.assert_array_equal(found[0][1], found[1][1])


def test_no_flipped_bit_of_an_entry_is_taken_for_images(pictures):
    """Bits are flipped in its head and its end, where lengths and checksums are, and in a byte between."""
    first = load(options(pictures))
    (path,) = (path for path in entries() if path.parent.name == "images")
    whole = path.read_bytes()
    for place in (*range(260), len(whole) // 2, *range(len(whole) - 140, len(whole))):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        same(load(options(pictures)), first)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_damaged_entries_are_made_again(damage, pictures):
    first = load(options(pictures))
    whole = {path: path.read_bytes() for path in entries()}
    assert {path.parent.name for path in whole} == {"images", "shapes"}
    for path, content in whole.items():
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        path.write_bytes({"cut": content[:-30], "empty": b"", "flipped": bytes(flipped)}[damage])
    same(load(options(pictures)), first)
    assert {path: path.read_bytes() for path in entries()} == whole


def test_only_so_much_is_kept_and_what_is_used_stays(pictures, monkeypatch):
    load(options(pictures))
    used = entries()
    for path in used:
        os.utime(path, (1e9, 1e9))
    load(options(pictures))
    assert all(path.stat().st_mtime > 1e9 for path in used)
    for age, path in enumerate(used):
        os.utime(path, (1e9 - age, 1e9 - age))
    (images,) = (path for path in used if path.parent.name == "images")
    monkeypatch.setattr(cache, "SIZE", IMAGES.nbytes + 100)  # bytes of arrays: with the file's head it is one entry
    load(options(pictures, equalize=True))
    assert images not in entries() and len([path for path in entries() if path.parent.name == "images"]) == 1
    monkeypatch.setattr(cache, "SIZE", IMAGES.nbytes - 1)
    before = entries()
    load(options(pictures))
    assert entries() == before, "what is larger than all of it isn't kept"
    (images.parent / "holiday.png").write_bytes(b"a user's own")
    (images.parent / "folder").mkdir()
    make_room(images.parent, 0, cache.OURS)
    assert [path.name for path in entries() if path.parent.name == "images"] == ["holiday.png"]


def test_a_cache_that_cannot_be_written_costs_only_time(pictures, tmp_path, monkeypatch):
    first = load(options(pictures))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "file"))
    same(load(options(pictures)), first)


def test_an_archive_that_is_replaced_is_read_anew(pictures, tmp_path, monkeypatch):
    archive = shutil.make_archive(str(tmp_path / "pictures"), "zip", pictures)
    first, opened = load(options(archive)), folder(Path(archive))
    with monkeypatch.context() as patch:
        forbid(patch, sys.modules[folder.__module__], "decode")
        same(load(options(archive)), first)
    (pictures / "a" / "0.bmp").write_bytes(bmp(IMAGES[5]))
    later(Path(archive))
    shutil.make_archive(str(tmp_path / "pictures"), "zip", pictures)
    np.testing.assert_array_equal(load(options(archive)).images, IMAGES[[5, 2, 4, 1, 3, 5]])
    assert opened.fingerprint() is None, "it was opened before"
    Path(archive).unlink()
    assert opened.fingerprint() is None


def test_what_was_opened_before_a_change_is_not_kept_as_what_came_after(tmp_path):
    where = write_prepared(tmp_path / "sets", IMAGES)
    opened = data.open_source("mine", str(tmp_path / "sets"))
    (records,) = where.glob("*array_record*")
    choice = DataOptions(dataset="mine", data_dir=str(tmp_path / "sets"))
    from_the_cache = data.open_source("mine", choice.data_dir)
    later(records)
    records.unlink()
    write_records(records, IMAGES[::-1], None, None)
    with pytest.raises(UsageError, match=r"mine/1\.0\.0 has changed since it was opened; start again"):
        load(DataOptions(), from_the_cache)
    np.testing.assert_array_equal(load(DataOptions(), opened).images, IMAGES)
    np.testing.assert_array_equal(load(choice).images, IMAGES[::-1])


@pytest.mark.slow
def test_a_second_run_asks_neither_tfds_nor_pillow(tmp_path):
    """Each is a process of its own, as two runs are; TFDS is not even imported."""
    write_prepared(tmp_path / "sets", IMAGES)
    code = (
        "import sys; from jaxgan.data import cache; cache.SETTLED = -10.0\n"
        "from jaxgan.training.options.data import DataOptions; from jaxgan.training.recipe.loading import load\n"
        f"images = load(DataOptions(dataset='mine', data_dir={str(tmp_path / 'sets')!r})).images\n"
        "print(images.sum(), 'tensorflow_datasets' in sys.modules)"
    )
    printed = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout for _ in "12"
    ]
    assert printed == [f"{IMAGES.sum()} True\n", f"{IMAGES.sum()} False\n"]


def test_a_cache_folder_whose_name_is_no_utf8_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_CACHE", f"{tmp_path}/\udcff")
    with pytest.warns(UserWarning, match="is not used as a cache: its name is no UTF-8"):
        assert cache.private_folder("programs") is None
