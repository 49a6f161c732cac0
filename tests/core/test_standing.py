"""Standing statistics against the statistics of batches in NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.networks.layers import BatchNorm, Dropout
from jaxgan.players import init_player
from jaxgan.standing import standing_statistics

KEYS = jax.random.split(jax.random.key(0), 5)


class Net(nn.Module):
    """Two of our batch norms around one of Linen's, each with its own momentum; the first sees numbers around 3000."""

    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, condition=None, *, train):
        x = BatchNorm(momentum=0.9, name="first")(1000 * x + 3000, train=train)
        x = nn.BatchNorm(momentum=0.99, use_running_average=not train, name="linens")(nn.Dense(3, name="dense")(x))
        x = Dropout(self.dropout)(x, train=train) if self.dropout else x
        return BatchNorm(momentum=0.5, name="last")(jnp.tanh(x), train=train)


def player_of(**fields):
    player = init_player(jax.random.key(1), Net(**fields), optax.identity(), jnp.zeros((1, 4)))
    stats = jax.tree.map(lambda x: x + 7, player.variables["batch_stats"])  # which must not matter
    return player.replace(variables={**player.variables, "batch_stats": stats})


def inputs(key):
    return (jax.random.normal(key, (16, 4)) + 0.3,)


def by_hand(player):
    """Means over batches of means and variances, of each norm's input in float64."""
    found = {}
    for key in KEYS:
        x = 1000 * np.asarray(inputs(key)[0], np.float64) + 3000
        dense = player.params["dense"]
        for name in ("first", "linens", "last"):
            found.setdefault(name, []).append((x.mean(0), x.var(0)))
            x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
            x = (
                x @ np.asarray(dense["kernel"], np.float64) + np.asarray(dense["bias"])
                if name == "first"
                else np.tanh(x)
            )
    return {name: np.mean(pairs, axis=0) for name, pairs in found.items()}


@pytest.mark.parametrize("passes", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_they_are_the_means_over_batches(passes):
    player = player_of()
    run = jax.jit(lambda variables: standing_statistics(player, variables, inputs, KEYS[:passes]))
    made = run(player.all_variables)
    assert made["params"] is not None and set(made) == {"params", "batch_stats"}
    np.testing.assert_array_equal(made["params"]["dense"]["kernel"], player.params["dense"]["kernel"])
    if passes == len(KEYS):
        for name, (mean, var) in by_hand(player).items():
            got = made["batch_stats"][name]
            np.testing.assert_allclose(got["mean"], mean, rtol=2e-5, atol=2e-6, err_msg=name)
            np.testing.assert_allclose(got["var"], var, rtol=1e-4, err_msg=name)
    else:  # evaluation then equals the training pass on that batch
        given = inputs(KEYS[0])
        trained, _ = player.apply_fn(player.all_variables, *given, train=True, mutable=["batch_stats"])
        np.testing.assert_allclose(player.apply_fn(made, *given, train=False), trained, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_dropout_draws_in_each_pass():
    player = player_of(dropout=0.5)
    first, second = (standing_statistics(player, player.all_variables, inputs, KEYS[i : i + 1]) for i in (0, 1))
    stats = first["batch_stats"]["last"]["var"], second["batch_stats"]["last"]["var"]
    assert np.isfinite(stats).all() and np.any(stats[0] != stats[1])


def test_a_network_without_batch_norm_is_refused_in_a_line():
    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x, condition=None, *, train):
            return nn.Dense(2)(x)

    player = init_player(jax.random.key(1), Plain(), optax.identity(), jnp.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"of batch norms, and this network's variables are \['params'\]") as error:
        standing_statistics(player, player.all_variables, inputs, KEYS)
    assert "\n" not in str(error.value)
