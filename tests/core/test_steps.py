"""The steps: which parts of the state change, and by how much.

The expected numbers are computed here with plain `jax.grad` of a loss written out by hand.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import Discriminator, Generator, adam, assert_same, differs, given, tiny_batch, tiny_gan

from jaxgan.adversarial import make_d_step, make_g_step, make_joint_step
from jaxgan.iteration import iteration, repeat
from jaxgan.losses import non_saturating
from jaxgan.terms import Term, every
from jaxgan.terms.adversarial import d_loss, g_loss
from jaxgan.terms.penalties import r1, wgan_gp

D_TERMS, G_TERMS = [d_loss(non_saturating)], [g_loss(non_saturating)]
D_STEP, G_STEP = jax.jit(make_d_step(given, D_TERMS)), jax.jit(make_g_step(given, G_TERMS))
JOINT = make_joint_step(given, D_TERMS, G_TERMS)
BATCH = tiny_batch()


def normalised(tx=None):
    """Returns a GAN whose players both have batch normalisation."""
    return tiny_gan(generator=Generator(batch_norm=True), discriminator=Discriminator(batch_norm=True), tx=tx)


@jax.jit
def d_by_hand(state, batch, gamma=0.0):
    """Returns (loss, gradient) of the discriminator's logistic loss and gamma times R1."""
    g, d = state.generator, state.discriminator
    fake = g.apply_fn({"params": g.params}, batch["latent"], train=True)

    def loss(params):
        def logits(images):
            return d.apply_fn({"params": params}, images, train=True)["logits"]

        slopes = jax.vmap(jax.grad(lambda image: logits(image[None])[0]))(batch["image"])
        logistic = jnp.log1p(jnp.exp(-logits(batch["image"]))) + jnp.log1p(jnp.exp(logits(fake)))
        return jnp.mean(logistic) + gamma * jnp.mean(jnp.sum(slopes**2, axis=(1, 2, 3)))

    return jax.value_and_grad(loss)(d.params)


@jax.jit
def g_by_hand(state, batch):
    """Returns (loss, gradient) of the generator's non-saturating loss."""
    g, d = state.generator, state.discriminator

    def loss(params):
        fake = g.apply_fn({"params": params}, batch["latent"], train=True)
        logits = d.apply_fn({"params": d.params}, fake, train=True)["logits"]
        return jnp.mean(jnp.log1p(jnp.exp(-logits)))

    return jax.value_and_grad(loss)(g.params)


def moved(params, gradient, rate):
    return jax.tree.map(lambda p, g: p - rate * g, params, gradient)


# --- who changes ---


def test_the_d_step_changes_the_discriminator_and_nothing_else():
    state = normalised(adam())
    after, _ = D_STEP(state, BATCH)
    assert_same(after.replace(discriminator=state.discriminator), state)
    assert differs(after.discriminator.params, state.discriminator.params)
    assert after.discriminator.step == 1


def test_the_g_step_changes_the_generator_and_nothing_else():
    state = normalised(adam())
    after, _ = G_STEP(state, BATCH)
    assert_same(after.replace(generator=state.generator), state)
    assert differs(after.generator.params, state.generator.params)
    assert differs(after.generator.variables, state.generator.variables)
    assert after.generator.step == 1


def test_only_the_iteration_advances_step_and_average_and_players_count_their_own():
    state = tiny_gan()
    joint, _ = jax.jit(JOINT)(state, BATCH)
    assert joint.step == 0
    assert_same(joint.ema, state.ema)
    after, _ = jax.jit(iteration(repeat(D_STEP, 3), G_STEP))(state, tiny_batch(12))
    assert (after.step, after.discriminator.step, after.generator.step) == (1, 3, 1)
    assert differs(after.ema, state.ema)


# --- by how much ---


@pytest.mark.parametrize("weight", [0.7, "gamma"])
def test_the_discriminators_update_by_hand(weight):
    state = tiny_gan()
    after, metrics = jax.jit(make_d_step(given, [*D_TERMS, r1(weight)]))(state, BATCH)
    loss, gradient = d_by_hand(state, BATCH, 0.7)
    assert_same(after.discriminator.params, moved(state.discriminator.params, gradient, 0.25), 1e-6)
    np.testing.assert_allclose(metrics["discriminator/loss"], loss, atol=1e-6)
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(metrics["discriminator/gradient_norm"], norm, rtol=1e-5)
    weighted = metrics["discriminator/adversarial"] + 0.7 * metrics["discriminator/r1"]
    np.testing.assert_allclose(weighted, loss, atol=1e-6)


def test_the_generators_update_by_hand():
    state = tiny_gan()
    after, metrics = G_STEP(state, BATCH)
    loss, gradient = g_by_hand(state, BATCH)
    assert_same(after.generator.params, moved(state.generator.params, gradient, 0.5), 1e-6)
    np.testing.assert_allclose(metrics["generator/loss"], loss, atol=1e-6)


def test_the_schedule_counts_the_images_of_its_player():
    factor = {"schedule": lambda images: 1 / (1 + images)}
    state = tiny_gan()
    d_step, g_step = jax.jit(make_d_step(given, D_TERMS, **factor)), jax.jit(make_g_step(given, G_TERMS, **factor))
    one, _ = d_step(state, BATCH)
    two, _ = d_step(one, BATCH)
    for before, after, updates in (state, one, 0), (one, two, 4):
        expected = moved(before.discriminator.params, d_by_hand(before, BATCH)[1], 0.25 / (1 + updates))
        assert_same(after.discriminator.params, expected, 1e-6)
    three, _ = g_step(two, BATCH)
    assert_same(three.generator.params, moved(two.generator.params, g_by_hand(two, BATCH)[1], 0.5), 1e-6)


def test_batch_norm_sees_the_real_and_then_the_fake_pass():
    state = normalised()
    g, d = state.generator, state.discriminator
    after, _ = D_STEP(state, BATCH)
    fake, _ = g.apply_fn({"params": g.params, **g.variables}, BATCH["latent"], train=True, mutable=["batch_stats"])
    variables = d.variables
    for images in BATCH["image"], fake:
        _, variables = d.apply_fn({"params": d.params, **variables}, images, train=True, mutable=["batch_stats"])
    assert_same(after.discriminator.variables, dict(variables), 1e-6)


def test_the_power_iteration_turns_once_in_a_d_step_and_never_elsewhere():
    state = tiny_gan(discriminator=Discriminator(turns=True))
    d_step = jax.jit(make_d_step(given, [*D_TERMS, r1(1.0), wgan_gp(1.0)]))
    counts = []
    for step in d_step, G_STEP, d_step, jax.jit(JOINT):
        state, _ = step(state, BATCH)
        counts.append(int(jax.tree.leaves(state.discriminator.variables["spectral"])[0]))
    assert counts == [1, 1, 2, 3]


def test_a_penalty_sees_the_discriminator_as_the_real_pass_left_it():
    state = tiny_gan(discriminator=Discriminator(turns=True))
    after, metrics = jax.jit(make_d_step(given, [r1(1.0)]))(state, BATCH)
    variables = {"params": state.discriminator.params, **after.discriminator.variables}

    def logit(image):
        return state.discriminator.apply_fn(variables, image[None], train=True)["logits"][0]

    slopes = jax.jit(jax.vmap(jax.grad(logit)))(BATCH["image"])
    np.testing.assert_allclose(metrics["discriminator/r1"], np.sum(slopes**2) / 4, rtol=1e-5)


def test_the_discriminator_is_a_fixed_function_in_the_g_step():
    state, _ = D_STEP(tiny_gan(discriminator=Discriminator(turns=True)), BATCH)
    g, d = state.generator, state.discriminator
    fake = g.apply_fn({"params": g.params}, BATCH["latent"], train=True)
    logits = d.apply_fn({"params": d.params, **d.variables}, fake, train=True)["logits"]
    _, metrics = G_STEP(state, BATCH)
    np.testing.assert_allclose(metrics["generator/fake_logits"], np.mean(logits), atol=1e-6)


def test_every_is_n_times_as_strong_and_zero_in_between():
    step = jax.jit(make_d_step(given, [*D_TERMS, every(r1("gamma"), 3)]))
    state, values = tiny_gan(), []
    for i in range(4):
        before = state
        state, metrics = step(state, BATCH)
        values.append(float(metrics["discriminator/r1"]))
        _, gradient = d_by_hand(before, BATCH, 0.0 if i % 3 else 3 * 0.7)
        assert_same(state.discriminator.params, moved(before.discriminator.params, gradient, 0.25), 1e-6)
    assert values[1:3] == [0, 0]
    assert min(values[0], values[3]) > 0


def test_every_is_lazy_also_over_seeds_whose_counters_are_one():
    step, state = make_d_step(given, [*D_TERMS, every(r1(1.0), 16)]), tiny_gan()
    assert "cond[" in str(jax.make_jaxpr(step)(state, BATCH))
    seeds = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    seeds = seeds.replace(discriminator=seeds.discriminator.replace(step=state.discriminator.step))
    axes = jax.tree.map(lambda _: 0, state)
    axes = axes.replace(discriminator=axes.discriminator.replace(step=None))
    assert "cond[" in str(jax.make_jaxpr(jax.vmap(step, in_axes=(axes, None)))(seeds, BATCH))


# --- steps made of steps ---


@pytest.mark.slow
@pytest.mark.parametrize("tx", [optax.identity(), adam(eps=1e-3)], ids=["sgd", "adam"])
def test_the_joint_step_is_the_d_step_and_then_the_g_step(tx):
    joint, halves = normalised(tx), normalised(tx)
    for seed in range(2):
        batch = tiny_batch(seed=seed)
        joint, metrics = jax.jit(JOINT)(joint, batch)
        halves, d_metrics = D_STEP(halves, batch)
        halves, g_metrics = G_STEP(halves, batch)
    assert_same(jax.tree.leaves(joint), jax.tree.leaves(halves), 1e-5)
    assert_same(metrics, d_metrics | g_metrics, 1e-5)


def test_the_joint_step_has_the_gradient_of_a_term_on_the_parameters():
    def weight_decay(view):
        return jnp.full(4, sum(jnp.sum(p**2) for p in jax.tree.leaves(view.params))) + jnp.mean(view.fake["image"])

    terms = [*G_TERMS, Term("decay", weight_decay, 0.3)]
    joint, _ = jax.jit(make_joint_step(given, D_TERMS, terms, simultaneous=True))(tiny_gan(), BATCH)
    alone, _ = jax.jit(make_g_step(given, terms))(tiny_gan(), BATCH)
    assert_same(joint.generator.params, alone.generator.params, 1e-6)


def test_the_simultaneous_step_judges_by_the_old_discriminator():
    state = normalised()
    after, _ = jax.jit(make_joint_step(given, D_TERMS, G_TERMS, simultaneous=True))(state, BATCH)
    assert_same(after.generator, G_STEP(state, BATCH)[0].generator, 1e-6)
    assert_same(after.discriminator, D_STEP(state, BATCH)[0].discriminator, 1e-6)
    assert differs(after.generator.params, jax.jit(JOINT)(state, BATCH)[0].generator.params)


def test_repeat_is_single_steps_on_every_third_example_and_g_sees_the_last():
    state, batch = normalised(), tiny_batch(12)
    after, metrics = jax.jit(iteration(repeat(D_STEP, 3), G_STEP))(state, batch)
    losses, single = [], state
    for i in range(3):
        part = jax.tree.map(lambda x, i=i: x[i::3], batch)
        single, part_metrics = D_STEP(single, part)
        losses.append(part_metrics["discriminator/loss"])
    single, _ = G_STEP(single, part)
    assert_same(after.discriminator, single.discriminator, 1e-5)
    assert_same(after.generator, single.generator, 1e-5)
    np.testing.assert_allclose(metrics["discriminator/loss"], np.mean(losses), atol=1e-6)


def test_repeat_refuses_a_batch_it_cannot_divide():
    with pytest.raises(ValueError, match="expected n·B examples for 3 parts, got 4"):
        iteration(repeat(D_STEP, 3), G_STEP)(tiny_gan(), BATCH)
    with pytest.raises(ValueError, match="at least 1 repetition, got 0"):
        repeat(D_STEP, 0)


def test_a_step_of_fewer_repetitions_takes_the_last_parts():
    step = iteration(repeat(G_STEP, 2), repeat(D_STEP, 3))
    state, batch = tiny_gan(), tiny_batch(12)
    after, _ = jax.jit(step)(state, batch)
    for i in 1, 2:
        state, _ = G_STEP(state, jax.tree.map(lambda x, i=i: x[i::3], batch))
    assert_same(after.generator.params, state.generator.params, 1e-5)


@pytest.mark.parametrize("half_life", [20.0, 0.0])
@pytest.mark.parametrize("start", [0, 20, 1000])
def test_the_average_in_closed_form(start, half_life):
    """8 images an iteration, the generator's 4 count. From step 20 the ramp holds, from 1000 the half-life."""
    state = tiny_gan(generator=Generator(batch_norm=True), hyper={"ema_half_life": half_life})
    average = state.ema["generator"]
    zeros = jax.tree.map(jnp.zeros_like, average["params"])
    state = state.replace(step=jnp.asarray(start, jnp.int32), ema={"generator": average | {"params": zeros}})
    step = jax.jit(iteration(repeat(D_STEP, 2), G_STEP))
    expected = jax.tree.map(np.asarray, zeros)
    for i in range(1, 4):
        state, _ = step(state, tiny_batch(8))
        effective = min(half_life, 0.05 * 4 * (start + i))
        keep = 0.5 ** (4 / effective) if effective else 0.0
        new = jax.tree.map(np.asarray, state.generator.params)
        expected = jax.tree.map(lambda a, p, keep=keep: np.float32(keep * a + (1 - keep) * p), expected, new)
    assert_same(state.ema["generator"]["params"], expected, 1e-6)
    assert_same(state.ema["generator"]["batch_stats"], state.generator.variables["batch_stats"])
