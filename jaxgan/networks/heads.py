"""Heads: the last layers of a discriminator, from its features to its outputs.

A head is called as `head(features, condition)`. It flattens the features `[B, ...]` and returns a dict of float32
arrays `[B, ...]`, with `logits` among them. It is called inside a Linen module, and its layers become that module's
own: with any head, the dense layer behind the discriminator's logits is its `judge`, and parameters of one head can be
read by another. (A head may be a Linen module as well; its layers are then a level deeper.)

`kernel_init` draws all weights, biases start at 0. `dtype` is the type a head computes in, None the features' own.
`dense` makes its layers: `spectral(Dense)` of `jaxgan.networks.layers` belongs to a discriminator of `spectral(Conv)`.
"""

import dataclasses
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxgan.networks.layers import Dense, Layer, build, one_hot

__all__ = ["AuxiliaryClassifier", "Codes", "Gaussian", "Head", "Logits", "Projection"]

Head = Callable[[jax.Array, jax.Array | None], dict[str, jax.Array]]
"""What makes a discriminator's outputs, "logits" among them, of features `[B, D]` and labels `[B]` or None."""

_weights = nn.initializers.normal(0.02)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layers:
    kernel_init: Initializer = _weights
    dtype: Dtype | None = None
    dense: Layer = Dense

    def _dense(self, name: str, x: jax.Array, width: int, use_bias: bool = True) -> jax.Array:
        """Returns the output of a dense layer, `[B, A] -> [B, width]`; float32, whatever it computed in."""
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
    """A head of one dense layer, `{"logits": [B]}`. `condition` is ignored."""

    def __call__(self, features: jax.Array, condition: jax.Array | None = None) -> dict[str, jax.Array]:
        """Returns the head's outputs for the features."""
        del condition
        return {"logits": self._judge(_flat(features))}


@dataclasses.dataclass(frozen=True)
class Projection(_Layers):
    """A head with class projection, `{"logits": [B]}`: ψ(φ) + ⟨v_y, φ⟩ for features φ and labels y `[B]`, ψ a dense
    layer, and a learned vector v for each of `classes`. Miyato & Koyama 2018 (arXiv 1802.05637), equation 3. ValueError
    without labels; NaN for a label outside of [0, classes).
    """

    classes: int

    def __call__(self, features: jax.Array, condition: jax.Array | None = None) -> dict[str, jax.Array]:
        """Returns the head's outputs for the features and these labels."""
        x = _flat(features)
        label = one_hot(condition, self.classes, x.shape[0])
        own = jnp.sum(label * self._dense("embedding", x, self.classes, use_bias=False), axis=1)
        return {"logits": self._judge(x) + own}


@dataclasses.dataclass(frozen=True)
class AuxiliaryClassifier(_Layers):
    """A head with a classifier, `{"logits": [B], "class": [B, classes]}`; `class` are the classifier's logits.
    `condition` is ignored: the discriminator has to find the class itself. ACGAN, Odena et al. 2017 (arXiv 1610.09585),
    section 3.
    """

    classes: int

    def __call__(self, features: jax.Array, condition: jax.Array | None = None) -> dict[str, jax.Array]:
        """Returns the head's outputs for the features."""
        del condition
        x = _flat(features)
        return {"logits": self._judge(x), "class": self._dense("class", x, self.classes)}


@dataclasses.dataclass(frozen=True)
class Codes(_Layers):
    """InfoGAN's Q, Chen et al. 2016 (arXiv 1606.03657), section 6: a head that estimates the generator's codes.

    Beside `logits` `[B]`, it returns the logits `code0`, `code1`, ... `[B, categories[i]]`, where the i-th of
    `categories` is the number of values of a code. For `continuous` further codes it returns the Gaussians' `code_mean`
    and `code_log_std` `[B, continuous]`, if there are any. With `unit_std` the deviation is 1 instead of learned, as in
    the authors' code for MNIST; a learned one lets continuous codes outweigh the others. Q has one hidden layer of its
    own, of 128 with LeakyReLU 0.1, as in the paper's networks, but without their batch norm. `condition` is ignored.
    """

    categories: Sequence[int] = (10,)
    continuous: int = 2
    unit_std: bool = False

    def __call__(self, features: jax.Array, condition: jax.Array | None = None) -> dict[str, jax.Array]:
        """Returns the head's outputs for the features."""
        del condition
        x = _flat(features)
        # Rounded back to the features' precision, so that all layers compute in it.
        hidden = nn.leaky_relu(self._dense("hidden", x, 128), 0.1).astype(x.dtype)
        widths = {f"code{i}": values for i, values in enumerate(self.categories)}
        outputs = {"logits": self._judge(x)}
        if self.continuous and self.unit_std:
            widths["code_mean"] = self.continuous
            outputs["code_log_std"] = jnp.zeros((x.shape[0], self.continuous), jnp.float32)
        elif self.continuous:
            widths |= {"code_mean": self.continuous, "code_log_std": self.continuous}
        return outputs | {name: self._dense(name, hidden, width) for name, width in widths.items()}


@dataclasses.dataclass(frozen=True)
class Gaussian(_Layers):
    """The head of a VAE's encoder: mean and logarithm of the variance of a code of `size` numbers, `{"mean": [B, size],
    "log_variance": [B, size]}`. Kingma & Welling 2014 (arXiv 1312.6114), appendix C.2. `condition` is ignored."""

    size: int

    def __call__(self, features: jax.Array, condition: jax.Array | None = None) -> dict[str, jax.Array]:
        """Returns the head's outputs for the features."""
        del condition
        x = _flat(features)
        return {name: self._dense(name, x, self.size) for name in ("mean", "log_variance")}
