"""Feature networks: functions of images to the features that distances are measured between, and logits."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["AT_ONCE", "FeatureNetwork", "extract"]

AT_ONCE = 64  # images in one dispatch; of 128, Inception needs a gigabyte at work


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network whose features are compared.

    name: its name in a score's record. sha256: that of the file of its weights, in hex. resize: how images are resized
    for its input, in words. classes: the number that its logits tell apart, None for a network without logits. apply:
    uint8 `[B, H, W, C]` to float32 `features` `[B, D]` and `logits` `[B, classes]`; pure, and with large weights a
    `jax.tree_util.Partial` of them.
    """

    name: str
    sha256: str
    resize: str
    classes: int | None
    apply: Callable[[jax.Array], dict[str, jax.Array]]


# The network is an argument, so that its weights don't become part of the program.
_run = jax.jit(lambda apply, images: apply(images))


def extract(
    network: FeatureNetwork, images: np.ndarray, progress: Callable[[int], None] = lambda count: None
) -> dict[str, np.ndarray]:
    """Returns the outputs of `network` for uint8 images `[N, H, W, C]`: float32 arrays `[N, ...]` by name, on the host.

    They are computed a batch at a time; `progress` is called with the number of images in each. ValueError for images
    that are not uint8 (a network's input was rounded to 256 values in every published protocol), for no image, and for
    an image with a NaN or infinity in its outputs."""
    if images.ndim != 4 or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"expected at least one uint8 image [N, H, W, C], got {images.dtype} {list(images.shape)}")
    size = min(AT_ONCE, len(images))
    apply = network.apply if isinstance(network.apply, jax.tree_util.Partial) else jax.tree_util.Partial(network.apply)
    parts = []
    for first in range(0, len(images), size):
        part = images[first : first + size]
        padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), 0)])  # one shape, compiled once
        parts.append(
            {name: np.asarray(values)[: len(part)] for name, values in _run(apply, jnp.asarray(padded)).items()}
        )
        progress(len(part))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name, values in found.items():
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values).reshape(len(values), -1).all(1)).sum())
            raise ValueError(f"{bad} of {len(values)} images have {name} of {network.name} that are not finite")
    return found
