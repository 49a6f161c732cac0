"""LPIPS, the learned distance of Zhang et al. 2018: the distance of two images in the features of a network that
was trained to recognise objects."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxgan.evaluation.features.perceptual import check_signed
from jaxgan.evaluation.features.torch_weights import read_weights
from jaxgan.evaluation.similarity import image_pairs
from jaxgan.networks.state_dict import entry

__all__ = ["load_lpips"]

PAIRS = 16  # in memory at a time, with their features
# ImageNet's mean and deviation on the scale of [-1, 1], as the `lpips` package rounds them.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Convolution(NamedTuple):
    """A convolution of torchvision's model, with its name in the state dict; a ReLU follows."""

    name: str
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


class Network(NamedTuple):
    """Five stages of convolutions; features are read at the end of each. pools: the window of the max pooling of stride
    2 in front of each stage, 0 for none. smallest: the side of an image that leaves a pixel for the last stage."""

    model: str
    file: str
    smallest: int
    pools: tuple[int, ...]
    stages: tuple[tuple[Convolution, ...], ...]


NETWORKS = {
    "alex": Network(
        model="AlexNet",
        file="alexnet-owt-7be5be79.pth",
        smallest=31,
        pools=(0, 3, 3, 0, 0),
        stages=(
            (Convolution("features.0", 3, 64, kernel=11, stride=4, padding=2),),
            (Convolution("features.3", 64, 192, kernel=5, padding=2),),
            (Convolution("features.6", 192, 384),),
            (Convolution("features.8", 384, 256),),
            (Convolution("features.10", 256, 256),),
        ),
    ),
    "vgg": Network(
        model="VGG16",
        file="vgg16-397923af.pth",
        smallest=16,
        pools=(0, 2, 2, 2, 2),
        stages=(
            (Convolution("features.0", 3, 64), Convolution("features.2", 64, 64)),
            (Convolution("features.5", 64, 128), Convolution("features.7", 128, 128)),
            tuple(Convolution(f"features.{i}", 128 if i == 10 else 256, 256) for i in (10, 12, 14)),
            tuple(Convolution(f"features.{i}", 256 if i == 17 else 512, 512) for i in (17, 19, 21)),
            tuple(Convolution(f"features.{i}", 512, 512) for i in (24, 26, 28)),
        ),
    ),
}


def load_lpips(
    backbone_path: str | pathlib.Path, linear_path: str | pathlib.Path, net: str = "alex"
) -> Callable[[ArrayLike, ArrayLike], jax.Array]:
    """Loads LPIPS version 0.1 with weights from two files. Returns a function of two batches of images to float32
    distances `[B]`.

    Zhang et al. 2018 (arXiv 1801.03924), equation 1: features of five stages, scaled to length 1 at each position,
    their squared differences weighted by channel, averaged over positions and added up. Equal images are at 0 (1e-14).
    The `lpips` package (0.1.4) computes the same for `net="alex"`, its default, and for `net="vgg"`, with which path
    lengths are computed.

    The weights are not part of jaxgan, and nothing is downloaded. `backbone_path` is torchvision's ImageNet model,
    alexnet-owt-7be5be79.pth or vgg16-397923af.pth (of which only the convolutions are used); `linear_path` is
    weights/v0.1/alex.pth or vgg.pth of the `lpips` package. An `.npz` with arrays of the same names will do.

    Images are floats `[B, H, W, 3]` in [-1, 1] (uint8 images: `x / 127.5 - 1`; grey ones: repeat the channel), at least
    31 pixels a side for "alex", 16 for "vgg"; they are not resized, and the distance depends on their size. Between
    images whose pixels differ by 1e-3, float32 leaves three to four digits of it, here as in PyTorch.

    The function can be jitted and mapped. ValueError for other images, NaN and infinity (not under `jit`, where a NaN
    gives a NaN), a net of another name, a missing file, or weights of another network.
    """
    if net not in NETWORKS:
        raise ValueError(f"expected net to be one of {', '.join(NETWORKS)}, got {net!r}")
    network = NETWORKS[net]
    backbone, linear = read_weights(backbone_path), read_weights(linear_path)
    weights = {}
    for convolution in (each for stage in network.stages for each in stage):
        shape = (convolution.outputs, convolution.inputs, convolution.kernel, convolution.kernel)
        whose = f"torchvision's {network.model}, {network.file}"
        kernel = _entry(backbone, f"{convolution.name}.weight", shape, backbone_path, whose)
        weights[f"{convolution.name}.weight"] = kernel.transpose(2, 3, 1, 0)
        weights[f"{convolution.name}.bias"] = _entry(
            backbone, f"{convolution.name}.bias", shape[:1], backbone_path, whose
        )
    for i, stage in enumerate(network.stages):
        name, channels = f"lin{i}.model.1.weight", stage[-1].outputs
        whose = f"the lpips package's weights/v0.1/{net}.pth"
        weights[f"linear.{i}"] = _entry(linear, name, (1, channels, 1, 1), linear_path, whose).reshape(channels)
    return functools.partial(_distance, net, {name: jnp.asarray(array) for name, array in weights.items()})


def _entry(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], path: str | pathlib.Path, whose: str
) -> np.ndarray:
    try:
        return np.asarray(entry(arrays, name, shape), np.float32)
    except ValueError as error:
        raise ValueError(f"{path} is not {whose}: {error}") from None


def _distance(net: str, weights: Mapping[str, jax.Array], a: ArrayLike, b: ArrayLike) -> jax.Array:
    a, b = image_pairs(a, b, smallest=NETWORKS[net].smallest)
    if a.shape[3] != 3:
        raise ValueError(f"expected images of 3 channels, got {a.shape[3]} (grey ones: repeat the channel)")
    check_signed(a)
    check_signed(b)
    return _each(net, weights, a, b)


@functools.partial(jax.jit, static_argnums=0)
def _each(net: str, weights: Mapping[str, jax.Array], a: jax.Array, b: jax.Array) -> jax.Array:
    def one(pair: jax.Array) -> jax.Array:
        distance = jnp.zeros((), jnp.float32)
        for i, features in enumerate(_features(NETWORKS[net], weights, pair)):
            # The package's 0.1.4: the small number is outside of the root.
            length = jnp.sqrt(jnp.sum(features**2, axis=-1, keepdims=True))
            first, second = features / (length + 1e-10)
            at = jnp.sum((first - second) ** 2 * weights[f"linear.{i}"][None, None], axis=-1)
            distance = distance + at.mean()
        return distance

    return lax.map(one, jnp.stack([a, b], axis=1).astype(jnp.float32), batch_size=PAIRS)


def _features(network: Network, weights: Mapping[str, jax.Array], images: jax.Array) -> list[jax.Array]:
    """Returns the features of images `[N, H, W, 3]` in [-1, 1] after each stage, `[N, h, w, channels]`."""
    x = (images - jnp.asarray(SHIFT, jnp.float32)[None, None, None]) / jnp.asarray(SCALE, jnp.float32)[None, None, None]
    found = []
    for pool, stage in zip(network.pools, network.stages, strict=True):
        if pool:
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, pool, pool, 1), (1, 2, 2, 1), "VALID")
        for convolution in stage:
            x = lax.conv_general_dilated(
                x,
                weights[f"{convolution.name}.weight"],
                (convolution.stride,) * 2,
                [(convolution.padding,) * 2] * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                precision=lax.Precision.HIGHEST,  # GPUs and TPUs would otherwise round to 10 bits or fewer
            )
            x = jax.nn.relu(x + weights[f"{convolution.name}.bias"][None, None, None])
        found.append(x)
    return found
