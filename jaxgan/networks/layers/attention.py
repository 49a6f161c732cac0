"""Self-attention of images: every pixel looks at all others."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxgan.networks.layers.convolutions import Conv
from jaxgan.networks.layers.handed import Layer, build
from jaxgan.networks.layers.pooling import halved
from jaxgan.networks.products import sum_dtype

__all__ = ["SelfAttention", "check_attended"]


class SelfAttention(nn.Module):
    """Self-attention of images behind a gate that starts at zero, `[B, H, W, C]` to the same shape: x + gate · o(x).
    Zhang et al. 2019 (arXiv 1805.08318), section 3.

    1×1 convolutions without biases make a `query` (C / 8 channels) of each pixel, and a `key` (C / 8) and a `value`
    (C / 2), of which the largest of every 2×2 pixels are kept, as in the authors' code and in BigGAN (Brock et al.
    2019, arXiv 1809.11096). A pixel's output is the mean of all values, weighted by the softmax over all keys of the
    products query · key, brought to C channels by a fourth convolution, `output`. `gate` is one learned number, so that
    a network starts without attention; until its first step the gradient of the other parameters is 0.

    conv: makes the convolutions; `spectral(Conv)` in SAGAN. A network hands on its own.
    query_share, value_share: C divided by the channels of queries and keys, and of values; rounded down, at least one.
    pooled: whether the largest of every 2×2 keys and values are kept, or all of them as in the paper's formula.
    ValueError for what isn't an image, and for one of a single row or column where 2×2 pixels are looked at.
    """

    conv: Layer = Conv
    query_share: int = 8
    value_share: int = 2
    pooled: bool = True
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if x.ndim != 4 or min(x.shape[1:3]) < 1 + self.pooled:
            raise ValueError(
                f"attention takes images [B, H, W, C] of at least {1 + self.pooled} pixels a side, got the shape "
                f"{x.shape}"
            )
        b, height, width, channels = x.shape

        def pointwise(y: jax.Array, features: int, name: str) -> jax.Array:
            how: dict[str, Any] = {
                "use_bias": False,
                "kernel_init": self.kernel_init,
                "dtype": self.dtype,
                "name": name,
            }
            out: jax.Array = build(self.conv, features, 1, 1, 0, **how)(y)
            return out

        def flat(y: jax.Array) -> jax.Array:
            return y.reshape(b, -1, y.shape[-1])

        few, half = max(1, channels // self.query_share), max(1, channels // self.value_share)
        query, key, value = (pointwise(x, n, name) for n, name in ((few, "query"), (few, "key"), (half, "value")))
        if self.pooled:
            key, value = halved(key), halved(value)
        wide = sum_dtype(self.dtype)  # of sums, which are over up to thousands of keys
        scores = jnp.einsum("bic,bjc->bij", flat(query), flat(key), preferred_element_type=wide)
        shares = jax.nn.softmax(scores, axis=-1).astype(self.dtype)
        mean = jnp.einsum("bij,bjc->bic", shares, flat(value), preferred_element_type=wide).astype(self.dtype)
        seen = pointwise(mean.reshape(b, height, width, half), channels, "output")
        gate = self.param("gate", nn.initializers.zeros, (), jnp.float32).astype(wide)
        return (x.astype(wide) + gate * seen.astype(wide)).astype(self.dtype)


def check_attended(attended: Sequence[int], sides: Sequence[int]) -> None:
    """Raises ValueError where a network is to attend at a size that it never has. attended: the sizes asked for, in
    pixels a side. sides: those of its features."""
    if unreached := [side for side in attended if side not in sides]:
        has = ", ".join(map(str, sorted(set(sides))))
        raise ValueError(f"attention at {unreached[0]} pixels is never reached: features here have {has} pixels a side")
