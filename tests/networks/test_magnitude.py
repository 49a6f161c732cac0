"""Magnitude-preserving layers against NumPy: weights of unit length, outputs as large as inputs, updates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import init_player, update
from jaxgan.networks.layers import Conv, Dense, Embed
from jaxgan.networks.layers.magnitude import leaky, magnitude, mixed, normalised, silu
from jaxgan.networks.r3gan import Discriminator, Generator, Stage
from jaxgan.state import GANState

NORMAL = np.random.default_rng(0).standard_normal((200_000,)).astype(np.float32)


def size(x):
    return float(np.sqrt(np.mean(np.asarray(x, np.float64) ** 2)))


@pytest.mark.parametrize(
    "function, by_hand",
    [
        (leaky, lambda x: np.where(x > 0, x, 0.2 * x) / np.sqrt((1 + 0.2**2) / 2)),
        (silu, lambda x: x / (1 + np.exp(-x)) / 0.596),
        (lambda x: mixed(x, x[::-1], 0.3), lambda x: (0.7 * x + 0.3 * x[::-1]) / np.sqrt(0.7**2 + 0.3**2)),
    ],
)
def test_functions_keep_the_size_of_unit_inputs(function, by_hand):
    got = function(jnp.asarray(NORMAL))
    np.testing.assert_allclose(got, by_hand(NORMAL.astype(np.float64)), rtol=1e-5, atol=1e-6)
    assert size(got) == pytest.approx(1, abs=0.01)
    assert function(jnp.asarray(NORMAL, jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "layer, shape",
    [
        (magnitude(Dense)(64), (500, 48)),
        (magnitude(functools.partial(Conv, groups=4))(64, 3), (8, 12, 12, 32)),
    ],
)
def test_layers_keep_the_size_of_unit_inputs_whatever_their_weights(layer, shape):
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    params = layer.init(jax.random.key(0), x)["params"]
    assert set(params) == {"kernel"}, "no bias"
    for scale in (1.0, 30.0, 0.01):
        kernel = scale * np.asarray(params["kernel"], np.float64)
        y = layer.apply({"params": {"kernel": jnp.asarray(kernel, jnp.float32)}}, x)
        assert size(y) == pytest.approx(1, abs=0.05)
        unit = kernel / np.sqrt(np.sum(kernel**2, axis=tuple(range(kernel.ndim - 1))))
        if x.ndim == 2:  # up to the paper's ε of 1e-4, relative to the weights' size
            np.testing.assert_allclose(y, x @ unit, rtol=0.02, atol=0.02)


def test_the_gradient_is_orthogonal_to_the_weight():
    x = np.random.default_rng(1).standard_normal((16, 6)).astype(np.float32)
    layer = magnitude(Dense)(3)
    params = layer.init(jax.random.key(0), x)["params"]
    slope = jax.grad(lambda p: jnp.sum(jnp.sin(layer.apply({"params": p}, x))))(params)["kernel"]
    along = np.sum(np.asarray(slope) * np.asarray(params["kernel"]), 0) / np.linalg.norm(slope, axis=0)
    np.testing.assert_allclose(along, 0, atol=1e-3)


def test_weights_are_normalised_after_each_update():
    x = np.random.default_rng(1).standard_normal((16, 6)).astype(np.float32)
    player = init_player(jax.random.key(0), magnitude(Dense)(3), optax.identity(), x)
    player = player.replace(params={**player.params, "other": jnp.full(2, 7.0)})
    objective = lambda nets, batch, draw, state: {"sum": jnp.sum(nets["net"](batch), 1)}  # noqa: E731
    hyper = {"net/learning_rate": 0.5, "ema_half_life": 0.0}
    state = GANState.of(jax.random.key(1), {"net": player}, hyper=hyper)
    after, _ = update("net", objective, project={"net": normalised})(state, jnp.asarray(x))
    kernel = np.asarray(after.players["net"].params["kernel"], np.float64)
    assert np.any(np.abs(kernel - np.asarray(player.params["kernel"])) > 0.01)
    np.testing.assert_allclose(np.sqrt(np.mean(kernel**2, axis=0)), 1, atol=2e-4)
    np.testing.assert_array_equal(after.players["net"].params["other"], [7, 7])


@pytest.mark.slow
def test_networks_of_such_layers_draw_images_of_unit_size():
    """The generator ends with a linear layer, so that its outputs are about as large as its inputs."""
    how = {"conv": magnitude(Conv), "dense": magnitude(Dense), "activation": leaky}
    how["add"] = functools.partial(mixed, share=0.3)
    stages = (Stage(64, 2, 4), Stage(32, 2, 2))
    latent = jax.random.normal(jax.random.key(1), (256, 64))
    generator, judge = Generator(stages, **how), Discriminator(stages, **how)
    image, variables = jax.jit(generator.init_with_output)(jax.random.key(0), latent)
    assert 0.5 < size(image) < 2
    assert {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(variables)} == {"kernel", "basis"}
    features = jax.jit(judge.init_with_output)(jax.random.key(0), image)[0]["features"]
    assert 0.3 < size(features) < 3


def test_what_has_no_weights_to_scale_is_refused():
    with pytest.raises(ValueError, match=r"magnitude\(\) takes Conv or Dense .* got Embed"):
        magnitude(Embed)
    with pytest.raises(ValueError, match=r"share from 0 to 1, got 1\.5"):
        mixed(jnp.ones(1), jnp.ones(1), 1.5)
