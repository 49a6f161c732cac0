"""pix2pix: a step by hand, L1 alone, pairs of the data's own and made ones, what copying scores, whole pictures."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import pix2pix, pix2pix_glyphs
from jaxgan import GANState, data, plain_player
from jaxgan.degrade import edges, grey
from jaxgan.evaluation.pairs import pair_values
from jaxgan.media import Image
from jaxgan.training import DataSpec, UsageError
from jaxgan.training.compiled.program import decode_examples
from jaxgan.training.options.data import real_transform
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.members import ensemble_of, members_of

SMALL = ["--features", "2", "--depth", "2", "--image-size", "8", "--batch-size", "4", "--preset", "smoke"]
RATES = {"generator/learning_rate": 0.25, "discriminator/learning_rate": 0.5, "ema_half_life": 0.0}


def options_of(*arguments, module=pix2pix):
    return parse(module.Options, [*SMALL, *arguments])


def pairs(count=12, side=8, channels=3, **more):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, side, side, channels), np.uint8)
    return data.from_arrays("pairs", images, source=random.integers(0, 256, (count, side, side, 1), np.uint8), **more)


def linear_state(weights, *, judged=True):
    """G: w·source; D: a·image + b·source + c, a logit a pixel."""
    tx = optax.identity()
    players = {"generator": plain_player(lambda w, source: w * source, jnp.float32(0.3), tx)}
    if judged:
        start = {"a": jnp.float32(0.7), "b": jnp.float32(-0.4), "c": jnp.float32(0.1)}
        players["discriminator"] = plain_player(
            lambda p, image, source: {"logits": (p["a"] * image + p["b"] * source + p["c"])[..., 0]}, start, tx
        )
    return GANState.of(jax.random.key(0), players, averaged=["generator"], hyper=RATES | weights)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# By loss: of a logit, D's loss of a real and a fake one, G's of a fake one, and their slopes; NumPy, from the papers.
LOSSES = {
    "standard": {
        "real": (lambda x: np.log1p(np.exp(-x)), lambda x: sigmoid(x) - 1),
        "fake": (lambda x: np.log1p(np.exp(x)), sigmoid),
        "g": (lambda x: np.log1p(np.exp(-x)), lambda x: sigmoid(x) - 1),
    },
    "least_squares": {
        "real": (lambda x: (x - 1) ** 2 / 2, lambda x: x - 1),
        "fake": (lambda x: x**2 / 2, lambda x: x),
        "g": (lambda x: (x - 1) ** 2 / 2, lambda x: x - 1),
    },
}


@pytest.mark.parametrize("accumulate", ["1", pytest.param("2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_is_the_papers(loss, accumulate):
    """Both players by gradient descent, in float64: D first, on half of its loss, then G against the new D."""
    random = np.random.default_rng(1)
    image, source = random.uniform(-1, 1, (2, 4, 5, 6, 1))
    options = options_of("--loss", loss, "--accumulate", accumulate)
    step = pix2pix.make_iteration(options, lambda examples, keys: {n: examples[n] for n in ("source", "image")})
    batch = {"image": jnp.asarray(image, jnp.float32), "source": jnp.asarray(source, jnp.float32)}
    after, metrics = jax.jit(step)(linear_state({"l1": 100.0, "adversarial": 1.5}), batch)

    w, a, b, c, by = 0.3, 0.7, -0.4, 0.1, LOSSES[loss]
    fake = w * source
    real_logits, fake_logits = (a * x + b * source + c for x in (image, fake))
    d_loss = (by["real"][0](real_logits) + by["fake"][0](fake_logits)).mean()
    real_slope, fake_slope = by["real"][1](real_logits), by["fake"][1](fake_logits)
    a_slope = (real_slope * image + fake_slope * fake).mean()
    b_slope, c_slope = ((real_slope + fake_slope) * source).mean(), (real_slope + fake_slope).mean()
    a, b, c = a - 0.5 * 0.5 * a_slope, b - 0.5 * 0.5 * b_slope, c - 0.5 * 0.5 * c_slope
    logits = a * fake + b * source + c
    l1 = np.abs(fake - image).mean()
    w_slope = (1.5 * by["g"][1](logits) * a * source + 100 * np.sign(fake - image) * source).mean()
    want = {
        "discriminator/adversarial": d_loss,
        "discriminator/loss": d_loss / 2,
        "discriminator/real_logits": real_logits.mean(),
        "discriminator/fake_logits": fake_logits.mean(),
        "generator/adversarial": by["g"][0](logits).mean(),
        "generator/l1": l1,
        "generator/loss": 1.5 * by["g"][0](logits).mean() + 100 * l1,
        "generator/fake_logits": logits.mean(),
    }
    for name, value in want.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose([after.discriminator.params[name] for name in "abc"], [a, b, c], rtol=1e-5)
    np.testing.assert_allclose(after.generator.params, w - 0.25 * w_slope, rtol=1e-5)


def test_l1_alone_has_no_discriminator():
    random = np.random.default_rng(1)
    image, source = random.uniform(-1, 1, (2, 4, 5, 6, 1))
    options = options_of("--adversarial", "0")
    step = pix2pix.make_iteration(options, lambda examples, keys: {n: examples[n] for n in ("source", "image")})
    batch = {"image": jnp.asarray(image, jnp.float32), "source": jnp.asarray(source, jnp.float32)}
    after, metrics = jax.jit(step)(linear_state({"l1": 100.0}, judged=False), batch)
    w_slope = 100 * (np.sign(0.3 * source - image) * source).mean()
    np.testing.assert_allclose(after.generator.params, 0.3 - 0.25 * w_slope, rtol=1e-5)
    assert not [name for name in metrics if "discriminator" in name or "adversarial" in name]
    gan = pix2pix.build(options, DataSpec.of(pairs()))
    state = jax.eval_shape(gan.init, jax.random.key(0))
    assert set(state.players) == {"generator"}
    assert set(state.hyper) == {"generator/learning_rate", "ema_half_life", "l1"}


def test_the_datas_own_sources_are_taken_or_made_but_never_both():
    spec = DataSpec.of(pairs())
    examples = {"image": jnp.full((2, 8, 8, 3), 0.5), "source": jnp.full((2, 8, 8, 1), -0.25)}
    keys = jax.random.split(jax.random.key(0), 2)
    own = pix2pix.pairs_of(options_of(), spec)(examples, keys)
    assert own["source"] is examples["source"] and own["image"] is examples["image"]
    with pytest.raises(
        UsageError, match="pairs has sources of its own, and --source grey would make others: leave one"
    ):
        pix2pix.build(options_of("--source", "grey"), spec)
    alone = DataSpec.of(data.from_arrays("alone", np.zeros((4, 8, 8, 3), np.uint8)))
    image = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)), jnp.float32)
    for arguments, by in (((), edges), (("--source", "edges"), edges), (("--source", "grey"), grey)):
        made = pix2pix.pairs_of(options_of(*arguments), alone)({"image": image}, keys)
        np.testing.assert_array_equal(made["source"], by(image))
        np.testing.assert_array_equal(made["image"], image)


def test_what_does_not_fit_is_told_in_a_line():
    images = np.zeros((4, 8, 8, 1), np.uint8)
    narrow = DataSpec.of(data.from_arrays("narrow", images, source=images[:, :, :6]))
    with pytest.raises(UsageError, match="images are of 8x8 pixels and their sources of 8x6"):
        pix2pix.build(options_of(), narrow)
    spec = DataSpec.of(pairs())
    with pytest.raises(UsageError, match="--patch 70 needs images of at least 24 pixels a side, got 8x8"):
        pix2pix.build(options_of("--patch", "70"), spec)
    pix2pix.build(options_of("--patch", "70", "--adversarial", "0"), spec)
    words = "--depth 4 halves images of 8x8 pixels further than to one; give at most 3"
    with pytest.raises(UsageError, match=words):
        pix2pix.build(options_of("--depth", "4"), spec)
    pix2pix.build(options_of("--depth", "3"), spec)
    with pytest.raises(UsageError, match="alone has no sources, and this experiment makes none: take --dataset glyphs"):
        pix2pix_glyphs.build(options_of(module=pix2pix_glyphs), DataSpec.of(data.from_arrays("alone", images)))
    several = DataSpec("a,b", 4, sets={"a": spec, "b": spec})
    with pytest.raises(UsageError, match="has several sets, a, b, and this experiment takes one"):
        pix2pix.build(options_of(), several)
    points = DataSpec.single("ring", 8, (1, 1, 2), kind="points")
    with pytest.raises(UsageError, match="--dataset ring is points 1×1×2, and this experiment translates images"):
        pix2pix.build(options_of(), points)


def test_source_and_image_are_changed_alike():
    """Flipped, turned and cut out by the same draws: of equal ones, equal ones come."""
    images = np.random.default_rng(0).integers(0, 256, (16, 12, 12, 3), np.uint8)
    same = data.from_arrays("same", images, source=images)
    options = options_of("--load-size", "12", "--flip", "--rotate", "20", "--scale", "0.2")
    spec, key, numbers = DataSpec.of(same, (8, 8)), jax.random.key(3), jnp.arange(16)
    stored = {"image": jnp.asarray(images), "source": jnp.asarray(images)}
    batch = jax.jit(lambda stored: decode_examples(spec, stored, real_transform(options), key, numbers))(stored)
    np.testing.assert_array_equal(batch["image"], batch["source"])
    middle = Image().decode(stored["image"])[:, 2:10, 2:10]
    assert batch["image"].shape == (16, 8, 8, 3)
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(batch["image"], middle, strict=True))


def copying(gan, key=0):
    """Returns a state whose generator hands its source on."""
    state = jax.jit(gan.init)(jax.random.key(key))
    player = state.generator.replace(apply_fn=lambda variables, source, train=False: jnp.repeat(source, 3, -1))
    return state.replace(generator=player)


def test_copying_is_what_an_identity_would_score():
    found = pairs()
    gan = pix2pix.build(options_of("--adversarial", "0"), DataSpec.of(found))
    examples = {name: Image().decode(jnp.asarray(found.arrays[name])) for name in ("image", "source")}
    drawn = gan.sample(copying(gan), examples, jax.random.split(jax.random.key(0), 12))
    assert list(drawn) == ["source", "image", "target"] and gan.pairs == {"image": "target"}
    stored = {name: np.asarray(Image().encode(x)) for name, x in drawn.items()}
    np.testing.assert_array_equal(stored["source"], found.arrays["source"])
    np.testing.assert_array_equal(stored["target"], found.arrays["image"])
    np.testing.assert_array_equal(stored["image"], found.arrays["source"].repeat(3, -1))
    by_hand = np.abs(found.arrays["source"] / 255.0 - found.arrays["image"] / 255.0).mean((1, 2, 3))
    np.testing.assert_allclose(pair_values("l1", stored["image"], stored["target"]), by_hand, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("generator", ["unet", "resnet"])
def test_whole_pictures_are_translated_as_samples_are(generator):
    """Also with averaged and raw weights apart, and of sizes that no stride divides."""
    options = options_of("--generator", generator, "--source", "grey", "--blocks", "1")
    gan = pix2pix.build(options, DataSpec.of(data.from_arrays("alone", np.zeros((4, 8, 8, 3), np.uint8))))
    state = jax.jit(gan.init)(jax.random.key(0))
    state = dataclasses.replace(state, ema={"generator": jax.tree.map(lambda x: 1.5 * x, state.ema["generator"])})
    how, keys = gan.translations["image"], jax.random.split(jax.random.key(1), 2)
    assert (how.channels, how.scale, how.multiple) == (1, 1, 4)
    assert how.reach == (9 if generator == "unet" else None)
    image = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 7, 10, 3)), jnp.float32)
    drawn = {}
    for weights in ("ema", "raw"):
        drawn[weights] = jax.jit(lambda s, x, weights=weights: gan.sample(s, {"image": x}, keys, weights=weights))(
            state, image
        )
        source = how.degrade(image, keys)
        np.testing.assert_allclose(source, drawn[weights]["source"], atol=2e-7)  # rounded by two programs
        made = jax.jit(lambda s, x, weights=weights: how.apply(s, x, weights=weights))(state, source)
        np.testing.assert_allclose(made, drawn[weights]["image"], rtol=1e-5, atol=1e-6)
        assert made.shape == (2, 7, 10, 3)
    assert np.abs(drawn["ema"]["image"] - drawn["raw"]["image"]).max() > 1e-3


def test_several_gans_draw_source_image_and_target_in_this_order():
    options, found = options_of("--adversarial", "0", "--seeds", "2"), pairs(2)
    gan = pix2pix.build(options, DataSpec.of(found))
    ensemble = ensemble_of(gan, members_of(options))
    state = jax.jit(ensemble.init)(jax.random.key(0))
    examples = {name: Image().decode(jnp.asarray(found.arrays[name])) for name in ("image", "source")}
    orders = []

    def sample(state):
        drawn = ensemble.sample(state, examples, jax.random.split(jax.random.key(0), 2))
        orders.append(list(drawn))
        return drawn

    drawn = jax.eval_shape(sample, state)
    assert orders == [["source", "image", "target"]] and drawn["image"].shape == (2, 2, 8, 8, 3)


def test_pictures_with_sources_of_their_own_have_no_degradation():
    gan = pix2pix.build(options_of(), DataSpec.of(pairs()))
    assert gan.translations["image"].degrade is None and gan.translations["image"].channels == 1
