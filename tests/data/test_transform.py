"""The transform of images for a network, against arithmetic in NumPy and float64."""

import numpy as np
import pytest

from jaxgan import data
from jaxgan.data import ImageTransform, choose, in_memory
from jaxgan.data.errors import BadImage
from jaxgan.data.transform import readable

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (12, 12, 3), np.uint8)
# Far from 0 and 255, where lanczos and bicubic would overshoot and be cut off between the two passes.
MIDDLE = RANDOM.integers(64, 192, (12, 18, 3), np.uint8)


def triangle(x):
    return np.maximum(1 - np.abs(x), 0)


def keys_cubic(x, a=-0.5):
    """Computes the cubic convolution kernel of R. Keys 1981, "Cubic convolution interpolation for digital image
    processing", equation 4 generalised to a."""
    x = np.abs(x)
    near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def lanczos3(x):
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


def box(x):
    return ((x > -0.5) & (x <= 0.5)).astype(float)


KERNELS = {"box": box, "bilinear": triangle, "bicubic": keys_cubic, "lanczos": lanczos3}


def weights(old, new, kernel):
    """Returns `[new, old]`: the kernel, as much wider as the image becomes smaller, at the distances of the pixels'
    centres."""
    scale = old / new
    distance = np.arange(old)[None] + 0.5 - (np.arange(new)[:, None] + 0.5) * scale
    found = kernel(distance / max(scale, 1))
    return found / found.sum(axis=1, keepdims=True)


def resized(image, size, kernel):
    rows, columns = (weights(old, size, kernel) for old in image.shape[:2])
    return np.einsum("yh,xw,hwc->yxc", rows, columns, image.astype(np.float64))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("size", [4, 5, 7, 12, 17])
def test_resizing_is_antialiased_as_worked_out_in_float64(name, size):
    transform = ImageTransform(size, 3, "stretch", name)
    found = transform(MIDDLE, "a")
    assert found.shape == (size, size, 3) and found.dtype == np.uint8
    # Pillow rounds after each of two passes: half a level twice, and the first half is spread by the second kernel.
    np.testing.assert_allclose(found, resized(MIDDLE, size, KERNELS[name]), atol=1.3)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_box_is_the_mean_of_its_pixels(factor):
    means = COLOUR.reshape(12 // factor, factor, 12 // factor, factor, 3).mean((1, 3))
    found = ImageTransform(12 // factor, 3, "crop", "box")(COLOUR, "a")
    np.testing.assert_allclose(found, means, atol=1.01)


def test_fine_stripes_become_grey_and_not_coarse_ones():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., None]
    for name in KERNELS:
        found = ImageTransform(12, 1, "crop", name)(stripes, "a")
        assert np.ptp(found.astype(int)) < (100 if name == "box" else 30)  # nearest pixels would give 0 and 255


@pytest.mark.parametrize("height, width, rows, columns", [(12, 18, (0, 12), (3, 15)), (15, 12, (1, 13), (0, 12))])
def test_crop_takes_the_middle_square(height, width, rows, columns):
    image = RANDOM.integers(0, 256, (height, width, 3), np.uint8)
    middle = image[rows[0] : rows[1], columns[0] : columns[1]]
    for name in KERNELS:  # at its own size untouched, whatever the filter
        np.testing.assert_array_equal(ImageTransform(12, 3, "crop", name)(image, "a"), middle)
    np.testing.assert_array_equal(
        ImageTransform(5, 3, "crop")(image, "a"), ImageTransform(5, 3, "stretch")(np.ascontiguousarray(middle), "a")
    )


def test_padding_centres_on_black():
    image = RANDOM.integers(0, 256, (3, 4, 3), np.uint8)
    expected = np.zeros((6, 6, 3), np.uint8)
    expected[1:4, 1:5] = image
    np.testing.assert_array_equal(ImageTransform(6, 3, "pad")(image, "a"), expected)
    with pytest.raises(BadImage, match=r"^a has 3×4 pixels, larger than 3×3; choose an --image-size and --fit crop"):
        ImageTransform(3, 3, "pad")(image, "a")
    with pytest.raises(BadImage, match=r"^a has 3×4 pixels, not 4×4; choose"):
        ImageTransform(4, 3)(image, "a")


def test_grey_is_the_luma_of_itu_r_601():
    np.testing.assert_array_equal(
        ImageTransform(1, 1)(np.array([[[255, 0, 0]]], np.uint8), "red"), [[[76]]]
    )  # 0.299·255
    np.testing.assert_array_equal(
        ImageTransform(1, 1)(np.array([[[0, 255, 0]]], np.uint8), "green"), [[[150]]]
    )  # 0.587
    np.testing.assert_array_equal(ImageTransform(1, 1)(np.array([[[0, 0, 255]]], np.uint8), "blue"), [[[29]]])  # 0.114
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(ImageTransform(12, 1)(COLOUR, "a")[..., 0], luma, atol=0.51)


def test_grey_becomes_three_equal_channels():
    found = ImageTransform(12, 3)(COLOUR[..., :1], "a")
    np.testing.assert_array_equal(found, COLOUR[..., [0, 0, 0]])


def test_equalizing_by_hand():
    """Eight pixels 3 3 5 5 5 9 9 20: of the six above the darkest value, 3, 5 and 6 are up to 5, 9 and 20."""
    image = np.array([[3, 9, 5, 5], [20, 3, 9, 5]], np.uint8)[..., None]
    table = {3: 0, 5: round(255 * 3 / 6 + 1e-9), 9: round(255 * 5 / 6 + 1e-9), 20: 255}
    assert table[5] == 128 and table[9] == 213
    expected = np.vectorize(table.get)(image)
    found = ImageTransform(4, 1, "pad", equalize=False)(image, "a")[1:3]
    np.testing.assert_array_equal(found, image)
    square = np.concatenate([image, image])
    np.testing.assert_allclose(
        ImageTransform(4, 1, equalize=True)(square, "a"), np.concatenate([expected, expected]), atol=1
    )


def test_equalized_channels_are_flat_and_keep_their_order():
    image = (RANDOM.beta(2, 6, (28, 28, 3)) * 255).astype(np.uint8)
    found = ImageTransform(28, 3, equalize=True)(image, "a")
    for c in range(3):
        assert found[..., c].min() == 0 and found[..., c].max() == 255
        shares = np.histogram(found[..., c], 8, (0, 256))[0] / 28**2
        assert np.abs(shares - 1 / 8).max() < 0.03  # of 784 pixels that share some 150 values
        order = np.argsort(image[..., c].ravel(), kind="stable")
        assert (np.diff(found[..., c].ravel()[order].astype(int)) >= 0).all()
    flat = np.full((4, 4, 1), 7, np.uint8)
    np.testing.assert_array_equal(ImageTransform(4, 1, equalize=True)(flat, "a"), flat)


def numbered(count, names=("cat", "dog", "owl")):
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 2, 2, 1), np.uint8)
    return data.from_arrays("mine", images, np.arange(count) % len(names), names)


@pytest.mark.parametrize("classes", ["owl,cat", "2,0", " owl , 0 "])
def test_classes_are_numbered_anew_in_the_order_asked_for(classes):
    chosen, labels, names = choose(numbered(10), classes, None)
    assert chosen.tolist() == [0, 2, 3, 5, 6, 8, 9] and names == ("owl", "cat")
    assert labels.tolist() == [1, 0, 1, 0, 1, 0, 1] and labels.dtype == np.int32


def test_a_name_that_is_a_number_is_taken_as_the_name():
    assert choose(numbered(9, ("2", "7", "0")), "2", None)[0].tolist() == [0, 3, 6]
    assert choose(numbered(9, ("2", "7", "0")), "1", None)[2] == ("7",)


def test_all_images_are_left_as_they_are():
    chosen, labels, names = choose(numbered(5), None, None)
    assert chosen.tolist() == [0, 1, 2, 3, 4] and labels.tolist() == [0, 1, 2, 0, 1] and names == ("cat", "dog", "owl")


@pytest.mark.parametrize("images, count", [("5", 5), ("50%", 10), ("100%", 20), ("20", 20), ("12.6%", 3), ("1", 1)])
def test_so_many_images_are_drawn_alike_every_time(images, count):
    source = numbered(20)
    chosen, labels, _ = choose(source, None, images)
    assert len(set(chosen.tolist())) == count and chosen.tolist() == sorted(chosen)
    np.testing.assert_array_equal(labels, source.labels[chosen])
    np.testing.assert_array_equal(choose(source, None, images)[0], chosen)


def test_a_draw_is_spread_over_the_set_and_over_the_classes_asked_for():
    assert choose(numbered(200), None, "50")[0].mean() == pytest.approx(99.5, abs=25)  # 3 standard deviations
    chosen, labels, _ = choose(numbered(30), "dog", "50%")
    assert len(chosen) == 5 and set(chosen % 3) == {1} and set(labels) == {0}
    assert set(choose(numbered(200), None, "20")[0]) < set(choose(numbered(200), None, "50%")[0])


@pytest.mark.parametrize(
    "classes, images, message",
    [
        ("cat,bird", None, r"--classes: mine has no class 'bird'; it has cat, dog, owl"),
        ("3", None, "--classes: mine has no class '3'"),
        ("-1", None, "no class '-1'"),
        ("²", None, "no class '²'"),
        ("", None, "no class ''"),
        ("cat,0", None, "--classes cat,0 names a class of mine twice"),
        (None, "0", "--images 0 is 0 images; from 1 to the 20 that there are is expected"),
        (None, "21", "--images 21 is 21 images; from 1 to the 20"),
        (None, "-5", "--images -5 is -5 images"),
        (None, "150%", "--images 150% is 30 images"),
        (None, "1%", "--images 1% is 0 images"),
        (None, "a few", "--images must be a number such as 5000 or a share such as 10%, got 'a few'"),
        (None, "2.5", "--images must be a number"),
        (None, "nan%", "--images must be a number"),
        (None, "inf%", "--images must be a number"),
        (None, "%", "--images must be a number"),
    ],
)
def test_what_cannot_be_chosen_is_refused(classes, images, message):
    with pytest.raises(data.DataError, match=message):
        choose(numbered(20), classes, images)


def test_classes_without_images_and_long_lists_of_classes():
    source = data.from_arrays("mine", np.zeros((2, 2, 2), np.uint8), [0, 0], ["cat", "dog"])
    with pytest.raises(data.DataError, match="mine has no images of --classes dog"):
        choose(source, "dog", None)
    with pytest.raises(data.DataError, match=r"it has 0, 1, .*, 19 and 80 more$"):
        choose(numbered(100, [str(i) for i in range(100)]), "cat", None)
    with pytest.raises(data.DataError, match="it has no classes"):
        choose(data.from_arrays("mine", source.images), "cat", None)


class Broken:
    """A source of images of which every tenth can't be read."""

    name, class_names, labels = "broken", (), np.zeros(200, np.int32)

    def __len__(self):
        return 200

    def __getitem__(self, i):
        if i % 10 == 3:
            raise BadImage(f"{self.title(i)} is bad")
        return np.full((2, 2, 1), i, np.uint8)

    def title(self, i):
        return f"image {i}"

    def fingerprint(self):
        return None


def test_images_come_in_the_order_chosen():
    chosen = np.array([i for i in RANDOM.permutation(200) if i % 10 != 3])
    found = in_memory(Broken(), chosen, ImageTransform(2, 3))
    assert found.shape == (180, 2, 2, 3)
    np.testing.assert_array_equal(found[:, 1, 1, 2], chosen)
    whole = numbered(10)
    np.testing.assert_array_equal(in_memory(whole, np.array([7, 1]), ImageTransform(2, 1))[:, 0, 0, 0], [7, 1])


def test_a_bad_image_ends_the_reading_or_is_counted():
    with pytest.raises(BadImage, match="image 3 is bad"):
        in_memory(Broken(), np.arange(200), ImageTransform(2, 1))
    good, faults = readable(Broken(), np.arange(5, 195), ImageTransform(2, 1))
    assert np.flatnonzero(~good).tolist() == list(range(8, 190, 10))
    assert faults == [f"image {i} is bad" for i in range(13, 195, 10)]
