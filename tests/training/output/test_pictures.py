"""Pictures of all that a GAN draws, and files of them."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxgan.media import Image as Shown
from jaxgan.media import Points, Vectors, grid
from jaxgan.media.grid import LABEL
from jaxgan.training.output.pictures import FRAMES, animate, picture, save_gif, save_png, thinned


def flat(value, height=8, width=8, channels=1, count=3):
    return np.full((count, height, width, channels), value, np.uint8)


def test_a_picture_of_one_output_is_its_mediums():
    images = flat(7, count=5)
    np.testing.assert_array_equal(picture({"image": Shown()}, {"image": images}, 2), grid(images, 2))
    members = np.stack([images, images + 1])
    np.testing.assert_array_equal(
        picture({"image": Shown()}, {"image": members}, members=2), Shown().show_members(members)
    )


def test_several_outputs_stand_side_by_side_example_by_example():
    """A grey source of 8×8, a coloured image of 8×6 and its target: three of each, in rows of two."""
    drawn = {"source": flat(50), "image": flat(100, 8, 6, 3), "target": flat(150, 8, 6, 3)}
    drawn["image"][1] = 101
    sheet = picture(dict.fromkeys(drawn, Shown()), drawn, 2)
    wide = 2 * (8 + 6 + 6)  # doubled, as they are low
    assert sheet.shape == (2 * 18 + 2, 2 * (wide + 2) + 2, 3)
    row = sheet[10, :, 0]
    assert [row[2 + x] for x in (4, 16 + 4, 28 + 4)] == [50, 100, 150]
    assert [row[4 + wide + x] for x in (4, 16 + 4, 28 + 4)] == [50, 101, 150]
    assert sheet[10, 5].tolist() == [50, 50, 50]
    members = {name: np.stack([each, each]) for name, each in drawn.items()}
    of_two = picture(dict.fromkeys(drawn, Shown()), members, members=2)
    assert of_two.shape == (2 * 18 + 2, LABEL + 3 * (wide + 2) + 2, 3)


def test_media_without_tiles_stand_as_sheets_beside_each_other():
    drawn = {"vector": np.zeros((9, 2), np.float32), "image": np.zeros((9, 1, 1, 2), np.float32)}
    media = {"vector": Vectors((0.0, 0.0), (1.0, 1.0)), "image": Points()}
    sheet = picture(media, drawn)
    alone = [media[name].show(drawn[name]) for name in drawn]
    assert sheet.shape == (512, alone[0].shape[1] + 512, 3)
    np.testing.assert_array_equal(sheet[:, alone[0].shape[1] :, :1], alone[1])


def test_an_animation_has_its_frames(tmp_path):
    frames = [np.full((8, 8, 1), value, np.uint8) for value in (0, 100, 200)]
    save_gif(tmp_path / "walk.gif", frames)
    with Image.open(tmp_path / "walk.gif") as file:
        assert file.n_frames == 3 and file.size == (8, 8)


def test_a_run_is_animated_in_the_order_of_its_steps(tmp_path):
    animate(tmp_path, tmp_path / "training.gif")
    assert not (tmp_path / "training.gif").exists()
    for step in (20, 0, 5):
        save_png(tmp_path / f"{step:08d}.png", np.full((8, 8, 1), 10 * step, np.uint8))
    animate(tmp_path, tmp_path / "training.gif")
    with Image.open(tmp_path / "training.gif") as file:
        shades = []
        for frame in range(file.n_frames):
            file.seek(frame)
            shades.append(file.convert("L").getpixel((0, 0)))
    assert shades == [0, 50, 200]


def frames_of(path):
    """The grey of each frame's corner, and how long it is shown."""
    with Image.open(path) as file:
        shades = []
        for frame in range(file.n_frames):
            file.seek(frame)
            shades.append((file.convert("L").getpixel((0, 0)), file.info["duration"]))
    return shades


def test_an_animation_grows_with_every_picture_and_rests_on_the_last(tmp_path):
    """Pictures that are alike are frames too."""
    path, shades = tmp_path / "training.gif", [10, 200, 200, 90]
    for step, shade in enumerate(shades):
        save_png(tmp_path / f"{step:08d}.png", np.full((8, 8, 1), shade, np.uint8))
        animate(tmp_path, path)
        assert frames_of(path) == [*((each, 120) for each in shades[:step]), (shade, 1500)]


def test_an_animation_is_the_same_whoever_has_grown_it(tmp_path):
    """As after a kill: it depends on the pictures alone, one of which is drawn again."""
    random = np.random.default_rng(0)
    for step in range(5):
        save_png(tmp_path / f"{step:08d}.png", random.integers(0, 256, (16, 12, 3), np.uint8))
        animate(tmp_path, tmp_path / "a.gif")
    save_png(tmp_path / "00000002.png", np.full((16, 12, 3), 77, np.uint8))
    animate(tmp_path, tmp_path / "a.gif")
    animate(tmp_path, tmp_path / "b.gif")
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as file:
        assert (file.n_frames, file.size) == (5, (12, 16))
        file.seek(2)
        assert file.convert("RGB").getpixel((3, 3)) == (77, 77, 77)


@pytest.mark.parametrize("count", [0, 1, 2, 99, 100, 101, 102, 199, 200, 201, 1000, 12_345])
def test_of_many_pictures_every_nth_is_taken_and_the_last(count):
    found = thinned(range(count), FRAMES)
    step = found[1] if len(found) > 2 else 1
    assert len(found) <= FRAMES and step & (step - 1) == 0
    assert found == sorted({*range(0, count, step), *([count - 1] if count else [])})
    assert count < 2 or len(found) > FRAMES // 2 or len(found) == count


def test_nothing_is_no_animation(tmp_path):
    with pytest.raises(ValueError, match="at least one frame"):
        save_gif(tmp_path / "walk.gif", [])


def png(width, height, content):
    """A grey PNG by hand, whatever size its first bytes tell."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def animated(mode):
    first, *others = [Image.new(mode, (8, 6), colour) for colour in (1, 2, 3)]
    file = io.BytesIO()
    first.save(file, format="PNG", save_all=True, append_images=others)
    return file.getvalue()


def of_size(mode, *size):
    file = io.BytesIO()
    Image.new(mode, size).save(file, format="PNG")
    return file.getvalue()


ODD = {
    "bomb": png(20_000, 20_000, bytes(20_001 * 20_000)),
    "what Pillow warns of": png(10_000, 10_000, b""),
    "more than memory": png(2**31 - 1, 2**31 - 1, b""),
    "no pixels": png(8, 6, b""),
    "no size": png(0, 0, b""),
    "another size": of_size("L", 9, 6),
    "colours": of_size("RGB", 8, 6),
    "palette": of_size("P", 8, 6),
    "transparency": of_size("RGBA", 8, 6),
    "16 bits": of_size("I;16", 8, 6),
    "a GIF": b"GIF89a" + bytes(20),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n",
    "nothing": b"",
    "cut short": png(8, 6, bytes(7 * 6))[:50],
    "text": png(8, 6, bytes(7 * 6)).replace(b"IDAT", b"tEXt"),
}


@pytest.mark.parametrize("place", ["0", "2", "9"])
@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_a_file_that_is_no_picture_of_the_run_is_left_out_of_the_animation(content, place, tmp_path):
    for step in (1, 3, 4):
        save_png(tmp_path / f"{step}.png", np.full((6, 8, 1), 40 * step, np.uint8))
    (tmp_path / f"{place}.png").write_bytes(content)
    animate(tmp_path, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 3 and animation.size == (8, 6)


def test_the_first_frame_of_an_animated_picture_is_taken(tmp_path):
    (tmp_path / "1.png").write_bytes(animated("L"))
    save_png(tmp_path / "2.png", np.full((6, 8, 1), 200, np.uint8))
    animate(tmp_path, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 2


KINDS = ["pipe", "folder", "link"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("1.png")], ids=KINDS)
def test_what_is_no_file_is_left_out_of_the_animation(make, tmp_path):
    for step in (1, 3):
        save_png(tmp_path / f"{step}.png", np.full((6, 8, 1), 40 * step, np.uint8))
    make(tmp_path / "2.png")
    animate(tmp_path, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 2


def test_of_two_sizes_that_are_as_common_the_newer_is_animated(tmp_path):
    save_png(tmp_path / "1.png", np.zeros((6, 8, 1), np.uint8))
    save_png(tmp_path / "2.png", np.zeros((8, 8, 1), np.uint8))
    animate(tmp_path, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.size == (8, 8)
