"""Whole pictures in tiles: as at once where a network's reach is known, without a seam where it isn't."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.layers import Conv, ConvTranspose, build, pad_to_multiple, pixel_shuffle
from jaxgan.training.output import whole
from jaxgan.training.output.whole import Translator, cut
from jaxgan.training.recipe.gan import Translation

rng = np.random.default_rng(0)
# Heights and widths: of one pixel, smaller than a tile, of one and one more, and that are no multiple of anything.
LAYOUT = ("NHWC", "HWIO", "NHWC")
SIZES = [(1, 1), (1, 150), (7, 5), (24, 24), (25, 24), (61, 83), (131, 37)]


def picture(height, width, channels=3):
    return rng.integers(0, 256, (1, height, width, channels), np.uint8)


def integers(images):
    return jnp.round((images + 1) * 127.5)


def kernel(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(-1, 2, shape), jnp.float32)


def correlated(x, k, padding, stride=1):
    return jax.lax.conv_general_dilated(x, k, (stride,) * 2, [(padding,) * 2] * 2, dimension_numbers=LAYOUT)


def stored(x):
    """Whole numbers of any size as a pixel of 0 to 255, in a network's form: their remainder."""
    return jnp.mod(x, 256.0) / 127.5 - 1


def plain(state, images, *, weights="ema"):
    """Three convolutions of whole numbers, which float32 holds exactly: 1 + 2 + 1 pixels to each side."""
    x = integers(images)
    for i, size in enumerate((3, 5, 3)):
        x = jnp.mod(correlated(x, kernel(size, size, 3, 3, seed=i), size // 2) + 7.0, 256.0)  # 7 shows where zeros are
    return stored(x)


def enlarged(state, images, *, weights="ema", factor=2, residual=1):
    """A residual network with pixel shuffles: 2 + 2·residual pixels, and behind them 1 of half the size each time."""
    first = x = jnp.mod(correlated(integers(images), kernel(5, 5, 3, 4), 2), 256.0)
    for i in range(residual):
        y = jnp.mod(correlated(x, kernel(3, 3, 4, 4, seed=i), 1) + 3.0, 256.0)
        x = x + jnp.mod(correlated(y, kernel(3, 3, 4, 4, seed=9 + i), 1), 256.0)
    x = x + first
    while factor > 1:
        x = pixel_shuffle(jnp.mod(correlated(x, kernel(3, 3, 4, 16, seed=factor), 1), 256.0), 2)
        factor //= 2
    return stored(correlated(x, kernel(3, 3, 4, 3, seed=5), 1))


def mirrored(state, images, *, weights="ema"):
    x = jnp.pad(integers(images), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="symmetric")
    return stored(correlated(x, kernel(5, 5, 3, 1), 0))


def halved(state, images, *, weights="ema"):
    """Halves twice, doubles twice, on what is mirrored up to a multiple of 4: as jaxgan.networks.translation does."""
    x, height, width = integers(images), *images.shape[1:3]
    x = jnp.pad(x, ((0, 0), (0, -height % 4), (0, -width % 4), (0, 0)), mode="symmetric")
    for i in range(2):
        x = jnp.mod(correlated(x, kernel(4, 4, 3, 3, seed=i), 1, stride=2), 256.0)
    for i in range(2):
        x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        x = jnp.mod(correlated(x, kernel(3, 3, 3, 3, seed=i), 1) + 5.0, 256.0)
    return stored(x)[:, :height, :width]


# What is here: input pixels from which an output pixel is made, counted by hand layer by layer.
EXACT = {
    "plain": (Translation(plain, 3, reach=4), 24),
    "twice": (Translation(enlarged, 3, 2, reach=2 + 2 + 1 + 1), 24),  # the last, 1 of the larger picture, is half one
    "4 times": (Translation(functools.partial(enlarged, factor=4, residual=2), 3, 4, reach=2 + 4 + 1 + 1), 24),
    "mirrored": (Translation(mirrored, 3, reach=2), 24),
    # Pixel 4k + 1 sees 4k + 2, so of the half 2k + 1, 2k + 2, of the quarter k + 1, of the half 2k + 4: 4k + 10.
    "halved": (Translation(halved, 3, reach=9, multiple=4), 36),
}


@pytest.mark.parametrize("size", SIZES, ids=[f"{h}x{w}" for h, w in SIZES])
@pytest.mark.parametrize("name", EXACT)
def test_tiles_make_what_the_whole_picture_becomes(name, size):
    """Bit for bit: the networks count in whole numbers."""
    translation, tile = EXACT[name]
    images = picture(*size)
    made = Translator(translation, None, tile=tile, overlap=2 * translation.reach)(images)
    at_once = np.asarray(integers(translation.apply(None, jnp.asarray(images, jnp.float32) / 127.5 - 1)))
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, at_once)


@pytest.mark.parametrize("name", EXACT)
def test_with_less_overlap_or_a_smaller_reach_it_is_not(name):
    """So the reaches above are no larger than need be, and the test above could fail."""
    translation, tile = EXACT[name]
    images = picture(98, 90)
    exact = Translator(translation, None, tile=tile, overlap=2 * translation.reach)(images)
    less = translation._replace(reach=translation.reach - 1)
    for translator in (
        Translator(less, None, tile=tile, overlap=2 * less.reach),
        Translator(translation, None, tile=tile, overlap=0),
    ):
        assert np.any(translator(images) != exact)


def test_tiles_at_other_places_than_multiples_are_another_picture():
    translation, tile = EXACT["halved"]
    images = picture(98, 90)
    exact = Translator(translation, None, tile=tile, overlap=24)(images)
    shifted = Translator(translation._replace(multiple=1), None, tile=tile, overlap=24)(images)
    assert np.any(shifted != exact)


class Enlarging(nn.Module):
    """As SRResNet, of this library's layers, with weights of any size."""

    @nn.compact
    def __call__(self, x):
        first = x = nn.relu(build(Conv, 8, 5, 1, 2)(x))
        x = x + build(Conv, 8, 3, 1, 1)(nn.relu(build(Conv, 8, 3, 1, 1)(x)))
        x = first + build(Conv, 8, 3, 1, 1)(x)
        x = nn.relu(pixel_shuffle(build(Conv, 32, 3, 1, 1)(x), 2))
        return jnp.tanh(build(Conv, 3, 5, 1, 2)(x))


class Autoencoding(nn.Module):
    @nn.compact
    def __call__(self, x):
        x, as_before = pad_to_multiple(x, 2)
        x = nn.relu(build(functools.partial(Conv, padding_mode="reflect"), 8, 7, 1, 3)(x))
        x = nn.relu(build(Conv, 8, 3, 2, 1)(x))
        x = nn.relu(build(ConvTranspose, 8, 3, 2, 1, output_padding=1)(x))
        return as_before(jnp.tanh(build(Conv, 3, 3, 1, 1)(x)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "network, translation",
    [
        (Enlarging(), Translation(None, 3, 2, reach=2 + 3 + 1 + 1)),
        (Autoencoding(), Translation(None, 3, 1, reach=6, multiple=2)),
    ],
    ids=["enlarging", "autoencoding"],
)
def test_networks_of_floats_but_for_rounding(network, translation):
    images = picture(50, 67)
    variables = network.init(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))
    variables = jax.tree.map(lambda x: x * 2.0, variables)

    def apply(state, images, *, weights="ema"):
        return network.apply(state, images)

    made = Translator(translation._replace(apply=apply), variables, tile=28)(images).astype(int)
    at_once = np.asarray(jax.jit(network.apply)(variables, jnp.asarray(images, jnp.float32) / 127.5 - 1))
    assert np.ptp(made) > 100, "a picture of something"
    assert np.abs(made - (at_once + 1) * 127.5).max() < 0.5 + 1e-3


# --- where nothing is known of the reach ------------------------------------------------------------------------------
def mean(state, images, *, weights="ema"):
    return jnp.broadcast_to(images.mean((1, 2, 3), keepdims=True), (*images.shape[:3], 1))


def test_a_fade_is_a_straight_line():
    """Two tiles, each of which becomes its mean; by hand."""
    images = np.zeros((1, 10, 28, 3), np.uint8)
    images[:, :, 20:] = 255
    made = Translator(Translation(mean, 3), None, tile=20, overlap=8)(images)[0]
    assert made.shape == (10, 28, 1) and (made == made[:1]).all()
    low, high = 0, 255 * 8 / 20  # columns 0 to 19, of which none is white, and 8 to 27
    overlap = low + (high - low) * (np.arange(12) + 0.5) / 12
    expected = np.concatenate([np.full(8, low), overlap, np.full(8, high)])
    np.testing.assert_allclose(made[0, :, 0], expected, atol=0.5 + 1e-4)


@pytest.mark.parametrize("scale", [1, 2])
def test_no_seam_shows_where_a_network_normalises_what_it_sees(scale):
    """A picture that grows brighter downwards and to the right, each tile of which is brought to one mean and spread:
    where tiles only touch, white meets black; where a quarter of each is faded, all steps are small ones."""
    x, y = np.meshgrid(np.linspace(0, 1, 160), np.linspace(0, 1, 120))
    images = np.repeat((255 * (0.3 * x + 0.7 * y**2))[None, :, :, None], 3, -1).astype(np.uint8)

    def normalised(state, images, *, weights="ema"):
        offset, spread = images.mean((1, 2), keepdims=True), images.std((1, 2), keepdims=True)
        return jnp.repeat(jnp.repeat(0.3 * (images - offset) / spread, scale, 1), scale, 2)

    def largest_step(**how):
        made = Translator(Translation(normalised, 3, scale), None, tile=40, **how)(images)[0].astype(int)
        return max(np.abs(np.diff(made, axis=axis)).max() for axis in (0, 1))

    assert largest_step(overlap=0) > 90 and largest_step() < 12


# --- how a picture is cut ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("multiple", [1, 4, 16])
@pytest.mark.parametrize("tile, overlap, reach", [(32, 0, None), (32, 8, 4), (33, 11, 3), (32, 15, None), (40, 23, 9)])
def test_how_a_length_is_cut(tile, overlap, reach, multiple, scale):
    for length in (*range(1, 70), 100, 257, 1000):
        size, starts, shares = cut(length, tile, overlap, scale=scale, reach=reach, multiple=multiple)
        assert starts[0] == 0 and starts[-1] + size == length and not any(start % multiple for start in starts)
        assert size == length if length <= tile else tile <= size < tile + multiple
        steps = np.diff(starts)
        assert (steps > 0).all() and (size - steps >= overlap).all()
        assert len(steps) == 0 or steps.max() - steps.min() <= multiple, "evenly"
        if len(steps) > 1:  # no more tiles than it takes
            assert size + (len(steps) - 1) * ((size - overlap) // multiple * multiple) < length
        total = np.zeros(scale * length)
        assert shares.shape == (len(starts), scale * size) and shares.dtype == np.float32 and shares.min() >= 0
        for start, share in zip(starts, shares, strict=True):
            total[scale * start :][: scale * size] += share
            if reach is not None and 2 * reach <= overlap:  # nothing of pixels that lack some of their surroundings
                assert start == 0 or not share[: scale * reach].any()
                assert start + size == length or not share[len(share) - scale * reach :].any()
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_tiles_that_would_not_advance_are_refused():
    for tile, overlap, multiple, least in ((8, 8, 1, 9), (8, 20, 1, 21), (20, 8, 16, "24, 16 more than tiles overlap")):
        with pytest.raises(ValueError, match=rf"overlap by {overlap} pixels have at least {least}, got {tile}$"):
            Translator(Translation(plain, 3, 1, 4, None, multiple), None, tile=tile, overlap=overlap).sizes()
        with pytest.raises(ValueError, match="larger than the overlap"):
            cut(100, tile, overlap, multiple=multiple)


@pytest.mark.parametrize(
    "scale, reach, multiple, expected",
    [
        (1, 10, 1, (512, 20)),  # exact
        (4, 24, 1, (192, 48)),
        (4, 48, 1, (192, 96)),  # half of a tile, the most
        (4, 49, 1, (192, 48)),  # too far: faded
        (1, None, 4, (512, 128)),
        (1, None, 1024, (1280, 256)),  # a network that halves ten times
        (16, 0, 1, (48, 0)),
    ],
)
def test_sizes_that_nobody_has_chosen(scale, reach, multiple, expected):
    assert Translator(Translation(plain, 3, scale, reach, None, multiple), None).sizes() == expected


# --- what it takes ----------------------------------------------------------------------------------------------------
def test_one_program_and_a_few_tiles_a_dispatch(monkeypatch):
    """Of a picture of hundreds of tiles, wide or high; what is made at once is bounded."""
    traced = []

    def noted(state, images, *, weights="ema"):
        traced.append(images.shape)
        return jnp.repeat(jnp.repeat(images, 2, 1), 2, 2)

    monkeypatch.setattr(whole, "AT_ONCE", 3 * 48 * 48)
    for size in ((700, 90), (90, 700)):
        images = picture(*size)
        translator = Translator(Translation(noted, 3, 2, reach=0), None, tile=24)
        told = []
        made = translator(images, told.append)
        np.testing.assert_array_equal(made, images.repeat(2, 1).repeat(2, 2))
        assert traced == [(1, 24, 24, 3), (2, 24, 24, 3)], "one to learn of channels, and one program"
        assert sum(told) == translator.tiles(*size) == 30 * 4 and max(told) == 2
        assert translator.result_bytes(images.shape) == made.nbytes


def test_turned_pictures_become_turned():
    """Rows or columns, whichever is shorter, come one after another: the same, by a network that has no direction."""

    def blurred(state, images, *, weights="ema"):
        x = correlated(images, jnp.ones((5, 5, 3, 3)) / 75, 2)
        return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)

    translator = Translator(Translation(blurred, 3, 2), None, tile=30)
    images = picture(50, 170)
    made = translator(images).astype(int)
    turned = translator(images.swapaxes(1, 2)).astype(int)
    assert np.abs(made - turned.swapaxes(1, 2)).max() <= 1


def test_many_small_pictures_go_through_together(monkeypatch):
    monkeypatch.setattr(whole, "AT_ONCE", 400)
    images = rng.integers(0, 256, (11, 9, 10, 3), np.uint8)
    told = []
    translator = Translator(Translation(plain, 3, reach=4), None)
    made = translator(images, told.append)
    assert told == [4, 4, 3]
    np.testing.assert_array_equal(made, np.concatenate([translator(each[None]) for each in images]))
    assert translator(images[:0]).shape == (0, 9, 10, 3)


def test_programs_of_small_pictures_are_not_kept_for_ever():
    translator = Translator(Translation(plain, 3, reach=4), None)
    for side in range(1, 3 * whole.SHAPES):
        assert translator(picture(side, 2)).shape == (1, side, 2, 3)
        assert whole._apply._cache_size() <= whole.SHAPES
    before = whole._apply._cache_size()
    translator(picture(side, 2))
    assert whole._apply._cache_size() == before


def test_arrays_beside_the_pictures_are_arguments():
    traced = []

    def styled(state, images, *, weights="ema", style, strength=1.0, mix=None):
        traced.append(strength)
        assert weights == "raw" and (mix is None or mix.shape == (2,))
        shares = jnp.full(2, 0.5) if mix is None else mix
        target = jnp.einsum("k,kc->c", shares, style.mean((1, 2)))
        return (1 - strength) * images + strength * target[None, None, None]

    def made(**how):
        return Translator(Translation(styled, 3), None, "raw", how=how)(images)

    images = picture(5, 6)
    style = np.stack([np.full((4, 4, 3), -1.0), np.full((4, 4, 3), 1.0)]).astype(np.float32)
    assert set(made(style=style).ravel()) == {128}
    count = len(traced)
    assert set(made(style=-style).ravel()) == {128} and len(traced) == count, "no other program"
    assert set(made(style=style, mix=[0.2, 0.8]).ravel()) == {204}
    np.testing.assert_array_equal(made(style=style, strength=0.0), images)
    np.testing.assert_array_equal(made(style=style, strength=jnp.zeros(())), images)
    count = len(traced)
    assert set(made(style=-style, strength=np.ones(())).ravel()) == {128} and len(traced) == count


@pytest.mark.parametrize("size", [(4, 5), (40, 50)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(size, value):
    def diverged(state, images, *, weights="ema"):
        return images.at[:, 2, 3].set(value)

    with pytest.raises(ValueError, match="isn't finite"):
        Translator(Translation(diverged, 3), None, tile=24)(picture(*size))


def test_another_size_than_the_scale_says_is_refused():
    with pytest.raises(ValueError, match=r"a translation of scale 2 made \(1, 4, 5, 3\) of \(1, 4, 5, 3\)"):
        Translator(Translation(lambda state, images, *, weights: images, 3, 2), None)(picture(4, 5))
