"""Perceptual path length: how much a generator's image changes, in perceptual distance, along a short step in latent
space."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

__all__ = ["PathLength", "lerp", "path_length", "slerp", "slerp_unit"]

DISCARDED = (1, 99)  # percentiles beyond which lengths are left out, as in StyleGAN's code and torch-fidelity
SMALL = 1e-7  # below it a length, or the angle's sine, counts as zero, as in torch-fidelity


class PathLength(NamedTuple):
    """mean, std: of the lengths between the 1st and the 99th percentile. lengths: all of them, float64 `[N]`."""

    mean: float
    std: float
    lengths: np.ndarray


def path_length(
    generate: Callable[..., jax.Array],
    latents_a: ArrayLike,
    latents_b: ArrayLike,
    distance: Callable[[jax.Array, jax.Array], ArrayLike],
    *,
    t: ArrayLike,
    interpolate: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    conditions: ArrayLike | None = None,
    epsilon: float = 1e-4,
    batch: int = 64,
) -> PathLength:
    """Returns the perceptual path length of a generator between pairs of latents `[N, ..., D]`.

    Karras et al. 2019 (arXiv 1812.04948), section 4.1: the mean of distance(G(z(t)), G(z(t + ε))) / ε² over pairs,
    where z(t) = interpolate(a, b, t). A distance that grows with the square of a small step, as LPIPS does, makes it
    independent of ε. Lengths below the 1st and above the 99th percentile are left out, as StyleGAN's code does it; a
    percentile that falls between two lengths is the outer one, so of 100 pairs or fewer none is left out.

    generate: latents `[M, ..., D]` to images `[M, ...]`, M up to 2·batch; each image has to follow from its latent
    alone (noise inputs fixed, batch normalisation with its running statistics). distance: two batches of images to
    `[B]`, e.g. `load_lpips(..., net="vgg")`, with the rounding, resizing and cropping that the protocol asks for. t: in
    [0, 1], one number for all pairs or `[N]`. conditions: `[N, ...]`, of a conditional generator: it is called as
    `generate(latents, conditions)`, and both images of a pair have the pair's own. What a published number used belongs
    beside it:

    - StyleGAN, in Z: `slerp_unit` of latents of length 1, t uniform, images not rounded.
    - StyleGAN, in W: latents are mapped first; `lerp`; t uniform ("full") or 0 ("end").
    - torch-fidelity 0.4: t = 0; `lerp` of z unless told otherwise (its `slerp_any` is `slerp` here), images rounded to
      uint8, then VGG's LPIPS of 64×64 pixels. A step of 1e-4 is mostly hidden by that rounding.

    A step of 1e-4 is small beside rounding. Interpolation is in float64 on the host; latents then become float32
    (float64 within `jax.enable_x64`). Held against float64, a small convolutional generator and LPIPS in float32 gave
    single lengths within 2e-3 and the mean of 64 within 1e-4; ε = 1e-3 moved that mean by 4e-3, so a larger step is no
    cure. The TensorFloat-32 or bfloat16 products that GPUs and TPUs compute by default would drown the step: generate
    within `jax.default_matmul_precision("highest")`.

    ValueError for latents of unequal shapes, no pair, NaN or infinity in latents or lengths, t outside of [0, 1], an ε
    or batch that isn't positive, another number of conditions, and a distance that isn't `[B]`.
    """
    a, b = np.asarray(latents_a), np.asarray(latents_b)
    if a.shape != b.shape or a.ndim < 2 or a.size == 0:
        raise ValueError(f"expected two sets of latents [N, ..., D] of one shape, got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("latents hold NaN or infinity")
    if not (epsilon > 0 and batch >= 1):
        raise ValueError(f"expected a positive epsilon and batch, got {epsilon} and {batch}")
    t = np.asarray(t, np.float64)
    if t.shape not in ((), a.shape[:1]):
        raise ValueError(f"expected t to be a number or [{len(a)}], one for each pair, got {list(t.shape)}")
    if not ((t >= 0) & (t <= 1)).all():
        raise ValueError(f"expected t in [0, 1], got values from {t.min():g} to {t.max():g}")
    t = np.broadcast_to(t, a.shape[:1]).reshape(-1, *(1,) * (a.ndim - 1))
    told = None if conditions is None else np.asarray(conditions)
    if told is not None and told.shape[:1] != a.shape[:1]:
        raise ValueError(f"expected conditions [{len(a)}, ...], one for each pair, got {list(told.shape)}")
    parts = []
    for first in range(0, len(a), batch):
        which = slice(first, first + batch)
        pair = a[which].astype(np.float64), b[which].astype(np.float64)
        starts, ends = interpolate(*pair, t[which]), interpolate(*pair, t[which] + epsilon)
        given = () if told is None else (jnp.asarray(np.concatenate([told[which], told[which]])),)
        images = generate(jnp.asarray(np.concatenate([starts, ends])), *given)
        parts.append(_distances(images, len(starts), distance))
    lengths = np.concatenate(parts) / epsilon**2
    if not np.isfinite(lengths).all():
        raise ValueError(f"the distance of pair {np.argmin(np.isfinite(lengths))} is NaN or infinite")
    low = np.percentile(lengths, DISCARDED[0], method="lower")
    high = np.percentile(lengths, DISCARDED[1], method="higher")
    trimmed = lengths[(lengths >= low) & (lengths <= high)]
    return PathLength(float(trimmed.mean()), float(trimmed.std()), lengths)


def lerp(a: np.ndarray, b: np.ndarray, t: ArrayLike) -> np.ndarray:
    """Returns the point at t on the straight line from a to b; a, b `[..., D]`, t a number or of a shape that
    broadcasts."""
    return a + (b - a) * t


def slerp(a: np.ndarray, b: np.ndarray, t: ArrayLike) -> np.ndarray:
    """Interpolates spherically along the last axis (Shoemake 1985): the angle between a and b is passed evenly.

    (sin((1 - t) ω) a + sin(t ω) b) / sin ω, where ω is the angle; so a normal latent's length stays about the same.
    This is torch-fidelity's `slerp_any`: a straight line where a and b are parallel or of length 0. Shapes as for
    `lerp`.
    """
    cosine = np.clip(np.sum(_unit(a) * _unit(b), axis=-1, keepdims=True), -1, 1)
    lengths = np.linalg.norm(a, axis=-1, keepdims=True), np.linalg.norm(b, axis=-1, keepdims=True)
    straight = (np.abs(cosine) > 1 - SMALL) | (np.minimum(*lengths) < SMALL)
    angle = np.arccos(cosine)
    sine = np.maximum(np.sin(angle), SMALL)
    curved = np.sin((1 - t) * angle) / sine * a + np.sin(t * angle) / sine * b
    return np.where(straight, lerp(a, b, t), curved)


def slerp_unit(a: np.ndarray, b: np.ndarray, t: ArrayLike) -> np.ndarray:
    """Returns `slerp`, scaled to length 1, for generators that scale their latents so. Shapes as for `lerp`.

    It is StyleGAN's own for latents of length 1, and only for these."""
    return _unit(slerp(a, b, t))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), SMALL)


def _distances(images: jax.Array, count: int, distance: Callable[[jax.Array, jax.Array], ArrayLike]) -> np.ndarray:
    """Computes the distances `[count]` of images, starts before ends. They come from one call of the generator, so that
    the same compiled program makes both images of a pair: two programs may round differently, and the step is small."""
    found = np.asarray(distance(images[:count], images[count:]), np.float64)
    if found.shape != (count,):
        raise ValueError(f"expected a distance [{count}], one number a pair, got {list(found.shape)}")
    return found
