"""What a network says of a fixed set of images, computed once and kept on the disk under the set's content."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.evaluation.features import FeatureNetwork, extract
from jaxgan.evaluation.frechet import Gaussian, gaussian
from jaxgan.evaluation.torch_weights import OF_ZIP_FILES

__all__ = ["cache_folder", "content_of", "features_of", "gaussian_of"]

Arrays = dict[str, Any]  # of NumPy's, by name
Progress = Callable[[int], None]

UNREADABLE = (OSError, ValueError, KeyError, *OF_ZIP_FILES)

VERSION = 1  # of what is kept: raised when the same images and weights would give other numbers


def cache_folder() -> Path:
    """`$JAXGAN_CACHE`, or `jaxgan` in the user's folder for caches. What is in it can be removed at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("JAXGAN_CACHE") or f"{base}/jaxgan").expanduser()


def content_of(images: np.ndarray) -> str:
    """The SHA-256, in hex, of images' bytes, type and shape."""
    digest = hashlib.sha256(f"{images.dtype} {images.shape}".encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def features_of(network: FeatureNetwork, images: np.ndarray, progress: Progress = lambda count: None) -> Arrays:
    """`extract(network, images)`, from the disk where it was computed before."""
    return _kept("features", ["features", "logits"], network, images, lambda: extract(network, images, progress))


def gaussian_of(network: FeatureNetwork, images: np.ndarray, progress: Progress = lambda count: None) -> Gaussian:
    """The Gaussian of the images' features, from the disk where it was computed before."""

    def compute() -> Arrays:
        found = gaussian(extract(network, images, progress)["features"])
        return {"mean": found.mean, "covariance": found.covariance, "count": np.array(found.count)}

    kept = _kept("gaussian", ["mean", "covariance", "count"], network, images, compute)
    return Gaussian(kept["mean"], kept["covariance"], int(kept["count"]))


def _kept(
    what: str, keys: Sequence[str], network: FeatureNetwork, images: np.ndarray, compute: Callable[[], Arrays]
) -> Arrays:
    # The platform's rounding is part of it: a number must not depend on where another run was scored.
    made_by = (VERSION, what, network.name, network.sha256, network.resize, jax.default_backend(), jax.__version__)
    name = hashlib.sha256(repr((*made_by, content_of(images))).encode()).hexdigest()
    path = cache_folder() / f"{what}-{name[:32]}.npz"
    # Whatever is wrong with what is there, or with the disk, costs time and nothing else.
    with contextlib.suppress(*UNREADABLE), path.open("rb") as file, np.load(file) as arrays:  # alone it leaves it open
        return {key: arrays[key] for key in keys}
    found = compute()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as own:  # others may be at it too
            np.savez(whole := Path(own) / path.name, **found)
            whole.replace(path)
    return found
