"""Heads: what a discriminator says in the end, from its last features.

A head is called as `head(features, condition)`, features `[B, ...]`, which it flattens, and returns a dict of float32
arrays `[B, ...]`, `logits` among them. It is called inside a Linen module, whose own its layers become: whichever head
a discriminator has, the dense layer behind its logits is its `judge`, and one's parameters are read by another. (A head
may be a Linen module as well; its layers are then a level deeper.)

`kernel_init` draws all weights, biases start at 0. `dtype` is what a head computes in, None the features' own. `dense`
makes its layers: `spectral(Dense)` of `jaxgan.networks.layers` belongs to a discriminator of `spectral(Conv)`.
"""

import dataclasses
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxgan.networks.layers import Dense, Layer, build, one_hot

__all__ = ["AuxiliaryClassifier", "Codes", "Head", "Logits", "Projection"]

Head = Callable[[jax.Array, jax.Array | None], dict[str, jax.Array]]

_weights = nn.initializers.normal(0.02)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layers:
    kernel_init: Initializer = _weights
    dtype: Dtype | None = None
    dense: Layer = Dense

    def _dense(self, name: str, x: jax.Array, width: int, use_bias: bool = True) -> jax.Array:
        """A dense layer, `[B, A] -> [B, width]`; float32, whatever it computed in."""
        dtype = x.dtype if self.dtype is None else self.dtype
        init = self.kernel_init
        layer = build(self.dense, width, use_bias=use_bias, kernel_init=init, dtype=dtype, name=name)
        return jnp.asarray(layer(x), jnp.float32)

    def _judge(self, x: jax.Array) -> jax.Array:
        return self._dense("judge", x, 1).reshape(-1)


def _flat(features: jax.Array) -> jax.Array:
    return features.reshape(len(features), -1)


@dataclasses.dataclass(frozen=True)
class Logits(_Layers):
    """`{"logits": [B]}`: a dense layer, nothing else. `condition` is ignored."""

    def __call__(self, features: jax.Array, condition: jax.Array | None = None) -> dict[str, jax.Array]:
        """What is outputs of the features."""
        del condition
        return {"logits": self._judge(_flat(features))}


@dataclasses.dataclass(frozen=True)
class Projection(_Layers):
    """`{"logits": [B]}`, ψ(φ) + ⟨v_y, φ⟩ for features φ and labels y `[B]`: ψ a dense layer, and a learned vector v for
    each of `classes`. Miyato & Koyama 2018 (arXiv 1802.05637), equation 3. ValueError without labels; NaN for a label
    outside [0, classes).
    """

    classes: int

    def __call__(self, features: jax.Array, condition: jax.Array | None = None) -> dict[str, jax.Array]:
        """What is outputs of the features under these labels."""
        x = _flat(features)
        label = one_hot(condition, self.classes, len(x))
        own = jnp.sum(label * self._dense("embedding", x, self.classes, use_bias=False), axis=1)
        return {"logits": self._judge(x) + own}


@dataclasses.dataclass(frozen=True)
class AuxiliaryClassifier(_Layers):
    """`{"logits": [B], "class": [B, classes]}`, where `class` are a classifier's logits. `condition` is ignored: the
    discriminator has to find it out. ACGAN, Odena et al. 2017 (arXiv 1610.09585), section 3.
    """

    classes: int

    def __call__(self, features: jax.Array, condition: jax.Array | None = None) -> dict[str, jax.Array]:
        """What is outputs of the features."""
        del condition
        x = _flat(features)
        return {"logits": self._judge(x), "class": self._dense("class", x, self.classes)}


@dataclasses.dataclass(frozen=True)
class Codes(_Layers):
    """InfoGAN's Q, Chen et al. 2016 (arXiv 1606.03657), section 6: what the generator's codes may have been.

    Beside `logits` `[B]`, for the i-th of `categories`, a code with so many values, the logits `code0`, `code1`, ...
    `[B, categories[i]]`; for `continuous` further codes the Gaussians' `code_mean` and `code_log_std`
    `[B, continuous]`, left out where there are none. With `unit_std` the deviation is 1 instead of learned, as in the
    authors' code for MNIST; a learned one lets continuous codes outweigh the others. Of its own, Q has one hidden layer
    of 128 with LeakyReLU 0.1, as in the paper's networks, whose batch norm is left out. `condition` is ignored.
    """

    categories: Sequence[int] = (10,)
    continuous: int = 2
    unit_std: bool = False

    def __call__(self, features: jax.Array, condition: jax.Array | None = None) -> dict[str, jax.Array]:
        """What is outputs of the features."""
        del condition
        x = _flat(features)
        # Rounded back to the features' precision, so that all layers compute in it.
        hidden = nn.leaky_relu(self._dense("hidden", x, 128), 0.1).astype(x.dtype)
        widths = {f"code{i}": values for i, values in enumerate(self.categories)}
        outputs = {"logits": self._judge(x)}
        if self.continuous and self.unit_std:
            widths["code_mean"] = self.continuous
            outputs["code_log_std"] = jnp.zeros((len(x), self.continuous), jnp.float32)
        elif self.continuous:
            widths |= {"code_mean": self.continuous, "code_log_std": self.continuous}
        return outputs | {name: self._dense(name, hidden, width) for name, width in widths.items()}
