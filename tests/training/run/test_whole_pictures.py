"""`run.translate`: pictures of any size, one, several or a list, of one GAN or of all members."""

import dataclasses

import jax
import numpy as np
import pytest
from whole_runs import build, run_of, translations

from jaxgan.training import UsageError
from jaxgan.training import open as open_run

pytestmark = pytest.mark.usefixtures("as_users_have_it")
rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By kind: an ensemble of three; and single ones, with other translations."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        run = open_run(run_of(tmp_path_factory.mktemp("runs") / "run", seeds=3), build=build)
    alone = run.member(0)
    others = {
        kind: dataclasses.replace(alone, gan=alone.gan._replace(translations=translations(kind)))
        for kind in ("styled", "both", "none", "diverged")
    }
    return {"enlarged": run, **others}


def pictures(*shape):
    return rng.integers(0, 256, shape, np.uint8)


def doubled(images, offset=0.0):
    """By hand, in float64: what member `offset` / 0.1 makes of them."""
    values = images.repeat(2, axis=-3).repeat(2, axis=-2) / 127.5 - 1 + offset
    return (np.clip(values, -1, 1) + 1) * 127.5


def test_one_several_and_a_list(runs):
    run = runs["enlarged"].member(0)
    one = pictures(7, 5, 3)
    made = run.translate(one)
    assert made.shape == (14, 10, 3) and made.dtype == np.uint8
    np.testing.assert_array_equal(made, np.rint(doubled(one)))
    several = pictures(4, 3, 6, 3)
    np.testing.assert_array_equal(run.translate(several), np.rint(doubled(several)))
    made = run.translate([one, several[0]])
    assert isinstance(made, list)
    for each, of in zip(made, (one, several[0]), strict=True):
        np.testing.assert_array_equal(each, np.rint(doubled(of)))
    assert run.translate([]) == []
    raw = run.translate(one, "image", weights="raw")
    assert np.abs(raw - doubled(one, 0.5)).max() < 0.5 + 1e-3


def test_in_tiles(runs):
    one = pictures(90, 70, 3)
    run = runs["enlarged"].member(0)
    np.testing.assert_array_equal(run.translate(one, tile=16, overlap=5), np.rint(doubled(one)))
    for tile, overlap, message in (
        (16, 16, "tiles that overlap by 16 pixels have at least 17, got 16"),
        (0, None, "the tile must be at least 1, got 0"),
        (8, -1, "the overlap must be at least 0, got -1"),
    ):
        with pytest.raises(UsageError, match=f"^{message}$"):
            run.translate(one, tile=tile, overlap=overlap)


def test_all_members_and_one(runs):
    run = runs["enlarged"]
    one, several = pictures(4, 5, 3), pictures(2, 3, 3, 3)
    offsets = [0.0, 0.1, 0.2]  # of the seeds 0, 1 and 2
    for images in (one, several):
        made = run.translate(images)
        assert made.shape == (3, *doubled(images).shape)
        for number, offset in enumerate(offsets):
            assert np.abs(made[number] - doubled(images, offset)).max() < 0.5 + 1e-3
            np.testing.assert_array_equal(run.member(number).translate(images), made[number])
    listed = run.translate([one, several[0]], interpolation=0.0)
    np.testing.assert_array_equal(listed[0], run.translate(one))
    assert listed[1].shape == (3, 6, 6, 3)
    with pytest.raises(UsageError, match=r"has 3 GANs: name one of them \(--member\)$"):
        run.translator()


def test_what_a_run_makes(runs):
    run = runs["both"]
    coloured = pictures(4, 5, 3)
    np.testing.assert_array_equal(run.translate(coloured, "a"), coloured[..., :1])
    grey = coloured[..., 1:2]
    made = run.translate(grey, to="b")
    np.testing.assert_array_equal(made, np.concatenate([grey, 255 - grey, grey], -1))
    for to, message in (
        (None, r"makes a or b of pictures: name one of them \(--to\)$"),
        ("c", r"makes a or b of pictures, not c \(--to\)"),
    ):
        with pytest.raises(UsageError, match=message):
            run.translate(coloured, to)
    with pytest.raises(UsageError, match=r" makes nothing of pictures: its GAN draws, and translates none$"):
        runs["none"].translate(coloured)


@pytest.mark.parametrize(
    "images, got",
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 \[4, 4, 3\]"),
        (np.zeros((4, 4, 3)), r"float64 \[4, 4, 3\]"),
        (np.zeros((4, 4, 1), np.uint8), r"uint8 \[4, 4, 1\]"),
        (np.zeros((4, 4), np.uint8), r"uint8 \[4, 4\]"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)], r"uint8 \[4, 4, 4\]"),
        (np.zeros((4, 4, 3), bool), r"bool \[4, 4, 3\]"),
        ("photo.png", r"<U9 \[\]"),
    ],
)
def test_what_is_no_picture_is_told(images, got, runs):
    expected = r"^pictures must be uint8 \[H, W, 3\] or \[N, H, W, 3\], of numbers from 0 to 255, got "
    with pytest.raises(UsageError, match=f"{expected}{got}$"):
        runs["enlarged"].member(1).translate(images)


def test_pictures_without_pixels(runs):
    run = runs["enlarged"].member(0)
    with pytest.raises(UsageError, match=r"at least one pixel, got 0×5$"):
        run.translate(np.zeros((0, 5, 3), np.uint8))
    assert run.translate(np.zeros((0, 5, 4, 3), np.uint8)).shape == (0, 10, 8, 3)


def test_what_a_translation_takes_beside_pictures(runs):
    run, white = runs["styled"], np.full((1, 3, 3, 3), 1.0, np.float32)
    one = pictures(4, 5, 3)
    styles = np.concatenate([white, -white])
    np.testing.assert_array_equal(run.translate(one, style=white, strength=0.0), one)
    assert set(run.translate(one, style=white).ravel()) == {255}
    assert set(run.translate(one, style=styles).ravel()) == {128}
    assert set(run.translate(one, style=styles, mix=[0.8, 0.2]).ravel()) == {204}
    for how, message in (
        ({}, r"^the run's translation needs style: name it \(--style \.\.\.\)$"),
        (
            {"style": white, "strenght": 1.0},
            r"^the run's translation takes no strenght: it takes style, strength, mix; perhaps you meant strength",
        ),
        ({"style": white, "interpolation": 0.5}, "takes no interpolation: it takes style, strength, mix"),
        ({"style": white, "weights": "EMA"}, "^weights must be one of ema, raw, got EMA$"),
    ):
        with pytest.raises(UsageError, match=message):
            run.translate(one, **how)
    with pytest.raises(UsageError, match=r"takes no strength: it takes nothing beside pictures$"):
        runs["both"].translate(one, "a", strength=0.5)
    np.testing.assert_array_equal(runs["enlarged"].member(0).translate(one, interpolation=1.0), np.zeros((8, 10, 3)))


def test_a_network_that_has_diverged(runs):
    with pytest.raises(UsageError, match=r"^what the network makes of the picture isn't finite: it has diverged$"):
        runs["diverged"].translate(pictures(4, 5, 3))


def test_more_than_the_memory_holds_is_refused(runs, monkeypatch):
    """Before anything is computed."""
    monkeypatch.setattr("jaxgan.training.run.open_run.machine_memory", lambda: 4 * 2 * 4 * 4 * 5 * 3)
    run = runs["enlarged"].member(0)
    assert len(run.translate(pictures(2, 4, 5, 3))) == 2
    for images in (pictures(3, 4, 5, 3), [pictures(4, 5, 3)] * 3):
        with pytest.raises(UsageError, match=r"^what the pictures become has 720 bytes; at most 480, a quarter of"):
            run.translate(images)
