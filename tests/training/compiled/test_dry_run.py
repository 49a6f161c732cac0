"""What a run costs: counted by hand, compared with sums over the real parameters, timed by a clock that we turn."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from conftest import given, tiny_batch, tiny_gan

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss, iteration, make_joint_step
from jaxgan.losses import non_saturating
from jaxgan.training.compiled import dry_run as module
from jaxgan.training.compiled.dry_run import cost, dry_run, layers, memory, table
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import GAN, sample_with


def gan_of(init):
    """A GAN of which only `init` is of interest."""
    return SimpleNamespace(init=init)


def initialised(*networks):
    """A GAN whose state is the variables of modules that take `[1, 3]`."""
    return gan_of(lambda key: [network.init(key, jnp.zeros((1, 3))) for network in networks])


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shown(rows):
    return [(row.network, row.path, row.kind, row.output, row.parameters) for row in rows]


# --- layers ----------------------------------------------------------------------------------------------------------
def test_dcgan_counted_by_hand():
    options = dcgan_mnist.Options()
    gan = dcgan_mnist.build(options, DataSpec.single("mnist", 60_000, (32, 32, 1), 10))
    assert shown(layers(gan)) == [
        ("Generator", "", "Generator", {"": (32, 32, 1)}, 0),
        ("Generator", "project", "Dense", {"": (4096,)}, 100 * 4 * 4 * 256),
        ("Generator", "norm0", "BatchNorm", {"": (4, 4, 256)}, 2 * 256),
        ("Generator", "up0", "ConvTranspose", {"": (8, 8, 128)}, 4 * 4 * 256 * 128),
        ("Generator", "norm1", "BatchNorm", {"": (8, 8, 128)}, 2 * 128),
        ("Generator", "up1", "ConvTranspose", {"": (16, 16, 64)}, 4 * 4 * 128 * 64),
        ("Generator", "norm2", "BatchNorm", {"": (16, 16, 64)}, 2 * 64),
        ("Generator", "up2", "ConvTranspose", {"": (32, 32, 1)}, 4 * 4 * 64 * 1 + 1),
        ("Discriminator", "", "Discriminator", {"features": (4, 4, 256), "logits": ()}, 0),
        ("Discriminator", "down0", "Conv", {"": (16, 16, 64)}, 4 * 4 * 1 * 64 + 64),
        ("Discriminator", "down1", "Conv", {"": (8, 8, 128)}, 4 * 4 * 64 * 128),
        ("Discriminator", "norm1", "BatchNorm", {"": (8, 8, 128)}, 2 * 128),
        ("Discriminator", "down2", "Conv", {"": (4, 4, 256)}, 4 * 4 * 128 * 256),
        ("Discriminator", "norm2", "BatchNorm", {"": (4, 4, 256)}, 2 * 256),
        ("Discriminator", "judge", "Dense", {"": (1,)}, 4 * 4 * 256 + 1),
    ]
    state = jax.eval_shape(gan.init, jax.random.key(0))
    for network in ("generator", "discriminator"):
        own = sum(row.parameters for row in layers(gan) if row.network.lower() == network)
        assert own == count(getattr(state, network).params)


def test_what_was_traced_before_is_traced_again():
    gan = initialised(nn.Dense(2))
    jax.eval_shape(gan.init, jax.random.key(0))
    assert shown(layers(gan)) == shown(layers(gan)) == [("Dense", "", "Dense", {"": (2,)}, 8)]


def test_nothing_is_computed():
    class Refuses(nn.Module):
        @nn.compact
        def __call__(self, x):
            jax.debug.callback(pytest.fail)
            return self.param("huge", nn.initializers.zeros, (10**9, 10**4))[0, :1]  # 40 TB

    assert layers(initialised(Refuses()))[0].parameters == 10**13


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="narrow")(nn.Dense(4, name="wide")(x))


class Nested(nn.Module):
    """A parameter of its own, a block of two layers that is called twice, an embedding used without a call."""

    @nn.compact
    def __call__(self, x):
        bias = self.param("bias", nn.initializers.zeros, (5,))
        block = Block(name="block")
        table = nn.Embed(7, 3, name="table")
        return {"a": block(block(x)), "b": (table.attend(x), bias), "c": jnp.zeros((2, 1))}


def test_parameters_add_up_in_nested_shared_and_uncalled_modules():
    rows = layers(initialised(Nested()))
    assert shown(rows) == [
        ("Nested", "", "Nested", {"a": (3,), "b.0": (7,), "b.1": (5,), "c": (2, 1)}, 5 + 7 * 3),  # table has no row
        ("Nested", "block", "Block", {"": (3,)}, 0),
        ("Nested", "block/wide", "Dense", {"": (4,)}, 3 * 4 + 4),
        ("Nested", "block/narrow", "Dense", {"": (3,)}, 4 * 3 + 3),
    ]
    assert sum(row.parameters for row in rows) == count(Nested().init(jax.random.key(0), jnp.zeros((1, 3))))


def test_lifted_modules_keep_their_place_and_their_sum():
    class Lifted(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.remat(nn.Dense)(3, name="again")(x)
            each = nn.vmap(nn.Dense, variable_axes={"params": 0}, split_rngs={"params": True})
            return each(2, name="each")(jnp.stack([x, x]))

    rows = layers(initialised(Lifted()))
    assert [row.path for row in rows] == ["", "again", "each"]
    assert sum(row.parameters for row in rows) == (3 * 3 + 3) + 2 * (3 * 2 + 2)


def test_networks_of_one_class_are_numbered_and_applying_is_no_network():
    def init(key):
        dense = nn.Dense(2)
        variables = dense.init(key, jnp.zeros((1, 3)))
        return nn.Dense(4).init(key, jnp.zeros((1, 3))), dense.apply(variables, jnp.zeros((1, 3)))

    assert [(row.network, row.parameters) for row in layers(gan_of(init))] == [("Dense", 8), ("Dense 2", 16)]


# --- the table -------------------------------------------------------------------------------------------------------
def test_the_table_is_aligned_and_sums():
    class Small(nn.Module):
        @nn.compact
        def __call__(self, x):
            return {"logits": nn.Dense(1000, name="wide")(x)[:, 0]}

    assert table(layers(initialised(Small(), Nested()))).splitlines() == [
        "Small                   output                        parameters",
        "  wide          Dense   1000                               4,000",
        "  total                 logits: 1                          4,000",
        "",
        "Nested                  output                        parameters",
        "  itself        Nested                                        26",
        "  block         Block   3                                      0",
        "  block/wide    Dense   4                                     16",
        "  block/narrow  Dense   3                                     15",
        "  total                 a: 3, b.0: 7, b.1: 5, c: 2×1          57",
        "",
        "all networks                                               4,057",
    ]


# --- memory ----------------------------------------------------------------------------------------------------------
def analysed(**sizes):
    return SimpleNamespace(memory_analysis=lambda: SimpleNamespace(**sizes) if sizes else None)


def test_memory_is_the_sum_of_its_parts():
    state = {"a": jnp.zeros((1000, 500)), "key": jax.random.key(0)}
    sizes = {"temp_size_in_bytes": 1_500_000_000, "output_size_in_bytes": 2_100_008, "alias_size_in_bytes": 2_000_008}
    assert memory(analysed(**sizes), state, 47_040_000) == [
        "memory on the device",
        "  state               2.0 MB",
        "  data set           47.0 MB",
        "  working memory     1.50 GB",
        "  total              1.55 GB",
    ]
    assert memory(analysed(), state, 47_040_000)[3:] == [
        "  working memory  not known on this platform",
        "  total           49.0 MB at least",
    ]


@pytest.mark.parametrize("donated, working", [((0,), "0.0 MB"), ((), "4.0 MB")], ids=["donated", "kept"])
def test_a_state_that_is_not_donated_is_counted_twice(donated, working):
    state = jnp.zeros((1000, 1000))
    compiled = jax.jit(lambda x: x + 1, donate_argnums=donated).lower(state).compile()
    assert memory(compiled, state, 0)[3].split(maxsplit=2)[2] == working


# --- time ------------------------------------------------------------------------------------------------------------
class Watched:
    """A `run` whose steps take as long as we say, on a clock of its own; a state is good for one call."""

    def __init__(self, monkeypatch, seconds, extra=()):
        self.now, self.seconds, self.extra, self.counts = 0.0, seconds, list(extra), []
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def __call__(self, state, count):
        assert state == len(self.counts), "this state was donated"
        self.counts.append(count)
        self.now += self.seconds * count + (self.extra.pop(0) if self.extra else 0)
        return state + 1, {"loss": 0.0}


@pytest.mark.parametrize(
    "seconds, counts, text",
    [
        (0.106, [1, 1, 4, 4, 4, 4, 4], "106 ms a step, 3,000 steps: about 5 min 20 s"),
        (0.0001234, [1, 1, 1000, 1000, 1000, 1000, 1000], "0.123 ms a step, 3,000 steps: about 0 s"),
        (1.2, [1, 1, 1, 1], "1.2 s a step, 3,000 steps: about 1 h"),
        (60.0, [1, 1], "60 s a step, 3,000 steps: about 2 d 2 h"),
    ],
    ids=str,
)
def test_cost_takes_seconds_to_tell(monkeypatch, seconds, counts, text):
    run = Watched(monkeypatch, seconds)
    assert cost(0, run, 3000) == text
    assert run.counts == counts


def test_cost_overlooks_the_first_call_and_a_hiccup(monkeypatch):
    run = Watched(monkeypatch, 0.1, extra=[50.0, 0.0, 0.0, 9.0])
    assert cost(0, run, 2000) == "100 ms a step, 2,000 steps: about 3 min 20 s"


@pytest.mark.parametrize(
    "seconds, text",
    [
        *[(0, "0 s"), (42.4, "42 s"), (54.9, "55 s"), (56, "1 min"), (64, "1 min"), (66, "1 min 10 s")],
        *[(3569, "59 min 30 s"), (3571, "1 h"), (11_400, "3 h 10 min"), (86_100, "1 d"), (183_000, "2 d 3 h")],
    ],
    ids=str,
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert module._duration(seconds) == text


@pytest.mark.parametrize(
    "seconds, text", [(0.99949, "999 ms"), (0.9996, "1 s"), (99.94, "99.9 s"), (1234.4, "1,234 s")], ids=str
)
def test_paces_have_three_digits(seconds, text):
    assert module._pace(seconds) == text


# --- all of it -------------------------------------------------------------------------------------------------------
def test_a_dry_run_fits_a_terminal(capsys):
    step = iteration(make_joint_step(given, [d_loss(non_saturating)], [g_loss(non_saturating)]))
    gan = GAN(lambda key: tiny_gan(), step, 4, sample_with(given))
    state, batch = tiny_gan(), tiny_batch()
    compiled = jax.jit(lambda state: step(state, batch), donate_argnums=0).lower(state).compile()
    options = SimpleNamespace(steps=3000)
    dry_run(gan, options, state, lambda state, count: compiled(state), compiled, 2_500_000)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["Generator", "output", "parameters"] and lines[-2] == "time"
    parameters = (4 * 8 + 8 + 8 * 4 + 4) + (4 * 8 + 8 + 8 * 1 + 1)
    assert lines[10].startswith("all networks ") and lines[10].endswith(f" {parameters}")
    assert "  data set            2.5 MB" in lines
    assert "3,000 steps: about " in lines[-1]
