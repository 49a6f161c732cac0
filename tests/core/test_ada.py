"""Adaptive augmentation against NumPy and SciPy in float64; draws by their distribution; the controller in a GAN."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Discriminator, given, tiny_batch, tiny_gan
from jax.test_util import check_grads
from scipy import ndimage, signal, stats

from jaxgan import ada, d_loss, g_loss, make_d_step, make_joint_step, warp
from jaxgan.losses import (
    hinge,
    least_squares,
    minimax,
    non_saturating,
    relativistic,
    relativistic_average,
    smoothed,
    wasserstein,
)
from jaxgan.terms import initial_extras

OCTAVE = np.log(2)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def matrix(*rows):
    return np.array([[*rows[0]], [*rows[1]], [0, 0, 1]], np.float32)


# --- resampling -------------------------------------------------------------------------------------------------------
SHRINK = np.array([0.602949018236360, 0.266864118442875, -0.078223266528990, -0.016864118442875, 0.026748757410810])
ENLARGE = np.array([1.115087052457000, 0.591271763114250, -0.057543526228500, -0.091271763114250])


def scipys(image, inverse, wide=40):
    """`warp.warped` of one image in float64, on a canvas that is mirrored far beyond the edges, by SciPy."""
    height, width = image.shape[:2]
    canvas = np.pad(image.astype(np.float64), ((wide, wide), (wide, wide), (0, 0)), mode="reflect")
    enlarge, shrink = (np.concatenate([half[:0:-1], half]) for half in (ENLARGE, SHRINK))
    for axis in (0, 1):  # a pixel is at 2·pixel + 3
        canvas = signal.upfirdn(enlarge, canvas, up=2, axis=axis)
    y, x = np.meshgrid(np.arange(-4, 2 * height + 3) / 2, np.arange(-4, 2 * width + 3) / 2, indexing="ij")
    middle, centre = (height - 1) / 2, (width - 1) / 2
    from_x, from_y, _ = np.einsum("ij,jhw->ihw", inverse.astype(np.float64), [x - centre, y - middle, np.ones_like(x)])
    places = [2 * (from_y + middle + wide) + 3, 2 * (from_x + centre + wide) + 3]
    channels = [ndimage.map_coordinates(c, places, order=1, mode="nearest") for c in np.moveaxis(canvas, -1, 0)]
    found = np.stack(channels, -1)
    for axis in (0, 1):
        found = signal.upfirdn(shrink, found, down=2, axis=axis)
    return found[4 : 4 + height, 4 : 4 + width]


def test_the_filters_are_dual_and_those_of_the_bands_orthogonal():
    """Shrinking undoes enlarging, as sums of products 2 places apart are 1 and 0; sym2 in closed form."""
    enlarge, shrink = (np.concatenate([half[:0:-1], half]) for half in (warp._ENLARGE, warp._SHRINK))
    np.testing.assert_allclose(np.convolve(enlarge, shrink)[1::2], np.eye(7)[3], atol=1e-14)
    root = np.sqrt(3)
    sym2 = np.array([1 + root, 3 + root, 3 - root, 1 - root]) / np.sqrt(32)
    np.testing.assert_allclose(np.correlate(sym2, sym2, "full")[1::2], [0, 1, 0], atol=1e-15)
    low = warp.bands(32)[:3].sum(0)[16, 13:20]  # all but the highest band
    np.testing.assert_allclose(low, np.correlate(sym2, sym2, "full") / 2, atol=1e-15)


@pytest.mark.parametrize("size", [(16, 16), (9, 14), (5, 4)])
def test_warped_is_scipys_resampling(size):
    turn = lambda a, s: s * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])  # noqa: E731
    linear = [turn(0.3, 1.0), turn(-2.0, 0.7), turn(0.8, 1.4) @ np.diag([1.3, 0.8]), np.eye(2)]
    inverse = np.stack(
        [
            matrix([*row[0], x], [*row[1], y])
            for row, x, y in zip(linear, (0, 1.3, -2.6, 0.5), (0, -3.2, 1.9, 0.25), strict=True)
        ]
    )
    images = noise(4, *size, 2)
    expected = [scipys(*of) for of in zip(images, inverse, strict=True)]
    np.testing.assert_allclose(warp.warped(images, inverse), expected, rtol=0, atol=2e-5)


EXACT = {
    "identity": (matrix([1, 0, 0], [0, 1, 0]), lambda x: x),
    "mirrored": (matrix([-1, 0, 0], [0, 1, 0]), lambda x: x[:, :, ::-1]),
    "quarter": (matrix([0, -1, 0], [1, 0, 0]), lambda x: np.rot90(x, 1, (1, 2))),
    "half": (matrix([-1, 0, 0], [0, -1, 0]), lambda x: np.rot90(x, 2, (1, 2))),
    "three": (matrix([0, 1, 0], [-1, 0, 0]), lambda x: np.rot90(x, 3, (1, 2))),
    "right": (
        matrix([1, 0, -3], [0, 1, 0]),
        lambda x: np.pad(x, ((0, 0), (0, 0), (3, 0), (0, 0)), "reflect")[:, :, :-3],
    ),
    "up": (matrix([1, 0, 0], [0, 1, 9]), lambda x: np.pad(x, ((0, 0), (0, 9), (0, 0), (0, 0)), "reflect")[:, 9:]),
}


@pytest.mark.parametrize("inverse, expected", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("side", [6, 7])
def test_whole_pixels_and_quarter_turns_are_numpys(inverse, expected, side):
    images = noise(2, side, side, 3)
    both = np.stack([inverse, inverse])
    np.testing.assert_array_equal(warp.copied(images, both), expected(images))
    np.testing.assert_allclose(warp.warped(images, both), expected(images), rtol=0, atol=1e-6)


def test_what_is_too_fine_for_a_smaller_picture_vanishes():
    """Stripes of 2.5 pixels, shrunk by 2, have no place in the grid; sampling alone shows them as others (aliasing)."""
    stripes = np.broadcast_to(np.cos(2 * np.pi * np.arange(64) / 2.5)[None, None, :, None], (1, 64, 64, 1))
    half = matrix([2, 0, 0], [0, 2, 0])
    shrunk = np.asarray(warp.warped(stripes.astype(np.float32), half[None]))[0, 24:40, 24:40]
    alone = np.asarray(warp.copied(stripes.astype(np.float32), half[None]))[0, 24:40, 24:40]
    assert shrunk.std() < 0.12 < 0.6 < alone.std()


def test_bands_are_those_of_the_half_band_filter():
    """Modes of an axis that is mirrored at its ends are cosines, whose gains are known: those of Daubechies' half-band
    filter with two vanishing moments, cos⁴(ω/2)·(1 + 2 sin²(ω/2))."""
    side = 33
    found = warp.bands(side)
    low = lambda w: np.cos(w / 2) ** 4 * (1 + 2 * np.sin(w / 2) ** 2)  # noqa: E731
    for mode in range(side):
        w = np.pi * mode / (side - 1)
        wave = np.cos(w * np.arange(side))
        gains = [
            low(w) * low(2 * w) * low(4 * w),
            low(w) * low(2 * w) * (1 - low(4 * w)),
            low(w) * (1 - low(2 * w)),
            1 - low(w),
        ]
        np.testing.assert_allclose(found @ wave, np.outer(gains, wave), atol=1e-12)
    np.testing.assert_allclose(found.sum(0), np.eye(side), atol=1e-12)


# --- what every group keeps -------------------------------------------------------------------------------------------
CASES = {group: (group,) for group in ada.GROUPS} | {"all": ada.GROUPS}
FAST = ("blit", "colour")  # the others take seconds to compile
each = pytest.mark.parametrize(
    "groups", [pytest.param(of, marks=() if name in FAST else pytest.mark.slow, id=name) for name, of in CASES.items()]
)
both = pytest.mark.parametrize("channels", [1, 3])


@each
@both
def test_without_probability_images_stay_the_same(groups, channels):
    images = noise(3, 6, 6, channels)
    change = jax.jit(functools.partial(ada.augment, groups=groups))
    np.testing.assert_array_equal(change(images, keys(3), jnp.float32(0.0)), images)


@each
def test_an_example_depends_on_its_key_alone(groups):
    images, own = noise(8, 6, 6, 3), keys(8)
    change = jax.jit(functools.partial(ada.augment, groups=groups))
    whole = np.asarray(change(images, own, 0.6))
    assert np.abs(whole - images).max() > 0.1
    np.testing.assert_array_equal(change(images, own, 0.6), whole)
    for chosen in (np.array([3, 0, 7]), np.array([5])):
        np.testing.assert_allclose(change(images[chosen], own[chosen], 0.6), whole[chosen], rtol=0, atol=1e-5)
    half = change(jnp.asarray(images, jnp.bfloat16), own, 0.6)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), whole, rtol=0.05, atol=0.05)


@each
def test_gradients_are_those_of_finite_differences(groups):
    images, own = jnp.asarray(noise(3, 4, 4, 3)), keys(3, 2)
    change = jax.jit(lambda x: ada.augment(x, own, 0.9, groups))
    check_grads(change, (images,), 1, modes=["fwd", "rev"], atol=2e-3, rtol=2e-3)


@pytest.mark.slow
def test_the_gradient_is_the_transpose_of_the_map():
    own, weights = keys(1, 3), noise(1, 4, 4, 1)
    change = jax.jit(lambda x: ada.augment(x, jnp.repeat(own, len(x)), 1.0, ("blit", "geometric")))
    columns = np.asarray(change(np.eye(16, dtype=np.float32).reshape(16, 4, 4, 1))).reshape(16, 16)
    gradient = jax.grad(lambda x: jnp.vdot(change(x), weights))(noise(2, 4, 4, 1)[1:])
    np.testing.assert_allclose(gradient.ravel(), columns @ weights.ravel(), rtol=0, atol=1e-5)


WRONG = {
    "a group": ((2, 4, 4, 3), ("blit", "color"), "one or more of the groups blit, .*, cutout, got color"),
    "a word": ((2, 4, 4, 3), "blit", "got 'blit'"),
    "none": ((2, 4, 4, 3), (), r"got \(\)"),
    "channels": ((2, 4, 4, 2), ("noise",), "at least 2×2 pixels and 1 or 3 channels, got 4×4×2"),
    "a line": ((2, 1, 4, 1), ("noise",), "got 1×4×1"),
    "no square": ((2, 4, 6, 1), ("blit",), "4×6 can't be turned by quarters: leave 'blit' out"),
}


@pytest.mark.parametrize("shape, groups, line", WRONG.values(), ids=WRONG)
def test_what_it_does_not_take_is_one_line(shape, groups, line):
    with pytest.raises(ValueError, match=line) as found:
        ada.augment(noise(*shape), keys(2), 0.5, groups)
    assert "\n" not in str(found.value)


# --- draws ------------------------------------------------------------------------------------------------------------
MANY = 4000
draw = jax.jit(ada.geometry, static_argnums=(2, 3))


def uniform(values, low, high):
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def normal(values, std):
    return stats.kstest(values, stats.norm(0, std).cdf).pvalue > 1e-3


def test_blit_draws_flips_turns_and_shifts():
    found = np.linalg.inv(np.asarray(draw(keys(MANY), 1.0, (32, 32), ("blit",)), np.float64))  # from there to here
    linear, moved = found[:, :2, :2], found[:, :2, 2]
    np.testing.assert_array_equal(np.sort(np.abs(linear).reshape(-1, 4), 1), [[0, 0, 1, 1]] * MANY)
    counts = np.unique(linear.reshape(-1, 4), axis=0, return_counts=True)[1]  # eight symmetries of the square
    assert len(counts) == 8 and stats.chisquare(counts).pvalue > 1e-3
    for axis in (0, 1):  # rounded from ±4
        steps, counts = np.unique(moved[:, axis], return_counts=True)
        np.testing.assert_array_equal(steps, np.arange(-4, 5))
        assert stats.chisquare(counts, MANY / 8 * np.array([0.5, *[1] * 7, 0.5])).pvalue > 1e-3
    assert abs(np.corrcoef(moved.T)[0, 1]) < 4.5 / np.sqrt(MANY)


@pytest.mark.slow
def test_geometric_draws_scales_rotations_and_translations():
    inverse = np.asarray(draw(keys(MANY), 1.0, (32, 48), ("geometric",)), np.float64)
    found = np.linalg.inv(inverse)
    turned, singular, _ = np.linalg.svd(found[:, :2, :2])
    assert normal(np.log2(singular.prod(1)) / 2, 0.2)  # of the isotropic scale
    stretch = np.log2(singular[:, 0] / singular[:, 1]) / 2  # of s and 1/s, the larger first
    assert stats.kstest(stretch, stats.halfnorm(0, 0.2).cdf).pvalue > 1e-3
    assert normal(found[:, 0, 2], 0.125 * 48) and normal(found[:, 1, 2], 0.125 * 32)
    direction = np.arctan2(found[:, 1, 0] - found[:, 0, 1], found[:, 0, 0] + found[:, 1, 1])
    assert uniform(direction, -np.pi, np.pi)
    assert uniform(np.arctan2(turned[:, 1, 0], turned[:, 0, 0]) % np.pi, 0, np.pi)  # after the stretch


@pytest.mark.slow
def test_each_change_has_its_probability():
    blit = np.asarray(draw(keys(MANY), 0.3, (32, 32), ("blit",)))
    # Unchanged: no flip, no turn, no shift, or drawn and nothing: 1/2, 1/4, 1/64.
    share = (1 - 0.15) * (1 - 0.3 * 0.75) * (1 - 0.3 * (1 - 1 / 64))
    same = (blit == np.eye(3)).all((1, 2)).mean()
    assert abs(same - share) < 4.5 * np.sqrt(share * (1 - share) / MANY)
    geometric = np.asarray(draw(keys(MANY), 0.3, (32, 32), ("geometric",)), np.float64)
    linear = geometric[:, :2, :2]
    upright = (np.abs(linear[:, [0, 1], [1, 0]]) == 0).all(1)
    assert abs(upright.mean() - 0.7) < 4.5 * np.sqrt(0.21 / MANY)  # one of two rotations
    assert abs((geometric[:, :2, 2] == 0).all(1).mean() - 0.7) < 4.5 * np.sqrt(0.21 / MANY)
    scaled = np.linalg.det(linear)
    assert abs((np.abs(scaled - 1) < 1e-5).mean() - 0.7) < 4.5 * np.sqrt(0.21 / MANY)


@both
def test_colours_keep_the_axis_of_greys(channels):
    found = np.asarray(jax.jit(ada.colours, static_argnums=2)(keys(MANY), 1.0, channels), np.float64)
    np.testing.assert_array_equal(found[:, -1], np.eye(channels + 1)[-1:].repeat(MANY, 0))
    grey = np.ones(channels) / np.sqrt(channels)
    of_grey = found[:, :-1, :-1] @ grey
    gain = of_grey @ grey  # ± contrast
    np.testing.assert_allclose(of_grey, gain[:, None] * grey, atol=1e-5)
    assert stats.binomtest(int((gain > 0).sum()), MANY).pvalue > 1e-3
    assert normal(np.log2(np.abs(gain)), 0.5)
    np.testing.assert_allclose(found[:, :-1, -1], found[:, :1, -1].repeat(channels, 1), atol=1e-5)
    assert normal(found[:, 0, -1] / gain, 0.2)
    if channels == 1:
        return
    first, second = np.array([1, -1, 0]) / np.sqrt(2), np.array([1, 1, -2]) / np.sqrt(6)
    turned = found[:, :-1, :-1] @ first
    np.testing.assert_allclose(turned @ grey, 0, atol=1e-5)
    along, across = turned @ first, turned @ second
    assert normal(np.log2(np.hypot(along, across) / np.abs(gain)), 1.0)  # saturation
    angle = np.arctan2(across, along)
    assert uniform(angle, -np.pi, np.pi)
    np.testing.assert_allclose(found[:, :-1, :-1] @ second @ first, -across, atol=2e-5)  # a rotation, no reflection


@pytest.mark.slow
def test_colours_of_pictures_are_the_matrices_products():
    images, own = noise(5, 4, 4, 3), keys(5)
    matrices = np.asarray(ada.colours(own, 0.8, 3), np.float64)
    expected = np.einsum("bij,bhwj->bhwi", matrices, np.concatenate([images, np.ones((5, 4, 4, 1))], -1))[..., :3]
    np.testing.assert_allclose(ada.augment(images, own, 0.8, ("colour",)), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_filters_keep_the_power_that_is_expected():
    """A flat picture is in the lowest band alone: its gain is a product of four, each scaled so that pictures of the
    expected powers, λ = (10, 1, 1, 1)/13, keep theirs. Along both axes it is squared."""
    own = keys(2000)
    flat = np.full((2000, 16, 1, 1), 1.0, np.float32).repeat(16, 2)
    power = np.asarray(jax.jit(functools.partial(ada.augment, groups=("filter",)))(flat, own, 1.0))[:, 0, 0, 0]
    random = np.random.default_rng(1)
    t = 2.0 ** random.normal(size=(200_000, 4))
    expected = np.ones(200_000)
    for band in range(4):
        change = np.ones((200_000, 4))
        change[:, band] = t[:, band]
        expected *= change[:, 0] ** 2 / (change**2 @ np.array([10, 1, 1, 1]) * (1 / 13))
    assert stats.ks_2samp(power, expected).pvalue > 1e-3


@pytest.mark.slow
def test_noise_and_cutout():
    grey = np.full((2000, 8, 8, 1), 0.5, np.float32)
    added = np.asarray(ada.augment(grey, keys(2000), 1.0, ("noise",))) - 0.5
    # |σ| half-normal of 0.1, times a normal: variance 0.01, kurtosis 3·3.
    assert abs(added.var() - 0.01) < 0.001 and abs(stats.kurtosis(added.ravel(), fisher=False) - 9) < 1
    cut = np.asarray(ada.augment(grey, keys(2000), 0.5, ("cutout",)))
    assert set(np.unique(cut)) == {0.0, 0.5}
    sizes = (cut == 0).any((2, 3)).sum(1), (cut == 0).any((1, 3)).sum(1)
    assert (cut == 0).sum((1, 2, 3)).tolist() == (sizes[0] * sizes[1]).tolist()  # rectangles
    assert max(sizes[0].max(), sizes[1].max()) == 4  # half the side, less beyond an edge
    assert abs((sizes[0] > 0).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(2000)


# --- the controller ---------------------------------------------------------------------------------------------------
def test_adapted_by_hand():
    cases = [(0.2, 0.7, 64, 0.200128), (0.2, 0.5, 64, 0.199872), (0.0, -1.0, 64, 0.0), (0.99999, 1.0, 500, 1.0)]
    for p, sign, images, expected in cases:
        np.testing.assert_allclose(ada.adapted(p, sign, images), expected, rtol=1e-6)
    np.testing.assert_allclose(ada.adapted(0.5, 0.3, 100, target=0.2, speed=1000), 0.6, rtol=1e-6)
    np.testing.assert_allclose(ada.adapted(0.5, 0.25, 100, target=0.25, speed=1000), 0.5)


class Sure(Discriminator):
    """A discriminator whose logits of real images are as it was told: of images above 0.5, else below."""

    sign: float = 1.0

    def __call__(self, image, condition=None, *, train):
        said = super().__call__(image, condition, train=train)
        return {"logits": said["logits"] * 1e-3 + self.sign}


def course(sign, updates=9, size=8, axis_name=None, **how):
    term = ada.controller(non_saturating, speed=1000)
    step = jax.jit(make_d_step(given, [d_loss(non_saturating), term], **how))
    state = tiny_gan(discriminator=Sure(sign=sign), extras=initial_extras({}, [term]))
    state = state.replace(extras={"ada": {**state.extras["ada"], "p": jnp.float32(0.5)}})
    found = []
    for _ in range(updates):
        state, metrics = step(state, tiny_batch(size))
        found.append(float(state.extras["ada"]["p"]))
        np.testing.assert_allclose(metrics["discriminator/ada/real_sign"], np.sign(sign))
        np.testing.assert_allclose(metrics["discriminator/ada"], found[-1])
    return found


def test_the_probability_rises_where_d_is_sure_and_falls_where_it_is_not():
    up = [0.5] * 4 + [0.532] * 4 + [0.564]  # every fourth update, by 4·8/1000
    np.testing.assert_allclose(course(1.0), up, rtol=1e-6)
    np.testing.assert_allclose(course(-1.0), [0.5] * 4 + [0.468] * 4 + [0.436], rtol=1e-6)


@pytest.mark.slow
def test_parts_of_a_batch_move_it_as_the_whole():
    np.testing.assert_allclose(course(1.0, accumulate=2), course(1.0), rtol=1e-6)


@pytest.mark.parametrize("loss", [non_saturating, minimax, hinge, smoothed(non_saturating)])
def test_losses_with_a_sign(loss):
    assert ada.controller(loss).name == "ada"


@pytest.mark.parametrize("loss", [wasserstein, relativistic, relativistic_average, least_squares])
def test_losses_without_a_sign_are_refused(loss):
    with pytest.raises(ValueError, match="says nothing under this loss; use non_saturating, minimax or hinge, or"):
        ada.controller(loss)


def test_numbers_of_the_controller():
    for how in ({"target": 1.0}, {"speed": 0}, {"interval": 0}):
        with pytest.raises(ValueError, match="expected target in"):
            ada.controller(hinge, **how)


@pytest.mark.slow
def test_in_a_game_p_comes_from_the_state_a_schedule_or_a_number():
    """With luma flips alone, made sure by p = 1, D sees images of the other sign half of the time, and so does G's
    gradient; with p = 0 the step is the one without augmentation."""
    d_terms, g_terms = [d_loss(non_saturating)], [g_loss(non_saturating)]
    of = lambda **how: jax.jit(make_joint_step(given, d_terms, g_terms, **how))(state, tiny_batch())[0]  # noqa: E731
    extras = {"ada": {"p": jnp.float32(0.0), "sign": jnp.float32(0.0)}}
    state = tiny_gan(extras=extras, hyper={"often": 0.0})
    plain = of()
    for p in (None, "often", 0.0):
        same = of(augment=ada.augmentation(p, ("colour",)))
        jax.tree.map(np.testing.assert_array_equal, same.generator.params, plain.generator.params)
    state = tiny_gan(extras={"ada": {**extras["ada"], "p": jnp.float32(1.0)}}, hyper={"often": 1.0})
    changed = [of(augment=ada.augmentation(p, ("colour",))) for p in (None, "often", 1.0)]
    for other in changed[1:]:
        jax.tree.map(np.testing.assert_array_equal, other.generator.params, changed[0].generator.params)
    differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), changed[0].generator.params, plain.generator.params)
    assert max(jax.tree.leaves(differences)) > 1e-3


def test_what_a_state_lacks_is_one_line():
    step = make_d_step(given, [d_loss(hinge)], augment=ada.augmentation(groups=("noise",)))
    with pytest.raises(ValueError, match=r"extras lack 'ada'; give D the term ada.controller\(loss\), or p a number"):
        step(tiny_gan(), tiny_batch())
    step = make_d_step(given, [d_loss(hinge)], augment=ada.augmentation("often", ("noise",)))
    with pytest.raises(ValueError, match="'often' is missing in hyper, which has"):
        step(tiny_gan(), tiny_batch())
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        ada.augmentation(1.5)
