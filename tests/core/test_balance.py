"""VQGAN's adaptive weight against finite differences in float64, and the ramp by which a loss joins in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import adaptive_weight
from jaxgan.schedules import ramp

RANDOM = np.random.default_rng(0)
HIDDEN, TARGET = RANDOM.standard_normal((5, 3)), RANDOM.standard_normal((5, 2))
LAST = {"kernel": RANDOM.standard_normal((3, 2)), "bias": RANDOM.standard_normal(2)}
JUDGE = RANDOM.standard_normal(2)


def losses(xp):
    """A decoder's last layer with a reconstruction loss and an adversarial one, in NumPy or in JAX."""

    def image(last):
        return xp.asarray(HIDDEN) @ last["kernel"] + last["bias"].reshape(1, 2)

    return (
        lambda last: xp.mean((image(last) - TARGET) ** 2),
        lambda last: -xp.mean(xp.tanh(image(last) @ xp.asarray(JUDGE))),
    )


def norm_by_differences(loss):
    total = 0.0
    for name, at in LAST.items():
        for place in np.ndindex(at.shape):
            step = np.zeros_like(at)
            step[place] = 1e-5
            total += ((loss(LAST | {name: at + step}) - loss(LAST | {name: at - step})) / 2e-5) ** 2
    return np.sqrt(total)


@pytest.mark.parametrize("delta", [1e-6, 0.5])
def test_the_weight_is_the_ratio_of_both_pulls(delta):
    of_reconstruction, of_adversarial = (norm_by_differences(loss) for loss in losses(np))
    last = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), LAST)
    gradients = [jax.grad(loss)(last) for loss in losses(jnp)]
    expected = of_reconstruction / (of_adversarial + delta)
    np.testing.assert_allclose(adaptive_weight(*gradients, delta=delta), expected, rtol=1e-4)
    assert abs(of_reconstruction / of_adversarial - 1) > 0.5


def test_under_it_both_losses_pull_alike():
    last = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), LAST)
    reconstruction, adversarial = losses(jnp)
    weight = adaptive_weight(jax.grad(reconstruction)(last), jax.grad(adversarial)(last), delta=0.0)
    norms = [
        np.linalg.norm(np.concatenate([np.ravel(x) for x in jax.tree.leaves(jax.grad(loss)(last))]))
        for loss in (reconstruction, lambda last: weight * adversarial(last))
    ]
    np.testing.assert_allclose(*norms, rtol=1e-5)


@pytest.mark.parametrize(
    "first, second, expected",
    [
        ([3.0, 4.0], [0.0, 0.0], 1e4),  # 5e4, clipped
        ([3.0, 4.0], [0.0, 0.1], 5 / 0.1001),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 0.0], [1.0, 1.0], 0.0),
        ([1e18, 0.0], [1e18, 0.0], 1.0),
    ],
)
def test_the_ends(first, second, expected):
    first, second = ({"a": jnp.array(x)} for x in (first, second))
    np.testing.assert_allclose(adaptive_weight(first, second), expected, rtol=1e-6)
    np.testing.assert_allclose(adaptive_weight(first, second, most=2.0), min(expected, 2.0), rtol=1e-6)


def test_it_is_a_constant_to_differentiation():
    """At 0, where a norm has no slope, too."""
    for at in (0.0, 2.0):
        slope = jax.grad(lambda x: adaptive_weight({"a": x * jnp.ones(2)}, {"a": x**2 * jnp.ones(3)}))(at)
        assert slope == 0


def test_of_bfloat16_the_norm_is_float32():
    ones = {"a": jnp.ones(1000, jnp.bfloat16)}  # of squares 1, a sum in bfloat16 stands still at 256
    weight = adaptive_weight(ones, {"a": jnp.ones(1, jnp.bfloat16)}, delta=0.0)
    assert weight.dtype == jnp.float32
    np.testing.assert_allclose(weight, np.sqrt(1000), rtol=1e-6)


def test_a_loss_joins_in():
    at = jnp.array([0.0, 99.0, 100.0, 150.0, 300.0, 1e9])
    np.testing.assert_allclose(jax.vmap(lambda x: ramp(100, 200)(x, 0.8))(at), [0, 0, 0, 0.2, 0.8, 0.8], rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(lambda x: ramp(100)(x, 0.8))(at), [0, 0, 0.8, 0.8, 0.8, 0.8], rtol=1e-6)
    np.testing.assert_allclose(ramp(0)(jnp.zeros(()), 0.8), 0.8, rtol=1e-6)
