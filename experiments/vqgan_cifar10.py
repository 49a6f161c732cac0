"""VQGAN on CIFAR-10, and a GAN in its latent space. Esser, Rombach & Ommer 2021, https://arxiv.org/abs/2012.09841

What it should reach: reconstructions that show what an image shows, less blurred than without a discriminator, from 64
codes of 9 bits, a 43rd of an image's bits; a discriminator that tells them from images to the end; generated images
with the colours and outlines of CIFAR-10's. What it reached (seed 0): reconstructions at 22.3 dB, a discriminator that
hardly tells them from images, but is alive in ten of ten seeds of a smaller setting, and images with colours and light,
hardly with objects; docs/results.md has the numbers.

    python -m experiments.vqgan_cifar10
    python -m experiments.vqgan_cifar10 --dataset mnist
    python -m scripts.evaluate RUN --metrics fid,psnr

The first takes twelve minutes on two CPU cores.

Two stages in one run. First the autoencoder learns, from the differences of pixels (L1) and of a network's feature
maps, its codebook's losses (the commitment's weight is the paper's 0.25) and, from --discriminator-start on and over
--ramp, the hinge loss of a discriminator of patches, under the adaptive weight of equation 7, times --adversarial. Then
it is frozen, and a generator and a critic learn on its latents as they are before they are quantised, with the
relativistic loss and both penalties in every step, as R3GAN's (arXiv 2501.05441); a generated image is decoded from the
codes nearest to what the generator makes. Codes are compared by their angle, in few dimensions, so that they stay in
use (ViT-VQGAN, arXiv 2110.04627, section 3.2). --steps no higher than --autoencoder-steps is a run without a generator.

Feature maps are by default those of a small network that comes with the package, whose features scores of CIFAR-10
compare too: a Fréchet distance of reconstructions in them is no independent score. PSNR is.

--preset paper has widths of the order of the paper's, for a GPU; the paper models codes with a transformer where this
experiment has a GAN. Nobody has run it here, and its time and memory are not measured.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import (
    Frozen,
    GANState,
    Outcome,
    Step,
    adaptive_weight,
    init_players,
    iteration,
    joint,
    latents,
    penalties,
    phases,
    update,
)
from jaxgan.data.transform import FitOrTiles
from jaxgan.evaluation.features.perceptual import feature_maps
from jaxgan.losses import hinge, per_example, perceptual_loss, relativistic
from jaxgan.networks import latent
from jaxgan.networks.autoencoder import Autoencoder
from jaxgan.networks.layers import Conv
from jaxgan.networks.layers.quantize import code_shares, perplexity
from jaxgan.networks.translation import PatchDiscriminator
from jaxgan.schedules import Schedule, ramp, rates
from jaxgan.training import GAN, DataSpec, UsageError, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.errors.usage import require
from jaxgan.training.options.data import Size
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName, hyper, optimizer, schedule
from jaxgan.training.recipe.compose import with_lookahead
from jaxgan.training.recipe.gan import Latents, Weights, generate_with
from jaxgan.training.recipe.latents import latents_with, sample_through
from jaxgan.update import Update

Images = Mapping[str, jax.Array]

WEIGHTS = ("perceptual", "codebook", "commitment", "adversarial", "r1", "r2")


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    dataset: str = "cifar10"
    image_size: Size | None = 32
    fit: FitOrTiles = "pad"
    flip: bool = True
    steps: int = 4500
    autoencoder_steps: int = bounded(1500, at_least=1)
    """The first of --steps, in which the autoencoder learns; in the others the generator of latents does."""
    discriminator_start: int = bounded(300, at_least=0)
    """The first of --autoencoder-steps, in which the autoencoder learns without a discriminator."""
    ramp: int = bounded(200, at_least=0)
    """Steps after --discriminator-start over which the adversarial loss comes to its weight."""
    batch_size: int = 32
    optimizer: OptimizerName = "adam"
    learning_rate: float = 5e-4
    discriminator_learning_rate: float | None = 1e-3
    beta1: float = 0.5
    beta2: float = 0.99
    ema_half_life: float = 5000.0

    features: int = bounded(16, at_least=1)
    """Channels of the autoencoder at the image's size; after each halving twice as many, up to four times."""
    halvings: int = bounded(2, at_least=1, at_most=8)
    """How often the autoencoder halves an image."""
    blocks: int = bounded(1, at_least=0)
    """Residual blocks at each size of the autoencoder."""
    attention: bool = True
    """Self-attention at the smallest size of the autoencoder."""
    codes: int = bounded(512, at_least=2)
    """Codes in the codebook."""
    code_size: int = bounded(8, at_least=1)
    """Numbers in a code."""
    discriminator_features: int = bounded(32, at_least=1)
    """Channels of the first layer of the discriminator of patches, which is pix2pix's."""
    patch: Literal[1, 16, 34, 70, 142, 286] = 16
    """Pixels of a side of what its logits judge."""
    feature_maps: str = "cifar10-v1"
    """Whose feature maps the perceptual loss compares: cifar10-v1, mnist-v1, efficientnet-lite0 or vgg16:FILE."""
    perceptual: float = bounded(1.0, at_least=0, below=math.inf)
    """Weight of the mean absolute difference of feature maps, beside that of pixels; `perceptual` for --sweep."""
    codebook: float = bounded(1.0, at_least=0, below=math.inf)
    """Weight of the loss that moves codes to latents; `codebook` for --sweep."""
    commitment: float = bounded(0.25, at_least=0, below=math.inf)
    """Weight of the loss that moves latents to codes; `commitment` for --sweep."""
    adversarial: float = bounded(0.2, at_least=0, below=math.inf)
    """The share of the adversarial loss: as many times the reconstruction's pull at the last layer is its own;
    `adversarial` for --sweep."""
    latent_size: int = bounded(64, at_least=1)
    """Numbers that the generator makes latents of."""
    latent_features: int = bounded(64, at_least=1)
    """Channels of the generator and the critic of latents."""
    latent_blocks: int = bounded(1, at_least=0)
    """Residual blocks at each of their sizes."""
    r1: float = bounded(1.0, at_least=0, below=math.inf)
    """The gamma of the critic's penalty on latents of images; its weight, half of it, is `r1` for --sweep."""
    r2: float = bounded(1.0, at_least=0, below=math.inf)
    """The gamma of the critic's penalty on generated latents; its weight, half of it, is `r2` for --sweep."""

    TAKES: ClassVar = "image"
    PRESETS: ClassVar = {
        "paper": {
            "steps": 400_000,
            "autoencoder_steps": 200_000,
            "discriminator_start": 30_000,
            "ramp": 10_000,
            "batch_size": 64,
            "learning_rate": 1e-4,
            "ema_half_life": 100_000.0,
            "features": 128,
            "blocks": 2,
            "codes": 1024,
            "discriminator_features": 64,
            "latent_features": 256,
            "latent_blocks": 2,
            "checkpoint_every": 5000,
            "sample_every": 5000,
        },
        "smoke": {
            "dataset": "digits",
            "steps": 2,
            "autoencoder_steps": 1,
            "discriminator_start": 0,
            "ramp": 0,
            "batch_size": 8,
            "image_size": 28,
            "features": 4,
            "blocks": 0,
            "attention": False,
            "codes": 8,
            "code_size": 4,
            "discriminator_features": 4,
            "feature_maps": "mnist-v1",
            "latent_size": 8,
            "latent_features": 4,
        },
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.autoencoder_steps
        require(self, "discriminator_start", self.discriminator_start <= most, f"at most --autoencoder-steps, {most}")


def networks(options: Options, shape: tuple[int, ...]) -> dict[str, nn.Module]:
    """Returns the players' modules by name, for images `(H, W, C)`."""
    (height, width, channels), dtype = shape, options.compute_dtype
    widths = tuple(options.features * min(2**i, 4) for i in range(options.halvings + 1))
    coder = Autoencoder(
        channels, options.codes, options.code_size, widths, options.blocks, options.attention, dtype=dtype
    )
    if height % coder.factor or width % coder.factor:
        raise UsageError(
            f"--halvings {options.halvings} needs images whose sides {coder.factor} divides, got {height}x{width}; "
            "give another --image-size"
        )
    # Without a norm weights must keep the size of activations themselves: with the paper's N(0, 0.02) logits hardly
    # move, the adaptive weight makes up for it a hundredfold, and the discriminator ends up as a constant.
    conv = functools.partial(Conv, kernel_init=nn.initializers.he_normal())
    of_patches = PatchDiscriminator(options.discriminator_features, options.patch, dtype, conv, norm=None)
    if min(height, width) < (least := of_patches.smallest):
        raise UsageError(
            f"--patch {options.patch} needs images of at least {least} pixels a side, got {height}x{width}; give a "
            "larger --image-size or a smaller --patch"
        )
    sides = height // coder.factor, width // coder.factor
    rest = (options.latent_features, options.latent_blocks)
    return {
        "autoencoder": coder,
        "discriminator": of_patches,
        "generator": latent.Generator((*sides, options.code_size), *rest, dtype=dtype),
        "critic": latent.Discriminator(*rest, dtype=dtype),
    }


def reconstruct(nets: Any, batch: Images, draw: Any, state: GANState) -> dict[str, jax.Array]:
    """Makes reconstructions, of which the autoencoder and its discriminator learn."""
    made: dict[str, jax.Array] = nets["autoencoder"](batch["image"])
    return made


def judge(nets: Any, batch: Images, draw: Any, state: GANState, made: Images) -> Outcome:
    """The discriminator's objective."""
    logits = nets["discriminator"](jnp.concatenate([batch["image"], made["image"]]))["logits"]
    real, fake = jnp.split(logits, 2)
    return Outcome({"adversarial": hinge.d(real, fake)}, metrics={"real_logits": real, "fake_logits": fake})


def autoencode(codes: int, maps: Frozen) -> Callable[..., Outcome]:
    """Returns the autoencoder's objective, of so many codes and with the network whose feature maps are compared."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState, made: Images) -> Outcome:
        target, me = batch["image"], nets["autoencoder"]
        player, hidden = jax.lax.stop_gradient((me.player, made["hidden"]))

        def reconstruction(image: jax.Array) -> dict[str, jax.Array]:
            return {"l1": jnp.abs(image - target), "perceptual": perceptual_loss(maps(image), maps(target))}

        def adversarial(image: jax.Array) -> jax.Array:
            return hinge.g(nets["discriminator"].frozen(image, key="judged")["logits"])

        def pull(loss: Callable[[jax.Array], jax.Array]) -> Any:
            """Returns the gradient of a loss at the decoder's last layer."""

            def value(last: Any) -> jax.Array:
                by = player.replace(params={**player.params, "last": last})
                return loss(me.frozen(hidden, by=by, method="last_layer", key="last"))

            return draw.gradient(value, player.params["last"])

        def near(image: jax.Array) -> jax.Array:
            found = reconstruction(image)
            return per_example(found["l1"]) + state.hyper["perceptual"] * found["perceptual"]

        weight = adaptive_weight(pull(near), pull(adversarial))
        shares = draw.mean(code_shares(made["indices"], codes))
        losses = {
            **reconstruction(made["image"]),
            "codebook": made["codebook"],
            "commitment": made["commitment"],
            "adversarial": weight * adversarial(made["image"]),
        }
        used = jnp.mean((shares > 0).astype(jnp.float32))
        return Outcome(losses, metrics={"adaptive_weight": weight, "perplexity": perplexity(shares), "used": used})

    return objective


def encode_and_generate(nets: Any, batch: Images, draw: Any, state: GANState) -> dict[str, jax.Array]:
    """Makes latents of images and of random vectors, before they are quantised."""
    real = nets["autoencoder"].frozen(batch["image"], method="encode", train=False)
    vectors = draw.normal("z", nets["generator"].params["project"]["kernel"].shape[0])
    return {"real": real, "fake": nets["generator"](vectors)}


def criticise(nets: Any, batch: Images, draw: Any, state: GANState, made: Images) -> Outcome:
    """The critic's objective."""
    net, both = nets["critic"], jnp.concatenate([made["real"], made["fake"]])
    real, fake = jnp.split(net(both)["logits"], 2)
    squares = penalties.squared_gradient_norm(lambda maps: net.frozen(maps)["logits"], both)
    losses = {"adversarial": relativistic.d(real, fake), "r1": squares[: len(real)], "r2": squares[len(real) :]}
    return Outcome(losses, metrics={"real_logits": real, "fake_logits": fake})


def generate(nets: Any, batch: Images, draw: Any, state: GANState, made: Images) -> Outcome:
    """The generator's objective."""
    real, fake = jnp.split(nets["critic"](jnp.concatenate([made["real"], made["fake"]]))["logits"], 2)
    return Outcome({"adversarial": relativistic.g(fake, real)}, metrics={"fake_logits": fake})


def make_iteration(options: Options, maps: Frozen, *, axis_name: str | None = None) -> Step:
    """Returns the iteration of both stages, on batches of images `[B, H, W, C]`."""
    factor, size = schedule(options), options.batch_size
    start, end = options.discriminator_start * size, options.autoencoder_steps * size
    joins = ramp(start)

    def stage(of_d: Update, of_g: Update, schedules: Mapping[str, Schedule]) -> Step:
        steps = [joint(of_d, of_g)] if options.accumulate == 1 else [of_d, of_g]
        factors = rates(factor, *of_d.learns, *of_g.learns)
        return iteration(*steps, schedules={**factors, **schedules})

    def of(player: str, objective: Callable[..., Outcome], make: Any, *weights: str, **more: Any) -> Update:
        weighed = {name: name for name in weights}
        common: dict[str, Any] = {"accumulate": options.accumulate, "axis_name": axis_name}
        return update(player, objective, make=make, weights=weighed, **common, **more)

    def rate(images: jax.Array, base: jax.Array) -> jax.Array:  # before it joins in, D stays as it is
        return joins(images, base) * (factor(images) if factor else 1.0)

    def half_life(images: jax.Array, base: jax.Array) -> jax.Array:  # as in a run that begins with this stage
        return jnp.minimum(base, 0.05 * jnp.maximum(images - end, 0.0))

    names, across = ("perceptual", "codebook", "commitment", "adversarial"), ["the adaptive weight"]
    first = stage(
        of("discriminator", judge, reconstruct),
        of("autoencoder", autoencode(options.codes, maps), reconstruct, *names, across=across),
        {"discriminator/learning_rate": rate, "adversarial": ramp(start, options.ramp * size)},
    )
    second = stage(
        of("critic", criticise, encode_and_generate, "r1", "r2"),
        of("generator", generate, encode_and_generate),
        {"generator/ema_half_life": half_life},
    )
    return phases(first, second, options.autoencoder_steps)


def latents_of(options: Options) -> Latents:
    """Returns the space of the vectors that latents are generated of."""

    def decoded(state: GANState, inputs: Images, *, weights: Weights = "ema") -> jax.Array:
        made = generate_with(state, dict(inputs), weights=weights)
        return jnp.clip(state.evaluate("autoencoder", made, weights="raw", method="decode"), -1.0, 1.0)

    def factors(state: GANState, *, weights: Weights = "ema") -> list[jax.Array]:
        return [state.variables_of("generator", weights)["params"]["project"]["kernel"]]

    return latents_with(latents(options.latent_size), options.latent_size, generate=decoded, factors=factors)


def build(options: Options, data: DataSpec) -> GAN:
    modules, maps, space = networks(options, data.shape), feature_maps(options.feature_maps), latents_of(options)
    numbers = {name: getattr(options, name) for name in WEIGHTS}
    numbers |= {"r1": options.r1 / 2, "r2": options.r2 / 2, "generator/ema_half_life": options.ema_half_life}
    numbers |= hyper(options, ("autoencoder", "generator"), ("discriminator", "critic"))

    def init(key: jax.Array) -> GANState:
        image, vectors = jnp.zeros((1, *data.shape)), jnp.zeros((1, options.latent_size))
        maps_of = jnp.zeros((1, *modules["generator"].shape))
        inputs = {"autoencoder": [image], "discriminator": [image], "generator": [vectors], "critic": [maps_of]}
        players = init_players(key, modules, optimizer(options), inputs)
        return GANState.of(key, players, averaged=["generator"], hyper=numbers)

    def reconstructed(state: GANState, examples: Images, *, weights: Weights = "ema") -> dict[str, jax.Array]:
        del weights  # the autoencoder has no averaged ones
        found = state.evaluate("autoencoder", examples["image"], weights="raw")["image"]
        return {"reconstruction": jnp.clip(found, -1.0, 1.0), "target": examples["image"]}

    gan = GAN(
        init,
        make_iteration(options, maps),
        options.batch_size,
        sample_through(space, reconstructed),
        pairs={"reconstruction": "target"},
        frozen={"perceptual": maps},
        latents=space,
    )
    return with_lookahead(options, gan)


if __name__ == "__main__":
    main(Options, build)
