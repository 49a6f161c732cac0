"""The layout of arrays on several devices; a step computes the same numbers with any layout."""

import collections
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import LATENT, Discriminator, Generator, adam, assert_same, tiny_batch, tiny_gan
from jax.sharding import PartitionSpec

from jaxgan import ensemble, parallel
from jaxgan.adversarial import make_d_step, make_g_step, make_joint_step
from jaxgan.iteration import iteration
from jaxgan.losses import non_saturating
from jaxgan.networks.dcgan import Discriminator as DCGANDiscriminator
from jaxgan.networks.dcgan import Generator as DCGANGenerator
from jaxgan.parallel import layout, mapped, sharded
from jaxgan.players import init_player
from jaxgan.samplers import latents
from jaxgan.state import GANState
from jaxgan.terms import Term
from jaxgan.terms.adversarial import d_loss, g_loss
from jaxgan.terms.penalties import r1, wgan_gp

SAMPLER = latents(LATENT)
ROUNDING = 1e-5


@pytest.fixture
def all_sharded(monkeypatch):
    """Spreads even the biases of the tiny GAN."""
    monkeypatch.setattr(parallel, "SMALL", 4)


def devices(count):
    return jax.devices()[:count]


# --- the layout ---


@pytest.mark.parametrize(
    "count, members, mesh",
    [(1, 0, (1, 1)), (4, 0, (1, 4)), (4, 1, (1, 4)), (4, 2, (2, 2)), (4, 3, (1, 4)), (4, 4, (4, 1)), (4, 6, (2, 2))],
)
def test_members_are_spread_as_far_as_they_divide_evenly(count, members, mesh):
    where = layout(devices(count), members=members)
    assert where.mesh.devices.shape == mesh and where.mesh.axis_names == ("seed", "data")
    assert where.ensemble == (members > 0)
    # Sharded parameters are for what one device can't hold: all devices share each member.
    assert layout(devices(count), members=members, shard_parameters=True).mesh.devices.shape == (1, count)


def test_by_default_it_takes_all_devices():
    assert list(layout().mesh.devices.flat) == jax.devices()


def abstract(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


@pytest.mark.parametrize(
    "shape, spec",
    [
        ((64, 32), ("data", None)),  # the longest axis
        ((3, 3, 64, 128), (None, None, None, "data")),
        ((33, 32), (None, "data")),  # that divides
        ((33, 31), (None, None)),
        ((32, 31), (None, None)),  # too small
        ((), ()),
    ],
)
def test_a_parameter_is_spread_along_its_longest_axis_that_divides(shape, spec):
    state = {"w": abstract(*shape)}
    assert layout(devices(4), shard_parameters=True).of(state)["w"].spec == PartitionSpec(*spec)
    assert layout(devices(4)).of(state)["w"].is_fully_replicated


@pytest.mark.parametrize("sharded_too", [False, True])
def test_an_ensembles_arrays_are_spread_over_members_first_and_counters_are_not(sharded_too):
    where = layout(devices(4), members=6, shard_parameters=sharded_too)
    state = {"w": abstract(6, 64, 32), "b": abstract(6), "step": abstract(dtype=jnp.int32)}
    specs = {name: sharding.spec for name, sharding in where.of(state).items()}
    w = PartitionSpec("seed", "data" if sharded_too else None, None)
    assert specs == {"w": w, "b": PartitionSpec("seed"), "step": PartitionSpec()}


def test_every_array_of_a_state_that_has_a_twin_lies_as_its_twin(all_sharded):
    """The twins are a parameter, its moments and its average: otherwise the update would move one of them."""
    state = tiny_gan(tx=adam())
    lies = layout(devices(4), shard_parameters=True).of(state)
    for player in (lies.generator, lies.discriminator):
        assert player.params == player.opt_state.mu == player.opt_state.nu
    assert lies.ema["generator"]["params"] == lies.generator.params


# --- the same numbers ---

TERMS = {
    "batch norm": [d_loss(non_saturating)],
    "penalties of second order": [d_loss(non_saturating), r1("gamma"), wgan_gp(0.5)],
}


def kept(view):
    mean = view.extras["mean"]
    return (view.real["logits"] - mean) ** 2, {"mean": 0.5 * (mean + jnp.mean(view.real["logits"]))}


def gan(kind, seed=0):
    """Returns (step, state) with SGD, since Adam hides a gradient of a wrong scale; three losses, an average and
    extras."""
    terms = [*TERMS[kind], Term("kept", kept, 0.1)]
    step = iteration(make_joint_step(SAMPLER, terms, [g_loss(non_saturating)]))
    discriminator = Discriminator(batch_norm=kind == "batch norm")
    generator = Generator(batch_norm=True)
    return step, tiny_gan(seed, generator=generator, discriminator=discriminator, extras={"mean": jnp.zeros(())})


def laid_out(step, where, state):
    """Returns the step's program for a layout, and the state in this layout."""
    state = where.gathering(state)
    program = jax.jit(where.over_members(step), out_shardings=(where.of(state), where.everywhere))
    return program, jax.device_put(state, where.of(state))


def trained(step, where, state, members=0):
    program, state = laid_out(step, where, state)
    for seed in range(3):
        batches = [tiny_batch(8, seed + 10 * member) for member in range(max(members, 1))]
        batch = jax.tree.map(lambda *x: jnp.stack(x) if members else x[0], *batches)
        state, metrics = program(state, jax.device_put(batch, where.batch))
    assert_lies(state, where)
    return state, metrics


def assert_lies(state, where):
    for (path, leaf), sharding in zip(jax.tree.leaves_with_path(state), jax.tree.leaves(where.of(state)), strict=True):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim), jax.tree_util.keystr(path)


@pytest.mark.parametrize("kind", ["batch norm", pytest.param("penalties of second order", marks=pytest.mark.slow)])
def test_a_step_gives_the_same_numbers_on_any_layout(kind, all_sharded):
    step, state = gan(kind)
    expected = trained(step, layout(devices(1)), state)
    for count, shard in [(2, False), (4, False), (4, True)]:
        found = trained(step, layout(devices(count), shard_parameters=shard), state)
        assert_same(jax.tree.leaves(found), jax.tree.leaves(expected), ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, members, shard",
    [
        ("batch norm", 2, True),
        ("penalties of second order", 2, False),
        ("penalties of second order", 3, True),
    ],
)
def test_an_ensemble_gives_the_same_numbers_on_any_layout(kind, members, shard, all_sharded):
    step, _ = gan(kind)
    together = ensemble.stack([gan(kind, seed)[1] for seed in range(members)])
    expected = trained(step, layout(devices(1), members=members), together, members)
    found = trained(step, layout(devices(4), members=members, shard_parameters=shard), together, members)
    assert_same(jax.tree.leaves(found), jax.tree.leaves(expected), ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("kind", TERMS)
def test_the_wrappers_of_steps_with_an_axis_name_agree(kind, check_vma):
    terms = TERMS[kind]

    def make(axis_name):
        norm = kind == "batch norm"
        step = iteration(make_joint_step(SAMPLER, terms, [g_loss(non_saturating)], axis_name=axis_name))
        generator = Generator(batch_norm=True, axis_name=axis_name)
        return step, tiny_gan(generator=generator, discriminator=Discriminator(norm, axis_name=axis_name))

    step, state = make(None)
    batch = tiny_batch(8)
    expected = jax.jit(step)(state, batch)
    step, state = make("data")
    mesh = jax.sharding.Mesh(np.array(devices(4)), ("data",))
    found = [jax.jit(sharded(step, mesh, check_vma=check_vma))(state, batch)]
    if check_vma and kind == "batch norm":
        found.append(mapped(step, devices(4))(state, jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), batch)))
    for each in found:
        assert_same(jax.tree.leaves(each), jax.tree.leaves(expected), ROUNDING)


# --- what a device holds, and what is sent ---


def state_bytes(state, device):
    shards = [shard for leaf in jax.tree.leaves(state) for shard in leaf.addressable_shards]
    return sum(shard.data.nbytes for shard in shards if shard.device == device)


@pytest.fixture(scope="module")
def dcgans():
    """Returns (state, compiled step) of a small DCGAN with Adam on 4 devices, replicated and sharded."""

    def init(key):
        with jax.numpy_dtype_promotion("standard"):
            g = init_player(key, DCGANGenerator(28, 1, 16), adam(), jnp.zeros((1, 16)))
            d = init_player(key, DCGANDiscriminator(16), adam(), jnp.zeros((1, 28, 28, 1)))
        rates = {"generator/learning_rate": 1e-3, "discriminator/learning_rate": 1e-3, "ema_half_life": 100.0}
        return GANState.create(key, g, d, hyper=rates)

    sampler = latents(16)
    step = iteration(make_joint_step(sampler, [d_loss(non_saturating)], [g_loss(non_saturating)]))
    programs = {}
    state = jax.jit(init)(jax.random.key(0))
    for shard in (False, True):
        where = layout(devices(4), shard_parameters=shard)
        program, own = laid_out(step, where, state)
        batch = {"image": jax.device_put(jnp.zeros((8, 28, 28, 1)), where.batch)}
        programs[shard] = own, program.lower(own, batch).compile(), where
    return programs


def gathered(text):
    """Counts the gathers of arrays of each size in an HLO text: elements -> times."""
    times = collections.Counter()
    for match in re.finditer(r"= (.*?) all-gather(?:-start)?\(", text):
        for dims in re.findall(r"f32\[([\d,]*)\]", match[1]):
            times[math.prod(map(int, filter(None, dims.split(","))))] += 1
    return times


@pytest.mark.slow
def test_only_parameters_are_gathered_and_only_where_they_are_used(dcgans):
    """The generator's are gathered once, for its one pass; the discriminator's for its own update and, updated, for the
    generator's. Moments and averages, of the same sizes, never are."""
    state, compiled, where = dcgans[True]
    expected = collections.Counter()
    for player, uses in ((state.generator, 1), (state.discriminator, 2)):
        for leaf in jax.tree.leaves(player.params):
            if not where.of({"leaf": leaf})["leaf"].is_fully_replicated:
                expected[leaf.size] += uses
    assert len(expected) > 2 and gathered(compiled.as_text()) == expected
    assert not gathered(dcgans[False][1].as_text())


@pytest.mark.slow
def test_gradients_are_summed_once_as_in_plain_data_parallelism(dcgans):
    def reduced(text):
        sizes = [
            math.prod(map(int, filter(None, dims.split(","))))
            for match in re.finditer(r"= (.*?) (?:all-reduce|reduce-scatter)(?:-start)?\(", text)
            for dims in re.findall(r"f32\[([\d,]*)\]", match[1])
        ]
        return sum(size for size in sizes if size > 1)

    texts = {shard: compiled.as_text() for shard, (_, compiled, _) in dcgans.items()}
    assert reduced(texts[True]) == reduced(texts[False]) > 0
    assert not re.search(r"all-to-all|collective-permute", texts[True])  # the batch stays where it is


@pytest.mark.slow
def test_a_device_holds_its_part_alone_at_rest(dcgans):
    (whole, whole_program, _), (parts, program, _) = dcgans[False], dcgans[True]
    total = sum(leaf.nbytes for leaf in jax.tree.leaves(whole))
    small = sum(leaf.nbytes for leaf in jax.tree.leaves(parts) if leaf.is_fully_replicated)
    each = (total - small) // 4 + small
    assert small < 0.02 * total
    assert [state_bytes(parts, device) for device in devices(4)] == [each] * 4
    assert [state_bytes(whole, device) for device in devices(4)] == [total] * 4
    # The program takes and leaves the parts; the difference is the batch and the metrics.
    one, four = program.memory_analysis(), whole_program.memory_analysis()
    assert four.argument_size_in_bytes - one.argument_size_in_bytes == pytest.approx(total - each, rel=0.01)
    assert four.output_size_in_bytes - one.output_size_in_bytes == pytest.approx(total - each, rel=0.01)
    kernels = (
        parts.generator.params["project"],
        parts.generator.opt_state.mu["project"],
        parts.ema["generator"]["params"]["project"],
    )
    assert all(kernel["kernel"].addressable_shards[0].data.size == 16 * 7 * 7 * 32 // 4 for kernel in kernels)


@pytest.mark.slow
def test_separate_steps_gather_too(all_sharded):
    steps = (
        make_d_step(SAMPLER, [d_loss(non_saturating), r1("gamma")]),
        make_g_step(SAMPLER, [g_loss(non_saturating)]),
    )
    where = layout(devices(4), shard_parameters=True)
    expected = trained(iteration(*steps), layout(devices(1)), tiny_gan(tx=adam(1e-3)))
    found = trained(iteration(*steps), where, tiny_gan(tx=adam(1e-3)))
    assert_same(jax.tree.leaves(found), jax.tree.leaves(expected), 1e-4)


def test_without_sharding_a_state_is_left_as_it_is():
    state = tiny_gan()
    assert layout(devices(4)).gathering(state) is state
    once, twice = (layout(devices(4), shard_parameters=True).gathering(state) for _ in range(2))
    assert jax.tree.structure(once) == jax.tree.structure(twice)  # or nothing compiled for one would take the other
