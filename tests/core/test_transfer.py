"""Networks that begin with another's arrays: which match, what is taken, and all that begins with them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Discriminator, adam, assert_same, given, tiny_batch, tiny_gan

from jaxgan import d_loss, g_loss
from jaxgan.adversarial import make_joint_step
from jaxgan.ensemble import axes, begin
from jaxgan.iteration import iteration
from jaxgan.lookahead import lookahead_start
from jaxgan.losses import non_saturating
from jaxgan.terms.regularizers import historical_averaging
from jaxgan.terms.term import initial_extras
from jaxgan.transfer import Match, begin_with, matches, started, transferred

HERE = {
    "params": {
        "conv": {"kernel": np.zeros((2, 3), np.float32), "bias": np.zeros(3, np.float32)},
        "judge": [np.zeros((3, 1), np.float32), np.zeros((), np.float32)],
    },
    "counts": {"seen": np.int32(0)},
}
THERE = {
    "params": {
        "conv": {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.ones(4, np.float32)},
        "judge": [np.ones((3, 1), np.float16), np.ones(1, np.float32)],
        "other": np.ones(7, np.float32),
    },
    "counts": {"seen": np.float32(5)},
}


def test_arrays_match_by_path_and_shape():
    found = {match.path: match for match in matches(HERE, THERE)}
    assert found == {
        "counts/seen": Match("counts/seen", (), (), False),  # an integer is no float
        "params/conv/bias": Match("params/conv/bias", (3,), (4,), False),
        "params/conv/kernel": Match("params/conv/kernel", (2, 3), (2, 3), True),
        "params/judge/0": Match("params/judge/0", (3, 1), (3, 1), True),
        "params/judge/1": Match("params/judge/1", (), (1,), False),
        "params/other": Match("params/other", None, (7,), False),
    }
    assert [match.path for match in matches(THERE, HERE)][-1] == "params/other", "in the order of here"
    assert matches({}, {}) == [] and [match.here for match in matches({}, {"a": np.ones(2)})] == [None]


def test_what_matches_is_taken_and_all_else_stays_as_it_is():
    taken, found = transferred(HERE, THERE)
    assert jax.tree.structure(taken) == jax.tree.structure(HERE) and sum(match.taken for match in found) == 2
    np.testing.assert_array_equal(taken["params"]["conv"]["kernel"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(taken["params"]["judge"][0], np.ones((3, 1)))
    assert {x.dtype for x in jax.tree.leaves(taken["params"])} == {np.dtype("float32")}, "the types are those of here"
    for leaf, was in ((taken["params"]["conv"]["bias"], HERE["params"]["conv"]["bias"]), (taken["counts"]["seen"], 0)):
        np.testing.assert_array_equal(leaf, was)


def test_a_list_and_a_dict_have_the_same_paths():
    """Other libraries' trees, such as a restored checkpoint without its classes."""
    taken, _ = transferred({"a": [np.zeros(2)]}, {"a": {"0": np.ones(2)}})
    np.testing.assert_array_equal(taken["a"][0], np.ones(2))


def test_shapes_alone_are_enough_to_say_what_matches():
    abstract = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, HERE))
    assert matches(abstract, abstract) == matches(HERE, HERE)


def step_of(*d_terms):
    losses = [d_loss(non_saturating), *d_terms], [g_loss(non_saturating)]
    return jax.jit(iteration(make_joint_step(given, *losses)))


@pytest.mark.slow
def test_a_player_begins_with_another_and_its_optimiser_anew():
    """Other collections too, here those of batch norm; and a head of another width begins anew."""
    other = tiny_gan(1, discriminator=Discriminator(batch_norm=True, classes=3), tx=adam())
    other = other.replace(
        discriminator=other.discriminator.replace(
            variables=jax.tree.map(lambda x: x + 1, other.discriminator.variables)
        )
    )
    mine = tiny_gan(0, discriminator=Discriminator(batch_norm=True), tx=adam())
    mine, _ = step_of()(mine, tiny_batch())
    player, found = started(mine.discriminator, other.discriminator.all_variables)
    fates = {match.path: match.taken for match in found}
    assert fates.pop("params/Dense_2/kernel") is fates.pop("params/Dense_2/bias") is False, "the classifier"
    assert fates and all(fates.values())
    params = other.discriminator.params
    assert_same(player.params, {name: params[name] for name in player.params})
    assert_same(player.variables, other.discriminator.variables)
    assert_same(player.opt_state, player.tx.init(player.params))
    assert int(player.step) == 0 and player.across == mine.discriminator.across
    assert jax.tree.structure(player) == jax.tree.structure(mine.discriminator)


def test_averages_and_copies_of_parameters_begin_with_them():
    """A slow or historical weight that stayed behind would pull the player back to where it began."""
    power = {"power_ema/0.1": 6.94}
    term = historical_averaging("generator", 1.0)
    states = [tiny_gan(seed, hyper=power) for seed in (0, 1)]
    states = [lookahead_start(state.replace(extras=initial_extras(state.players, [term], []))) for state in states]
    mine, other = states
    names = ("generator", "discriminator")
    after = jax.jit(begin_with)(mine, {name: other.players[name].all_variables for name in names})
    assert_same(jax.tree.leaves(after.players), jax.tree.leaves(other.players))
    assert_same(after.ema, other.ema)
    assert set(after.ema) == {"generator", "generator:0.1"}
    assert_same(after.extras, other.extras)
    assert_same([after.key, after.hyper, after.step], [mine.key, mine.hyper, mine.step])
    alone = begin_with(mine, {"discriminator": other.discriminator.all_variables})
    assert_same(alone.ema, mine.ema)
    assert_same(alone.generator.params, mine.generator.params)
    assert_same(alone.extras["lookahead"]["generator"], mine.extras["lookahead"]["generator"])
    assert_same(alone.extras["lookahead"]["discriminator"], other.discriminator.params)


@pytest.mark.slow
def test_no_buffer_is_given_away_twice():
    """A program donates its state, whose arrays must be different ones."""
    mine, other = tiny_gan(0), tiny_gan(1)
    state = begin_with(mine, {"generator": other.generator.all_variables})
    trained, _ = jax.jit(iteration(make_joint_step(given, [d_loss(non_saturating)], [g_loss(non_saturating)])),
                         donate_argnums=0)(state, tiny_batch())  # fmt: skip
    assert int(trained.step) == 1


@pytest.mark.slow
def test_all_members_of_an_ensemble_begin_with_them():
    keys = jax.random.split(jax.random.key(0), 3)

    def init(key):
        state = tiny_gan(0)
        draw = lambda x: jax.random.normal(key, x.shape)  # noqa: E731 - used at once
        player = state.discriminator.replace(params=jax.tree.map(draw, state.discriminator.params))
        return state.replace(key=key, discriminator=player)

    ensemble, other = begin(init, keys), tiny_gan(5)
    states = axes(ensemble.members)
    after = jax.vmap(begin_with, in_axes=(states, None), out_axes=states)(
        ensemble.members, {"discriminator": other.discriminator.all_variables}
    )
    for leaf, one in zip(
        jax.tree.leaves(after.discriminator.params), jax.tree.leaves(other.discriminator.params), strict=True
    ):
        np.testing.assert_array_equal(leaf, np.stack([one] * 3))
    assert_same(after.generator, ensemble.members.generator)


def test_what_is_no_player_is_refused():
    with pytest.raises(ValueError, match=r"^'critic' is no player of this state; it has generator, discriminator$"):
        begin_with(tiny_gan(), {"critic": {"params": {}}})


def test_a_network_of_another_family_matches_nothing():
    class Other(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            return nn.Dense(3, name="own")(x.reshape(len(x), -1))

    other = Other().init(jax.random.key(0), jnp.zeros((1, 2, 2, 1)), train=True)
    player, found = started(tiny_gan().discriminator, other)
    assert not any(match.taken for match in found)
    assert_same(player.params, tiny_gan().discriminator.params)
