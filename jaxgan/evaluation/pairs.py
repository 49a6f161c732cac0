"""Scores of pairs: the difference of each image from its target."""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxgan.evaluation.features.lpips import load_lpips
from jaxgan.evaluation.features.perceptual import feature_maps, unit_distance
from jaxgan.evaluation.similarity import SMALLEST, WINDOW, ms_ssim, psnr, psnr_y, ssim, ssim_y

__all__ = ["OF_NETWORKS", "OF_PAIRS", "Perceptual", "lpips_of", "pair_values", "perceptual_of", "retrieved", "suited"]

# What is computed in a network's features, and the option that names the network.
OF_NETWORKS = {
    "lpips": "lpips needs weights: --lpips-weights alex:BACKBONE,LINEAR",
    "perceptual": "perceptual needs a network: --perceptual-network cifar10-v1",
}
OF_LUMA = ("psnr_y", "ssim_y")

OF_PAIRS = ("psnr", "ssim", "ms_ssim", *OF_LUMA, "l1", "retrieval", *OF_NETWORKS)
"""Metrics of pairs, an image and what it should be."""

AT_ONCE = 256  # pairs in one dispatch
SEARCHED, NUMBERS = 2048, 25_000_000  # images and numbers, at most, among which nearest targets are searched


class Perceptual(NamedTuple):
    """A distance of pairs of images in a network's features. name: the network's, "lpips-alex" or "lpips-vgg" of LPIPS.
    sha256: that of its weights, in hex. distance: `(a, b) -> [B]` of floats `[B, H, W, C]` in [-1, 1]."""

    name: str
    sha256: str
    distance: Callable[[ArrayLike, ArrayLike], jax.Array]


Networks = Mapping[str, Perceptual]
NONE: Networks = MappingProxyType({})


def lpips_of(net: str, backbone: str | Path, linear: str | Path) -> Perceptual:
    """Loads LPIPS of `net`, "alex" or "vgg", with weights from two files; see `load_lpips`, also for its errors."""
    distance = load_lpips(backbone, linear, net)
    digest = hashlib.sha256(Path(backbone).read_bytes() + Path(linear).read_bytes()).hexdigest()
    return Perceptual(f"lpips-{net}", digest, distance)


def perceptual_of(name: str) -> Perceptual:
    """Loads the perceptual distance in the features of a network, one of `feature_maps`, also for its errors."""
    maps = feature_maps(name)
    return Perceptual(name.partition(":")[0], maps.digest, unit_distance(maps))


def suited(shape: tuple[int, ...], networks: Networks = NONE, border: int | None = None) -> tuple[str, ...]:
    """Returns the scores of pairs for images `(H, W, C)`: those whose windows fit into them, those of the luma where
    it is said which border they leave out, LPIPS where its weights are given, and the perceptual distance where its
    network is given and takes them."""
    least = min(shape[:2])
    fits = {"psnr": 1, "ssim": WINDOW, "ms_ssim": SMALLEST, "l1": 1}
    if border is not None and shape[2] in (1, 3):
        fits = {"psnr_y": 1 + 2 * border, "ssim_y": WINDOW + 2 * border, **fits}
    names = tuple(name for name, smallest in fits.items() if least >= smallest)
    if "lpips" in networks and shape[2] == 3:
        names = (*names, "lpips")
    if "perceptual" in networks:
        image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        with contextlib.suppress(ValueError):  # of images that are too small for it
            jax.eval_shape(networks["perceptual"].distance, image, image)
            names = (*names, "perceptual")
    return names


def pair_values(
    metric: str, images: np.ndarray, targets: np.ndarray, networks: Networks = NONE, border: int = 0
) -> np.ndarray:
    """Scores each pair of uint8 images `[N, H, W, C]` by one of `OF_PAIRS`, float64 `[N]`: PSNR in decibels (infinite
    where both are equal), SSIM, MS-SSIM, PSNR and SSIM of the luma (psnr_y, ssim_y), the mean absolute difference of
    pixels in [0, 1] (l1), whether the nearest target is the image's own (retrieval, see `retrieved`), LPIPS, or the
    perceptual distance. networks: what those two are computed with, by their names. border: the outermost pixels that
    psnr_y and ssim_y leave out.

    ValueError for another name, for sets of unlike shapes, images that are too small, and a distance without its
    network."""
    if images.dtype != np.uint8 or targets.dtype != np.uint8 or images.shape != targets.shape or not len(images):
        raise ValueError(
            f"{metric} compares pairs of uint8 images [N, H, W, C] of one shape, got {images.dtype} "
            f"{list(images.shape)} and {targets.dtype} {list(targets.shape)}"
        )
    if metric in OF_NETWORKS and metric not in networks:
        raise ValueError(OF_NETWORKS[metric])
    known: dict[str, Callable[..., ArrayLike]] = {"psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim, "l1": _l1}
    known |= {"psnr_y": functools.partial(psnr_y, border=border), "ssim_y": functools.partial(ssim_y, border=border)}
    if metric == "retrieval":
        return retrieved(images, targets).astype(np.float64)
    if metric in networks:
        known[metric] = lambda a, b: networks[metric].distance(_floats(a), _floats(b))
    if (compare := known.get(metric)) is None:
        raise ValueError(f"no score of pairs is called {metric!r}; there are {', '.join(OF_PAIRS)}")
    parts = [slice(first, first + AT_ONCE) for first in range(0, len(images), AT_ONCE)]
    return np.concatenate([np.asarray(compare(images[part], targets[part]), np.float64) for part in parts])


def retrieved(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Tells of each uint8 image `[N, H, W, C]` whether of all N targets its own has the least squared distance in
    pixels, and no other as little: bool `[N]`. Of more than 2,048 images, or of fewer large ones, only the first are
    looked at."""
    count = min(len(images), SEARCHED, max(2, NUMBERS // images[0].size))
    # Whole numbers below 2^53: float64 adds them up exactly, and ties are ties.
    a, b = (x[:count].reshape(count, -1).astype(np.float64) for x in (images, targets))
    distances = (b**2).sum(1) - 2 * a @ b.T  # but for what is the same along a row
    own = distances.diagonal().copy()
    np.fill_diagonal(distances, np.inf)
    found: np.ndarray = own < distances.min(1)
    return found


def _l1(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = np.abs(a.astype(np.int16) - b.astype(np.int16)).reshape(len(a), -1)
    mean: np.ndarray = difference.mean(1) / 255
    return mean


def _floats(images: np.ndarray) -> jax.Array:
    return jnp.asarray(images, jnp.float32) / 127.5 - 1.0
