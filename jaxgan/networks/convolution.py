"""Convolution as a function that every platform computes its own way.

Images are NHWC, kernels `[height, width, in, out]`, paddings are explicit and mean what they mean in PyTorch (Linen's
own `ConvTranspose` does not). Parameters and numbers are the same everywhere; the form is chosen when a program is
lowered for its platform: GPUs and TPUs keep XLA's convolutions, the CPU, where those are slow, gets matrix products
(`jaxgan.networks.products`).

A convolution y of an image x by a kernel k is bilinear, and its two gradients are bilinear in what is left of x, k and
y. These are the three primitives here, each the transpose of the others: forwards, to the input, to the kernel. So a
form has to be good at three things, and derivatives of any order, in either mode, are made of them; `vmap` maps a form.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxgan.networks import products

__all__ = ["conv", "conv_transpose"]

NHWC = ("NHWC", "HWIO", "NHWC")
GEOMETRY = ("stride", "padding", "size", "kernel")  # of every primitive; size (H, W) is the image's, kernel (h, w)

Form = Callable[..., jax.Array]


def _forward(x: jax.Array, k: jax.Array, *, stride: int, padding: int, **_: Any) -> jax.Array:
    return lax.conv_general_dilated(x, k, (stride,) * 2, [(padding,) * 2] * 2, dimension_numbers=NHWC)


def _to_input(y: jax.Array, k: jax.Array, **geometry: Any) -> jax.Array:
    x = jax.ShapeDtypeStruct((y.shape[0], *geometry["size"], k.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: _forward(x, k, **geometry), x)(y)[0]


def _to_kernel(x: jax.Array, y: jax.Array, **geometry: Any) -> jax.Array:
    k = jax.ShapeDtypeStruct((*geometry["kernel"], x.shape[3], y.shape[3]), x.dtype)
    return jax.linear_transpose(lambda k: _forward(x, k, **geometry), k)(y)[0]


def _primitive(name: str, native: Form, on_cpu: Form, shape: Callable[..., tuple[int, ...]]) -> Primitive:
    """`shape`: that of the result, from the shapes of both arguments and the geometry."""
    primitive = Primitive(name)

    def by_platform(a: jax.Array, b: jax.Array, *, mapped: Any = None, **geometry: Any) -> jax.Array:
        forms = (partial(form, **geometry) for form in (on_cpu, native))
        cpu, default = (form if mapped is None else jax.vmap(form, mapped) for form in forms)
        return lax.platform_dependent(a, b, cpu=cpu, default=default)

    def batched(arrays: Any, mapped: Any, **geometry: Any) -> tuple[jax.Array, int]:
        return by_platform(*arrays, mapped=tuple(mapped), **geometry), 0

    primitive.def_impl(jax.jit(by_platform, static_argnames=GEOMETRY))
    primitive.def_abstract_eval(lambda a, b, **geometry: a.update(shape=shape(a.shape, b.shape, **geometry)))
    mlir.register_lowering(primitive, mlir.lower_fun(by_platform, multiple_results=False))
    batching.primitive_batchers[primitive] = batched
    return primitive


def _out(x: tuple[int, ...], k: tuple[int, ...], *, stride: int, padding: int, **_: Any) -> tuple[int, ...]:
    return (x[0], *products.out_size(x[1:3], k[:2], stride, padding), k[3])


forward = _primitive("conv_forward", _forward, products.forward, _out)
to_input = _primitive("conv_to_input", _to_input, products.to_input, lambda y, k, *, size, **_: (y[0], *size, k[2]))
to_kernel = _primitive(
    "conv_to_kernel", _to_kernel, products.to_kernel, lambda x, y, *, kernel, **_: (*kernel, x[3], y[3])
)

# What is transposed is linear in the argument that is `_` here; the cotangent comes first.
ad.defbilinear(forward, lambda y, _, k, **g: to_input.bind(y, k, **g), lambda y, x, _, **g: to_kernel.bind(x, y, **g))
ad.defbilinear(to_input, lambda x, _, k, **g: forward.bind(x, k, **g), lambda x, y, _, **g: to_kernel.bind(x, y, **g))
ad.defbilinear(to_kernel, lambda k, _, y, **g: to_input.bind(y, k, **g), lambda k, x, _, **g: forward.bind(x, k, **g))


def _bind(primitive: Primitive, a: jax.Array, b: jax.Array, **geometry: Any) -> jax.Array:
    # Under shard_map, where one varies over the mesh and the other doesn't, the sum with nothing of it makes both vary.
    a, b = (one + lax.stop_gradient(jnp.sum(other[:0])) for one, other in ((a, b), (b, a)))
    out: jax.Array = primitive.bind(a, b, **geometry)
    return out


def conv(x: jax.Array, kernel: jax.Array, *, stride: int, padding: int) -> jax.Array:
    """Cross-correlation, as every deep-learning library's "convolution": `[B, H, W, C] -> [B, H', W', features]` with
    H' = (H + 2·padding - k) // stride + 1. `kernel` is `[k, k, C, features]`."""
    return _bind(forward, x, kernel, stride=stride, padding=padding, size=x.shape[1:3], kernel=kernel.shape[:2])


def conv_transpose(x: jax.Array, kernel: jax.Array, *, stride: int, padding: int) -> jax.Array:
    """The transpose of `conv`: `[B, H, W, C] -> [B, H', W', features]` with H' = (H - 1)·stride - 2·padding + k, so
    that output[stride·i + a - padding] += input[i] · kernel[a]. `kernel` is `[k, k, C, features]`."""
    (height, width), (kh, kw) = x.shape[1:3], kernel.shape[:2]
    size = (height - 1) * stride - 2 * padding + kh, (width - 1) * stride - 2 * padding + kw
    kernel = kernel.swapaxes(2, 3)
    return _bind(to_input, x, kernel, stride=stride, padding=padding, size=size, kernel=(kh, kw))
