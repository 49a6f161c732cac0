"""Papers' additions to a GAN, composed of a sampler, terms and `prepare` on the steps as they are.

Each composition is checked against numbers computed here without the library's steps.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import LATENT, Discriminator, assert_same, differs, given, tiny_batch, tiny_gan

from jaxgan import penalties
from jaxgan.adversarial import make_d_step, make_g_step, make_joint_step
from jaxgan.losses import non_saturating, wasserstein
from jaxgan.samplers import latents, pack
from jaxgan.terms import Term
from jaxgan.terms.adversarial import d_loss, g_loss, unrolled
from jaxgan.terms.penalties import r1

BATCH = tiny_batch()
CLASSES = 3


# --- a conditional GAN with an auxiliary classifier (AC-GAN) ---


def labels_and_latents(batch, keys):
    def draw(key):
        label_key, latent_key = jax.random.split(key)
        label = jax.random.randint(label_key, (), 0, CLASSES)
        return {
            "latent": jax.random.normal(latent_key, (LATENT,)),
            "label": label,
            "condition": jax.nn.one_hot(label, CLASSES),
        }

    return jax.vmap(draw)(keys)


def _cross_entropy(example):
    log_p = jax.nn.log_softmax(example["class"])
    return -jnp.take_along_axis(log_p, example["label"].reshape(-1, 1), axis=1)


classify_both = Term("class", lambda view: _cross_entropy(view.real) + _cross_entropy(view.fake), 2.0)
classify_fake = Term("class", lambda view: _cross_entropy(view.fake), 0.5)


def keep_fakes(view):
    kept = {name: view.fake[name] for name in ("image", "label", "condition", "class", "logits")}
    return jnp.zeros(4), view.extras | {"fake": kept}


def _cross_entropy_in_numpy(logits, labels):
    logits = np.asarray(logits, np.float64)
    log_p = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
    return -np.mean([log_p[i, label] for i, label in enumerate(np.asarray(labels))])


@pytest.mark.slow
def test_an_auxiliary_classifier():
    label = jnp.asarray([0, 2, 1, 2])
    batch = BATCH | {"label": label, "condition": jax.nn.one_hot(label, CLASSES)}
    state = tiny_gan(discriminator=Discriminator(classes=CLASSES), condition=jnp.zeros((1, CLASSES)))
    one = {"image": batch["image"], "label": label, "condition": batch["condition"], "class": batch["condition"]}
    state = state.replace(extras={"fake": one | {"logits": jnp.zeros(4)}})  # of the shapes that are kept
    terms = [d_loss(non_saturating), classify_both, Term("kept", keep_fakes)]
    after, metrics = jax.jit(make_d_step(labels_and_latents, terms))(state, batch)
    fake = after.extras["fake"]

    # What was kept is what the networks make of the drawn condition.
    np.testing.assert_array_equal(fake["condition"], np.eye(CLASSES)[fake["label"]])
    d = state.discriminator
    real_said = d.apply_fn({"params": d.params}, batch["image"], batch["condition"], train=True)
    fake_said = d.apply_fn({"params": d.params}, fake["image"], fake["condition"], train=True)
    np.testing.assert_allclose(fake["class"], fake_said["class"], atol=1e-6)
    real = _cross_entropy_in_numpy(real_said["class"], label)
    drawn = _cross_entropy_in_numpy(fake_said["class"], fake["label"])
    np.testing.assert_allclose(metrics["discriminator/class"], real + drawn, atol=1e-6)
    a, b = np.asarray(real_said["logits"]), np.asarray(fake_said["logits"])
    logistic = np.mean(np.log1p(np.exp(-a)) + np.log1p(np.exp(b)))
    np.testing.assert_allclose(metrics["discriminator/loss"], logistic + 2 * (real + drawn), atol=1e-5)

    # The generator's step draws its own labels, and is judged by class as well.
    terms = [g_loss(non_saturating), classify_fake, Term("kept", keep_fakes)]
    after, metrics = jax.jit(make_g_step(labels_and_latents, terms))(state, batch)
    fake = after.extras["fake"]
    drawn = _cross_entropy_in_numpy(fake["class"], fake["label"])
    logistic = np.mean(np.log1p(np.exp(-np.asarray(fake["logits"]))))
    np.testing.assert_allclose(metrics["generator/class"], drawn, atol=1e-6)
    np.testing.assert_allclose(metrics["generator/loss"], logistic + 0.5 * drawn, atol=1e-6)


# --- packing (PacGAN) ---


def quarter_way(view):
    """Computes WGAN-GP at points that the test knows, a quarter of the way from fake to real."""

    def critic(images):
        return view.critic(images)["logits"]

    return penalties.wgan_gp(critic, view.real["image"], view.fake["image"], jnp.full(4, 0.25))


def test_a_gradient_penalty_is_per_pack():
    """D is tanh(x W + b) v + c on the pack, whose gradient by the pack x is W (v · (1 - tanh²))."""
    batch, state = tiny_batch(8), tiny_gan(channels=2)
    terms = [d_loss(wasserstein), r1(1.0), Term("wgan_gp", quarter_way)]
    _, metrics = jax.jit(make_d_step(given, terms, prepare=pack(2)))(state, batch)

    g, d = state.generator, state.discriminator
    fake = np.asarray(g.apply_fn({"params": g.params}, batch["latent"], train=True))
    real, fake = (np.concatenate([np.asarray(x)[0::2], np.asarray(x)[1::2]], axis=-1) for x in (batch["image"], fake))
    w, b, v, c = (np.asarray(d.params[i][x], np.float64) for i in ("Dense_0", "Dense_1") for x in ("kernel", "bias"))

    def logits_and_squared_norms(packs):
        hidden = np.tanh(packs.reshape(4, -1) @ w + b)
        gradient = ((1 - hidden**2) * v[:, 0]) @ w.T
        return hidden @ v[:, 0] + c, np.sum(gradient**2, axis=1)

    (real_logits, real_norms), (fake_logits, _) = logits_and_squared_norms(real), logits_and_squared_norms(fake)
    np.testing.assert_allclose(metrics["discriminator/adversarial"], np.mean(fake_logits - real_logits), atol=1e-6)
    np.testing.assert_allclose(metrics["discriminator/r1"], np.mean(real_norms), rtol=1e-5)
    _, norms = logits_and_squared_norms(0.25 * real + 0.75 * fake)
    np.testing.assert_allclose(metrics["discriminator/wgan_gp"], np.mean((np.sqrt(norms) - 1) ** 2), rtol=1e-5)


# --- an unrolled discriminator step ---


AHEAD = make_d_step(given, [d_loss(non_saturating)])


def stopped_ahead(state, batch):
    """Makes a step of D through which no gradient flows."""
    return AHEAD(jax.lax.stop_gradient(state), batch)


@pytest.mark.slow
def test_the_generators_gradient_flows_through_an_unrolled_d_step():
    state = tiny_gan()
    after, metrics = jax.jit(make_g_step(given, [unrolled(non_saturating, AHEAD, 1)]))(state, BATCH)
    stopped, _ = jax.jit(make_g_step(given, [unrolled(non_saturating, stopped_ahead, 1)]))(state, BATCH)
    terms = [d_loss(non_saturating)], [unrolled(non_saturating, AHEAD, 1)]
    joint, _ = jax.jit(make_joint_step(given, *terms, simultaneous=True))(state, BATCH)
    g, d = state.generator, state.discriminator

    def loss(params, stop):
        fake = g.apply_fn({"params": params}, BATCH["latent"], train=True)
        used = jax.lax.stop_gradient(fake) if stop else fake

        def logistic(d_params):
            real, fake = (d.apply_fn({"params": d_params}, x, train=True)["logits"] for x in (BATCH["image"], used))
            return jnp.mean(jnp.log1p(jnp.exp(-real)) + jnp.log1p(jnp.exp(fake)))

        ahead = jax.tree.map(lambda p, step: p - 0.25 * step, d.params, jax.grad(logistic)(d.params))
        return jnp.mean(jnp.log1p(jnp.exp(-d.apply_fn({"params": ahead}, fake, train=True)["logits"])))

    by_hand = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    for result, stop in (after, False), (stopped, True), (joint, False):
        value, gradient = by_hand(g.params, stop)
        expected = jax.tree.map(lambda p, step: p - 0.5 * step, g.params, gradient)
        assert_same(result.generator.params, expected, 1e-6)
        np.testing.assert_allclose(metrics["generator/adversarial"], value, atol=1e-6)
    gap = jax.tree.map(lambda a, b: np.max(np.abs(a - b)), after.generator.params, stopped.generator.params)
    assert max(jax.tree.leaves(gap)) > 1e-4  # far above the tolerance: the two are told apart
    assert_same(after.discriminator, d)  # looking ahead is not going there
    assert differs(after.generator.params, g.params)


@pytest.mark.slow
def test_three_unrolled_steps_are_one_after_the_other():
    """Against the discriminator after three calls of its step; the gradient by differences."""
    state = tiny_gan()
    sampler = latents(LATENT)
    d_step = make_d_step(sampler, [d_loss(non_saturating)])
    g_step = jax.jit(make_g_step(given, [unrolled(non_saturating, d_step, 3)]))
    after, metrics = g_step(state, BATCH)

    @jax.jit
    def loss(params):
        ahead = state.replace(generator=state.generator.replace(params=params))
        for _ in range(3):
            ahead, _ = d_step(ahead, BATCH)
        d = ahead.discriminator
        fake = state.generator.apply_fn({"params": params}, BATCH["latent"], train=True)
        return jnp.mean(jnp.log1p(jnp.exp(-d.apply_fn({"params": d.params}, fake, train=True)["logits"])))

    params = state.generator.params
    np.testing.assert_allclose(metrics["generator/adversarial"], loss(params), atol=1e-6)
    direction = jax.tree.map(lambda a, b: (b - a) / 0.5, after.generator.params, params)  # the gradient that was used
    h = 1e-2 / float(optax.tree.norm(direction))
    up, down = (loss(jax.tree.map(lambda p, s, sign=sign: p + sign * h * s, params, direction)) for sign in (1, -1))
    np.testing.assert_allclose((up - down) / (2 * h), float(optax.tree.norm(direction)) ** 2, rtol=2e-3)
    with pytest.raises(ValueError, match="at least 1 unrolled step, got 0"):
        unrolled(non_saturating, AHEAD, 0)
