"""The draws of a step, its purity, and its errors."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import HYPER, LATENT, Discriminator, Generator, adam, assert_same, given, tiny_batch, tiny_gan

from jaxgan.adversarial import make_d_step, make_g_step, make_joint_step
from jaxgan.iteration import Step, iteration, repeat
from jaxgan.losses import non_saturating
from jaxgan.samplers import latents
from jaxgan.state import GANState
from jaxgan.terms import Term
from jaxgan.terms.adversarial import d_loss, g_loss
from jaxgan.terms.penalties import r1

BATCH = tiny_batch()
D_TERMS, G_TERMS = [d_loss(non_saturating)], [g_loss(non_saturating)]


# --- draws ---


def draws(make, state, size=4):
    """Returns the draws of one step: (latents, a term's number, its number for each example, another term's number)."""

    def kept(name):
        def function(view):
            drawn = (view.fake["latent"], jax.random.uniform(view.key), jax.vmap(jax.random.uniform)(view.keys))
            return jnp.zeros(size), view.extras | {name: drawn}

        return Term(name, function)

    start = jnp.zeros((size, LATENT)), jnp.zeros(()), jnp.zeros(size)
    state = state.replace(extras={"one": start, "two": start})
    after, _ = jax.jit(make(latents(LATENT), [kept("one"), kept("two")]))(state, tiny_batch(size))
    one, two = after.extras["one"], after.extras["two"]
    return [np.asarray(x) for x in (*one, two[1], two[2])]


@pytest.mark.slow
def test_draws_are_a_function_of_key_role_and_update():
    state = tiny_gan()
    once = draws(make_d_step, state)
    assert_same(draws(make_d_step, state), once)
    others = {
        "role": draws(make_g_step, state),
        "update": draws(make_d_step, state.replace(discriminator=state.discriminator.replace(step=jnp.asarray(1)))),
        "key": draws(make_d_step, state.replace(key=jax.random.key(1))),
    }
    for name, other in others.items():
        assert all(np.all(a != b) for a, b in zip(once, other, strict=True)), name
    # The other player's updates and the iterations done are none of this player's business.
    elsewhere = state.replace(step=jnp.asarray(9), generator=state.generator.replace(step=jnp.asarray(9)))
    assert_same(draws(make_d_step, elsewhere), once)


def test_every_example_and_every_term_has_its_own_key():
    latent, one, one_each, two, two_each = draws(make_d_step, tiny_gan())
    every_number = np.concatenate([one_each, two_each, [one, two], latent.reshape(-1)])
    assert len(np.unique(every_number)) == len(every_number)


def test_an_examples_draw_does_not_depend_on_the_batch_size():
    few, many = draws(make_d_step, tiny_gan(), 4), draws(make_d_step, tiny_gan(), 8)
    for index in 0, 2, 4:
        # Not bit for bit: a normal's last bit depends on how XLA vectorises the inverse error function.
        np.testing.assert_allclose(few[index], many[index][:4], rtol=1e-6)


# --- purity and errors ---


def global_generators():
    return random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002 (that it is left alone)


def normalised(tx=None):
    return tiny_gan(generator=Generator(batch_norm=True), discriminator=Discriminator(batch_norm=True), tx=tx)


def test_a_step_leaves_its_input_and_the_global_generators_alone():
    step, state = iteration(make_joint_step(latents(LATENT), D_TERMS, G_TERMS)), normalised()
    copy = jax.tree.map(lambda x: np.array(jax.random.key_data(x) if x is state.key else x), state)
    before = global_generators()
    jax.eval_shape(step, state, BATCH)
    jax.jit(step)(state, BATCH)
    assert global_generators() == before
    assert_same(state.replace(key=jax.random.key_data(state.key)), copy)


def test_a_donated_state_survives_its_own_program():
    step, state = iteration(make_joint_step(latents(LATENT), D_TERMS, G_TERMS)), normalised(adam())
    expected = jax.jit(step)(*jax.jit(step)(state, BATCH)[:1], BATCH)
    # The state as it was created: none of its buffers may serve two of its leaves.
    donating = jax.jit(step, donate_argnums=0)
    assert_same(donating(donating(state, BATCH)[0], BATCH), expected, 1e-6)
    assert state.ema["generator"]["params"]["Dense_0"]["kernel"].is_deleted()


def test_an_unknown_weight_is_named():
    step = make_d_step(given, [d_loss(non_saturating), r1("gama")])
    with pytest.raises(ValueError, match=r"term 'r1' has weight 'gama', which hyper lacks; it has .*'gamma'"):
        step(tiny_gan(), BATCH)


@pytest.mark.parametrize("name", ["generator/learning_rate", "discriminator/learning_rate", "ema_half_life"])
def test_a_state_without_a_needed_number_is_refused(name):
    state, rest = tiny_gan(), {key: value for key, value in HYPER.items() if key != name}
    with pytest.raises(ValueError, match=name):
        GANState.create(state.key, state.generator, state.discriminator, hyper=rest)


def test_a_gradient_penalty_refuses_a_critic_with_batch_norm():
    step = make_d_step(given, [r1(1.0)])
    with pytest.raises(ValueError, match="norm=None"):
        step(tiny_gan(discriminator=Discriminator(batch_norm=True)), BATCH)


def test_steps_for_different_axes_make_no_iteration():
    d_step, g_step = make_d_step(given, D_TERMS, axis_name="data"), make_g_step(given, G_TERMS)
    for other in g_step, repeat(g_step, 2), lambda state, batch: (state, {}):
        with pytest.raises(ValueError, match=r"different axis_name \('data', None\); give all of them the same one"):
            iteration(d_step, other)


def test_steps_know_their_axis_and_how_many_batches_they_take():
    d_step, g_step = make_d_step(given, D_TERMS, axis_name="data"), make_g_step(given, G_TERMS, axis_name="data")
    own = Step(lambda state, batch: (state, {}), "data")
    whole = iteration(repeat(repeat(d_step, 2), 3), g_step, own)
    assert [(step.axis_name, step.repeats) for step in (d_step, repeat(d_step, 2), whole)] == [
        ("data", 1),
        ("data", 2),
        ("data", 6),
    ]
    assert make_joint_step(given, D_TERMS, G_TERMS).axis_name is None


def test_a_function_is_a_step():
    batches = []

    def look(state, batch):
        batches.append(batch["image"][:, 0, 0, 0])
        return state, {"mine": jnp.ones(())}

    batch = tiny_batch(8)
    _, metrics = iteration(repeat(make_d_step(given, D_TERMS), 2), look)(tiny_gan(), batch)
    assert metrics["mine"] == 1 and "discriminator/loss" in metrics
    np.testing.assert_array_equal(batches, [batch["image"][1::2, 0, 0, 0]])


@pytest.mark.parametrize("terms", [D_TERMS[0], [non_saturating], [d_loss]], ids=["a term", "a loss", "a function"])
def test_what_is_no_list_of_terms_is_refused(terms):
    with pytest.raises(ValueError, match="expected a list of terms, such as"):
        make_d_step(given, terms)


def test_a_batch_has_floats_of_the_field():
    step = make_d_step(given, D_TERMS)
    batch = {"latent": BATCH["latent"], "images": BATCH["image"]}
    with pytest.raises(ValueError, match=r"a dict of arrays with 'image' .*, got \['images', 'latent'\]"):
        jax.eval_shape(step, tiny_gan(), batch)
    with pytest.raises(ValueError, match=r"images in \[-1, 1\], got uint8"):
        jax.eval_shape(step, tiny_gan(), BATCH | {"image": BATCH["image"].astype(jnp.uint8)})
    with pytest.raises(ValueError, match=r"got an array \(4, 2, 2, 1\)"):
        jax.eval_shape(make_d_step(latents(LATENT), D_TERMS), tiny_gan(), BATCH["image"])
