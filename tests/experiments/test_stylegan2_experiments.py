"""StyleGAN2's training on tiny networks: what moves when, and which layer reads which style."""

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import assert_same, differs

from experiments import stylegan2_folder, stylegan2_mnist
from jaxgan import GANState, ensemble, init_player, penalties
from jaxgan.draw import Draw
from jaxgan.nets import nets_of
from jaxgan.samplers import latents
from jaxgan.training import DataSpec, train
from jaxgan.training import open as open_run
from jaxgan.training.options.options import of_preset
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.gan import build_gan
from jaxgan.training.recipe.latents import sample_through, style_latents, truncated

as_users_have_it = pytest.mark.usefixtures("as_users_have_it")  # optax and truncation promote types and ranks
LAYERS, SIZE = 3, 4  # of the tiny generator; numbers of a latent and of a style


class Tiny(nn.Module):
    """A generator of 4×4 images that has all that StyleGAN2's has: a mapping, its running mean, noise, a style a
    layer."""

    layers = ("4", "4", "4")

    def setup(self):
        self.map, self.average = nn.Dense(SIZE), self.variable("w_avg", "mean", jnp.zeros, (SIZE,))
        self.styles = [nn.Dense(8) for _ in range(LAYERS)]
        self.out = nn.Dense(16)

    def mapping(self, latent, condition=None, *, train=False):
        w = jnp.tanh(self.map(latent))
        if self.is_mutable_collection("w_avg") and not self.is_initializing():
            mean = jnp.mean(jax.lax.stop_gradient(w), axis=0)
            self.average.value = self.average.value + 0.005 * (mean - self.average.value)
        return w

    def synthesize(self, w, *, train=False):
        x = jnp.ones((len(w), 8))
        for i, style in enumerate(self.styles):
            x = jnp.tanh(x + style(w[:, i]))
        return self.out(x).reshape(-1, 4, 4, 1)

    def __call__(self, latent, condition=None, *, train):
        return self.synthesize(jnp.stack([self.mapping(latent)] * LAYERS, axis=1))

    def factors(self, params):
        return [params[f"styles_{i}"]["kernel"] for i in range(LAYERS)]


class Judge(nn.Module):
    @nn.compact
    def __call__(self, image, condition=None, *, train):
        features = jnp.tanh(nn.Dense(8)(image.reshape(len(image), -1)))
        return {"logits": nn.Dense(1)(features)[:, 0], "features": features}


OPTIONS = stylegan2_mnist.Options(r1=2.0, r1_every=3, path_length=2.0, path_length_every=2, mixing=0.9)
SAMPLER = latents(SIZE)
BATCH = {"image": jax.random.normal(jax.random.key(1), (8, 4, 4, 1))}


@functools.cache
def started():
    key, tx = jax.random.key(0), optax.identity()
    hyper = {"generator/learning_rate": 0.1, "discriminator/learning_rate": 0.1, "ema_half_life": 1e3}
    players = init_player(key, Tiny(), tx, jnp.zeros((1, SIZE))), init_player(key, Judge(), tx, BATCH["image"])
    hyper |= {"r1": 1.0, "path_length": 2.0}
    return GANState.create(key, *players, hyper=hyper, extras={"path length": jnp.zeros(())})


def step_of(axis_name=None, **options):
    return stylegan2_mnist.make_iteration(dataclasses.replace(OPTIONS, **options), SAMPLER, LAYERS, axis_name)


@functools.cache
def course(steps=7):
    """Returns the states and metrics of so many steps, the first state first."""
    states, metrics, step = [started()], [], jax.jit(step_of())
    for _ in range(steps):
        state, more = step(states[-1], BATCH)
        states.append(state)
        metrics.append(more)
    return states, metrics


def test_lazy_terms_come_in_their_updates_and_count_so_many_times():
    states, metrics = course()
    r1 = [float(each["discriminator/r1"]) for each in metrics]
    path = [float(each["generator/path_length"]) for each in metrics]
    assert [value != 0 for value in r1] == [True, False, False, True, False, False, True]
    assert [value != 0 for value in path] == [True, False, True, False, True, False, True]
    for number in 0, 3:
        d = states[number].discriminator
        values = penalties.r1(lambda x, d=d: d.apply(d.params, {}, x, train=True)["logits"], BATCH["image"])
        np.testing.assert_allclose(r1[number], 3 * np.mean(values), rtol=1e-5)
    means = [float(state.extras["path length"]) for state in states]
    assert [a != b for a, b in itertools.pairwise(means)] == [True, False] * 3 + [True]


def test_the_mean_of_w_moves_by_the_first_latents_of_every_batch():
    states, _ = course()
    for before, after in itertools.pairwise(states):
        draw = _draw(before)
        w = _mapped(before, SAMPLER(BATCH, draw.keys("latent"))["latent"])
        was, now = (state.generator.variables["w_avg"]["mean"] for state in (before, after))
        np.testing.assert_allclose(now, 0.995 * np.asarray(was) + 0.005 * np.mean(w, axis=0), rtol=1e-5, atol=1e-7)
        assert_same(after.ema["generator"]["w_avg"], after.generator.variables["w_avg"])


def _mapped(state, latent):
    """The tiny mapping, in NumPy."""
    params = jax.tree.map(np.asarray, state.generator.params["map"])
    return np.tanh(np.asarray(latent) @ params["kernel"] + params["bias"])


def _draw(state):
    step = state.generator.step
    return Draw(jax.random.fold_in(jax.random.fold_in(state.key, 0), step), 8, step)  # 0: the role of the generator


@pytest.mark.parametrize("mixing", [0.0, 0.9])
def test_a_cut_divides_the_layers_between_two_styles(mixing):
    state = started()
    draw = _draw(state)
    made = stylegan2_mnist.generate(SAMPLER, LAYERS, mixing)(nets_of(state, ["generator"], draw), BATCH, draw, state)
    own, second = (_mapped(state, SAMPLER(BATCH, draw.keys(name))["latent"]) for name in ("latent", "second latent"))
    of_second = np.zeros((8, LAYERS), bool)
    for i, k in np.ndindex(8, LAYERS):
        is_own, is_second = (np.allclose(made["styles"][i, k], w[i], atol=1e-6) for w in (own, second))
        assert is_own != is_second
        of_second[i, k] = is_second
    assert not of_second[:, 0].any()  # the first layer reads the first style
    assert np.all(of_second[:, 1:] >= of_second[:, :-1])  # and after a cut all read the second
    assert of_second.any() == bool(mixing)
    w = jnp.asarray(made["styles"])
    images = state.evaluate("generator", w, weights="raw", method="synthesize")
    np.testing.assert_allclose(made["image"], images, atol=1e-6)


@pytest.mark.slow
def test_two_devices_make_the_same_steps_as_one():
    state, step = started(), jax.vmap(step_of("data"), in_axes=(None, 0), axis_name="data")
    halves = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), BATCH)
    states, metrics = course()
    for expected, numbers in zip(states[1:4], metrics, strict=False):
        both, said = jax.jit(step)(state, halves)
        state = jax.tree.map(lambda x: x[0], both)
        assert_same(_numbers(state), _numbers(expected), 2e-5)
        assert_same(jax.tree.map(lambda x: x[0], said), numbers, 2e-5)


def _numbers(state):
    return {name: player.params for name, player in state.players.items()}, state.extras, state.ema


@pytest.mark.slow
def test_an_accumulated_batch_has_the_same_penalty_on_real_images():
    whole, parts = (jax.jit(step_of(accumulate=n, path_length=0.0))(started(), BATCH) for n in (1, 2))
    np.testing.assert_allclose(parts[1]["discriminator/r1"], whole[1]["discriminator/r1"], rtol=1e-5)
    assert differs(parts[0].generator.variables["w_avg"], started().generator.variables["w_avg"])


@pytest.mark.slow
def test_a_member_of_two_seeds_is_as_alone():
    other = started().replace(key=jax.random.key(9))
    step, many = jax.jit(ensemble.map_members(step_of())), ensemble.stack([started(), other])
    for _ in range(3):
        many, _ = step(many, jax.tree.map(lambda x: jnp.stack([x, x]), BATCH))
    assert_same(_numbers(ensemble.member(many, 0)), _numbers(course()[0][3]), 2e-5)
    first, second = (ensemble.member(many, i) for i in range(2))
    assert differs(first.generator.variables["w_avg"], second.generator.variables["w_avg"])
    assert differs(first.extras, second.extras)


def test_a_penalty_of_weight_0_is_not_there():
    step = step_of(r1=0.0, path_length=0.0)
    _, metrics = jax.eval_shape(step, started(), BATCH)
    assert not {"discriminator/r1", "generator/path_length"} & set(metrics)


def test_augmentation_follows_the_sign_of_the_real_logits():
    """The probability moves by the images of an update over --ada-images, up where D takes real images for real."""
    for bias, after in (5.0, 0.4 + 8 / 100), (-5.0, 0.4 - 8 / 100):
        state = started()
        params = jax.tree.map(jnp.asarray, state.discriminator.params)
        params["Dense_1"]["bias"] = jnp.full(1, bias)
        state = state.replace(discriminator=state.discriminator.replace(params=params))
        state = dataclasses.replace(state, extras={**state.extras, "ada": jnp.float32(0.4)})
        moved, metrics = jax.jit(step_of(ada=True, ada_images=100, r1=0.0, path_length=0.0))(state, BATCH)
        np.testing.assert_allclose(moved.extras["ada"], after, rtol=1e-6)
        assert np.sign(metrics["discriminator/real_sign"]) == np.sign(bias)


def test_the_discriminator_sees_augmented_images_of_both_kinds():
    state, images = started(), []
    draw = _draw(state)

    class Seen:
        def __call__(self, image, condition):
            images.append(image)
            return {"logits": jnp.zeros(len(image))}

        frozen = __call__

    for p in 0.0, 1.0:
        now = dataclasses.replace(state, extras={"ada": jnp.float32(p)})
        logits = stylegan2_mnist.judge(
            dataclasses.replace(OPTIONS, ada=True), {"discriminator": Seen()}, BATCH, draw, now
        )
        logits(BATCH["image"], "real"), logits(BATCH["image"], "fake"), logits(BATCH["image"], "real", frozen=True)
    np.testing.assert_array_equal(images[0], BATCH["image"])  # p = 0 changes nothing
    assert differs(images[3], images[4]) and differs(images[3], BATCH["image"])
    np.testing.assert_array_equal(images[3], images[5])  # a penalty differentiates at what was judged


@as_users_have_it
def test_truncation_0_is_one_image_and_1_all_of_them():
    state, space = course()[0][-1], style_latents(SAMPLER, Tiny())
    sample, keys = sample_through(space), jax.random.split(jax.random.key(5), 4)
    none, some, all_of_it = (sample(state, {}, keys, truncation=psi)["image"] for psi in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(none, np.broadcast_to(none[:1], none.shape), atol=1e-6)
    assert differs(all_of_it[0], all_of_it[1]) and np.std(some, axis=0).mean() < np.std(all_of_it, axis=0).mean()
    inputs = space.draw({}, keys)
    np.testing.assert_allclose(all_of_it, state.evaluate("generator", inputs["latent"]), atol=1e-6)
    mean = space.mean(state)
    np.testing.assert_array_equal(mean, state.ema["generator"]["w_avg"]["mean"])
    at_mean = state.evaluate("generator", jnp.broadcast_to(mean, (1, LAYERS, SIZE)), method="synthesize")
    np.testing.assert_allclose(none[:1], at_mean, atol=1e-6)


@as_users_have_it
def test_the_latent_space_has_the_styles_of_every_layer():
    state, space = course()[0][-1], style_latents(SAMPLER, Tiny())
    inputs = space.draw({}, jax.random.split(jax.random.key(5), 4))
    for weights in "ema", "raw":
        codes = space.codes(state, inputs, weights=weights)
        assert codes.shape == (4, LAYERS, SIZE)
        w = state.evaluate("generator", inputs["latent"], method="mapping", weights=weights)
        assert_same(codes, jnp.stack([w] * LAYERS, axis=1))
        params = state.variables_of("generator", weights)["params"]
        assert_same(space.factors(state, weights=weights), [params[f"styles_{i}"]["kernel"] for i in range(LAYERS)])
    assert space.layers == Tiny.layers and space.mapped
    # Truncation of some layers only: the others keep their codes.
    cut = truncated(codes, space.mean(state), jnp.asarray([0.0, 1.0, 1.0]))
    assert_same(cut[:, 1:], codes[:, 1:], 1e-6)
    np.testing.assert_allclose(cut[:, 0], np.broadcast_to(space.mean(state), (4, SIZE)), atol=1e-6)


def built(module, *shape, classes=0, **options):
    """Returns what an experiment makes of images `[H, W, C]`."""
    spec = DataSpec.single("pictures", 100, shape, classes)
    return build_gan(module.build, of_preset(module.Options, "smoke", **options), spec), spec


@as_users_have_it
def test_classes_reach_both_networks():
    gan, spec = built(stylegan2_mnist, 8, 8, 1, classes=10, conditional=True)
    state = jax.eval_shape(gan.init, jax.random.key(0))
    assert state.generator.params["map"]["embed"]["kernel"].shape[0] == 10
    assert "map" in state.discriminator.params
    after, _ = jax.eval_shape(gan.iteration, state, spec.batch(8))
    assert jax.tree.map(jnp.shape, after.extras) == {"path length": ()}


@pytest.mark.parametrize("shape", [(24, 24, 3), (4, 4, 1), (2048, 2048, 3)])
def test_a_size_that_is_none_is_refused_in_one_line(shape):
    with pytest.raises(Exception, match=r"images of 8, 16, 32, ..., 1024 pixels, got \d+") as refused:
        built(stylegan2_folder, *shape)
    assert type(refused.value).__name__ == "UsageError" and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "shape, options, said",
    [
        ((8, 16, 3), {}, "needs square images"),
        ((8, 8, 3), {"conditional": True}, "has no labels"),
    ],
)
def test_data_that_do_not_fit_are_refused_in_one_line(shape, options, said):
    with pytest.raises(Exception, match=said) as refused:
        built(stylegan2_folder, *shape, **options)
    assert type(refused.value).__name__ == "UsageError" and "\n" not in str(refused.value)


@pytest.mark.slow
@as_users_have_it
def test_a_run_that_is_cut_goes_on_bit_for_bit(tmp_path):
    """With the mean of w and that of the path length; the real networks."""

    def run(name, steps):
        arguments = ["--preset", "smoke", "--devices", "1", "--workdir", str(tmp_path / name), "--steps", str(steps)]
        return train(stylegan2_mnist.build, parse(stylegan2_mnist.Options, arguments))

    whole = run("whole", 5)
    run("cut", 3)
    opened = open_run(tmp_path / "cut")
    assert float(opened.state.extras["path length"]) > 0
    assert differs(opened.state.generator.variables["w_avg"], jnp.zeros(8))
    cut = run("cut", 5)
    assert_same(jax.tree.leaves(cut), jax.tree.leaves(whole))
    assert_same(cut.generator.variables["w_avg"], whole.generator.variables["w_avg"])
    assert_same(cut.extras, whole.extras)
    assert differs(cut.extras, opened.state.extras)
