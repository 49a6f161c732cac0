"""A generator's latent space at one of its states: the codes of samples, and pictures of codes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.media import Image
from jaxgan.terminal import progress_bar
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.recipe.gan import Weights
from jaxgan.training.recipe.latents import truncated

__all__ = ["Inputs", "LatentSpace"]

Inputs = dict[str, np.ndarray]  # what a sampler draws, `[N, ...]` by name: `latent`, and `condition` where there is one
AT_ONCE, PIXELS = 64, 2**18  # of a dispatch: codes at most, and about so many pixels


class LatentSpace:
    """The latent space of a drawing's generator, which `jaxgan.training.recipe.gan.Latents` describes, at `state`.

    ValueError for an ensemble, and for a GAN that doesn't say how its pictures come from latents.

    layers: as of `Latents`, K of them. size: D, numbers of a code. mapped: whether there is a w beside z. at_once:
    codes that become pictures in a dispatch."""

    def __init__(self, drawing: Drawing, state: Any) -> None:
        if drawing.members:
            raise ValueError(f"an ensemble of {drawing.members} GANs has as many latent spaces: take one member")
        if drawing.gan.latents is None:
            raise ValueError("this GAN doesn't say how its pictures come from latents")
        self.drawing, self.state, self.latents = drawing, state, drawing.gan.latents
        self.layers, self.mapped = self.latents.layers, self.latents.mapped
        self.size = int(jax.eval_shape(self.latents.mean, state).shape[0])
        field = drawing.data.like(drawing.main)
        pixels = math.prod(field.shape[:2]) if field.kind == Image.kind else 1
        self.at_once = max(1, min(AT_ONCE, PIXELS // pixels))
        self._draw = jax.jit(lambda examples, keys: self.latents.draw(drawing.decoded(examples), keys))
        self._codes = jax.jit(self.latents.codes, static_argnames="weights")

        def made(state: Any, codes: jax.Array, inputs: Any, weights: Weights) -> jax.Array:
            return self.latents.synthesize(state, codes, inputs, weights=weights)[drawing.main].astype(jnp.float32)

        def stored(state: Any, codes: jax.Array, inputs: Any, weights: Weights) -> jax.Array:
            return drawing.medium(drawing.main).encode(made(state, codes, inputs, weights))

        self._made, self._stored = (jax.jit(each, static_argnames="weights") for each in (made, stored))

    def inputs(self, numbers: Sequence[int], *, seed: int = 0, label: int | Sequence[int] | None = None) -> Inputs:
        """Returns the inputs of samples by their numbers, counted from 0 in a file that `scripts.sample` writes of this
        seed; the classes of a conditional GAN are those that it has there, or `label`, one for all or one for each."""
        labels = [label] * len(numbers) if label is None or isinstance(label, int) else label
        pairs = zip(numbers, labels, strict=True)
        each = [self.drawing.asked(number, 1, label=label) for number, label in pairs]
        examples = jax.tree.map(lambda *parts: np.concatenate(parts), *each)
        root = jax.random.key(seed)
        keys = jax.vmap(lambda number: jax.random.fold_in(root, number))(np.asarray(numbers, np.int32))
        drawn = self._draw(examples, keys)
        return {name: np.asarray(value) for name, value in drawn.items()}

    def codes(self, inputs: Inputs, *, weights: Weights = "ema", truncation: float = 1.0) -> np.ndarray:
        """Returns the codes of inputs, float32 `[N, K, D]`, after truncation."""
        found = self._in_parts(lambda part: self._codes(self.state, part, weights=weights), inputs)
        return found if truncation == 1 else self.truncated(found, truncation, weights=weights)

    def mean(self, *, weights: Weights = "ema") -> np.ndarray:
        """Returns the mean code, float32 `[D]`."""
        return np.asarray(self.latents.mean(self.state, weights=weights))

    def truncated(self, codes: np.ndarray, truncation: float, *, weights: Weights = "ema") -> np.ndarray:
        """Returns codes `[N, K, D]` moved towards the mean code, see `jaxgan.training.recipe.latents.truncated`."""
        return np.asarray(truncated(jnp.asarray(codes), jnp.asarray(self.mean(weights=weights)), truncation))

    def factors(self, *, weights: Weights = "ema") -> list[np.ndarray] | None:
        """Returns the matrices `[D, outputs]` that the layers' codes are multiplied by, None where they aren't
        known."""
        if self.latents.factors is None:
            return None
        return [np.asarray(each) for each in self.latents.factors(self.state, weights=weights)]

    def synthesize(
        self, codes: np.ndarray, inputs: Inputs, *, weights: Weights = "ema", what: str = "drawing"
    ) -> np.ndarray:
        """Returns what becomes of codes `[N, ..., K, D]`, stored: uint8 images `[N, ..., H, W, C]`. inputs: of N
        samples; their conditions count, each for all codes of its sample. The same code becomes the same picture,
        whatever else is drawn with it. ValueError for codes of another shape."""
        return self._of_codes(self._stored, codes, inputs, weights, what)

    def floats(self, codes: np.ndarray, inputs: Inputs, *, weights: Weights = "ema") -> np.ndarray:
        """Returns what becomes of codes as networks have it, not rounded: float32 images `[N, ..., H, W, C]`, about in
        [-1, 1]. Otherwise as `synthesize`."""
        return self._of_codes(self._made, codes, inputs, weights, "drawing")

    def _of_codes(
        self, apply: Callable[..., jax.Array], codes: np.ndarray, inputs: Inputs, weights: Weights, what: str
    ) -> np.ndarray:
        expected = (len(self.layers), self.size)
        if codes.ndim < 3 or codes.shape[-2:] != expected or 0 in codes.shape:
            wanted = "×".join(map(str, expected))
            raise ValueError(f"codes must be [N, ..., {wanted}], layers and numbers, got {list(codes.shape)}")
        between = codes.shape[1:-2]
        flat = {name: np.repeat(value, math.prod(between), axis=0) for name, value in inputs.items()}
        given = (np.asarray(codes, np.float32).reshape(-1, *expected), flat)
        made = self._in_parts(lambda part: apply(self.state, *part, weights=weights), given, what)
        return made.reshape(*codes.shape[:-2], *made.shape[1:])

    def _in_parts(self, apply: Callable[[Any], jax.Array], given: Any, what: str = "drawing") -> np.ndarray:
        """Applies a compiled function to arrays `[N, ...]`, always to as many at once: it compiles once, and rounds an
        example alike wherever it stands."""
        count, size = len(jax.tree.leaves(given)[0]), self.at_once
        parts = []
        with progress_bar(count, what, hidden=count <= size) as bar:
            for first in range(0, count, size):
                chosen = np.minimum(np.arange(first, first + size), count - 1)
                part = jax.tree.map(lambda x, chosen=chosen: jnp.asarray(x[chosen]), given)
                parts.append(np.asarray(apply(part)))
                bar.update(min(size, count - first))
        return np.concatenate(parts)[:count]
