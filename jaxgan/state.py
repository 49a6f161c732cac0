"""The state of a run: one immutable pytree that holds everything that changes, so that saving it is saving the run."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.training import train_state

__all__ = [
    "ROLES",
    "GANState",
    "TrainState",
    "ema_update",
    "has_batch_norm",
    "has_spectral_norm",
    "init_player",
]

# What the run's key is folded with, once for each purpose. The numbers are part of every saved run.
ROLES = {"generator": 0, "discriminator": 1, "order": 2, "display": 3, "init": 4, "transform": 5}

PyTree = Any
Variables = dict[str, PyTree]


class TrainState(train_state.TrainState):
    """flax's `TrainState` and, in `variables`, the module's other collections (`batch_stats`, `spectral`).

    `step` counts this player's own updates. `tx` is built without a learning rate (`optax.scale_by_adam`): the step
    multiplies by the rate, which lives in `GANState.hyper`.
    """

    variables: Variables

    def apply(self, params: PyTree, variables: Variables, *inputs: jax.Array | None, **options: Any) -> Any:
        """The module's output on `params` and `variables`; `options` as for `nn.Module.apply`."""
        return self.apply_fn({"params": params, **variables}, *inputs, **options)


class GANState(struct.PyTreeNode):
    """A generator, a discriminator and what belongs to the run.

    step: int32, iterations done. key: the run's only key; it never changes, and is used only through `ROLES`. ema: the
    generator's variables with averaged parameters, as `apply` takes them. hyper: float32 scalars by name (learning
    rates in units of the optimiser, penalty weights, `ema_half_life` in images). extras: state of adaptive terms, by
    name.
    """

    step: jax.Array
    key: jax.Array
    generator: TrainState
    discriminator: TrainState
    ema: Variables
    hyper: dict[str, jax.Array]
    extras: dict[str, PyTree]

    @classmethod
    def create(
        cls,
        key: jax.Array,
        generator: TrainState,
        discriminator: TrainState,
        *,
        hyper: Mapping[str, float],
        extras: Mapping[str, PyTree] | None = None,
    ) -> "GANState":
        """A state at step 0. `hyper` must name `generator/learning_rate`, `discriminator/learning_rate` and
        `ema_half_life` (in images; 0 makes the average follow at once); ValueError otherwise."""
        missing = {"generator/learning_rate", "discriminator/learning_rate", "ema_half_life"} - set(hyper)
        if missing:
            raise ValueError(f"hyper lacks {sorted(missing)}; it has {sorted(hyper)}")
        return cls(
            step=jnp.zeros((), jnp.int32),
            key=key,
            generator=generator,
            discriminator=discriminator,
            # A copy: the program donates its state, and no buffer may be given away twice.
            ema=jax.tree.map(jnp.copy, {"params": generator.params, **generator.variables}),
            hyper={name: jnp.asarray(value, jnp.float32) for name, value in hyper.items()},
            extras=dict(extras or {}),
        )


def init_player(
    key: jax.Array, module: nn.Module, tx: optax.GradientTransformation, *inputs: jax.Array | None
) -> TrainState:
    """A TrainState for `module`, its variables drawn with `key` for `inputs` (their shapes count, not their values)."""
    variables = dict(module.init(key, *inputs, train=False))
    params = variables.pop("params")
    player = TrainState.create(apply_fn=module.apply, params=params, tx=tx, variables=variables)
    return player.replace(step=jnp.zeros((), jnp.int32))


def _turned(variables: Variables) -> list[bool]:
    """Of every array in `batch_stats`, whether it is spectral normalisation's: flax's own layer keeps what its power
    iteration turns there, as `kernel/u` and `kernel/sigma`, where batch normalisation keeps its statistics."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(variables.get("batch_stats", {}))]
    return [str(getattr(path[-1], "key", "")).endswith(("/u", "/sigma")) for path in paths]


def has_batch_norm(variables: Variables) -> bool:
    """Whether a network with these variables normalises by its batch."""
    return not all(_turned(variables))


def has_spectral_norm(variables: Variables) -> bool:
    """Whether a network with these variables divides weights by their norm, by a layer of flax's or one that keeps its
    power iteration in `spectral`."""
    return "spectral" in variables or any(_turned(variables))


def ema_update(state: GANState, batch_size: int) -> Variables:
    """The generator's exponential average after `batch_size` more images.

    The decay is ½^(batch_size / half-life). Early in a run the half-life is at most a twentieth of the images seen, so
    that the average forgets the initial weights (Karras et al. 2020, arXiv 2006.06676, appendix; their ramp-up 0.05).
    Other collections (batch statistics) are averages already and are taken over as they are.
    """
    images = state.step.astype(jnp.float32) * batch_size
    half_life = jnp.minimum(state.hyper["ema_half_life"], 0.05 * images)
    decay = 0.5 ** (batch_size / half_life)
    params = jax.tree.map(lambda a, p: p + decay * (a - p), state.ema["params"], state.generator.params)
    return {"params": params, **state.generator.variables}
