"""Transfer of arbitrary styles by adaptive instance normalisation. Huang & Belongie 2017,
https://arxiv.org/abs/1703.06868

What it should reach: photographs in the colours and textures of paintings that it need not have seen, one network for
all of them; with the strength the style comes nearer, and the photograph stays recognisable. Measured numbers and a
picture are in docs/results.md.

    python -m experiments.style_transfer --dataset content=folder:PHOTOGRAPHS,style=folder:PAINTINGS
    python -m scripts.translate RUN PICTURE --out DIR --style PAINTING --strength 0.7

An encoder, adaptive instance normalisation, and a decoder without norms. The losses are the paper's, content and style
in the feature maps of a frozen network, and beside them that of a discriminator of patches, the reconstruction of
photographs (which is what strength 0 gives), and the total variation. What is otherwise: the paper's encoder is VGG-19
itself, ours is small and learns with the decoder; the feature maps are those of a small network that comes with the
package, and the image is one of them for the style; content is compared in all of them, where the paper takes the
deepest. --feature-maps vgg19:FILE compares VGG-19's. Squares are brought to 256 pixels, and 64 are cut out anywhere.
--preset paper has the paper's sizes and lengths, for a GPU; nobody has run it here.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import Frozen, GANState, Outcome, Step, init_players, iteration, joint, update
from jaxgan.evaluation.features.perceptual import feature_maps
from jaxgan.losses import hinge, perceptual_loss, style_distance, total_variation
from jaxgan.networks.layers import Conv, spectral
from jaxgan.networks.style import StyleTransfer, adain, moments
from jaxgan.networks.translation import PatchDiscriminator
from jaxgan.schedules import rates
from jaxgan.training import GAN, DataSpec, Translation, UsageError, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.options.data import Size
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName, hyper, optimizer, schedule
from jaxgan.training.recipe.compose import with_lookahead
from jaxgan.training.recipe.gan import Weights

Images = Mapping[str, jax.Array]
Player = Literal["generator", "discriminator"]
TERMS = ("content", "style", "adversarial", "reconstruction", "variation")  # of the generator's loss


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    image_size: Size | None = 64
    load_size: Size | None = 256
    flip: bool = True
    steps: int = 2500
    batch_size: int = 4
    optimizer: OptimizerName = "adam"
    learning_rate: float = 5e-4
    beta1: float = 0.5
    beta2: float = 0.99
    ema_half_life: float = 500.0
    features: int = bounded(16, at_least=1)
    """Channels of the encoder's and the decoder's layers next to the image; deeper ones have twice as many each."""
    halvings: int = bounded(2, at_least=0, at_most=6)
    """How often the encoder halves height and width."""
    discriminator_features: int = bounded(16, at_least=1)
    """Channels of the discriminator's first layer; deeper ones have up to eight times as many."""
    patch: Literal[1, 16, 34, 70, 142, 286] = 34
    """Pixels of a side of what a discriminator's logit judges."""
    feature_maps: str = "cifar10-v1"
    """Whose feature maps content and style are compared in: cifar10-v1, mnist-v1 or vgg19:FILE."""
    content: float = bounded(2.0, at_least=0, below=math.inf)
    """Weight of the content loss; `content` for --sweep."""
    style: float = bounded(5.0, at_least=0, below=math.inf)
    """Weight of the style loss; `style` for --sweep."""
    adversarial: float = bounded(0.05, at_least=0, below=math.inf)
    """Weight of the adversarial loss; `adversarial` for --sweep."""
    reconstruction: float = bounded(10.0, at_least=0, below=math.inf)
    """Weight of |decoder(encoder(x)) - x| of photographs x; `reconstruction` for --sweep."""
    variation: float = bounded(0.3, at_least=0, below=math.inf)
    """Weight of the total variation; `variation` for --sweep."""

    TAKES: ClassVar = "image"
    SETS: ClassVar = ("content", "style")
    PRESETS: ClassVar = {
        "paper": {
            "steps": 160_000,
            "batch_size": 8,
            "image_size": 256,
            "load_size": 512,
            "learning_rate": 1e-4,
            "ema_half_life": 10_000.0,
            "features": 64,
            "halvings": 3,
            "discriminator_features": 64,
            "patch": 70,
            "checkpoint_every": 5000,
            "sample_every": 2500,
        },
        "smoke": {
            "dataset": "content=digits,style=digits",
            "steps": 2,
            "batch_size": 8,
            "image_size": 16,
            "load_size": None,
            "features": 2,
            "discriminator_features": 2,
            "patch": 16,
            "feature_maps": "mnist-v1",
        },
    }


def stylise(nets: Any, batch: Images, draw: Any, state: GANState) -> Images:
    """Returns the content in the style, `style`, and as it is, `content`: the pass that both players learn from."""
    net = nets["generator"]
    features, style = net(batch["content"], method="encode"), net(batch["style"], method="encode")
    return {
        "style": net(adain(features, *moments(style)), method="decode"),
        "content": net(features, method="decode"),
    }


def generator_objective(maps: Frozen) -> Callable[..., Outcome]:
    """Returns the generator's losses, the paper's equations 12 and 13 in the feature maps of `maps` among them."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState, drawn: Images) -> Outcome:
        content, style, made = maps(batch["content"]), maps(batch["style"]), maps(drawn["style"])
        target = [adain(x, *moments(y)) for x, y in zip(content, style, strict=True)]
        logits = nets["discriminator"](drawn["style"])["logits"]
        losses = {
            "content": perceptual_loss(made, tuple(target), squared=True),
            "style": style_distance((drawn["style"], *made), (batch["style"], *style)),
            "adversarial": hinge.g(logits),
            "reconstruction": jnp.abs(drawn["content"] - batch["content"]),
            "variation": total_variation(drawn["style"]),
        }
        return Outcome(losses, metrics={"fake_logits": logits})

    return objective


def discriminator_objective(nets: Any, batch: Images, draw: Any, state: GANState, drawn: Images) -> Outcome:
    """Returns the discriminator's losses: patches of the styles are real, those of what was made are not."""
    real, fake = (nets["discriminator"](images["style"])["logits"] for images in (batch, drawn))
    return Outcome({"adversarial": hinge.d(real, fake)}, metrics={"real_logits": real, "fake_logits": fake})


def make_iteration(options: Options, maps: Frozen, axis_name: str | None = None) -> Step:
    """Returns the iteration of both players, on images `[B, H, W, C]` of content and of style."""
    factor = schedule(options)

    def learns(player: Player, objective: Callable[..., Outcome], terms: Sequence[str] = ()) -> Any:
        return update(
            player,
            objective,
            make=stylise,
            weights={term: term for term in terms},
            schedules=rates(factor, player),
            accumulate=options.accumulate,
            axis_name=axis_name,
        )

    d, g = learns("discriminator", discriminator_objective), learns("generator", generator_objective(maps), TERMS)
    return iteration(joint(d, g)) if options.accumulate == 1 else iteration(d, g)


def networks(options: Options, data: DataSpec) -> dict[str, nn.Module]:
    """Returns the players' modules by name. UsageError for sets whose images differ in shape."""
    content, style = (data.sets[name].shape for name in Options.SETS)
    if content != style:
        one, other = ("×".join(map(str, shape)) for shape in (content, style))
        raise UsageError(
            f"content has images of {one} and style of {other}, and both networks see both: --image-size 64 --channels "
            "3, for example, make them alike"
        )
    dtype = options.compute_dtype
    generator = StyleTransfer(content[-1], options.features, options.halvings, dtype)
    width = options.discriminator_features
    discriminator = PatchDiscriminator(width, options.patch, dtype, conv=spectral(Conv), norm=None)
    return {"generator": generator, "discriminator": discriminator}


def _check_floats(style: jax.Array) -> None:
    if not jnp.issubdtype(style.dtype, jnp.floating):
        raise UsageError(f"expected styles as floats, of pictures from -1 to 1, got {style.dtype}")


def style_codes(state: GANState, pictures: jax.Array, *, weights: Weights = "ema") -> jax.Array:
    """Returns the codes `[K, S]` of the styles of pictures `[K, H, W, C]` of any size, which `apply` and `sample` take
    in place of pictures. UsageError for other channels, and for whole numbers, as pictures are stored in."""
    _check_floats(pictures)
    kernel = state.generator.params["encoder"]["first"]["kernel"]
    if pictures.ndim != 4 or pictures.shape[-1] != kernel.shape[2]:
        raise UsageError(f"expected styles as pictures [K, H, W, {kernel.shape[2]}], got the shape {pictures.shape}")
    codes: jax.Array = state.evaluate("generator", pictures, weights=weights, method="code")
    return codes


def apply(
    state: GANState,
    images: jax.Array,
    *,
    weights: Weights = "ema",
    style: jax.Array,
    strength: jax.Array | float = 1.0,
    mix: Any = None,
) -> jax.Array:
    """Returns images `[N, H, W, C]` in a style, all in the same.

    style: pictures `[K, H', W', C]` or their codes `[K, S]`. strength: from 0, the images as the network reconstructs
    them, to 1. mix: the share of each of K styles, which add up to 1; by default all have the same. UsageError for
    another number of shares, and for whole numbers as styles.
    """
    _check_floats(style)
    codes = style if style.ndim == 2 else style_codes(state, style, weights=weights)
    shares = jnp.full(codes.shape[0], 1 / codes.shape[0]) if mix is None else jnp.asarray(mix, jnp.float32)
    if shares.shape != codes.shape[:1]:
        raise UsageError(f"expected as many shares as styles, {len(codes)}, got the shape {shares.shape}")
    # Not a product of matrices, which a GPU rounds.
    code = jnp.sum(shares[:, None] * codes, axis=0, keepdims=True)
    repeated = jnp.repeat(code, images.shape[0], axis=0)
    made: jax.Array = state.evaluate("generator", images, repeated, strength, weights=weights)
    return made


def sample(
    state: GANState,
    examples: Mapping[str, Images],
    keys: jax.Array,
    *,
    weights: Weights = "ema",
    style: jax.Array | None = None,
    strength: jax.Array | float = 1.0,
    mix: Any = None,
) -> dict[str, jax.Array]:
    """Returns each content, the style that it is given, and it in this style. style, strength, mix: as for `apply`; by
    default each has the style of its own example."""
    content, reference = examples["content"]["image"], examples["style"]["image"]
    if style is not None:
        made = apply(state, content, weights=weights, style=style, strength=strength, mix=mix)
        return {"source": content, "style": made}
    made = state.evaluate("generator", content, reference, strength, weights=weights)
    return {"source": content, "reference": reference, "style": made}


def build(options: Options, data: DataSpec) -> GAN:
    modules, maps = networks(options, data), feature_maps(options.feature_maps)

    def init(key: jax.Array) -> GANState:
        content, style = (jnp.zeros((1, *data.sets[name].shape)) for name in Options.SETS)
        inputs = {"generator": [content, style], "discriminator": [style]}
        players = init_players(key, modules, optimizer(options), inputs)
        weights = {term: getattr(options, term) for term in TERMS}
        return GANState.of(key, players, averaged=["generator"], hyper=hyper(options) | weights)

    # Images that are too small for the discriminator's patches or the feature maps are refused now, in a line.
    jax.eval_shape(init, jax.random.key(0))
    jax.eval_shape(maps, jax.ShapeDtypeStruct((1, *data.sets["style"].shape), jnp.float32))
    step = make_iteration(options, maps)

    def on_images(state: GANState, batch: Mapping[str, Images]) -> Any:
        return step(state, {name: batch[name]["image"] for name in Options.SETS})

    gan = GAN(
        init,
        dataclasses.replace(step, function=on_images),
        dict.fromkeys(Options.SETS, options.batch_size),
        sample,
        frozen={"perceptual": maps},
        translations={"style": Translation(apply, data.sets["content"].channels, multiple=2**options.halvings)},
    )
    return with_lookahead(options, gan)


if __name__ == "__main__":
    main(Options, build)
