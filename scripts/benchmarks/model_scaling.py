"""Predicts how the time and the traffic of an iteration grow with devices: the model behind docs/scaling.md.

    python -m scripts.benchmarks.model_scaling

prints tables for two GANs, counted layer by layer: DCGAN at 64 pixels and BigGAN at 128 (Brock et al. 2019, arXiv
1809.11096). The machine's figures are options; some are assumed. `scripts.benchmarks.check_scaling` holds the counts
against what XLA compiles."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxgan.terminal import say
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.options.fields import Bounded, bounded

DEVICES = (1, 2, 4, 8, 16, 64)
FLOAT = 4  # bytes: gradients, parameters and statistics are float32


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    peak: float = bounded(989.5e12, above=0, below=math.inf)
    """FLOP/s of a device: NVIDIA's figure for an H200 in bfloat16, dense."""
    utilisation: float = bounded(0.25, above=0, at_most=1)
    """The part of the peak that an iteration reaches on one device. Assumed."""
    overhead: float = bounded(0.5e-3, at_least=0, below=math.inf)
    """Seconds an iteration costs whatever the batch (launching kernels). Assumed."""
    node: int = bounded(8, at_least=1)
    """Devices in a node."""
    link: float = bounded(450e9, above=0)
    """Bytes/s from a device into its node, one direction: NVIDIA's figure for NVLink 4 (900 GB/s both ways)."""
    card: float = bounded(50e9, above=0)
    """Bytes/s of a network card, one direction: InfiniBand NDR, 400 Gbit/s."""
    cards: int = bounded(8, at_least=1)
    """Network cards of a node."""
    attained: float = bounded(0.8, above=0, at_most=1)
    """The part of those bandwidths that a collective reaches. Assumed."""
    latency: float = bounded(20e-6, at_least=0, below=math.inf)
    """Seconds that a collective takes at least within a node; between nodes twice as much. Assumed."""


class Network(NamedTuple):
    """parameters: their count. macs: multiply-adds of a forward pass of one image. first: those of the layers whose
    input is data, so that nothing is propagated into it. norms, channels: batch norms, and their channels together."""

    parameters: int
    macs: int
    first: int
    norms: int = 0
    channels: int = 0


class Passes(NamedTuple):
    """The work of an iteration with a network, in passes of the batch: forward; backward into the weights; of these,
    how many stop at the first layer; backward into the layers' inputs. updates: collectives of the whole gradient.
    gathers: how often fully sharded parameters are gathered, where they are kept from the forward to the backward
    pass."""

    forward: int
    weights: int
    stops: int
    inputs: int
    updates: int
    gathers: int


class Gan(NamedTuple):
    name: str
    batch: int
    generator: Network
    discriminator: Network
    g: Passes
    d: Passes

    @property
    def players(self) -> tuple[tuple[Network, Passes], ...]:
        return (self.generator, self.g), (self.discriminator, self.d)


def dcgan(batch: int = 128, latent: int = 100, features: int = 64) -> Gan:
    """`jaxgan.networks.dcgan` at 64 pixels in colour, trained by `make_joint_step`."""
    widths = [8 * features, 4 * features, 2 * features, features]  # at 4, 8, 16 and 32 pixels
    pairs = [*zip(widths, [*widths[1:], 3], [4, 8, 16, 32], strict=True)]
    kernels = [16 * a * b for a, b, _ in pairs]
    macs = [size**2 * kernel for (_, _, size), kernel in zip(pairs, kernels, strict=True)]
    project, judge = latent * 16 * widths[0], 16 * widths[0]
    g = Network(project + sum(kernels) + 2 * sum(widths) + 3, project + sum(macs), project, 4, sum(widths))
    normed = sum(widths[:-1])
    d_parameters = judge + 1 + sum(kernels) + features + 2 * normed
    d = Network(d_parameters, judge + sum(macs), macs[-1], 3, normed)
    # One generator pass for both. D sees real and fake, both ways but for the images; then fakes again, for G alone.
    return Gan("DCGAN-64", batch, g, d, Passes(1, 1, 1, 1, 1, 1), Passes(3, 2, 2, 3, 1, 2))


def biggan(batch: int = 2048, ch: int = 96, classes: int = 1000) -> Gan:
    """BigGAN at 128 pixels: its appendix B and the authors' code (ajbrock/BigGAN-PyTorch), two D steps a G step."""
    shared, chunk = 128, 20  # the class's embedding, and the latent's share of each block
    wide = [16 * ch, 16 * ch, 8 * ch, 4 * ch, 2 * ch, ch]
    first = chunk * 16 * wide[0]
    parameters, macs, channels = classes * shared + first + 16 * wide[0], first, 0
    for a, b, size in zip(wide, wide[1:], (8, 16, 32, 64, 128), strict=False):
        kernels = 9 * a * b + 9 * b * b + a * b  # two 3×3 and the shortcut, after the upsampling
        gains = 2 * (shared + chunk) * (a + b)  # class-conditional batch norm
        parameters += kernels + 3 * b + gains
        macs += size**2 * kernels + gains
        channels += a + b
    attention, attention_macs = _attention(2 * ch)
    colours = 9 * ch * 3
    g_parameters = parameters + attention + 2 * ch + colours + 3
    g = Network(g_parameters, macs + attention_macs + 128**2 * colours, first, 11, channels + ch)

    narrow = [3, ch, 2 * ch, 4 * ch, 8 * ch, 16 * ch, 16 * ch]
    parameters = classes * narrow[-1] + narrow[-1] + 1
    macs, first = (
        2 * narrow[-1],
        128**2 * 9 * 3 * ch + 64**2 * 3 * ch,
    )  # the shortcut of the first block is pooled before
    for a, b, size in zip(narrow, narrow[1:], (128, 64, 32, 16, 8, 4), strict=False):
        shortcut = a * b if a != b else 0  # the last block has none
        parameters += 9 * a * b + 9 * b * b + shortcut + (3 if shortcut else 2) * b
        macs += size**2 * (9 * a * b + 9 * b * b) + (size // 2 if a == 3 else size) ** 2 * shortcut
    attention, attention_macs = _attention(ch)
    d = Network(parameters + attention, macs + attention_macs, first)
    # Every step has fakes of its own. What feeds a D step is not differentiated.
    return Gan("BigGAN-128", batch, g, d, Passes(3, 1, 1, 1, 1, 3), Passes(5, 4, 4, 5, 2, 3))


def _attention(channels: int) -> tuple[int, int]:
    """Parameters and multiply-adds of self-attention at 64×64, whose keys and values are pooled to 32×32."""
    kernels = channels * channels // 8 * 2 + channels * channels // 2 * 2
    pairs = 64**2 * 32**2
    return kernels + 1, 64**2 * kernels + pairs * (channels // 8 + channels // 2)


def flop(gan: Gan) -> int:
    """Operations an iteration takes for each image of its batch: two a multiply-add, backward as much into the weights
    and as much into the inputs as forward."""
    return sum(2 * (net.macs * (p.forward + p.weights + p.inputs) - net.first * p.stops) for net, p in gan.players)


def statistics(gan: Gan) -> int:
    """Bytes that batch norms reduce: mean and variance forward, and backward three sums a channel, two of which are the
    gradients of scale and bias or lead to them."""
    return FLOAT * sum(net.channels * (2 * p.forward + 3 * p.inputs) for net, p in gan.players)


def gradients(gan: Gan) -> int:
    """Bytes of the gradients that an iteration reduces, each once an update."""
    return FLOAT * sum(net.parameters * p.updates for net, p in gan.players)


def collectives(gan: Gan) -> int:
    """How many messages wait for each other: two a batch norm in either direction, and a gradient an update."""
    return sum(2 * net.norms * (p.forward + p.inputs) + p.updates for net, p in gan.players)


def bandwidth(o: Options, n: int) -> float:
    """Of a ring over n devices: between nodes, all cards of a node carry what its devices pass on."""
    return o.attained * (o.link if n <= o.node else min(o.link, o.cards * o.card))


def traffic(gan: Gan, n: int, sharded: bool = False) -> float:
    """Bytes that each device sends in an iteration. Ring: an all-reduce 2(n-1)/n of the array, an all-gather and a
    reduce-scatter half of that."""
    reduced = gradients(gan)
    gathered = FLOAT * sum(net.parameters * p.gathers for net, p in gan.players)
    return (n - 1) / n * (2 * statistics(gan) + (reduced + gathered if sharded else 2 * reduced))


def seconds(o: Options, gan: Gan, n: int, batch: int, sharded: bool = False) -> float:
    """An iteration on n devices; nothing is sent while something is computed."""
    compute = flop(gan) * batch / n / (o.peak * o.utilisation) + o.overhead
    if n == 1:
        return compute
    wait = collectives(gan) * o.latency * (1 if n <= o.node else 2)
    return compute + traffic(gan, n, sharded) / bandwidth(o, n) + wait


def efficiency(o: Options, gan: Gan, n: int, batch: int | None = None) -> float:
    """Of a batch that n devices share: what each of them does, as part of what one device alone does of it."""
    batch = batch or gan.batch
    return seconds(o, gan, 1, batch) / n / seconds(o, gan, n, batch)


def doublings(holds: Callable[[int], bool]) -> Iterator[int]:
    """1, 2, 4, ... as long as it holds."""
    return itertools.takewhile(holds, (2**i for i in range(40)))


def limits(o: Options, gan: Gan) -> str:
    """Where devices do half of what they would alone."""
    most = max(doublings(lambda n: efficiency(o, gan, n) >= 0.5))
    below = max(doublings(lambda batch: efficiency(o, gan, 8, batch) < 0.5), default=0)
    batch = 2 * below or 1
    return (
        f"Half efficient at least: batch {gan.batch:,} on up to {most}; on 8 from batch {batch:,} on (powers of two)."
    )


def state_bytes(gan: Gan, n: int = 1) -> float:
    """Parameters, Adam's two moments, the generator's average, and gradients, over n devices."""
    return FLOAT * (5 * gan.generator.parameters + 4 * gan.discriminator.parameters) / n


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def counts(gans: list[Gan]) -> str:
    rows: list[tuple[str, Callable[[Gan], str]]] = [
        ("parameters, G and D", lambda x: f"{x.generator.parameters:,} and {x.discriminator.parameters:,}"),
        (
            "GFLOP forward an image, G and D",
            lambda x: f"{x.generator.macs / 5e8:.3f}, {x.discriminator.macs / 5e8:.3f}",
        ),
        ("GFLOP an iteration, each image", lambda x: f"{flop(x) / 1e9:.2f}"),
        ("batch", lambda x: f"{x.batch:,}"),
        ("TFLOP an iteration", lambda x: f"{flop(x) * x.batch / 1e12:,.2f}"),
        ("gradients to reduce, MB", lambda x: f"{gradients(x) / 1e6:.1f}"),
        ("batch statistics to reduce, kB", lambda x: f"{statistics(x) / 1e3:.1f}"),
        ("collectives that wait for each other", lambda x: str(collectives(x))),
        ("sent by each of 8, replicated, MB", lambda x: f"{traffic(x, 8) / 1e6:,.1f}"),
        ("sent by each of 8, sharded, MB", lambda x: f"{traffic(x, 8, True) / 1e6:,.1f}"),
        ("state on each, replicated, MB", lambda x: f"{state_bytes(x) / 1e6:,.1f}"),
        ("state on each of 8, sharded, MB", lambda x: f"{state_bytes(x, 8) / 1e6:,.1f}"),
        ("state on each of 64, sharded, MB", lambda x: f"{state_bytes(x, 64) / 1e6:,.1f}"),
    ]
    return table(["", *(gan.name for gan in gans)], [[name, *map(form, gans)] for name, form in rows])


def growth(o: Options, gan: Gan) -> str:
    alone = seconds(o, gan, 1, gan.batch)
    slow = dataclasses.replace(o, cards=1)
    rows = []
    for n in DEVICES:
        strong, weak = seconds(o, gan, n, gan.batch), seconds(o, gan, n, n * gan.batch)
        parts = [efficiency(o, gan, n), alone / n / seconds(o, gan, n, gan.batch, True), efficiency(slow, gan, n)]
        percents = [f"{part:.0%}" for part in (*parts, alone / weak)]
        rows.append([str(n), f"{1e3 * strong:,.2f} ms", f"{gan.batch / strong:,.0f}", *percents])
    header = ["devices", "an iteration", "images/s", "efficiency", "sharded", "one card a node", "weak"]
    return table(header, rows)


def run(o: Options) -> None:
    gans = [dcgan(), biggan()]
    say(*counts(gans).split("\n"), "")
    for gan in gans:
        say(
            f"{gan.name}, batch {gan.batch:,}; weak: {gan.batch:,} images on each",
            "",
            *growth(o, gan).split("\n"),
            "",
            *limits(o, gan).split("\n"),
            "",
        )


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
