"""A small image classifier, trained in minutes on two CPU cores: the network of the packaged classifiers."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.networks.layers import BatchNorm, Conv, halved

__all__ = ["Classifier"]

FEW = 16  # channels; for fewer, a CPU is faster with patches than with XLA's own convolution


class Classifier(nn.Module):
    """A small classifier of images `[B, H, W, C]`, float32 in [-1, 1]. It returns `features` `[B, D]`, the activations
    below the last dense layer, and `logits` `[B, classes]`. D is the last of `widths`; features are means of rectified
    values, so at least 0.

    For every width a 3×3 convolution with 2×2 max pooling, batch norm and ReLU, then `depth` residual ones without
    pooling; the mean over all pixels; a dense layer. It takes images of 2^n pixels a side and more, where n is the
    number of widths. The maps at the end of each width, `[B, H / 2^i, W / 2^i, widths[i - 1]]`, are among the
    "intermediates" as `block1`, `block2`, ....
    """

    widths: Sequence[int]
    depths: Sequence[int]
    classes: int = 10

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        def normalised(x: jax.Array) -> jax.Array:
            return nn.relu(BatchNorm()(x, train=train))

        def three(x: jax.Array, features: int) -> jax.Array:
            init = nn.initializers.he_normal()
            if x.shape[-1] < FEW:
                return Conv(features, 3, padding=1, use_bias=False, kernel_init=init)(x)
            return nn.Conv(features, (3, 3), padding=1, use_bias=False, kernel_init=init)(x)

        x = image
        for i, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True), 1):
            x = normalised(halved(three(x, width)))
            for _ in range(depth):
                x = x + normalised(three(x, width))
            self.sow("intermediates", f"block{i}", x)
        features = jnp.mean(x, axis=(1, 2))
        return {"features": features, "logits": nn.Dense(self.classes)(features)}
