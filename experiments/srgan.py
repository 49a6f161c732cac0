"""SRGAN and ESRGAN: photographs enlarged two to four times. Ledig et al. 2017, https://arxiv.org/abs/1609.04802, and
Wang et al. 2018, https://arxiv.org/abs/1809.00219

What it should reach: after the pixels alone a better PSNR and SSIM on Set5 than bicubic interpolation (28.4 dB and 0.81
at four times the size): 30.2 dB and 0.859, of twenty pictures. After the adversarial part a worse PSNR and, in the
papers, pictures that are nearer to the originals in what a network sees. Here, after 200 updates of it, edges are
sharper and a pattern shows in even areas, and they are not nearer: see the numbers and the picture in docs/results.md.

    python -m experiments.srgan
    python -m experiments.srgan --dataset folder:PHOTOGRAPHS
    python -m experiments.srgan --dataset folder:PHOTOGRAPHS --steps 600
    python -m scripts.translate RUN PICTURE --out DIR --interpolation 0.5

Three minutes on two CPU cores. Bare, it learns from scikit-learn's two photographs, so that it runs everywhere; a
folder of your own gives more.

SRResNet without batch normalisation and with 3×3 convolutions at its ends learns what is to be added to the bicubically
enlarged source; --generator rrdb is ESRGAN's. Sources are made in the step: shrunk bicubically with antialiasing as
MATLAB does, then held as 8 bits; --blur, --noise and --jpeg make them worse. The first --pretrain-steps learn from
pixels (L1) alone, so that --steps no higher than these is a run without a discriminator; the others from pixels,
feature maps and a relativistic average discriminator, as ESRGAN's. The averaged weights at the end of the first part
stay in the state: a picture can be drawn with weights anywhere between both (`interpolation`, ESRGAN's section 3.4).
Feature maps are those of a small network that comes with the package. VGG-19's need a file of weights, --feature-maps
vgg19:FILE, and weights of losses such as the preset's; both papers compare one layer of it, this experiment the last of
each size. --preset paper has the sizes and lengths of SRGAN, for a GPU, and ESRGAN's weights of losses; nobody has run
it here.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import Frozen, GANState, Outcome, Step, degrade, init_players, iteration, joint, phases, update
from jaxgan.data.transform import FitOrTiles
from jaxgan.evaluation.features.perceptual import feature_maps
from jaxgan.losses import non_saturating, perceptual_loss, relativistic_average
from jaxgan.networks.superresolution import RRDBNet, SRResNet, VGGDiscriminator
from jaxgan.networks.translation import PatchDiscriminator
from jaxgan.schedules import rates
from jaxgan.training import GAN, DataSpec, Translation, UsageError, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.options.data import Size
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName, hyper, optimizer, schedule
from jaxgan.training.recipe.compose import with_lookahead
from jaxgan.training.recipe.gan import Weights

LOSSES = {"non_saturating": non_saturating, "relativistic_average": relativistic_average}
OF_D = "discriminator"  # its own layers in place of another network's feature maps
Images = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    dataset: str = "photographs"
    image_size: Size | None = 96
    load_size: Size | None = 128
    fit: FitOrTiles = "tiles"
    flip: bool = True
    turn: bool = True
    steps: int = 800
    pretrain_steps: int = bounded(600, at_least=0)
    """The first of --steps, in which the generator learns from pixels alone."""
    batch_size: int = 8
    optimizer: OptimizerName = "adam"
    learning_rate: float = 1e-4
    discriminator_learning_rate: float | None = 3e-4
    pretrain_learning_rate: float = bounded(1e-3, above=0, below=math.inf)
    """The generator's rate in --pretrain-steps."""
    beta1: float = 0.9
    beta2: float = 0.999
    ema_half_life: float = 1000.0
    upscale: Literal[2, 3, 4] = 4
    """How many times as high and wide pictures become."""
    blur: float = bounded(0.0, at_least=0, below=math.inf)
    """Blur sources before they are shrunk, by a Gaussian of so many pixels' standard deviation."""
    noise: float = bounded(0.0, at_least=0, below=math.inf)
    """Add noise of this standard deviation to sources; images are in [-1, 1]."""
    jpeg: int | None = bounded(None, at_least=1, at_most=100)
    """Save sources as JPEG of this quality."""

    generator: Literal["srresnet", "rrdb"] = "srresnet"
    """SRGAN's or ESRGAN's."""
    features: int = bounded(32, at_least=1)
    """Channels of the generator's layers."""
    blocks: int = bounded(8, at_least=0)
    """The generator's residual blocks."""
    discriminator: Literal["vgg", "patch"] = "vgg"
    """SRGAN's, which judges an image, or pix2pix's, which judges patches of 34 pixels."""
    discriminator_features: int = bounded(16, at_least=1)
    """Channels of the discriminator's first layer; deeper ones have up to eight times as many."""
    loss: Literal["non_saturating", "relativistic_average"] = "relativistic_average"
    """The adversarial loss: SRGAN's or ESRGAN's."""
    feature_maps: str = "cifar10-v1"
    """Whose feature maps the perceptual loss compares: cifar10-v1, vgg19:FILE, mnist-v1 or, for its own layers,
    discriminator."""
    pixel: float = bounded(1.0, at_least=0, below=math.inf)
    """Weight of the mean absolute difference of pixels, after --pretrain-steps; `pixel` for --sweep."""
    perceptual: float = bounded(0.3, at_least=0, below=math.inf)
    """Weight of the mean absolute difference of feature maps; `perceptual` for --sweep."""
    adversarial: float = bounded(0.005, at_least=0, below=math.inf)
    """Weight of the adversarial loss; `adversarial` for --sweep."""

    TAKES: ClassVar = "image"
    PRESETS: ClassVar = {
        "paper": {
            "steps": 1_200_000,
            "pretrain_steps": 1_000_000,
            "batch_size": 16,
            "discriminator_learning_rate": None,
            "pretrain_learning_rate": 1e-4,
            "ema_half_life": 10_000.0,
            "features": 64,
            "blocks": 16,
            "discriminator_features": 64,
            "pixel": 0.01,
            "perceptual": 1.0,
            "checkpoint_every": 5000,
            "sample_every": 5000,
        },
        "smoke": {
            "dataset": "digits",
            "steps": 2,
            "pretrain_steps": 1,
            "batch_size": 8,
            "image_size": 28,
            "load_size": None,
            "fit": "crop",
            "upscale": 2,
            "features": 2,
            "blocks": 1,
            "discriminator_features": 2,
            "feature_maps": "mnist-v1",
        },
    }


def networks(options: Options, channels: int) -> tuple[SRResNet | RRDBNet, nn.Module]:
    """Returns the generator and the discriminator."""
    common: dict[str, Any] = {"base": "bicubic", "dtype": options.compute_dtype}
    sizes = channels, options.upscale, options.features, options.blocks
    if options.generator == "rrdb":
        generator: Any = RRDBNet(*sizes, max(1, options.features // 2), **common)
    else:
        generator = SRResNet(*sizes, ends=3, **common)
    width, dtype = options.discriminator_features, options.compute_dtype
    if options.discriminator == "vgg":
        return generator, VGGDiscriminator(width, dtype)
    return generator, PatchDiscriminator(width, 34, dtype)


def degradation(options: Options) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns `(images, keys) -> sources`, which makes of images `[N, H, W, C]` in [-1, 1] what they are to be made
    from, as it would be stored in 8 bits; height and width may be any multiple of --upscale."""

    def source(images: jax.Array, keys: jax.Array) -> jax.Array:
        size = images.shape[1] // options.upscale, images.shape[2] // options.upscale
        x = degrade.resize(degrade.blur(images, options.blur) if options.blur else images, size)
        if options.noise:
            x = degrade.noise(x, keys, options.noise)
        if options.jpeg is not None:
            x = degrade.jpeg(x, options.jpeg)
        return jnp.round((jnp.clip(x, -1.0, 1.0) + 1.0) * 127.5) / 127.5 - 1.0

    return source


def pixels(nets: Any, batch: Images, draw: Any, state: GANState, fake: jax.Array) -> dict[str, jax.Array]:
    """The generator's objective in the first phase."""
    return {"pixel": jnp.abs(fake - batch["image"])}


def adversarial(options: Options, maps: Frozen | None) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns the discriminator's and the generator's objective in the second phase. maps: the network whose feature
    maps are compared, None for the discriminator's."""
    loss = LOSSES[options.loss]

    def d(nets: Any, batch: Images, draw: Any, state: GANState, fake: jax.Array) -> Outcome:
        logits = [nets["discriminator"](images)["logits"] for images in (batch["image"], fake)]
        losses = {"adversarial": loss.d(*draw.gather(logits))}
        return Outcome(losses, metrics={"real_logits": logits[0], "fake_logits": logits[1]})

    def g(nets: Any, batch: Images, draw: Any, state: GANState, fake: jax.Array) -> Outcome:
        real_said, fake_said = (nets["discriminator"](images) for images in (batch["image"], fake))
        logits = fake_said["logits"], real_said["logits"]
        seen = [maps(fake), maps(batch["image"])] if maps else [fake_said["features"], real_said["features"]]
        losses = {
            "pixel": jnp.abs(fake - batch["image"]),
            "perceptual": perceptual_loss(*seen),
            "adversarial": loss.g(*draw.gather(logits)),
        }
        return Outcome(losses, metrics={"fake_logits": logits[0]})

    return d, g


def pretrained_state(iteration: Step) -> Step:
    """Returns the iteration of the first phase, with its own rate and, in the state that it leaves, the generator's
    averaged weights as those that pretraining came to."""

    def step(state: GANState, batch: Images) -> tuple[GANState, dict[str, jax.Array]]:
        own = {**state.hyper, "generator/learning_rate": state.hyper["pretrain_learning_rate"]}
        after, metrics = iteration(state.replace(hyper=own), batch)
        extras = {**after.extras, "pretrained": after.ema["generator"]}
        return after.replace(hyper=state.hyper, extras=extras), metrics

    return dataclasses.replace(iteration, function=step)


def make_iteration(options: Options, maps: Frozen | None) -> Step:
    """Returns the iteration of both phases, on batches of images `[B, H, W, C]`."""
    source, weights = degradation(options), ("pixel", "perceptual", "adversarial")

    def enlarge(nets: Any, batch: Images, draw: Any, state: GANState) -> jax.Array:
        fake: jax.Array = nets["generator"](source(batch["image"], draw.keys("degrade")))
        return fake

    d_objective, g_objective = adversarial(options, maps)
    across = ("the relativistic average loss",) if LOSSES[options.loss].across else ()
    how: dict[str, Any] = {"make": enlarge, "accumulate": options.accumulate}
    d = update("discriminator", d_objective, across=across, **how)
    g = update("generator", g_objective, weights={name: name for name in weights}, across=across, **how)
    factor = schedule(options)
    alone = iteration(update("generator", pixels, **how), schedules=rates(factor, "generator"))
    both = [joint(d, g)] if options.accumulate == 1 else [d, g]
    together = iteration(*both, schedules=rates(factor, "generator", "discriminator"))
    return phases(pretrained_state(alone), together, options.pretrain_steps)


def enlarged_with(
    state: GANState, source: jax.Array, *, weights: Weights = "ema", interpolation: jax.Array | float = 1.0
) -> jax.Array:
    """Enlarges sources `[N, H, W, C]` with the generator's weights (averaged ones, or with `weights="raw"` those of the
    last step) mixed with those after pretraining: (1 - α)·pretrained + α·the generator's, α = `interpolation`."""
    latest = dict(state.variables_of("generator", weights))
    mixed = jax.tree.map(lambda a, b: (1.0 - interpolation) * a + interpolation * b, state.extras["pretrained"], latest)
    return jnp.clip(state.generator.apply_fn(mixed, source, train=False), -1.0, 1.0)


def build(options: Options, data: DataSpec) -> GAN:
    height, width, channels = data.shape
    if height % options.upscale or width % options.upscale:
        raise UsageError(
            f"--upscale {options.upscale} needs images whose sides it divides, got {height}x{width}; give another "
            "--image-size"
        )
    maps = None if options.feature_maps == OF_D else feature_maps(options.feature_maps)
    generator, discriminator = networks(options, channels)
    degraded = degradation(options)
    numbers = {name: getattr(options, name) for name in ("pixel", "perceptual", "adversarial")}
    numbers["pretrain_learning_rate"] = options.pretrain_learning_rate

    def init(key: jax.Array) -> GANState:
        small, large = (jnp.zeros((1, height // n, width // n, channels)) for n in (options.upscale, 1))
        modules = {"generator": generator, "discriminator": discriminator}
        players = init_players(key, modules, optimizer(options), {"generator": [small], "discriminator": [large]})
        kept = {"pretrained": jax.tree.map(jnp.copy, players["generator"].all_variables)}
        return GANState.create(key, **players, hyper=hyper(options) | numbers, extras=kept)

    def sample(state: GANState, examples: Images, keys: jax.Array, **how: Any) -> dict[str, jax.Array]:
        target = examples["image"]
        source = degraded(target, keys)
        bicubic = jnp.clip(degrade.resize(source, (height, width)), -1.0, 1.0)
        return {"bicubic": bicubic, "image": enlarged_with(state, source, **how), "target": target}

    gan = GAN(
        init,
        make_iteration(options, maps),
        options.batch_size,
        sample,
        pairs={"image": "target"},
        frozen={"perceptual": maps} if maps else {},
        translations={"image": Translation(enlarged_with, channels, options.upscale, generator.reach, degraded)},
    )
    return with_lookahead(options, gan)


if __name__ == "__main__":
    main(Options, build)
