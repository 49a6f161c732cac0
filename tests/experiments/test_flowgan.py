"""Flow-GAN: its losses by hand, who learns from what in which game, and that likelihood finds a known density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import differs

from experiments import flowgan_ring
from experiments.flowgan_ring import PLAYERS, Options, build, make_iteration
from jaxgan import update
from jaxgan.training import DataSpec, UsageError
from jaxgan.training.options.options import of_preset

pytestmark = pytest.mark.usefixtures("as_users_have_it")

SPEC = DataSpec.single("ring", 64, (1, 1, 2), kind="points")
random = np.random.default_rng(0)


def options(game, **changes):
    """With SGD, at a constant rate, of gradients as they are."""
    plain = {"optimizer": "sgd", "momentum": 0.0, "schedule": "constant", "clip_gradient_norm": None}
    return of_preset(Options, "smoke", game=game, **{**plain, **changes})


def batch():
    return {"image": jnp.asarray(random.normal(size=(8, 1, 1, 2)).astype(np.float32))}


def softplus(x):
    return np.logaddexp(0, np.asarray(x, np.float64))


@pytest.mark.parametrize("game", ["mle", "gan"])
def test_a_weight_of_the_likelihood_beside_no_other_loss_is_refused(game):
    with pytest.raises(UsageError, match=r"^--likelihood must be given together with --game both, got 2.0$"):
        Options(game=game, likelihood=2.0)
    assert Options(likelihood=2.0).likelihood == 2.0


@pytest.mark.parametrize("game", ["mle", pytest.param("gan", marks=pytest.mark.slow), "both"])
def test_the_losses_are_those_of_the_game(game):
    """The adversarial loss of softplus, the likelihood of the change of variables, in float64."""
    chosen, data = options(game, learning_rate=1e-9), batch()
    gan = build(chosen, SPEC)
    state = gan.init(jax.random.key(0))
    assert tuple(state.players) == PLAYERS[game]
    _, metrics = jax.jit(gan.iteration)(state, data)
    has = {name for name in metrics if name.startswith("generator/")}
    expected = {"generator/loss", "generator/gradient_norm"}
    if game != "gan":
        expected |= {"generator/likelihood"}
        z, log_determinant = state.evaluate("generator", data["image"], weights="raw", method="invert")
        nats = -0.5 * (np.asarray(z, np.float64) ** 2).sum(1) - np.log(2 * np.pi) + np.asarray(log_determinant)
        np.testing.assert_allclose(metrics["generator/likelihood"], -nats.mean(), rtol=1e-5)
        np.testing.assert_allclose(gan.log_density(state, data["image"], weights="raw"), nats, rtol=1e-5, atol=1e-5)
    if game != "mle":
        expected |= {"generator/adversarial"}
        seen = {}

        def spied(nets, batch, draw, state):
            seen["fake"] = nets["discriminator"].frozen(nets["generator"].frozen(draw.normal("z", 2)))["logits"]
            seen["real"] = nets["discriminator"](batch["image"])["logits"]
            return {"x": seen["fake"]}

        with jax.disable_jit():
            update("generator", spied)(state, data)
        fake, real = (np.asarray(getattr(seen[name], "primal", seen[name])) for name in ("fake", "real"))
        of_d = softplus(-real).mean() + softplus(fake).mean()
        np.testing.assert_allclose(metrics["discriminator/adversarial"], of_d, rtol=1e-5)
        np.testing.assert_allclose(metrics["generator/adversarial"], softplus(-fake).mean(), rtol=1e-4)
    assert has == expected
    weight = {"mle": (0.0, 1.0), "gan": (1.0, 0.0), "both": (1.0, chosen.likelihood)}[game]
    parts = (metrics.get("generator/adversarial", 0.0), metrics.get("generator/likelihood", 0.0))
    np.testing.assert_allclose(metrics["generator/loss"], np.dot(weight, parts), rtol=1e-5)


@pytest.mark.slow
def test_the_gradient_of_both_is_that_of_gan_and_lambda_times_that_of_mle():
    """With SGD at a rate of 1: what the generator moves by, on the same draws."""
    data, moved = batch(), {}
    for game in PLAYERS:
        weighed = {"likelihood": 0.3} if game == "both" else {}
        chosen = options(game, learning_rate=1.0, discriminator_learning_rate=1e-20, **weighed)
        gan = build(chosen, SPEC)
        state = gan.init(jax.random.key(0))
        params = build(options("gan"), SPEC).init(jax.random.key(0)).generator.params  # a game draws its own
        state = state.replace(generator=state.generator.replace(params=params))
        if game != "mle":
            d = build(options("gan"), SPEC).init(jax.random.key(0)).discriminator.params
            state = state.replace(discriminator=state.discriminator.replace(params=d))
        after, _ = jax.jit(make_iteration(chosen, 2))(state, data)
        moved[game] = jax.tree.map(lambda x, y: np.float64(x) - np.float64(y), after.generator.params, params)
    expected = jax.tree.map(lambda a, b: a + 0.3 * b, moved["gan"], moved["mle"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), moved["both"], expected)
    assert differs(moved["gan"], moved["mle"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* parts of an accumulated batch by itself:UserWarning")
@pytest.mark.parametrize("game", PLAYERS)
def test_a_batch_may_be_accumulated(game):
    """Two parts, one after the other, are one batch: nothing looks across examples."""
    data = batch()
    after = {}
    for accumulate in 1, 2:
        gan = build(options(game, accumulate=accumulate), SPEC)
        state = gan.init(jax.random.key(0))
        after[accumulate], _ = jax.jit(gan.iteration)(state, data)
    pairs = (jax.tree.leaves(after[n].generator.params) for n in (1, 2))
    for one, other in zip(*pairs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_likelihood_finds_a_gaussian():
    """Of N(m, A A^T), a density that affine couplings can have: the mean log density nears minus its entropy."""
    a, mean = np.array([[0.5, 0.0], [0.4, 0.2]]), np.array([1.0, -2.0])
    points = (random.normal(size=(4096, 2)) @ a.T + mean).astype(np.float32).reshape(-1, 1, 1, 2)
    entropy = np.log(2 * np.pi * np.e) + np.log(np.linalg.det(a))
    chosen = of_preset(
        Options, "smoke", game="mle", learning_rate=5e-3, beta1=0.9, beta2=0.999, couplings=4, schedule="constant"
    )
    gan = build(chosen, SPEC)

    @jax.jit
    def train(state, numbers):
        return jax.lax.scan(
            lambda state, some: (gan.iteration(state, {"image": jnp.asarray(points)[some]})[0], None), state, numbers
        )

    state, _ = train(gan.init(jax.random.key(0)), random.integers(0, 4096, (800, 256)))
    own = (random.normal(size=(4096, 2)) @ a.T + mean).astype(np.float32).reshape(-1, 1, 1, 2)
    nats = np.asarray(gan.log_density(state, own, weights="raw"), np.float64)
    assert -entropy - 0.1 < nats.mean() < -entropy + 0.05


def test_only_points_are_taken():
    with pytest.raises(UsageError, match="has images, and this experiment draws points: use ring or grid"):
        flowgan_ring.build(options("both"), DataSpec.single("some", 8, (28, 28, 1)))
