"""Magnitude pruning, against NumPy's sort; and that what is pruned stays so under training and averaging."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import adam, assert_same, given, tiny_batch, tiny_gan

from jaxgan import d_loss, g_loss
from jaxgan.adversarial import make_joint_step
from jaxgan.freezing import keep_zeros
from jaxgan.iteration import iteration
from jaxgan.lookahead import lookahead, lookahead_start
from jaxgan.losses import non_saturating
from jaxgan.pruning import magnitude_masks, prune, pruned, weight_counts

random = np.random.default_rng(3)


def network():
    """Weights of two sizes and scales, and what is none: a bias and a number."""
    return {
        "small": {"kernel": 0.01 * random.normal(size=(5, 4)), "bias": 1e-9 * random.normal(size=4)},
        "large": {"kernel": random.normal(size=(3, 3, 4, 2)), "scale": np.array(0.0)},
    }


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.77, 1])
def test_so_many_of_the_smallest_weights_go(share):
    """Of all arrays together: NumPy's sort of their sizes gives the threshold."""
    params = network()
    masks = magnitude_masks(params, share)
    kernels = np.concatenate([params[name]["kernel"].ravel() for name in ("large", "small")])
    stays = np.concatenate([np.asarray(masks[name]["kernel"]).ravel() for name in ("large", "small")])
    gone = round(share * 92)
    assert stays.sum() == 92 - gone
    sizes = np.sort(np.abs(kernels))
    if 0 < gone < 92:
        assert np.abs(kernels[~stays]).max() == sizes[gone - 1] < sizes[gone] == np.abs(kernels[stays]).min()
    assert np.all(masks["small"]["bias"]) and np.all(masks["large"]["scale"]), "biases and scales stay"


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_or_so_many_of_each_layer(share):
    params = network()
    masks = magnitude_masks(params, share, per_layer=True)
    for name, count in (("small", 20), ("large", 72)):
        stays, sizes = np.asarray(masks[name]["kernel"]), np.abs(params[name]["kernel"])
        assert (~stays).sum() == share * count
        assert sizes[~stays].max() < sizes[stays].min()
    # Of all together nearly all that goes is of the layer with small weights.
    together = magnitude_masks(params, share)
    assert np.sum(~np.asarray(together["small"]["kernel"])) > share * 20


def test_of_equal_weights_the_first_go_and_the_sign_does_not_matter():
    params = {"a": jnp.array([[1.0, -1.0], [1.0, -0.5]]), "b": jnp.full((2, 1), -2.0)}
    masks = magnitude_masks(params, 0.5)
    assert masks["a"].tolist() == [[False, False], [True, False]] and masks["b"].tolist() == [[True], [True]]
    assert_same(jax.jit(magnitude_masks, static_argnums=1)(params, 0.5), masks)


def test_what_is_pruned_is_exactly_zero_and_the_rest_keeps_its_bits():
    params = jax.tree.map(jnp.float32, network())
    masks = magnitude_masks(params, 0.5)
    after = pruned(params, masks)
    for p, stays, now in zip(*map(jax.tree.leaves, (params, masks, after)), strict=True):
        assert now.dtype == p.dtype
        np.testing.assert_array_equal(np.asarray(now), np.where(stays, p, 0))
    assert_same(pruned(after, masks), after)
    assert weight_counts(after) == {
        "large/kernel": (72, int(np.sum(masks["large"]["kernel"]))),
        "small/kernel": (20, int(np.sum(masks["small"]["kernel"]))),
    }
    assert sum(left for _, left in weight_counts(after).values()) == 46


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match=r"^expected as the share of weights to prune a number from 0 to 1, got"):
        magnitude_masks(network(), share)


def test_parameters_without_weights_are_refused():
    with pytest.raises(ValueError, match="arrays of two or more axes, to prune; there are none"):
        magnitude_masks({"bias": np.ones(3)}, 0.5)
    with pytest.raises(ValueError, match=r"^'critic' is no player of this state; it has generator, discriminator$"):
        prune(tiny_gan(), "critic", {})


@pytest.mark.slow
def test_all_copies_of_a_player_are_pruned_and_stay_so():
    """Averages of any width and lookahead's slow weights would bring the weights back."""
    losses = [d_loss(non_saturating)], [g_loss(non_saturating)]
    step = jax.jit(lookahead(iteration(make_joint_step(given, *losses)), 2))
    state = lookahead_start(tiny_gan(tx=keep_zeros(adam()), hyper={"power_ema/0.1": 6.94, "ema_half_life": 4.0}))
    for seed in range(3):
        state, _ = step(state, tiny_batch(seed=seed))
    masks = magnitude_masks(state.generator.params, 0.5)
    now = prune(state, "generator", masks)
    assert_same(now.discriminator, state.discriminator)
    assert_same(now.generator.opt_state, state.generator.opt_state)
    for seed in range(4):
        now, _ = step(now, tiny_batch(seed=seed))
    copies = [
        now.generator.params,
        now.extras["lookahead"]["generator"],
        *(each["params"] for each in now.ema.values()),
    ]
    assert len(copies) == 4
    for copy in copies:
        for x, stays in zip(jax.tree.leaves(copy), jax.tree.leaves(masks), strict=True):
            assert np.all(np.asarray(x)[~np.asarray(stays)] == 0)
        assert np.all(np.asarray(copy["Dense_0"]["kernel"])[np.asarray(masks["Dense_0"]["kernel"])] != 0)
    kernels = [0.5 * 32 * 2, sum(left for _, left in weight_counts(now.generator.params).values())]
    assert kernels[0] == kernels[1]
