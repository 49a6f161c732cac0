"""The model of scaling: its counts against the networks, and its sums by hand."""

import jax
import jax.numpy as jnp
import pytest

from jaxgan.networks.dcgan import Discriminator, Generator
from scripts.benchmarks.check_scaling import KINDS, Compiled, collectives, compiled, expected, report
from scripts.benchmarks.model_scaling import (
    Options,
    biggan,
    dcgan,
    efficiency,
    flop,
    gradients,
    seconds,
    statistics,
    traffic,
)


def test_parameters_of_dcgan_are_those_of_the_networks():
    inputs = {Generator(64, 3): (1, 100), Discriminator(): (1, 64, 64, 3)}
    for (module, shape), counted in zip(inputs.items(), (dcgan().generator, dcgan().discriminator), strict=True):
        variables = jax.eval_shape(lambda x, m=module: m.init(jax.random.key(0), x, train=False), jnp.zeros(shape))
        assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == counted.parameters
        assert sum(leaf.size for leaf in jax.tree.leaves(variables["batch_stats"])) == 2 * counted.channels
        assert len(variables["batch_stats"]) == counted.norms


def test_parameters_of_biggan():
    """As published for the authors' code, where D has an auxiliary classifier, and 1,000 biases more for it."""
    assert (biggan().generator.parameters, biggan().discriminator.parameters) == (70_433_988, 87_982_370)


def test_operations_by_hand():
    """Layers of DCGAN: 100 · 8192; three times 16 pixels · 16 · 512 · 256, the fourth 1024 · 16 · 64 · 3; 8192."""
    inner, image = 3 * 33_554_432, 3_145_728
    assert dcgan().generator.macs == 819_200 + inner + image
    assert dcgan().discriminator.macs == inner + image + 8192
    # Forward and twice backward; D three times forward, twice into weights, three times into inputs but the images.
    g, d = 3 * (819_200 + inner + image) - 819_200, 8 * (inner + image + 8192) - 2 * image
    assert flop(dcgan()) == 2 * (g + d)


def test_traffic_by_hand():
    gan = dcgan()
    assert gradients(gan) == 4 * (3_576_707 + 2_765_633)
    assert statistics(gan) == 4 * (5 * 960 + 3 * 5 * 896)
    assert traffic(gan, 1) == 0
    assert traffic(gan, 4) == 2 * 3 / 4 * (gradients(gan) + statistics(gan))
    # Sharded: D is gathered once more than it is reduced, since G's part of the iteration needs the new one.
    assert traffic(gan, 4, True) - traffic(gan, 4) == pytest.approx(3 / 4 * 4 * 2_765_633)


def test_time_and_efficiency():
    o = Options(peak=1e12, utilisation=0.5, overhead=0, latency=0, link=float("inf"), cards=10**9)
    assert seconds(o, dcgan(), 1, 128) == pytest.approx(flop(dcgan()) * 128 / 5e11)
    assert [efficiency(o, dcgan(), n) for n in (1, 4)] == pytest.approx([1, 1])
    assert efficiency(Options(), biggan(), 8) > efficiency(Options(), dcgan(), 8)


def test_collectives_are_read_from_a_program():
    text = """
      %a = f32[512]{0} all-reduce(f32[512]{0} %x), channel_id=1
      ROOT %b = (f32[64,48]{1,0}, f32[]) all-reduce(%y, %z), channel_id=2
      %c = f32[8,2]{1,0} all-gather-start(f32[4,2]{1,0} %w), dimensions={0}
      %d = f32[8] add(f32[8] %all-reduce.3, f32[8] %v)
      %e = f32[2] reduce-window(f32[4] %u)
    """
    moved, number = collectives(text)
    assert moved == dict.fromkeys(KINDS, 0) | {"all-reduce": 4 * (512 + 64 * 48 + 1), "all-gather": 64}
    assert number["all-reduce"] == 2 and number["all-gather"] == 1
    with pytest.raises(ValueError, match="float32 alone"):
        collectives("%a = s32[3]{0} all-reduce(%x)")


def test_the_report_has_a_row_a_program():
    none = dict.fromkeys(KINDS, 0)
    lines = report(lambda n, sharded: Compiled(1e9 / n, none | {"all-reduce": 12_345}, none)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1", "| 2", "| 4", "| 4, sharded"]
    assert all("12,345" in line for line in lines[2:])


@pytest.mark.slow
def test_what_xla_compiles(as_users_have_it):
    """To the byte what the formulas say, and the operations of matrix products within what else is computed."""
    operations, _, twice, gathered = expected()
    for sharded in (False, True):
        found = compiled(2, sharded)
        assert operations / 2 <= found.operations <= 1.05 * operations / 2
        assert found.bytes["all-reduce"] == pytest.approx(twice, abs=100 if sharded else 0)
        assert found.bytes["all-gather"] == (gathered if sharded else 0)
