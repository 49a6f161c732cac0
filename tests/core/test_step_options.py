"""Options of a step besides its terms: projection, one pass for real and fake, augmentation, accumulation; and
lookahead around an iteration."""

import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import LATENT, Discriminator, Generator, adam, assert_same, differs, given, tiny_batch, tiny_gan

from jaxgan.adversarial import make_d_step, make_g_step, make_joint_step
from jaxgan.augment import noise
from jaxgan.iteration import iteration
from jaxgan.joint import joint
from jaxgan.lookahead import lookahead, lookahead_start
from jaxgan.losses import non_saturating
from jaxgan.penalties import clip_weights
from jaxgan.samplers import latents
from jaxgan.terms import Term
from jaxgan.terms.adversarial import d_loss, g_loss
from jaxgan.terms.penalties import r1, wgan_gp

D_TERMS, G_TERMS = [d_loss(non_saturating)], [g_loss(non_saturating)]
D_STEP = jax.jit(make_d_step(given, D_TERMS))
JOINT = make_joint_step(given, D_TERMS, G_TERMS)
BATCH = tiny_batch()


def normalised():
    """Returns a GAN whose players both have batch normalisation."""
    return tiny_gan(generator=Generator(batch_norm=True), discriminator=Discriminator(batch_norm=True))


def test_the_projection_holds_the_discriminator_and_leaves_the_generator():
    state = tiny_gan()
    step = jax.jit(make_joint_step(given, D_TERMS, G_TERMS, project=clip_weights(0.1)))
    free, _ = jax.jit(JOINT)(state, BATCH)
    after, _ = step(state, BATCH)
    assert_same(after.discriminator.params, jax.tree.map(lambda x: jnp.clip(x, -0.1, 0.1), free.discriminator.params))
    assert max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(after.generator.params)) > 0.1
    for seed in range(1, 4):
        after, _ = step(after, tiny_batch(seed=seed))
        assert max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(after.discriminator.params)) <= np.float32(0.1)


class Spectral(nn.Module):
    """A discriminator with flax's own spectral normalisation, which keeps its vectors in `batch_stats`."""

    @nn.compact
    def __call__(self, image, condition=None, *, train):
        x = jnp.tanh(nn.SpectralNorm(nn.Dense(8))(image.reshape(len(image), -1), update_stats=train))
        return {"logits": nn.Dense(1)(x).reshape(-1)}


class Both(nn.Module):
    """A discriminator with flax's own spectral and batch normalisation, whose numbers are in one collection."""

    @nn.compact
    def __call__(self, image, condition=None, *, train):
        x = nn.SpectralNorm(nn.Dense(8))(image.reshape(len(image), -1), update_stats=train)
        return {"logits": nn.Dense(1)(jnp.tanh(nn.BatchNorm(use_running_average=not train)(x))).reshape(-1)}


@pytest.mark.parametrize("discriminator", [Discriminator(turns=True), Spectral()])
def test_clipping_refuses_spectral_normalisation(discriminator):
    state = tiny_gan(discriminator=discriminator)
    with pytest.raises(ValueError, match="leave out one of the two"):
        jax.eval_shape(make_d_step(given, D_TERMS, project=clip_weights()), state, BATCH)


def test_spectral_normalisation_is_not_taken_for_batch_normalisation():
    """It allows a gradient penalty and a cut batch; a network with both counts as one with batch normalisation."""
    state = tiny_gan(discriminator=Spectral())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(make_d_step(given, [*D_TERMS, wgan_gp()], accumulate=2), state, BATCH)
    assert (state.discriminator.across, state.discriminator.once) == ((), ("spectral",))
    both = tiny_gan(discriminator=Both()).discriminator
    assert (both.across, both.once) == (("batch normalisation",), ("spectral",))
    plain = tiny_gan().discriminator
    assert (plain.across, plain.once) == ((), ())


def test_together_batch_norm_sees_real_and_fake_at_once():
    state = normalised()
    g, d = state.generator, state.discriminator
    fake, _ = g.apply_fn({"params": g.params, **g.variables}, BATCH["latent"], train=True, mutable=["batch_stats"])
    both = jnp.concatenate([BATCH["image"], fake])

    @jax.jit
    def by_hand(params):
        outputs, kept = d.apply_fn({"params": params, **d.variables}, both, train=True, mutable=["batch_stats"])
        real, fake = outputs["logits"][:4], outputs["logits"][4:]
        return jnp.mean(jnp.log1p(jnp.exp(-real)) + jnp.log1p(jnp.exp(fake))), kept

    (loss, kept), gradient = jax.value_and_grad(by_hand, has_aux=True)(d.params)
    after, metrics = jax.jit(make_d_step(given, D_TERMS, together=True))(state, BATCH)
    assert_same(after.discriminator.params, jax.tree.map(lambda p, g: p - 0.25 * g, d.params, gradient), 1e-6)
    assert_same(after.discriminator.variables, dict(kept), 1e-6)
    np.testing.assert_allclose(metrics["discriminator/loss"], loss, atol=1e-6)
    apart, _ = D_STEP(state, BATCH)
    assert differs(apart.discriminator.params, after.discriminator.params)
    turning = tiny_gan(discriminator=Discriminator(turns=True))
    turned, _ = jax.jit(make_d_step(given, D_TERMS, together=True))(turning, BATCH)
    assert jax.tree.leaves(turned.discriminator.variables["spectral"])[0] == 1


@pytest.mark.slow
def test_together_is_apart_where_examples_are_judged_by_themselves():
    state = tiny_gan()
    options = {"together": True, "augment": noisy}
    for make, terms in (make_d_step, [*D_TERMS, r1(0.5)]), (make_g_step, G_TERMS):
        after, metrics = jax.jit(make(given, terms, **options))(state, BATCH)
        expected, expected_metrics = jax.jit(make(given, terms, augment=noisy))(state, BATCH)
        assert_same(after, expected, 1e-6)
        assert_same(metrics, expected_metrics, 1e-6)


def noisy(example, keys, state):
    """Adds noise whose strength is D's count of updates plus one."""
    return {**example, "image": noise(example["image"], keys, 1.0 + state.discriminator.step.astype(jnp.float32))}


@pytest.mark.slow
def test_the_augmentation_sees_the_state():
    state = tiny_gan()
    later = state.replace(discriminator=state.discriminator.replace(step=jnp.asarray(3, jnp.int32)))
    for s, strength in (state, 1.0), (later, 4.0):
        fixed = lambda e, keys, _, strength=strength: {**e, "image": noise(e["image"], keys, strength)}  # noqa: E731
        _, expected = jax.jit(make_d_step(given, D_TERMS, augment=fixed))(s, BATCH)
        _, metrics = jax.jit(make_d_step(given, D_TERMS, augment=noisy))(s, BATCH)
        assert_same(metrics, expected, 1e-6)
        assert metrics["discriminator/loss"] != D_STEP(s, BATCH)[1]["discriminator/loss"]


# --- accumulation ---


class Unfair(nn.Module):
    """A generator that draws noise inside."""

    @nn.compact
    def __call__(self, latent, condition=None, *, train):
        return Generator()(latent + jax.random.normal(self.make_rng("noise"), latent.shape), train=train)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize(
    "tx",
    [pytest.param(optax.identity(), id="sgd"), pytest.param(adam(eps=1e-4), id="adam")],
)
def test_accumulation_is_one_batch(parts, tx):
    """The draws of each example are the same too: WGAN-GP's mix, the augmentation's noise, the latents."""
    state, batch = tiny_gan(tx=tx), tiny_batch(8)
    sampler = latents(LATENT)
    for make, terms in (make_d_step, [*D_TERMS, r1(0.3), wgan_gp(0.5)]), (make_g_step, G_TERMS):
        whole, expected_metrics = jax.jit(make(sampler, terms, augment=noisy))(state, batch)
        after, metrics = jax.jit(make(sampler, terms, augment=noisy, accumulate=parts))(state, batch)
        assert_same(after, whole, 1e-6)
        assert_same(metrics, expected_metrics, 1e-6)


def test_accumulation_schedules_by_the_whole_batch():
    options = {"schedule": lambda images: 1 / (1 + images)}
    state = tiny_gan()
    step = jax.jit(make_d_step(given, D_TERMS, accumulate=2, **options))
    whole = jax.jit(make_d_step(given, D_TERMS, **options))
    for _ in range(2):
        accumulated, _ = step(state, BATCH)
        state, _ = whole(state, BATCH)
        assert_same(accumulated.discriminator.params, state.discriminator.params, 1e-6)


def test_accumulation_with_batch_norm_warns_and_sees_the_parts():
    state, batch = normalised(), tiny_batch(8)
    with pytest.warns(UserWarning, match="each of the 2 parts"):
        after, _ = jax.jit(make_d_step(given, D_TERMS, accumulate=2))(state, batch)
    single = state
    for i in range(2):
        single, _ = D_STEP(single, jax.tree.map(lambda x, i=i: x[i::2], batch))
        single = single.replace(discriminator=single.discriminator.replace(params=state.discriminator.params))
    assert_same(after.discriminator.variables, single.discriminator.variables, 1e-5)
    assert after.discriminator.step == 1


def test_parts_draw_differently_inside_networks():
    state, batch = tiny_gan(generator=Unfair()), tiny_batch(2)
    twice = jax.tree.map(lambda x: jnp.concatenate([x[:1], x[:1]]), batch)
    kept = Term("kept", lambda view: (jnp.zeros(1), {"images": view.extras["images"] + view.fake["image"]}))
    state = state.replace(extras={"images": jnp.zeros((1, 2, 2, 1))})
    after, _ = jax.jit(make_d_step(given, [kept], accumulate=2))(state, twice)
    one, _ = jax.jit(make_d_step(given, [kept]))(state, jax.tree.map(lambda x: x[:1], twice))
    assert differs(after.extras["images"], one.extras["images"])


def test_what_cannot_be_accumulated_is_refused():
    with pytest.raises(ValueError, match="joint step can't accumulate over 2 parts"):
        joint(make_d_step(given, D_TERMS, accumulate=2), make_g_step(given, G_TERMS))
    with pytest.raises(TypeError, match=r"make_joint_step\(\) got an unexpected keyword argument 'accumulate'"):
        make_joint_step(given, D_TERMS, G_TERMS, accumulate=2)
    with pytest.raises(ValueError, match="for 3 parts, got 4"):
        make_d_step(given, D_TERMS, accumulate=3)(tiny_gan(), BATCH)


# --- lookahead ---


def test_lookahead_in_numpy():
    state = lookahead_start(tiny_gan())
    step = jax.jit(lookahead(iteration(JOINT), 2, 0.25))
    plain = jax.jit(iteration(JOINT))
    slow = {p: jax.tree.map(np.asarray, getattr(state, p).params) for p in ("generator", "discriminator")}
    for i in range(1, 6):
        expected, _ = plain(state, tiny_batch(seed=i))
        state, _ = step(state, tiny_batch(seed=i))
        for player in slow:
            fast = jax.tree.map(np.asarray, getattr(expected, player).params)
            if i % 2 == 0:
                slow[player] = fast = jax.tree.map(lambda s, f: s + np.float32(0.25) * (f - s), slow[player], fast)
            assert_same(getattr(state, player).params, jax.tree.map(jnp.asarray, fast), 1e-6)
        assert_same(state.extras["lookahead"], jax.tree.map(jnp.asarray, slow), 1e-6)
        assert_same(state.ema, expected.ema)


def test_lookahead_stays_in_the_range_that_weights_are_clipped_to():
    clip = clip_weights(0.1)
    state = lookahead_start(tiny_gan(), {"discriminator": clip})
    step = jax.jit(lookahead(iteration(make_joint_step(given, D_TERMS, G_TERMS, project=clip)), 2, 0.25))
    for seed in range(4):
        state, _ = step(state, tiny_batch(seed=seed))
        weights = (state.discriminator.params, state.extras["lookahead"]["discriminator"])
        assert max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(weights)) <= np.float32(0.1)
    assert max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(state.generator.params)) > 0.1


def test_lookahead_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="begin with lookahead_start"):
        lookahead(iteration(JOINT), 2)(tiny_gan(), BATCH)
    for every_n, alpha in [(0, 0.5), (2, 0.0), (2, 1.5)]:
        with pytest.raises(ValueError, match="expected every ≥ 1 and alpha in"):
            lookahead(iteration(JOINT), every_n, alpha)
