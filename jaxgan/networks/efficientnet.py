"""EfficientNet-Lite0, whose weights for ImageNet a small package brings, for inference.

Tan & Le 2019 (arXiv 1905.11946) describe EfficientNet. The Lite variants, which Google published in 2020 for phones,
have ReLU6 in place of swish and no squeeze-and-excitation; Lite0 has B0's stages. Each convolution is followed by a
batch norm (ε = 0.001), which is folded into the kernel and a bias here. Borders are zeros as TensorFlow has them
("SAME"): with stride 2 an even side gets more of them at its end.

Names are those of the PyTorch port's state dict: `_blocks.3._depthwise_conv.weight`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.networks.layers import Conv
from jaxgan.networks.state_dict import entry

__all__ = ["CLASSES", "LITE0", "Block", "EfficientNet", "Stage", "variables"]

STEM, HEAD, EPSILON = 32, 1280, 0.001

CLASSES = 1000
"""ImageNet's classes, which the logits are of."""


class Stage(NamedTuple):
    """Blocks in a row. The first has the stride; the others have 1 and add their input. expand: inner channels as a
    multiple of those that come in."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    features: int


LITE0 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""The stages of EfficientNet-Lite0: table 1 of the paper, stages 2 to 8."""


def _same(x: jax.Array, kernel: int, stride: int) -> jax.Array:
    """Returns images `[B, H, W, C]` with TensorFlow's border for a convolution to ⌈H / stride⌉ × ⌈W / stride⌉
    pixels."""
    pads = lax.padtype_to_pads(x.shape[1:3], (kernel, kernel), (stride, stride), "SAME")
    return jnp.pad(x, ((0, 0), *pads, (0, 0)))


def _depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves each channel of `[B, H, W, C]` with its own k×k numbers of `[k, k, C]`. The sum of k² shifted images is
    ten times as fast on a CPU as XLA's grouped convolution, its gradient more."""
    size, (height, width) = len(kernel), (-(-n // stride) for n in x.shape[1:3])
    x, taps = _same(x, size, stride), [(i, j) for i in range(size) for j in range(size)]
    ends = (height - 1) * stride + 1, (width - 1) * stride + 1
    shifted = [
        x[:, i : i + ends[0] : stride, j : j + ends[1] : stride] * kernel[i, j][None, None, None] for i, j in taps
    ]
    return sum(shifted[1:], shifted[0])


class Block(nn.Module):
    """An inverted bottleneck (Sandler et al. 2018, arXiv 1801.04381): `[B, H, W, C] -> [B, ⌈H / stride⌉, ⌈W / stride⌉,
    features]`. A 1×1 convolution to `expand` times as many channels, a depthwise one, a 1×1 one without a ReLU6 behind
    it; the input is added where shapes allow it."""

    kernel: int
    stride: int
    expand: int
    features: int

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x, inner = images, images.shape[-1] * self.expand
        if self.expand > 1:
            x = nn.relu6(nn.Dense(inner, name="expand")(x))
        weights = self.param("depthwise", nn.initializers.he_normal(), (self.kernel, self.kernel, inner))
        bias = self.param("depthwise_bias", nn.initializers.zeros, (inner,))
        x = nn.relu6(_depthwise(x, weights, self.stride) + bias.reshape(1, 1, 1, -1))
        x = nn.Dense(self.features, name="project")(x)
        return x + images if x.shape == images.shape else x


class EfficientNet(nn.Module):
    """Images `[B, H, W, 3]`, float32 in [-1, 1], of any size -> float32 arrays by name. `stage1` to `stage7` are the
    ends of the stages, `[B, h, w, c]`, of which the first has half of an image's height and width and the last a 32nd,
    rounded up. `features` `[B, 1280]` are the means over all positions of the last convolution, `logits`
    `[B, 1000]` what follows from them.

    It can't be trained: batch norms are part of the parameters, which `variables` makes of a state dict.
    """

    stages: Sequence[Stage] = LITE0

    @nn.compact
    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        x = (images * 127.5 + 0.5) / 128.0  # (x - 127) / 128 of x from 0 to 255, as it was trained
        x = nn.relu6(Conv(STEM, 3, 2, name="stem")(_same(x, 3, 2)))
        found = {}
        for number, stage in enumerate(self.stages, 1):
            for i in range(stage.blocks):
                stride, name = 1 if i else stage.stride, f"stage{number}_{i}"
                x = Block(stage.kernel, stride, stage.expand, stage.features, name=name)(x)
            found[f"stage{number}"] = x
        found["features"] = jnp.mean(nn.relu6(nn.Dense(HEAD, name="head")(x)), axis=(1, 2))
        return found | {"logits": nn.Dense(CLASSES, name="logits")(found["features"])}


def variables(weights: Mapping[str, np.ndarray], stages: Sequence[Stage] = LITE0) -> dict[str, Any]:
    """Returns the variables for `EfficientNet(stages).apply`, from the PyTorch port's state dict. Entries that it
    doesn't need are ignored.

    ValueError names the first entry that is missing, has another shape, or holds what is no finite number."""

    def finite(name: str, *shape: int) -> np.ndarray:
        values = np.asarray(entry(weights, name, shape), np.float64)
        if not np.isfinite(values).all() or (name.endswith("running_var") and (values < 0).any()):
            raise ValueError(f"{name} holds NaN, infinity or a negative variance")
        return values

    def folded(convolution: str, norm: str, outputs: int, inputs: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns a kernel `[size, size, inputs, outputs]` and a bias `[outputs]`."""
        kernel = finite(f"{convolution}.weight", outputs, inputs, size, size).transpose(2, 3, 1, 0)
        scale, bias, mean, variance = (
            finite(f"{norm}.{key}", outputs) for key in ("weight", "bias", "running_mean", "running_var")
        )
        gain = scale / np.sqrt(variance + EPSILON)
        return kernel * gain, bias - mean * gain

    def dense(convolution: str, norm: str, outputs: int, inputs: int) -> dict[str, np.ndarray]:
        kernel, bias = folded(convolution, norm, outputs, inputs, 1)
        return {"kernel": kernel[0, 0], "bias": bias}

    kernel, bias = folded("_conv_stem", "_bn0", STEM, 3, 3)
    params: dict[str, Any] = {"stem": {"kernel": kernel, "bias": bias}}
    index, width = 0, STEM
    for number, stage in enumerate(stages, 1):
        for i in range(stage.blocks):
            block, inner = f"_blocks.{index}.", width * stage.expand
            kernel, bias = folded(f"{block}_depthwise_conv", f"{block}_bn1", inner, 1, stage.kernel)
            place = params[f"stage{number}_{i}"] = {"depthwise": kernel[:, :, 0], "depthwise_bias": bias}
            if stage.expand > 1:
                place["expand"] = dense(f"{block}_expand_conv", f"{block}_bn0", inner, width)
            place["project"] = dense(f"{block}_project_conv", f"{block}_bn2", stage.features, inner)
            index, width = index + 1, stage.features
    params["head"] = dense("_conv_head", "_bn1", HEAD, width)
    params["logits"] = {"kernel": finite("_fc.weight", CLASSES, HEAD).T, "bias": finite("_fc.bias", CLASSES)}
    return {"params": jax.tree.map(lambda values: jnp.asarray(values.astype(np.float32)), params)}
