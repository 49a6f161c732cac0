"""Dense networks: their arithmetic by hand, and an experiment with them that trains."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import gan_ring
from jaxgan.networks.heads import Projection
from jaxgan.networks.minibatch import MinibatchDiscrimination
from jaxgan.networks.mlp import Discriminator, Generator
from jaxgan.training import UsageError, train


def test_networks_compute_what_numpy_computes():
    random = np.random.default_rng(0)
    z, x = random.normal(size=(5, 3)).astype(np.float32), random.normal(size=(5, 1, 1, 2)).astype(np.float32)
    for module, given, slope in ((Generator((1, 1, 2), (4, 6)), z, 0.0), (Discriminator((4, 6)), x, 0.2)):
        variables = module.init(jax.random.key(0), jnp.asarray(given), train=True)
        params = jax.tree.map(lambda p: random.normal(size=p.shape), variables["params"])
        h = given.reshape(5, -1).astype(np.float64)
        for i in range(3):
            layer = params[f"Dense_{i}"]
            h = h @ layer["kernel"] + layer["bias"]
            h = np.where(h > 0, h, slope * h) if i < 2 else h
        floats = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
        outputs = module.apply({"params": floats}, jnp.asarray(given), train=False)
        if slope:
            np.testing.assert_allclose(outputs["logits"], h[:, 0], rtol=2e-5, atol=2e-5)
        else:
            np.testing.assert_allclose(outputs, h.reshape(5, 1, 1, 2), rtol=2e-5, atol=2e-5)


def test_the_networks_of_the_tutorials():
    """100-256-512-1024-784 and 784-1024-512-256-1, counted by hand; tanh on the image, LeakyReLU in the generator."""
    leaky = functools.partial(nn.leaky_relu, negative_slope=0.2)
    generator = Generator((28, 28, 1), (256, 512, 1024), bounded=True, activation=leaky)
    discriminator = Discriminator((1024, 512, 256), dropout=0.3)
    z, x = jnp.zeros((1, 100)), jnp.zeros((1, 28, 28, 1))
    g, d = (
        jax.eval_shape(lambda m=m, x=x: m.init(jax.random.key(0), x, train=False))
        for m, x in ((generator, z), (discriminator, x))
    )
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))  # noqa: E731
    assert count(g) == 101 * 256 + 257 * 512 + 513 * 1024 + 1025 * 784
    assert count(d) == 785 * 1024 + 1025 * 512 + 513 * 256 + 257

    random = np.random.default_rng(1)
    small = generator.clone(shape=(2, 2, 1), widths=(3, 4))
    z = random.normal(size=(5, 2)).astype(np.float32)
    params = jax.tree.map(
        lambda p: random.normal(size=p.shape).astype(np.float32), small.init(jax.random.key(0), z, train=True)["params"]
    )
    h = z.astype(np.float64)
    for i in range(3):
        layer = params[f"Dense_{i}"]
        h = h @ layer["kernel"] + layer["bias"]
        h = np.where(h > 0, h, 0.2 * h) if i < 2 else np.tanh(h)
    got = jax.jit(lambda z: small.apply({"params": params}, z, train=True))(z)
    np.testing.assert_allclose(got, h.reshape(5, 2, 2, 1), rtol=1e-5, atol=1e-5)


def test_a_discriminator_with_another_activation():
    random = np.random.default_rng(6)
    module, x = Discriminator((4, 3), activation=nn.relu), random.normal(size=(5, 2)).astype(np.float32)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=True))
    params = jax.tree.map(lambda p: random.normal(size=p.shape).astype(np.float32), shapes["params"])
    h = x.astype(np.float64)
    for i in range(2):
        h = np.maximum(h @ params[f"Dense_{i}"]["kernel"] + params[f"Dense_{i}"]["bias"], 0)
    got = jax.jit(lambda x: module.apply({"params": params}, x, train=True))(x)
    np.testing.assert_allclose(got["features"], h, rtol=1e-5, atol=1e-5)


class Plain(nn.Module):
    """Linen's dense layers, named by Linen, as the networks were before they had heads."""

    widths: tuple
    activation: object

    @nn.compact
    def __call__(self, x):
        *hidden, last = self.widths
        for width in hidden:
            x = self.activation(nn.Dense(width)(x))
        return nn.Dense(last)(x)


def test_defaults_have_the_parameters_that_saved_runs_have():
    x = np.random.default_rng(2).normal(size=(5, 2)).astype(np.float32)
    key = jax.random.key(3)
    leaky = functools.partial(nn.leaky_relu, negative_slope=0.2)
    for module, plain in (
        (Generator((1, 1, 2)), Plain((128, 128, 2), nn.relu)),
        (Discriminator(), Plain((128, 128, 1), leaky)),
    ):
        got, variables = jax.jit(lambda x, m=module: m.init_with_output(key, x, train=False))(x)
        want, expected = jax.jit(lambda x, m=plain: m.init_with_output(key, x))(x)
        assert jax.tree.structure(variables) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(variables), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)
        got = got["logits"] if isinstance(got, dict) else got
        np.testing.assert_array_equal(got.reshape(want.shape), want)


def test_a_discriminator_with_head_and_a_layer_across_the_batch():
    random = np.random.default_rng(4)
    x, labels = random.normal(size=(4, 1, 1, 2)).astype(np.float32), np.array([1, 0, 1, 1])
    across = MinibatchDiscrimination(3, 2)
    module = Discriminator((6, 5), head=Projection(2), minibatch=across)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, labels, train=False))
    assert set(shapes["params"]) == {"Dense_0", "Dense_1", "minibatch", "judge", "embedding"}
    params = jax.tree.map(lambda p: random.normal(size=p.shape).astype(np.float32), shapes["params"])
    outputs = jax.jit(lambda x: module.apply({"params": params}, x, labels, train=True))(x)
    h = x.reshape(4, 2).astype(np.float64)
    for i in range(2):
        h = h @ params[f"Dense_{i}"]["kernel"] + params[f"Dense_{i}"]["bias"]
        h = np.where(h > 0, h, 0.2 * h)
    np.testing.assert_allclose(outputs["features"], h, rtol=1e-5, atol=1e-5)
    with_added = np.asarray(across.apply({"params": params["minibatch"]}, outputs["features"]), np.float64)
    want = with_added @ params["judge"]["kernel"][:, 0] + params["judge"]["bias"]
    want += np.sum(with_added * params["embedding"]["kernel"].T[labels], axis=1)
    np.testing.assert_allclose(outputs["logits"], want, rtol=1e-4, atol=1e-4)


def test_dropout_in_training_alone():
    module = Discriminator((400,), dropout=0.25)
    x = np.random.default_rng(5).normal(size=(20, 3)).astype(np.float32)
    variables = module.init(jax.random.key(0), x, train=False)
    plain = Discriminator((400,)).apply(variables, x, train=True)["features"]
    np.testing.assert_array_equal(module.apply(variables, x, train=False)["features"], plain)
    rngs = {"dropout": jax.random.key(1)}
    dropped = jax.jit(lambda x: module.apply(variables, x, train=True, rngs=rngs))(x)["features"]
    zeros = np.asarray(dropped) == 0
    assert abs(zeros.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / zeros.size)
    np.testing.assert_allclose(dropped, np.where(zeros, 0, np.asarray(plain) / 0.75), rtol=1e-5)


def test_bfloat16_computes_in_bfloat16_and_says_float32():
    x, labels = np.ones((4, 2), np.float32), np.zeros(4, np.int32)
    for module in (
        Generator((1, 1, 2), dtype=jnp.bfloat16, bounded=True),
        Discriminator(dtype=jnp.bfloat16, dropout=0.5, head=Projection(2), minibatch=MinibatchDiscrimination(3, 2)),
        Discriminator(dtype=jnp.bfloat16),
    ):

        def forward(x, module=module):
            out, variables = module.init_with_output(
                {"params": jax.random.key(0), "dropout": jax.random.key(1)},
                *(x, labels),
                train=True,
                capture_intermediates=True,
            )
            return out, variables["params"], {k: v for k, v in variables["intermediates"].items() if k != "__call__"}

        out, params, inner = jax.eval_shape(forward, x)
        assert {leaf.dtype for leaf in jax.tree.leaves((out, params))} == {jnp.dtype("float32")}
        assert {leaf.dtype for leaf in jax.tree.leaves(inner)} == {jnp.dtype("bfloat16")}


def test_points_train_and_resume_like_images(tmp_path):
    def options(**changes):
        given = {"steps": 6, "batch_size": 16, "width": 8, "devices": 1, "checkpoint_every": 4, "sample_every": 3}
        return gan_ring.Options(**(given | {"workdir": str(tmp_path / "run")} | changes))

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        train(gan_ring.build, options(steps=3))
        state = train(gan_ring.build, options())
        straight = train(gan_ring.build, options(workdir=str(tmp_path / "straight")))
    for one, other in zip(jax.tree.leaves(state.ema), jax.tree.leaves(straight.ema), strict=True):
        np.testing.assert_array_equal(one, other)
    with Image.open(tmp_path / "run" / "samples" / "00000006.png") as picture:
        assert picture.size == (512, 512) and np.asarray(picture).max() == 255
    with pytest.raises(UsageError, match="points of the plane, not images: --flip True doesn't go with it"):
        train(gan_ring.build, options(flip=True, workdir=None))
