"""The first StyleGAN's experiment: what its objectives are given while resolutions fade in."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import stylegan_mnist
from jaxgan.training import DataSpec
from jaxgan.training.options.options import of_preset

pytestmark = pytest.mark.usefixtures("as_users_have_it")
OPTIONS = of_preset(stylegan_mnist.Options, "smoke", image_size=16, growth_images=16)
SPEC = DataSpec.single("digits", 64, (16, 16, 1), 10)


@pytest.mark.slow
def test_resolutions_fade_in_by_the_images_of_the_run():
    """8×8 pixels for 16 images, two batches of 8; 16×16 fades in over as many and stays. What evaluation draws has
    grown as far as the last iteration."""
    gan = stylegan_mnist.build(OPTIONS, SPEC)
    state = jax.jit(gan.init)(jax.random.key(0))
    step = jax.jit(gan.iteration)
    batch = {"image": jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 1)), jnp.float32)}
    positions, coarse, finest = [], [], []
    for _ in range(5):
        before = state.generator.params["convs_3"]["kernel"]
        state, metrics = step(state, batch)
        positions.append(float(metrics["discriminator/position"]))
        finest.append(bool(jnp.any(state.generator.params["convs_3"]["kernel"] != before)))
        drawn = np.asarray(gan.sample(state, batch, jax.random.split(jax.random.key(1), 2), weights="raw")["image"])
        coarse.append(bool(np.allclose(drawn, np.kron(drawn[:, ::2, ::2], np.ones((1, 2, 2, 1))), atol=1e-6)))
        assert state.generator.variables["growth"]["position"] == positions[-1]
    np.testing.assert_allclose(positions, [0, 0, 0, 0.5, 1], atol=1e-6)
    assert coarse == [True, True, True, False, False] and finest == [False, False, False, True, True]


def test_a_fixed_resolution_has_no_growth():
    gan = stylegan_mnist.build(dataclasses.replace(OPTIONS, growth_images=0), SPEC)
    state = jax.eval_shape(gan.init, jax.random.key(0))
    assert "growth" not in state.generator.variables and "images_1" not in state.generator.params
