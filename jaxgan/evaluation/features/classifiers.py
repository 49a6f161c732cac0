"""Packaged classifiers: small networks whose features are compared. `scripts.train_features` trains them, and the
package brings their weights.

Their features give distances that anyone can compute at once, where Inception's weights can't be obtained or don't suit
the images. A Fréchet distance of their features is not the FID, and compares only with others of the same network.

mnist-v1: 28×28 grey digits, 96 features, 10 classes, 99.56 % of MNIST's test set right. cifar10-v1: 32×32 colour
images, 128 features, 10 classes, 85.90 % of CIFAR-10's test set right; it was trained and tested on JPEG copies. A file
of weights says under `about` how it was trained.
"""

import functools
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.data.npz import read_npz
from jaxgan.evaluation.features.network import FeatureNetwork
from jaxgan.networks.classifier import Classifier

__all__ = [
    "CLASSIFIERS",
    "PackagedClassifier",
    "checked",
    "classifier_features",
    "from_file",
    "packed",
    "read_stacked",
    "variables_of",
]

WEIGHTS = Path(__file__).with_name("weights")


@dataclass(frozen=True)
class PackagedClassifier:
    """A packaged classifier. module: the network. size, channels: images are `[size, size, channels]`. border: images
    whose sides are size + 2·border are cropped by it. sha256: that of its weights. instead: what to use for images with
    other channels."""

    module: Classifier
    size: int
    channels: int
    border: int
    sha256: str
    instead: str

    @property
    def resize(self) -> str:
        """Describes in words how images are resized for the network's input."""
        padded = self.size + 2 * self.border
        rule = f"{padded}x{padded} loses its border of {self.border}, others " if self.border else ""
        return f"to {self.size}x{self.size}: {rule}antialiased bilinear, not rounded"


CLASSIFIERS = {
    "mnist-v1": PackagedClassifier(
        Classifier(widths=(16, 48, 96), depths=(0, 1, 1)),
        size=28,
        channels=1,
        border=2,  # of MNIST padded to 32 pixels
        sha256="075066491a8e05500a04363658c3099c8786a6c8e2fbaa9e208d58e771e09e65",
        instead="cifar10-v1 takes colour, and read_stacked three digits in one image",
    ),
    "cifar10-v1": PackagedClassifier(
        Classifier(widths=(32, 64, 128), depths=(0, 2, 2)),
        size=32,
        channels=3,
        border=0,
        sha256="59aa0f8720040846158acf26ef39b71594f1e192408352265c9e83705ea18598",
        instead="mnist-v1 takes grey digits",
    ),
}


@functools.cache
def classifier_features(name: str) -> FeatureNetwork:
    """Returns the packaged classifier called `name`, mnist-v1 or cifar10-v1, as a feature network.

    It takes uint8 images `[B, H, W, C]` of any size (its `resize` says how they are resized) and of its own channels, 1
    for mnist-v1 and 3 for cifar10-v1: ValueError for others. ValueError also for another name, and where the weights
    are missing or are not those of this version of jaxgan."""
    if name not in CLASSIFIERS:
        raise ValueError(f"no packaged classifier is called {name!r}; there are {' and '.join(CLASSIFIERS)}")
    return from_file(name, checked(name))


def checked(name: str) -> Path:
    """Returns the file of weights of the packaged classifier called `name`; ValueError where it is missing or is not
    that of this version of jaxgan."""
    path, expected = WEIGHTS / f"{name}.npz", CLASSIFIERS[name].sha256
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror}); install jaxgan again, it brings it") from None
    if found != expected:
        raise ValueError(f"{path} is damaged: its SHA-256 is {found}, not {expected}; install jaxgan again")
    return path


def variables_of(path: Path) -> dict[str, Any]:
    """Returns the variables of a `Classifier`, float32, from a file that `packed` made. ValueError for a damaged
    one."""
    stored = path.read_bytes()
    try:
        found = read_npz(io.BytesIO(stored), len(stored), "the file has")  # `packed` doesn't compress
    except ValueError as error:
        raise ValueError(f"{path} can't be read as weights ({error})") from None
    arrays = {key: array.astype(np.float32) for key, array in found.items() if key != "about"}
    return unflatten_dict(arrays, sep="/")


def from_file(name: str, path: Path) -> FeatureNetwork:
    """Returns the packaged classifier called `name` with the weights in the file `path`, which `packed` made, whatever
    their hash. ValueError for a damaged file."""
    packaged, variables = CLASSIFIERS[name], variables_of(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def apply(images: jax.Array) -> dict[str, jax.Array]:
        # GPUs and TPUs would otherwise round to 10 bits or fewer.
        with jax.default_matmul_precision("highest"):
            outputs: Any = packaged.module.apply(variables, _fitted(name, images), train=False)
        return dict(outputs)

    return FeatureNetwork(name, sha256, packaged.resize, packaged.module.classes, apply)


def _fitted(name: str, images: jax.Array) -> jax.Array:
    """Turns uint8 images into the network's input, float32 in [-1, 1]. Only this function
    checks channels and resizes."""
    packaged = CLASSIFIERS[name]
    if images.ndim != 4 or images.dtype != jnp.uint8:
        raise ValueError(f"{name} takes uint8 images [B, H, W, C], got {images.dtype} {list(images.shape)}")
    count, height, width, channels = images.shape
    if channels != packaged.channels:
        raise ValueError(f"{name} takes images with {packaged.channels} channels, got {channels}; {packaged.instead}")
    border, padded = packaged.border, packaged.size + 2 * packaged.border
    if (height, width) == (padded, padded):
        images = images[:, border : height - border, border : width - border]
    x = jnp.asarray(images, jnp.float32)
    if x.shape[1:3] != (packaged.size, packaged.size):
        x = jax.image.resize(x, (count, packaged.size, packaged.size, channels), "bilinear", antialias=True)
    return x / 127.5 - 1.0


def packed(variables: dict[str, Any], about: dict[str, Any]) -> bytes:
    """Returns the weights of a `Classifier` as an .npz file: kernels in float16, vectors (biases and batch norm's) in
    float32, named by their path, and `about` as JSON. The same input gives the same bytes."""
    arrays: dict[str, Any] = {
        path: np.asarray(values, np.float16 if values.ndim > 1 else np.float32)
        for path, values in sorted(flatten_dict(variables, sep="/").items())
    }
    file = io.BytesIO()
    np.savez(file, about=np.array(json.dumps(about)), **arrays)
    return file.getvalue()


@functools.partial(jax.jit, static_argnames="network")
def read_stacked(network: FeatureNetwork, images: jax.Array) -> jax.Array:
    """Reads the numbers 0 to 999 of stacked digits, int32 `[B]`: 100·c₀ + 10·c₁ + c₂, where cᵢ is the class that
    `network` (mnist-v1) predicts for channel i, as in PacGAN's evaluation (Lin et al. 2018, arXiv 1712.04086).

    images: uint8 `[B, H, W, 3]`, ValueError for anything else."""
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != jnp.uint8:
        raise ValueError(f"expected uint8 stacked digits [B, H, W, 3], got {images.dtype} {list(images.shape)}")
    count, height, width, _ = images.shape
    channels = jnp.moveaxis(jnp.asarray(images), -1, 0).reshape(3 * count, height, width, 1)
    digits = jnp.argmax(network.apply(channels)["logits"], axis=1).reshape(3, count)
    return (100 * digits[0] + 10 * digits[1] + digits[2]).astype(jnp.int32)
