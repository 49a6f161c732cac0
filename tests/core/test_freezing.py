"""Layers and weights that no update moves: their bits, and their moments, stay."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import Discriminator, adam, assert_same, differs, given, tiny_batch, tiny_gan

from jaxgan import d_loss, g_loss
from jaxgan.adversarial import make_joint_step
from jaxgan.freezing import freeze, keep_zeros, masked
from jaxgan.iteration import iteration
from jaxgan.losses import non_saturating

STEP = iteration(make_joint_step(given, [d_loss(non_saturating)], [g_loss(non_saturating)]))


def trained(state, steps=3):
    step = jax.jit(STEP)
    for seed in range(steps):
        state, _ = step(state, tiny_batch(seed=seed))
    return state


def decayed(tx):
    """What would move a parameter without a gradient: L2 before the optimiser, decoupled decay behind it."""
    return optax.chain(optax.add_decayed_weights(0.1), tx, optax.add_decayed_weights(0.1))


def optimisers(*others):
    return pytest.mark.parametrize("tx", [adam(), *(pytest.param(tx, marks=pytest.mark.slow) for tx in others)])


@optimisers(optax.trace(0.9), decayed(optax.identity()), optax.chain(optax.clip(1.0)))
def test_frozen_layers_keep_their_bits_while_others_move(tx):
    plain = tiny_gan(tx=tx)
    state = plain.replace(discriminator=freeze(plain.discriminator, ["Dense_0"]))
    assert jax.tree.structure(state.discriminator.opt_state) == jax.tree.structure(plain.discriminator.opt_state)
    after = trained(state)
    assert_same(after.discriminator.params["Dense_0"], plain.discriminator.params["Dense_0"])
    for leaf in jax.tree.leaves(after.discriminator.params["Dense_1"]):
        assert np.all(np.isfinite(leaf))
    was, now = plain.discriminator.params["Dense_1"], after.discriminator.params["Dense_1"]
    assert np.all(np.asarray(was["kernel"]) != np.asarray(now["kernel"]))
    assert differs(after.generator.params, plain.generator.params)


@pytest.mark.slow
def test_so_do_adams_moments():
    state = tiny_gan(tx=adam())
    after = trained(state.replace(discriminator=freeze(state.discriminator, ["Dense_0"])))
    moments = after.discriminator.opt_state
    assert int(moments.count) == 3
    for part in (moments.mu, moments.nu):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(part["Dense_0"]))
        assert all(np.any(leaf) for leaf in jax.tree.leaves(part["Dense_1"]))


@pytest.mark.slow
def test_the_generator_learns_through_frozen_layers_as_through_others():
    """An update of its own, with plain SGD: a frozen layer's weights still have a say in the gradient of images."""
    plain = tiny_gan()
    frozen = plain.replace(discriminator=freeze(plain.discriminator, ["Dense_0"]))
    one, other = trained(plain, 1), trained(frozen, 1)
    # The generator is judged after D's update, which differs: with the same D it learns the same.
    slow = {"discriminator/learning_rate": jnp.zeros(())}
    one, other = (trained(state.replace(hyper={**state.hyper, **slow}), 1) for state in (plain, frozen))
    assert_same(one.generator.params, other.generator.params)
    assert differs(one.generator.params, plain.generator.params)


def test_the_rest_learns_as_it_would_alone():
    """Against a loop in NumPy: gradient descent with momentum, one weight of three frozen."""
    tx = masked(optax.trace(0.5), {"a": np.array([True, False, True]), "b": True, "c": False})
    params = {"a": jnp.array([1.0, 2.0, 3.0]), "b": jnp.array(4.0), "c": jnp.array([5.0])}
    state = tx.init(params)
    by_hand, momentum = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.zeros(5)
    moves = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    for gradient in np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32):
        flat = {"a": jnp.asarray(gradient[:3]), "b": jnp.asarray(gradient[3]), "c": jnp.asarray(gradient[4:])}
        updates, state = tx.update(flat, state, params)
        params = jax.tree.map(lambda p, u: p - 0.1 * u, params, updates)
        momentum = moves * gradient + 0.5 * momentum
        by_hand = by_hand - 0.1 * momentum
    np.testing.assert_allclose(np.concatenate([params["a"], params["b"][None], params["c"]]), by_hand, rtol=1e-6)
    assert params["a"][1] == 2 and params["c"][0] == 5


def test_a_gradients_norm_is_clipped_without_what_is_frozen():
    tx = masked(optax.clip_by_global_norm(1.0), {"a": True, "b": False})
    gradients = {"a": jnp.array([0.3, 0.4]), "b": jnp.array([100.0])}
    updates, _ = tx.update(gradients, tx.init(gradients), gradients)
    np.testing.assert_array_equal(updates["a"], gradients["a"])
    assert updates["b"] == 0


def test_a_frozen_gradient_that_is_not_finite_moves_nothing():
    tx = masked(optax.identity(), {"a": np.array([True, False]), "b": False})
    gradients = {"a": jnp.array([1.0, jnp.nan]), "b": jnp.array([jnp.inf])}
    updates, _ = tx.update(gradients, tx.init(gradients), gradients)
    np.testing.assert_array_equal(updates["a"], [1.0, 0.0])
    assert updates["b"] == 0


@pytest.mark.parametrize(
    "layers, said",
    [
        (["Dense_7"], r"^no parameters are called 'Dense_7', which were to be frozen; there are Dense_0, Dense_1$"),
        (["Dense"], r"^no parameters are called 'Dense'"),  # a part of a name is no name
        (["Dense_0", "Dense_1"], r"^with Dense_0, Dense_1 frozen nothing of this player would learn"),
    ],
)
def test_layers_that_are_not_there_and_all_of_them_are_refused(layers, said):
    with pytest.raises(ValueError, match=said):
        freeze(tiny_gan().discriminator, layers)


@pytest.mark.slow
def test_single_arrays_can_be_frozen_and_no_layers_are_none():
    player = tiny_gan().discriminator
    state = trained(tiny_gan().replace(discriminator=freeze(player, ["Dense_0/kernel"])))
    now = state.discriminator.params["Dense_0"]
    assert_same(now["kernel"], player.params["Dense_0"]["kernel"])
    assert differs(now["bias"], player.params["Dense_0"]["bias"])
    assert differs(trained(tiny_gan().replace(discriminator=freeze(player, []))).discriminator.params, player.params)


@pytest.mark.slow
def test_other_collections_follow_the_passes():
    plain = tiny_gan(discriminator=Discriminator(batch_norm=True))
    after = trained(plain.replace(discriminator=freeze(plain.discriminator, ["Dense_0"])))
    assert differs(after.discriminator.variables, plain.discriminator.variables)


@optimisers(optax.trace(0.9), decayed(optax.identity()))
def test_weights_that_are_zero_stay_zero_and_biases_learn(tx):
    """Also with moments from a time before they were pruned."""
    before = trained(tiny_gan(tx=tx))
    holes = np.random.default_rng(0).random((4, 8)) < 0.5
    player = before.discriminator
    dense = player.params["Dense_0"]
    dense = {"kernel": jnp.where(holes, 0.0, dense["kernel"]), "bias": jnp.zeros_like(dense["bias"])}
    player = player.replace(params={**player.params, "Dense_0": dense}, tx=keep_zeros(player.tx))
    after = trained(before.replace(discriminator=player))
    now = after.discriminator.params["Dense_0"]
    assert np.all(np.asarray(now["kernel"])[holes] == 0)
    assert np.all(np.asarray(now["kernel"])[~holes] != np.asarray(dense["kernel"])[~holes])
    assert np.all(np.asarray(now["bias"]) != 0)
