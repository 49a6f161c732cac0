"""Layers that networks are built of.

`Conv` and `ConvTranspose` in 1-D, 2-D and 3-D, `Dense`, `Embed`; `spectral` and `equalized` around any of them; norms
by batch, example, group, channel and pixel, by class and by style; `SelfAttention`; `Dropout`; pixel shuffle, padding
and pooling as functions. A network is handed factories of layers, as classes or partials, and uses these with `build`
and `normalise` alone; Linen's own norms fit as well.

Images are channels-last. Learned arrays and statistics are float32, `dtype` is the type that a layer computes in and
returns. `train` sets a layer's behaviour; `mutable`, which the caller passes, says what may change, and a layer writes
only there.
"""

from jaxgan.networks.layers.attention import SelfAttention, check_attended
from jaxgan.networks.layers.conditional import AdaIN, AdaptiveNorm, ConditionalBatchNorm, ConditionalInstanceNorm
from jaxgan.networks.layers.convolutions import Conv, ConvTranspose, PaddingMode
from jaxgan.networks.layers.dense import Dense, Embed
from jaxgan.networks.layers.dropout import Dropout
from jaxgan.networks.layers.handed import Layer, build, needs_bias, normalise
from jaxgan.networks.layers.labels import one_hot, rows
from jaxgan.networks.layers.norms import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, PixelNorm
from jaxgan.networks.layers.pooling import halved
from jaxgan.networks.layers.quantize import Codebook, Quantized
from jaxgan.networks.layers.sizes import averaged, pad_to_multiple, pixel_shuffle, pixel_unshuffle, repeated
from jaxgan.networks.layers.weights import Weights, equalized, learned, spectral

__all__ = [
    "AdaIN",
    "AdaptiveNorm",
    "BatchNorm",
    "Codebook",
    "ConditionalBatchNorm",
    "ConditionalInstanceNorm",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Embed",
    "GroupNorm",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "PaddingMode",
    "PixelNorm",
    "Quantized",
    "SelfAttention",
    "Weights",
    "averaged",
    "build",
    "check_attended",
    "equalized",
    "halved",
    "learned",
    "needs_bias",
    "normalise",
    "one_hot",
    "pad_to_multiple",
    "pixel_shuffle",
    "pixel_unshuffle",
    "repeated",
    "rows",
    "spectral",
]
