"""The projection of images into a generator's latent space: what is descended on, where from, and within what bounds.

The loss of a code is the mean squared difference of pixels in [-1, 1] (Abdal et al. 2019, arXiv 1904.03189, equation 1)
plus the distance of both images in the features of a network, each scaled to length 1 (Zhang et al. 2018, arXiv
1801.03924), as in `jaxgan.evaluation.features.perceptual.unit_distance`.
"""

import functools
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.sets import LABEL
from jaxgan.evaluation.features.perceptual import feature_maps, unit_features
from jaxgan.media import Image
from jaxgan.projection import Projection, projection_step, start_projection
from jaxgan.training.exploring.latent_space import LatentSpace
from jaxgan.training.recipe.gan import Weights

__all__ = ["Projector", "Space"]

State = Any
Space = Literal["w", "w+", "z"]
DRAWN, DRAWN_AT_ONCE = 10_000, 500  # codes whose mean and spread are measured: as in the paper
NOISE = 0.05  # of the spread, on each number of a code in the first step: the paper's
RATE = 0.1  # the paper's highest learning rate
COMMON = (0.5, 99.5)  # per cent: a latent stays within the lengths that drawn ones have, but for these ends
PIXELS = 2**20  # of images that are looked at in a dispatch: 1024 of 32×32, 16 of 256×256


class Spread(NamedTuple):
    """What drawn codes are like: their mean `[D]`, the root of their mean squared distance from it, and the lengths
    between which nearly all of them are."""

    mean: jax.Array
    deviation: jax.Array
    lengths: tuple[jax.Array, jax.Array]


class Projector:
    """Projects images, uint8 `[N, H, W, C]`, into the latent space `of` a generator.

    labels: `[N]`, of a conditional one; None of others. weights: the generator's.
    space: "w", a style for all layers, "w+", one for each layer, or "z", the latent. steps: in all. starts: points from
    which each image is approached; in w and w+ the first is the mean code, all others are drawn. Which they are, and
    the noise, depend on an image's own pixels and label and on nothing else in the batch.
    network: the name of the one whose features are compared, see `feature_maps`.

    In z a code's length stays within those of 99 % of all drawn ones. A generator was trained on no others (those of
    N(0, I) lie near √L), and a penalty would have a weight that suits one generator and not another.
    """

    def __init__(
        self,
        of: LatentSpace,
        images: np.ndarray,
        labels: Sequence[int] | None,
        *,
        network: str,
        space: Space,
        steps: int,
        starts: int = 1,
        weights: Weights = "ema",
    ) -> None:
        self.latents, self.state, self.output, self.weights = of.latents, of.state, of.drawing.main, weights
        self.space, self.steps, self.starts, self.network = space, steps, starts, network
        self.maps = feature_maps(network)
        self.labels: jax.Array | None = None if labels is None else jnp.asarray(labels, jnp.int32)
        self.keys = jax.vmap(jax.random.key)(np.array([zlib.crc32(image.tobytes()) for image in images], np.uint32))
        told = of.inputs(range(len(images)), label=labels).get("condition")
        wanted, condition = Image().decode(jnp.asarray(images)), None if told is None else jnp.asarray(told)
        self.targets = {"image": wanted, "condition": condition, "maps": self._unit_maps(wanted)}
        self.spread = self._measured()
        side = images.shape[1] * images.shape[2]
        self.at_once = max(1, PIXELS // (side * starts))

    def start(self) -> Projection:
        """Returns the projection before its first step."""
        # No step of theirs has this number, and so none has this noise.
        drawn = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, self.steps), self.starts))(self.keys)
        labels = None if self.labels is None else jnp.repeat(self.labels, self.starts)
        codes = jax.jit(self._drawn)(self.state, drawn.reshape(-1), labels)
        codes = codes.reshape(len(self.keys), self.starts, 1, -1)
        if self.space != "z":
            codes = codes.at[:, 0, 0].set(self.spread.mean[None])
        return start_projection(jnp.repeat(codes, len(self.latents.layers) if self.space == "w+" else 1, axis=2))

    def advance(self, projection: Projection, count: int) -> Projection:
        """Takes `count` steps more."""
        # Where the state is, as what a step returns will be: otherwise the second step would compile once more.
        projection = jax.device_put(projection, jax.tree.leaves(self.state)[0].sharding)
        groups = math.ceil(len(self.keys) / self.at_once)
        parts = []
        for chosen in np.array_split(np.arange(len(self.keys)), groups):
            part, targets = (_taken(tree, chosen) for tree in (projection, self.targets))
            for _ in range(count):
                part = self._step(part, targets, self.keys[chosen], self.state, self.spread, self.maps.variables)
            parts.append(part)
        return parts[0] if groups == 1 else jax.tree.map(_joined, *parts)

    def codes(self, projection: Projection) -> np.ndarray:
        """Returns the best codes so far, of all starting points, as `Latents.synthesize` takes them: float32 `[N, K,
        D]`."""
        chosen = jnp.argmin(projection.loss, axis=1)
        best = projection.best[jnp.arange(len(chosen)), chosen]
        expand = jax.vmap(self._expanded, (None, 0, 0))
        return np.asarray(jax.jit(expand)(self.state, best, self.targets["condition"]))

    def losses(self, projection: Projection) -> np.ndarray:
        """Returns the loss of each image's best code so far, float32 `[N]`; infinite where none has been finite."""
        return np.asarray(projection.loss.min(axis=1))

    @functools.cached_property
    def _step(self) -> Callable[..., Projection]:
        def step(
            projection: Projection, targets: Any, keys: jax.Array, state: State, spread: Spread, variables: Any
        ) -> Projection:
            return projection_step(
                projection,
                lambda code, target: self._loss(state, variables, code, target),
                targets,
                keys,
                steps=self.steps,
                rate=RATE,
                noise=NOISE * spread.deviation,
                constrain=functools.partial(_within, spread.lengths) if self.space == "z" else lambda code: code,
            )

        return jax.jit(step)

    def _loss(self, state: State, variables: Any, code: jax.Array, target: Any) -> jax.Array:
        codes = self._expanded(state, code, target["condition"])[None]
        inputs = _inputs(None, target["condition"])
        drawn = self.latents.synthesize(state, codes, inputs, weights=self.weights)[self.output].astype(jnp.float32)
        wanted = target["image"][None]
        # An image is stored clipped: beyond black where black is wanted, and beyond white, isn't wrong.
        beyond = ((wanted <= -1) & (drawn < wanted)) | ((wanted >= 1) & (drawn > wanted))
        seen = jnp.where(beyond, wanted, drawn)
        return jnp.mean((seen - wanted) ** 2) + self._distance(self._unit(variables, seen), target["maps"])

    def _distance(self, maps: tuple[jax.Array, ...], wanted: tuple[jax.Array, ...]) -> jax.Array:
        distances = [jnp.sum((a[0] - b) ** 2, -1).mean() for a, b in zip(maps, wanted, strict=True)]
        return jnp.sum(jnp.stack(distances))

    def _unit(self, variables: Any, images: jax.Array) -> tuple[jax.Array, ...]:
        """Returns the features of float images, each scaled to length 1."""
        return unit_features(self.maps, variables, images.astype(jnp.float32))

    def _unit_maps(self, images: jax.Array) -> tuple[jax.Array, ...]:
        size = max(1, PIXELS // (images.shape[1] * images.shape[2]))

        def of_image(variables: Any, images: jax.Array) -> tuple[jax.Array, ...]:
            one = lambda image: tuple(x[0] for x in self._unit(variables, image[None]))  # noqa: E731
            return jax.lax.map(one, images, batch_size=min(size, len(images)))

        return jax.jit(of_image)(self.maps.variables, images)

    def _expanded(self, state: State, code: jax.Array, condition: jax.Array | None) -> jax.Array:
        """Returns the codes `[K, D]` of what is descended on, `[1, D]`, or `[K, D]` in w+."""
        if self.space == "z":
            return self.latents.codes(state, _inputs(code, condition), weights=self.weights)[0]
        return jnp.broadcast_to(code, (len(self.latents.layers), code.shape[-1]))

    def _drawn(self, state: State, keys: jax.Array, labels: jax.Array | None) -> jax.Array:
        """Returns drawn points `[n, D]` of the space."""
        inputs = self.latents.draw({} if labels is None else {LABEL: labels}, keys)
        return inputs["latent"] if self.space == "z" else self.latents.codes(state, inputs, weights=self.weights)[:, 0]

    def _measured(self) -> Spread:
        """Measures drawn codes, of a conditional generator under the images' labels in turn."""
        count = DRAWN // DRAWN_AT_ONCE
        keys = jax.random.split(jax.random.key(0), (count, DRAWN_AT_ONCE))
        labels = None if self.labels is None else self.labels[jnp.arange(keys.size) % len(self.labels)]
        labels = None if labels is None else labels.reshape(keys.shape)

        def measure(state: State, labels: jax.Array | None) -> Spread:
            codes = jax.lax.map(lambda given: self._drawn(state, *given), (keys, labels))
            codes = codes.reshape(-1, codes.shape[-1])
            mean = codes.mean(axis=0)
            deviation = jnp.sqrt(jnp.sum((codes - mean[None]) ** 2, axis=1).mean())
            low, high = jnp.percentile(jnp.linalg.norm(codes, axis=1), jnp.array(COMMON))
            return Spread(mean, deviation, (low, high))

        return jax.jit(measure)(self.state, labels)


def _taken(tree: Any, chosen: np.ndarray) -> Any:
    """Returns the chosen of all targets of a pytree; numbers, which are of all, as they are."""
    return jax.tree.map(lambda x: x[chosen] if x.ndim else x, tree)


def _joined(*parts: jax.Array) -> jax.Array:
    return jnp.concatenate(parts) if parts[0].ndim else parts[0]


def _inputs(latent: jax.Array | None, condition: jax.Array | None) -> dict[str, jax.Array]:
    """Returns inputs of one example, `[1, ...]`, as far as there are any; `latent` is `[1, L]` already."""
    found = {} if condition is None else {"condition": condition[None]}
    return found if latent is None else {"latent": latent, **found}


def _within(lengths: tuple[jax.Array, jax.Array], code: jax.Array) -> jax.Array:
    """Returns the code of a length within these bounds that is nearest to `[1, D]`."""
    length = jnp.maximum(jnp.linalg.norm(code), 1e-6)
    return code * (jnp.clip(length, *lengths) / length)
