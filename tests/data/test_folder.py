"""Folders and zip archives of real pictures: of every kind, damaged, malicious, and oddly named."""

import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from archives import archive
from PIL import Image

from jaxgan import data
from jaxgan.data.errors import BadImage
from jaxgan.data.sources.source import decode

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
GREY = COLOUR[..., :1]


def save(path, image=COLOUR, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image.squeeze())
    picture.save(path, **how)
    return path


def folder(path):
    return data.open_source(f"folder:{path}")


def png_claiming(width, height):
    """Returns a valid PNG file but for its pixels: the header claims a size, and a few bytes follow."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def rgba():
    picture = Image.new("RGBA", (2, 1))
    picture.putpixel((0, 0), (10, 20, 30, 255))
    picture.putpixel((1, 0), (10, 20, 30, 0))
    return picture


def palette(**how):
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putdata([0, 1])
    return picture


SEE_THROUGH = [[[10, 20, 30], [255, 255, 255]]]
KINDS = {
    "grey": (Image.fromarray(GREY.squeeze()), {}, GREY),
    "colour": (Image.fromarray(COLOUR), {}, COLOUR),
    "alpha on white": (rgba(), {}, SEE_THROUGH),
    "palette": (palette(), {}, [[[10, 20, 30], [40, 50, 60]]]),
    "transparent palette": (palette(), {"transparency": 1}, SEE_THROUGH),
    "grey with alpha": (rgba().convert("LA"), {}, [[[18, 18, 18], [255, 255, 255]]]),  # .299·10 + .587·20 + .114·30
    "black and white": (Image.fromarray(np.array([[True, False]])), {}, [[[255], [0]]]),
    "16 bits": (
        Image.fromarray(np.array([[0, 255, 256, 40000, 65535]], np.uint16)),
        {},
        [[[0], [0], [1], [156], [255]]],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_png(kind, tmp_path):
    picture, how, expected = KINDS[kind]
    found = decode(save(tmp_path / "a.png", picture, **how), "a")
    assert found.dtype == np.uint8 and found.ndim == 3
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(decode((tmp_path / "a.png").read_bytes(), "a"), expected)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "tiff", "webp", "ppm", "jpg", "jpeg"])
def test_files_of_every_suffix_are_found_and_read(suffix, tmp_path):
    flat = np.full((6, 8, 3), 77, np.uint8)
    save(tmp_path / f"a.{suffix}", flat, **({"lossless": True} if suffix == "webp" else {}))
    save(tmp_path / f"B.{suffix.upper()}", flat, **({"lossless": True} if suffix == "webp" else {}))
    assert len(folder(tmp_path)) == 2
    np.testing.assert_array_equal(folder(tmp_path)[0], flat)


def test_four_inks_a_turned_camera_and_several_pictures_in_one(tmp_path):
    inks = decode(save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0))), "a")
    np.testing.assert_allclose(inks, np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=3)
    exif = Image.Exif()
    exif[0x0112] = 6  # EXIF 2.3: the 0th row is the visual right-hand side, the 0th column the visual top
    turned = decode(save(tmp_path / "b.png", COLOUR, exif=exif), "b")
    np.testing.assert_array_equal(turned, COLOUR[::-1].swapaxes(0, 1))
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    first = decode(save(tmp_path / "c.gif", frames[0], save_all=True, append_images=frames[1:]), "c")
    np.testing.assert_array_equal(first, np.broadcast_to([255, 0, 0], (4, 4, 3)))


def write(path, content):
    path.write_bytes(content)
    return path


def half(path, share=0.5):
    return write(path, path.read_bytes()[: int(share * path.stat().st_size)])


BIG = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
BAD = {
    "a text": (lambda at: write(at / "x.png", b"hello\n"), "is no picture, or of a kind that isn't known"),
    "nothing": (lambda at: write(at / "x.png", b""), "is no picture"),
    "half a png": (lambda at: half(save(at / "x.png", BIG)), "can't be read"),
    "half a jpeg": (lambda at: half(save(at / "x.jpg", BIG)), "can't be read"),
    "half a gif": (lambda at: half(save(at / "x.gif", BIG)), "can't be read"),
    "half a webp": (lambda at: half(save(at / "x.webp", BIG)), "can't be read"),
    "half a bmp": (lambda at: half(save(at / "x.bmp", BIG)), "can't be read"),
    "a start of a png": (lambda at: half(save(at / "x.png", BIG), 0.002), "can't be read|is no picture"),
    "a large claim": (
        lambda at: write(at / "x.png", png_claiming(50_000, 50_000)),
        r"can't be read \(Image size \(2500000000 pixels\) exceeds limit",
    ),
    "a claim": (
        lambda at: write(at / "x.png", png_claiming(12_000, 12_000)),
        "12000×12000 pixels; at most 100,000,000",
    ),
    "too few pixels": (lambda at: write(at / "x.png", png_claiming(50, 50)), "can't be read"),
    "floats": (lambda at: save(at / "x.tif", Image.fromarray(np.ones((2, 2), np.float32))), "mode F, whose range"),
    "integers": (lambda at: save(at / "x.tif", Image.fromarray(np.ones((2, 2), np.int32))), "mode I, whose range"),
    "PostScript": (lambda at: write(at / "x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "no picture"),
}


@pytest.mark.filterwarnings("ignore:Image size .* exceeds limit")  # as jaxgan.data itself does for its users
@pytest.mark.parametrize("what", BAD)
def test_bad_pictures_are_named(what, tmp_path):
    make, message = BAD[what]
    path = make(tmp_path)
    with pytest.raises(BadImage, match=message) as error:
        folder(tmp_path)[0]
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value) and "0x" not in str(error.value)


def test_subfolders_are_classes_in_the_order_of_their_names(tmp_path):
    for name in ("dog/2.png", "dog/deep/er/1.png", "cat/ä b.png", "10/x.png", "9/x.jpg", "10/.hidden.png"):
        save(tmp_path / name)
    for name in ("__MACOSX/dog/1.png", ".git/x.png"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    found = folder(tmp_path)
    assert found.class_names == ("10", "9", "cat", "dog") and found.labels.tolist() == [0, 1, 2, 3, 3]
    assert [found.title(i) for i in range(5)] == [
        str(tmp_path / name) for name in ("10/x.png", "9/x.jpg", "cat/ä b.png", "dog/2.png", "dog/deep/er/1.png")
    ]
    assert found.labels.dtype == np.int32 and found.name == f"folder:{tmp_path.name}"


def test_a_flat_folder_has_no_classes(tmp_path, monkeypatch):
    for name in ("b.png", "a.png"):
        save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    found = data.open_source("folder:.")
    assert found.class_names == () and found.labels.tolist() == [0, 0] and found.title(0) == str(tmp_path / "a.png")
    assert found.name == f"folder:{tmp_path.name}"
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(found[0], COLOUR)  # wherever the program, or a worker, is by then


def test_links_are_followed_but_not_in_circles(tmp_path):
    save(tmp_path / "elsewhere" / "x.png")
    save(tmp_path / "set" / "cat" / "y.png")
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "cat" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "cat" / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "set" / "cat" / "self.png").symlink_to(tmp_path / "set" / "cat" / "self.png")
    found = folder(tmp_path / "set")
    assert found.class_names == ("cat", "dog") and found.labels.tolist() == [0, 1]


def test_names_that_are_no_text_can_be_printed(tmp_path):
    try:
        save(tmp_path / os.fsdecode(b"caf\xe9") / "x.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    found = folder(tmp_path)
    np.testing.assert_array_equal(found[0], COLOUR)
    assert found.class_names == ("caf\\xe9",) and found.title(0).endswith("caf\\xe9/x.png")


@pytest.mark.parametrize(
    "names, message",
    [
        ([], r"holds no pictures \(0 other files\); known are \.png, \.jpg"),
        (["a.txt", "b/c.npy"], r"holds no pictures \(2 other files\)"),
        (["a.png", "cat/b.png", "cat/c.png"], r"has 1 pictures beside subfolders with 2 others \(a\.png\); subfolders"),
    ],
)
def test_empty_and_mixed_folders_are_refused(names, message, tmp_path):
    (tmp_path / "set").mkdir()
    for name in names:
        (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"")
    with pytest.raises(data.DataError, match=message):
        folder(tmp_path / "set")


def test_what_is_no_folder_is_refused(tmp_path):
    for path in (tmp_path / "nowhere", "~nobody_of_that_name/x", "\0"):
        with pytest.raises(data.DataError, match="is not there; give the path of a folder of pictures"):
            folder(path)
    with pytest.raises(data.DataError, match="is neither a folder nor a zip archive that can be read"):
        folder(write(tmp_path / "a.zip", b"PK\x03\x04"))


def content(tmp_path, image=COLOUR):
    return save(tmp_path / "content" / "x.png", image).read_bytes()


def test_a_zip_archive_is_read_as_the_folder_in_it(tmp_path):
    x, y = content(tmp_path), content(tmp_path, GREY)
    members = {"set/dog/x.png": x, "set/cat/ä b.png": y, "__MACOSX/set/._x.png": b"", "set/cat/": b"", "set/a.txt": b""}
    found = folder(archive(tmp_path / "set.zip", members))
    assert found.class_names == ("cat", "dog") and found.title(1) == f"{tmp_path}/set.zip/set/dog/x.png"
    np.testing.assert_array_equal(found[0], GREY)
    np.testing.assert_array_equal(found[1], COLOUR)
    assert folder(archive(tmp_path / "two.zip", {"dog/x.png": x, "cat/x.png": x})).class_names == ("cat", "dog")
    assert folder(archive(tmp_path / "flat.zip", {"x.png": x})).class_names == ()
    assert folder(archive(tmp_path / "top.zip", {"set/x.png": x})).class_names == ()


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "..\\x.png", "\\x.png", "../notes.txt"])
def test_an_archive_that_leaves_its_folder_is_refused(name, tmp_path):
    path = archive(tmp_path / "set.zip", {"a.png": content(tmp_path), name: b""})
    with pytest.raises(
        data.DataError, match=r"set\.zip has a member that leaves its folder, .*; don't use this archive"
    ):
        folder(path)


def test_a_bomb_in_an_archive_is_refused_by_its_size(tmp_path):
    members = {"a.png": content(tmp_path), "b.png": bytes(70 * 2**20)}
    with pytest.raises(
        data.DataError, match=r"unpacks from 7\d,\d{3} to 73,400,320 bytes, 'b\.png'; at most 67,108,864"
    ):
        folder(archive(tmp_path / "set.zip", members))
    assert len(folder(archive(tmp_path / "set.zip", {"a.png": members["a.png"], "log.txt": members["b.png"]}))) == 1


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damaged_members_are_named(method, tmp_path):
    path = archive(tmp_path / "set.zip", {"a.png": content(tmp_path), "b.png": content(tmp_path, BIG)}, method)
    whole = bytearray(path.read_bytes())
    for place in range(len(whole) // 3, len(whole) // 3 + 40):
        whole[place] ^= 255
    write(path, whole)
    found = folder(path)
    np.testing.assert_array_equal(found[0], COLOUR)
    with pytest.raises(BadImage, match=r"set\.zip/b\.png can't be read \("):
        found[1]


def test_encrypted_and_cut_archives(tmp_path):
    path = archive(tmp_path / "set.zip", {"a.png": content(tmp_path, BIG)})
    whole = bytearray(path.read_bytes())
    whole[6] |= 1  # the flag "encrypted" of the member, and that of its entry in the directory
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    found = folder(write(path, whole))
    with pytest.raises(BadImage, match=r"set\.zip/a\.png can't be read \(.*password required"):
        found[0]
    with pytest.raises(data.DataError, match="is neither a folder nor a zip archive that can be read"):
        folder(half(path))
