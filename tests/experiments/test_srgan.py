"""SRGAN: a step's losses against NumPy, what each phase moves, weights between both, and what sources are made."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same, differs

from experiments import srgan
from jaxgan import degrade
from jaxgan.evaluation.features.perceptual import feature_maps
from jaxgan.training import DataSpec, train
from jaxgan.training import open as open_run
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.options import of_preset
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.gan import build_gan
from jaxgan.training.recipe.loading import load

pytestmark = pytest.mark.usefixtures("as_users_have_it")

SIZE, BATCH = 16, 4
SPEC = DataSpec.single("some", 10, (SIZE, SIZE, 1))
OPTIONS = of_preset(
    srgan.Options, "smoke", batch_size=BATCH, image_size=SIZE, optimizer="sgd", beta1=0.0, pretrain_steps=2
)
IMAGES = {"image": jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (BATCH, SIZE, SIZE, 1)), jnp.float32)}
MAPS = feature_maps("mnist-v1")


@functools.cache
def trained(**changes):
    """The GAN, its states at steps 0 to 4, of which 2 pretrain, and the metrics of each step."""
    gan = srgan.build(dataclasses.replace(OPTIONS, **changes), SPEC)
    step, states, metrics = jax.jit(gan.iteration), [jax.jit(gan.init)(jax.random.key(3))], []
    for _ in range(4):
        state, found = step(states[-1], IMAGES)
        states.append(state)
        metrics.append(found)
    return gan, states, metrics


def source_by_hand(images):
    """Half the size by imresize, in 256 levels."""
    small = np.asarray(degrade.resize(images, (SIZE // 2, SIZE // 2)), np.float64)
    return jnp.asarray(np.rint((np.clip(small, -1, 1) + 1) * 127.5) / 127.5 - 1, jnp.float32)


def made_by(state, train=True):
    return state.generator.apply_fn(state.generator.all_variables, source_by_hand(IMAGES["image"]), train=train)


def judged(state, images):
    """Logits in float64, of a pass that normalises by these images."""
    d = state.discriminator
    said, _ = d.apply_fn(d.all_variables, images, train=True, mutable=["batch_stats"])
    return np.asarray(said["logits"], np.float64), said["features"]


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def average(own, other):
    """Jolicoeur-Martineau 2018, RaSGAN: `own` above the mean of `other`, and `other` below the mean of `own`."""
    return np.mean(softplus(-(own - other.mean()))) + np.mean(softplus(other - own.mean()))


def distance(first, second):
    return np.mean(
        [np.mean(np.abs(np.asarray(a, np.float64) - np.asarray(b))) for a, b in zip(first, second, strict=True)]
    )


def test_pretraining_is_the_difference_of_pixels_and_moves_the_generator_alone():
    _, (first, second, *_), (metrics, *_) = trained()
    by_hand = np.mean(np.abs(np.asarray(made_by(first), np.float64) - np.asarray(IMAGES["image"])))
    np.testing.assert_allclose(metrics["generator/pixel"], by_hand, rtol=1e-5)
    np.testing.assert_allclose(metrics["generator/loss"], by_hand, rtol=1e-5)
    assert float(metrics["discriminator/loss"]) == float(metrics["generator/perceptual"]) == 0
    assert_same(second.discriminator.params, first.discriminator.params)
    assert differs(second.generator.params, first.generator.params) and int(second.discriminator.step) == 0
    assert_same(second.hyper, first.hyper)


@pytest.mark.slow
def test_pretraining_has_its_own_rate():
    """SGD: what a parameter moves is the rate times its slope."""
    _, (first, second, *_), _ = trained()
    _, (_, faster, *_), _ = trained(pretrain_learning_rate=3 * OPTIONS.pretrain_learning_rate)
    _, (_, same, *_), _ = trained(learning_rate=3 * OPTIONS.learning_rate)
    start, one, three = (state.generator.params["last"]["bias"] for state in (first, second, faster))
    np.testing.assert_allclose(three - start, 3 * (one - start), rtol=1e-5)
    assert_same(same.generator.params, second.generator.params)


@pytest.mark.parametrize("network", ["mnist-v1", pytest.param("discriminator", marks=pytest.mark.slow)])
def test_the_losses_of_the_second_phase(network):
    gan, states, metrics = trained() if network == OPTIONS.feature_maps else trained(feature_maps=network)
    before, now, found = states[2], states[3], {name: float(value) for name, value in metrics[2].items()}
    fake, real = made_by(before), IMAGES["image"]
    (real_logits, _), (fake_logits, _) = judged(before, real), judged(before, fake)
    np.testing.assert_allclose(found["discriminator/adversarial"], average(real_logits, fake_logits), rtol=1e-4)
    np.testing.assert_allclose(found["discriminator/real_logits"], real_logits.mean(), rtol=1e-4, atol=1e-5)
    # The generator is judged by the discriminator that has just learned.
    judge = before.replace(discriminator=now.discriminator)
    (real_logits, real_seen), (fake_logits, fake_seen) = judged(judge, real), judged(judge, fake)
    if network != "discriminator":
        fake_seen, real_seen = MAPS(fake), MAPS(real)
    pixel = np.mean(np.abs(np.asarray(fake, np.float64) - np.asarray(real)))
    expected = {
        "pixel": pixel,
        "perceptual": distance(fake_seen, real_seen),
        "adversarial": average(fake_logits, real_logits),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[f"generator/{name}"], value, rtol=1e-4, err_msg=name)
    total = expected["pixel"] + 0.3 * expected["perceptual"] + 0.005 * expected["adversarial"]
    np.testing.assert_allclose(found["generator/loss"], total, rtol=1e-4)
    assert set(gan.frozen) == ({"perceptual"} if network == "mnist-v1" else set())
    assert differs(now.discriminator.params, before.discriminator.params)
    assert differs(now.generator.params, before.generator.params)


@pytest.mark.slow
def test_the_standard_loss():
    _, states, metrics = trained(loss="non_saturating")
    (real, _), (fake, _) = judged(states[2], IMAGES["image"]), judged(states[2], made_by(states[2]))
    expected = np.mean(softplus(-real)) + np.mean(softplus(fake))
    np.testing.assert_allclose(metrics[2]["discriminator/adversarial"], expected, rtol=1e-4)


def test_weights_between_the_phases():
    """The ends are the pretrained network and the adversarially trained one, exactly; in between lie the weights."""
    gan, states, _ = trained()
    source = source_by_hand(IMAGES["image"])
    last, pretrained = states[4], states[2].ema["generator"]
    assert_same(last.extras["pretrained"], pretrained)
    assert differs(last.ema["generator"], pretrained)
    apply = jax.jit(functools.partial(gan.translations["image"].apply, last), static_argnames="weights")
    draw = jax.jit(lambda variables: jnp.clip(last.generator.apply_fn(variables, source, train=False), -1, 1))
    assert_same(apply(source, interpolation=0.0), draw(pretrained))
    for weights, variables in (("ema", last.ema["generator"]), ("raw", last.generator.all_variables)):
        assert_same(apply(source, weights=weights), draw(variables))
        assert_same(apply(source, weights=weights, interpolation=1.0), draw(variables))
        middle = jax.tree.map(lambda a, b: 0.25 * a + 0.75 * b, pretrained, dict(variables))
        got = apply(source, weights=weights, interpolation=0.75)
        np.testing.assert_allclose(got, draw(middle), atol=1e-6)
    drawn = gan.sample(last, IMAGES, jax.random.split(jax.random.key(0), BATCH), interpolation=0.0)
    np.testing.assert_allclose(drawn["image"], draw(pretrained), atol=1e-6)
    assert list(drawn) == ["bicubic", "image", "target"] and gan.pairs == {"image": "target"}
    assert_same(drawn["target"], IMAGES["image"])
    np.testing.assert_allclose(drawn["bicubic"], np.clip(degrade.resize(source, (SIZE, SIZE)), -1, 1), atol=1e-6)


def test_during_pretraining_both_ends_are_one():
    gan, states, _ = trained()
    source = source_by_hand(IMAGES["image"])
    ends = [gan.translations["image"].apply(states[1], source, interpolation=x) for x in (0.0, 1.0)]
    assert_same(*ends)


def test_training_begins_with_bicubic_interpolation():
    gan, states, _ = trained()
    drawn = gan.sample(states[0], IMAGES, jax.random.split(jax.random.key(0), BATCH))
    inner = np.s_[:, 4:-4, 4:-4]  # at the border MATLAB mirrors
    np.testing.assert_allclose(drawn["image"][inner], drawn["bicubic"][inner], atol=1e-5)


def test_whole_pictures():
    gan, states, _ = trained()
    translation = gan.translations["image"]
    assert translation.scale == 2 and translation.channels == 1
    assert translation.reach == srgan.networks(OPTIONS, 1)[0].reach == 1 + 2 + 1 + 1 + 1
    picture = jnp.zeros((1, 5, 9, 1))
    assert translation.apply(states[1], picture).shape == (1, 10, 18, 1)
    assert translation.degrade(jnp.zeros((1, 10, 18, 1)), jax.random.split(jax.random.key(0), 1)).shape == (1, 5, 9, 1)


@pytest.mark.parametrize(
    "how",
    [
        *({}, {"blur": 1.0}, {"noise": 0.1}),
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ({"jpeg": 20}, {"blur": 0.5, "noise": 0.1, "jpeg": 50})
        ),
    ],
)
def test_sources_are_as_a_file_has_them(how):
    source = srgan.degradation(dataclasses.replace(OPTIONS, **how))
    images = IMAGES["image"] * 1.5  # beyond what a file holds
    keys = jax.random.split(jax.random.key(0), BATCH)
    made, again, other = (
        np.asarray(source(images, k)) for k in (keys, keys, jax.random.split(jax.random.key(1), BATCH))
    )
    levels = (made + 1) * 127.5
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    assert levels.min() >= 0 and levels.max() <= 255 and made.shape == (BATCH, 8, 8, 1)
    np.testing.assert_array_equal(made, again)
    assert np.any(made != other) == ("noise" in how)
    plain = np.asarray(srgan.degradation(OPTIONS)(images, keys))
    assert np.any(made != plain) == bool(how)
    if not how:
        np.testing.assert_allclose(made, source_by_hand(images), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"generator": "rrdb", "discriminator": "patch"},
        {"upscale": 4, "accumulate": 2},
        {"discriminator": "patch", "feature_maps": "discriminator", "lookahead": 2},
        {"dtype": "bfloat16"},
    ],
)
@pytest.mark.filterwarnings("ignore:.* parts of an accumulated batch by itself:UserWarning")
def test_other_choices_are_an_iteration(changes):
    gan = srgan.build(dataclasses.replace(OPTIONS, **changes), SPEC)
    state = jax.eval_shape(gan.init, jax.random.key(0))
    now, metrics = jax.eval_shape(gan.iteration, state, IMAGES)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), now) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert {"generator/pixel", "generator/perceptual", "generator/adversarial"} <= set(metrics)


def test_a_size_that_the_scale_does_not_divide_is_refused():
    with pytest.raises(UsageError, match="--upscale 3 needs images whose sides it divides, got 16x16"):
        build_gan(srgan.build, dataclasses.replace(OPTIONS, upscale=3), SPEC)
    with pytest.raises(UsageError, match="vgg"):
        build_gan(srgan.build, dataclasses.replace(OPTIONS, feature_maps="vgg"), SPEC)


def test_a_bare_run_has_photographs_at_full_resolution():
    found = load(srgan.Options())
    assert found.name == "photographs" and found.arrays["image"].shape == (30, 128, 128, 3)
    assert srgan.Options().crop_shape == (96, 96)


@pytest.mark.parametrize("end", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.long)])
def test_a_run_goes_on_bit_for_bit_across_the_phases(end, tmp_path):
    """Ended before the last step of pretraining, and right after it."""
    arguments = ["--preset", "smoke", "--devices", "1", "--pretrain-steps", "2"]

    def run(name, steps):
        options = [*arguments, "--workdir", str(tmp_path / name), "--steps", str(steps)]
        return train(srgan.build, parse(srgan.Options, options))

    whole = run("whole", 4)
    run("parts", end)
    assert_same(jax.tree.leaves(run("parts", 4)), jax.tree.leaves(whole))
    assert int(whole.generator.step) == 4 and int(whole.discriminator.step) == 2
    opened = open_run(tmp_path / "parts")
    assert opened.gan.frozen
    pretrained, latest = (opened.sample(3, interpolation=x) for x in (0.0, 1.0))
    assert pretrained.shape == latest.shape == (3, 28, 28, 1)
