"""One step gives the same numbers in every way to run it: a table of GANs and transforms, against `jit` on the batch.

SGD, since Adam hides a wrong scale of the gradient; three steps with drawn latents.
"""

import functools
import os
import pathlib
import re
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import LATENT, Discriminator, Generator, assert_same, differs, given, tiny_batch, tiny_gan
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.adversarial import make_d_step, make_g_step, make_joint_step
from jaxgan.draw import Draw
from jaxgan.iteration import iteration, repeat
from jaxgan.losses import non_saturating, relativistic_average, wasserstein
from jaxgan.networks.minibatch import MinibatchDiscrimination, MinibatchStdDev
from jaxgan.parallel import mapped, sharded
from jaxgan.samplers import latents
from jaxgan.terms import Term, every, initial_extras
from jaxgan.terms.adversarial import d_loss, g_loss
from jaxgan.terms.penalties import r1, wgan_gp
from jaxgan.terms.regularizers import lecam

# --- the GANs ---


class Near(nn.Module):
    """A discriminator of 2×2 images whose logits depend on how near the examples are to each other."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, image, condition=None, *, train):
        x = nn.tanh(nn.Dense(8)(image.reshape(len(image), -1)))
        return {"logits": nn.Dense(1)(MinibatchDiscrimination(3, 2, self.axis_name)(x)).reshape(-1)}


class Comparing(nn.Module):
    """A discriminator of 2×2 images whose logits depend on how much the examples differ."""

    group: int | None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, image, condition=None, *, train):
        x = MinibatchStdDev(self.group, self.axis_name)(nn.tanh(nn.Dense(3)(image)))
        x = nn.tanh(nn.Dense(8)(x.reshape(len(x), -1)))
        return {"logits": nn.Dense(1)(x).reshape(-1)}


def running_mean(view):
    """Draws real logits to their mean in earlier steps, which the term keeps."""
    mean = view.extras["mean"]
    return (view.real["logits"] - mean) ** 2, view.extras | {"mean": 0.5 * (mean + jnp.mean(view.real["logits"]))}


KEPT = Term("kept", running_mean, 0.1)
LOGISTIC = d_loss(non_saturating), g_loss(non_saturating)
AVERAGE = d_loss(relativistic_average), g_loss(relativistic_average)
# D's terms, G's term, and D's module for an axis_name.
GANS = {
    "batch norm": (
        [LOGISTIC[0], KEPT],
        LOGISTIC[1],
        lambda axis: Discriminator(batch_norm=True, axis_name=axis),
    ),
    "penalties": ([LOGISTIC[0], r1("gamma"), wgan_gp(0.5), KEPT], LOGISTIC[1], lambda axis: Discriminator()),
    "relativistic average": ([AVERAGE[0]], AVERAGE[1], lambda axis: Discriminator()),
    # The global batch under `every`, and what is kept between steps, for both players.
    "lazy": (
        [LOGISTIC[0], every(r1("gamma"), 2), every(KEPT, 2), every(AVERAGE[0]._replace(name="average"), 2)],
        every(AVERAGE[1], 2),
        lambda axis: Discriminator(),
    ),
    "lecam": ([LOGISTIC[0], lecam(0.3, decay=0.5), KEPT], LOGISTIC[1], lambda axis: Discriminator()),
    "together": ([LOGISTIC[0]], LOGISTIC[1], lambda axis: Discriminator(batch_norm=True, axis_name=axis)),
    "accumulated": ([LOGISTIC[0], wgan_gp(0.5), KEPT], LOGISTIC[1], lambda axis: Discriminator()),
    "deviation of all": ([LOGISTIC[0], r1("gamma")], LOGISTIC[1], lambda axis: Comparing(None, axis)),
    "deviation of pairs": ([LOGISTIC[0], r1("gamma")], LOGISTIC[1], lambda axis: Comparing(2)),
    "minibatch discrimination": ([LOGISTIC[0]], LOGISTIC[1], Near),
    "repeated": ([d_loss(wasserstein), wgan_gp(0.5)], g_loss(wasserstein), lambda axis: Discriminator()),
}


def gan(kind, axis_name=None):
    """Returns (step, state) of one of GANS, whose generator has batch norm."""
    d_terms, g_term, discriminator = GANS[kind]
    sampler = latents(LATENT)
    if kind == "repeated":
        d_step = make_d_step(sampler, d_terms, axis_name=axis_name)
        step = iteration(repeat(d_step, 2), make_g_step(sampler, [g_term], axis_name=axis_name))
    elif kind == "accumulated":
        parts = {"accumulate": 2, "axis_name": axis_name}
        step = iteration(make_d_step(sampler, d_terms, **parts), make_g_step(sampler, [g_term], **parts))
    else:
        together = kind == "together"
        step = iteration(make_joint_step(sampler, d_terms, [g_term], axis_name=axis_name, together=together))
    generator = Generator(batch_norm=kind != "accumulated", axis_name=axis_name)
    extras = {"mean": jnp.zeros(())} | initial_extras({}, d_terms)
    state = tiny_gan(generator=generator, discriminator=discriminator(axis_name), extras=extras)
    return step, state


def batches(kind):
    return [tiny_batch(16 if kind == "repeated" else 8, seed) for seed in range(3)]


# --- the roads: step -> program, which takes the global batch and returns one state ---


def mesh(devices):
    return Mesh(np.array(jax.devices()[:devices]), ("data",))


def placed(step, devices):
    """Runs under jit, with a state on every device and a batch that is spread over them."""
    everywhere, split = (NamedSharding(mesh(devices), PartitionSpec(*axes)) for axes in ((), ("data",)))
    program = jax.jit(step)
    return lambda state, batch: program(jax.device_put(state, everywhere), jax.device_put(batch, split))


def shard_mapped(step, devices=4, check_vma=True):
    return placed(sharded(step, mesh(devices), check_vma=check_vma), devices)


def cut(batch, devices):
    return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)


def pmapped(step, devices=4):
    program = mapped(step, jax.devices()[:devices])
    everywhere = NamedSharding(mesh(devices), PartitionSpec())  # where it leaves the state; elsewhere it traces twice
    return lambda state, batch: program(jax.device_put(state, everywhere), cut(batch, devices))


def lanes(step, devices=4):
    """Runs data parallel on one device. `out_axes=None` is refused unless all lanes end in the same state."""
    program = jax.jit(jax.vmap(step, in_axes=(None, 0), out_axes=None, axis_name="data"))
    return lambda state, batch: program(state, cut(batch, devices))


# Those that name the axis over which the batch is split, and those that don't.
NAMED = {
    "pmap": pmapped,
    "shard_map": shard_mapped,
    "shard_map unchecked": functools.partial(shard_mapped, check_vma=False),
    "vmap": lanes,
}
ROADS = NAMED | {f"jit on {n}": functools.partial(placed, devices=n) for n in (1, 2, 4)}


def run(road, step, state, batches):
    """Returns the state and metrics after the last batch. Only the first one may trace, and so compile, anything."""
    traces = []

    def counted(state, batch):
        traces.append(len(traces))
        return step(state, batch)

    program = road(counted)
    for batch in batches:
        state, metrics = program(state, batch)
    assert len(traces) == 1
    return state, metrics


def numbers(outcome):
    """Returns arrays without the state's functions: modules that differ in `axis_name` have equal numbers."""
    state, metrics = outcome
    return jax.tree.leaves(state), metrics


@functools.cache
def reference(kind):
    """Returns the expected result: that of jit on the complete batches."""
    return run(jax.jit, *gan(kind), batches(kind))


def compare(kind, road, axis_name):
    step, state = gan(kind, axis_name)
    assert_same(numbers(run(road, step, state, batches(kind))), numbers(reference(kind)), 1e-5)


# --- the table ---

SEEDED = ["batch norm", "penalties", "deviation of all"]

SLOW = [kind for kind in GANS if kind not in ("batch norm", "repeated")]


def case(road, kind):
    """Returns a case of the table. What takes long to compile is in the slow tests, but for one GAN, or two; pmap and
    shard_map without its check, which compute what shard_map does, in the long ones."""
    fast = {"pmap": ["batch norm"], "shard_map unchecked": ["batch norm"], "shard_map": ["batch norm"]}
    fast["vmap"] = ["batch norm", "repeated"]
    fast["jit on 4"] = ["batch norm", "penalties", "relativistic average"]
    rest = pytest.mark.long if road in ("pmap", "shard_map unchecked") else pytest.mark.slow
    return pytest.param(road, kind, marks=() if kind in fast.get(road, GANS) else rest)


@pytest.mark.parametrize("road, kind", [case(road, kind) for road in (*NAMED, "jit on 4") for kind in GANS])
def test_every_road_leads_to_the_same_state(road, kind):
    compare(kind, ROADS[road], "data" if road in NAMED else None)


@pytest.mark.parametrize(
    "kind", ["batch norm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("deviation of pairs", "repeated"))]
)
@pytest.mark.parametrize("road", ["jit on 1", "jit on 2"])
def test_so_do_fewer_devices(road, kind):
    compare(kind, ROADS[road], None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["batch norm", "repeated", *SLOW])
def test_a_scan_leads_to_the_same_state(kind):
    step, state = gan(kind)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches(kind))
    after, history = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches))(state, stacked)
    assert_same(numbers((after, jax.tree.map(lambda x: x[-1], history))), numbers(reference(kind)), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lazy", *SEEDED])
def test_two_seeds_at_once_are_each_alone(kind):
    step, state = gan(kind)
    another = state.replace(key=jax.random.key(7), hyper=state.hyper | {"gamma": jnp.asarray(0.1)})
    seeds = jax.tree.map(lambda *x: jnp.stack(x), state, another)
    together = run(lambda step: jax.jit(jax.vmap(step, in_axes=(0, None))), step, seeds, batches(kind))
    for i, alone in enumerate((reference(kind), run(jax.jit, step, another, batches(kind)))):
        assert_same(numbers(jax.tree.map(lambda x, i=i: x[i], together)), numbers(alone), 1e-5)
    kernel = together[0].generator.params["Dense_0"]["kernel"]
    assert differs(kernel[0], kernel[1])


@pytest.mark.slow
def test_eager_and_jit_agree():
    step, state = gan("batch norm")
    batch = batches("batch norm")[0]
    assert_same(step(state, batch), jax.jit(step)(state, batch), 1e-5)


@pytest.mark.slow
def test_eight_devices_agree_with_one():
    code = """if True:
        from functools import partial
        from test_roads import compare, pmapped, placed, shard_mapped
        compare("relativistic average", partial(placed, devices=8), None)
        compare("relativistic average", partial(shard_mapped, devices=8), "data")
        compare("repeated", partial(shard_mapped, devices=8), "data")
        compare("repeated", partial(pmapped, devices=8), "data")
    """
    core = pathlib.Path(__file__).parent
    path = os.pathsep.join(map(str, (core, core.parent, core.parents[1])))
    flags = os.environ["XLA_FLAGS"].replace("_device_count=4", "_device_count=8")
    env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["relativistic average", "deviation of all"])
def test_the_table_tells_a_batch_from_its_shards_each_alone(kind, monkeypatch):
    monkeypatch.setattr(Draw, "gather", lambda self, tree: tree)
    *terms, discriminator = GANS[kind]
    monkeypatch.setitem(GANS, kind, (*terms, lambda axis: discriminator(None)))
    step, state = gan(kind, "data")
    after, _ = run(lanes, step, state, batches(kind))
    wanted, _ = reference(kind)
    gaps = jax.tree.map(lambda a, b: np.max(np.abs(a - b)), after.discriminator.params, wanted.discriminator.params)
    assert max(jax.tree.leaves(gaps)) > 1e-3  # a hundred times the tolerance


# --- what is drawn, counted, kept and moved ---


@pytest.mark.parametrize(
    "road", ["jit on 4", "vmap", *(pytest.param(road, marks=pytest.mark.slow) for road in NAMED if road != "vmap")]
)
def test_draws_are_those_of_the_global_batch(road):
    def drawn(view):
        return view.gather({"latent": view.fake["latent"], "number": jax.vmap(jax.random.uniform)(view.keys)})

    kept = Term("kept", lambda view: (view.fake["logits"], view.extras | drawn(view)))
    state = tiny_gan(extras={"latent": jnp.zeros((8, LATENT)), "number": jnp.zeros(8)})
    wanted, actual = (
        run(road, make_d_step(latents(LATENT), [kept], axis_name=axis_name), state, [tiny_batch(8)])[0].extras
        for road, axis_name in ((jax.jit, None), (ROADS[road], "data" if road in NAMED else None))
    )
    assert_same(actual, wanted, 1e-6)  # a normal's last bit depends on how XLA vectorises the inverse error function
    assert len(np.unique(wanted["number"])) == 8


@pytest.mark.parametrize("divide", ["images", "schedule"])
def test_images_are_counted_over_all_shards(divide):
    factor = {"schedule": lambda images: 1 / (1 + images)} if divide == "schedule" else {}
    whole, split = (
        iteration(make_g_step(given, [g_loss(non_saturating)], axis_name=axis_name, **factor))
        for axis_name in (None, "data")
    )
    # So late that the half-life holds: in its ramp-up the decay is the same for any batch size.
    state = tiny_gan().replace(step=jnp.asarray(1000, jnp.int32))
    assert_same(run(lanes, split, state, batches("any")), run(jax.jit, whole, state, batches("any")), 1e-6)


def test_statistics_of_each_shard_alone_are_averaged_over_shards():
    """Batch norm without `axis_name` normalises each shard by itself; its statistics must still be the same everywhere,
    or `lanes` refuses."""
    local = {"generator": Generator(batch_norm=True), "discriminator": Discriminator(batch_norm=True)}
    joint = make_joint_step(given, [d_loss(non_saturating)], [g_loss(non_saturating)], axis_name="data")
    run(lanes, joint, tiny_gan(**local), [tiny_batch(8)])


def test_counters_among_variables_and_extras_stay_integers_over_shards():
    """A mean over devices must not turn a counter into a float: the next step would compile anew, a scan would fail."""

    def count(view):
        return view.real["logits"], {"count": view.extras["count"] + 1}

    state = tiny_gan(discriminator=Discriminator(turns=True), extras={"count": jnp.zeros((), jnp.int32)})
    step = make_d_step(given, [Term("count", count)], axis_name="data")
    after, _ = run(lanes, step, state, [tiny_batch(8)])
    for counter in after.extras["count"], after.discriminator.variables["spectral"]["Turns_0"]["count"]:
        assert (counter.dtype, int(counter)) == (jnp.int32, 1)


def test_repeat_moves_no_example_to_another_device():
    split = NamedSharding(mesh(4), PartitionSpec("data"))
    arguments = jax.device_put((jnp.zeros((8, 2, 2, 1)), tiny_batch(16)), split)

    def collectives(step):
        return re.findall(r"all-\w+|collective-\w+", jax.jit(step).lower(*arguments).compile().as_text())

    assert not collectives(repeat(lambda state, batch: (state + batch["image"], {}), 2))
    assert collectives(lambda state, batch: state + batch["image"][:8] + batch["image"][8:])  # contiguous blocks do
