"""pix2pix, translation learned from pairs. Isola et al. 2017, https://arxiv.org/abs/1611.07004

What it should reach: colours and textures of the right kind inside of given outlines, where the L1 loss alone gives a
blurred mean of all that could be there. What was measured, with a picture, is in docs/results.md.

    python -m experiments.pix2pix                                            # CIFAR-10, of its edges
    python -m experiments.pix2pix --source grey
    python -m experiments.pix2pix --dataset pairs:PATH --preset paper        # a folder of pairs

takes three and a half minutes of a CPU core's time. A pair is an image and its source: the data's own field `source`
where they have one, otherwise made of the image, by --source. A U-Net (or residual blocks) makes images of sources, and
D judges patches of them beside their sources. Loss, Adam, the weight of L1 and half of D's loss are the paper's; least
squares (--loss) have Mao's halves. Norms use their running statistics when images are drawn, and there is no dropout
then, where the paper keeps both as in training; what is drawn is an average of the generator's weights, which the paper
doesn't have (--weights raw). The small U-Net halves five times and so has no dropout: in the authors' code
--depth - 5 doublings have it. --adversarial 0 is L1 alone: there is no discriminator then.

--preset paper has the paper's networks for 256 pixels, random crops of 286 and one image a batch, for a GPU; nobody has
run it.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import GANState, Outcome, Step, init_players, iteration, joint, update
from jaxgan.degrade import edges, grey
from jaxgan.losses import AdversarialLoss, least_squares, non_saturating
from jaxgan.media import Image
from jaxgan.networks.translation import PatchDiscriminator, ResNetGenerator, UNet
from jaxgan.schedules import rates
from jaxgan.training import GAN, DataSpec, Translation, UsageError, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.options.data import Size
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName, hyper, optimizer, schedule
from jaxgan.training.recipe.compose import with_lookahead
from jaxgan.training.recipe.gan import Weights
from jaxgan.update import Update

Images = Mapping[str, jax.Array]
# `(examples, keys) -> pair`, `image` and `source` `[B, H, W, C]`, and where only a part of the image is to be made,
# `mask` `[B, H, W, 1]`, 1 there and 0 where the source is kept.
Pairs = Callable[[Images, jax.Array], Images]

LOSSES = {"standard": non_saturating, "least_squares": least_squares}
HALVINGS = 2  # of the generator of residual blocks
PAPER = {
    "steps": 80_000,  # 200 epochs of the 400 facades
    "batch_size": 1,
    "image_size": 256,
    "load_size": 286,
    "flip": True,
    "ema_half_life": 0.0,
    "features": 64,
    "depth": 8,
    "blocks": 9,
    "patch": 70,
    "checkpoint_every": 5000,
    "sample_every": 2500,
}
SMOKE = {"dataset": "digits", "steps": 2, "batch_size": 8, "features": 2, "depth": 2, "blocks": 1}


@dataclasses.dataclass(frozen=True)
class PairedOptions(CommonOptions):
    """The options of all experiments that learn from pairs as pix2pix does."""

    image_size: Size | None = 32
    steps: int = 2000
    batch_size: int = 16
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    ema_half_life: float = 1000.0
    generator: Literal["unet", "resnet"] = "unet"
    """The generator: a U-Net, or CycleGAN's residual blocks."""
    features: int = bounded(16, at_least=1)
    """Channels of the generator's outermost layers; deeper ones have up to eight times as many, of residual blocks
    four."""
    depth: int = bounded(5, at_least=1, at_most=12)
    """How often the U-Net halves its images."""
    blocks: int = bounded(6, at_least=0)
    """Residual blocks."""
    dropout: float = bounded(0.5, at_least=0, below=1)
    """The share that the U-Net's inner doublings drop in training; there are --depth - 5 of them that do."""
    discriminator_features: int | None = bounded(None, at_least=1)
    """The discriminator's, by default --features."""
    patch: Literal[1, 16, 34, 70, 142, 286] = 16
    """Pixels of a side of what a discriminator's logit judges."""
    loss: Literal["standard", "least_squares"] = "standard"
    """The adversarial loss."""
    adversarial: float = bounded(1.0, at_least=0, below=math.inf)
    """The weight of the adversarial loss, `adversarial` for --sweep; 0 is L1 alone, without a discriminator."""
    l1: float = bounded(100.0, at_least=0, below=math.inf)
    """The weight of |G(source) - image|, `l1` for --sweep."""

    TAKES: ClassVar = "image"


@dataclasses.dataclass(frozen=True)
class Options(PairedOptions):
    dataset: str = "cifar10"
    features: int = bounded(32, at_least=1)
    source: Literal["edges", "grey"] | None = None
    """What a source is made of its image, for sets that have none: outlines (by default), or its shades of grey."""

    PRESETS: ClassVar = {"paper": PAPER, "smoke": {**SMOKE, "image_size": 8}}


def pairs_of(options: Options, data: DataSpec) -> Pairs:
    """Returns what makes a pair of an example. UsageError where the data's own sources and --source are two."""
    if "source" in data.fields:
        if options.source is not None:
            raise UsageError(
                f"--dataset {data.name} has sources of its own, and --source {options.source} would make others: leave "
                "one of them out"
            )
        return lambda examples, keys: {"source": examples["source"], "image": examples["image"]}
    made: Callable[[jax.Array], jax.Array] = grey if options.source == "grey" else edges
    return lambda examples, keys: {"source": made(examples["image"]), "image": examples["image"]}


def networks(options: PairedOptions, shape: tuple[int, ...], source: tuple[int, ...]) -> dict[str, nn.Module]:
    """Returns the players' modules by name, for images and sources `(H, W, C)`. UsageError for sources of another size,
    and images too small for a patch or so many halvings."""
    (height, width, channels), dtype = shape, options.compute_dtype
    if source[:2] != shape[:2]:
        raise UsageError(
            f"images are of {height}x{width} pixels and their sources of {source[0]}x{source[1]}, and this experiment "
            "needs one size: --image-size 64, for example, brings both to it"
        )
    most = max(1, math.ceil(math.log2(max(height, width))))
    if options.generator == "unet" and options.depth > most:
        raise UsageError(
            f"--depth {options.depth} halves images of {height}x{width} pixels further than to one; give at most {most}"
        )
    modules: dict[str, nn.Module] = {
        "unet": UNet(channels, options.features, options.depth, options.dropout, dtype),
        "resnet": ResNetGenerator(channels, options.features, options.blocks, HALVINGS, dtype),
    }
    modules = {"generator": modules[options.generator]}
    if not options.adversarial:
        return modules
    of_patches = PatchDiscriminator(options.discriminator_features or options.features, options.patch, dtype)
    if min(height, width) < (least := of_patches.smallest):
        raise UsageError(
            f"--patch {options.patch} needs images of at least {least} pixels a side, got {height}x{width}; give a "
            "larger --image-size or a smaller --patch"
        )
    return modules | {"discriminator": of_patches}


def completed(made: jax.Array, pair: Images) -> jax.Array:
    """Returns images that were made, but for what is known of them: outside of the pair's mask the source is kept."""
    return jnp.where(pair["mask"] > 0, made, pair["source"]) if "mask" in pair else made


def l1(fake: jax.Array, pair: Images) -> jax.Array:
    """Returns the mean absolute difference from the image, where it was to be made, `[B]`."""
    difference = jnp.mean(jnp.abs(fake - pair["image"]), axis=-1, keepdims=True)
    mask = pair.get("mask", jnp.ones_like(difference))
    return jnp.sum(difference * mask, axis=(1, 2, 3)) / jnp.sum(mask, axis=(1, 2, 3))


def discriminator(loss: AdversarialLoss) -> Callable[..., Outcome]:
    """Returns D's objective: images and fakes, each beside its source."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState, pair: Images) -> Outcome:
        real, fake = (nets["discriminator"](pair[name], pair["source"])["logits"] for name in ("image", "fake"))
        metrics = {"real_logits": real, "fake_logits": fake}
        return Outcome({"adversarial": loss.d(real, fake)}, metrics=metrics)

    return objective


def generator(loss: AdversarialLoss | None) -> Callable[..., Outcome]:
    """Returns G's objective, without an adversarial loss L1 alone."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState, pair: Images) -> Outcome:
        losses, metrics = {"l1": l1(pair["fake"], pair)}, {}
        if loss is not None:
            logits = nets["discriminator"](pair["fake"], pair["source"])["logits"]
            losses["adversarial"], metrics = loss.g(logits), {"fake_logits": logits}
        return Outcome(losses, metrics=metrics)

    return objective


def make_iteration(options: PairedOptions, pairs: Pairs, *, axis_name: str | None = None) -> Step:
    """Returns the iteration of the players: both learn from one pass of the generator, D first."""
    factor = schedule(options)

    def translate(nets: Any, batch: Images, draw: Any, state: GANState) -> Images:
        pair = pairs(batch, draw.keys("source"))
        return {**pair, "fake": completed(nets["generator"](pair["source"]), pair)}

    def of(player: str, objective: Callable[..., Outcome], weights: Mapping[str, float | str]) -> Update:
        return update(
            player,
            objective,
            make=translate,
            weights=weights,
            schedules=rates(factor, player),
            accumulate=options.accumulate,
            axis_name=axis_name,
        )

    if not options.adversarial:
        return iteration(of("generator", generator(None), {"l1": "l1"}))
    loss = LOSSES[options.loss]
    d = of("discriminator", discriminator(loss), {"adversarial": 0.5})
    g = of("generator", generator(loss), {"adversarial": "adversarial", "l1": "l1"})
    return iteration(joint(d, g)) if options.accumulate == 1 else iteration(d, g)


def build_paired(
    options: PairedOptions,
    data: DataSpec,
    pairs: Pairs,
    *,
    degrade: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    mask_of: Callable[[jax.Array], jax.Array] | None = None,
) -> GAN:
    """Returns the GAN that learns from these pairs. degrade: as of a `Translation`, where sources are made of images.
    mask_of: `sources -> masks`, what is to be made of whole pictures that come without a mask."""
    if data.kind != Image.kind:
        raise UsageError(f"--dataset {data.name} is {data.field.text}, and this experiment translates images")
    shapes = jax.eval_shape(pairs, data.batch(1), jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1)))
    modules = networks(options, shapes["image"].shape[1:], shapes["source"].shape[1:])
    tx = optimizer(options)

    def init(key: jax.Array) -> GANState:
        image, source = (jnp.zeros(shapes[name].shape) for name in ("image", "source"))
        inputs = {"generator": [source], "discriminator": [image, source]}
        players = init_players(key, modules, tx, inputs)
        numbers = hyper(options, ["generator"], [name for name in modules if name == "discriminator"])
        weights = {"l1": options.l1} | ({"adversarial": options.adversarial} if options.adversarial else {})
        return GANState.of(key, players, averaged=["generator"], hyper=numbers | weights)

    def sample(state: GANState, examples: Images, keys: jax.Array, *, weights: Weights = "ema") -> dict[str, jax.Array]:
        pair = pairs(examples, keys)
        made = completed(state.evaluate("generator", pair["source"], weights=weights), pair)
        return {"source": pair["source"], "image": made, "target": pair["image"]}

    def apply(state: GANState, images: jax.Array, *, weights: Weights = "ema") -> jax.Array:
        pair = {"source": images} | ({"mask": mask_of(images)} if mask_of else {})
        return completed(state.evaluate("generator", images, weights=weights), pair)

    unet = modules["generator"] if isinstance(modules["generator"], UNet) else None
    translation = Translation(
        apply,
        shapes["source"].shape[-1],
        reach=unet.reach if unet else None,
        degrade=degrade,
        multiple=2 ** (unet.depth if unet else HALVINGS),
    )
    step = make_iteration(options, pairs)
    gan = GAN(init, step, options.batch_size, sample, {"image": "target"}, translations={"image": translation})
    return with_lookahead(options, gan)


def build(options: Options, data: DataSpec) -> GAN:
    pairs, own = pairs_of(options, data), "source" in data.fields
    degrade = None if own else lambda images, keys: pairs({"image": images}, keys)["source"]
    return build_paired(options, data, pairs, degrade=degrade)


if __name__ == "__main__":
    main(Options, build)
