"""Losses, terms and layers that look across the examples of a batch declare it, and cutting a batch warns."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same, given, tiny_batch, tiny_gan

from jaxgan import augment, losses, terms
from jaxgan.adversarial import make_d_step, make_g_step
from jaxgan.networks.minibatch import MinibatchDiscrimination, MinibatchStdDev
from jaxgan.samplers import pack
from jaxgan.terms import regularizers

LOSSES = ("minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic", "relativistic_average")


class Judge(nn.Module):
    """A linear discriminator that returns its features, with a layer before its logits."""

    layer: nn.Module | None = None

    @nn.compact
    def __call__(self, image, condition=None, *, train):
        x = nn.tanh(nn.Dense(4)(image.reshape(len(image), -1)))
        hidden = x if self.layer is None else self.layer(x)
        return {"logits": nn.Dense(1)(hidden)[:, 0], "features": x}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_says_whether_it_looks_across(name):
    """Compares its values for four pairs at once, and for two and two."""
    loss = getattr(losses, name)
    real, fake = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    same = all(
        np.allclose(side(a, b), np.concatenate([side(a[:2], b[:2]), side(a[2:], b[2:])]), atol=1e-6)
        for side, a, b in ((loss.d, real, fake), (loss.g, fake, real))
    )
    assert same != loss.across
    assert terms.d_loss(loss).across == terms.g_loss(loss).across == loss.across
    assert loss.target is None or losses.smoothed(loss).across == loss.across


def test_every_loss_is_asked():
    assert {name for name in losses.__all__ if isinstance(getattr(losses, name), losses.AdversarialLoss)} == {*LOSSES}


UNROLLED = terms.unrolled(losses.non_saturating, make_d_step(given, [terms.d_loss(losses.non_saturating)]), 1)
D_TERMS = {
    **{term.name: term for term in (terms.r1(0.5), terms.r2(0.5), terms.wgan_gp(), terms.dragan())},
    "flipped": terms.d_loss(losses.minimax, 0.3),
    "every": terms.every(terms.dragan(), 2),
    "lecam": regularizers.lecam(1.0),
    "consistency": regularizers.consistency(lambda x, keys: augment.noise(x, keys, 0.1), fake=True),
    "history": regularizers.historical_averaging("discriminator"),
    "average": terms.d_loss(losses.relativistic_average),
}
G_TERMS = {"unrolled": UNROLLED, "matching": regularizers.feature_matching()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* parts of an accumulated batch by itself:UserWarning")
@pytest.mark.parametrize("name", [*D_TERMS, *G_TERMS])
def test_a_term_says_whether_parts_make_another_sum(name):
    term, make = (D_TERMS[name], make_d_step) if name in D_TERMS else (G_TERMS[name], make_g_step)
    state = tiny_gan(discriminator=Judge())
    start = terms.initial_extras(state.players, D_TERMS.values())
    state = state.replace(extras=jax.tree.map(jnp.zeros_like, start))
    batch = tiny_batch(8)
    (after, whole), (then, parts) = (jax.jit(make(given, [term], accumulate=n))(state, batch) for n in (1, 2))
    key = next(key for key in whole if key.endswith(term.name))
    assert (abs(whole[key] - parts[key]) > 1e-5) == term.across, (whole[key], parts[key])
    if not term.across:
        assert_same(then.extras, after.extras, 1e-6)


@pytest.mark.parametrize("layer", [MinibatchDiscrimination(2, 2), MinibatchStdDev(None)], ids=["discrimination", "std"])
def test_a_minibatch_layer_is_warned_of_where_a_batch_is_cut(layer):
    state, batch = tiny_gan(discriminator=Judge(layer)), tiny_batch(4)
    adversarial = [terms.d_loss(losses.hinge)]
    with pytest.warns(UserWarning, match=r"^a minibatch layer can see only each of the 2 parts"):
        jax.eval_shape(make_d_step(given, adversarial, accumulate=2), state, batch)
    jax.eval_shape(make_d_step(given, adversarial), state, batch)  # alone it is as its paper has it


@pytest.mark.filterwarnings("ignore:.* parts of an accumulated batch by itself:UserWarning")
@pytest.mark.parametrize("n", [2, 3])
def test_averages_take_in_the_whole_batch_once(n):
    """At a step where the old average counts too; extras that no term changes stay the same to the bit."""
    term, other = regularizers.lecam(1.0, decay=0.5), jnp.float32(0.1)
    still = {"discriminator/learning_rate": 0.0}
    state = tiny_gan(extras=terms.initial_extras({}, [term]) | {"other": other}, hyper=still)
    batches = [tiny_batch(6, seed) for seed in range(2)]
    ends = []
    for parts in (1, n):
        step, after = jax.jit(make_d_step(given, [term], accumulate=parts)), state
        for batch in batches:
            after, _ = step(after, batch)
        ends.append(after.extras)
    np.testing.assert_array_equal(ends[1]["other"], other)
    first, _ = jax.jit(make_d_step(given, [term]))(state, batches[0])
    assert abs(ends[0]["lecam"]["real"] - first.extras["lecam"]["real"]) > 1e-3, "the second batch counts"
    assert_same(ends[1]["lecam"], ends[0]["lecam"], 1e-6)


def test_packs_are_warned_of_where_a_batch_is_cut():
    """The parts have every second example, so that their neighbours differ from those in the complete batch."""
    batch, state = tiny_batch(8), tiny_gan(channels=2)
    steps = [make_d_step(given, [terms.d_loss(losses.hinge)], prepare=pack(2), accumulate=n) for n in (1, 2)]
    whole = jax.jit(steps[0])(state, batch)[1]
    with pytest.warns(UserWarning, match=r"^packing can see only each of the 2 parts"):
        parts = jax.jit(steps[1])(state, batch)[1]
    assert abs(whole["discriminator/loss"] - parts["discriminator/loss"]) > 1e-4


def test_a_term_is_named_in_the_warning():
    with pytest.warns(UserWarning, match=r"^the term 'adversarial' and the term 'dragan' can see only each of the 2"):
        jax.eval_shape(
            make_d_step(given, [D_TERMS["average"], terms.dragan()], accumulate=2), tiny_gan(), tiny_batch(4)
        )
