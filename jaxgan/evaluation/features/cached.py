"""Features of a fixed set of images, computed once and cached on the disk under the hash of the images."""

import hashlib
from collections.abc import Callable

import jax
import numpy as np

from jaxgan.data.cache import Arrays, Expected, cached
from jaxgan.evaluation.features.network import FeatureNetwork, extract
from jaxgan.evaluation.frechet import Gaussian, gaussian

__all__ = ["content_of", "features_of", "gaussian_of"]

Progress = Callable[[int], None]

VERSION = 1  # of the cached features: raised when the same images and weights would give other numbers


def content_of(images: np.ndarray) -> str:
    """Returns the SHA-256, in hex, of images' bytes, type and shape."""
    digest = hashlib.sha256(f"{images.dtype} {images.shape}".encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def features_of(network: FeatureNetwork, images: np.ndarray, progress: Progress = lambda count: None) -> Arrays:
    """Returns `extract(network, images)`, from the disk where it was computed before."""
    names = ["features"] if network.classes is None else ["features", "logits"]
    expected: Expected = {name: (np.floating, (len(images), None)) for name in names}
    return _kept("features", expected, network, images, lambda: extract(network, images, progress))


def gaussian_of(network: FeatureNetwork, images: np.ndarray, progress: Progress = lambda count: None) -> Gaussian:
    """Returns the Gaussian of the images' features, from the disk where it was computed before."""

    def compute() -> Arrays:
        found = gaussian(extract(network, images, progress)["features"])
        return {"mean": found.mean, "covariance": found.covariance, "count": np.array(found.count)}

    expected: Expected = {
        "mean": (np.floating, (None,)),
        "covariance": (np.floating, (None, None)),
        "count": (np.integer, ()),
    }
    found = _kept("gaussians", expected, network, images, compute)
    return Gaussian(found["mean"], found["covariance"], int(found["count"]))


def _kept(
    what: str, expected: Expected, network: FeatureNetwork, images: np.ndarray, compute: Callable[[], Arrays]
) -> Arrays:
    # The platform's rounding is part of it: a number must not depend on where another run was scored.
    made_by = (VERSION, network.name, network.sha256, network.resize, jax.default_backend(), jax.__version__)
    return cached(what, (*made_by, content_of(images)), expected, compute)
