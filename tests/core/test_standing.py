"""Batch statistics of averaged weights: against NumPy in float64, beside everything that a step may be in."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import Generator, assert_same, tiny_batch, tiny_gan

from jaxgan import ensemble, init_player, iteration, make_d_step, make_g_step
from jaxgan.losses import non_saturating
from jaxgan.networks.layers import BatchNorm, ConditionalBatchNorm
from jaxgan.samplers import latents
from jaxgan.standing import batch_statistics, has_statistics, map_statistics, standing_statistics
from jaxgan.terms.adversarial import d_loss, g_loss

DRAWN = latents(4)
POWER = {"power_ema/0.1": 6.94}


class Two(nn.Module):
    """Two dense layers, each with a batch norm: of jaxgan with another momentum, and of flax with its own."""

    @nn.compact
    def __call__(self, x, *, train):
        x = BatchNorm(momentum=0.8)(nn.Dense(3)(x), train=train)
        return nn.BatchNorm(use_running_average=not train, momentum=0.99)(nn.Dense(2)(jnp.tanh(x)))


class Beside(nn.Module):
    """What has other variables beside statistics, and one batch norm that never moves."""

    @nn.compact
    def __call__(self, x, condition=None, *, train):
        x = ConditionalBatchNorm(2)(x, condition, train=train)
        x = nn.SpectralNorm(nn.Dense(3))(x, update_stats=train)
        x = nn.BatchNorm(use_running_average=True, name="still")(x)
        count = self.variable("counts", "mean", jnp.zeros, (), jnp.float32)
        if train and self.is_mutable_collection("counts"):
            count.value += 1
        return nn.Dropout(0.5, deterministic=not train)(x)


def player(module, *inputs):
    made = init_player(jax.random.key(0), module, optax.identity(), *inputs)
    # Anything but 0 and 1, so that a running statistic that counts would be seen.
    return made.replace(variables=map_statistics(lambda x: x + 0.7, made.variables))


def inputs(number):
    return (jax.random.normal(jax.random.fold_in(jax.random.key(5), number), (32, 4)) * 2 + 1,)


def by_hand(params, x):
    """The statistics of one batch of `Two`, in float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x, found = np.asarray(x, np.float64), {}
    for i, name in enumerate(("BatchNorm_0", "BatchNorm_1")):
        x = x @ params[f"Dense_{i}"]["kernel"] + params[f"Dense_{i}"]["bias"]
        found[name] = {"mean": x.mean(0), "var": x.var(0)}
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * params[name]["scale"] + params[name]["bias"]
        x = np.tanh(x) if i == 0 else x
    return x, found


def assert_close(found, want, rtol):
    assert jax.tree.structure(dict(found)) == jax.tree.structure(want)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol), dict(found), want)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_batch_has_the_statistics_of_float64_whatever_the_momentum(transform):
    two = player(Two(), jnp.zeros((1, 4)))
    output, found = transform(lambda v, x: batch_statistics(two, v, x))(two.all_variables, *inputs(0))
    want, statistics = by_hand(two.params, inputs(0)[0])
    np.testing.assert_allclose(output, want, atol=2e-4)
    assert_close(found["batch_stats"], statistics, 1e-4)
    assert_same(found["params"], two.params)


def test_standing_statistics_are_means_over_batches():
    """Of the averaged weights that are asked for, not of the player's own; the variances are means too, and not those
    of all batches together."""
    two = player(Two(), jnp.zeros((1, 4)))
    averaged = {**two.all_variables, "params": jax.tree.map(lambda x: 0.5 * x + 0.1, two.params)}
    found = jax.jit(lambda v: standing_statistics(two, v, inputs, 5))(averaged)
    each = [by_hand(averaged["params"], inputs(i)[0])[1] for i in range(5)]
    assert_close(found["batch_stats"], jax.tree.map(lambda *x: np.mean(x, 0), *each), 1e-4)
    assert_same(found, jax.jit(lambda v: standing_statistics(two, v, inputs, 5))(averaged))
    assert_same(found["params"], averaged["params"])
    # What is drawn with them has about the mean and deviation that the last norm gives a batch.
    drawn = two.apply_fn(found, *inputs(99), train=False)
    np.testing.assert_allclose(np.mean(drawn, 0), averaged["params"]["BatchNorm_1"]["bias"], atol=0.3)


def test_nothing_but_statistics_changes():
    x, labels = jnp.ones((1, 4)), jnp.zeros(1, jnp.int32)
    beside = player(Beside(), x, labels)
    # The norm that never moves comes last, so that nothing follows what it divides by.
    given = lambda number: (*inputs(number), jnp.arange(32, dtype=jnp.int32) % 2)  # noqa: E731
    # Of a power of two batches means of equal numbers are exact.
    found = standing_statistics(beside, beside.all_variables, given, 4, key=jax.random.key(1))
    before = beside.all_variables
    differing = {
        jax.tree_util.keystr(path)
        for (path, a), b in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(found), strict=True)
        if not np.array_equal(a, b)
    }
    name = "['batch_stats']['ConditionalBatchNorm_0']['statistics']"
    assert differing == {f"{name}['mean']", f"{name}['var']"}
    x = np.stack([np.asarray(inputs(i)[0], np.float64) for i in range(4)])
    own = found["batch_stats"]["ConditionalBatchNorm_0"]["statistics"]
    np.testing.assert_allclose(own["mean"], x.mean(1).mean(0), rtol=1e-5)
    np.testing.assert_allclose(own["var"], x.var(1).mean(0), rtol=1e-5)


def test_a_network_without_batch_norm_is_as_it_was():
    dense = init_player(jax.random.key(0), nn.Dense(2), optax.identity(), jnp.zeros((1, 4)))
    assert not has_statistics(dense.all_variables)
    found = standing_statistics(dense, dense.all_variables, inputs)
    assert_same(found, dense.all_variables)
    output, same = batch_statistics(dense, dense.all_variables, *inputs(0))
    assert_same(same, dense.all_variables)
    np.testing.assert_array_equal(output, dense.apply_fn(dense.all_variables, *inputs(0), train=True))


def test_no_batches_are_refused():
    two = player(Two(), jnp.zeros((1, 4)))
    with pytest.raises(ValueError, match="at least 1 batch to compute statistics of, got 0"):
        standing_statistics(two, two.all_variables, inputs, 0)


# --- averaged as the parameters are -----------------------------------------------------------------------------------


def step():
    return iteration(make_d_step(DRAWN, [d_loss(non_saturating)]), make_g_step(DRAWN, [g_loss(non_saturating)]))


def trained(count, **hyper):
    """The states after each of so many iterations."""
    # A half-life of 3 images of 4 each: a twentieth of the first ones' is less.
    state, one = tiny_gan(generator=Generator(batch_norm=True), hyper={"ema_half_life": 0.4, **POWER, **hyper}), step()
    one, states = jax.jit(one), []
    for number in range(count):
        state, _ = one(state, tiny_batch(4, seed=number))
        states.append(state)
    return states


def test_averaged_statistics_follow_the_raw_ones_by_the_weights_rule():
    states, size = trained(4, ema_statistics=1.0), 4
    raw = [jax.tree.leaves(state.generator.variables["batch_stats"]) for state in states]
    start = jax.tree.leaves(tiny_gan(generator=Generator(batch_norm=True)).ema["generator"]["batch_stats"])
    average = [np.asarray(leaf, np.float64) for leaf in start]
    power = [np.asarray(leaf, np.float64) for leaf in start]
    for t, now in enumerate(raw, 1):
        kept = 0.5 ** (size / min(0.4, 0.05 * t * size))
        average = [kept * a + (1 - kept) * np.asarray(b, np.float64) for a, b in zip(average, now, strict=True)]
        share = (1 - 1 / t) ** 7.94
        power = [share * a + (1 - share) * np.asarray(b, np.float64) for a, b in zip(power, now, strict=True)]
    for name, want in (("generator", average), ("generator:0.1", power)):
        found = jax.tree.leaves(states[-1].ema[name]["batch_stats"])
        for a, b, c in zip(found, want, raw[-1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            assert not np.array_equal(a, c)


def test_they_are_the_raw_ones_unless_asked_and_nothing_else_changes():
    plain, off, on = trained(3)[-1], trained(3, ema_statistics=0.0)[-1], trained(3, ema_statistics=1.0)[-1]
    for state in (plain, off):
        assert_same(state.ema["generator"]["batch_stats"], state.generator.variables["batch_stats"])
    assert_same(plain.ema, off.ema)
    assert_same(jax.tree.leaves(plain.players), jax.tree.leaves(on.players))
    assert_same(plain.ema["generator"]["params"], on.ema["generator"]["params"])


def test_members_of_an_ensemble_are_as_alone():
    members = [
        tiny_gan(generator=Generator(batch_norm=True), hyper={"ema_half_life": 50.0, "ema_statistics": share})
        for share in (0.0, 1.0)
    ]
    state, mapped = ensemble.stack(members), jax.jit(ensemble.map_members(step()))
    batches = jax.tree.map(lambda x: jnp.stack([x, x]), tiny_batch(4))
    state, _ = mapped(state, batches)
    for number, alone in enumerate(members):
        want, _ = jax.jit(step())(alone, tiny_batch(4))
        found = ensemble.member(state, number).ema["generator"]["batch_stats"]
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            found,
            want.ema["generator"]["batch_stats"],
        )
