"""Scores of pairs: the difference of each image from its target."""

import contextlib
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
from jaxgan.evaluation.similarity import SMALLEST, WINDOW, ms_ssim, psnr, ssim

__all__ = ["OF_NETWORKS", "OF_PAIRS", "Perceptual", "lpips_of", "pair_values", "perceptual_of", "suited"]

# What is computed in a network's features, and the option that names the network.
OF_NETWORKS = {
    "lpips": "lpips needs weights: --lpips-weights alex:BACKBONE,LINEAR",
    "perceptual": "perceptual needs a network: --perceptual-network cifar10-v1",
}
OF_PAIRS = ("psnr", "ssim", "ms_ssim", "l1", *OF_NETWORKS)
AT_ONCE = 256  # pairs in one dispatch


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


def suited(shape: tuple[int, ...], networks: Networks = NONE) -> tuple[str, ...]:
    """Returns the scores of pairs for images `(H, W, C)`: those whose windows fit into them, LPIPS where its weights
    are given, and the perceptual distance where its network is given and takes them."""
    least = min(shape[:2])
    fits = {"psnr": 1, "ssim": WINDOW, "ms_ssim": SMALLEST, "l1": 1}
    names = tuple(name for name, smallest in fits.items() if least >= smallest)
    if "lpips" in networks and shape[2] == 3:
        names = (*names, "lpips")
    if "perceptual" in networks:
        image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        with contextlib.suppress(ValueError):  # of images that are too small for it
            jax.eval_shape(networks["perceptual"].distance, image, image)
            names = (*names, "perceptual")
    return names


def pair_values(metric: str, images: np.ndarray, targets: np.ndarray, networks: Networks = NONE) -> np.ndarray:
    """Scores each pair of uint8 images `[N, H, W, C]` by one of `OF_PAIRS`, float64 `[N]`: PSNR in decibels (infinite
    where both are equal), SSIM, MS-SSIM, the mean absolute difference of pixels in [0, 1] (l1), LPIPS, or the
    perceptual distance. networks: what those two are computed with, by their names.

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
    if metric in networks:
        known[metric] = lambda a, b: networks[metric].distance(_floats(a), _floats(b))
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
