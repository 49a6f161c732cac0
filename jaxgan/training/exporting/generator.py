"""What a run draws, as a function of arrays alone: latents, and labels or codes where there are some, or pictures."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.samplers import coded
from jaxgan.state import TrainState
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.recipe.gan import Latents, Translation, Weights
from jaxgan.training.recipe.latents import truncated
from jaxgan.training.run.open_run import OpenRun

__all__ = ["UNIFORM", "Generator", "Input", "categories_of", "generator_of"]

NORMAL, UNIFORM = "numbers from N(0, 1)", "numbers, uniform in [-1, 1)"  # what latents are


class Input(NamedTuple):
    """What a generator is given: its shape, in which "n" is the number of examples, type, and meaning in words."""

    shape: tuple[int | str, ...]
    dtype: Any = np.float32
    meaning: str = ""


class Generator(NamedTuple):
    """A generator with its weights.

    apply: takes `inputs` by name -> float32 `[n, ...]`, the run's main output as networks have it; pure.
    output: its name, and `shape` without the batch. variables: of the players that `apply` calls, by name.
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


def generator_of(run: OpenRun, weights: Weights = "ema", to: str | None = None, *, movable: bool = False) -> Generator:
    """Returns what a run draws with such weights, or what it makes of pictures, `to` being which of several such
    things. movable: whether codes can be moved, by an input `shift`, where directions for that can be found (see
    `Latents.factors`). UsageError for a run of several GANs, for one that neither draws from latents nor translates,
    and for a `to` that there is none of."""
    if run.members:
        raise UsageError(f"{run.directory} has {len(run.members)} GANs: name one of them (--member)")
    weights = run.named_weights(weights)
    state, called = _watched(run.state if weights == "raw" else run.drawn_state)
    if to is None and run.gan.latents is not None:
        apply, inputs, output = _from_latents(run, run.gan.latents, state, weights, movable)
    elif run.gan.translations:
        translation = run.translation(to)
        (output,) = (name for name, each in run.gan.translations.items() if each is translation)
        apply, inputs = _from_pictures(run, output, translation, state, weights)
    else:
        raise UsageError(f"{run.directory} can't be exported: it draws from no latents, and makes nothing of pictures")
    made = Generator(apply, inputs, output, (), {})
    shape = jax.eval_shape(made.draw, *made.arguments(1)).shape[1:]
    own = {name: state.variables_of(name, weights if state.averages_of(name) else "raw") for name in sorted(called)}
    return made._replace(shape=shape, variables=own)


Inputs = dict[str, Input]


def _watched(state: Any) -> tuple[Any, set[str]]:
    """Returns the state, and a set into which its players put their names when they are called."""
    called: set[str] = set()

    def noting(name: str, player: TrainState) -> TrainState:
        def apply_fn(*given: Any, **options: Any) -> Any:
            called.add(name)
            return player.apply_fn(*given, **options)

        return player.replace(apply_fn=apply_fn)

    return state.replace(players={name: noting(name, player) for name, player in state.players.items()}), called


def _from_latents(
    run: OpenRun, latents: Latents, state: Any, weights: Weights, movable: bool
) -> tuple[Callable[..., jax.Array], Inputs, str]:
    drawn, output = run.latent_space.inputs(range(64)), run.drawing.main
    own, categories = drawn["latent"], categories_of(run, drawn)
    if categories:
        own = own[:, : own.shape[1] - sum(categories) - drawn["code_value"].shape[1]]
    inputs = {"latent": Input(("n", own.shape[1]), meaning=NORMAL if np.abs(own).max() > 1 else UNIFORM)}
    if categories:
        meaning = f"a category each, from 0, of {', '.join(map(str, categories))}"
        inputs["code_class"] = Input(("n", len(categories)), np.int32, meaning)
        if values := drawn["code_value"].shape[1]:
            inputs["code_value"] = Input(("n", values), meaning=UNIFORM)
    if run.drawing.conditional and "condition" in drawn:
        inputs["label"] = Input(("n",), np.int32, "a class, from 0")
    if latents.mapped:
        far = "one number for all: how far styles are from their mean, 1 as they are and 0 the mean image"
        inputs["truncation"] = Input((), meaning=far)
    if movable and latents.factors is not None:
        inputs["shift"] = Input((run.latent_space.size,), meaning="added to all codes; 0 leaves them as they are")

    def apply(latent: jax.Array, **given: jax.Array) -> jax.Array:
        if categories:
            values = given.get("code_value", jnp.zeros((latent.shape[0], 0)))
            latent = coded(latent, given["code_class"], values, categories)
        fed = {"latent": latent, **({"condition": given["label"]} if "label" in given else {})}
        codes = latents.codes(state, fed, weights=weights)
        if "truncation" in given:
            codes = truncated(codes, latents.mean(state, weights=weights), given["truncation"])
        codes = codes + given["shift"][None, None] if "shift" in given else codes
        return latents.synthesize(state, codes, fed, weights=weights)[output].astype(jnp.float32)

    return apply, inputs, output


def categories_of(run: OpenRun, drawn: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Returns how many values each of an InfoGAN's categorical codes has; none where there are none, or an experiment
    of one's own doesn't say it as ours does."""
    found = getattr(run.options, "categories", None)
    return (found,) if "code_class" in drawn and isinstance(found, int) else ()


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

    about = "pictures, 0 to 255 as -1 to 1"
    one = Input((1, *shape), meaning=about)
    return apply, {"picture": Input(("n", *shape), meaning=about), **dict.fromkeys(beside, one)}
