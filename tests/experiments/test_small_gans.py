"""The tutorials' small GANs: sizes counted by hand, the toy game's step against NumPy, and what is refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import dcgan_celeba, dcgan_mnist, gan_mnist, gan_vectors
from jaxgan.training import DataSpec, UsageError
from jaxgan.training.options.parsing import parse

MNIST = DataSpec.single("mnist", 60_000, (28, 28, 1), 10)
FACES = DataSpec.single("faces", 60_000, (64, 64, 3))


def counts(networks, shape, latent=100):
    """The numbers of parameters of a generator and a discriminator."""
    inputs = (jnp.zeros((1, latent)), jnp.zeros((1, *shape)))
    trees = [
        jax.eval_shape(lambda m=m, x=x: m.init(jax.random.key(0), x, train=False))["params"]
        for m, x in zip(networks, inputs, strict=True)
    ]
    return [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in trees]


def dense(*widths):
    return sum((a + 1) * b for a, b in itertools.pairwise(widths))


def test_the_sizes_that_the_tutorials_have():
    options = parse(gan_mnist.Options, [])
    found = counts(gan_mnist.networks(options, MNIST), (28, 28, 1))
    assert found == [dense(100, 256, 512, 1024, 784), dense(784, 1024, 512, 256, 1)]
    options = parse(gan_mnist.Options, ["--widths", "128", "256", "512", "1024", "--activation", "relu"])
    generator, judge = gan_mnist.networks(options, MNIST)
    found = counts((generator, judge), (28, 28, 1))
    assert found == [dense(100, 128, 256, 512, 1024, 784), dense(784, 1024, 512, 256, 128, 1)]
    assert generator.activation(jnp.float32(-1)) == judge.activation(jnp.float32(-1)) == 0


def test_a_dense_generator_against_convolutions_of_five_pixels():
    """100-256-512-1024-4096-64·64·3 against 64-128-256-512, each layer with a bias, and 4·4·512 numbers judged."""
    arguments = ["--widths", "256", "512", "1024", "4096", "--convolutions", "64", "--image-size", "64"]
    options = parse(gan_mnist.Options, arguments)
    generator, judge = gan_mnist.networks(options, FACES)
    layers = [(25 * a + 1) * b for a, b in ((3, 64), (64, 128), (128, 256), (256, 512))]
    assert counts((generator, judge), (64, 64, 3)) == [
        dense(100, 256, 512, 1024, 4096, 64 * 64 * 3),
        sum(layers) + 4 * 4 * 512 + 1,
    ]
    assert judge.dropout == 0.3 and judge.norm is None
    for shape in ((20, 28, 1), (24, 24, 1)):
        with pytest.raises(UsageError, match=r"^--convolutions takes square images of 16, .* got 2.×2.; name another"):
            gan_mnist.networks(options, DataSpec.single("odd", 10, shape))


def test_a_dcgan_of_sixteen_pixels():
    """4×4×512 - 8×8×256 - 16×16×1, as a tutorial has it."""
    options = parse(dcgan_mnist.Options, ["--image-size", "16", "--features", "256", "--fit", "crop"])
    small = DataSpec.single("mnist", 60_000, (16, 16, 1), 10)
    generator, judge = dcgan_mnist.networks(options, small)
    shapes = jax.eval_shape(lambda: generator.init(jax.random.key(0), jnp.zeros((1, 100)), train=False))["params"]
    kernels = [shapes[name]["kernel"].shape for name in ("project", "up0", "up1")]
    assert kernels == [(100, 4 * 4 * 512), (4, 4, 512, 256), (4, 4, 256, 1)]
    norms = 2 * (512 + 256)
    assert counts((generator, judge), (16, 16, 1)) == [
        100 * 8192 + 16 * 512 * 256 + 16 * 256 + 1 + norms,
        (16 * 256 + 256) + 16 * 256 * 512 + 2 * 512 + 8192 + 1,
    ]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.usefixtures("as_users_have_it")
def test_the_toy_games_step_is_what_its_equations_say(monkeypatch):
    """G(z) = σ(Wz + b) against D(x) = σ(wᵀx + c), one step of plain SGD: ∂/∂w of -log D(x) - log(1 - D(G(z))) is
    (D(x) - 1) x + D(G(z)) G(z), and G learns through the D that judged it, by -log D(G(z))."""
    rate, batch = 0.5, 6
    arguments = ["--layers", "0", "--latent-size", "3", "--batch-size", str(batch), "--learning-rate", str(rate)]
    options = parse(gan_vectors.Options, [*arguments, "--optimizer", "sgd", "--momentum", "0", "--devices", "1"])
    random = np.random.default_rng(0)
    x, z = random.uniform(-1, 1, (batch, 4)).astype(np.float32), random.normal(size=(batch, 3)).astype(np.float32)
    monkeypatch.setattr(
        gan_vectors, "latents", lambda size: lambda batch, keys: {"latent": jnp.asarray(z)[: len(keys)]}
    )
    spec = DataSpec.single("table", batch, (4,), kind="vectors")
    gan = gan_vectors.build(options, spec)
    state = gan.init(jax.random.key(3))
    after, _ = jax.jit(gan.iteration)(state, {"image": x})
    (g, old_g), (d, old_d) = (
        [
            jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), jax.tree.leaves(each.players[name].params))
            for each in (after, state)
        ]
        for name in ("generator", "discriminator")
    )
    (b, w), (c, v) = old_g, old_d  # biases and kernels
    assert (w.shape, v.shape) == ((3, 4), (4, 1)) and np.all(c == 0)
    fake = 2 * sigmoid(z @ w + b) - 1
    real_d, fake_d = (sigmoid(images @ v + c) for images in (x, fake))
    np.testing.assert_allclose(d[0], c - rate * np.mean(real_d - 1 + fake_d, axis=0), atol=1e-6)
    np.testing.assert_allclose(d[1], v - rate * ((x.T @ (real_d - 1) + fake.T @ fake_d) / batch), atol=1e-6)
    judge_c, judge_v = d  # joint updates: the discriminator has learned before the generator does
    through = (sigmoid(fake @ judge_v + judge_c) - 1) @ judge_v.T * (1 - fake**2) / 2
    np.testing.assert_allclose(g[0], b - rate * np.mean(through, axis=0), atol=1e-6)
    np.testing.assert_allclose(g[1], w - rate * z.T @ through / batch, atol=1e-6)


@pytest.mark.parametrize("module", [gan_mnist, dcgan_celeba])
def test_latents_are_uniform_where_they_are_asked_to_be(module):
    arguments = ["--preset", "smoke", "--latent-size", "8"]
    spec = DataSpec.single("digits", 100, (28, 28, 1), 10)
    keys = jax.random.split(jax.random.key(0), 4000)
    for name, deviation in (("normal", 1.0), ("uniform", 3**-0.5)):
        gan = module.build(parse(module.Options, [*arguments, "--latents", name]), spec)
        z = np.asarray(gan.latents.draw({}, keys)["latent"])
        assert z.shape == (4000, 8) and abs(z.mean()) < 5 * deviation / np.sqrt(z.size)
        assert abs(z.std() - deviation) < 0.02
        assert (np.abs(z).max() <= 1) == (name == "uniform")
