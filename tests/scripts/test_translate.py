"""`scripts.translate`: what becomes of photographs as people keep them, and what is told of those that can't be."""

import io
import json
import os
import runpy
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest
import whole_runs
from PIL import Image, ImageCms, ImageOps

from jaxgan.training import UsageError
from scripts import translate

pytestmark = pytest.mark.usefixtures("as_users_have_it")
rng = np.random.default_rng(0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = SRGB[:16] + b"GRAY" + SRGB[20:]  # says that it is one; nothing else is read of it
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By kind: run directories, whose records alone differ."""
    folder = tmp_path_factory.mktemp("runs")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        whole_runs.run_of(folder / "enlarged")
        whole_runs.run_of(folder / "members", seeds=2)

    def of(kind):
        directory = folder / kind
        if not directory.exists():
            shutil.copytree(folder / "enlarged", directory)
            record = json.loads((directory / "options.json").read_text())
            record["options"]["kind"] = kind
            (directory / "options.json").write_text(json.dumps(record))
        return directory

    return of


def numbers(*shape):
    return rng.integers(0, 256, shape, np.uint8)


def saved(path, array, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)
    return path


def opened(path):
    with Image.open(path) as picture:
        picture.load()
        return picture


def array(path):
    return np.asarray(opened(path))


def doubled(pixels):
    return pixels.repeat(2, axis=0).repeat(2, axis=1)


def translated(directory, *inputs, out, **options):
    """How many things went wrong; of a run that is opened as from a command line."""
    return translate.run(translate.Options(run=directory, inputs=inputs, out=out, **options))


def errors(capsys):
    """The lines of stderr, but for the bar's, which are there after two seconds."""
    return [line for line in capsys.readouterr().err.splitlines() if not line.startswith("translating: ")]


# --- pixels -----------------------------------------------------------------------------------------------------------
def test_files_and_a_folder(runs, tmp_path, capsys):
    pixels = [numbers(5, 7, 3) for _ in range(4)]
    folder = tmp_path / "holiday"
    inputs = [saved(tmp_path / "a b.png", pixels[0]), folder, saved(folder / "two.bmp", pixels[2])]
    saved(folder / "one.PNG", pixels[1])
    saved(folder / "inner" / "three.png", pixels[3])
    (folder / "notes.txt").write_text("no picture")
    (folder / "._one.png").write_bytes(b"beside it, of another system")
    out = tmp_path / "new" / "out"
    assert translated(runs("enlarged"), *inputs, out=out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a b.png", "one.png", "two.png"]
    for name, expected in zip(("a b", "one", "two"), pixels, strict=False):
        np.testing.assert_array_equal(array(out / f"{name}.png"), doubled(expected))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        *(f"{out / name}.png: 14×10 pixels" for name in ("a b", "one", "two")),
        "3 of 3 pictures, ema weights of step 1",
    ]


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 2500), (2500, 3), (40, 61)])
def test_pictures_of_any_size(size, runs, tmp_path):
    pixels = numbers(*size, 3)
    path = saved(tmp_path / "a.png", pixels)
    assert translated(runs("enlarged"), path, out=tmp_path / "out") == 0
    np.testing.assert_array_equal(array(tmp_path / "out" / "a.png"), doubled(pixels))
    assert translated(runs("enlarged"), path, out=tmp_path / "tiles", tile=20, overlap=3) == 0
    np.testing.assert_array_equal(array(tmp_path / "tiles" / "a.png"), doubled(pixels))


def test_weights_members_and_steps(runs, tmp_path):
    path = saved(tmp_path / "a.png", np.full((2, 2, 3), 51, np.uint8))  # -0.6
    expected = {"ema": 51, "raw": 115}  # 0.5 more
    for weights, value in expected.items():
        assert translated(runs("enlarged"), path, out=tmp_path / weights, weights=weights, step=1) == 0
        assert set(array(tmp_path / weights / "a.png").ravel()) == {value}
    for member, value in ((0, 51), (1, 64)):  # 0.1 more
        assert translated(runs("members"), path, out=tmp_path / f"{member}", member=member) == 0
        assert set(array(tmp_path / f"{member}" / "a.png").ravel()) == {value}
    with pytest.raises(UsageError, match=r"has 2 GANs: name one of them \(--member\)"):
        translated(runs("members"), path, out=tmp_path / "all")


def test_grey_for_a_network_of_colours_is_repeated(runs, tmp_path):
    pixels = numbers(4, 5)
    path = saved(tmp_path / "a.png", pixels)
    assert translated(runs("enlarged"), path, out=tmp_path / "out") == 0
    np.testing.assert_array_equal(array(tmp_path / "out" / "a.png"), doubled(np.stack([pixels] * 3, -1)))


def test_colours_for_a_network_that_enlarges_grey(runs, tmp_path, capsys):
    """Its luma is the network's, doubled pixel by pixel; its chroma is resized. Of one hue that is the whole picture
    doubled; where hues meet only they are smooth."""
    grey = rng.integers(40, 180, (9, 8, 1))
    one_hue = (grey + np.array([60, 0, 30])).astype(np.uint8)
    path = saved(tmp_path / "a.png", one_hue)
    assert translated(runs("luma"), path, out=tmp_path / "out") == 0
    assert np.abs(array(tmp_path / "out" / "a.png") - doubled(one_hue).astype(int)).max() <= 2, "rounded twice"
    two = np.full((8, 12, 3), (120, 120, 0), np.uint8)
    two[:, 6:] = (120, 60, 140)  # of nearly the same luma, 106.3 and 87.1
    assert translated(runs("luma"), saved(tmp_path / "b.png", two), out=tmp_path / "out") == 0
    made = array(tmp_path / "out" / "b.png").astype(float)
    luma = made @ [0.299, 0.587, 0.114]
    assert np.abs(luma - doubled(two) @ [0.299, 0.587, 0.114]).max() < 2
    steps = np.abs(np.diff(made[4, :, 2]))
    assert (steps[8:15] > 3).sum() >= 3, "blue rises over several pixels"
    assert translated(runs("luma"), saved(tmp_path / "c.png", one_hue[..., 0]), out=tmp_path / "out") == 0
    assert opened(tmp_path / "out" / "c.png").mode == "L"
    np.testing.assert_array_equal(array(tmp_path / "out" / "c.png"), doubled(one_hue[..., 0]))
    assert "grey" not in capsys.readouterr().out


def test_colours_for_a_network_of_grey_that_does_not_enlarge(runs, tmp_path, capsys):
    pixels = numbers(6, 5, 3)
    assert translated(runs("grey"), saved(tmp_path / "a.png", pixels), out=tmp_path / "out") == 0
    made = array(tmp_path / "out" / "a.png")
    assert np.abs(made - (255 - pixels @ [0.299, 0.587, 0.114])).max() <= 1
    assert "its colours are made grey, which is all that the network takes" in capsys.readouterr().out


# --- what lies beside the pixels --------------------------------------------------------------------------------------
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg", "RGBA", "tif"])
def test_pictures_are_turned_as_their_exif_data_say(kind, orientation, runs, tmp_path):
    """As Pillow turns them."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = numbers(4, 6, 4 if kind == "RGBA" else 3)
    path = saved(tmp_path / f"a.{'png' if kind == 'RGBA' else kind}", pixels, exif=exif)
    assert translated(runs("enlarged"), path, out=tmp_path / "out") == 0
    upright = np.asarray(ImageOps.exif_transpose(opened(path)))
    assert upright.shape[:2] == ((4, 6) if orientation < 5 else (6, 4))
    made = opened(tmp_path / "out" / "a.png")
    np.testing.assert_array_equal(np.asarray(made)[..., :3], doubled(upright[..., :3]))
    assert made.getexif().get(ORIENTATION, 1) == 1, "once"
    if kind == "RGBA":
        resized = Image.fromarray(upright[..., 3]).resize(made.size, Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(np.asarray(made)[..., 3], np.asarray(resized))


@pytest.mark.parametrize("out", ["png", "jpg", "webp"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_the_colour_profile_is_kept(suffix, out, runs, tmp_path, capsys):
    path = saved(tmp_path / f"a.{suffix}", numbers(6, 5, 3), icc_profile=SRGB)
    assert translated(runs("enlarged"), path, out=tmp_path / "out", format=out) == 0
    assert opened(tmp_path / "out" / f"a.{out}").info["icc_profile"] == SRGB
    assert "left out" not in capsys.readouterr().out


def test_a_profile_of_other_colours_is_left_out_and_said(runs, tmp_path, capsys):
    """A viewer would take one of grey for the colours', or refuse the file."""
    grey = saved(tmp_path / "grey.png", numbers(6, 5), icc_profile=GREY)
    colour = saved(tmp_path / "colour.png", numbers(6, 5, 3), icc_profile=SRGB)
    for kind, path, saved_as, kept in (
        ("luma", grey, "png", GREY),
        ("luma", grey, "webp", None),  # which has no grey
        ("luma", colour, "png", SRGB),
        ("enlarged", grey, "png", None),
        ("grey", colour, "png", None),
    ):
        out = tmp_path / kind / path.stem / saved_as
        assert translated(runs(kind), path, out=out, format=saved_as) == 0
        assert opened(out / f"{path.stem}.{saved_as}").info.get("icc_profile") == kept
        said = capsys.readouterr().out
        assert ("its colour profile is of another kind of colours: left out" in said) == (kept is None)


def test_opacity_is_resized_with_the_picture(runs, tmp_path):
    pixels = numbers(6, 8, 4)
    pixels[..., 3] = np.repeat([[0, 255]], 6, 0).repeat(4, 1)
    out = tmp_path / "out"
    for name, given in (("rgba", pixels), ("la", pixels[..., [0, 3]])):
        for kind in ("png", "webp"):
            path = saved(tmp_path / f"{name}.png", given)
            directory = runs("luma" if name == "la" else "enlarged")
            # Of a lossy format's colours nothing is expected here, and what is transparent has none.
            assert translated(directory, path, out=out, format=kind) == 0
            made = opened(out / f"{name}.{kind}")
            opacity = np.asarray(made)[..., -1]
            assert opacity.shape == (12, 16) and (opacity[:, :4] == 0).all() and (opacity[:, 12:] == 255).all()
            assert (np.diff(opacity[:, 5:11].astype(int)) >= 0).all() and 0 < opacity[0, 7] < opacity[0, 8] < 255
            if kind == "png":
                colours = np.asarray(made)[..., :-1].reshape(12, 16, -1)
                np.testing.assert_array_equal(colours, doubled(given[..., :-1]))
    opaque = pixels.copy()
    opaque[..., 3] = 255
    assert translated(runs("enlarged"), saved(tmp_path / "opaque.png", opaque), out=out) == 0
    assert opened(out / "opaque.png").mode == "RGB"


def test_what_has_no_opacity_is_put_on_white(runs, tmp_path, capsys):
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, 8:, 3] = 255  # the right half is black, the left one would be
    path = saved(tmp_path / "a.png", pixels)
    assert translated(runs("enlarged"), path, out=tmp_path / "out", format="jpg") == 0
    made = array(tmp_path / "out" / "a.jpg")
    assert made.shape == (32, 32, 3) and made[:, :12].min() > 245 and made[:, 20:].max() < 10
    assert capsys.readouterr().out.splitlines()[1].endswith("pixels; what is transparent is put on white")
    colour_key = saved(tmp_path / "b.png", numbers(3, 4, 3), transparency=(1, 2, 3))
    assert translated(runs("enlarged"), colour_key, out=tmp_path / "out") == 0
    assert "b.png: 8×6 pixels; what is transparent is put on white" in capsys.readouterr().out
    palette = Image.fromarray(np.array([[0, 1], [1, 1]], np.uint8), mode="P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "c.gif", transparency=0)
    assert translated(runs("enlarged"), tmp_path / "c.gif", out=tmp_path / "out") == 0
    made = array(tmp_path / "out" / "c.png")
    assert made.shape == (4, 4, 4) and made[0, 0, 3] == 0 and (made[3, :] == [0, 0, 255, 255]).all()


def deep_png(path, pixels):
    """Writes uint16 `[H, W, 3]`, which Pillow doesn't, as PNG (W3C, third edition) has it."""

    def part(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    )
    return path


def test_16_bits_are_scaled_to_8_and_said(runs, tmp_path, capsys):
    deep = rng.integers(0, 65536, (3, 4, 3)).astype(np.uint16)
    colour = deep_png(tmp_path / "colour.png", deep)
    grey = saved(tmp_path / "grey.png", deep[..., 0])
    tiff = saved(tmp_path / "tiff.tif", deep[..., 1])
    netpbm = tmp_path / "netpbm.ppm"
    netpbm.write_bytes(b"P6 4 3 65535\n" + deep.astype(">u2").tobytes())
    assert translated(runs("enlarged"), colour, grey, tiff, netpbm, out=tmp_path / "out") == 0
    said = capsys.readouterr().out.splitlines()
    shown = {
        "colour": deep,
        "grey": np.stack([deep[..., 0]] * 3, -1),
        "tiff": np.stack([deep[..., 1]] * 3, -1),
        "netpbm": deep,
    }
    for line, (name, pixels) in zip(said[1:], shown.items(), strict=False):
        assert line.endswith(f"{name}.png: 8×6 pixels; more than 8 bits a channel are scaled to 8")
        made = array(tmp_path / "out" / f"{name}.png").astype(float)
        assert np.abs(made - doubled(pixels / 257)).max() <= 1


def test_the_first_of_several_pictures(runs, tmp_path, capsys):
    pixels = [np.full((2, 3), value, np.uint8) for value in (0, 255)]
    first, second = map(Image.fromarray, pixels)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert translated(runs("enlarged"), tmp_path / "a.gif", out=tmp_path / "out") == 0
    assert not array(tmp_path / "out" / "a.png").any()
    assert "a.png: 6×4 pixels; the first of 2 pictures in it" in capsys.readouterr().out


def test_damage_beside_the_pixels_costs_no_picture(runs, tmp_path):
    pixels = numbers(4, 5, 3)
    path = saved(tmp_path / "a.png", pixels)
    content = path.read_bytes()
    text = struct.pack(">I", 4) + b"iTXt" + b"junk" + b"none"  # with a checksum that is none
    path.write_bytes(content[:33] + text + content[33:])
    assert translated(runs("enlarged"), path, out=tmp_path / "out") == 0
    np.testing.assert_array_equal(array(tmp_path / "out" / "a.png"), doubled(pixels))


# --- what can't be done -----------------------------------------------------------------------------------------------
def test_what_cannot_be_read_is_named_and_the_rest_is_done(runs, tmp_path, monkeypatch, capsys):
    good = saved(tmp_path / "good.png", numbers(4, 5, 3))
    bad = {name: tmp_path / name for name in ("empty.png", "text.jpg", "cut.png", "gone.png", "locked.png", "pipe.png")}
    bad["empty.png"].touch()
    bad["text.jpg"].write_text("no picture")
    bad["cut.png"].write_bytes(saved(tmp_path / "whole.png", numbers(50, 50, 3)).read_bytes()[:2000])
    saved(bad["locked.png"], numbers(4, 5, 3))
    os.mkfifo(bad["pipe.png"])
    (tmp_path / "none").mkdir()
    saved(tmp_path / "closed" / "a.png", numbers(4, 5, 3))
    scan, regular = os.scandir, translate.read_photograph.__globals__["open_regular"]

    def read(path, flags, **how):  # root may read all
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied", str(path))
        return regular(path, flags, **how)

    def listed(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setitem(translate.read_photograph.__globals__, "open_regular", read)
    monkeypatch.setattr(Path, "iterdir", lambda self: (Path(each.path) for each in listed(self)))
    inputs = [*bad.values(), tmp_path / "none", tmp_path / "closed", good]
    wrong = translated(runs("enlarged"), *inputs, out=tmp_path / "out")
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if not line.startswith("translating: ")]
    assert wrong == len(lines) == len(bad) + 2
    expected = [
        (r"none has no pictures; known are .png, .jpg", "none"),
        ("closed can't be read (Permission denied)", "closed"),
        ("empty.png is an empty file", "empty.png"),
        ("text.jpg is no picture, or of a kind that isn't known", "text.jpg"),
        ("cut.png can't be read (", "cut.png"),
        ("gone.png can't be read (No such file or directory)", "gone.png"),
        ("locked.png can't be read (Permission denied)", "locked.png"),
        ("pipe.png can't be read (it is no regular file)", "pipe.png"),
    ]
    for line, (message, name) in zip(lines, expected, strict=True):
        assert line.startswith(f"{tmp_path / name}{message.removeprefix(name)}"), line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]
    assert said.out.splitlines()[-1] == "1 of 7 pictures, ema weights of step 1"


def test_inputs_of_one_name_do_not_replace_each_other(runs, tmp_path):
    paths = [tmp_path / name for name in ("a/x.png", "b/x.bmp", "X.tif", "x-2.png", "b/x.png")]
    pixels = [numbers(2, 2, 3) for _ in paths]
    for path, each in zip(paths, pixels, strict=True):
        saved(path, each)
    assert translated(runs("enlarged"), *paths, paths[0], out=tmp_path / "out") == 0
    names = ["x.png", "x-2.png", "X-3.png", "x-2-2.png", "x-4.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    for name, each in zip(names, pixels, strict=True):
        np.testing.assert_array_equal(array(tmp_path / "out" / name), doubled(each))


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_input_is_overwritten(overwrite, runs, tmp_path, capsys):
    """Neither beside itself, nor through links."""
    png, jpg = saved(tmp_path / "a.png", numbers(2, 3, 3)), saved(tmp_path / "b.jpg", numbers(2, 3, 3))
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.png").symlink_to(png)
    before = png.read_bytes(), jpg.read_bytes()
    assert translated(runs("enlarged"), png, jpg, out=tmp_path, overwrite=overwrite) == 1
    assert f"{png}: {png} is an input; choose another --out or --format" in capsys.readouterr().err
    assert translated(runs("enlarged"), png, out=tmp_path / "links", overwrite=overwrite) == 1
    assert translated(runs("enlarged"), tmp_path / "links" / "a.png", out=tmp_path, overwrite=overwrite) == 1
    assert (png.read_bytes(), jpg.read_bytes()) == before
    assert (tmp_path / "links" / "a.png").is_symlink() and array(tmp_path / "b.png").shape == (4, 6, 3)


def test_what_is_there_is_replaced_only_if_that_is_asked_for(runs, tmp_path, capsys):
    paths = [saved(tmp_path / f"{name}.png", numbers(2, 3, 3)) for name in "abcde"]
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_text("mine")
    assert translated(runs("enlarged"), *paths[:2], out=out) == 1
    message = "a.png is there already and is left as before; --overwrite replaces them"
    assert errors(capsys) == [f"{out}/{message}"]
    assert (out / "a.png").read_text() == "mine" and array(out / "b.png").shape == (4, 6, 3)
    assert translated(runs("enlarged"), *paths, out=out, overwrite=True) == 0
    assert array(out / "a.png").shape == (4, 6, 3)
    capsys.readouterr()
    assert translated(runs("enlarged"), *paths, out=out) == 1
    several = f"{out}/a.png, {out}/b.png, {out}/c.png and 2 more are there already, 5 files, and are left as before"
    assert errors(capsys) == [f"{several}; --overwrite replaces them"]


def test_the_folder_for_results_is_one(runs, tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", numbers(2, 3, 3))
    for out in (path, path / "below"):
        with pytest.raises(UsageError, match=rf"^--out must be a folder, got {out}: {path} is a file$"):
            translated(runs("enlarged"), path, out=out)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UsageError, match=rf"^can't write to {tmp_path}/a/b: the folder {tmp_path} can't be written to"):
        translated(runs("enlarged"), path, out=tmp_path / "a" / "b")


def test_a_file_that_cannot_be_written_is_told(runs, tmp_path, monkeypatch, capsys):
    paths = [saved(tmp_path / f"{name}.png", numbers(2, 3, 3)) for name in "ab"]
    save = Image.Image.save

    def full(self, file, **how):
        if Path(file).name.startswith("a"):
            Path(file).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(self, file, **how)

    monkeypatch.setattr(Image.Image, "save", full)
    out = tmp_path / "out"
    assert translated(runs("enlarged"), *paths, out=out) == 1
    assert errors(capsys) == [f"{paths[0]}: can't write {out}/a.png: No space left on device"]
    assert [path.name for path in out.iterdir()] == ["b.png"]


@pytest.mark.parametrize("when", ["saving", "translating"])
def test_ctrl_c_leaves_no_half_file(when, runs, tmp_path, monkeypatch):
    paths = [saved(tmp_path / f"{name}.png", numbers(2, 3, 3)) for name in "ab"]
    save = Image.Image.save

    def saving(self, file, **how):
        if Path(file).name.startswith("b"):
            Path(file).write_bytes(b"half")
            raise KeyboardInterrupt
        save(self, file, **how)

    def translating(translator, picture, done):
        raise KeyboardInterrupt

    if when == "saving":
        monkeypatch.setattr(Image.Image, "save", saving)
    else:
        monkeypatch.setattr(translate, "translate", translating)
    with pytest.raises(KeyboardInterrupt):
        translated(runs("enlarged"), *paths, out=tmp_path / "out")
    left = [path.name for path in (tmp_path / "out").iterdir()]
    assert left == (["a.png"] if when == "saving" else [])


def test_formats_and_their_limits(runs, tmp_path, capsys):
    noise = saved(tmp_path / "a.png", numbers(60, 60, 3))
    sizes = {}
    for quality in (20, 95):
        for kind in ("jpg", "webp"):
            out = tmp_path / f"{quality}"
            assert translated(runs("enlarged"), noise, out=out, format=kind, quality=quality) == 0
            made = opened(out / f"a.{kind}")
            assert made.format == {"jpg": "JPEG", "webp": "WEBP"}[kind] and made.size == (120, 120)
            sizes[kind, quality] = (out / f"a.{kind}").stat().st_size
    assert sizes["jpg", 20] < sizes["jpg", 95] / 2 and sizes["webp", 20] < sizes["webp", 95] / 2
    long = saved(tmp_path / "long.png", np.zeros((1, 8192), np.uint8))
    capsys.readouterr()
    assert translated(runs("enlarged"), long, out=tmp_path / "out", format="webp") == 1
    expected = f"{long} would have 2×16384 pixels, and .webp holds 16,383 a side: --format png"
    assert errors(capsys) == [expected]
    assert translated(runs("enlarged"), long, out=tmp_path / "out", format="jpg") == 0


def test_what_the_memory_does_not_hold(runs, tmp_path, monkeypatch, capsys):
    large, small = (saved(tmp_path / f"{side}.png", numbers(side, 10, 3)) for side in (11, 10))
    monkeypatch.setattr("jaxgan.training.run.open_run.machine_memory", lambda: 4 * 20 * 20 * 3)
    assert translated(runs("enlarged"), large, small, out=tmp_path / "out") == 1
    assert capsys.readouterr().err.startswith(f"{large}: what the pictures become has 1,320 bytes; at most 1,200")


def test_a_network_that_has_diverged(runs, tmp_path, capsys):
    path = saved(tmp_path / "a.png", numbers(2, 3, 3))
    assert translated(runs("diverged"), path, out=tmp_path / "out") == 1
    expected = f"{path}: what the network makes of the picture isn't finite: it has diverged"
    assert errors(capsys) == [expected]


# --- what is asked for ------------------------------------------------------------------------------------------------
def test_what_a_run_makes_of_pictures(runs, tmp_path):
    pixels = numbers(3, 4, 3)
    path = saved(tmp_path / "a.png", pixels)
    assert translated(runs("both"), path, out=tmp_path / "a", to="a") == 0
    np.testing.assert_array_equal(array(tmp_path / "a" / "a.png"), pixels[..., 0])
    assert translated(runs("both"), tmp_path / "a" / "a.png", out=tmp_path / "b", to="b") == 0
    red = pixels[..., 0]
    np.testing.assert_array_equal(array(tmp_path / "b" / "a.png"), np.stack([red, 255 - red, red], -1))
    for kind, options, message in (
        ("both", {}, r"makes a or b of pictures: name one of them \(--to\)"),
        ("both", {"to": "A"}, r"makes a or b of pictures, not A \(--to\)"),
        ("none", {}, "makes nothing of pictures"),
        ("none", {"style": (tmp_path / "no.png",)}, "makes nothing of pictures"),  # which have no size in other runs
        ("deep", {}, "takes 4 channels; pictures have 1 or 3"),
        ("enlarged", {"style": (path,)}, "takes no style: it takes interpolation"),
        ("both", {"to": "a", "strength": 0.5}, "takes no strength: it takes nothing beside pictures"),
        ("styled", {"strength": 0.5}, r"needs style: name it \(--style \.\.\.\)"),
        ("enlarged", {"tile": 8, "overlap": 9}, "overlap by 9 pixels have at least 10, got 8"),
    ):
        with pytest.raises(UsageError, match=message):
            translated(runs(kind), path, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_interpolation_and_styles(runs, tmp_path):
    grey = np.full((3, 4, 3), 204, np.uint8)  # 0.6
    path = saved(tmp_path / "a.png", grey)
    assert translated(runs("enlarged"), path, out=tmp_path / "0", interpolation=0.5) == 0  # 0.3 - 0.5
    assert set(array(tmp_path / "0" / "a.png").ravel()) == {102}
    white = saved(tmp_path / "white.png", np.full((50, 30, 3), 255, np.uint8))
    black = saved(tmp_path / "black.jpg", np.zeros((10, 90), np.uint8))
    for number, options, value in (
        (1, {"style": (white,)}, 255),
        (2, {"style": (white, black)}, 128),
        (3, {"style": (white, black), "mix": "4,1"}, 204),
        (4, {"style": (black,), "strength": 0.25}, 153),
    ):
        assert translated(runs("styled"), path, out=tmp_path / f"{number}", **options) == 0
        assert set(array(tmp_path / f"{number}" / "a.png").ravel()) == {value}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mix": "0.3,x", "style": ("a", "b")}, "^--mix must be numbers from 0 on .* such as 0.3,0.7, got 0.3,x$"),
        ({"mix": "0,0", "style": ("a", "b")}, "^--mix must be .* not all 0, .* got 0,0$"),
        ({"mix": "1,-1", "style": ("a", "b")}, "^--mix must be numbers from 0 on"),
        ({"mix": "1,nan", "style": ("a", "b")}, "^--mix must be numbers from 0 on"),
        ({"mix": "1e308,1e308", "style": ("a", "b")}, "^--mix must be numbers from 0 on"),  # whose sum is infinite
        ({"mix": "1,1,1", "style": ("a", "b")}, "^--mix must be as many shares as --style names: 2, got 1,1,1$"),
        ({"mix": "1"}, "^--mix must be as many shares as --style names: 0, got 1$"),
        ({"strength": 1.5}, "^--strength must be from 0 to 1, got 1.5$"),
        ({"interpolation": float("nan")}, "^--interpolation must be from 0 to 1, got nan$"),
        ({"tile": 0}, "^--tile must be at least 1, got 0$"),
        ({"quality": 0}, "^--quality must be from 1 to 100, got 0$"),
    ],
)
def test_options_within_bounds(options, message, tmp_path):
    options = options | {"style": tuple(map(Path, options.get("style", ())))}
    with pytest.raises(UsageError, match=message):
        translate.Options(run=tmp_path, inputs=(tmp_path,), out=tmp_path / "out", **options)


def test_a_style_that_cannot_be_read_ends_it(runs, tmp_path, monkeypatch, capsys):
    path = saved(tmp_path / "a.png", numbers(3, 4, 3))
    arguments = [str(runs("styled")), str(path), "--out", str(tmp_path / "out"), "--style", str(tmp_path / "no.png")]
    assert ended(monkeypatch, *arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/no.png can't be read")


def ended(monkeypatch, *arguments):
    """The exit status of the command, as a user starts it but in this process."""
    monkeypatch.setattr(sys, "argv", ["translate", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(Path(translate.__file__)), run_name="__main__")
    return stop.value.code


def test_exit_status(runs, tmp_path, monkeypatch, capsys):
    path = saved(tmp_path / "a.png", numbers(3, 4, 3))
    common = [str(runs("enlarged")), str(path)]
    experiment = ["--experiment", whole_runs.__file__]
    assert ended(monkeypatch, *common, "--out", str(tmp_path / "1"), *experiment) == 0
    assert ended(monkeypatch, *common, str(tmp_path / "no.png"), "--out", str(tmp_path / "2"), *experiment) == 1
    assert (tmp_path / "2" / "a.png").exists()
    capsys.readouterr()
    assert ended(monkeypatch, *common) == 2
    assert "error: --out is missing" in capsys.readouterr().err
    assert ended(monkeypatch, str(runs("enlarged")), "--out", str(tmp_path / "3")) == 2
    assert "error: INPUTS is missing" in capsys.readouterr().err
    assert ended(monkeypatch, str(tmp_path), str(path), "--out", str(tmp_path / "3")) == 2
    assert "is no run directory" in capsys.readouterr().err


def test_a_bar_over_all_tiles(runs, tmp_path, monkeypatch):
    """Of all pictures together, of which none is read before its turn."""
    paths = [saved(tmp_path / f"{side}.png", numbers(side, 40, 3)) for side in (20, 45)]
    (tmp_path / "bad.png").write_text("none")
    seen = []

    class Bar(io.StringIO):
        n = 0

        def __exit__(self, *error):
            return None

        def update(self, count):
            self.n += count
            seen.append(count)

    def bar(total, what, *, unit, hidden):
        assert (total, what, unit, hidden) == (2 + 3 * 2, "translating", "tiles", False)
        return Bar()

    monkeypatch.setattr(translate, "progress_bar", bar)
    assert translated(runs("enlarged"), *paths, tmp_path / "bad.png", out=tmp_path / "out", tile=20) == 1
    assert sum(seen) == 8


# The kernel's peak for this program: what getrusage says begins with that of the process that started it.
MEASURED = """
import pathlib, re
from jaxgan.training.cli.command_line import command_line
from scripts import translate
wrong = translate.run(command_line(translate.Options))
print(wrong, re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a process has used")
def test_memory_is_bounded(runs, tmp_path):
    """In MiB, of a whole process, of which 350 are there before it begins: less than 1,400, where the larger picture at
    once would need as much for the rows that its last convolution multiplies, 4.9 million pixels of 9 × 8 floats. And
    of the larger picture hardly more than of the smaller: what it becomes, as array, as floats and in Pillow."""
    experiment = "--experiment", whole_runs.__file__
    peaks = []
    for size in ((240, 320), (480, 640)):
        path = saved(tmp_path / f"{size[0]}.png", numbers(*size, 3))
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, runs("network"), path, "--out", tmp_path / "out", *experiment],
            env=os.environ | {"XLA_FLAGS": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        wrong, peak = map(int, done.stdout.split()[-2:])
        assert wrong == 0 and opened(tmp_path / "out" / path.name).size == (4 * size[1], 4 * size[0])
        peaks.append(peak / 2**10)
    assert max(peaks) < 1400, peaks
    more = 16 * (640 * 480 - 320 * 240) * (3 + 12 + 4) / 2**20
    assert peaks[1] - peaks[0] < 3 * more, peaks
