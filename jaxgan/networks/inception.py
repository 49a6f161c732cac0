"""Inception-v3 as the Fréchet inception distance uses it: the graph TensorFlow published on 2015-12-05, for inference.

Szegedy et al. 2015 (arXiv 1512.00567) describe the network. This graph differs from later ones (torchvision's, Keras's)
in what moves a score: average pools leave their padding out of the mean, the last block takes a maximum where the
others take an average, and there are 1,008 logits. Each convolution is followed by a batch norm (ε = 0.001, no
factor), which is folded into the kernel and a bias here, and by a ReLU.

Names are those of the PyTorch ports' state dicts, which came from torchvision: `Mixed_5b.branch1x1.conv.weight`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["CLASSES", "InceptionV3", "Mixed", "variables"]

EPSILON = 0.001

CLASSES = 1008
"""Logits of the network that scores are published for, which was trained with more than ImageNet's 1,000 classes."""


@dataclass(frozen=True)
class Conv:
    """A convolution: its name, number of features, and kernel's height and width. With stride 2 it has no padding; with
    stride 1 it keeps the size, unless it is `valid`."""

    name: str
    features: int
    height: int = 1
    width: int = 1
    stride: int = 1
    valid: bool = False


# Pools of 3×3. "halve" is a maximum with stride 2 and without padding; the others keep the size.
HALVE, AVERAGE, MAXIMUM = "halve", "average", "maximum"
# Layers in order; an inner tuple is a fork, whose ends are concatenated.
Step = Conv | str | tuple[Conv, ...]
Chain = tuple[Step, ...]

FIRST: Chain = (
    Conv("Conv2d_1a_3x3", 32, 3, 3, stride=2),
    Conv("Conv2d_2a_3x3", 32, 3, 3, valid=True),
    Conv("Conv2d_2b_3x3", 64, 3, 3),
    HALVE,
)
SECOND: Chain = (Conv("Conv2d_3b_1x1", 80), Conv("Conv2d_4a_3x3", 192, 3, 3, valid=True), HALVE)


def _a(pooled: int) -> tuple[Chain, ...]:
    return (
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, 5, 5)),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3, 3), Conv("branch3x3dbl_3", 96, 3, 3)),
        (AVERAGE, Conv("branch_pool", pooled)),
    )


def _c(inner: int) -> tuple[Chain, ...]:
    double = [Conv(f"branch7x7dbl_{i}", inner, *((7, 1) if i % 2 == 0 else (1, 7))) for i in (2, 3, 4)]
    return (
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", inner), Conv("branch7x7_2", inner, 1, 7), Conv("branch7x7_3", 192, 7, 1)),
        (Conv("branch7x7dbl_1", inner), *double, Conv("branch7x7dbl_5", 192, 1, 7)),
        (AVERAGE, Conv("branch_pool", 192)),
    )


def _e(pool: str) -> tuple[Chain, ...]:
    def fork(name: str) -> tuple[Conv, ...]:
        return Conv(f"{name}a", 384, 1, 3), Conv(f"{name}b", 384, 3, 1)

    return (
        (Conv("branch1x1", 320),),
        (Conv("branch3x3_1", 384), fork("branch3x3_2")),
        (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, 3, 3), fork("branch3x3dbl_3")),
        (pool, Conv("branch_pool", 192)),
    )


# Block by block in order: the branches, whose ends are concatenated.
MIXED: dict[str, tuple[Chain, ...]] = {
    "Mixed_5b": _a(32),
    "Mixed_5c": _a(64),
    "Mixed_5d": _a(64),
    "Mixed_6a": (
        (Conv("branch3x3", 384, 3, 3, stride=2),),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3, 3), Conv("branch3x3dbl_3", 96, 3, 3, stride=2)),
        (HALVE,),
    ),
    "Mixed_6b": _c(128),
    "Mixed_6c": _c(160),
    "Mixed_6d": _c(160),
    "Mixed_6e": _c(192),
    "Mixed_7a": (
        (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, 3, 3, stride=2)),
        (
            Conv("branch7x7x3_1", 192),
            Conv("branch7x7x3_2", 192, 1, 7),
            Conv("branch7x7x3_3", 192, 7, 1),
            Conv("branch7x7x3_4", 192, 3, 3, stride=2),
        ),
        (HALVE,),
    ),
    "Mixed_7b": _e(AVERAGE),
    "Mixed_7c": _e(MAXIMUM),
}


def _conv(x: jax.Array, conv: Conv) -> jax.Array:
    same = conv.stride == 1 and not conv.valid
    return nn.relu(
        nn.Conv(
            conv.features,
            (conv.height, conv.width),
            strides=conv.stride,
            padding="SAME" if same else "VALID",
            precision=lax.Precision.HIGHEST,  # GPUs and TPUs would otherwise round to 10 bits or fewer
            name=conv.name,
        )(x)
    )


def _follow(x: jax.Array, chain: Chain) -> jax.Array:
    """Passes `x` through a chain, in the scope of the module that calls."""
    for step in chain:
        if step == HALVE:
            x = nn.max_pool(x, (3, 3), strides=(2, 2))
        elif step == MAXIMUM:
            x = nn.max_pool(x, (3, 3), padding="SAME")
        elif step == AVERAGE:
            # Under jax_enable_x64 flax divides by a count in float64.
            x = nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False).astype(x.dtype)
        elif isinstance(step, Conv):
            x = _conv(x, step)
        elif isinstance(step, tuple):
            x = jnp.concatenate([_conv(x, conv) for conv in step], axis=-1)
    return x


class Mixed(nn.Module):
    """A block of Inception: passes `[B, H, W, C]` through each branch and concatenates the results. `branches` as in
    `MIXED`."""

    branches: tuple[Chain, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([_follow(x, chain) for chain in self.branches], axis=-1)


class InceptionV3(nn.Module):
    """Inception-v3: images `[B, H, W, 3]`, float32 in [-1, 1], of 299×299 pixels in every published protocol and at
    least 75×75 -> float32 arrays by torch-fidelity's names. `64`, `192`, `768` and `2048`, `[B, that many]`, are the
    means over all positions after the first and second maximum pool, before the last reduction of size, and at the end.
    `logits` is `[B, 1008]`, and `logits_unbiased` the same without the last layer's bias (inception scores have always
    been computed from these).

    It can't be trained: batch norms are part of the parameters, which `variables` makes of a state dict.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        pools = {}
        pools["64"] = x = _follow(x, FIRST)
        pools["192"] = x = _follow(x, SECOND)
        for name, branches in MIXED.items():
            x = Mixed(branches, name=name)(x)
            if name == "Mixed_6e":
                pools["768"] = x
        pools["2048"] = x
        outputs = {name: pool.mean(axis=(1, 2)) for name, pool in pools.items()}
        last = nn.Dense(CLASSES, use_bias=False, precision=lax.Precision.HIGHEST, name="fc")
        bias = self.param("fc_bias", nn.initializers.zeros, (CLASSES,), jnp.float32)
        unbiased = last(outputs["2048"])
        return outputs | {"logits_unbiased": unbiased, "logits": unbiased + bias.reshape(1, -1)}


def _convolutions() -> Iterator[tuple[str, Conv, int]]:
    """Yields every convolution in order: its block ("" outside of one), itself, and its number of input features."""
    width = 3
    first: dict[str, tuple[Chain, ...]] = {"": (FIRST + SECOND,)}
    for block, branches in (first | MIXED).items():
        ends = []
        for chain in branches:
            end = width
            for step in chain:
                fork = () if isinstance(step, str) else (step,) if isinstance(step, Conv) else step
                for conv in fork:
                    yield block, conv, end
                end = sum(conv.features for conv in fork) or end
            ends.append(end)
        width = sum(ends)


def variables(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the variables for `InceptionV3.apply`, from a PyTorch port's state dict: `NAME.conv.weight` `[out, in,
    height, width]` and `NAME.bn.weight`, `.bias`, `.running_mean`, `.running_var` `[out]` of every convolution,
    `fc.weight` `[1008, 2048]` and `fc.bias` `[1008]`. Other entries are ignored.

    ValueError names the first entry that is missing, has another shape, or holds what is no finite number."""

    def entry(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in weights:
            raise ValueError(f"these are not the weights of FID's Inception-v3: {name} {list(shape)} is missing")
        if weights[name].shape != shape:
            found = list(weights[name].shape)
            raise ValueError(f"these are not the weights of FID's Inception-v3: {name} is {found}, not {list(shape)}")
        values = np.asarray(weights[name], np.float64)
        if not np.isfinite(values).all():
            raise ValueError(f"the weights of Inception-v3 are damaged: {name} holds NaN or infinity")
        return values

    params: dict[str, Any] = {}
    for block, conv, inner in _convolutions():
        name = f"{block}.{conv.name}" if block else conv.name
        kernel = entry(f"{name}.conv.weight", (conv.features, inner, conv.height, conv.width)).transpose(2, 3, 1, 0)
        scale, bias, mean, variance = (
            entry(f"{name}.bn.{key}", (conv.features,)) for key in ("weight", "bias", "running_mean", "running_var")
        )
        if (variance < 0).any():
            raise ValueError(f"the weights of Inception-v3 are damaged: {name}.bn.running_var holds negative numbers")
        gain = scale / np.sqrt(variance + EPSILON)
        place = params.setdefault(block, {}) if block else params
        place[conv.name] = {"kernel": kernel * gain, "bias": bias - mean * gain}
    params["fc"] = {"kernel": entry("fc.weight", (CLASSES, 2048)).T}
    params["fc_bias"] = entry("fc.bias", (CLASSES,))
    return {"params": jax.tree.map(lambda values: jnp.asarray(values.astype(np.float32)), params)}
