"""Scores of pairs: those that suit a size, and means over pairs against NumPy. Their values are compared with
scikit-image, pytorch-msssim and lpips in test_similarity and test_lpips."""

from pathlib import Path

import numpy as np
import pytest

from jaxgan.evaluation import (
    HIGHER_IS_BETTER,
    OF_PAIRS,
    Perceptual,
    feature_maps,
    pair_values,
    perceptual_of,
    record,
    scores,
)
from jaxgan.evaluation.pairs import suited
from jaxgan.evaluation.similarity import luma, psnr_y, ssim_y
from scripts.golden import restoration

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (300, 16, 12, 3), np.uint8)
TARGETS = np.clip(IMAGES.astype(int) + RANDOM.integers(-30, 31, IMAGES.shape), 0, 255).astype(np.uint8)


def test_values_are_those_of_numpy():
    difference = IMAGES.astype(float) - TARGETS
    mean = (difference**2).reshape(300, -1).mean(1)
    np.testing.assert_allclose(pair_values("psnr", IMAGES, TARGETS), 10 * np.log10(255**2 / mean), rtol=1e-5)
    np.testing.assert_allclose(
        pair_values("l1", IMAGES, TARGETS), np.abs(difference).reshape(300, -1).mean(1) / 255, rtol=1e-12
    )
    np.testing.assert_allclose(pair_values("ssim", IMAGES, IMAGES), np.ones(300), rtol=1e-6)


def test_a_score_is_the_mean_over_pairs():
    found = scores(["psnr", "l1"], None, IMAGES, IMAGES[:2], targets=TARGETS)
    values = pair_values("psnr", IMAGES, TARGETS)
    assert found[0].value == pytest.approx(values.mean()) and found[0].std == pytest.approx(values.std(ddof=1))
    assert [score.of_pairs for score in found] == [True, True] and found[0].samples == 300 and found[0].real == 0
    assert record(found[0])["compares"] == "pairs" and found[0].name == "PSNR in dB"


def test_equal_pairs_are_counted_and_not_averaged():
    targets = TARGETS.copy()
    targets[:40] = IMAGES[:40]
    (found,) = scores(["psnr"], None, IMAGES, IMAGES[:2], targets=targets)
    assert found.samples == 260 and found.constants == {"equal": 40}
    assert found.value == pytest.approx(pair_values("psnr", IMAGES[40:], TARGETS[40:]).mean())
    with pytest.raises(ValueError, match="all 300 pairs are of equal images: their psnr is infinite"):
        scores(["psnr"], None, IMAGES, IMAGES[:2], targets=IMAGES)


def test_lpips_takes_floats_and_says_whose_weights():
    def distance(a, b):
        assert a.dtype == np.float32 and abs(a).max() <= 1
        return abs(a - b).mean((1, 2, 3))

    weights = Perceptual("lpips-alex", "ab12", distance)
    (found,) = scores(["lpips"], None, IMAGES, IMAGES[:2], targets=TARGETS, networks={"lpips": weights})
    expected = np.abs(IMAGES / 127.5 - TARGETS / 127.5).mean()
    assert found.value == pytest.approx(expected, rel=1e-5)
    assert found.constants == {"network": "lpips-alex", "sha256": "ab12"}
    assert suited((64, 64, 3), {"lpips": weights})[-1] == "lpips"
    assert "lpips" not in suited((64, 64, 1), {"lpips": weights})


def test_the_perceptual_distance_names_its_network_and_is_not_lpips():
    network = perceptual_of("cifar10-v1")
    images, targets = IMAGES[:16], TARGETS[:16]
    (found,) = scores(["perceptual"], None, images, images, targets=targets, networks={"perceptual": network})
    expected = network.distance(*(x.astype(np.float32) / 127.5 - 1 for x in (images, targets)))
    assert found.value == pytest.approx(float(expected.mean()), rel=1e-5) and found.std > 0 and found.of_pairs
    assert found.constants == {"network": "cifar10-v1", "sha256": feature_maps("cifar10-v1").digest}
    assert found.name == "perceptual distance, features of cifar10-v1" and "perceptual" not in HIGHER_IS_BETTER
    for shape, suits in (((8, 9, 3), True), ((8, 8, 1), True), ((7, 64, 3), False)):
        assert ("perceptual" in suited(shape, {"perceptual": network})) == suits


def test_which_suit():
    assert suited((10, 200, 3)) == ("psnr", "l1") and suited((11, 11, 1)) == ("psnr", "ssim", "l1")
    assert suited((161, 170, 3)) == ("psnr", "ssim", "ms_ssim", "l1") and set(suited((161, 170, 3))) < set(OF_PAIRS)


@pytest.mark.parametrize(
    "metric, images, targets, message",
    [
        ("psnr", IMAGES, TARGETS[:9], "compares pairs of uint8 images"),
        ("l1", IMAGES, TARGETS.astype(np.float32), r"got uint8 .* and float32"),
        ("lpips", IMAGES, TARGETS, "lpips needs weights: --lpips-weights alex:BACKBONE,LINEAR"),
        ("perceptual", IMAGES, TARGETS, "perceptual needs a network: --perceptual-network cifar10-v1"),
        ("fid", IMAGES, TARGETS, "no score of pairs is called 'fid'"),
        ("ms_ssim", IMAGES, TARGETS, "at least 161×161 pixels, got 16×12"),
    ],
)
def test_what_is_no_pair_is_refused(metric, images, targets, message):
    with pytest.raises(ValueError, match=message):
        pair_values(metric, images, targets)


# --- of the luma -----------------------------------------------------------------------------------------------------
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "restoration.npz")


@pytest.mark.parametrize("name", restoration.cases())
def test_scores_of_the_luma_are_scikit_images(name):
    a, b, border = restoration.cases()[name]
    assert [a.sum(), b.sum()] == list(GOLDEN[f"{name}/sum"]), "another NumPy makes other images of the seed"
    np.testing.assert_array_equal(luma(a)[..., 0], GOLDEN[f"{name}/luma"])
    np.testing.assert_allclose(psnr_y(a, b, border=border), GOLDEN[f"{name}/psnr"], rtol=1e-6)
    np.testing.assert_allclose(ssim_y(a, b, border=border), GOLDEN[f"{name}/ssim"], rtol=0, atol=2e-6)


def test_luma_by_hand():
    """BT.601: black is 16, white 235; pure red, green and blue 16 + 65.481, 128.553 and 24.966."""
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    np.testing.assert_array_equal(luma(colours.reshape(1, 1, 5, 3)).ravel(), [16, 235, 81, 145, 41])
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(luma(grey), grey)
    for wrong in (colours.reshape(5, 3), np.zeros((1, 2, 2, 4), np.uint8), np.zeros((1, 2, 2, 3), np.float32)):
        with pytest.raises(ValueError, match="luma is of uint8 images"):
            luma(wrong)


def test_luma_is_that_of_float64_for_all_colours_of_a_grid():
    levels = np.array([*range(0, 256, 5), 1, 2, 254], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, 1, -1, 3)
    exact = 16 + colours.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255
    np.testing.assert_array_equal(luma(colours)[..., 0], np.floor(exact + 0.5 + 1e-9))


def test_the_border_is_left_out():
    images, targets = IMAGES[:3], TARGETS[:3].copy()
    targets[:, :2] = 255 - targets[:, :2]  # wherever it differs more
    targets[:, :, -2:] = 0
    lumas = [np.asarray(luma(x), np.float64)[:, 2:-2, 2:-2] for x in (images, targets)]
    expected = 10 * np.log10(255**2 / ((lumas[0] - lumas[1]) ** 2).reshape(3, -1).mean(1))
    np.testing.assert_allclose(pair_values("psnr_y", images, targets, border=2), expected, rtol=1e-5)
    found = scores(["psnr_y"], None, images, images, targets=targets, border=2)[0]
    assert found.constants == {"colour": "Y of BT.601, 16 to 235, rounded", "border": 2}
    (grey,) = scores(["psnr_y"], None, images[..., :1], images[..., :1], targets=targets[..., :1])
    assert grey.constants == {"colour": "grey levels", "border": 0}
    with pytest.raises(ValueError, match="a border of 6 pixels, images of 16×12 pixels are smaller than 1×1"):
        psnr_y(images, targets, border=6)
    with pytest.raises(ValueError, match="a border of 1 pixels, images of 16×12 pixels are smaller than 11×11"):
        ssim_y(images, targets, border=1)


def test_scores_of_the_luma_suit_what_is_enlarged():
    assert "ssim_y" not in suited((18, 30, 3), border=4) and suited((18, 30, 3), border=4)[0] == "psnr_y"
    assert suited((19, 30, 3), border=4)[:2] == ("psnr_y", "ssim_y") and "psnr_y" not in suited((30, 30, 4), border=4)


# --- retrieval -------------------------------------------------------------------------------------------------------
def test_retrieval_against_all_distances():
    images = np.clip(TARGETS[:60].astype(int) + RANDOM.normal(0, 120, TARGETS[:60].shape), 0, 255).astype(np.uint8)
    targets = TARGETS[:60].copy()
    targets[41] = targets[40]  # ties: neither is found
    far = ((images[:, None].astype(int) - targets[None]) ** 2).sum((2, 3, 4))
    expected = [all(far[i, i] < far[i, j] for j in range(60) if j != i) for i in range(60)]
    values = pair_values("retrieval", images, targets)
    np.testing.assert_array_equal(values, expected)
    assert not values[40] and not values[41] and 0 < values.mean() < 1
    (found,) = scores(["retrieval"], None, images, images, targets=targets)
    assert found.value == pytest.approx(np.mean(expected)) and found.constants == {"of": 60} and found.samples == 60


def test_retrieval_of_equal_pairs_and_of_one():
    assert pair_values("retrieval", TARGETS, TARGETS).mean() == 1
    with pytest.raises(ValueError, match="retrieval takes at least 2 examples"):
        scores(["retrieval"], None, IMAGES[:1], IMAGES[:1], targets=TARGETS[:1])


def test_targets_are_needed():
    with pytest.raises(ValueError, match="ssim compares pairs: give the targets of the images"):
        scores(["ssim"], None, IMAGES, IMAGES)
