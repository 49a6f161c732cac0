"""The recurrent generator against a loop in NumPy; its parameters counted by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.recurrent import Generator

SHAPE, LATENT, UNITS = (5, 3, 2), 4, 6  # no two sides alike


def _variables(module, latent):
    """Weights from N(0, 1): zeros of a new layer would hide a bias that is left out."""
    shapes = jax.eval_shape(lambda z: module.init(jax.random.key(0), z, train=True), latent)
    random = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), shapes)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _drawn(params, z):
    """Cho et al. 2014, equations 5 to 8, with the reset gate behind the product as cuDNN and PyTorch have it: r and u
    from input and state, n = tanh(W x + b + r (V h + c)), h' = (1 - u) n + u h."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    cell, h, rows = p["cell"], np.tanh(z @ p["first"]["kernel"] + p["first"]["bias"]), []
    for _ in range(SHAPE[0]):
        r = _sigmoid(z @ cell["ir"]["kernel"] + cell["ir"]["bias"] + h @ cell["hr"]["kernel"])
        u = _sigmoid(z @ cell["iz"]["kernel"] + cell["iz"]["bias"] + h @ cell["hz"]["kernel"])
        old = h @ cell["hn"]["kernel"] + cell["hn"]["bias"]
        h = (1 - u) * np.tanh(z @ cell["in"]["kernel"] + cell["in"]["bias"] + r * old) + u * h
        rows.append(np.tanh(h @ p["row"]["kernel"] + p["row"]["bias"]))
    return np.stack(rows, 1).reshape(-1, *SHAPE)


def test_rows_are_drawn_one_after_another():
    module, z = Generator(SHAPE, UNITS), np.random.default_rng(0).normal(size=(7, LATENT)).astype(np.float32)
    variables = _variables(module, z)
    got = jax.jit(lambda z: module.apply(variables, z, train=True))(z)
    np.testing.assert_allclose(got, _drawn(variables["params"], z.astype(np.float64)), atol=2e-5)
    assert got.dtype == jnp.float32 and not np.allclose(got[:, 0], got[:, 1])
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    gates = 3 * (LATENT * UNITS + UNITS + UNITS * UNITS) + UNITS  # of the state's products one has a bias
    assert count == (LATENT + 1) * UNITS + gates + (UNITS + 1) * 3 * 2


def test_every_parameter_learns_and_a_row_knows_of_no_later_one():
    module, z = Generator(SHAPE, UNITS), np.random.default_rng(2).normal(size=(3, LATENT)).astype(np.float32)
    variables = _variables(module, z)

    @jax.jit
    def gradient(weights):
        return jax.grad(lambda v: jnp.sum(module.apply(v, z, train=True) * weights))(variables)

    last = jnp.zeros((3, *SHAPE)).at[:, -1].set(1.0)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient(last)))


@pytest.mark.parametrize("cell", [nn.SimpleCell, nn.GRUCell])
def test_bfloat16_computes_in_bfloat16_and_says_float32(cell):
    module, z = Generator(SHAPE, UNITS, jnp.bfloat16, cell=cell), jnp.ones((2, LATENT))
    variables, image = jax.eval_shape(
        lambda z: (v := module.init(jax.random.key(0), z, train=True), module.apply(v, z, train=True)), z
    )
    assert image.dtype == jnp.float32 and image.shape == (2, *SHAPE)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
