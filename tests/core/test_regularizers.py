"""Regularising terms against NumPy, over several steps where they keep averages."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same, given, tiny_batch, tiny_gan
from jax.test_util import check_grads

from jaxgan import augment
from jaxgan.adversarial import make_d_step, make_g_step, make_joint_step
from jaxgan.losses import non_saturating
from jaxgan.penalties import orthogonality
from jaxgan.terms import Term, initial_extras
from jaxgan.terms.adversarial import d_loss, g_loss
from jaxgan.terms.regularizers import consistency, feature_matching, historical_averaging, lecam, orthogonal

BATCH = tiny_batch()
LOGISTIC = d_loss(non_saturating)


def judged(state, batch):
    """Returns D's logits of the batch's real images and of the generator's fakes, in NumPy."""
    g, d = state.generator, state.discriminator
    fake = g.apply_fn({"params": g.params}, batch["latent"], train=True)
    return [np.asarray(d.apply_fn({"params": d.params}, x, train=True)["logits"]) for x in (batch["image"], fake)]


def test_lecam_over_steps():
    """Tseng et al. 2021 (arXiv 2104.03310), equation 3, against moving averages that begin with the first batch."""
    state = tiny_gan(extras=initial_extras({}, [lecam(0.3)]) | {"other": jnp.ones(2)})
    step = jax.jit(make_joint_step(given, [LOGISTIC, lecam(0.3, decay=0.9)], [g_loss(non_saturating)]))
    average = None
    for seed in range(4):
        batch = tiny_batch(seed=seed)
        real, fake = judged(state, batch)
        now = np.array([real.mean(), fake.mean()])
        average = now if average is None else 0.9 * average + 0.1 * now
        expected = np.mean((real - average[1]) ** 2 + (fake - average[0]) ** 2)
        state, metrics = step(state, batch)
        np.testing.assert_allclose(metrics["discriminator/lecam"], expected, atol=1e-6)
        kept = state.extras["lecam"]
        np.testing.assert_allclose([kept["real"], kept["fake"]], average, atol=1e-6)
    np.testing.assert_array_equal(state.extras["other"], 1)


def test_lecams_averages_are_constants_to_the_gradient():
    view = lambda real, fake: types.SimpleNamespace(  # noqa: E731
        real={"logits": real},
        fake={"logits": fake},
        step=jnp.int32(0),
        extras=initial_extras({}, [lecam(1.0)]),
        mean=lambda x: x,
    )
    real, fake = jnp.array([1.0, 3.0]), jnp.array([-2.0, 0.0])
    gradients = jax.grad(lambda r, f: jnp.mean(lecam(1.0).function(view(r, f))[0]), (0, 1))(real, fake)
    # Means 2 and -1: ∂/∂r = 2(r + 1)/2, ∂/∂f = 2(f - 2)/2.
    np.testing.assert_allclose(gradients[0], [2.0, 4.0])
    np.testing.assert_allclose(gradients[1], [-4.0, -2.0])


def mirror(images, keys):
    """Mirrors images, without any randomness."""
    return images[:, :, ::-1]


@pytest.mark.parametrize("fake", [False, True])
def test_consistency_in_numpy(fake):
    state = tiny_gan()
    _, metrics = jax.jit(make_d_step(given, [LOGISTIC, consistency(mirror, fake=fake)]))(state, BATCH)
    g, d = state.generator, state.discriminator
    images = [BATCH["image"], g.apply_fn({"params": g.params}, BATCH["latent"], train=True)][: 1 + fake]
    logits = lambda x: np.asarray(d.apply_fn({"params": d.params}, x, train=True)["logits"], np.float64)  # noqa: E731
    expected = sum(np.mean((logits(x) - logits(x[:, :, ::-1])) ** 2) for x in images)
    np.testing.assert_allclose(metrics["discriminator/consistency"], expected, rtol=1e-4)
    loss = metrics["discriminator/adversarial"] + 10 * metrics["discriminator/consistency"]
    np.testing.assert_allclose(metrics["discriminator/loss"], loss, rtol=1e-6)


def test_consistency_with_a_random_change_draws_for_each_image():
    state, shown_keys = tiny_gan(), []

    def keep(images, keys):
        shown_keys.append(jax.random.key_data(keys))
        return augment.flip(images, keys)

    jax.eval_shape(make_d_step(given, [consistency(keep, fake=True)]), state, BATCH)
    assert len(shown_keys) == 2 and all(keys.shape == (4, 2) for keys in shown_keys)
    term = consistency(augment.flip, 1.0)
    twins = jax.tree.map(lambda x: jnp.repeat(x[:1], 64, 0), BATCH)
    _, metrics = jax.jit(make_d_step(given, [term]))(state, twins)
    _, always = jax.jit(make_d_step(given, [consistency(mirror, 1.0)]))(state, twins)
    share = metrics["discriminator/consistency"] / always["discriminator/consistency"]
    assert 0.3 < share < 0.7  # each of 64 equal images is mirrored or not; 3 standard deviations are 0.19


class Featured(nn.Module):
    """A discriminator that returns its features: a linear map of the pixels."""

    @nn.compact
    def __call__(self, image, condition=None, *, train):
        features = nn.Dense(3)(image.reshape(len(image), -1)).reshape(-1, 3, 1)
        return {"features": features, "logits": jnp.sum(jnp.tanh(features), axis=(1, 2))}


def test_feature_matching_in_numpy():
    state = tiny_gan(discriminator=Featured())
    after, metrics = jax.jit(make_g_step(given, [feature_matching(0.5)]))(state, BATCH)
    g, d = state.generator, state.discriminator
    w, b = (np.asarray(d.params["Dense_0"][name], np.float64) for name in ("kernel", "bias"))

    def loss(fake):
        real, fake = (np.asarray(x, np.float64).reshape(4, -1) @ w + b for x in (BATCH["image"], fake))
        return np.sum((real.mean(0) - fake.mean(0)) ** 2)

    fake = g.apply_fn({"params": g.params}, BATCH["latent"], train=True)
    np.testing.assert_allclose(metrics["generator/feature_matching"], loss(fake), rtol=1e-5)
    np.testing.assert_allclose(metrics["generator/loss"], 0.5 * loss(fake), rtol=1e-5)
    # The gradient by an image: 2 W (mean of fakes - mean of reals) / B, pulled back through the generator.
    gap = w.T @ (np.asarray(fake, np.float64) - BATCH["image"]).reshape(4, -1).mean(0)
    cotangent = np.broadcast_to(0.5 * 2 * (w @ gap) / 4, (4, 4)).reshape(4, 2, 2, 1).astype(np.float32)
    _, pull = jax.vjp(lambda p: g.apply_fn({"params": p}, BATCH["latent"], train=True), g.params)
    expected = jax.tree.map(lambda p, s: p - 0.5 * s, g.params, pull(jnp.asarray(cotangent))[0])
    assert_same(after.generator.params, expected, 1e-6)


def test_feature_matching_refuses_a_discriminator_that_keeps_its_features_to_itself():
    with pytest.raises(
        ValueError, match=r"returns 'features'; of an example there are \['image', 'latent', 'logits'\]"
    ):
        jax.eval_shape(make_g_step(given, [feature_matching()]), tiny_gan(), BATCH)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_historical_averaging_in_numpy(player):
    state = tiny_gan()
    state = state.replace(extras=initial_extras(state.players, [historical_averaging(player)]))
    terms = {"generator": [g_loss(non_saturating)], "discriminator": [LOGISTIC]}
    plain = jax.jit(make_joint_step(given, terms["discriminator"], terms["generator"]))
    terms[player] = [*terms[player], historical_averaging(player, 0.1)]
    step = jax.jit(make_joint_step(given, terms["discriminator"], terms["generator"]))
    history, rate = [], {"generator": 0.5, "discriminator": 0.25}[player]
    for seed in range(4):
        mine = jax.tree.map(np.asarray, getattr(state, player).params)
        history.append(mine)
        mean = jax.tree.map(lambda *past: np.mean(past, axis=0), *(history[:-1] or history))
        expected = sum(np.sum((p - m) ** 2) for p, m in zip(*map(jax.tree.leaves, (mine, mean)), strict=True))
        without, _ = plain(state, tiny_batch(seed=seed))
        state, metrics = step(state, tiny_batch(seed=seed))
        np.testing.assert_allclose(metrics[f"{player}/history"], expected, rtol=1e-4, atol=1e-8)
        if player == "discriminator":  # (the generator of a joint step would be judged by another discriminator)
            drawn = jax.tree.map(
                lambda p, q, m: q - rate * 0.1 * 2 * (p - m),
                mine,
                jax.tree.map(np.asarray, without.discriminator.params),
                mean,
            )
            assert_same(state.discriminator.params, jax.tree.map(jnp.asarray, drawn), 1e-5)


def test_the_gradient_of_historical_averaging():
    state = tiny_gan()
    history = jax.tree.map(lambda p: p + 0.5, state.generator.params)
    term = historical_averaging("generator")
    view = lambda params: types.SimpleNamespace(  # noqa: E731
        params=params, step=jnp.int32(3), extras={"generator/history": history}
    )
    mean = lambda params: jnp.mean(term.function(view(params))[0])  # noqa: E731
    gradient = jax.grad(mean)(state.generator.params)
    assert_same(gradient, jax.tree.map(lambda p: jnp.full_like(p, -1.0), gradient), 1e-5)
    check_grads(mean, (state.generator.params,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_terms_that_keep_averages_need_their_place():
    for term in lecam(1.0), historical_averaging("discriminator"):
        with pytest.raises(ValueError, match="initial_extras"):
            jax.eval_shape(make_d_step(given, [LOGISTIC, Term(*term)]), tiny_gan(), BATCH)


class Convolved(nn.Module):
    """A generator with a convolution, a norm's scale and an embedding beside its dense layer."""

    @nn.compact
    def __call__(self, latent, condition=None, *, train):
        x = nn.Dense(8)(latent).reshape(-1, 2, 2, 2) + nn.Embed(3, 2)(jnp.zeros((1, 1, 1), jnp.int32))
        return jnp.tanh(nn.Conv(1, (3, 3))(nn.GroupNorm(1)(nn.Conv(5, (3, 3))(x))))


def by_hand(params):
    """‖WᵀW ⊙ (1 - I)‖² of all kernels in float64, pair by pair of outputs, and its gradient, 4 W (WᵀW ⊙ (1 - I))."""
    total, gradient = 0.0, jax.tree.map(np.zeros_like, params)
    for name, layer in params.items():
        if "kernel" in layer:
            w = np.asarray(layer["kernel"], np.float64).reshape(-1, layer["kernel"].shape[-1])
            pairs = [(i, j) for i in range(w.shape[1]) for j in range(w.shape[1]) if i != j]
            total += sum((w[:, i] @ w[:, j]) ** 2 for i, j in pairs)
            slope = np.zeros_like(w)
            for i, j in pairs:
                slope[:, i] += 4 * (w[:, i] @ w[:, j]) * w[:, j]
            gradient[name]["kernel"] = slope.reshape(layer["kernel"].shape)
    return total, gradient


def test_orthogonality_in_numpy_with_its_gradient():
    """Brock et al. 2019, equation 3; through a step of SGD, where it is added to the loss."""
    state = tiny_gan(generator=Convolved())
    params = state.generator.params
    expected, slope = by_hand(params)
    value, gradient = jax.jit(jax.value_and_grad(orthogonality))(params)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for got, want in zip(jax.tree.leaves(gradient), jax.tree.leaves(slope), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert np.any(slope["Conv_1"]["kernel"]) and not np.any(slope["Conv_0"]["kernel"]), "a single output has no pair"
    after = {}
    for name, terms in (("without", []), ("with", [orthogonal(0.01)])):
        step = jax.jit(make_g_step(given, [g_loss(non_saturating), *terms]))
        after[name], metrics = step(state, BATCH)
    np.testing.assert_allclose(metrics["generator/orthogonal"], expected, rtol=1e-5)
    moved = jax.tree.map(lambda p, s: p - 0.5 * 0.01 * s.astype(np.float32), after["without"].generator.params, slope)
    assert_same(after["with"].generator.params, moved, 1e-5)


def test_orthogonal_outputs_of_any_length_cost_nothing():
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((18, 4)))[0] * [1.0, 30.0, 0.1, 0.0]
    params = {"kernel": turned.reshape(3, 3, 2, 4).astype(np.float32), "scale": np.ones((4, 4), np.float32)}
    np.testing.assert_allclose(orthogonality(params), 0, atol=1e-9)
    check_grads(orthogonality, ({"kernel": params["kernel"] + 0.1},), order=2, modes=["rev"], atol=0.05, rtol=0.05)
    huge = orthogonality({"kernel": jnp.full((3, 3), 1e3)})
    np.testing.assert_allclose(huge, 6 * 9e12, rtol=1e-6)
    with pytest.raises(ValueError, match=r"called 'kernel' \[..., outputs\], and there are none"):
        orthogonality({"bias": jnp.zeros(3), "embedding": jnp.zeros((3, 2))})
