"""StyleGAN2 on MNIST. Karras et al. 2020, https://arxiv.org/abs/1912.04958

What it reaches: a Fréchet distance of 1.36 and a coverage of 0.76 (mnist-v1), seed 0. At first all digits are alike,
for 50,000 to 100,000 images; then they grow more and more varied.

    python -m experiments.stylegan2_mnist

takes about a quarter of an hour on two CPU cores, or 26 minutes of one, for 384,000 images; pictures are in
docs/results.md.

Mapping network, modulated convolutions with demodulation, noise for every pixel, output skips, a residual discriminator
with the minibatch's standard deviation, filtered resampling and an equalised rate are the paper's; so are the
non-saturating loss, the lazy R1 penalty, and Adam without a first moment. As in the CIFAR-10 setting of the same
authors (https://arxiv.org/abs/2006.06676) the mapping network has two layers, and there is no style mixing and no path
length, which --mixing 0.9 and --path-length 2 add. R1 is stronger than theirs, γ = 1 for 0.01. --preset paper has the
sizes of configuration F and both, for GPUs; nobody has run it here, and its time and memory are not measured.

What is otherwise: a lazy penalty joins the gradient of every k-th update instead of having an update of its own, so
that there are k updates in k iterations, and rate and betas need no correction for k + 1 (the paper's appendix B); both
players learn from one generator pass; the path length is that of the batch's own styles, of every second image.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxgan import GANState, Outcome, Step, ada, iteration, joint, penalties, update
from jaxgan.data.transform import FitOrTiles
from jaxgan.losses import non_saturating
from jaxgan.networks.stylegan2 import Discriminator, Generator
from jaxgan.samplers import Sampler, labelled_latents, latents
from jaxgan.schedules import rates
from jaxgan.styles import mixed, mixing_cuts
from jaxgan.training import GAN, DataSpec, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.options.data import Size
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName, hyper, optimizer, schedule
from jaxgan.training.recipe.compose import labels_needed, with_lookahead
from jaxgan.training.recipe.gan import init_with
from jaxgan.training.recipe.latents import sample_through, style_latents

Images = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    image_size: Size | None = 32
    fit: FitOrTiles = "pad"
    steps: int = 12_000
    batch_size: int = 32
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2.5e-3
    beta1: float = 0.0
    beta2: float = 0.99
    features: int = bounded(8, at_least=1)
    """Channels at full size; they double with every halving, up to --max-features."""
    max_features: int = bounded(64, at_least=1)
    """The most channels of a layer."""
    latent_size: int = bounded(64, at_least=1)
    """Numbers in a latent, and in a style w."""
    mapping_layers: int = bounded(2, at_least=1)
    """Layers of the mapping network."""
    conditional: bool = False
    """Draw images of a given class; the data need labels."""
    r1: float = bounded(1.0, at_least=0, below=math.inf)
    """The gamma of the penalty on real images; its weight, half of it, is `r1` for --sweep."""
    r1_every: int = bounded(16, at_least=1)
    """Discriminator updates between two with the R1 penalty, which then counts so many times."""
    path_length: float = bounded(0.0, at_least=0, below=math.inf)
    """The weight of the path-length penalty, the paper's is 2; `path_length` for --sweep. With 0 there is none."""
    path_length_every: int = bounded(4, at_least=1)
    """Generator updates between two with the path-length penalty, which then counts so many times."""
    mixing: float = bounded(0.0, at_least=0, at_most=1)
    """The share of images whose later layers read the style of a second latent; the paper's is 0.9."""

    ada: bool = False
    """Show the discriminator changed images, as often as it overfits, for small sets; https://arxiv.org/abs/2006.06676."""
    ada_images: int = bounded(500_000, at_least=1)
    """Images in which the probability of a change can rise from 0 to 1, with --ada."""

    TAKES: ClassVar = "image"
    PRESETS: ClassVar = {
        "paper": {
            "steps": 781_250,  # 25 million images
            "learning_rate": 2e-3,
            "features": 512,
            "max_features": 512,
            "latent_size": 512,
            "mapping_layers": 8,
            "r1": 10.0,
            "path_length": 2.0,
            "mixing": 0.9,
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
            "r1_every": 2,
            "path_length": 2.0,
            "path_length_every": 2,
            "mixing": 0.9,
        },
    }


def networks(options: Options, data: DataSpec) -> tuple[Generator, Discriminator]:
    """Returns the generator and the discriminator."""
    common: dict[str, Any] = {
        "features": options.features,
        "max_features": options.max_features,
        "dtype": options.compute_dtype,
        "classes": labels_needed(data) if options.conditional else 0,
        "style_features": options.latent_size,
        "mapping_layers": options.mapping_layers,
    }
    return Generator(size=data.size, channels=data.channels, **common), Discriminator(**common)


def drawn_styles(nets: Any, batch: Images, draw: Any, sampler: Sampler, layers: int, mixing: float) -> jax.Array:
    """Draws the styles of a batch, one for each layer. mixing: the share of images with two styles."""

    def style(mapping: Callable[..., jax.Array], name: str) -> jax.Array:
        inputs = sampler(batch, draw.keys(name))
        return mapping(inputs["latent"], inputs.get("condition"), method="mapping")

    w = style(nets["generator"], "latent")
    if not mixing:
        return jnp.repeat(w[:, None], layers, axis=1)
    # Frozen, so that an image counts once in the mean of w.
    other = style(nets["generator"].frozen, "second latent")
    return mixed(w, other, mixing_cuts(draw, layers, mixing), layers)


def generate(sampler: Sampler, layers: int, mixing: float) -> Callable[..., Images]:
    """Returns the pass that both players learn from. mixing: as of `drawn_styles`."""

    def make(nets: Any, batch: Images, draw: Any, state: GANState) -> Images:
        styles = drawn_styles(nets, batch, draw, sampler, layers, mixing)
        return {"image": nets["generator"](styles, method="synthesize"), "styles": styles}

    return make


def judge(options: Options, nets: Any, batch: Images, draw: Any, state: GANState) -> Callable[..., jax.Array]:
    """Returns `(images, name) -> logits` of the discriminator, which sees what --ada makes of the images; `frozen`
    passes change nothing. name: of the draws."""
    condition = batch["label"] if options.conditional else None

    def logits(images: jax.Array, name: str, *, frozen: bool = False) -> jax.Array:
        if options.ada:
            images = ada.augment(images, draw.keys(f"augment {name}"), state.extras["ada"])
        d = nets["discriminator"]
        said: jax.Array = (d.frozen if frozen else d)(images, condition)["logits"]
        return said

    return logits


def discriminator(options: Options) -> Callable[..., Outcome]:
    """Returns D's objective: the non-saturating loss and, in every --r1-every-th update, R1."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState, fake: Images) -> Outcome:
        logits, extras = judge(options, nets, batch, draw, state), {}
        real_logits, fake_logits = logits(batch["image"], "real"), logits(fake["image"], "fake")
        losses = {"adversarial": non_saturating.d(real_logits, fake_logits)}
        metrics = {"real_logits": real_logits, "fake_logits": fake_logits}
        if options.r1:
            critic = lambda images: logits(images, "real", frozen=True)  # noqa: E731 - used at once
            losses["r1"] = draw.every(options.r1_every, lambda: penalties.r1(critic, batch["image"]))
        if options.ada:
            sign = draw.mean(jnp.mean(jnp.sign(jax.lax.stop_gradient(real_logits))))
            extras["ada"] = ada.adapted(state.extras["ada"], sign, draw.count, speed=options.ada_images)
            metrics |= {"ada": state.extras["ada"], "real_sign": sign}
        return Outcome(losses, extras, metrics)

    return objective


def generator(options: Options) -> Callable[..., Outcome]:
    """Returns G's objective: the non-saturating loss and, in every --path-length-every-th update, the path length."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState, fake: Images) -> Outcome:
        logits = judge(options, nets, batch, draw, state)(fake["image"], "fake")
        losses, extras = {"adversarial": non_saturating.g(logits)}, {}

        def path_length() -> tuple[jax.Array, jax.Array]:
            noise = draw.normal("path length", *fake["image"].shape[1:])
            return penalties.path_length(
                lambda styles: nets["generator"].frozen(styles, method="synthesize"),
                fake["styles"][::2],
                noise[::2],
                state.extras["path length"],
                lambda lengths: draw.mean(jnp.mean(lengths)),
            )

        if options.path_length:
            losses["path_length"], extras["path length"] = draw.every(
                options.path_length_every, path_length, state.extras["path length"]
            )
        return Outcome(losses, extras, {"fake_logits": logits})

    return objective


def make_iteration(options: Options, sampler: Sampler, layers: int, axis_name: str | None = None) -> Step:
    """Returns the iteration of both players."""
    factor = schedule(options)
    how: dict[str, Any] = {
        "make": generate(sampler, layers, options.mixing),
        "accumulate": options.accumulate,
        "axis_name": axis_name,
    }
    d_weights, g_weights = ({name: name} if getattr(options, name) else {} for name in ("r1", "path_length"))
    d_rates, g_rates = rates(factor, "discriminator"), rates(factor, "generator")
    d = update("discriminator", discriminator(options), weights=d_weights, schedules=d_rates, **how)
    g = update("generator", generator(options), weights=g_weights, schedules=g_rates, **how)
    return iteration(joint(d, g)) if options.accumulate == 1 else iteration(d, g)


def build(options: Options, data: DataSpec) -> GAN:
    g, d = networks(options, data)
    sampler = labelled_latents(options.latent_size) if options.conditional else latents(options.latent_size)
    latent = jax.ShapeDtypeStruct((1, options.latent_size), jnp.float32)
    label = jax.ShapeDtypeStruct((1,), jnp.int32) if options.conditional else None
    weights = {"r1": options.r1 / 2, "path_length": options.path_length}
    kept = {"path length": options.path_length, "ada": options.ada}  # what objectives keep between updates, from 0
    init = init_with(
        g,
        d,
        optimizer(options),
        latent,
        data.field.batch(1),
        hyper(options) | {name: weight for name, weight in weights.items() if weight},
        conditions=(label, label),
        extras=lambda players: {name: jnp.zeros(()) for name, used in kept.items() if used},
    )
    space = style_latents(sampler, g, data.main)
    step = make_iteration(options, sampler, len(g.layers))
    return with_lookahead(options, GAN(init, step, options.batch_size, sample_through(space), latents=space))


if __name__ == "__main__":
    main(Options, build)
