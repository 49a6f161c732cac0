"""The lines that `scripts.benchmarks.steps` times: a GAN of ours and of PyTorch's each, and its FLOP counted by
hand."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from experiments import dcgan_mnist, gan_mnist, r3gan_mnist, stylegan2_mnist, wgan_gp_mnist
from jaxgan import d_loss, g_loss, latents
from jaxgan.losses import non_saturating
from jaxgan.networks.resnet import Discriminator, Generator
from jaxgan.training import GAN, DataSpec, compose

__all__ = ["LINES", "Line", "lowered", "residual"]


def lowered(gan: GAN, data: DataSpec) -> jax.stages.Lowered:
    """An iteration, not compiled, by whose `cost_analysis()` XLA counts its work, a loop's body once."""
    return jax.jit(gan.iteration).lower(jax.eval_shape(gan.init, jax.random.key(0)), data.batch(gan.taken()))


def residual(options: dcgan_mnist.Options, data: DataSpec) -> GAN:
    """Residual networks with the plain loss."""
    networks = (
        Generator(data.size, data.channels, options.features, options.compute_dtype),
        Discriminator(options.features, options.compute_dtype),
    )
    terms = [d_loss(non_saturating)], [g_loss(non_saturating)]
    return compose(options, data, networks, latents(options.latent_size), *terms, updates="joint")


class Network(NamedTuple):
    """Multiply-adds of a forward pass of one image; `first`, of which are in layers whose input is data."""

    macs: int
    first: int


def dense(widths: list[int]) -> Network:
    pairs = [a * b for a, b in itertools.pairwise(widths)]
    return Network(sum(pairs), pairs[0])


def dcgan(size: int, channels: int, features: int, latent: int) -> tuple[Network, Network]:
    """Kernels are 4×4, stride 2: every pixel of the smaller side meets the whole kernel."""
    widths, macs, side = [channels, *(features * 2**i for i in range(size.bit_length() - 3))], [], size
    for near, far in itertools.pairwise(widths):
        side //= 2
        macs.append(side**2 * 16 * near * far)
    project, judge = latent * 16 * widths[-1], 16 * widths[-1]
    return Network(project + sum(macs), project), Network(judge + sum(macs), macs[0])


def resnet(size: int, channels: int, width: int, latent: int) -> tuple[Network, Network]:
    """Two 3×3 convolutions a block, at the larger side of those that resize; shortcuts at the smaller."""
    sides = [4 << i for i in range(size.bit_length() - 2)]
    block, project = 2 * 9 * width * width, latent * 16 * width
    up = sum(block * large**2 + width * width * small**2 for small, large in itertools.pairwise(sides))
    image = size**2 * 9 * width * channels
    first = (size**2 * 9 + (size // 2) ** 2) * channels * width
    down = first + size**2 * 9 * width * width
    down += sum(block * side**2 + width * width * (side // 2) ** 2 for side in sides[2:-1])
    return Network(project + up + image, project), Network(down + 2 * block * 8**2 + width, first)


def r3gan(options: r3gan_mnist.Options, size: int, channels: int) -> tuple[Network, Network]:
    """1×1 convolutions between stages at the smaller side; two 1×1 and a 3×3 in groups in a block."""
    widths, n = options.widths, len(options.widths)
    blocks = options.blocks if len(options.blocks) == n else options.blocks * n
    sides, patch = [4 << i for i in range(n)], size // (2 << n)
    macs = 0
    for side, width, count in zip(sides, widths, blocks, strict=True):
        inner = options.expansion * width
        macs += side**2 * count * (2 * width * inner + 9 * inner * min(options.group, inner))
    macs += sum(side**2 * a * b for side, a, b in zip(sides[:-1], widths[:-1], widths[1:], strict=True))
    image, modulation = sides[-1] ** 2 * widths[-1] * channels * patch**2, options.latent_size * widths[0]
    return Network(macs + image + modulation, modulation), Network(macs + image + widths[0], image)


def penalised(g: Network, d: Network) -> int:
    """FLOP of an image of a joint iteration in pairs with R1 and R2: as `joint`, and D once more forwards for real
    images; each penalty goes back to the image, and through these products again, to the weights and along."""
    return joint(g, d) + 2 * (d.macs + 2 * 3 * d.macs)


def stylegan2(size: int, channels: int, options: stylegan2_mnist.Options) -> tuple[Network, Network]:
    """Convolutions and dense layers; a convolution that doubles or halves at the smaller side. Filters, noise and
    demodulation aren't counted."""
    sides = [4 << i for i in range(size.bit_length() - 2)]
    width = {side: min(options.max_features, options.features * size // side) for side in sides}
    style, first = options.latent_size, size**2 * channels * width[size]
    g = options.mapping_layers * style**2
    d = first + 16 * 9 * (width[4] + 1) * width[4] + 16 * width[4] ** 2 + width[4]
    for side in sides:
        g += (9 * width[side] ** 2 + width[side] * channels) * side**2 + 2 * style * width[side]
    for small, large in itertools.pairwise(sides):
        g += 9 * width[small] * width[large] * small**2 + style * width[small]
        d += 9 * width[large] ** 2 * large**2 + 10 * width[small] * width[large] * small**2
    return Network(g, style**2), Network(d, first)


def lazy(g: Network, d: Network, options: stylegan2_mnist.Options) -> int:
    """FLOP of an image of StyleGAN2: `joint`, and the shares of the penalties. R1 is as in `critic`. The path length of
    half the images goes through G forwards and back to the styles, and back through both, to weights and inputs."""
    penalties = 4 * d.macs / options.r1_every + 6 * g.macs / 2 / options.path_length_every
    return joint(g, d) + round(2 * penalties)


def joint(g: Network, d: Network) -> int:
    """FLOP of an image where both players share a generator pass. Each layer is gone through forwards, back to its
    weights and back to its input, the last not where that is data. D: so for real and for fake images, then forwards
    and back to the image for G."""
    return 2 * (3 * g.macs - g.first + 2 * (3 * d.macs - d.first) + 2 * d.macs)


def critic(g: Network, d: Network, steps: int) -> int:
    """FLOP of an image, real ones of all `steps` counted, with WGAN-GP. The penalty goes through D forwards and back to
    the image, and through these latter products again, to the weights and along: LeakyReLU has no second derivative, so
    that nothing comes back to the forward pass."""
    each = g.macs + 2 * (3 * d.macs - d.first) + 4 * d.macs
    return 2 * (steps * each + 3 * g.macs - g.first + 2 * d.macs) // steps


class Line(NamedTuple):
    """images: real ones that an iteration takes. flop: of one of them, by hand. recipe: PyTorch's, by name."""

    title: str
    build: Callable[[Any, DataSpec], GAN]
    options: Any
    data: DataSpec
    images: int
    flop: int
    recipe: str


def _line(title: str, module: Any, recipe: str, options: Any, size: int, channels: int, flop: int) -> Line:
    build = residual if recipe == "residual" else module.build
    images = options.batch_size * getattr(options, "critic_steps", 1)
    return Line(
        title, build, options, DataSpec.single("random", 10_000, (size, size, channels), 10), images, flop, recipe
    )


def _dcgan(size: int, channels: int, batch: int) -> Line:
    options = dcgan_mnist.Options(batch_size=batch)
    flop = joint(*dcgan(size, channels, options.features, options.latent_size))
    title = f"DCGAN {size}×{size}×{channels}, batch {batch}"
    return _line(title, dcgan_mnist, "dcgan_mnist", options, size, channels, flop)


def _r3gan(title: str, size: int, channels: int, **options: Any) -> Line:
    chosen = r3gan_mnist.Options(**options)
    flop = penalised(*r3gan(chosen, size, channels))
    return _line(title, r3gan_mnist, "r3gan_mnist", chosen, size, channels, flop)


def _stylegan2(size: int, channels: int) -> Line:
    options = stylegan2_mnist.Options(features=16, path_length=2.0, mixing=0.9)
    flop = lazy(*stylegan2(size, channels, options), options)
    title = f"StyleGAN2 {size}×{size}×{channels}, batch {options.batch_size}"
    return _line(title, stylegan2_mnist, "stylegan2", options, size, channels, flop)


def _lines() -> dict[str, Line]:
    mlp, gp = gan_mnist.Options(), wgan_gp_mnist.Options(features=64)
    res = dcgan_mnist.Options(features=128)
    widths = [mlp.width, 2 * mlp.width, 4 * mlp.width]
    dense_flop = joint(dense([mlp.latent_size, *widths, 784]), dense([784, *widths[::-1], 1]))
    gp_flop = critic(*dcgan(32, 3, gp.features, gp.latent_size), gp.critic_steps)
    res_flop = joint(*resnet(32, 3, res.features, res.latent_size))
    return {
        "mlp": _line("MLP GAN 28×28×1, batch 64", gan_mnist, "gan_mnist", mlp, 28, 1, dense_flop),
        "dcgan32": _dcgan(32, 1, 64),
        "dcgan64": _dcgan(64, 3, 128),
        "wgan_gp32": _line("WGAN-GP 32×32×3, 5 critic steps", wgan_gp_mnist, "wgan_gp_mnist", gp, 32, 3, gp_flop),
        "r3gan32": _r3gan("R3GAN 32×32×1, 8×8 pixels a patch, batch 16", 32, 1),
        "r3gan_groups32": _r3gan(
            *("R3GAN 32×32×3, in groups, batch 16", 32, 3),
            widths=(128, 64, 32, 16),
            blocks=(1,),
            expansion=2,
            group=16,
        ),
        "residual32": _line("residual 32×32×3, batch 64", dcgan_mnist, "residual", res, 32, 3, res_flop),
        "stylegan2_32": _stylegan2(32, 1),
        "stylegan2_64": _stylegan2(64, 3),
    }


LINES = _lines()
