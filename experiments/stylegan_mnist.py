"""The first StyleGAN on MNIST. Karras et al. 2019, https://arxiv.org/abs/1812.04948

What it should reach: clean digits, but few kinds of each (Fréchet distance, mnist-v1, 14.2; coverage 0.205; seed 0).
At first all are alike, as in `experiments.stylegan2_mnist`.

    python -m experiments.stylegan_mnist

takes 39 minutes of one core of an AMD EPYC.

A "style-code network" makes a style w of each latent, a "core generator" an image of styles: from a learned constant,
by convolutions with noise for every pixel, and adaptive instance normalisation by the style after each; filtered
resampling, an equalised rate in all layers, style mixing, truncation when drawing (`scripts.sample --truncation`).
Loss and penalty are the paper's for FFHQ, non-saturating with R1: against WGAN-GP it has one latent and one update of D
for one of G, and needs no gradient between real and fake. R1 is computed in every --r1-every-th update only, as in
StyleGAN2. Resolutions are fixed, and all trained from the start; with --growth-images they fade in one after the other
from 8×8 on, as in the paper (progressive growing, Karras et al. 2018, https://arxiv.org/abs/1710.10196).

Where tutorials go wrong: their core generator has convolutions with stride 2, which halve the image that they should
double; AdaIN without a style of its own for each layer, or with means over the batch; noise of which every channel has
its own picture; no loss at all, or one on sigmoids. --preset paper has the paper's widths, for GPUs; nobody has run it
here, and its time and memory are not measured.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from experiments.stylegan2_mnist import drawn_styles
from jaxgan import GANState, Outcome, Step, iteration, joint, latents, penalties, update
from jaxgan.data.transform import FitOrTiles
from jaxgan.losses import non_saturating
from jaxgan.networks.stylegan import Discriminator, Generator, faded, growth
from jaxgan.schedules import rates
from jaxgan.training import GAN, DataSpec, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.options.data import Size
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName, hyper, optimizer, schedule
from jaxgan.training.recipe.compose import with_lookahead
from jaxgan.training.recipe.gan import init_with
from jaxgan.training.recipe.latents import sample_through, style_latents

Images = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    image_size: Size | None = 32
    fit: FitOrTiles = "pad"
    steps: int = 8000
    batch_size: int = 32
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-3
    beta1: float = 0.0
    beta2: float = 0.99
    features: int = bounded(8, at_least=1)
    """Channels at full size; they double with every halving, up to --max-features."""
    max_features: int = bounded(64, at_least=1)
    """The most channels of a layer."""
    latent_size: int = bounded(64, at_least=1)
    """Numbers in a latent, and in a style w."""
    mapping_layers: int = bounded(4, at_least=1)
    """Layers of the mapping network; the paper has 8."""
    mixing: float = bounded(0.9, at_least=0, at_most=1)
    """The share of images whose later layers read the style of a second latent."""
    r1: float = bounded(1.0, at_least=0, below=math.inf)
    """The gamma of the penalty on real images, the paper's is 10; its weight, half of it, is `r1` for --sweep."""
    r1_every: int = bounded(8, at_least=1)
    """Discriminator updates between two with the R1 penalty, which then counts so many times."""
    growth_images: int = bounded(0, at_least=0)
    """Images that a resolution is trained on, and over which the next fades in. With 0 all are there at once."""

    TAKES: ClassVar = "image"
    PRESETS: ClassVar = {
        "paper": {
            "steps": 781_250,  # 25 million images
            "features": 512,
            "max_features": 512,
            "latent_size": 512,
            "mapping_layers": 8,
            "r1": 10.0,
            "r1_every": 1,
            "growth_images": 600_000,
            "checkpoint_every": 5000,
            "sample_every": 5000,
        },
        "smoke": {
            "dataset": "digits",
            "steps": 2,
            "batch_size": 8,
            "image_size": 8,
            "fit": "crop",
            "features": 2,
            "latent_size": 8,
            "mapping_layers": 2,
            "r1_every": 2,
        },
    }


def networks(options: Options, data: DataSpec) -> tuple[Generator, Discriminator]:
    """Returns the generator and the discriminator."""
    common: dict[str, Any] = {
        "size": data.size,
        "features": options.features,
        "max_features": options.max_features,
        "grows": options.growth_images > 0,
        "dtype": options.compute_dtype,
    }
    styles: dict[str, Any] = {"style_features": options.latent_size, "mapping_layers": options.mapping_layers}
    return Generator(channels=data.channels, **styles, **common), Discriminator(**common)


def grown(options: Options, state: GANState, size: int) -> dict[str, jax.Array]:
    """Returns what networks that grow are given beside their inputs."""
    if not options.growth_images:
        return {}
    images = jnp.asarray(state.step, jnp.float32) * options.batch_size
    return {"position": growth(images, size, options.growth_images)}


def generate(options: Options, size: int, layers: int) -> Callable[..., Images]:
    """Returns the pass that both players learn from."""
    sampler = latents(options.latent_size)

    def make(nets: Any, batch: Images, draw: Any, state: GANState) -> Images:
        styles = drawn_styles(nets, batch, draw, sampler, layers, options.mixing)
        return {"image": nets["generator"](styles, method="synthesize", **grown(options, state, size))}

    return make


def discriminator(options: Options, size: int) -> Callable[..., Outcome]:
    """Returns D's objective: the non-saturating loss and, in every --r1-every-th update, R1."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState, fake: Images) -> Outcome:
        d, how = nets["discriminator"], grown(options, state, size)
        real = faded(batch["image"], **how) if how else batch["image"]
        real_logits, fake_logits = (d(images, **how)["logits"] for images in (real, fake["image"]))
        losses = {"adversarial": non_saturating.d(real_logits, fake_logits)}
        if options.r1:
            critic = lambda images: d.frozen(images, **how)["logits"]  # noqa: E731 - used at once
            losses["r1"] = draw.every(options.r1_every, lambda: penalties.r1(critic, real))
        return Outcome(losses, metrics={"real_logits": real_logits, "fake_logits": fake_logits, **how})

    return objective


def generator(options: Options, size: int) -> Callable[..., Outcome]:
    """Returns G's objective, the non-saturating loss."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState, fake: Images) -> Outcome:
        logits = nets["discriminator"](fake["image"], **grown(options, state, size))["logits"]
        return Outcome({"adversarial": non_saturating.g(logits)}, metrics={"fake_logits": logits})

    return objective


def make_iteration(options: Options, size: int, layers: int, axis_name: str | None = None) -> Step:
    """Returns the iteration of both players."""
    factor = schedule(options)
    how: dict[str, Any] = {
        "make": generate(options, size, layers),
        "accumulate": options.accumulate,
        "axis_name": axis_name,
    }
    weights: dict[str, float | str] = {"r1": "r1"} if options.r1 else {}
    d_rates, g_rates = rates(factor, "discriminator"), rates(factor, "generator")
    d = update("discriminator", discriminator(options, size), weights=weights, schedules=d_rates, **how)
    g = update("generator", generator(options, size), schedules=g_rates, **how)
    return iteration(joint(d, g)) if options.accumulate == 1 else iteration(d, g)


def build(options: Options, data: DataSpec) -> GAN:
    g, d = networks(options, data)
    latent = jax.ShapeDtypeStruct((1, options.latent_size), jnp.float32)
    weights = {"r1": options.r1 / 2} if options.r1 else {}
    init = init_with(g, d, optimizer(options), latent, data.field.batch(1), hyper(options) | weights)
    space = style_latents(latents(options.latent_size), g, data.main)
    step = make_iteration(options, data.size, len(g.layers))
    return with_lookahead(options, GAN(init, step, options.batch_size, sample_through(space), latents=space))


if __name__ == "__main__":
    main(Options, build)
