"""What theory says that training does: tried on small sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import adam

from experiments import limited_mnist
from jaxgan import d_loss, latents, make_d_step
from jaxgan.losses import wasserstein
from jaxgan.networks.mlp import Discriminator, Generator
from jaxgan.players import init_player
from jaxgan.state import GANState
from jaxgan.terms.penalties import wgan_gp
from jaxgan.training import open as open_run
from jaxgan.training import train
from jaxgan.training.options.parsing import parse
from scripts import margin


@pytest.mark.slow
def test_the_critics_gradient_comes_to_norm_one_between_the_sets():
    """Gulrajani et al. 2017 (arXiv 1704.00028), proposition 1: the best critic has a gradient of norm 1 almost
    everywhere on lines between real and generated points. With weight λ it pays to be steeper: of linear critics, of
    sets whose means are Δ apart, -s Δ + λ (s - 1)² is least at s = 1 + Δ / 2λ."""
    keys = jax.random.split(jax.random.key(0), 5)
    g = init_player(keys[0], Generator((1, 1, 2), (8,)), adam(), jnp.zeros((1, 4)))
    d = init_player(keys[1], Discriminator((64, 64)), adam(), jnp.zeros((1, 1, 1, 2)))
    hyper = {"generator/learning_rate": 0.0, "discriminator/learning_rate": 1e-3, "ema_half_life": 0.0}
    state = GANState.create(keys[2], g, d, hyper=hyper)

    def real(key, count):
        return jnp.array([2.0, 0.0]).reshape(1, 1, 1, 2) + 0.3 * jax.random.normal(key, (count, 1, 1, 2))

    def fake(key, count):
        return g.apply_fn({"params": g.params}, jax.random.normal(key, (count, 4)), train=False)

    def norms(state):
        mix = jax.random.uniform(keys[3], (1000, 1, 1, 1))
        points = mix * real(keys[3], 1000) + (1 - mix) * fake(keys[4], 1000)
        d = state.discriminator
        slope = jax.grad(lambda x: d.apply(d.params, d.variables, x, train=False)["logits"].sum())
        return np.linalg.norm(np.asarray(slope(points)).reshape(-1, 2), axis=1)

    step = make_d_step(latents(4), [d_loss(wasserstein), wgan_gp(10.0)])
    batches = jax.vmap(lambda i: real(jax.random.fold_in(keys[3], i), 128))(jnp.arange(1500))
    trained, _ = jax.jit(lambda s, images: jax.lax.scan(lambda s, x: step(s, {"image": x}), s, images))(state, batches)
    assert abs(norms(state).mean() - 1) > 0.2, "it was not so before"
    after = norms(trained)
    apart = np.linalg.norm(
        np.asarray(real(keys[3], 1000)).mean((0, 1, 2)) - np.asarray(fake(keys[4], 1000)).mean((0, 1, 2))
    )
    assert after.mean() == pytest.approx(1 + apart / 20, abs=0.02) and after.std() < 0.1


@pytest.fixture(scope="module")
def margin_of(tmp_path_factory):
    """`name, arguments ->` the margin of a discriminator that was trained on a thousand digits, beside 797 others."""
    common = ["--dataset", "digits", "--image-size", "28", "--features", "16", "--steps", "1500", "--devices", "1"]
    common += ["--checkpoint-every", "1500", "--sample-every", "1500"]
    folder = tmp_path_factory.mktemp("margins")

    def measure(name, *arguments):
        options = parse(limited_mnist.Options, [*common, *arguments, "--workdir", str(folder / name)])
        train(limited_mnist.build, options)
        return margin.measure(open_run(folder / name), options)

    return measure


@pytest.mark.long
@pytest.mark.usefixtures("as_users_have_it")
def test_lecam_and_instance_noise_narrow_the_margin_between_known_and_unknown_images(margin_of):
    plain = margin_of("plain")
    assert plain.margin > 0.05 and plain.generated < plain.unseen < plain.seen
    for name, arguments in {
        "noise": ["--noise", "0.5", "--noise-images", "10000000"],
        "lecam": ["--lecam", "0.3"],
    }.items():
        assert margin_of(name, *arguments).margin < plain.margin / 2, name
