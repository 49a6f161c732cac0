"""PSNR, SSIM and MS-SSIM against scikit-image and pytorch-msssim, by hand and in closed form."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.similarity import ms_ssim, psnr, ssim
from scripts.golden.similarity import pairs

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "similarity.npz")
PAIRS = pairs()
SMALL = [name for name, (a, _, _) in PAIRS.items() if a.shape[1] < 100]
LARGE = [name for name in PAIRS if f"{name}/ms_ssim" in GOLDEN]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", PAIRS)
def test_what_goes_in_is_what_the_packages_had(name):
    sums = [x.sum(dtype=np.float64) for x in PAIRS[name][:2]]
    np.testing.assert_allclose(sums, GOLDEN[f"{name}/sum"], rtol=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_psnr_is_that_of_scikit_image(name):
    a, b, data_range = PAIRS[name]
    found = psnr(a, b, data_range=data_range)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, GOLDEN[f"{name}/psnr"], rtol=1e-6, atol=5e-6)


@pytest.mark.parametrize("name", [*SMALL, "large barely", "large bright"])
def test_ssim_is_that_of_both_packages(name):
    """scikit-image computes in float64, where bright and flat images are no trouble. pytorch-msssim does so here with a
    window that was rounded to float32, so it differs from scikit-image by up to 5e-6."""
    a, b, data_range = PAIRS[name]
    found = ssim(a, b, data_range=data_range)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, GOLDEN[f"{name}/ssim"], rtol=1e-6, atol=5e-7)
    np.testing.assert_allclose(found, GOLDEN[f"{name}/ssim_torch"], atol=5e-6)


@pytest.mark.parametrize("name", LARGE)
def test_ms_ssim_is_that_of_pytorch_msssim(name):
    """`odd` has odd sides at each scale; `large inverted` one channel of three whose structure is negative."""
    a, b, data_range = PAIRS[name]
    found = ms_ssim(a, b, data_range=data_range)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, GOLDEN[f"{name}/ms_ssim"], rtol=3e-6)


def test_psnr_by_hand():
    a = noise(3, 4, 5, 3) // 2
    np.testing.assert_allclose(psnr(a, a + np.uint8(1)), 48.1308036, rtol=1e-6)  # 20 log10 255
    far = np.stack([a[0], a[1] + 10, a[2]])  # one pair's difference is not another's
    far[2, 0, 0, 0] += 60
    assert np.isinf(psnr(a, far)[0])
    np.testing.assert_allclose(psnr(a, far)[1:], [28.1308036, 30.3494], rtol=1e-5)  # 3600 / 60 is the mean square
    assert np.isposinf(psnr(a, a)).all() and np.isposinf(psnr(a / np.float32(255), a / np.float32(255))).all()


def test_ssim_of_flat_images_is_the_luminance_term():
    values = np.array([[0, 255], [0, 0], [3, 5], [100, 200], [254, 255]], np.float64)
    a, b = (np.broadcast_to(v.astype(np.uint8)[:, None, None, None], (5, 11, 11, 1)) for v in values.T)
    c1 = (0.01 * 255) ** 2
    expected = (2 * values[:, 0] * values[:, 1] + c1) / (values[:, 0] ** 2 + values[:, 1] ** 2 + c1)
    np.testing.assert_allclose(ssim(a, b), expected, rtol=1e-6)


def test_ssim_of_one_window_by_hand():
    a, b = noise(5, 11, 11, 1), noise(5, 11, 11, 1, seed=1)
    tap = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(tap, tap) / np.outer(tap, tap).sum()
    for x, y, found in zip(a[..., 0].astype(np.float64), b[..., 0].astype(np.float64), ssim(a, b), strict=True):
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
        cov = (window * (x - mx) * (y - my)).sum()
        c1, c2 = 2.55**2, 7.65**2
        expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_equal_images_are_at_one_and_order_does_not_matter():
    a, b, _ = PAIRS["large"]
    for measure in (ssim, ms_ssim):
        np.testing.assert_allclose(measure(a, a), 1, rtol=1e-6)
        np.testing.assert_allclose(measure(a, b), measure(b, a), rtol=1e-6)


def test_only_the_ratio_to_the_range_counts():
    a, b, _ = PAIRS["noisy"]
    expected = ssim(a, b)
    np.testing.assert_allclose(ssim(a / np.float32(255), b / np.float32(255), data_range=1), expected, rtol=2e-6)
    np.testing.assert_allclose(ssim(a.astype(np.float32), b.astype(np.float32)), expected, rtol=1e-6)


def test_more_pairs_than_are_in_memory_at_a_time_and_under_transformations():
    a, b, _ = PAIRS["noisy"]
    few, many = ssim(a, b), ssim(np.tile(a, (9, 1, 1, 1)), np.tile(b, (9, 1, 1, 1)))
    assert few[0] != few[1]
    np.testing.assert_allclose(many, np.tile(few, 9), rtol=1e-6)
    members = jax.jit(jax.vmap(ssim, (0, None)))(jnp.stack([b, a]), b)
    np.testing.assert_allclose(members, [np.ones(2), few], rtol=1e-6)
    assert np.isnan(jax.jit(psnr)(jnp.full((1, 2, 2, 1), jnp.nan), jnp.zeros((1, 2, 2, 1)))).all()


def bad(value):
    images = np.zeros((3, 20, 20, 1), np.float32)
    images[1, 2, 3] = value
    return images


@pytest.mark.parametrize(
    "measure, a, b, data_range, message",
    [
        pytest.param(
            psnr, noise(2, 4, 4, 3), noise(2, 4, 4, 1), 255, r"\(2, 4, 4, 3\) and \(2, 4, 4, 1\)", id="channels"
        ),
        pytest.param(psnr, noise(2, 4, 4, 3), noise(1, 4, 4, 3), 255, "one shape", id="counts"),
        pytest.param(psnr, noise(4, 4, 3), noise(4, 4, 3), 255, r"\[B, H, W, C\]", id="one-image"),
        pytest.param(psnr, noise(0, 4, 4, 3), noise(0, 4, 4, 3), 255, "images", id="empty"),
        pytest.param(psnr, noise(1, 4, 4, 3).astype(int), noise(1, 4, 4, 3), 255, "int32", id="integers"),
        pytest.param(psnr, bad(0), bad(np.nan), 255, "image 1 of the second set holds NaN", id="nan"),
        pytest.param(ssim, bad(-np.inf), bad(0), 255, "image 1 of the first set holds NaN or infinity", id="infinity"),
        pytest.param(psnr, noise(1, 4, 4, 3), noise(1, 4, 4, 3), 1, "further apart than data_range=1", id="range"),
        pytest.param(psnr, bad(-1), bad(1), 1, "values from -1 to 1 are further", id="signed-range"),
        pytest.param(psnr, bad(0), bad(1), 0, "positive data_range, got 0", id="no-range"),
        pytest.param(psnr, bad(0), bad(1), np.inf, "positive data_range, got inf", id="endless-range"),
        pytest.param(
            ssim, noise(1, 30, 10, 1), noise(1, 30, 10, 1), 255, "at least 11×11 pixels, got 30×10", id="ssim"
        ),
        pytest.param(ms_ssim, noise(1, 160, 200, 1), noise(1, 160, 200, 1), 255, "161×161.*160×200", id="ms-ssim"),
    ],
)
def test_what_cannot_be_compared(measure, a, b, data_range, message):
    with pytest.raises(ValueError, match=message):
        measure(a, b, data_range=data_range)
