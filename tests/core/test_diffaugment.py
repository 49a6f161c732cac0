"""DiffAugment against NumPy in float64 and loops over pixels; draws by their distribution; in a GAN's steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Discriminator, given, tiny_batch, tiny_gan
from jax.test_util import check_grads
from scipy import stats

from jaxgan import ada, d_loss, diffaugment, g_loss, make_d_step, make_g_step, make_joint_step
from jaxgan.augment import noise as gaussian
from jaxgan.losses import hinge, non_saturating
from jaxgan.terms.penalties import r1

MANY = 4000
CASES = {name: (name,) for name in diffaugment.GROUPS} | {"all": diffaugment.GROUPS}
slow = pytest.mark.slow
each = pytest.mark.parametrize(  # all of them, and slowly each alone
    "groups", [pytest.param(of, marks=() if name == "all" else slow, id=name) for name, of in CASES.items()]
)
both = pytest.mark.parametrize("channels", [1, 3])
change = jax.jit(diffaugment.augment, static_argnames="groups")


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def uniform(values, low, high):
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


# --- what every group keeps -------------------------------------------------------------------------------------------
@each
@both
def test_without_strength_images_stay_the_same(groups, channels):
    images = 1e3 * noise(4, 5, 8, channels)
    np.testing.assert_array_equal(change(images, keys(4), 0.0, groups), images)


@each
def test_an_example_depends_on_its_key_alone(groups):
    images, own = noise(8, 8, 9, 3), keys(8)
    whole = np.asarray(change(images, own, 1.0, groups))
    assert np.abs(whole - images).max((1, 2, 3)).min() > 0.01 or "translation" in groups  # which may be by 0
    assert np.abs(whole - images).max() > 0.1
    np.testing.assert_array_equal(change(images, own, 1.0, groups), whole)
    for chosen in (np.array([3, 0, 7]), np.array([5])):
        np.testing.assert_allclose(change(images[chosen], own[chosen], 1.0, groups), whole[chosen], rtol=0, atol=1e-6)
    half = change(jnp.asarray(images, jnp.bfloat16), own, 1.0, groups)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), whole, rtol=0.02, atol=0.02)


@slow
@each
@both
def test_gradients_are_those_of_finite_differences(groups, channels):
    """Of a map that is affine in the image, so that a wide step is exact and rounds least."""
    images, own = jnp.asarray(noise(3, 6, 5, channels)), keys(3, 2)
    run = functools.partial(change, keys=own, strength=0.8, groups=groups)
    check_grads(run, (images,), 1, modes=["fwd", "rev"], atol=1e-4, rtol=1e-4, eps=0.5)


@slow
def test_nothing_of_one_example_reaches_another():
    """Not even what is not a number."""
    images = noise(3, 8, 8, 3)
    images[1] = np.nan
    found = np.asarray(change(images, keys(3), 1.0, diffaugment.GROUPS))
    assert np.isfinite(found[[0, 2]]).all() and np.isnan(found[1]).any()


@pytest.mark.parametrize("groups, named", [(("color",), "color"), ("colour", "'colour'"), ((), r"\(\)")])
def test_groups_that_are_none_are_one_line(groups, named):
    line = f"expected one or more of the groups colour, translation, cutout, got {named}$"
    with pytest.raises(ValueError, match=line):
        diffaugment.augment(noise(1, 4, 4, 1), keys(1), 1.0, groups)


@pytest.mark.parametrize("strength", [-0.1, 1.5, 2, np.nan])
def test_a_strength_beyond_the_papers_is_one_line(strength):
    with pytest.raises(ValueError, match=f"^expected a strength from 0 to 1, got {strength}$"):
        diffaugment.augment(noise(1, 4, 4, 1), keys(1), strength)


# --- colour -----------------------------------------------------------------------------------------------------------
def numbers_of(images, changed):
    """Returns each image's brightness, contrast and saturation, found from what can't hide them: changes of
    saturation leave a pixel's mean, those of contrast and saturation the image's."""
    images, changed = images.astype(np.float64), np.asarray(changed, np.float64)
    mean, grey = (lambda x: x.mean((1, 2, 3), keepdims=True)), (lambda x: x.mean(3, keepdims=True))
    slope = lambda x, y: (x * y).sum((1, 2, 3)) / (x * x).sum((1, 2, 3))  # noqa: E731 - least squares
    brightness = (mean(changed) - mean(images)).ravel()
    contrast = slope(grey(images) - mean(images), grey(changed) - mean(changed))
    if images.shape[3] == 1:
        return brightness, contrast, None
    return brightness, contrast, slope(images - grey(images), changed - grey(changed)) / contrast


def by_hand(image, brightness, contrast, saturation):
    """One pixel after the other."""
    height, width, channels = image.shape
    x = image.astype(np.float64) + brightness
    for i in range(height):
        for j in range(width):
            mean = sum(x[i, j]) / channels
            x[i, j] = [saturation * value + (1 - saturation) * mean for value in x[i, j]]
    mean = sum(x.ravel()) / x.size
    return np.array([contrast * value + (1 - contrast) * mean for value in x.ravel()]).reshape(x.shape)


@both
@pytest.mark.parametrize("strength", [1.0, pytest.param(0.5, marks=slow)])
def test_colours_are_numpys_and_uniform(channels, strength):
    images = noise(MANY, 3, 4, channels)
    found = np.asarray(change(images, keys(MANY), strength, ("colour",)))
    brightness, contrast, saturation = numbers_of(images, found)
    for i in range(20):
        expected = by_hand(images[i], brightness[i], contrast[i], 1.0 if saturation is None else saturation[i])
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=2e-6)
    assert uniform(brightness, -0.5 * strength, 0.5 * strength)
    assert uniform(contrast, 1 - 0.5 * strength, 1 + 0.5 * strength)
    drawn = [brightness, contrast]
    if channels == 3:
        assert uniform(saturation, 1 - strength, 1 + strength)
        drawn.append(saturation)
    correlation = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(MANY)


# --- translation and cutout -------------------------------------------------------------------------------------------
def moved_by_hand(image, down, right):
    found, (height, width, _) = np.zeros_like(image), image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                found[i, j] = image[i - down, j - right]
    return found


# By side and strength how far it moves at most: an eighth of it, rounded, halves up.
FAR = {(32, 1.0): 4, (28, 1.0): 4, (27, 1.0): 3, (8, 1.0): 1, (3, 1.0): 0, (32, 0.5): 2, (32, 0.1): 0}


@pytest.mark.parametrize("side, strength", [pytest.param(*of, marks=() if of == (28, 1.0) else slow) for of in FAR])
def test_translations_are_whole_pixels_and_as_likely(side, strength):
    far, height = FAR[side, strength], 8
    # No pixel is 0, which is what comes in.
    image = 1 + np.arange(height * side, dtype=np.float32).reshape(1, height, side, 1)
    found = np.asarray(change(np.broadcast_to(image, (MANY, *image.shape[1:])), keys(MANY), strength, ("translation",)))
    tall = round(8 * strength / 8 + 1e-6)
    every = {
        (down, right): moved_by_hand(image[0], down, right)
        for down in range(-tall, tall + 1)
        for right in range(-far, far + 1)
    }
    equal = np.stack([(found == expected).all((1, 2, 3)) for expected in every.values()])
    np.testing.assert_array_equal(equal.sum(0), 1)
    assert len(every) == 1 or stats.chisquare(equal.sum(1)).pvalue > 1e-3


# By side and strength how much is cut out: half of it, rounded, halves up.
LONG = {(8, 1.0): 4, (9, 1.0): 5, (6, 1.0): 3, (8, 0.5): 2, (8, 0.1): 0}


@pytest.mark.parametrize("side, strength", [pytest.param(*of, marks=() if of == (9, 1.0) else slow) for of in LONG])
def test_cutout_is_a_rectangle_whose_middle_is_anywhere_in_the_image(side, strength):
    long, height = LONG[side, strength], 4
    ones = np.ones((MANY, height, side, 2), np.float32)
    found = np.asarray(change(ones, keys(MANY), strength, ("cutout",)))
    tall = int(4 * strength / 2 + 0.5)
    every = []
    # Twice the middle: with an odd length it is that of a pixel, otherwise a border between two.
    for y in range(1, 2 * height, 2) if tall % 2 else range(0, 2 * height + 1, 2):
        for x in range(1, 2 * side, 2) if long % 2 else range(0, 2 * side + 1, 2):
            expected = np.ones((height, side, 2), np.float32)
            for i in range(height):
                for j in range(side):
                    if abs(2 * i + 1 - y) < tall and abs(2 * j + 1 - x) < long:
                        expected[i, j] = 0
            every.append(expected)
    if tall == long == 0:
        np.testing.assert_array_equal(found, ones)
        return
    distinct, counts = np.unique(np.stack(every), axis=0, return_counts=True)
    equal = np.stack([(found == expected).all((1, 2, 3)) for expected in distinct])
    np.testing.assert_array_equal(equal.sum(0), 1)
    assert stats.chisquare(equal.sum(1), counts * MANY / len(every)).pvalue > 1e-3


@slow
def test_what_is_cut_out_or_moved_away_has_no_gradient():
    images, own = jnp.asarray(noise(6, 8, 8, 1)), keys(6)
    for name in ("translation", "cutout"):
        slope = np.asarray(jax.grad(lambda x, name=name: change(x, own, 1.0, (name,)).sum())(images))
        left = np.asarray(change(images, own, 1.0, (name,)))
        assert set(np.unique(slope)) == {0.0, 1.0}
        np.testing.assert_allclose((slope * images).sum((1, 2, 3)), left.sum((1, 2, 3)), rtol=0, atol=1e-5)


@slow
def test_changes_with_the_same_keys_are_independent():
    """Also of those of `jaxgan.augment`, which may be given them too."""
    own, ones = keys(MANY), np.ones((MANY, 8, 8, 1), np.float32)
    bright = np.asarray(change(ones, own, 1.0, ("colour",)))[:, 0, 0, 0]
    places = np.broadcast_to(np.arange(8, dtype=np.float32).reshape(1, 1, 8, 1), ones.shape)
    right = np.asarray(change(places, own, 1.0, ("translation",)))[:, 4, 4, 0]
    cut = np.asarray(change(ones, own, 1.0, ("cutout",)))
    others = np.asarray(gaussian(np.zeros_like(ones), own, 1.0))[:, 0, 0, 0]
    drawn = [bright, right, cut[:, :, :4].sum((1, 2, 3)), cut[:, :4].sum((1, 2, 3)), others]
    correlation = np.corrcoef(drawn)
    correlation[2, 3] = correlation[3, 2] = 0  # how much is cut out is in both
    assert np.abs(correlation - np.eye(5)).max() < 4.5 / np.sqrt(MANY)


# --- in a game --------------------------------------------------------------------------------------------------------
def step_of(state, **how):
    step = make_joint_step(given, [d_loss(non_saturating), r1(0.5)], [g_loss(non_saturating)], **how)
    return jax.jit(step)(state, tiny_batch())[0]


@slow
def test_both_players_learn_from_what_is_changed():
    """At strength 0 a step is the one without; at 1 both players' parameters move otherwise; a number and a name in
    `hyper` are the same."""
    state, plain = tiny_gan(hyper={"strength": 1.0}), step_of(tiny_gan(hyper={"strength": 1.0}))
    same = step_of(state, augment=diffaugment.augmentation(0.0))
    jax.tree.map(np.testing.assert_array_equal, same.generator.params, plain.generator.params)
    jax.tree.map(np.testing.assert_array_equal, same.discriminator.params, plain.discriminator.params)
    changed = step_of(state, augment=diffaugment.augmentation("strength"))
    other = step_of(state, augment=diffaugment.augmentation())
    for name in ("generator", "discriminator"):
        ours, theirs = changed.players[name].params, other.players[name].params
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-6), ours, theirs)
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), ours, plain.players[name].params)
        assert max(jax.tree.leaves(moved)) > 1e-3, name


@slow
def test_all_passes_are_changed():
    """By a discriminator that says whether a pixel is 0: cutout makes one of four so, the networks and data none."""

    class Finds(Discriminator):
        def __call__(self, image, condition=None, *, train):
            super().__call__(image, condition, train=train)
            return {"logits": jnp.any(image == 0, (1, 2, 3)).astype(jnp.float32) + 0 * image.sum((1, 2, 3))}

    state = tiny_gan(discriminator=Finds())
    changed, plain = {}, {}
    for metrics, augment in ((changed, diffaugment.augmentation(groups=("cutout",))), (plain, None)):
        for step in (
            make_d_step(given, [d_loss(hinge)], augment=augment),
            make_g_step(given, [g_loss(hinge)], augment=augment),
        ):
            metrics |= step(state, tiny_batch())[1]
    for name in ("discriminator/real_logits", "discriminator/fake_logits", "generator/fake_logits"):
        assert changed[name] == 1, name
        assert plain[name] == 0, name


def test_what_it_does_not_take_is_one_line():
    with pytest.raises(ValueError, match=r"^expected a probability or a strength from 0 to 1, got 1\.5$"):
        diffaugment.augmentation(1.5)
    step = make_d_step(given, [d_loss(hinge)], augment=diffaugment.augmentation("often"))
    with pytest.raises(ValueError, match=r"^the number 'often' is missing in hyper, which has"):
        step(tiny_gan(), tiny_batch())


@slow
def test_adas_probability_may_drive_it():
    """Its strength is then the probability, which is 0 at first."""
    extras = {"ada": {"p": jnp.float32(0.0), "sign": jnp.float32(0.0)}}
    driven = ada.augmentation(groups=diffaugment.GROUPS, change=diffaugment.augment)
    example, own = {"image": jnp.asarray(noise(2, 8, 8, 1))}, keys(2)
    still = driven(example, own, tiny_gan(extras=extras))["image"]
    np.testing.assert_array_equal(still, example["image"])
    whole = driven(example, own, tiny_gan(extras={"ada": {**extras["ada"], "p": jnp.float32(1.0)}}))["image"]
    np.testing.assert_allclose(whole, diffaugment.augment(example["image"], own), rtol=0, atol=1e-6)
