"""VAE, VAE-GAN and GAN: their losses by hand, who learns from what, and what is drawn and scored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import differs

from experiments import vaegan_mnist
from experiments.vaegan_mnist import PLAYERS, Options, build, divergence, elbo, encoder, make_iteration, surprise
from jaxgan import update
from jaxgan.training import DataSpec, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.options import of_preset
from scripts import evaluate, sample

pytestmark = pytest.mark.usefixtures("as_users_have_it")

SPEC = DataSpec.single("some", 8, (28, 28, 1))
random = np.random.default_rng(0)


def options(game, **changes):
    return of_preset(Options, "smoke", game=game, **changes)


def batch():
    return {"image": jnp.asarray(random.uniform(-1, 1, (8, 28, 28, 1)).astype(np.float32))}


def test_the_divergence_is_the_closed_forms_and_monte_carlos():
    mean, log_variance = random.normal(size=(3, 5)), random.normal(size=(3, 5))
    found = divergence(jnp.float32(mean), jnp.float32(log_variance))
    variance = np.exp(log_variance)
    drawn = mean + np.sqrt(variance) * random.normal(size=(200_000, 3, 5))
    log_q = -0.5 * ((drawn - mean) ** 2 / variance + np.log(2 * np.pi * variance))
    log_p = -0.5 * (drawn**2 + np.log(2 * np.pi))
    np.testing.assert_allclose(found, (log_q - log_p).sum(2).mean(0), rtol=0.01)
    # Of two Gaussians on the line: log(σ2/σ1) + (σ1² + (μ1 - μ2)²) / 2σ2² - 1/2.
    exact = (np.log(1 / np.sqrt(variance)) + (variance + mean**2) / 2 - 0.5).sum(1)
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    np.testing.assert_array_equal(divergence(jnp.zeros((2, 5)), jnp.zeros((2, 5))), [0, 0])


@pytest.mark.parametrize("deviation", [1.0, 0.2, 3.0])
def test_the_surprise_is_scipys(deviation):
    from scipy.stats import norm

    x, mean = random.normal(size=(2, 4, 3, 3, 2)).astype(np.float32)
    expected = -norm(mean, deviation).logpdf(x.astype(np.float64)).sum((1, 2, 3))
    np.testing.assert_allclose(surprise(jnp.asarray(x), jnp.asarray(mean), deviation), expected, rtol=2e-5)


@pytest.mark.slow
def test_the_vaes_loss_is_the_negative_elbo():
    """Of the networks' outputs in training, with the draw that the update makes, in float64."""
    chosen, data = options("vae"), batch()
    state = build(chosen, SPEC).init(jax.random.key(0))
    seen = {}

    def spied(nets, batch, draw, state):
        found = nets["encoder"].frozen(batch["image"])
        noise = draw.normal("posterior", chosen.latent_size)
        code = found["mean"] + jnp.exp(found["log_variance"] / 2) * noise
        seen.update(found, back=nets["decoder"].frozen(code))
        return elbo(chosen)(nets, batch, draw, state)

    with jax.disable_jit():
        _, metrics = update(("encoder", "decoder"), spied, name="loss")(state, data)
    mean, log_variance, back = (
        np.asarray(jax.device_get(seen[name].primal if hasattr(seen[name], "primal") else seen[name]), np.float64)
        for name in ("mean", "log_variance", "back")
    )
    squares = ((np.asarray(data["image"], np.float64) - back) ** 2).reshape(8, -1)
    likelihood = (squares / (2 * 0.2**2) + np.log(0.2 * np.sqrt(2 * np.pi))).sum(1).mean()
    prior = (0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)).sum(1).mean()
    np.testing.assert_allclose(metrics["loss/likelihood"], likelihood, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss/prior"], prior, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_likelihood_of_a_vaegan_is_that_of_the_discriminators_features():
    chosen, data = options("vaegan"), batch()
    state = build(chosen, SPEC).init(jax.random.key(0))
    _, metrics = jax.jit(update("encoder", encoder(chosen), name="loss"))(state, data)

    def by_hand(nets, batch, draw, state):
        found = nets["encoder"](batch["image"])
        code = found["mean"] + jnp.exp(found["log_variance"] / 2) * draw.normal("posterior", chosen.latent_size)
        first, second = (nets["discriminator"](x)["features"] for x in (batch["image"], nets["decoder"](code)))
        half_squares = 0.5 * (first - second) ** 2 + 0.5 * jnp.log(2 * jnp.pi)
        return {"x": jnp.zeros(8) + 0 * found["mean"][:, 0], "y": half_squares.reshape(8, -1).sum(1)}

    _, expected = jax.jit(update("encoder", by_hand, name="loss"))(state, data)
    np.testing.assert_allclose(metrics["loss/likelihood"], expected["loss/y"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("game", ["vae", "vaegan"])
def test_who_learns_from_what(game):
    """The likelihood's weight, γ, changes the decoder's update alone; all players of a game learn."""
    chosen, data = options(game, optimizer="sgd"), batch()
    state = build(chosen, SPEC).init(jax.random.key(0))
    assert tuple(state.players) == PLAYERS[game]
    step = jax.jit(make_iteration(chosen))
    after, _ = step(state, data)
    assert all(differs(after.players[name].params, state.players[name].params) for name in state.players)
    if game == "vae":
        return
    heavier = state.replace(hyper={**state.hyper, "likelihood": jnp.float32(1.0)})
    other, _ = step(heavier, data)
    assert not differs(other.discriminator.params, after.discriminator.params)
    assert differs(other.players["decoder"].params, after.players["decoder"].params)


@pytest.mark.slow
def test_reconstructions_are_drawn_shown_and_scored(tmp_path, capsys):
    """Each of its own held-out example; what is drawn of the prior doesn't depend on them."""
    train(build, options("vaegan", devices=1, workdir=str(tmp_path / "run")))
    run = open_run(tmp_path / "run")
    drawn = run.draw(40)
    assert list(drawn) == ["image", "reconstruction", "target"]
    assert run.drawing.scored == ("image",) and len(np.unique(drawn["target"].reshape(40, -1), axis=0)) == 40
    np.testing.assert_array_equal(run.draw(40, seed=1)["reconstruction"], drawn["reconstruction"])
    assert np.any(run.draw(40, seed=1)["image"] != drawn["image"])
    capsys.readouterr()
    evaluate.run(evaluate.Options(run=tmp_path / "run", count=40))
    said = capsys.readouterr().out
    assert "reconstruction: PSNR" in said and "reconstruction: SSIM" in said and "sliced Wasserstein" in said
    evaluate.run(evaluate.Options(run=tmp_path / "run", count=40, metrics="psnr"))
    kept = evaluate.of_run(evaluate.Options(run=tmp_path / "run", count=40, metrics="psnr,swd"), tmp_path / "run")[0]
    assert [(row["key"], row.get("output")) for row in kept] == [("swd", None), ("psnr", "reconstruction")]
    error = ((drawn["reconstruction"] / 255.0 - drawn["target"] / 255.0) ** 2).reshape(40, -1).mean(1)
    np.testing.assert_allclose(kept[1]["value"], (-10 * np.log10(error)).mean(), rtol=1e-5)
    sample.run(sample.Options(run=tmp_path / "run", out=(tmp_path / "a.png", tmp_path / "walk.gif")))


@pytest.mark.slow
def test_a_gan_alone_has_nothing_to_reconstruct(tmp_path):
    train(build, options("gan", devices=1, workdir=str(tmp_path / "run")))
    assert list(open_run(tmp_path / "run").draw(3)) == ["image"]
    with pytest.raises(UsageError, match="compares pairs of images, and what this experiment draws has no targets"):
        evaluate.run(evaluate.Options(run=tmp_path / "run", count=40, metrics="psnr"))


@pytest.mark.slow
@pytest.mark.parametrize("game", PLAYERS)
def test_a_batch_may_be_accumulated(game):
    chosen, data = options(game, accumulate=2), batch()
    gan = build(chosen, SPEC)
    with pytest.warns(UserWarning, match="parts of an accumulated batch"):
        after, metrics = jax.jit(gan.iteration)(gan.init(jax.random.key(0)), data)
    assert int(after.step) == 1 and all(np.isfinite(value) for value in metrics.values())


def test_the_games_latents_are_what_is_drawn():
    gan = vaegan_mnist.build(options("vaegan"), SPEC)
    state, keys = gan.init(jax.random.key(0)), jax.random.split(jax.random.key(1), 3)
    examples = {"image": batch()["image"][:3]}
    inputs = gan.latents.draw(examples, keys)
    codes = gan.latents.codes(state, inputs)
    assert codes.shape == (3, 1, 8) and not gan.latents.mapped
    made = gan.latents.synthesize(state, codes, inputs)["image"]
    drawn = gan.sample(state, examples, keys)
    np.testing.assert_array_equal(made, drawn["image"])
    nearer = gan.sample(state, examples, keys, truncation=0.5)  # of N(0, I), whose mean is 0
    half = gan.latents.synthesize(state, codes / 2, inputs)["image"]
    np.testing.assert_allclose(nearer["image"], half, atol=1e-6)
    assert differs(nearer["image"], drawn["image"])
    np.testing.assert_array_equal(nearer["reconstruction"], drawn["reconstruction"])
