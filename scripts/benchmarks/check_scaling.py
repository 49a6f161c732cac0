"""Checks the counts of scripts.benchmarks.model_scaling against what XLA compiles.

    python -m scripts.benchmarks.check_scaling

compiles the iteration of DCGAN at 64 pixels, batch 128, for 1, 2 and 4 devices of a CPU that appears as four, with
replicated and with sharded parameters, and prints operations and bytes of the compiled programs beside the formulas.
Nothing is run; it takes a minute or two.
"""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import optax

from jaxgan import d_loss, g_loss, iteration, latents, make_joint_step
from jaxgan.losses import non_saturating
from jaxgan.networks import products
from jaxgan.networks.dcgan import Discriminator, Generator
from jaxgan.parallel import layout
from jaxgan.players import init_player
from jaxgan.state import GANState
from jaxgan.terminal import say
from jaxgan.training.cli.exits import plain_exits
from scripts.benchmarks.model_scaling import FLOAT, dcgan, flop, statistics, table

DEVICES = (1, 2, 4)
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
METRICS = 5  # the sums over the batch that an iteration tells


class Compiled(NamedTuple):
    """operations: one device's, by XLA's count. bytes, messages: of each kind of collective, the bytes it puts out."""

    operations: float
    bytes: dict[str, int]
    messages: dict[str, int]


def initial(key: jax.Array) -> GANState:
    tx = optax.scale_by_adam(b1=0.5)
    g = init_player(key, Generator(64, 3), tx, jnp.zeros((1, 100)))
    d = init_player(key, Discriminator(), tx, jnp.zeros((1, 64, 64, 3)))
    rates = {"generator/learning_rate": 2e-4, "discriminator/learning_rate": 2e-4, "ema_half_life": 1e4}
    return GANState.create(key, g, d, hyper=rates)


def compiled(n: int, sharded: bool = False) -> Compiled:
    """The iteration for n devices, the batch spread over them."""
    where = layout(jax.devices()[:n], shard_parameters=sharded)
    step = iteration(make_joint_step(latents(100), [d_loss(non_saturating)], [g_loss(non_saturating)]))
    state = where.gathering(jax.eval_shape(initial, jax.random.key(0)))
    batch = {"image": jax.ShapeDtypeStruct((dcgan().batch, 64, 64, 3), jnp.float32, sharding=where.batch)}
    jitted = jax.jit(step, out_shardings=(where.of(state), where.everywhere))
    # The formulas count the plain algorithm, which patches are; tiles do less.
    with mock.patch.object(products, "_form", lambda dtype, channels, features, geometry: products.Patches(**geometry)):
        program = jitted.lower(where.abstract(state), batch).compile()
    analysis: dict[str, Any] = program.cost_analysis()
    return Compiled(analysis["flops"], *collectives(program.as_text()))


def collectives(text: str) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes and number of the collectives in an HLO text, by kind. ValueError for arrays that aren't float32."""
    moved, number = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for match in re.finditer(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(", text):
        arrays = re.findall(r"(\w+)\[([\d,]*)\]", match[1])
        if any(kind != "f32" for kind, _ in arrays):
            raise ValueError(f"expected float32 alone, got {match[1]}")
        number[match[2]] += 1
        moved[match[2]] += FLOAT * sum(math.prod(map(int, filter(None, dims.split(",")))) for _, dims in arrays)
    return moved, number


def expected() -> tuple[float, int, int, int]:
    """By the formulas: operations on one device; bytes reduced where the discriminator's gradient is reduced once, and
    where it is for the real and the fake images apart; bytes gathered where parameters are sharded."""
    gan = dcgan()
    g, d = gan.generator, gan.discriminator
    # The gradients of a norm's scale and bias follow from the statistics.
    g_own, d_own = g.parameters - 2 * g.channels, d.parameters - 2 * d.channels
    once = statistics(gan) + FLOAT * (g_own + d_own + METRICS)
    # Biases, scales and statistics are too small to be sharded.
    gathered = FLOAT * ((g_own - 3) * gan.g.gathers + (d_own - 64 - 1) * gan.d.gathers)
    return flop(gan) * gan.batch, once, once + FLOAT * d_own, gathered


def report(compile_for: Callable[[int, bool], Compiled] = compiled) -> str:
    operations, once, twice, gathered = expected()
    rows = []
    for n, sharded in [*((n, False) for n in DEVICES), (DEVICES[-1], True)]:
        found = compile_for(n, sharded)
        alone = n == 1
        numbers = [0 if alone else once, 0 if alone else twice, found.bytes["all-reduce"]]
        numbers += [gathered if sharded else 0, found.bytes["all-gather"]]
        numbers.append(sum(found.bytes.values()) - found.bytes["all-reduce"] - found.bytes["all-gather"])
        numbers.append(found.messages["all-reduce"])
        name = f"{n}, sharded" if sharded else str(n)
        rows.append(
            [name, f"{operations / n / 1e9:.2f}", f"{found.operations / 1e9:.2f}", *(f"{x:,}" for x in numbers)]
        )
    header = ["devices", "GFLOP each: formula", "XLA", "bytes reduced: formula", "D's apart", "XLA"]
    return table([*header, "bytes gathered: formula", "XLA", "other", "all-reduces"], rows)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES[-1])
    with plain_exits():
        say(*report().split("\n"))
