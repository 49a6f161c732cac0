"""What a run draws, as a function of arrays alone: latents, and labels where classes are asked for, or pictures."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.training.errors.usage import UsageError
from jaxgan.training.recipe.gan import Latents, Translation, Weights
from jaxgan.training.recipe.latents import truncated
from jaxgan.training.run.open_run import OpenRun

__all__ = ["Generator", "Input", "generator_of"]


class Input(NamedTuple):
    """What a generator is given: its shape, in which "n" is the number of examples, and type."""

    shape: tuple[int | str, ...]
    dtype: Any = np.float32


class Generator(NamedTuple):
    """A generator with its weights.

    apply: takes `inputs` by name -> float32 `[n, ...]`, the run's main output as networks have it; pure.
    output: its name, and `shape` without the batch. variables: what `apply` holds, by player.
    """

    apply: Callable[..., jax.Array]
    inputs: Mapping[str, Input]
    output: str
    shape: tuple[int, ...]
    variables: Mapping[str, Any]

    def arguments(self, count: Any) -> list[jax.ShapeDtypeStruct]:
        """Returns what `apply` takes for `count` examples, a number or a symbol."""
        counted = {
            name: tuple(count if size == "n" else size for size in one.shape) for name, one in self.inputs.items()
        }
        return [jax.ShapeDtypeStruct(counted[name], one.dtype) for name, one in self.inputs.items()]

    def draw(self, *given: Any) -> jax.Array:
        """Calls `apply` with its inputs in the order of `inputs`."""
        return self.apply(**dict(zip(self.inputs, given, strict=True)))


def generator_of(run: OpenRun, weights: Weights = "ema", to: str | None = None) -> Generator:
    """Returns what a run draws with such weights, or what it makes of pictures, `to` being which of several such
    things. UsageError for a run of several GANs, for one that neither draws from latents nor translates, and for a `to`
    that there is none of."""
    if run.members:
        raise UsageError(f"{run.directory} has {len(run.members)} GANs: name one of them (--member)")
    weights = run.named_weights(weights)
    state = run.state if weights == "raw" else run.drawn_state
    if to is None and run.gan.latents is not None:
        apply, inputs, output = _from_latents(run, run.gan.latents, state, weights)
    elif run.gan.translations:
        translation = run.translation(to)
        (output,) = (name for name, each in run.gan.translations.items() if each is translation)
        apply, inputs = _from_pictures(run, output, translation, state, weights)
    else:
        raise UsageError(f"{run.directory} can't be exported: it draws from no latents, and makes nothing of pictures")
    players = [name for name in state.players if state.averages_of(name)] or ["generator"]
    variables = {name: state.variables_of(name, weights) for name in players}
    made = Generator(apply, inputs, output, (), variables)
    return made._replace(shape=jax.eval_shape(made.draw, *made.arguments(1)).shape[1:])


Inputs = dict[str, Input]


def _from_latents(
    run: OpenRun, latents: Latents, state: Any, weights: Weights
) -> tuple[Callable[..., jax.Array], Inputs, str]:
    drawn, output = run.latent_space.inputs([0]), run.drawing.main
    inputs = {"latent": Input(("n", *drawn["latent"].shape[1:]))}
    if run.drawing.conditional and "condition" in drawn:
        inputs["label"] = Input(("n",), np.int32)
    if latents.mapped:
        inputs["truncation"] = Input(())

    def apply(latent: jax.Array, label: jax.Array | None = None, truncation: jax.Array | float = 1.0) -> jax.Array:
        given = {"latent": latent} if label is None else {"latent": latent, "condition": label}
        codes = latents.codes(state, given, weights=weights)
        if latents.mapped:
            codes = truncated(codes, latents.mean(state, weights=weights), truncation)
        return latents.synthesize(state, codes, given, weights=weights)[output].astype(jnp.float32)

    return apply, inputs, output


def _from_pictures(
    run: OpenRun, name: str, translation: Translation, state: Any, weights: Weights
) -> tuple[Callable[..., jax.Array], Inputs]:
    """Pictures of the size that the run was trained on. What else the translation needs is one such picture for
    all, as a style is."""
    height, width, _ = run.data.like(name).shape
    size = height // translation.scale, width // translation.scale
    shape = *size, translation.channels
    needed = list(inspect.signature(translation.apply).parameters.values())[2:]
    beside = [each.name for each in needed if each.default is each.empty and each.kind is not each.VAR_KEYWORD]

    def apply(picture: jax.Array, **others: jax.Array) -> jax.Array:
        return translation.apply(state, picture, weights=weights, **others).astype(jnp.float32)

    return apply, {"picture": Input(("n", *shape)), **dict.fromkeys(beside, Input((1, *shape)))}
