"""`scripts.project` and `OpenRun.project`: what was drawn is found again, a kill costs nothing, mistakes are a line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_stylegan
from PIL import Image

from jaxgan.data import DataError
from jaxgan.evaluation.features.perceptual import feature_maps, unit_distance
from jaxgan.training import Stopped, UsageError, load_projection
from jaxgan.training import open as open_run
from jaxgan.training.exploring.projector import Projector
from scripts import project

pytestmark = pytest.mark.usefixtures("as_users_have_it")
OWN_WEIGHTS = ("plain", "classes", "plain classes")  # others' records alone differ


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By kind: run directories, made when they are asked for."""
    folder = tmp_path_factory.mktemp("runs")

    def of(kind, **options):
        directory = folder / "-".join([kind, *map(str, options.values())])
        if not directory.exists():
            if kind in ("style", *OWN_WEIGHTS) or options:
                with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                    tiny_stylegan.run_of(directory, kind=kind, **options)
            else:
                shutil.copytree(of("style"), directory)
                record = json.loads((directory / "options.json").read_text())
                record["options"]["kind"] = kind
                (directory / "options.json").write_text(json.dumps(record))
        return directory

    return of


def drawn_codes(run, count, *, layers=1, seed=3):
    """w that the mapping makes, float32 `[count, K, D]`: of each layer, or of so many parts of the layers, its own."""
    keys = jax.random.split(jax.random.key(seed), count * layers)
    codes = run.gan.latents.codes(run.state, run.gan.latents.draw({}, keys))
    return np.asarray(codes).reshape(count, layers, *codes.shape[1:])[:, :, 0].repeat(codes.shape[1] // layers, 1)


def saved(path, array):
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(path)
    return path


def rmse(a, b):
    return np.sqrt(((a.astype(float) - b) ** 2).mean((1, 2, 3)))


def command(run, *inputs, out, **options):
    project.run(project.Options(run=run, inputs=inputs, out=out, **options))
    return load_projection(out)


# --- what was drawn is found again ------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_drawn_picture_is_projected_back_to_it(runs, tmp_path, capsys):
    run = open_run(runs("style"))
    images = run.synthesize(drawn_codes(run, 3))
    assert rmse(images, run.synthesize(np.repeat(drawn_codes(run, 1, seed=8), 3, 0))).min() > 15, "they differ"
    paths = [saved(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    found = command(runs("style"), *paths, out=tmp_path / "out", steps=150)
    assert found.codes.shape == (3, 3, 6) and (found.codes == found.codes[:, :1]).all(), "one w for all layers"
    assert rmse(run.synthesize(found.codes), images).max() < 1, "of 255: no more than rounding"
    said = capsys.readouterr().out
    assert said.count(" dB") == 4 and f"{tmp_path}/out/projection.npz: 3 pictures in w, ema weights of step 1" in said
    with Image.open(tmp_path / "out" / "pictures.png") as sheet:
        assert sheet.size == (2 * 3 * 8 + 4, 3 * (2 * 8 + 2) + 2), "doubled, below each other"
        shown = np.asarray(sheet)[2:18:2, 2:50:2].reshape(8, 3, 8)
    np.testing.assert_array_equal(shown[:, 0], images[0, ..., 0])
    np.testing.assert_array_equal(shown[:, 2], np.abs(shown[:, 0].astype(int) - shown[:, 1]))


@pytest.mark.slow
def test_a_style_for_each_layer_finds_what_one_for_all_cannot(runs):
    run = open_run(runs("style"))
    images = run.synthesize(drawn_codes(run, 3, layers=3))
    far = {
        space: rmse(run.synthesize(run.project(images, space=space, steps=250).codes), images) for space in ("w", "w+")
    }
    assert far["w+"].max() < 4 and (far["w+"] < far["w"] / 2).all(), far


@pytest.mark.slow
def test_a_latent_is_found_within_the_lengths_that_latents_have(runs):
    run = open_run(runs("plain"))
    images = run.sample(4, seed=5)
    found = run.project(images, steps=200, starts=4)
    assert found.about["space"] == "z" and found.codes.shape == (4, 1, 6)
    assert rmse(run.synthesize(found.codes), images).max() < 4
    length = np.linalg.norm(found.codes, axis=-1)
    assert (length > 0.8).all() and (length < 4.4).all()  # 0.5 and 99.5 % of χ with 6 degrees of freedom: 0.82, 4.31
    black = run.project(np.zeros_like(images), steps=100)
    assert np.linalg.norm(black.codes, axis=-1).max() < 4.4, "what isn't drawn doesn't drive it away"


@pytest.mark.slow
def test_more_starts_are_never_worse_and_the_best_is_kept(runs):
    run = open_run(runs("plain"))
    images = run.sample(4, seed=6)
    few, many = (run.project(images, steps=100, starts=starts).losses for starts in (1, 6))
    assert many.mean() < few.mean()


@pytest.mark.slow
def test_classes(runs, tmp_path):
    """A plain generator is told the class when it draws; found under another class it is another picture."""
    for kind in ("classes", "plain classes"):
        run = open_run(runs(kind))
        images = run.sample(2, seed=7, label=2)
        found = run.project(images, 2, steps=150, starts=2)
        assert found.labels.tolist() == [2, 2]
        assert rmse(run.synthesize(found.codes, label=2), images).max() < 6, kind
    assert rmse(run.synthesize(found.codes, label=[1, 0]), images).min() > 10
    with pytest.raises(UsageError, match=r"is given labels: say which the pictures have \(--label\)"):
        run.project(images)
    with pytest.raises(UsageError, match="one label for all pictures, or 2, one for each, got 3"):
        run.project(images, [0, 1, 2])
    with pytest.raises(UsageError, match="label must be from 0 to 2"):
        run.project(images, 3)
    paths = [saved(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    assert command(runs(kind), *paths, out=tmp_path / "o", steps=2, label=2).labels.tolist() == [2, 2]


# --- the loss ---------------------------------------------------------------------------------------------------------
def projector(run, images, **options):
    return Projector(run.latent_space, images, None, **{"network": "mnist-v1", "space": "w+", "steps": 10} | options)


def test_the_loss_and_its_gradient(runs):
    """Pixels by NumPy, features by the library's own distance, the slope by central differences."""
    run = open_run(runs("style"))
    codes = drawn_codes(run, 2, layers=3)
    of = projector(run, run.synthesize(codes))
    target = jax.tree.map(lambda x: x[0], of.targets)
    loss = jax.jit(lambda code: of._loss(run.state, of.maps.variables, code, target))
    code = jnp.asarray(codes[1])
    drawn = run.gan.latents.synthesize(run.state, code[None], {})["image"]
    assert np.abs(drawn).max() < 1, "nothing is clipped"
    pixels = np.mean((np.asarray(drawn, np.float64) - np.asarray(of.targets["image"][:1])) ** 2)
    apart = unit_distance(feature_maps("mnist-v1"))(drawn, of.targets["image"][:1])
    np.testing.assert_allclose(loss(code), pixels + apart[0], rtol=1e-5)
    slope = jax.jit(jax.grad(loss))(code)
    for seed in range(3):
        way = np.random.default_rng(seed).normal(size=code.shape).astype(np.float32)
        difference = (float(loss(code + 2e-3 * way)) - float(loss(code - 2e-3 * way))) / 4e-3
        np.testing.assert_allclose(float(jnp.sum(slope * way)), difference, rtol=0.03, atol=3e-3)


@pytest.mark.slow
def test_a_step_is_compiled_once(runs):
    """Where its state comes from, a start, a step or a file, is no reason to compile it again."""
    run = open_run(runs("style"))
    of = projector(run, run.sample(1))
    state = of.advance(of.start(), 2)
    of.advance(jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), state), 1)
    assert of._step._cache_size() == 1


def test_the_spread_of_codes_is_that_of_the_mapping(runs):
    run = open_run(runs("style"))
    of = projector(run, run.sample(1))
    codes = drawn_codes(run, 4000, seed=9)[:, 0].astype(np.float64)
    mean = codes.mean(0)
    np.testing.assert_allclose(of.spread.mean, mean, atol=0.08)
    np.testing.assert_allclose(of.spread.deviation, np.sqrt(((codes - mean) ** 2).sum(1).mean()), rtol=0.03)
    start = of.start().codes
    assert start.shape == (1, 1, 3, 6)
    np.testing.assert_array_equal(start[0, 0], np.repeat(np.asarray(of.spread.mean)[None], 3, 0))


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [None, 2])
def test_a_batch_of_pictures_is_each_alone(runs, at_once, monkeypatch):
    run = open_run(runs("style"))
    images = run.synthesize(drawn_codes(run, 3))
    if at_once:
        monkeypatch.setattr("jaxgan.training.exploring.projector.PIXELS", at_once * 8 * 8)
    together = run.project(images, steps=30)
    monkeypatch.undo()
    for i in (0, 2):
        alone = run.project(images[i : i + 1], steps=30)
        np.testing.assert_allclose(alone.codes[0], together.codes[i], atol=1e-3)
        np.testing.assert_allclose(alone.losses[0], together.losses[i], rtol=1e-3)


# --- going on ---------------------------------------------------------------------------------------------------------
def contents(path):
    with np.load(path / "projection.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def same(one, other):
    """Two folders' projections, bit for bit."""
    found, expected = contents(one), contents(other)
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def picture_of(runs, tmp_path, name="a.png"):
    run = open_run(runs("style"))
    return saved(tmp_path / name, run.synthesize(drawn_codes(run, 1))[0])


@pytest.mark.slow
def test_what_was_stopped_goes_on_bit_for_bit(runs, tmp_path, monkeypatch, capsys):
    path, run = picture_of(runs, tmp_path), runs("style")
    monkeypatch.setattr(project, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr("jaxgan.training.run.projection.CHUNK", 2)
    whole = command(run, path, out=tmp_path / "whole", steps=12)
    advance = Projector.advance

    def stopping(self, projection, count):
        if int(projection.step) >= 5:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self, projection, count)

    monkeypatch.setattr(Projector, "advance", stopping)
    with pytest.raises(Stopped, match=r"SIGINT after step \d+, which is saved in .*; the same command goes on") as stop:
        command(run, path, out=tmp_path / "two", steps=12)
    assert stop.value.status == 130
    monkeypatch.undo()
    half = load_projection(tmp_path / "two")
    assert (
        5 < half.about["done"] < 12 and half.names == (str(path),) and not (tmp_path / "two" / "pictures.png").exists()
    )
    assert (half.losses >= whole.losses).all(), "of a part it is there already"
    command(run, path, out=tmp_path / "two", steps=12)
    assert "steps are done, going on" in capsys.readouterr().out
    same(tmp_path / "two", tmp_path / "whole")
    assert [name for name in contents(tmp_path / "two") if "state" in name] == [], "nothing is left to go on from"
    command(run, path, out=tmp_path / "two", steps=12)
    assert "all 12 steps are done" in capsys.readouterr().out
    refused(run, path, tmp_path)


def refused(run, path, tmp_path):
    """Of what is another projection than that in the folder, and of a folder that has none."""
    out = tmp_path / "two"
    other = saved(tmp_path / "b.png", np.full((8, 8, 1), 7, np.uint8))
    for inputs, options, said in (
        ([other], {}, "is a projection with other pictures or labels: choose another --out, or remove it"),
        ([path], {"steps": 13}, "is a projection with --steps 12: "),
        ([path], {"space": "w+"}, "is a projection with --space w: "),
        ([path], {"starts": 2}, "is a projection with --starts 1: "),
        ([path], {"weights": "raw"}, "is a projection with another checkpoint, other weights or another run"),
        ([path], {"perceptual_network": "cifar10-v1"}, "is a projection with --perceptual-network mnist-v1"),
    ):
        with pytest.raises(UsageError, match=said):
            command(run, *inputs, out=out, **{"steps": 12, **options})
    whole = (out / "projection.npz").read_bytes()
    for damaged in (b"", b"PK", whole[: len(whole) // 2], b"x" * 100):
        (out / "projection.npz").write_bytes(damaged)
        with pytest.raises(UsageError, match="can't be read as a projection"):
            command(run, path, out=out, steps=12)
    with pytest.raises(UsageError, match="can't be read as a projection"):
        load_projection(tmp_path)


@pytest.mark.slow
def test_after_a_kill_it_goes_on_bit_for_bit(runs, tmp_path):
    """kill -9 whenever the file is there, twice, and then to the end, in processes of their own."""
    path, run = picture_of(runs, tmp_path), runs("style")
    program = "import sys, tiny_stylegan; from scripts import project; project.SAVE_SECONDS = 0.0\n"
    program += (
        f"options = {{'run': project.Path({str(run)!r}), 'inputs': (project.Path({str(path)!r}),), 'steps': 300}}\n"
    )
    program += "project.run(project.Options(**options, out=project.Path(sys.argv[1])))\n"
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}

    def start(out):
        return subprocess.Popen([sys.executable, "-c", program, str(out)], env=env, cwd=tmp_path)

    def done(out):
        return load_projection(out).about["done"] if (out / "projection.npz").exists() else 0

    assert start(tmp_path / "whole").wait(600) == 0
    out, before, kills = tmp_path / "killed", 0, 0
    while kills < 2:
        process = start(out)
        while process.poll() is None and done(out) <= before:
            pass
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        before, kills = done(out), kills + 1
    assert kills and start(out).wait(600) == 0
    same(out, tmp_path / "whole")


# --- mistakes ---------------------------------------------------------------------------------------------------------
def test_mistakes_are_a_line_each(runs, tmp_path):
    grey, wide = (np.random.default_rng(0).integers(0, 256, (8, side, 1), np.uint8) for side in (8, 9))
    good, wrong = saved(tmp_path / "good.png", grey), saved(tmp_path / "wide.png", wide)
    (tmp_path / "text.png").write_text("no picture")
    out = tmp_path / "out"
    style, members = runs("style"), runs("style", seeds=2)
    for run, inputs, options, said in (
        (style, [wrong], {}, r"wide\.png has 8×9 pixels, and the run draws 8×8: --fit crop resizes"),
        (style, [wrong], {"fit": "pad"}, r"wide\.png has 8×9 pixels, larger than 8×8"),
        (style, [tmp_path / "text.png"], {}, r"text\.png is no picture"),
        (style, [tmp_path / "none.png"], {}, r"none\.png can't be read"),
        (style, [], {}, "--test must be given, or pictures, and not both, got none"),
        (style, [good], {"test": 2}, "--test must be given, or pictures, and not both, got 2"),
        (style, [], {"test": 13}, "--test must be at most 12, got 13"),
        (style, [good], {"label": 1, "space": "z"}, "given no labels; leave out label 1"),
        (runs("plain"), [good], {"space": "w"}, "has no mapping, and so no space w: take --space z"),
        (runs("plain"), [good], {"space": "w+"}, r"has no mapping, and so no space w\+: take --space z"),
        (runs("none"), [good], {}, "has no latent space"),
        (runs("plain classes"), [good], {}, r"is given labels: say which the pictures have \(--label\)"),
        (members, [good], {}, r"has 2 GANs: name one of them \(--member\)"),
        (style, [good], {"perceptual_network": "vgg16:nowhere.pth"}, r"nowhere\.pth"),
        (style, [good], {"perceptual_network": "mnist"}, "--perceptual-network must be one of mnist-v1"),
        (style, [good], {"steps": 0}, "--steps must be from 1 to 1000000, got 0"),
    ):
        with pytest.raises((UsageError, DataError), match=said) as error:
            command(run, *inputs, out=out, **options)
        assert "\n" not in str(error.value)
        assert not out.exists(), "nothing is written before all is known to be right"
    for place, said in (
        (good, "--out must be a folder"),
        (tmp_path / "x.npz", "--out must be a folder, in which files"),
    ):
        with pytest.raises(UsageError, match=said):
            command(style, good, out=place)


@pytest.mark.slow
def test_a_generator_that_has_diverged(runs, tmp_path):
    path = picture_of(runs, tmp_path)
    with pytest.raises(Stopped, match="the loss of picture 0 isn't finite: the run's generator has diverged"):
        command(runs("diverged"), path, out=tmp_path / "out", steps=3)
    assert not (tmp_path / "out" / "projection.npz").exists()


def test_codes_of_another_shape_are_refused(runs):
    run = open_run(runs("style"))
    for shape in ((2, 6), (2, 1, 6), (2, 3, 5), (0, 3, 6)):
        with pytest.raises(UsageError, match=r"codes must be|count must be"):
            run.synthesize(np.zeros(shape))
    with pytest.raises(UsageError, match=r"draws uint8 \[N, 8, 8, 1\], got float64 \[1, 8, 8, 1\]"):
        run.project(np.zeros((1, 8, 8, 1)))


@pytest.mark.slow
def test_colours_and_sizes(runs, tmp_path, capsys):
    """Colours for a grey run are made grey, and said; grey for one of colours becomes three channels."""
    colour = saved(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    grey = saved(tmp_path / "b.png", np.random.default_rng(0).integers(0, 256, (5, 8, 1), np.uint8))
    command(runs("style"), colour, out=tmp_path / "x", steps=2, fit="crop")
    assert "its colours are made grey" in capsys.readouterr().err
    found = command(runs("style", channels=3), colour, grey, out=tmp_path / "y", steps=2, fit="stretch")
    assert len(found.codes) == 2 and found.about["network"] == "cifar10-v1"
    assert "its colours" not in capsys.readouterr().err
    found = command(runs("style"), out=tmp_path / "z", steps=2, test=3)
    assert found.names == ("image 0", "image 1", "image 2") and "3 examples, " in capsys.readouterr().out
