"""The convolutions of VGG-16 and VGG-19, whose activations perceptual losses and style statistics are computed of.

Simonyan & Zisserman 2015 (arXiv 1409.1556), configurations D and E, as torchvision has them. Layers are called as in
the papers that compare them: `conv5_4` is the fourth convolution of the fifth stage before its ReLU, `relu5_4` the same
after it.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.networks.layers import halved
from jaxgan.networks.state_dict import entry

__all__ = ["VGG", "VGG16", "VGG19", "Convolution", "variables"]

# ImageNet's, of red, green and blue in [0, 1], as torchvision has them.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Convolution(NamedTuple):
    """A 3×3 convolution with a ReLU behind it. name: "5_4", the fourth of the fifth stage. stage: counted from 1; there
    is a pool between two. key: its name in torchvision's state dict. inputs, outputs: channels."""

    name: str
    stage: int
    key: str
    inputs: int
    outputs: int


class VGG(nn.Module):
    """Images `[B, H, W, 3]`, float32 in [-1, 1] -> float32 maps `[B, h, w, c]` of some layers by name, in the network's
    order. h and w are halved between stages, and odd ones rounded down.

    layers: those that are returned; what lies behind the last of them isn't computed and needs no weights. ValueError
        for one that there isn't.
    depths, widths: convolutions of each stage, and their channels.
    """

    layers: Sequence[str]
    depths: Sequence[int]
    widths: Sequence[int] = (64, 128, 256, 512, 512)

    @property
    def names(self) -> list[str]:
        """Returns the names of all layers that there are."""
        return [f"{kind}{each.name}" for each in self._all for kind in ("conv", "relu")]

    @property
    def convolutions(self) -> list[Convolution]:
        """Returns the convolutions up to the last of `layers`."""
        names = self.names
        if not self.layers or not {*self.layers} <= {*names}:
            raise ValueError(f"expected some of the layers {', '.join(names)}, got {', '.join(self.layers) or 'none'}")
        return self._all[: max(names.index(layer) for layer in self.layers) // 2 + 1]

    @property
    def smallest(self) -> int:
        """Returns the height and width of the smallest image that leaves a pixel at the last of `layers`."""
        return 2 ** (self.convolutions[-1].stage - 1)

    @property
    def _all(self) -> list[Convolution]:
        found, inputs, index = [], 3, 0
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            for i in range(1, depth + 1):
                found.append(Convolution(f"{stage}_{i}", stage, f"features.{index}", inputs, width))
                inputs, index = width, index + 2  # torchvision counts the ReLU too
            index += 1  # and the pool
        return found

    @nn.compact
    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        mean, deviation = (jnp.asarray(x, jnp.float32).reshape(1, 1, 1, 3) for x in (MEAN, DEVIATION))
        x, stage, found = ((images + 1.0) / 2.0 - mean) / deviation, 1, {}
        for each in self.convolutions:
            x, stage = halved(x) if each.stage > stage else x, each.stage
            x = nn.Conv(each.outputs, (3, 3), padding=1, name=f"conv{each.name}")(x)
            found[f"conv{each.name}"] = x
            x = nn.relu(x)
            found[f"relu{each.name}"] = x
        return {layer: found[layer] for layer in self.names if layer in self.layers}


VGG16 = partial(VGG, depths=(2, 2, 3, 3, 3))
"""VGG-16, configuration D of the paper."""

VGG19 = partial(VGG, depths=(2, 2, 4, 4, 4))
"""VGG-19, configuration E of the paper."""


def variables(network: VGG, weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the variables for `network.apply`, from torchvision's state dict: `features.N.weight` `[out, in, 3, 3]`
    and `features.N.bias` `[out]` of every convolution that the network's layers need. Other entries are ignored.

    ValueError names the first entry that is missing, has another shape, or holds what is no finite number."""
    params = {}
    for each in network.convolutions:
        shape = (each.outputs, each.inputs, 3, 3)
        kernel = _entry(weights, f"{each.key}.weight", shape).transpose(2, 3, 1, 0)
        params[f"conv{each.name}"] = {"kernel": kernel, "bias": _entry(weights, f"{each.key}.bias", shape[:1])}
    return {"params": jax.tree.map(jnp.asarray, params)}


def _entry(weights: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(entry(weights, name, shape), np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return values
