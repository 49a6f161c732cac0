"""Degradations of images against NumPy and SciPy in float64, hand numbers, and what Pillow makes of them."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from PIL import Image, ImageEnhance
from scipy import ndimage, stats

from jaxgan import degrade
from jaxgan.augment import noise as instance_noise
from jaxgan.degrade import blur, contrast, edges, grey, hole, jpeg, noise, resize


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


# --- resize ----------------------------------------------------------------------------------------------------------
def keys_1981(x):
    """Keys 1981, equation 15, a = -1/2."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def imresize_line(line, new):
    """One axis as MATLAB's imresize defines it, pixel by pixel with MATLAB's 1-based numbers, in float64."""
    old = len(line)
    scale = new / old
    shrunk = min(scale, 1)
    out = []
    for x in range(1, new + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)
        total = weights = 0.0
        for place in range(int(np.floor(u - 2 / shrunk)) - 1, int(np.ceil(u + 2 / shrunk)) + 2):
            weight = shrunk * keys_1981(shrunk * (u - place))
            index = place
            while not 1 <= index <= old:  # ... c b a | a b c | c b a ...
                index = 1 - index if index < 1 else 2 * old + 1 - index
            total += weight * float(line[index - 1])
            weights += weight
        out.append(total / weights)
    return np.array(out)


def imresize(image, size):
    image = np.apply_along_axis(imresize_line, 0, image.astype(np.float64), size[0])
    return np.apply_along_axis(imresize_line, 1, image, size[1])


SIZES = [((12, 16), (3, 4)), ((9, 7), (18, 14)), ((10, 13), (7, 29)), ((5, 3), (1, 1)), ((1, 1), (4, 3))]


@pytest.mark.parametrize("old, new", SIZES, ids=str)
def test_resize_is_imresize(old, new):
    images = pictures(2, *old, 3)
    expected = np.stack([imresize(image, new) for image in images])
    np.testing.assert_allclose(resize(images, new), expected, rtol=0, atol=1e-6)


def test_resize_by_hand():
    """Keys's kernel at distances 1/4, 3/4, 5/4 and 7/4."""
    line = np.zeros((1, 1, 7, 1), np.float32)
    line[0, 0, 3] = 1
    beside = [0.8671875, 0.2265625, -0.0703125, -0.0234375, 0, 0, 0]
    np.testing.assert_allclose(resize(line, (1, 14)).ravel(), [*beside[::-1], *beside], rtol=0, atol=1e-7)
    # Halved, at distances 1/4, 3/4, 5/4 and 7/4 of the wider kernel on either side, and the first pixel mirrored.
    line = np.array([1, 0, 0, 0, 0, 0, 0, 0], np.float32).reshape(1, 1, 8, 1)
    expected = [(0.8671875 + 0.2265625) / 2, (-0.0703125 - 0.0234375) / 2, 0, 0]
    np.testing.assert_allclose(resize(line, (1, 4)).ravel(), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("new", [(10, 8), (80, 64), (37, 21)], ids=str)
def test_resize_is_pillows_bicubic_away_from_the_border(new):
    image = pictures(1, 40, 32, 1)
    pillow = np.asarray(Image.fromarray(image[0, :, :, 0]).resize(new[::-1], Image.Resampling.BICUBIC))
    margin = max(2 * 3, new[0] // 8)
    inside = (slice(margin // 2, -margin // 2),) * 2
    np.testing.assert_allclose(resize(image, new)[0, :, :, 0][inside], pillow[inside], rtol=0, atol=2e-5)


def test_resize_keeps_what_is_flat_and_what_has_the_size():
    flat = jnp.full((1, 11, 6, 3), 0.7)
    np.testing.assert_allclose(resize(flat, (4, 17)), np.full((1, 4, 17, 3), 0.7), rtol=0, atol=1e-6)
    images = pictures(2, 8, 5, 1)
    np.testing.assert_array_equal(resize(images, (8, 5)), images)


def test_resize_has_gradients():
    check_grads(lambda x: resize(x, (3, 7)), (pictures(1, 6, 5, 2),), order=2)
    # It is linear: the gradient of a sum is what each pixel adds to it, from the reference.
    gradient = jax.grad(lambda x: resize(x, (3, 2)).sum())(jnp.zeros((1, 6, 5, 1)))[0, :, :, 0]
    one = np.zeros((6, 5))
    for place in np.ndindex(6, 5):
        one[place] = imresize(np.eye(30)[place[0] * 5 + place[1]].reshape(6, 5), (3, 2)).sum()
    np.testing.assert_allclose(gradient, one, rtol=0, atol=1e-6)


def test_resize_refuses_no_pixels():
    with pytest.raises(ValueError, match="at least 1×1 pixels, got 0×4"):
        resize(jnp.zeros((1, 8, 8, 1)), (0, 4))


# --- blur and contrast -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.7, 6.0])
def test_blur_is_scipys(sigma):
    images = pictures(2, 9, 13, 3)  # a radius of 24 pixels is mirrored twice
    expected = ndimage.gaussian_filter(images.astype(np.float64), (0, sigma, sigma, 0))
    np.testing.assert_allclose(blur(images, sigma), expected, rtol=0, atol=1e-6)


def test_blur_refuses():
    for sigma in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="standard deviation of 0 or more"):
            blur(jnp.zeros((1, 4, 4, 1)), sigma)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.5])
def test_contrast_is_pillows(factor):
    levels = np.random.default_rng(0).integers(60, 196, (12, 9, 3), np.uint8)  # nothing is clipped
    pillow = np.asarray(ImageEnhance.Contrast(Image.fromarray(levels)).enhance(factor)).astype(float)
    got = contrast(levels[None].astype(np.float32) / 127.5 - 1, keys(1), factor, factor)[0]
    # Pillow rounds the mean, then what it adds up.
    np.testing.assert_allclose((got + 1) * 127.5, pillow, rtol=0, atol=1.01 + 0.5 * abs(1 - factor))


def test_contrast_is_drawn_evenly_by_the_key_alone():
    images = np.broadcast_to(np.array([-1.0, 1.0], np.float32).reshape(1, 1, 2, 1), (4000, 1, 2, 1))
    factors = np.asarray(contrast(images, keys(4000), 0.2, 0.7))[:, 0, 1, 0]
    assert stats.kstest(factors, stats.uniform(0.2, 0.5).cdf).pvalue > 0.01
    np.testing.assert_array_equal(contrast(images[:3], keys(4000)[5:8], 0.2, 0.7)[:, 0, 1, 0], factors[5:8])
    for wrong in ((0.7, 0.2), (-0.1, 0.5)):
        with pytest.raises(ValueError, match="0 ≤ lowest ≤ highest"):
            contrast(images, keys(4000), *wrong)


# --- hole ------------------------------------------------------------------------------------------------------------
def test_a_hole_is_a_rectangle_of_zeros_and_its_mask():
    images = 0.5 + 0.5 * np.abs(pictures(64, 20, 31, 3))  # nowhere 0
    torn, mask = hole(images, keys(64))
    assert mask.dtype == jnp.float32 and mask.shape == (64, 20, 31, 1) and set(np.unique(mask)) == {0.0, 1.0}
    np.testing.assert_array_equal(torn, np.where(mask == 1, 0, images))
    sides = []
    for own in np.asarray(mask[..., 0]):
        down, across = own.any(1), own.any(0)
        np.testing.assert_array_equal(own, np.outer(down, across))
        for line in (down, across):
            assert np.sum(np.diff(np.flatnonzero(line)) != 1) == 0  # in one piece
        sides.append((down.sum(), across.sum()))
    heights, widths = np.transpose(sides)
    assert set(heights) == set(range(5, 11)) and set(widths) == set(range(8, 17))
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.4


def test_holes_lie_everywhere():
    _, mask = hole(jnp.zeros((4000, 8, 8, 1)), keys(4000), smallest=0.25, largest=0.25)
    # 2 of 8 pixels, 7 places along each axis: a corner is in 1 of 49, an inner pixel in 4 of 49.
    share = np.asarray(mask).mean(0)[..., 0] * 49
    inner = np.array([1, 2, 2, 2, 2, 2, 2, 1])
    np.testing.assert_allclose(share, np.outer(inner, inner), rtol=0, atol=0.8)


def test_the_hole_in_the_middle():
    torn, mask = hole(jnp.ones((2, 8, 6, 1)), keys(2), smallest=0.5, largest=0.5, centred=True)
    expected = np.zeros((8, 6))
    expected[2:6, 1:4] = 1  # a half of 6 pixels, 3, has one pixel less on its left
    np.testing.assert_array_equal(mask[..., 0], [expected] * 2)
    np.testing.assert_array_equal(torn[..., 0], [1 - expected] * 2)


def test_a_hole_depends_on_its_key_alone():
    images, own = pictures(8, 9, 7, 2), keys(8)
    whole = hole(images, own)
    for some in (np.array([5]), np.array([3, 0, 7])):
        for part, all_of_them in zip(jax.jit(hole)(images[some], own[some]), whole, strict=True):
            np.testing.assert_array_equal(part, all_of_them[some])


@pytest.mark.parametrize("sides", [(0, 0.5), (0.5, 0.25), (0.5, 1.5), (float("nan"), 0.5)], ids=str)
def test_a_hole_that_cannot_be_is_refused(sides):
    with pytest.raises(ValueError, match="0 < smallest ≤ largest ≤ 1"):
        hole(jnp.zeros((1, 8, 8, 1)), keys(1), smallest=sides[0], largest=sides[1])


def test_one_pixel_can_be_torn():
    torn, mask = hole(jnp.ones((1, 1, 1, 3)), keys(1))
    assert not torn.any() and mask.all()


# --- grey and edges --------------------------------------------------------------------------------------------------
def test_grey_by_hand():
    """BT.601: 0.299, 0.587, 0.114 of pure red, green and blue, in [0, 1]; -1 is none of a colour."""
    colours = jnp.asarray(2 * np.eye(3, dtype=np.float32) - 1).reshape(1, 1, 3, 3)
    np.testing.assert_allclose((grey(colours).ravel() + 1) / 2, [0.299, 0.587, 0.114], rtol=0, atol=1e-6)
    three = grey(colours, 3)
    assert three.shape == (1, 1, 3, 3)
    np.testing.assert_array_equal(three, np.repeat(grey(colours), 3, -1))


def test_grey_of_grey():
    images = pictures(2, 3, 4, 1)
    np.testing.assert_array_equal(grey(images), images)
    np.testing.assert_array_equal(grey(images, 3), np.repeat(images, 3, -1))
    with pytest.raises(ValueError, match="got 1 of 4"):
        grey(jnp.zeros((1, 2, 2, 4)))
    with pytest.raises(ValueError, match="got 2 of 3"):
        grey(jnp.zeros((1, 2, 2, 3)), 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(9, 12), (1, 1), (2, 5)], ids=str)
def test_edges_are_scipys_sobel(size, channels):
    images = pictures(2, *size, channels)
    luma = (images.astype(np.float64) + 1) / 2 @ ([1] if channels == 1 else [0.299, 0.587, 0.114])
    length = [np.hypot(ndimage.sobel(x, 0, mode="nearest"), ndimage.sobel(x, 1, mode="nearest")) / 4 for x in luma]
    expected = 1 - 2 * np.clip((np.stack(length) - 0.2) / 0.5, 0, 1)
    np.testing.assert_allclose(edges(images, low=0.2, high=0.7)[..., 0], expected, rtol=0, atol=2e-6)


def test_edges_of_a_step_by_hand():
    """A step from 0.2 to 0.6 of white has contrast 0.4 in both columns beside it, and none elsewhere."""
    step = np.repeat(np.array([0.2, 0.2, 0.2, 0.6, 0.6, 0.6], np.float32)[None, :, None] * 2 - 1, 5, 0)[None]
    np.testing.assert_allclose(edges(step, low=0.0, high=1.0)[0, :, :, 0], [[1, 1, 0.2, 0.2, 1, 1]] * 5, atol=1e-6)
    np.testing.assert_array_equal(edges(step, low=0.39, high=0.39)[0, :, :, 0], [[1, 1, -1, -1, 1, 1]] * 5)
    np.testing.assert_array_equal(edges(step, low=0.41, high=0.41), jnp.ones((1, 5, 6, 1)))
    with pytest.raises(ValueError, match=r"0 ≤ low ≤ high, got 0\.5 and 0\.2"):
        edges(step, low=0.5, high=0.2)


# --- jpeg ------------------------------------------------------------------------------------------------------------
def saved(levels, quality):
    """What Pillow reads of a JPEG that it saved; with its quantisation tables."""
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality)
    read = Image.open(io.BytesIO(file.getvalue()))
    return np.asarray(read).astype(np.float64), read.quantization


def scene(height, width, channels):
    """Smooth colours, edges and some noise, uint8."""
    y, x = np.mgrid[:height, :width]
    red, green = 128 + 90 * np.sin(x / 9 + y / 31), 128 + 90 * np.cos(y / 7 + x / 20)
    disc = np.hypot(x - width / 3, y - height / 2) < height / 4
    image = np.stack([red, np.where(disc, 30, green), 200 * disc + x * 55 / width], -1)
    image += np.random.default_rng(0).normal(0, 6, image.shape)
    levels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return levels[..., 0] if channels == 1 else levels


def compressed(levels, quality):
    images = levels.reshape(1, *levels.shape[:2], -1).astype(np.float32) / 127.5 - 1
    got = (np.asarray(jax.jit(jpeg, static_argnums=1)(images, quality), np.float64)[0] + 1) * 127.5
    np.testing.assert_allclose(got, np.rint(got), rtol=0, atol=1e-4)
    return np.rint(got).reshape(levels.shape)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [5, 30, 75, 95])
def test_jpeg_is_pillows(quality, channels):
    levels = scene(93, 118, channels)
    expected, _ = saved(levels, quality)
    got = compressed(levels, quality)
    wrong = np.abs(got - expected)
    assert np.mean(wrong > 1) < 0.05 and wrong.mean() < 0.25
    # What was lost is the same: errors of the picture agree in size, and far better than in size.
    lost, lost_there = np.abs(got - levels), np.abs(expected - levels)
    assert lost.mean() == pytest.approx(lost_there.mean(), rel=0.02)
    if quality < 95:
        assert wrong.mean() < 0.1 * lost.mean()


@pytest.mark.parametrize("size", [(1, 1), (5, 2), (3, 5), (16, 16), (25, 31)], ids=str)
def test_jpeg_of_any_size_is_pillows(size):
    """Borders, where blocks are filled up and chroma has no neighbour, and chroma of two columns or fewer."""
    for channels in (1, 3):
        levels = scene(64, 64, channels)[20 : 20 + size[0], 10 : 10 + size[1]].copy()
        wrong = np.abs(compressed(levels, 75) - saved(levels, 75)[0])
        assert wrong.max() <= 4 and np.mean(wrong > 1) < 0.12


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 95, 100])
def test_the_tables_are_libjpegs(quality):
    _, tables = saved(scene(16, 16, 3), quality)
    for table, number in ((degrade._LUMINANCE, 0), (degrade._CHROMINANCE, 1)):
        np.testing.assert_array_equal(degrade._scaled(table, quality).ravel(), tables[number])


def test_jpeg_keeps_the_dtype_and_clips():
    levels = scene(16, 16, 3)[None].astype(np.float32) / 127.5 - 1
    wide = jnp.asarray(np.where(levels > 0.5, 3, levels), jnp.bfloat16)
    got = jax.jit(jpeg, static_argnums=1)(wide, 90)
    assert got.dtype == jnp.bfloat16 and float(jnp.abs(got).max()) <= 1
    np.testing.assert_array_equal(got, jax.jit(jpeg, static_argnums=1)(jnp.clip(wide, -1, 1), 90))


def test_jpeg_refuses():
    for quality in (0, 101):
        with pytest.raises(ValueError, match=f"a quality from 1 to 100, got {quality}"):
            jpeg(jnp.zeros((1, 8, 8, 3)), quality)
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        jpeg(jnp.zeros((1, 8, 8, 2)), 75)


# --- all -------------------------------------------------------------------------------------------------------------
def test_noise_is_that_of_augment():
    assert noise is instance_noise


CHANGES = {
    "resize": lambda images, own: resize(images, (4, 9)),
    "hole": lambda images, own: hole(images, own)[0],
    "grey": lambda images, own: grey(images),
    "edges": lambda images, own: edges(images),
    "blur": lambda images, own: blur(images, 1.0),
    "contrast": lambda images, own: contrast(images, own, 0.2, 0.8),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_keeps_the_dtype_and_is_the_same_under_jit(change, dtype):
    images = jnp.asarray(pictures(3, 8, 7, 3), dtype)
    changed = change(images, keys(3))
    assert changed.dtype == dtype
    close = 2e-6 if dtype == jnp.float32 else 2e-2
    np.testing.assert_allclose(
        np.asarray(jax.jit(change)(images, keys(3)), np.float32), np.asarray(changed, np.float32), rtol=0, atol=close
    )
