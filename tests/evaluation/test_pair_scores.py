"""Scores of pairs: those that suit a size, and means over pairs against NumPy. Their values are compared with
scikit-image, pytorch-msssim and lpips in test_similarity and test_lpips."""

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


def test_targets_are_needed():
    with pytest.raises(ValueError, match="ssim compares pairs: give the targets of the images"):
        scores(["ssim"], None, IMAGES, IMAGES)
