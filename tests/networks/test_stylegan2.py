"""StyleGAN2's networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.stylegan2 import Discriminator, Generator

SMALL = {"features": 4, "max_features": 8, "style_features": 6, "mapping_layers": 2}


def count(params):
    return sum(math.prod(x.shape) for x in jax.tree.leaves(params))


@pytest.mark.parametrize("features, g, d", [(128, 30_034_338, 28_864_129), (64, 24_767_458, 24_001_089)])
def test_parameters_at_256_pixels(features, g, d):
    """The counts that are printed for the published networks: config-F, and half its channels."""
    key = jax.random.key(0)
    generator = jax.eval_shape(
        lambda: Generator(size=256, features=features).init(key, jnp.zeros((1, 512)), train=False)
    )
    image = jnp.zeros((1, 256, 256, 3))
    discriminator = jax.eval_shape(lambda: Discriminator(features=features).init(key, image, train=False))
    assert (count(generator["params"]), count(discriminator["params"])) == (g, d)


def test_the_running_mean_of_w_moves_in_training_only():
    generator = Generator(size=8, **SMALL)
    z = jax.random.normal(jax.random.key(1), (4, 5))
    variables = generator.init(jax.random.key(0), z, train=False)
    np.testing.assert_array_equal(variables["w_avg"]["mean"], 0)
    w, changed = generator.apply(variables, z, method="mapping", mutable=["w_avg"])
    np.testing.assert_allclose(changed["w_avg"]["mean"], 0.005 * np.mean(w, axis=0), rtol=1e-4)
