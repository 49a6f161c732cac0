"""VQGAN with a GAN of its latents: a step's losses and the adaptive weight, who learns when, and what is drawn."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same, differs

from experiments import vqgan_cifar10 as vqgan
from jaxgan.evaluation.features.perceptual import feature_maps
from jaxgan.training import DataSpec, train
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.options import of_preset
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.gan import build_gan

pytestmark = pytest.mark.usefixtures("as_users_have_it")

SIZE, BATCH = 16, 4
SPEC = DataSpec.single("some", 10, (SIZE, SIZE, 1))
OPTIONS = of_preset(
    vqgan.Options,
    "smoke",
    batch_size=BATCH,
    image_size=SIZE,
    optimizer="sgd",
    beta1=0.0,
    autoencoder_steps=3,
    discriminator_start=1,
    ramp=4,
    learning_rate=0.01,
    adversarial=0.8,
)
IMAGES = {"image": jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (BATCH, SIZE, SIZE, 1)), jnp.float32)}
MAPS = feature_maps("mnist-v1")
FIRST, SECOND = ("autoencoder", "discriminator"), ("generator", "critic")


@functools.cache
def trained():
    """The GAN, its states at steps 0 to 5, of which 3 are of the first stage, and the metrics of each step."""
    gan = vqgan.build(OPTIONS, SPEC)
    step, states, metrics = jax.jit(gan.iteration), [jax.jit(gan.init)(jax.random.key(3))], []
    for _ in range(5):
        state, found = step(states[-1], IMAGES)
        states.append(state)
        metrics.append({name: float(value) for name, value in found.items()})
    return gan, states, metrics


@pytest.mark.slow
def test_who_learns_when():
    """The others are unchanged bit for bit, their optimisers and counters too."""
    _, states, _ = trained()
    moves = [{"autoencoder"}, set(FIRST), set(FIRST), set(SECOND), set(SECOND)]
    for number, learning in enumerate(moves):
        before, after = states[number], states[number + 1]
        for name, player in before.players.items():
            moved = differs(after.players[name].params, player.params)
            assert moved == (name in learning), (number, name)
            # The discriminator counts its steps, at a rate of 0, before it joins in.
            if name not in learning and (name != "discriminator" or number > 0):
                assert_same(jax.tree.leaves(after.players[name]), jax.tree.leaves(player))
        if number < 3:
            assert_same(after.ema, states[0].ema)
        assert_same(after.hyper, states[0].hyper)
    assert [int(states[5].players[name].step) for name in (*FIRST, *SECOND)] == [3, 3, 2, 2]


@pytest.mark.slow
def test_the_generators_average_begins_with_its_stage():
    _, states, metrics = trained()
    assert_same(states[4].ema["generator"]["params"], states[4].generator.params)  # a half-life of 0 images
    assert differs(states[5].ema["generator"]["params"], states[5].generator.params)
    assert [row["hyper/generator/ema_half_life"] for row in metrics[3:]] == [0.0, pytest.approx(0.05 * BATCH)]


@pytest.mark.slow
def test_the_losses_of_the_first_stage():
    """In the third step, a quarter up the ramp; the autoencoder is judged by a discriminator that has just learned."""
    _, states, metrics = trained()
    before, judge, found = states[2], states[3].discriminator, metrics[2]
    coder, target = before.players["autoencoder"], np.asarray(IMAGES["image"], np.float64)
    made = coder.apply_fn(coder.all_variables, IMAGES["image"], train=True)

    def logits(of, images):
        return of.apply_fn(of.all_variables, images, train=True)["logits"]

    d = [np.asarray(logits(before.discriminator, x), np.float64) for x in (IMAGES["image"], made["image"])]
    expected = np.mean(np.maximum(0, 1 - d[0])) + np.mean(np.maximum(0, 1 + d[1]))
    np.testing.assert_allclose(found["discriminator/adversarial"], expected, rtol=1e-4)
    np.testing.assert_allclose(found["discriminator/real_logits"], d[0].mean(), rtol=1e-4, atol=1e-6)

    def distance(image):
        pairs = zip(MAPS(image), MAPS(IMAGES["image"]), strict=True)
        return sum(jnp.mean(jnp.abs(a - b)) for a, b in pairs) / 3

    def image(last):  # a 3×3 convolution by XLA
        numbers = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(made["hidden"], last["kernel"], (1, 1), "SAME", dimension_numbers=numbers)
        return x + last["bias"].reshape(1, 1, 1, -1)

    last = coder.params["last"]
    np.testing.assert_allclose(image(last), made["image"], atol=1e-5)
    near = jax.grad(lambda p: jnp.mean(jnp.abs(image(p) - IMAGES["image"])) + distance(image(p)))(last)
    wanted = jax.grad(lambda p: -jnp.mean(logits(judge, image(p))))(last)
    norms = [np.sqrt(sum(np.sum(np.square(x, dtype=np.float64)) for x in jax.tree.leaves(g))) for g in (near, wanted)]
    weight = norms[0] / (norms[1] + 1e-4)
    np.testing.assert_allclose(found["autoencoder/adaptive_weight"], weight, rtol=1e-3)
    numbers = {
        "l1": np.mean(np.abs(np.asarray(made["image"], np.float64) - target)),
        "perceptual": float(distance(made["image"])),
        "codebook": np.mean(made["codebook"]),
        "commitment": np.mean(made["commitment"]),
        "adversarial": -weight * np.mean(logits(judge, made["image"])),
    }
    for name, value in numbers.items():
        np.testing.assert_allclose(found[f"autoencoder/{name}"], value, rtol=2e-3, atol=1e-6, err_msg=name)
    shares = np.bincount(np.ravel(made["indices"]), minlength=OPTIONS.codes) / made["indices"].size
    np.testing.assert_allclose(found["autoencoder/used"], np.mean(shares > 0), rtol=1e-6)
    of_all = np.exp(-np.sum(shares[shares > 0] * np.log(shares[shares > 0])))
    np.testing.assert_allclose(found["autoencoder/perplexity"], of_all, rtol=1e-5)
    # From image 4 on, over 16 images: at image 8 a quarter of 0.8.
    assert [row["hyper/adversarial"] for row in metrics[:3]] == [0.0, 0.0, pytest.approx(0.2)]
    total = numbers["l1"] + numbers["perceptual"] + numbers["codebook"] + 0.25 * numbers["commitment"]
    np.testing.assert_allclose(found["autoencoder/loss"], total + 0.2 * numbers["adversarial"], rtol=1e-3)
    assert found["critic/loss"] == found["generator/loss"] == 0


@pytest.mark.slow
def test_the_losses_of_the_second_stage():
    """The critic's are of latents before they are quantised; penalties by hand from its gradients, at half of gamma."""
    _, states, metrics = trained()
    found, before = metrics[3], states[3]
    critic, coder = before.players["critic"], before.players["autoencoder"]
    real = coder.apply_fn(coder.all_variables, IMAGES["image"], train=False, method="encode")
    slopes = jax.grad(lambda x: jnp.sum(critic.apply_fn(critic.all_variables, x, train=True)["logits"]))(real)
    r1 = np.mean(np.sum(np.square(slopes, dtype=np.float64), axis=(1, 2, 3)))
    np.testing.assert_allclose(found["critic/r1"], r1, rtol=1e-3)
    logits = critic.apply_fn(critic.all_variables, real, train=True)["logits"]
    np.testing.assert_allclose(found["critic/real_logits"], np.mean(logits), rtol=1e-3, atol=1e-5)
    total = found["critic/adversarial"] + 0.5 * found["critic/r1"] + 0.5 * found["critic/r2"]
    np.testing.assert_allclose(found["critic/loss"], total, rtol=1e-5)
    assert found["critic/r2"] > 0 and found["autoencoder/loss"] == 0


@pytest.mark.slow
def test_what_is_drawn():
    gan, states, _ = trained()
    state, keys = states[5], jax.random.split(jax.random.key(0), BATCH)
    drawn = jax.jit(gan.sample)(state, IMAGES, keys)
    assert list(drawn) == ["image", "reconstruction", "target"] and gan.pairs == {"reconstruction": "target"}
    assert_same(drawn["target"], IMAGES["image"])
    coder = state.players["autoencoder"]
    again = coder.apply_fn(coder.all_variables, IMAGES["image"], train=False)["image"]
    np.testing.assert_allclose(drawn["reconstruction"], np.clip(again, -1, 1), atol=1e-5)
    space = gan.latents
    inputs = space.draw(IMAGES, keys)
    codes = space.codes(state, inputs)
    assert codes.shape == (BATCH, 1, OPTIONS.latent_size) and not space.mapped
    made = state.evaluate("generator", inputs["latent"])
    image = coder.apply_fn(coder.all_variables, made, train=False, method="decode")
    np.testing.assert_allclose(drawn["image"], np.clip(image, -1, 1), atol=1e-5)
    np.testing.assert_allclose(space.synthesize(state, codes, inputs)["image"], drawn["image"], atol=1e-5)
    raw = gan.sample(state, IMAGES, keys, weights="raw")
    assert differs(raw["image"], drawn["image"])
    np.testing.assert_allclose(raw["reconstruction"], drawn["reconstruction"], atol=1e-5)
    mean = gan.sample(state, IMAGES, keys, truncation=0.0)
    np.testing.assert_allclose(mean["image"], np.repeat(mean["image"][:1], BATCH, 0), atol=1e-5)
    np.testing.assert_allclose(mean["reconstruction"], drawn["reconstruction"], atol=1e-5)
    walked = gan.sample(state, IMAGES, keys, toward=keys[::-1], share=1.0)
    np.testing.assert_allclose(walked["image"], drawn["image"][::-1], atol=1e-4)
    (factor,) = space.factors(state)
    assert factor.shape[0] == OPTIONS.latent_size == len(space.mean(state))


@pytest.mark.parametrize(
    "changes, size, expected",
    [
        ({}, 18, "--halvings 2 needs images whose sides 4 divides, got 18x18; give another --image-size"),
        ({"patch": 70}, 16, "--patch 70 needs images of at least 24 pixels a side, got 16x16"),
        ({"feature_maps": "vgg"}, 16, "no network of feature maps is called 'vgg'"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(changes, size, expected):
    options = dataclasses.replace(OPTIONS, image_size=size, **changes)
    with pytest.raises(UsageError) as refused:
        build_gan(vqgan.build, options, DataSpec.single("some", 10, (size, size, 1)))
    assert expected in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "flags, expected",
    [
        (["--codes", "0"], "--codes must be at least 2, got 0"),
        (["--halvings", "0"], "--halvings must be from 1 to 8, got 0"),
        (
            ["--autoencoder-steps", "100", "--discriminator-start", "101"],
            "--discriminator-start must be at most --autoencoder-steps, 100, got 101",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(flags, expected):
    with pytest.raises(UsageError) as refused:
        parse(vqgan.Options, flags)
    assert str(refused.value) == expected


@pytest.mark.parametrize("end", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.long)])
def test_a_run_goes_on_bit_for_bit_across_the_stages(end, tmp_path):
    """Ended before the last step of the autoencoder, and right after it."""
    arguments = ["--preset", "smoke", "--devices", "1", "--autoencoder-steps", "2"]

    def run(name, steps):
        options = [*arguments, "--workdir", str(tmp_path / name), "--steps", str(steps)]
        return train(vqgan.build, parse(vqgan.Options, options))

    whole = run("whole", 4)
    run("parts", end)
    assert_same(jax.tree.leaves(run("parts", 4)), jax.tree.leaves(whole))
    assert [int(whole.players[name].step) for name in (*FIRST, *SECOND)] == [2, 2, 2, 2]
