"""The perceptual path length of a run's generator: a score of its latent space, not of a set of images."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.degrade import grey
from jaxgan.evaluation import Perceptual, Score, lerp, path_length, slerp
from jaxgan.media import Image
from jaxgan.terminal import progress_bar
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.exploring.latent_space import LatentSpace
from jaxgan.training.options.evaluation import FeatureOptions
from jaxgan.training.recipe.data_spec import Field
from jaxgan.training.recipe.gan import Weights
from jaxgan.training.scoring.measures import pair_networks

__all__ = ["path_distance", "path_score"]

EPSILON = 1e-4  # the paper's
ENDS = 2**30  # the number of the sample to which the first path leads


def path_distance(options: FeatureOptions, data: Field) -> Perceptual:
    """Returns the distance of such images that the options ask for: LPIPS where its weights are given, which is shown
    grey as colour, otherwise that of --perceptual-network. UsageError for what isn't images, and for images that the
    network doesn't take."""
    if data.kind != Image.kind:
        raise UsageError(f"--metrics ppl compares images, and this run draws {data.medium.plural}; leave it out")
    lpips = options.lpips_weights is not None
    found = pair_networks(options, paired=not lpips)["lpips" if lpips else "perceptual"]
    if lpips and data.shape[-1] == 1:
        found = found._replace(distance=_of_colour(found.distance))
    image = jax.ShapeDtypeStruct((1, *data.shape), jnp.float32)
    try:
        jax.eval_shape(found.distance, image, image)
    except ValueError as error:
        raise UsageError(f"--metrics ppl: {error}") from None
    return found


def _of_colour(distance: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return lambda a, b: distance(*(grey(jnp.asarray(x), 3) for x in (a, b)))


def path_score(
    space: LatentSpace, distance: Perceptual, count: int, *, seed: int = 0, weights: Weights = "ema"
) -> Score:
    """Scores a generator by its perceptual path length between `count` pairs of samples, see
    `jaxgan.evaluation.path_length`, also for its errors. Each path leads from a sample, of those that this seed draws
    from number 0 on, to one from number 2^30 on; a step of 1e-4 is taken at a uniform place of it. In w the path is
    straight, in z, of a generator without a mapping, a great circle. A conditional generator is asked for the class of
    the first sample all along the path. Images are not rounded, nor resized."""
    starts, ends = (space.inputs(range(first, first + count), seed=seed) for first in (0, ENDS))
    told = {name: value for name, value in starts.items() if name == "condition"}
    interpolate = lerp if space.mapped else slerp
    with progress_bar(count, "looking at paths", unit="paths") as bar:

        def generate(codes: jax.Array, condition: jax.Array | None = None) -> jax.Array:
            inputs = {} if condition is None else {"condition": np.asarray(condition)}
            images = jnp.asarray(space.floats(np.asarray(codes), inputs, weights=weights))
            bar.update(len(codes) // 2)
            return images

        # GPUs and TPUs would otherwise round to 10 bits or fewer, and the step would be lost.
        with jax.default_matmul_precision("highest"):
            found = path_length(
                generate,
                space.codes(starts, weights=weights),
                space.codes({**ends, **told}, weights=weights),
                distance.distance,
                t=np.random.default_rng(seed).random(count),
                interpolate=interpolate,
                conditions=told.get("condition"),
                epsilon=EPSILON,
                batch=max(1, space.at_once // 2),
            )
    constants = {
        "space": "w" if space.mapped else "z",
        "interpolation": interpolate.__name__,
        "t": "uniform",
        "epsilon": EPSILON,
        "network": distance.name,
        "sha256": distance.sha256,
    }
    return Score("ppl", found.mean, count, std=found.std, constants=constants, metric="ppl")
