"""Flow-GAN on points of the plane: a generator whose density is known. Grover et al. 2018,
https://arxiv.org/abs/1705.08868

What it should reach, by the paper: the best log density of held-out points by likelihood, far worse ones
adversarially, and something between the two by both. By likelihood it reaches 3.3 to 3.8 nats of the 4.29 of the data's
own, on all eight modes, with bridges of points between them, since a flow can't tear the plane; both is about as
likely, and the adversarial loss alone leaves one mode.

    python -m experiments.flowgan_ring
    python -m experiments.flowgan_ring --game mle
    python -m experiments.flowgan_ring --game gan
    python -m scripts.density RUN

Likelihood alone takes 23 to 38 seconds of one core's time of an AMD EPYC, gan 53, both 71; numbers are in
docs/results.md. With --seeds 3 the program compiles for minutes: take --seed. The gradient of a likelihood whose modes
are a hundredth wide is some tens to some hundreds long: not clipped, at a constant rate, it ended 4 to 8 nats below.

The generator is a RealNVP of sixteen affine couplings (Dinh et al. 2017, arXiv 1605.08803), of latents of two numbers;
the discriminator is that of `experiments.gan_ring`. The game mle has no discriminator; both is the adversarial loss and
the negative log density of the batch, times --likelihood, the paper's λ. The paper's adversarial loss is Wasserstein's;
here it is the non-saturating one, whose discriminator says a ratio of densities (`scripts.sample --reject`). The paper
has no ring: --preset paper is a larger network, trained for longer. Nobody has run it.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from experiments import gan_ring
from jaxgan import GANState, Step, init_players, iteration, joint, latents, update
from jaxgan.losses import non_saturating
from jaxgan.networks.flow import Flow
from jaxgan.networks.mlp import Discriminator
from jaxgan.schedules import rates
from jaxgan.training import GAN, DataSpec, latents_with, main, sample_through
from jaxgan.training import Options as CommonOptions
from jaxgan.training.errors.usage import require_used
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName, hyper, optimizer, schedule
from jaxgan.training.recipe.compose import with_lookahead
from jaxgan.training.recipe.gan import Weights
from jaxgan.update import Update

Points = Mapping[str, jax.Array]
PLAYERS = {"both": ("generator", "discriminator"), "mle": ("generator",), "gan": ("generator", "discriminator")}


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    dataset: str = "ring"
    steps: int = 5000
    batch_size: int = 256
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-3
    beta1: float = 0.5
    beta2: float = 0.99
    clip_gradient_norm: float | None = 1.0
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    ema_half_life: float = 100_000.0
    checkpoint_every: int = 1000
    sample_every: int = 1000
    game: Literal["both", "mle", "gan"] = "both"
    """How the generator learns: by likelihood (mle), adversarially (gan), or by both."""
    likelihood: float = bounded(1.0, at_least=0, below=math.inf)
    """The weight of the negative log density beside the adversarial loss of both; `likelihood` for --sweep."""
    couplings: int = bounded(16, at_least=1)
    """Coupling layers of the generator."""
    generator_width: int = bounded(64, at_least=1)
    """Units of each of the two hidden layers of a coupling's network."""
    width: int = bounded(128, at_least=1)
    """Units of a hidden layer of the discriminator."""

    TAKES: ClassVar = "points"
    PRESETS: ClassVar = {
        "paper": {"steps": 100_000, "batch_size": 512, "generator_width": 128, "width": 256},
        "smoke": {"steps": 2, "batch_size": 8, "couplings": 2, "generator_width": 8, "width": 8},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require_used(self, "likelihood", self.game == "both", "--game both")


def generate(size: int) -> Callable[..., Points]:
    """Returns what makes the points of which both players learn."""
    return lambda nets, batch, draw, state: {"image": nets["generator"](draw.normal("z", size))}


def judge(nets: Any, batch: Points, draw: Any, state: GANState, made: Points) -> dict[str, jax.Array]:
    """The discriminator's objective."""
    real, fake = (nets["discriminator"](points["image"])["logits"] for points in (batch, made))
    return {"adversarial": non_saturating.d(real, fake)}


def surprise(nets: Any, batch: Points) -> jax.Array:
    """Returns the negative log density of a batch's points, `[B]` in nats."""
    return -nets["generator"](batch["image"], method="log_density")


def learn(options: Options) -> Callable[..., dict[str, jax.Array]]:
    """Returns the generator's objective, on what `generate` made."""

    def objective(nets: Any, batch: Points, draw: Any, state: GANState, made: Points) -> dict[str, jax.Array]:
        losses = {"adversarial": non_saturating.g(nets["discriminator"](made["image"])["logits"])}
        return losses if options.game == "gan" else {**losses, "likelihood": surprise(nets, batch)}

    return objective


def make_iteration(options: Options, size: int, *, axis_name: str | None = None) -> Step:
    """Returns the iteration of the game's players, for points of `size` numbers."""
    factor = schedule(options)

    def of(player: str, objective: Callable[..., Any], **how: Any) -> Update:
        common: dict[str, Any] = {"accumulate": options.accumulate, "axis_name": axis_name}
        return update(player, objective, schedules=rates(factor, player), **common, **how)

    if options.game == "mle":
        return iteration(of("generator", lambda nets, batch, draw, state: {"likelihood": surprise(nets, batch)}))
    make, weights = generate(size), {"likelihood": "likelihood"} if options.game == "both" else {}
    steps = of("discriminator", judge, make=make), of("generator", learn(options), make=make, weights=weights)
    return iteration(joint(*steps)) if options.accumulate == 1 else iteration(*steps)


def build(options: Options, data: DataSpec) -> GAN:
    gan_ring.check_points(data)
    size, dtype = math.prod(data.shape), options.compute_dtype
    modules = {
        "generator": Flow(data.shape, options.couplings, (options.generator_width,) * 2, dtype),
        "discriminator": Discriminator((options.width,) * 2, dtype),
    }
    modules = {name: modules[name] for name in PLAYERS[options.game]}
    tx = optimizer(options)

    def init(key: jax.Array) -> GANState:
        inputs = {"generator": [jnp.zeros((1, size))], "discriminator": [jnp.zeros((1, *data.shape))]}
        numbers = hyper(options, ["generator"], [name for name in modules if name != "generator"])
        numbers |= {"likelihood": options.likelihood} if options.game == "both" else {}
        return GANState.of(key, init_players(key, modules, tx, inputs), averaged=["generator"], hyper=numbers)

    def log_density(state: GANState, examples: jax.Array, *, weights: Weights = "ema") -> jax.Array:
        nats: jax.Array = state.evaluate("generator", examples, weights=weights, method="log_density")
        return nats

    space = latents_with(latents(size), size)
    step = make_iteration(options, size)
    gan = GAN(init, step, options.batch_size, sample_through(space), latents=space, log_density=log_density)
    return with_lookahead(options, gan)


if __name__ == "__main__":
    main(Options, build)
