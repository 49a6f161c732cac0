"""CycleGAN's losses and step against numbers worked out in NumPy, what it refuses, and the digits' known mapping."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import cyclegan, cyclegan_mnist
from jaxgan import GANState, data, empty_history
from jaxgan.data.slanted import slant, upright
from jaxgan.draw import Draw
from jaxgan.players import plain_player
from jaxgan.training import DataSpec, UsageError, train
from jaxgan.training.options.options import of_preset
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.gan import build_gan

pytestmark = pytest.mark.usefixtures("as_users_have_it")

IMAGES = {name: np.random.default_rng(i).uniform(-1, 1, (2, 4, 5, 3)).astype(np.float32) for i, name in enumerate("ab")}


def spec(a=(32, 32, 1), b=(32, 32, 3)):
    sets = {name: DataSpec.single(name, 9, shape) for name, shape in (("a", a), ("b", b))}
    return DataSpec("a=a,b=b", 9, sets=sets)


def options(**changes):
    return of_preset(cyclegan.Options, "smoke", **changes)


# --- losses ---


@pytest.mark.parametrize("identity", [True, False])
def test_generators_that_change_nothing_have_no_cycle_and_no_identity_loss(identity):
    def unchanged(images):
        return images

    nets = {"G": unchanged, "F": unchanged}
    nets |= {f"D{x}": lambda images: {"logits": images[..., 0]} for x in "ab"}
    fake = cyclegan.translate(nets, IMAGES, None, None)
    np.testing.assert_array_equal(fake["b"], IMAGES["a"])
    losses = cyclegan.generators(identity)(nets, IMAGES, None, None, fake).losses
    assert set(losses) == {"adversarial", "cycle"} | ({"identity"} if identity else set())
    for name in set(losses) - {"adversarial"}:
        assert [float(jnp.max(each)) for each in losses[name]] == [0.0, 0.0]
    expected = [np.mean(0.5 * (IMAGES[x][..., 0].astype(np.float64) - 1) ** 2) for x in "ba"]  # Da is shown b itself
    np.testing.assert_allclose([jnp.mean(each) for each in losses["adversarial"]], expected, rtol=1e-6)


RATES = {"G": 0.05, "F": 0.1, "Da": 0.15, "Db": 0.2}
CYCLE, IDENTITY = 3.0, 1.7
START = {
    "G": np.array([[0.9, 0.1, -0.2], [0.3, 0.7, 0.1], [0.0, -0.1, 1.1]]),
    "F": np.array([[1.2, -0.3, 0.1], [0.2, 0.8, 0.0], [0.1, 0.1, 0.6]]),
    "Da": np.array([0.3, -0.5, 0.8]),
    "Db": np.array([-0.4, 0.2, 0.6]),
}


def by_hand(params, batch):
    """The four players' parameters after a step of gradient descent, float64; the slopes are central differences."""
    batch = {name: images.astype(np.float64) for name, images in batch.items()}
    fake = {"b": batch["a"] @ params["G"], "a": batch["b"] @ params["F"]}

    def of_generators(params):
        made = {"b": batch["a"] @ params["G"], "a": batch["b"] @ params["F"]}
        back = {"a": made["b"] @ params["F"], "b": made["a"] @ params["G"]}
        same = {"a": batch["a"] @ params["F"], "b": batch["b"] @ params["G"]}
        adversarial = sum(np.mean((made[x] @ params[f"D{x}"] - 1) ** 2) for x in "ab")  # the authors' has no ½
        cycle, identity = (sum(np.mean(np.abs(each[x] - batch[x])) for x in "ab") for each in (back, same))
        return adversarial + CYCLE * cycle + IDENTITY * identity

    def of_discriminators(params):  # on the fakes of the generators of before
        pairs = [(batch[x] @ params[f"D{x}"], fake[x] @ params[f"D{x}"]) for x in "ab"]
        return sum((np.mean((real - 1) ** 2) + np.mean(made**2)) / 2 for real, made in pairs)

    after = {}
    for name, value in params.items():
        loss, slope = of_discriminators if name.startswith("D") else of_generators, np.zeros_like(value)
        for place in np.ndindex(value.shape):
            step = np.zeros_like(value)
            step[place] = 1e-6
            slope[place] = (loss(params | {name: value + step}) - loss(params | {name: value - step})) / 2e-6
        after[name] = value - RATES[name] * slope
    return after, of_generators(params), of_discriminators(params)


def linear(images_to):
    """A player whose output is its input times its parameters, along the channels."""

    def apply(params, images):
        out = jnp.einsum("bhwc,c...->bhw...", images, params)
        return out if images_to == "images" else {"logits": out}

    return apply


def test_a_step_is_the_papers_in_numpy():
    """Generators learn against the discriminators of before, and these from the generators' fakes of before."""
    players = {
        name: plain_player(linear("logits" if name[0] == "D" else "images"), jnp.float32(value), optax.identity())
        for name, value in START.items()
    }
    rates = {f"{name}/learning_rate": rate for name, rate in RATES.items()}
    numbers = rates | {"cycle": CYCLE, "identity": IDENTITY, "ema_half_life": 0.0}
    pools = {f"pool of {x}": empty_history(IMAGES[x], 4) for x in "ab"}
    state = GANState.of(jax.random.key(0), players, averaged=("G", "F"), hyper=numbers, extras=pools)
    step = jax.jit(cyclegan.make_iteration(options(), identity=True))
    expected = START
    for number in range(2):  # the pool of four fakes fills, and so all of a step are shown
        batch = {name: np.roll(images, number, axis=1) for name, images in IMAGES.items()}
        expected, g_loss, d_loss = by_hand(expected, batch)
        state, metrics = step(state, batch)
        for name, value in expected.items():
            np.testing.assert_allclose(state.players[name].params, value, rtol=2e-4, atol=2e-5, err_msg=name)
        np.testing.assert_allclose(metrics["generator/loss"], g_loss, rtol=1e-5)
        np.testing.assert_allclose(metrics["discriminator/loss"], d_loss, rtol=1e-5)
        np.testing.assert_array_equal(state.ema["G"]["params"], state.players["G"].params)  # a half-life of 0


def test_each_side_has_a_pool_of_its_own():
    """What is exchanged of one side says nothing of the other, as in the authors' code."""
    extras = {f"pool of {x}": empty_history(jnp.zeros((4, 1, 1, 3)), 4) for x in "ab"}
    state = GANState.of(jax.random.key(0), {}, hyper={}, extras=extras)
    nets = {f"D{x}": lambda images: {"logits": images[..., 0]} for x in "ab"}
    exchanged = []
    for step in range(40):
        draw = Draw(jax.random.fold_in(jax.random.key(3), step), 4, jnp.int32(step))
        fakes = jnp.broadcast_to(1.0 + 4 * step + jnp.arange(4.0)[:, None, None, None], (4, 1, 1, 3))
        before = state.extras
        outcome = cyclegan.discriminators(nets, {"a": fakes, "b": fakes}, draw, state, {"a": fakes, "b": fakes})
        state = state.replace(extras=state.extras | dict(outcome.extras))
        if step:
            was = {x: np.asarray(before[f"pool of {x}"]["examples"])[:, 0, 0, 0] for x in "ab"}
            now = {x: np.asarray(state.extras[f"pool of {x}"]["examples"])[:, 0, 0, 0] for x in "ab"}
            exchanged.append([int(np.sum(was[x] != now[x])) for x in "ab"])
    counts = np.array(exchanged)
    assert abs(counts.mean() - 2) < 4 * 1.0 / np.sqrt(counts.size)  # half of four, with a standard deviation of 1
    assert abs(np.corrcoef(counts.T)[0, 1]) < 0.6  # 1 if they were one pool; 0.16 is the deviation of nothing


# --- what it makes of options and data ---


def test_four_players_have_two_rates_and_one_schedule():
    changes = {"generator_learning_rate": 0.5, "discriminator_learning_rate": 0.25, "schedule": "linear", "steps": 4}
    gan = cyclegan.build(options(**changes), spec((8, 8, 3), (8, 8, 3)))
    rates = {"G": 0.5, "F": 0.5, "Da": 0.25, "Db": 0.25}
    numbers = jax.eval_shape(gan.init, jax.random.key(0)).hyper
    assert set(numbers) == {f"{name}/learning_rate" for name in rates} | {"cycle", "identity", "ema_half_life"}
    found = jax.jit(lambda key: gan.init(key).hyper)(jax.random.key(0))
    assert {name: float(found[f"{name}/learning_rate"]) for name in rates} == rates
    assert float(found["identity"]) == float(found["cycle"]) / 2 == 5
    _, metrics = jax.eval_shape(gan.iteration, *_abstract(gan, spec((8, 8, 3), (8, 8, 3))))
    assert {f"hyper/{name}/learning_rate" for name in rates} <= set(metrics)


def _abstract(gan, described):
    return jax.eval_shape(gan.init, jax.random.key(0)), described.batch(gan.taken())


@pytest.mark.parametrize(
    "shapes, changes, has",
    [
        (((8, 8, 3), (8, 8, 3)), {}, True),
        (((8, 8, 3), (8, 8, 3)), {"identity": 0.0}, False),
        (((8, 8, 1), (8, 8, 3)), {}, False),
        (((8, 8, 1), (8, 8, 3)), {"identity": 0.0}, False),
    ],
)
def test_the_identity_loss_is_there_where_both_sides_have_the_same_channels(shapes, changes, has):
    gan = cyclegan.build(options(**changes), spec(*shapes))
    state, batch = _abstract(gan, spec(*shapes))
    _, metrics = jax.eval_shape(gan.iteration, state, batch)
    assert ("generator/identity" in metrics) == has == ("identity" in state.hyper)
    assert {"generator/cycle", "discriminator/real_logits", "discriminator/fake_logits"} <= set(metrics)


@pytest.mark.parametrize(
    "shapes, changes, words",
    [
        (((8, 8, 3), (8, 9, 3)), {}, "a has images of 8x8 pixels and b of 8x9"),
        (((8, 8, 1), (8, 8, 3)), {"identity": 2.0}, "--identity 2 needs as many channels on both sides, and a has 1"),
        (((23, 64, 3), (23, 64, 3)), {"patch": 70}, "--patch 70 needs images of at least 24 pixels a side, got 23x64"),
        (
            ((1, 1, 3), (1, 1, 3)),
            {"patch": 1},
            "^the generators need images of at least 8 pixels a side, got 1x1; give a larger",
        ),
    ],
)
def test_sets_that_do_not_fit_are_refused_in_a_line(shapes, changes, words):
    with pytest.raises(UsageError, match=words) as refused:
        build_gan(cyclegan.build, options(**changes), spec(*shapes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "patch, side", [(16, 8), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ((34, 12), (70, 24), (1, 8)))]
)
def test_the_smallest_images_that_are_taken_have_an_iteration(patch, side):
    described = spec((side, side + 1, 1), (side, side + 1, 3))
    gan = build_gan(cyclegan.build, options(patch=patch), described)
    state, metrics = jax.eval_shape(gan.iteration, *_abstract(gan, described))
    assert metrics["generator/loss"].shape == () and set(state.players) == {"G", "F", "Da", "Db"}
    images = jnp.zeros((2, 13, 22, 3))  # of any size, and no multiple of what the network halves by
    assert jax.eval_shape(gan.translations["a"].apply, state, images).shape == (2, 13, 22, 1)
    assert gan.translations["b"].channels == 1 and gan.translations["b"].reach is None


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"accumulate": 2}, "^--accumulate must be 1 here: a pool of fakes has no parts of a batch, got 2$"),
        ({"batch_size": 51}, "^--pool must be at least --batch-size, which is 51, got 50$"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        options(**changes)


@pytest.mark.parametrize("dataset, has", [("auto", "mnist"), ("digits", "digits"), ("a=digits,c=digits", "a, c")])
def test_other_sets_than_a_and_b_are_refused_before_they_are_read(dataset, has, tmp_path):
    with pytest.raises(UsageError) as refused:
        train(cyclegan.build, options(dataset=dataset, workdir=str(tmp_path / "run")))
    assert str(refused.value) == (
        f"this experiment takes the sets a and b, and the data are {has}: give --dataset a=folder:ONE,b=folder:OTHER, "
        "for example"
    )
    assert not (tmp_path / "run").exists()


# --- the digits ---


def test_digits_are_drawn_beside_what_the_known_mapping_makes_of_them():
    gan = cyclegan_mnist.build(of_preset(cyclegan_mnist.Options, "smoke"), spec())
    functions = {"G": lambda p, x: p * jnp.tile(x, 3), "F": lambda p, x: p * x[..., :1]}
    players = {name: plain_player(function, jnp.float32(0.5), optax.identity()) for name, function in functions.items()}
    state = GANState.of(jax.random.key(0), players, averaged=("G", "F"), hyper={"ema_half_life": 1.0})
    grey = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 1)).astype(np.float32)
    coloured = np.asarray(slant(np.random.default_rng(1).uniform(-1, 1, (2, 32, 32, 1)).astype(np.float32)))
    examples = {"a": {"image": grey}, "b": {"image": coloured}}
    drawn = gan.sample(state, examples, jax.random.split(jax.random.key(1), 2))
    assert list(drawn) == ["from a", "b", "true b", "a again", "from b", "a", "true a", "b again"]
    np.testing.assert_allclose(drawn["true b"], slant(grey), atol=1e-6)
    np.testing.assert_allclose(drawn["true a"], upright(coloured), atol=1e-6)
    np.testing.assert_array_equal(drawn["b"], gan.translations["b"].apply(state, grey))
    np.testing.assert_array_equal(drawn["a again"], gan.translations["a"].apply(state, drawn["b"]))
    np.testing.assert_allclose(drawn["b again"], 0.25 * coloured[..., :1].repeat(3, -1), atol=1e-6)
    assert dict(gan.pairs) == {"b": "true b", "a": "true a"} and set(gan.readings) == set(drawn)
    seen_as_digits = gan.readings["true b"].shown(drawn["true b"])  # turned back, it is the source
    np.testing.assert_allclose(seen_as_digits, grey, atol=1e-5)
    assert all(reading.of == ("b" if name in ("from b", "a", "true a", "b again") else "a")
               for name, reading in gan.readings.items())  # fmt: skip


def test_other_sets_have_no_known_mapping():
    with pytest.raises(UsageError, match=r"got a image 32×32×1 and b image 32×32×1: take --dataset a=mnist,b=slanted"):
        build_gan(cyclegan_mnist.build, of_preset(cyclegan_mnist.Options, "smoke"), spec(b=(32, 32, 1)))
    assert parse(cyclegan_mnist.Options, []).dataset == "a=mnist,b=slanted_mnist"


def test_digits_are_slanted_without_mnist_too():
    found, plain = data.open_source("slanted_digits"), data.open_source("digits")
    assert found.name == "slanted_digits" and found.images.shape == (len(plain.images), 32, 32, 3)
    np.testing.assert_array_equal(found.labels, plain.labels)
    back = upright(found.images[:50].astype(np.float32) / 127.5 - 1)
    middle = np.rint((back + 1) * 127.5)[:, 2:-2, 2:-2]
    np.testing.assert_array_equal(middle, plain.images[:50])
