"""Scores of pairs: the difference of each image from its target."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxgan.evaluation.features.lpips import load_lpips
from jaxgan.evaluation.similarity import SMALLEST, WINDOW, ms_ssim, psnr, ssim

__all__ = ["OF_PAIRS", "Perceptual", "pair_values", "perceptual", "suited"]

OF_PAIRS = ("psnr", "ssim", "ms_ssim", "l1", "lpips")
AT_ONCE = 256  # pairs in one dispatch


class Perceptual(NamedTuple):
    """LPIPS with weights. name: "lpips-alex" or "lpips-vgg". sha256: that of both files, in hex. distance: what
    `load_lpips` returns."""

    name: str
    sha256: str
    distance: Callable[[ArrayLike, ArrayLike], jax.Array]


def perceptual(net: str, backbone: str | Path, linear: str | Path) -> Perceptual:
    """Loads LPIPS of `net`, "alex" or "vgg", with weights from two files; see `load_lpips`, also for its errors."""
    distance = load_lpips(backbone, linear, net)
    digest = hashlib.sha256(Path(backbone).read_bytes() + Path(linear).read_bytes()).hexdigest()
    return Perceptual(f"lpips-{net}", digest, distance)


def suited(shape: tuple[int, ...], lpips: Perceptual | None = None) -> tuple[str, ...]:
    """Returns the scores of pairs for images `(H, W, C)`: those whose windows fit into them, and LPIPS where its
    weights are given."""
    least = min(shape[:2])
    fits = {"psnr": 1, "ssim": WINDOW, "ms_ssim": SMALLEST, "l1": 1}
    names = tuple(name for name, smallest in fits.items() if least >= smallest)
    return (*names, "lpips") if lpips and shape[2] == 3 else names


def pair_values(metric: str, images: np.ndarray, targets: np.ndarray, lpips: Perceptual | None = None) -> np.ndarray:
    """Scores each pair of uint8 images `[N, H, W, C]` by one of `OF_PAIRS`, float64 `[N]`: PSNR in decibels (infinite
    where both are equal), SSIM, MS-SSIM, the mean absolute difference of pixels in [0, 1] (l1), or LPIPS.

    ValueError for another name, for sets of unlike shapes, images that are too small, and LPIPS without weights."""
    if images.dtype != np.uint8 or targets.dtype != np.uint8 or images.shape != targets.shape or not len(images):
        raise ValueError(
            f"{metric} compares pairs of uint8 images [N, H, W, C] of one shape, got {images.dtype} "
            f"{list(images.shape)} and {targets.dtype} {list(targets.shape)}"
        )
    if metric == "lpips" and lpips is None:
        raise ValueError("lpips needs weights: --lpips-weights alex:BACKBONE,LINEAR")
    known: dict[str, Callable[..., ArrayLike]] = {"psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim, "l1": _l1}
    if lpips:
        known["lpips"] = lambda a, b: lpips.distance(_floats(a), _floats(b))
    if (compare := known.get(metric)) is None:
        raise ValueError(f"no score of pairs is called {metric!r}; there are {', '.join(OF_PAIRS)}")
    parts = [slice(first, first + AT_ONCE) for first in range(0, len(images), AT_ONCE)]
    return np.concatenate([np.asarray(compare(images[part], targets[part]), np.float64) for part in parts])


def _l1(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = np.abs(a.astype(np.int16) - b.astype(np.int16)).reshape(len(a), -1)
    mean: np.ndarray = difference.mean(1) / 255
    return mean


def _floats(images: np.ndarray) -> jax.Array:
    return jnp.asarray(images, jnp.float32) / 127.5 - 1.0
