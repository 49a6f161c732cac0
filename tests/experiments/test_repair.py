"""Repair: what is torn out and what is kept, the loss in the hole by hand, whole pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import pix2pix, repair
from jaxgan import GANState, data, degrade, plain_player
from jaxgan.evaluation.pairs import pair_values
from jaxgan.media import Image
from jaxgan.training import DataSpec
from jaxgan.training.options.parsing import parse

SMALL = ["--preset", "smoke", "--batch-size", "4", "--image-size", "16"]


def options_of(*arguments):
    return parse(repair.Options, [*SMALL, *arguments])


def images_of(count=6, side=16, channels=1):
    """Stored images without a pixel of mid-grey."""
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8)
    return np.where(np.isin(images, (127, 128)), 100, images).astype(np.uint8)


def decoded(images):
    return Image().decode(jnp.asarray(images))


@pytest.mark.parametrize("share, side", [("0.5", 8), ("1", 16)])
def test_a_hole_is_a_mid_grey_square_and_the_rest_is_kept(share, side):
    image, keys = decoded(images_of()), jax.random.split(jax.random.key(0), 6)
    pair = repair.pairs_of(options_of("--hole", share))({"image": image}, keys)
    mask = np.asarray(pair["mask"])[..., 0]
    assert (mask.sum((1, 2)) == side**2).all()
    for one in mask:  # a square
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        assert np.ptp(rows) == np.ptp(columns) == side - 1
    np.testing.assert_array_equal(pair["source"], np.where(mask[..., None] > 0, 0, image))
    np.testing.assert_array_equal(pair["image"], image)
    assert len(np.unique(mask, axis=0)) > 1 or share == "1"


def test_the_l1_loss_is_that_of_the_hole_by_hand():
    """Also with players that are linear, of which D is shown what is kept and what was made together."""
    random = np.random.default_rng(1)
    image = random.uniform(-1, 1, (3, 16, 16, 2))
    options = options_of("--l1", "7", "--adversarial", "2")
    tx = optax.identity()
    players = {
        "generator": plain_player(lambda w, source: w * jnp.ones_like(source), jnp.float32(0.3), tx),
        "discriminator": plain_player(lambda a, image, source: {"logits": a * image.mean(-1)}, jnp.float32(0.8), tx),
    }
    rates = {"generator/learning_rate": 0.5, "discriminator/learning_rate": 0.0, "ema_half_life": 0.0}
    state = GANState.of(jax.random.key(0), players, averaged=["generator"], hyper=rates | {"l1": 7, "adversarial": 2})
    seen = {}

    def pairs(examples, keys):
        pair = repair.pairs_of(options)(examples, keys)
        jax.debug.callback(lambda mask: seen.setdefault("mask", np.asarray(mask)), pair["mask"])
        return pair

    after, metrics = jax.jit(pix2pix.make_iteration(options, pairs))(state, {"image": jnp.asarray(image, jnp.float32)})
    jax.effects_barrier()
    mask = seen["mask"].astype(np.float64)
    assert mask.sum() == 3 * 64
    l1 = (np.abs(0.3 - image) * mask).sum() / (2 * mask.sum())
    np.testing.assert_allclose(metrics["generator/l1"], l1, rtol=1e-5)
    fake = np.where(mask > 0, 0.3, image)
    logits = 0.8 * fake.mean(-1)
    np.testing.assert_allclose(metrics["generator/adversarial"], np.log1p(np.exp(-logits)).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["discriminator/fake_logits"], logits.mean(), rtol=1e-5)
    slope = 7 * (np.sign(0.3 - image) * mask).sum() / (2 * mask.sum())
    slope += 2 * (-1 / (1 + np.exp(logits)) * 0.8 * mask[..., 0]).mean()
    np.testing.assert_allclose(after.generator.params, 0.3 - 0.5 * slope, rtol=1e-5)


@pytest.mark.parametrize(
    "name, by",
    [
        ("noise", lambda image, keys: degrade.noise(image, keys, 0.5)),
        ("contrast", lambda image, keys: degrade.contrast(image, keys, 0.1, 0.5)),
        ("blur", lambda image, keys: degrade.blur(image, 2.0)),
    ],
)
def test_other_degradations_are_of_the_whole_image_as_pictures_can_store_it(name, by):
    image, keys = decoded(images_of(channels=3)), jax.random.split(jax.random.key(0), 6)
    pair = repair.pairs_of(options_of("--degrade", name))({"image": image}, keys)
    assert set(pair) == {"source", "image"}
    np.testing.assert_array_equal(pair["source"], np.clip(by(image, keys), -1, 1))
    assert np.abs(pair["source"] - image).mean() > 0.05


@pytest.fixture(scope="module")
def drawn():
    """`gan, state, stored` of holes in coloured images."""
    images = images_of(channels=3)
    gan = repair.build(options_of(), DataSpec.of(data.from_arrays("images", images)))
    state = jax.jit(gan.init)(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 6)
    made = jax.jit(gan.sample)(state, {"image": decoded(images)}, keys)
    return gan, state, {name: np.asarray(Image().encode(x)) for name, x in made.items()}


def test_outside_of_the_hole_nothing_changes_so_that_scores_are_those_of_the_hole(drawn):
    _, _, stored = drawn
    hole = np.isin(stored["source"], (127, 128)).all(-1)
    assert (hole.sum((1, 2)) == 64).all()
    np.testing.assert_array_equal(stored["image"][~hole], stored["target"][~hole])
    assert (stored["image"][hole] != stored["target"][hole]).mean() > 0.9
    error = ((stored["image"].astype(float) - stored["target"]) ** 2)[hole].reshape(6, -1).mean(1)
    in_the_hole = 10 * np.log10(255**2 / error)
    of_the_picture = pair_values("psnr", stored["image"], stored["target"])
    np.testing.assert_allclose(in_the_hole, of_the_picture - 10 * np.log10(4), rtol=1e-5)


def test_holes_of_whole_pictures_are_what_is_mid_grey(drawn):
    gan, state, stored = drawn
    how = gan.translations["image"]
    made = jax.jit(lambda images: how.apply(state, images))(decoded(stored["source"]))
    again = np.asarray(Image().encode(made)).astype(int)
    hole = np.isin(stored["source"], (127, 128)).all(-1)
    np.testing.assert_array_equal(again[~hole], stored["target"][~hole])
    assert np.abs(again - stored["image"])[hole].max() <= 1, "mid-grey is stored half a step beside it"
    stays = decoded(np.full((1, 5, 3, 3), 126, np.uint8))
    np.testing.assert_array_equal(how.apply(state, stays), stays)


def test_whole_pictures_are_torn_as_examples_are(drawn):
    gan, _, stored = drawn
    torn = gan.translations["image"].degrade(decoded(stored["target"]), jax.random.split(jax.random.key(1), 6))
    np.testing.assert_array_equal(Image().encode(torn), stored["source"])


def test_shares_of_a_batch_are_torn_and_learned_as_the_batch_is():
    """By gradient descent: the same hole for an example wherever it lies, and the same means."""
    image = jnp.asarray(np.random.default_rng(2).uniform(-1, 1, (6, 16, 16, 1)), jnp.float32)
    options, tx = options_of(), optax.identity()
    players = {
        "generator": plain_player(lambda w, source: w * jnp.ones_like(source), jnp.float32(0.3), tx),
        "discriminator": plain_player(lambda a, image, source: {"logits": a * image.mean(-1)}, jnp.float32(0.8), tx),
    }
    rates = {"generator/learning_rate": 0.5, "discriminator/learning_rate": 0.5, "ema_half_life": 0.0}
    weights = {"l1": 1.0, "adversarial": 1.0}
    state = GANState.of(jax.random.key(0), players, averaged=["generator"], hyper=rates | weights)
    pairs = repair.pairs_of(options)
    whole, metrics = jax.jit(pix2pix.make_iteration(options, pairs))(state, {"image": image})
    step = pix2pix.make_iteration(options, pairs, axis_name="data")
    shared = jax.jit(jax.vmap(step, axis_name="data", in_axes=(None, 0), out_axes=None, axis_size=3))
    after, again = shared(state, {"image": image.reshape(3, 2, 16, 16, 1)})
    for name in players:
        np.testing.assert_allclose(after.players[name].params, whole.players[name].params, rtol=1e-5)
    assert metrics.keys() == again.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
