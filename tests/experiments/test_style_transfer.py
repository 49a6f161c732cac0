"""Style transfer as an experiment: a step's losses in NumPy, strength, mixtures, whole pictures, resuming."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same

from experiments import style_transfer
from experiments.style_transfer import Options, apply, build, sample, style_codes
from jaxgan.evaluation.features.perceptual import feature_maps
from jaxgan.training import DataSpec, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.options import of_preset
from jaxgan.training.recipe.gan import build_gan
from jaxgan.training.recipe.loading import check_sets

pytestmark = pytest.mark.usefixtures("as_users_have_it")

RANDOM = np.random.default_rng(0)
SHAPE = (16, 16, 1)


def described(content=SHAPE, style=SHAPE):
    sets = {"content": DataSpec.single("photographs", 10, content), "style": DataSpec.single("paintings", 10, style)}
    return DataSpec("content=photographs,style=paintings", 10, sets=sets)


def made_options(**values):
    return of_preset(Options, "smoke", batch_size=2, optimizer="sgd", **values)


@pytest.fixture(scope="module")
def gan():
    return build(made_options(), described())


@pytest.fixture(scope="module")
def state(gan):
    """At random weights the averaged ones would be the same."""
    state = jax.jit(gan.init)(jax.random.key(3))
    ema = jax.tree.map(lambda x: x * 1.01 + 0.01, state.ema["generator"])
    return dataclasses.replace(state, ema={"generator": ema})


def images(count, height=16, width=16):
    return jnp.asarray(RANDOM.uniform(-1, 1, (count, height, width, 1)), jnp.float32)


@pytest.fixture(scope="module")
def batch():
    return {name: {"image": images(2)} for name in ("content", "style")}


def mean_and_deviation(x):
    return x.mean((1, 2), keepdims=True), np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)


def as_wanted(x, y):
    (mean, deviation), (its_mean, its_deviation) = mean_and_deviation(x), mean_and_deviation(y)
    return (x - mean) / deviation * its_deviation + its_mean


@pytest.mark.slow
def test_the_losses_of_a_step_are_those_of_numpy(gan, state, batch):
    """From what the networks make of the batch; SGD, so that the step is their gradient."""
    generator, discriminator = state.generator, state.discriminator
    content, style = (batch[name]["image"] for name in ("content", "style"))
    net = lambda x, method: generator.apply_fn(generator.all_variables, x, method=method)  # noqa: E731 - one line
    features, wanted = (np.float64(net(x, "encode")) for x in (content, style))
    made = net(np.float32(as_wanted(features, wanted)), "decode")
    rebuilt = np.float64(net(np.float32(features), "decode"))
    maps = feature_maps("mnist-v1")
    of_content, of_style, of_made = ([np.float64(x) for x in maps(each)] for each in (content, style, made))
    targets = [as_wanted(x, y) for x, y in zip(of_content, of_style, strict=True)]
    pairs = zip([np.float64(made), *of_made], [np.float64(style), *of_style], strict=True)
    differences = [a - b for x, y in pairs for a, b in zip(mean_and_deviation(x), mean_and_deviation(y), strict=True)]
    variation = np.abs(np.diff(np.float64(made), axis=1)).sum() + np.abs(np.diff(np.float64(made), axis=2)).sum()
    want = {
        "content": np.mean([np.mean((x - y) ** 2) for x, y in zip(of_made, targets, strict=True)]),
        "style": np.sum([np.mean(x**2) for x in differences]),
        "reconstruction": np.mean(np.abs(rebuilt - np.float64(content))),
        "variation": variation / made.size,
    }
    after, metrics = jax.jit(gan.iteration)(state, batch)
    metrics = {name: float(value) for name, value in metrics.items()}
    for name, value in want.items():
        np.testing.assert_allclose(metrics[f"generator/{name}"], value, rtol=2e-4, err_msg=name)

    def logits(player, x):
        return np.float64(player.apply_fn(player.all_variables, x, train=True)["logits"])

    # D learned first, on weights whose norm a power iteration of its own has found; G is judged by D as it is then.
    assert metrics["generator/adversarial"] == pytest.approx(-logits(after.discriminator, made).mean(), rel=1e-3)
    real, fake = metrics["discriminator/real_logits"], metrics["discriminator/fake_logits"]
    assert metrics["discriminator/adversarial"] == pytest.approx(2 - real + fake, rel=1e-5)  # all within the hinge
    total = sum(float(state.hyper[name]) * metrics[f"generator/{name}"] for name in style_transfer.TERMS)
    assert metrics["generator/loss"] == pytest.approx(total, rel=1e-5)
    moved = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), after.generator.params, generator.params)
    length = jnp.sqrt(jnp.stack(jax.tree.leaves(moved)).sum()) / state.hyper["generator/learning_rate"]
    np.testing.assert_allclose(length, metrics["generator/gradient_norm"], rtol=1e-3)
    pairs = [(after.discriminator.params[layer], discriminator.params[layer]) for layer in discriminator.params]
    assert all((now["kernel"] != before["kernel"]).any() for now, before in pairs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* parts of an accumulated batch by itself:UserWarning")
def test_a_batch_in_parts_is_the_same_step(gan, state, batch):
    """Also one player after the other, on passes of their own."""
    parts = build(made_options(accumulate=2), described())
    (one, metrics), (other, others) = (jax.jit(each.iteration)(state, batch) for each in (gan, parts))
    assert_same(other.players["generator"].params, one.players["generator"].params, 1e-5)
    assert_same(other.players["discriminator"].params, one.players["discriminator"].params, 1e-5)
    assert metrics["generator/style"] == pytest.approx(float(others["generator/style"]), rel=1e-5)


program = jax.jit(apply, static_argnames="weights")


def drawn(state, contents, *styles, strength=1.0, mix=None):
    mix = jnp.asarray([1 / len(styles)] * len(styles) if mix is None else mix)
    return program(state, contents, style=jnp.concatenate(styles), strength=strength, mix=mix)


def test_strength_0_is_the_reconstruction_and_1_the_style(state):
    contents, style, other = images(2), images(1), images(1)

    @jax.jit
    def rebuild(variables, x):
        features = state.generator.apply_fn(variables, x, method="encode")
        return state.generator.apply_fn(variables, features, method="decode")

    rebuilt = rebuild(state.ema["generator"], contents)
    np.testing.assert_allclose(drawn(state, contents, style, strength=0.0), rebuilt, atol=1e-5)
    np.testing.assert_allclose(drawn(state, contents, other, strength=0.0), rebuilt, atol=1e-5)
    whole = drawn(state, contents, style)
    assert np.abs(whole - drawn(state, contents, other)).max() > 1e-3 and np.abs(whole - rebuilt).max() > 1e-3


def test_a_mixture_with_all_of_one_style_is_that_style(state):
    contents, first, second = images(2), images(1), images(1)
    one, other = drawn(state, contents, first), drawn(state, contents, second)
    np.testing.assert_allclose(drawn(state, contents, first, second, mix=[1.0, 0.0]), one, atol=1e-6)
    np.testing.assert_allclose(drawn(state, contents, first, second, mix=[0.0, 1.0]), other, atol=1e-6)
    half = drawn(state, contents, first, second, mix=[0.5, 0.5])
    np.testing.assert_allclose(drawn(state, contents, second, first, mix=[0.5, 0.5]), half, atol=1e-5)
    assert np.abs(half - one).max() > 1e-3 and np.abs(half - other).max() > 1e-3


def test_what_is_sampled_is_each_content_in_its_own_style(state, batch):
    made = jax.jit(lambda state, batch: sample(state, batch, jax.random.split(jax.random.key(0), 2)))(state, batch)
    assert made.keys() == {"source", "reference", "style"}
    np.testing.assert_array_equal(made["source"], batch["content"]["image"])
    np.testing.assert_array_equal(made["reference"], batch["style"]["image"])
    for i in range(2):
        each = drawn(state, made["source"], made["reference"][i : i + 1])
        np.testing.assert_allclose(made["style"][i], each[i], atol=1e-5)


@pytest.mark.slow
def test_what_is_sampled_in_styles_of_ones_own(state, batch):
    """With all that `apply` takes, and what it does by default."""
    contents, styles = batch["content"]["image"], batch["style"]["image"]
    given = sample(state, batch, None, style=styles, strength=0.5, mix=(0.25, 0.75))
    assert list(given) == ["source", "style"]
    want = drawn(state, contents, styles, strength=0.5, mix=[0.25, 0.75])
    np.testing.assert_allclose(given["style"], want, atol=1e-5)
    codes = style_codes(state, styles)
    np.testing.assert_allclose(apply(state, contents, style=codes), drawn(state, contents, *styles[:, None]), atol=1e-5)
    mean = codes.mean(0, keepdims=True)
    np.testing.assert_allclose(apply(state, contents, style=mean), drawn(state, contents, *styles[:, None]), atol=1e-5)
    raw = apply(state, contents, style=styles, weights="raw")
    assert np.abs(raw - apply(state, contents, style=styles)).max() > 1e-3


@pytest.mark.parametrize("mix", [(1.0,), (0.2, 0.3, 0.5), 1.0, ((0.5, 0.5),)])
def test_another_number_of_shares_is_refused(state, mix):
    with pytest.raises(UsageError, match=r"^expected as many shares as styles, 2, got the shape"):
        apply(state, images(1), style=images(2), mix=mix)


@pytest.mark.parametrize("shape", [(1, 16, 16, 3), (16, 16, 1), (1, 1, 16, 16, 1)])
def test_styles_of_another_shape_are_refused(state, shape):
    with pytest.raises(UsageError, match=r"^expected styles as pictures \[K, H, W, 1\], got the shape"):
        apply(state, images(1), style=jnp.zeros(shape))


def test_styles_as_they_are_stored_are_refused(state):
    """Their numbers, up to 255, would be taken for those of [-1, 1]."""
    for style in (np.zeros((1, 16, 16, 1), np.uint8), np.zeros((1, 4), int)):
        with pytest.raises(UsageError, match=r"^expected styles as floats, of pictures from -1 to 1, got u?int"):
            apply(state, images(1), style=style)


def test_what_does_not_fit_is_told_in_a_line():
    with pytest.raises(UsageError) as refused:
        build_gan(build, made_options(), described(style=(16, 16, 3)))
    said = "content has images of 16×16×1 and style of 16×16×3, and both networks see both: --image-size 64 --channels "
    assert str(refused.value) == said + "3, for example, make them alike"
    with pytest.raises(UsageError, match=r"^patches of 34 pixels need images of 12 pixels a side or more, got 8×8$"):
        build_gan(build, made_options(patch=34), described((8, 8, 1), (8, 8, 1)))
    with pytest.raises(UsageError, match=r"^mnist-v1 takes images of at least 8×8 pixels, got 6×6"):
        build_gan(build, made_options(), described((6, 6, 1), (6, 6, 1)))
    with pytest.raises(
        UsageError, match=r"^no network of feature maps is called 'vgg', or|^no network of feature maps"
    ):
        build_gan(build, made_options(feature_maps="vgg"), described())
    with pytest.raises(UsageError, match=r"^this experiment takes the sets content and style, and the data are digits"):
        check_sets(of_preset(Options, "smoke", dataset="digits"))


@pytest.mark.slow
def test_a_continued_run_has_the_same_bits_and_translates_pictures(tmp_path, capsys):
    options = of_preset(Options, "smoke", devices=1, checkpoint_every=2, workdir=str(tmp_path / "once"), steps=4)
    once = train(build, options)
    half = dataclasses.replace(options, workdir=str(tmp_path / "twice"), steps=2)
    train(build, half)
    twice = train(build, dataclasses.replace(half, steps=4))
    assert "continuing at step 2" in capsys.readouterr().out
    assert_same(jax.tree.leaves(twice), jax.tree.leaves(once))
    run = open_run(tmp_path / "once")
    assert run.drawing.scored == ("style",)
    picture = RANDOM.integers(0, 256, (21, 13, 1), np.uint8)
    styles = images(2)
    made = run.translate(picture, style=styles, strength=0.5, mix=np.array([0.25, 0.75], np.float32))
    assert made.shape == picture.shape and made.dtype == np.uint8
    values = picture[None].astype(np.float32) / 127.5 - 1
    want = apply(run.state, values, style=styles, strength=0.5, mix=(0.25, 0.75))[0]
    assert np.abs(made - (np.asarray(want) + 1) * 127.5).max() <= 0.5 + 1e-2
    with pytest.raises(UsageError, match=r"^the run's translation needs style: name it"):
        run.translate(picture)
    with pytest.raises(UsageError, match=r"^expected as many shares as styles, 2, got"):
        run.translate(picture, style=styles, mix=[1.0])
