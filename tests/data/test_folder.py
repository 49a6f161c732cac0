"""Folders and zip archives of real pictures: of every kind, damaged, malicious, and oddly named."""

import io
import os
import stat
import struct
import subprocess
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from archives import archive
from PIL import Image, ImageOps

from jaxgan import data
from jaxgan.data.errors import BadImage
from jaxgan.data.sources import folder as sources_folder
from jaxgan.data.sources.source import decode
from jaxgan.training.options.data import DataOptions
from jaxgan.training.recipe.loading import load

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
GREY = COLOUR[..., :1]


def save(path, image=COLOUR, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image.squeeze())
    picture.save(path, **how)
    return path


def folder(path):
    return data.open_source(f"folder:{path}")


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, bits, row, *, colour=0, before=b"", after=b""):
    """Returns a PNG of one row, written by hand; colour: 0 grey, 2 RGB, 3 a palette, 4 and 6 with alpha."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + head + before + pixels + after + chunk(b"IEND", b"")


def tiff(width, bits, data, *, white_is_zero=False, signed=False, tags=()):
    """Returns a grey TIFF of one row, little-endian and not compressed, written by hand."""
    entries = [(256, width), (257, 1), (258, bits), (259, 1), (262, 0 if white_is_zero else 1), (273, 8), (277, 1)]
    entries = sorted([*entries, (278, 1), (279, len(data)), (339, 2 if signed else 1), *tags])
    body = data + bytes(len(data) % 2)
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(entries)) + listed + bytes(4)


def transparent(*numbers):
    return chunk(b"tRNS", struct.pack(f">{len(numbers)}H", *numbers))


def text(kind, size=3_000_000):
    head = {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}[kind]
    return chunk(kind, head + zlib.compress(bytes(size)))


def of16(*numbers):
    return struct.pack(f">{len(numbers)}H", *numbers)


# Worked out by hand from the formats' specifications; rows of pixels, white where they are transparent.
BY_HAND = {
    "1 bit": (png(8, 1, bytes([0b01010101]), before=transparent(0)), [255] * 8),
    "1 bit, white": (png(8, 1, bytes([0b01010101]), before=transparent(1)), [0, 255] * 4),
    "2 bits": (png(4, 2, bytes([0b00011011]), before=transparent(1)), [0, 255, 170, 255]),
    "4 bits": (png(2, 4, bytes([0x0A]), before=transparent(0)), [255, 170]),
    "8 bits": (png(3, 8, bytes([0, 100, 255]), before=transparent(100)), [0, 255, 255]),
    "8 bits, upper ones set": (png(3, 8, bytes([0, 100, 200]), before=transparent(512 + 100)), [0, 255, 200]),
    "16 bits": (png(3, 16, of16(0, 40000, 65535), before=transparent(0)), [255, 156, 255]),
    "16 bits, all of them": (png(3, 16, of16(40000, 40001, 7), before=transparent(40001)), [156, 255, 0]),
    "colour": (png(2, 8, bytes([1, 2, 3, 1, 2, 4]), colour=2, before=transparent(1, 2, 3)), [[255] * 3, [1, 2, 4]]),
    "colour of 16 bits": (
        png(2, 16, of16(260, 520, 780, 260, 520, 781), colour=2, before=transparent(260, 520, 780)),
        [[255] * 3, [1, 2, 3]],
    ),
    "grey with 16 bits of alpha": (png(2, 16, of16(40000, 65535, 9, 0), colour=4), [[156] * 3, [255] * 3]),
    "half a palette": (  # 10·128/255 + 255·127/255 = 132.02
        png(1, 8, b"\0", colour=3, before=chunk(b"PLTE", bytes([10, 20, 30])) + chunk(b"tRNS", bytes([128]))),
        [[132, 137, 142]],
    ),
    "large text": (png(2, 8, bytes([1, 2]), before=text(b"zTXt")), [1, 2]),
    "large text behind": (png(2, 8, bytes([1, 2]), after=text(b"iTXt")), [1, 2]),
    "large profile": (png(2, 8, bytes([1, 2]), before=text(b"iCCP") + transparent(2)), [1, 255]),
    "damaged text": (png(2, 8, bytes([1, 2]), before=chunk(b"tEXt", b"a\0b")[:-4] + b"none"), [1, 2]),
    "TIFF of 12 bits": (tiff(4, 12, bytes([0xFF, 0xF0, 0x0F, 0x80, 0x00, 0x10])), [255, 0, 128, 1]),
    "TIFF of 16 bits": (tiff(3, 16, struct.pack("<3H", 0, 40000, 65535)), [0, 156, 255]),
    "TIFF of 16 bits, white is 0": (tiff(3, 16, struct.pack("<3H", 0, 40000, 65535), white_is_zero=True), [255, 99, 0]),
    "TIFF that says its range": (
        tiff(3, 32, struct.pack("<3i", 100, 150, 300), signed=True, tags=[(340, 100), (341, 300)]),
        [0, 64, 255],
    ),
    "PGM up to 65535": (b"P5\n3 1\n65535\n" + of16(0, 40000, 65535), [0, 156, 255]),
    "PGM up to 1023": (b"P5\n4 1\n1023\n" + of16(0, 100, 512, 1023), [0, 25, 128, 255]),
    "PGM up to 4095": (b"P5 # of a camera\n3 1\n4095\n" + of16(0, 1000, 4095), [0, 62, 255]),
    "PGM in figures": (b"P2\n3 1\n1023\n0 512 1023\n", [0, 128, 255]),
    "PPM up to 1023": (b"P6\n1 1\n1023\n" + of16(0, 512, 1023), [[0, 128, 255]]),
    "PAM": (b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 1\nMAXVAL 1023\nENDHDR\n" + of16(512, 1023), [128, 255]),
    "PAM with alpha": (
        b"P7\n# mine\nWIDTH 2\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
        + bytes([1, 2, 3, 255, 1, 2, 3, 0]),
        [[1, 2, 3], [255] * 3],
    ),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_files_written_by_hand(kind, tmp_path):
    content, expected = BY_HAND[kind]
    expected = np.array(expected).reshape(1, len(expected), -1)
    found = decode(content, "a")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(decode(write(tmp_path / "a", content), "a"), expected)


def png_claiming(width, height):
    """Returns a valid PNG file but for its pixels: the header claims a size, and a few bytes follow."""
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


def test_grey_gifs_with_a_transparent_shade_and_damaged_exif(tmp_path):
    shades = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = decode(save(tmp_path / "a.gif", shades, transparency=7), "a")
    np.testing.assert_array_equal(found[..., 0], np.where(shades == 7, 255, shades))
    whole = decode(save(tmp_path / "b.jpg", COLOUR), "b")
    np.testing.assert_array_equal(decode(save(tmp_path / "c.jpg", COLOUR, exif=b"Exif\0\0garbage"), "c"), whole)


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation(turn, tmp_path):
    """As Pillow's own function turns it."""
    exif = Image.Exif()
    exif[0x0112] = turn
    path = save(tmp_path / "a.png", COLOUR, exif=exif)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(decode(path, "a"), np.asarray(ImageOps.exif_transpose(picture)))


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


@pytest.mark.parametrize(
    "suffix",
    ["png", "bmp", "gif", "tif", "tiff", "webp", "ppm", "jpg", "jpeg", "jfif", "jpe", "pnm", "dib", "avif", "jp2"],
)
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
    "a large claim with a text": (
        lambda at: write(
            at / "x.png", png_claiming(12_000, 12_000)[:33] + text(b"zTXt") + png_claiming(12_000, 12_000)[33:]
        ),
        "12000×12000 pixels; at most 100,000,000",
    ),
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


def test_what_systems_put_there_is_no_class_and_no_picture(tmp_path):
    for name in ("cat/1.png", "Cat/2.png", "@eaDir/cat/SYNO.jpg", "cat/@eaDir/1.png/SYNO.jpg", ".thumbnails/a.png"):
        save(tmp_path / name)
    for name in (".@__thumb", "#recycle", "$RECYCLE.BIN", ".ipynb_checkpoints", "lost+found", "__MACOSX"):
        save(tmp_path / name / "a.png")
    for name in ("cat/Thumbs.db", "desktop.ini", ".DS_Store", "Cat/._2.png"):
        (tmp_path / name).write_bytes(b"")
    found = folder(tmp_path)
    assert found.class_names == ("Cat", "cat") and found.files == ("Cat/2.png", "cat/1.png") and not found.left_out


def test_what_is_left_out_is_counted(tmp_path, capsys):
    for name in ("cat/1.png", "dog/1.heic", "dog/2.HEIC", "cat/3", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(stored_png())
    (tmp_path / "owl").mkdir()
    about = (
        "4 files that are no pictures by their suffix: 2 .heic, 1 without a suffix, 1 .txt; "
        "folders without pictures, which are no classes: dog, owl"
    )
    found = folder(tmp_path)
    assert sorted(found.left_out.replace("; ", ": ").replace(", ", ": ").split(": ")) == sorted(
        about.replace("; ", ": ").replace(", ", ": ").split(": ")
    )
    load(DataOptions(f"folder:{tmp_path}", image_size=8))
    assert capsys.readouterr().out.startswith(f"NOTE: folder:{tmp_path.name}: left out 4 files that are no pictures")


def stored_png():
    out = io.BytesIO()
    Image.fromarray(COLOUR).save(out, "PNG")
    return out.getvalue()


def test_deep_folders_and_links_in_all_ways(tmp_path, monkeypatch):
    deep = tmp_path / "deep"
    deep.mkdir()
    place = os.open(deep, os.O_RDONLY)  # paths of such a length can't be made at once
    for _ in range(1200):
        os.mkdir("d", dir_fd=place)
        place, above = os.open("d", os.O_RDONLY, dir_fd=place), place
        os.close(above)
    picture = os.open("x.png", os.O_WRONLY | os.O_CREAT, dir_fd=place)
    os.write(picture, stored_png())
    os.close(picture)
    os.close(place)
    np.testing.assert_array_equal(folder(deep)[0], COLOUR)
    subprocess.run(["rm", "-r", deep], check=True)  # pytest's own way to remove folders is recursive
    for i in range(9):
        save(tmp_path / "links" / str(i) / "a.png")
        for j in range(9):
            (tmp_path / "links" / str(i) / f"to{j}").symlink_to(tmp_path / "links" / str(j))
    monkeypatch.setattr(sources_folder, "VISITS", 20)
    with pytest.raises(data.DataError, match="is reached through links in more than 20 ways; remove some of them"):
        folder(tmp_path / "links")


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


def test_control_characters_in_names_are_written_out(tmp_path):
    (tmp_path / "set" / "\x1b]0;x\x07").mkdir(parents=True)
    (tmp_path / "set" / "\x1b]0;x\x07" / "a\n.png").write_bytes(b"none")
    found = folder(tmp_path / "set")
    assert found.class_names == ("\\x1b]0;x\\x07",) and found.title(0).endswith("/set/\\x1b]0;x\\x07/a\\n.png")
    with pytest.raises(BadImage, match="is no picture") as error:
        found[0]
    assert str(error.value).isprintable()


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


def test_an_archive_with_backslashes_is_one_with_slashes(tmp_path):
    x, y = content(tmp_path), content(tmp_path, GREY)
    members = {"cat\\1.png": x, "dog\\": b"", "dog\\2.png": y, "__MACOSX\\cat\\._1.png": b"", "cat/3.png": b"first"}
    found = folder(archive(tmp_path / "set.zip", members | {"cat\\3.png": y}))
    assert found.class_names == ("cat", "dog") and found.files == ("cat/1.png", "cat/3.png", "dog/2.png")
    assert found.labels.tolist() == [0, 0, 1] and not found.left_out and isinstance(found.identity(), int)
    for i, image in enumerate((COLOUR, GREY, GREY)):  # of two with one name the last
        np.testing.assert_array_equal(found[i], image)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_lies_about_sizes_unpacks_no_more_than_it_says(method, tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", method) as out, out.open("a.png", "w") as member:
        for _ in range(30):
            member.write(bytes(1 << 20))
    whole = bytearray(path.read_bytes())
    entry = whole.rindex(b"PK\x01\x02")
    whole[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    found = folder(write(path, whole))
    tracemalloc.start()
    try:
        with pytest.raises(BadImage, match=r"set\.zip/a\.png can't be read \("):
            found[0]
        assert tracemalloc.get_traced_memory()[1] < 12_000_000  # of bzip2 and LZMA most is their own
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "name",
    [
        "../x.png",
        "a/../../x.png",
        "/etc/x.png",
        "C:\\x.png",
        "\\\\server\\x.png",
        "a\\..\\..\\x",
        "..\\x.png",
        "\\x.png",
        "../notes.txt",
    ],
)
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
    with pytest.raises(
        BadImage, match=r"set\.zip/a\.png can't be read \(it is encrypted; pack the pictures without a password\)$"
    ):
        found[0]
    with pytest.raises(data.DataError, match="is neither a folder nor a zip archive that can be read"):
        folder(half(path))


def test_a_link_in_an_archive_is_not_followed_and_named(tmp_path):
    link = zipfile.ZipInfo("a.png")
    link.create_system, link.external_attr = 3, stat.S_IFLNK << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(
        BadImage, match=r"a\.png can't be read \(it is a link, and those in an archive are not followed"
    ):
        folder(tmp_path / "set.zip")[0]


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"WIDTH x", "its header has WIDTH x; a whole number above 0 is expected"),
        (b"WIDTH -2", "its header has WIDTH -2; a whole number above 0 is expected"),
        (b"WIDTH " + b"9" * 4000, "its header has WIDTH 99999999999999999999; a whole number above 0 is expected"),
        (b"WIDTH 9", "it has 2 bytes of pixels, and 9 are expected"),
    ],
)
def test_a_pam_that_is_none_is_told_in_words_of_its_format(line, reason, tmp_path):
    stored = b"P7\n" + line + b"\nHEIGHT 1\nDEPTH 1\nMAXVAL 1\nENDHDR\n\0\1"
    with pytest.raises(BadImage) as error:
        decode(stored, "a.pam")
    assert str(error.value) == f"a.pam can't be read ({reason})"
