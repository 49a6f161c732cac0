"""The options that say how long and how players learn, and the optimiser, rates and schedule they come to."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import optax

from jaxgan.ema import WIDEST, power_exponent, width_name
from jaxgan.freezing import keep_zeros
from jaxgan.training.errors.usage import require, require_used
from jaxgan.training.options.fields import Bounded, bounded

__all__ = ["OptimizerName", "OptimizerOptions", "hyper", "optimizer", "schedule", "schedule_length"]

OptimizerName = Literal["adam", "adamw", "rmsprop", "sgd"]

RMS_DECAY = 0.99  # of the average of squared gradients; PyTorch's, with which WGANs were trained


@dataclasses.dataclass(frozen=True)
class OptimizerOptions(Bounded):
    """Options of training; every experiment's options inherit them."""

    GROUP: ClassVar[str] = "optimiser"

    steps: int = bounded(3000, at_least=1)
    """Generator updates, counted from the beginning of the run."""
    batch_size: int = bounded(64, at_least=1)
    """Images in a batch."""
    optimizer: OptimizerName = "adam"
    """How both players learn. adamw is adam with --weight-decay, which others may have too."""
    learning_rate: float = bounded(2e-4, above=0, below=math.inf)
    """The rate of both players."""
    generator_learning_rate: float | None = bounded(None, above=0, below=math.inf)
    """The generator's own; by default --learning-rate."""
    discriminator_learning_rate: float | None = bounded(None, above=0, below=math.inf)
    """The discriminator's own; by default --learning-rate."""
    beta1: float = bounded(0.5, at_least=0, below=1)
    """How much of the gradients' average stays in an update, with adam and adamw."""
    beta2: float = bounded(0.999, at_least=0, below=1)
    """The same for the average of squared gradients."""
    momentum: float = bounded(0.0, at_least=0, below=1)
    """How much of the last update goes into the next, with sgd and rmsprop."""
    weight_decay: float = bounded(0.0, at_least=0, below=math.inf)
    """In an update a parameter shrinks by so much times the rate, beside what its gradient says (decoupled)."""
    l2: float = bounded(0.0, at_least=0, below=math.inf)
    """So much of a parameter is added to its gradient, before the optimiser sees it."""
    clip_gradient_norm: float | None = bounded(None, above=0, below=math.inf)
    """Scale a player's whole gradient down to this length where it is longer. By default never."""
    keep_zeros: bool = False
    """Weights that are exactly 0 stay so: of a run that scripts.prune has pruned, the mask."""

    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the rates fall over --schedule-images, to --final-rate of what they were."""
    schedule_images: int | None = bounded(None, at_least=1)
    """Images after which they have fallen; by default --steps batches, and --steps is then part of the numbers."""
    final_rate: float = bounded(0.0, at_least=0, at_most=1)
    """The share of the rates that is left in the end, from 0 to 1."""
    warmup_images: int = bounded(0, at_least=0)
    """Images over which the rates first rise from 0."""

    ema_half_life: float = bounded(10_000.0, at_least=0, below=math.inf)
    """Images after which a weight counts half in the generator's average; 0 for none."""
    power_ema: tuple[float, ...] = ()
    """Relative widths of further averages of the generator, such as 0.05 0.1, one of which is chosen afterwards with
    --weights 0.05. Each takes as much memory as the generator."""
    ema_statistics: Literal["raw", "averaged", "estimated"] = "raw"
    """Batch statistics that averaged weights are drawn with: the raw weights' own, averaged as the weights are, or
    estimated from 64 batches of the generator's before drawing."""
    lookahead: int = bounded(0, at_least=0)
    """Generator updates after which both players step back towards where they last did so; 0 for never."""
    lookahead_alpha: float = bounded(0.5, above=0, at_most=1)
    """The share of that way which they keep, from 0 to 1."""
    accumulate: int = bounded(1, at_least=1)
    """Parts into which a batch is cut, one in memory at a time, for one update by the mean of their gradients.
    Above 1 each player has latents of its own, also where an experiment's updates are joint and share them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        divides = self.batch_size % self.accumulate == 0
        require(self, "accumulate", divides, f"a divisor of --batch-size, which is {self.batch_size}")
        fits = self.optimizer in ("sgd", "rmsprop") or self.momentum == 0
        require(self, "momentum", fits, f"0 with --optimizer {self.optimizer}, which has --beta1 instead")
        fits = self.optimizer != "adamw" or self.weight_decay > 0
        require(self, "weight_decay", fits, "above 0, such as 0.01, with --optimizer adamw, which is adam without it")
        for width in self.power_ema:
            fits = 0 < width < WIDEST and self.power_ema.count(width) == 1
            require(self, "power_ema", fits, f"different widths above 0 and below {WIDEST:.4f}, such as 0.05 0.1")
        for name in ("schedule_images", "final_rate"):
            require_used(self, name, self.schedule != "constant", "--schedule linear or cosine")


def optimizer(
    options: OptimizerOptions, eps_root: float = 0.0, *, inject: bool = False
) -> optax.GradientTransformation:
    """Makes the optimiser that the options name, without a rate: the step multiplies by it. For each player, in this
    order:

    gradient clipping by the norm over all of its parameters; L2 regularisation; Adam (arXiv 1412.6980), RMSprop, or
    gradient descent with momentum; decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101), which with the
    rate η and decay λ makes p - η·(u + λ·p) of p. Constants are PyTorch's: ε is 1e-8, added to the root; RMSprop
    averages squares with 0.99; momentum isn't damped. `eps_root` goes under Adam's root, which a step that is
    differentiated needs, as the root has no slope at 0. With `inject` schedules may change Adam's numbers
    (`generator/b2`), which its state then holds. Decay and L2 act on every parameter, biases and norms' too. With
    `options.keep_zeros` all of this leaves weights of exactly 0 as they are, see `jaxgan.freezing.keep_zeros`.
    """
    parts = []
    if options.clip_gradient_norm is not None:
        parts.append(optax.clip_by_global_norm(options.clip_gradient_norm))
    if options.l2:
        parts.append(optax.add_decayed_weights(options.l2))
    if options.optimizer in ("adam", "adamw"):
        adam = optax.inject_hyperparams(optax.scale_by_adam) if inject else optax.scale_by_adam
        parts.append(adam(b1=options.beta1, b2=options.beta2, eps_root=eps_root))
    if options.optimizer == "rmsprop":
        parts.append(optax.scale_by_rms(RMS_DECAY, eps_in_sqrt=False))
    if options.momentum:
        parts.append(optax.trace(options.momentum))
    if options.weight_decay:
        parts.append(optax.add_decayed_weights(options.weight_decay))
    # One alone stays as it is: a chain has another state, and runs that were saved before would not fit it.
    parts = parts or [optax.identity()]
    tx = parts[0] if len(parts) == 1 else optax.chain(*parts)
    return keep_zeros(tx) if options.keep_zeros else tx


def hyper(
    options: OptimizerOptions,
    generators: Sequence[str] = ("generator",),
    discriminators: Sequence[str] = ("discriminator",),
) -> dict[str, float]:
    """Returns rates and averaging by name, as `GANState.create` takes them; an experiment adds the weights of its
    terms. generators, discriminators: the players that learn at the generator's rate, and at the discriminator's. Two
    rates are the two time scales of Heusel et al. 2017 (arXiv 1706.08500)."""
    own = dict.fromkeys(generators, options.generator_learning_rate)
    own |= dict.fromkeys(discriminators, options.discriminator_learning_rate)
    rates = {f"{player}/learning_rate": options.learning_rate if rate is None else rate for player, rate in own.items()}
    powers = {f"power_ema/{width_name(width)}": power_exponent(width) for width in options.power_ema}
    averaged = {"ema_statistics": 1.0} if options.ema_statistics == "averaged" else {}
    return {**rates, "ema_half_life": options.ema_half_life, **powers, **averaged}


def schedule_length(values: Mapping[str, Any]) -> int:
    """Images over which the rates fall by options of these values, 0 where they don't. By default that is the whole
    run; one that continues with more --steps must say what its length was, see `options.differing`."""
    if values.get("schedule", "constant") == "constant":
        return 0
    length: int = values.get("schedule_images") or values["steps"] * values["batch_size"]
    return length


def schedule(options: OptimizerOptions, repeats: int = 1) -> Callable[[jax.Array], jax.Array] | None:
    """Returns the `schedule` of a step: from the images that its player has been trained on, float32 `[]`, the factor
    on its rate; None where rates stay as they are. `repeats` is how often the player learns in an iteration (critic
    steps), so that both players' rates fall together, over the images that the generator is trained on.

    With t images of a length T and the final share r: r + (1 - r)·(1 - t/T) if linear, r + (1 - r)·(1 + cos(πt/T))/2
    if cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5), r after T; and all of it times t/W before W
    images of warmup, which are part of T.
    """
    length, warmup, final = schedule_length(vars(options)), options.warmup_images, options.final_rate
    if not length and not warmup:
        return None

    def factor(images: jax.Array) -> jax.Array:
        done = images / repeats
        rise = jnp.minimum(done / warmup, 1.0) if warmup else jnp.ones((), jnp.float32)
        if not length:
            return rise
        share = jnp.minimum(done / float(length), 1.0)  # which may be more than int32 holds
        left = 1 - share if options.schedule == "linear" else (1 + jnp.cos(jnp.pi * share)) / 2
        return rise * (final + (1 - final) * left)

    return factor
