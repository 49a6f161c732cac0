"""CycleGAN, translation between two sets of images without pairs. Zhu et al. 2017, https://arxiv.org/abs/1703.10593

What it should reach: pictures of one set that look as if they were of the other, and still show what they showed.
Nothing tells the generators which mapping is meant but that both look right and undo each other; what was measured,
with a picture, is in docs/results.md.

    python -m experiments.cyclegan --dataset a=folder:PHOTOGRAPHS,b=folder:PAINTINGS --fit tiles

G makes b of a, F makes a of b, and Da and Db judge patches of either. Least squares, cycle and identity losses, a pool
of 50 earlier fakes of each side and Adam are the paper's; so is --preset paper, for a GPU, which nobody has run here.
As in the authors' code the generators learn against the discriminators of before, from the same fakes, and the
generators' adversarial loss has no ½. What is otherwise: the identity loss is on, as in their code, where the paper has
it for paintings alone; --schedule linear falls from the first image on, where theirs stays for one half of the run; and
what is shown and sampled is an average of the generators' weights, which the paper doesn't have (--weights raw).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import GANState, Outcome, Step, empty_history, history, init_players, iteration, joint, update
from jaxgan.losses import least_squares
from jaxgan.networks.layers import InstanceNorm
from jaxgan.networks.translation import PatchDiscriminator, ResNetGenerator
from jaxgan.schedules import rates
from jaxgan.training import GAN, DataSpec, Translation, UsageError, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.errors.usage import require
from jaxgan.training.options.data import Size
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName, hyper, optimizer, schedule
from jaxgan.training.recipe.compose import with_lookahead
from jaxgan.training.recipe.gan import Weights

GENERATORS, DISCRIMINATORS = ("G", "F"), ("Da", "Db")
SMALLEST = 8  # pixels of a side, of which two halvings leave 2: a single one would be normalised to nothing
MAKES = {"G": ("a", "b"), "F": ("b", "a")}  # by generator, of what it makes what
Images = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    image_size: Size | None = 64
    steps: int = 1500
    batch_size: int = 1
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    ema_half_life: float = 500.0
    features: int = bounded(16, at_least=1)
    """Channels of the generators' outermost layers; deeper ones have up to four times as many."""
    blocks: int = bounded(3, at_least=0)
    """Residual blocks of a generator."""
    discriminator_features: int | None = bounded(None, at_least=1)
    """The discriminators', by default --features."""
    patch: Literal[1, 16, 34, 70, 142, 286] = 34
    """Pixels of a side of what a discriminator's logit judges."""
    cycle: float = bounded(10.0, at_least=0, below=math.inf)
    """The weight of |F(G(a)) - a| and |G(F(b)) - b|, `cycle` for --sweep."""
    identity: float | None = bounded(None, at_least=0, below=math.inf)
    """The weight of |F(a) - a| and |G(b) - b|, `identity` for --sweep. It needs as many channels on both sides: by
    default it is half of --cycle where they have, and there is no such loss where they haven't."""
    pool: int = bounded(50, at_least=1)
    """Earlier fakes of each side that are kept to be shown to the discriminators again; at least --batch-size."""

    TAKES: ClassVar = "image"
    SETS: ClassVar = ("a", "b")
    PRESETS: ClassVar = {
        "paper": {
            "steps": 266_800,  # 200 epochs of the 1,334 zebras
            "image_size": 256,
            "load_size": 286,
            "flip": True,
            "schedule": "linear",
            "ema_half_life": 0.0,
            "features": 64,
            "blocks": 9,
            "patch": 70,
            "checkpoint_every": 5000,
            "sample_every": 2500,
        },
        "smoke": {
            "dataset": "a=digits,b=digits",
            "steps": 2,
            "batch_size": 8,
            "image_size": 14,
            "features": 2,
            "blocks": 1,
            "patch": 16,
        },
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "accumulate", self.accumulate == 1, "1 here: a pool of fakes has no parts of a batch")
        require(self, "pool", self.pool >= self.batch_size, f"at least --batch-size, which is {self.batch_size}")


def networks(options: Options, data: DataSpec) -> dict[str, nn.Module]:
    """Returns the players' modules by name. UsageError for sets of other sizes or too small for a patch."""
    (height, width, _), other = (data.sets[name].shape for name in "ab")
    if (height, width) != other[:2]:
        raise UsageError(
            f"a has images of {height}x{width} pixels and b of {other[0]}x{other[1]}, and this experiment needs one "
            "size: --image-size 64, for example, brings both to it"
        )
    if min(height, width) < SMALLEST:
        raise UsageError(
            f"the generators need images of at least {SMALLEST} pixels a side, got {height}x{width}; give a larger "
            "--image-size"
        )
    features, dtype = options.features, options.compute_dtype
    judging = options.discriminator_features or features
    discriminator = PatchDiscriminator(judging, options.patch, dtype, norm=InstanceNorm)
    least = discriminator.smallest
    if min(height, width) < least:
        raise UsageError(
            f"--patch {options.patch} needs images of at least {least} pixels a side, got {height}x{width}; give a "
            "larger --image-size or a smaller --patch"
        )
    modules: dict[str, nn.Module] = {
        name: ResNetGenerator(data.sets[made].channels, features, options.blocks, dtype=dtype)
        for name, (_, made) in MAKES.items()
    }
    return modules | dict.fromkeys(DISCRIMINATORS, discriminator)


def translate(nets: Any, batch: Images, draw: Any, state: GANState) -> Images:
    """Returns the fakes of both sides, the pass that all players learn from."""
    return {made: nets[name](batch[of]) for name, (of, made) in MAKES.items()}


def discriminators(nets: Any, batch: Images, draw: Any, state: GANState, fake: Images) -> Outcome:
    """D: ½ (D(x) - 1)² + ½ D(x')², x' out of the pool of earlier fakes."""
    losses, pools, real_logits, fake_logits = [], {}, [], []
    for x in "ab":
        shown, pools[f"pool of {x}"] = history(state.extras[f"pool of {x}"], fake[x], draw, name=f"pool of {x}")
        real_logits.append(nets[f"D{x}"](batch[x])["logits"])
        fake_logits.append(nets[f"D{x}"](shown)["logits"])
        losses.append(least_squares.d(real_logits[-1], fake_logits[-1]))
    return Outcome(
        {"adversarial": losses}, pools, {"real_logits": _mean(real_logits), "fake_logits": _mean(fake_logits)}
    )


def generators(identity: bool) -> Callable[..., Outcome]:
    """Returns the generators' objective, with or without the identity loss."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState, fake: Images) -> Outcome:
        logits = [nets[f"D{x}"](fake[x])["logits"] for x in "ab"]
        back = translate(nets, fake, draw, state)
        losses = {
            "adversarial": [least_squares.g(each) for each in logits],
            "cycle": [jnp.abs(back[x] - batch[x]) for x in "ab"],
        }
        if identity:
            losses["identity"] = [jnp.abs(nets[name](batch[made]) - batch[made]) for name, (_, made) in MAKES.items()]
        return Outcome(losses, metrics={"fake_logits": _mean(logits)})

    return objective


def _mean(logits: list[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.mean(each) for each in logits])


def make_iteration(options: Options, *, identity: bool, axis_name: str | None = None) -> Step:
    """Returns the iteration of the four players, on batches of images `[B, H, W, C]` by set."""
    factor = schedule(options)
    # Twice ½ (D - 1)²: the weights of the others are by the authors' loss, which has no half.
    weights: dict[str, float | str] = {"adversarial": 2.0, "cycle": "cycle"}
    weights |= {"identity": "identity"} if identity else {}

    d = update(
        DISCRIMINATORS,
        discriminators,
        make=translate,
        name="discriminator",
        schedules=rates(factor, *DISCRIMINATORS),
        axis_name=axis_name,
    )
    g = update(
        GENERATORS,
        generators(identity),
        make=translate,
        name="generator",
        weights=weights,
        schedules=rates(factor, *GENERATORS),
        axis_name=axis_name,
    )
    return iteration(joint(d, g, simultaneous=True))


def initial_state(
    options: Options, data: DataSpec, modules: Mapping[str, nn.Module], weights: Mapping[str, float]
) -> Callable[[jax.Array], GANState]:
    """Returns `GAN.init` for these players' modules and `weights` of losses by name."""
    tx = optimizer(options)

    def init(key: jax.Array) -> GANState:
        zeros = {name: jnp.zeros((1, *of.shape)) for name, of in data.sets.items()}
        seen = {name: [zeros[of]] for name, (of, _) in MAKES.items()} | {f"D{x}": [zeros[x]] for x in zeros}
        players = init_players(key, modules, tx, seen)
        numbers = hyper(options, GENERATORS, DISCRIMINATORS) | dict(weights)
        pools = {f"pool of {name}": empty_history(zeros[name], options.pool) for name in zeros}
        return GANState.of(key, players, averaged=GENERATORS, hyper=numbers, extras=pools)

    return init


def build(options: Options, data: DataSpec) -> GAN:
    a, b = (data.sets[name].channels for name in "ab")
    if options.identity and a != b:
        raise UsageError(
            f"--identity {options.identity:g} needs as many channels on both sides, and a has {a} and b has {b}: leave "
            "it out, or bring both to --channels 3"
        )
    weights = {"cycle": options.cycle}
    if a == b and options.identity != 0:
        weights["identity"] = options.cycle / 2 if options.identity is None else options.identity
    step = make_iteration(options, identity="identity" in weights)

    def on_images(state: GANState, batch: Mapping[str, Any]) -> Any:
        return step(state, {name: examples["image"] for name, examples in batch.items()})

    def sample(state: GANState, examples: Mapping[str, Any], keys: jax.Array, *, weights: Weights = "ema") -> Any:
        drawn = {}
        for name, (of, made) in MAKES.items():
            drawn[f"from {of}"] = source = examples[of]["image"]
            drawn[made] = state.evaluate(name, source, weights=weights)
            other = next(each for each in MAKES if each != name)
            drawn[f"{of} again"] = state.evaluate(other, drawn[made], weights=weights)
        return drawn

    def translation(name: str) -> Translation:
        def apply(state: GANState, images: jax.Array, *, weights: Weights = "ema") -> jax.Array:
            made: jax.Array = state.evaluate(name, images, weights=weights)
            return made

        return Translation(apply, data.sets[MAKES[name][0]].channels, multiple=4)  # the generators halve twice

    gan = GAN(
        initial_state(options, data, networks(options, data), weights),
        dataclasses.replace(step, function=on_images),
        dict.fromkeys("ab", options.batch_size),
        sample,
        translations={made: translation(name) for name, (_, made) in MAKES.items()},
    )
    return with_lookahead(options, gan)


if __name__ == "__main__":
    main(Options, build)
