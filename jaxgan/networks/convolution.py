"""Convolution as a function that every platform computes in its own way.

Images are NHWC, kernels `[height, width, in, out]`, paddings are explicit and as in PyTorch (Linen's own
`ConvTranspose` differs). Parameters and numbers are the same everywhere; the form is chosen when a program is lowered
for its platform. GPUs and TPUs use XLA's convolutions; on a CPU, where those are slow, matrix products are used
(`jaxgan.networks.products`).

A convolution y of an image x by a kernel k is bilinear, and its two gradients are bilinear in the other two of x, k and
y. These are the three primitives here, each the transpose of the others: forwards, to the input, to the kernel. So a
form has to be fast at these three, and derivatives of any order, in either mode, are composed of them. `vmap` maps a
form; if a function is mapped first and differentiated afterwards, it is differentiated like any other function.
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

__all__ = ["NATIVE", "conv", "conv_transpose"]

NHWC = ("NHWC", "HWIO", "NHWC")
# Of every primitive; size (H, W) is the image's, kernel (h, w). Without groups there is no such entry, so that programs
# are what they were.
GEOMETRY = ("stride", "padding", "size", "kernel", "groups")
TOGETHER = 32  # channels, at most, that groups are computed in at once on a CPU

Form = Callable[..., jax.Array]


def _forward(x: jax.Array, k: jax.Array, *, stride: int, padding: int, groups: int = 1, **_: Any) -> jax.Array:
    pads = [(padding,) * 2] * 2
    return lax.conv_general_dilated(x, k, (stride,) * 2, pads, dimension_numbers=NHWC, feature_group_count=groups)


def _to_input(
    y: jax.Array, k: jax.Array, *, stride: int, padding: int, size: tuple[int, int], groups: int = 1, **_: Any
) -> jax.Array:
    if groups > 1:  # [h, w, C / g, g, F / g] to [h, w, g, C / g, F / g]: inputs and outputs change places in each group
        k = k.reshape(*k.shape[:3], groups, -1).swapaxes(2, 3).reshape(*k.shape[:2], -1, k.shape[3] // groups)
    low = [n - 1 - padding for n in k.shape[:2]]
    dilated = [(n - 1) * stride + 1 for n in y.shape[1:3]]
    pads = [(a, n + m - 1 - has - a) for a, n, m, has in zip(low, size, k.shape[:2], dilated, strict=True)]
    return lax.conv_general_dilated(
        y,
        k[::-1, ::-1].swapaxes(2, 3),
        (1, 1),
        pads,
        lhs_dilation=(stride,) * 2,
        dimension_numbers=NHWC,
        feature_group_count=groups,
    )


def _to_kernel(x: jax.Array, y: jax.Array, **geometry: Any) -> jax.Array:
    k = lax.full_like(y, 0, shape=(*geometry["kernel"], x.shape[3] // geometry.get("groups", 1), y.shape[3]))
    return jax.linear_transpose(lambda k: _forward(x, k, **geometry), k)(y)[0]


def _in_parts(form: Form) -> Form:
    """Returns a form that takes `groups`. Neighbouring groups are computed at once, as one convolution of about
    `TOGETHER` channels whose kernel is zero between them, since thin matrix products cost more than zeros do."""

    def grouped(a: jax.Array, b: jax.Array, *, groups: int = 1, **geometry: Any) -> jax.Array:
        if groups == 1:
            return form(a, b, **geometry)
        makes_kernel = form is products.to_kernel
        width = max(a.shape[3], b.shape[3]) // groups  # of a group, on its wider side
        together = max(n for n in range(1, groups + 1) if groups % n == 0 and n * width <= max(TOGETHER, width))
        count = groups // together
        parts = jnp.split(a, count, 3), jnp.split(b, count, 3)
        if makes_kernel:
            results = [_of_groups(form(x, y, **geometry), together) for x, y in zip(*parts, strict=True)]
        else:
            results = [form(x, _dense(k, together), **geometry) for x, k in zip(*parts, strict=True)]
        return jnp.concatenate(results, 3)

    return grouped


def _dense(k: jax.Array, groups: int) -> jax.Array:
    """Returns the kernel `[h, w, C, F]` of the convolution that one of groups is, `[h, w, C / groups, F]`."""
    height, width, channels, features = k.shape
    k = k.reshape(height, width, 1, channels, groups, features // groups)
    between = jnp.eye(groups, dtype=k.dtype).reshape(1, 1, groups, 1, groups, 1)
    return (k * between).reshape(height, width, groups * channels, features)


def _of_groups(k: jax.Array, groups: int) -> jax.Array:
    """Returns the parts of a kernel that groups have, `[h, w, C, F]` -> `[h, w, C / groups, F]`; the transpose of
    `_dense`."""
    height, width, channels, features = k.shape
    k = k.reshape(height, width, groups, channels // groups, groups, features // groups)
    own = jnp.stack([k[:, :, i, :, i] for i in range(groups)], 3)
    return own.reshape(height, width, channels // groups, features)


def _primitive(name: str, native: Form, on_cpu: Form, shape: Callable[..., tuple[int, ...]]) -> Primitive:
    """Returns a primitive. shape: a function of the shapes of both arguments and the geometry to that of the result."""
    primitive = Primitive(name)

    def by_platform(a: jax.Array, b: jax.Array, *, mapped: Any = None, **geometry: Any) -> jax.Array:
        cpu: Form
        default: Form
        cpu, default = partial(on_cpu, **geometry), partial(native, **geometry)
        if mapped is not None:
            cpu, default = jax.vmap(products.derivable(cpu), mapped), jax.vmap(default, mapped)
        return lax.platform_dependent(a, b, cpu=cpu, default=default)

    def batched(arrays: Any, mapped: Any, **geometry: Any) -> tuple[jax.Array, int]:
        return by_platform(*arrays, mapped=tuple(mapped), **geometry), 0

    def abstract(a: Any, b: Any, **geometry: Any) -> Any:
        if any(a.sharding.spec) or any(b.sharding.spec):
            raise ValueError(
                "convolutions can't be given arrays on a mesh with explicit axes; make it with automatic ones, as "
                "jax.sharding.Mesh has them, or map over it with shard_map"
            )
        return a.update(shape=shape(a.shape, b.shape, **geometry))

    primitive.def_impl(jax.jit(by_platform, static_argnames=GEOMETRY))
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(by_platform, multiple_results=False))
    batching.primitive_batchers[primitive] = batched
    return primitive


def _out(x: tuple[int, ...], k: tuple[int, ...], *, stride: int, padding: int, **_: Any) -> tuple[int, ...]:
    return (x[0], *products.out_size(x[1:3], k[:2], stride, padding), k[3])


def _in(y: tuple[int, ...], k: tuple[int, ...], *, size: tuple[int, int], groups: int = 1, **_: Any) -> tuple[int, ...]:
    return (y[0], *size, k[2] * groups)


def _taps(
    x: tuple[int, ...], y: tuple[int, ...], *, kernel: tuple[int, int], groups: int = 1, **_: Any
) -> tuple[int, ...]:
    return (*kernel, x[3] // groups, y[3])


forward = _primitive("conv_forward", _forward, _in_parts(products.forward), _out)
to_input = _primitive("conv_to_input", _to_input, _in_parts(products.to_input), _in)
to_kernel = _primitive("conv_to_kernel", _to_kernel, _in_parts(products.to_kernel), _taps)
NATIVE: dict[Primitive, Form] = {
    forward: _forward,
    to_input: _to_input,
    to_kernel: _to_kernel,
}
"""The forms of the primitives by XLA's own convolution, on any platform."""

# Each function is linear in the argument that is `_` here; the cotangent comes first.
ad.defbilinear(forward, lambda y, _, k, **g: to_input.bind(y, k, **g), lambda y, x, _, **g: to_kernel.bind(x, y, **g))
ad.defbilinear(to_input, lambda x, _, k, **g: forward.bind(x, k, **g), lambda x, y, _, **g: to_kernel.bind(x, y, **g))
ad.defbilinear(to_kernel, lambda k, _, y, **g: to_input.bind(y, k, **g), lambda k, x, _, **g: forward.bind(x, k, **g))


def _bind(primitive: Primitive, a: jax.Array, b: jax.Array, **geometry: Any) -> jax.Array:
    # Under shard_map both must vary over the mesh, if one does.
    own = [frozenset(getattr(jax.typeof(each), "manual_axis_type", jax.typeof(each)).varying) for each in (a, b)]
    a, b = (
        lax.pcast(each, tuple(missing), to="varying") if (missing := (own[0] | own[1]) - has) else each
        for each, has in zip((a, b), own, strict=True)
    )
    out: jax.Array = primitive.bind(a, b, **geometry)
    return out


def _check(x: jax.Array, kernel: jax.Array, size: tuple[int, ...], groups: int = 1) -> None:
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2] * groups or x.dtype != kernel.dtype:
        inputs = "C" if groups == 1 else f"C / {groups}"
        raise ValueError(
            f"expected images [B, H, W, C] and a kernel [k, k, {inputs}, features] of one dtype, got "
            f"{x.dtype}{list(x.shape)} and {kernel.dtype}{list(kernel.shape)}"
        )
    if kernel.shape[3] % groups:
        raise ValueError(f"groups={groups} must divide the {kernel.shape[3]} features")
    if any(isinstance(n, int) and n < 1 for n in size):  # of an exported program's symbolic sizes nothing is known
        raise ValueError(f"images of {x.shape[1:3]} and a kernel of {kernel.shape[:2]} leave nothing: {size} pixels")


def conv(x: jax.Array, kernel: jax.Array, *, stride: int, padding: int, groups: int = 1) -> jax.Array:
    """Returns the cross-correlation, every deep-learning library's "convolution": `[B, H, W, C] -> [B, H', W',
    features]` with H' = (H + 2·padding - k) // stride + 1. `kernel` is `[k, k, C / groups, features]`; groups cut
    channels and features into parts that don't see each other. ValueError where they don't fit."""
    _check(x, kernel, products.out_size(x.shape[1:3], kernel.shape[:2], stride, padding), groups)
    geometry = {"stride": stride, "padding": padding, "size": x.shape[1:3], "kernel": kernel.shape[:2]}
    return _bind(forward, x, kernel, **geometry, **({"groups": groups} if groups > 1 else {}))


def conv_transpose(x: jax.Array, kernel: jax.Array, *, stride: int, padding: int, output_padding: int = 0) -> jax.Array:
    """Returns the transpose of `conv`: `[B, H, W, C] -> [B, H', W', features]` with H' = (H - 1)·stride - 2·padding + k
    + output_padding, so that output[stride·i + a - padding] += input[i] · kernel[a]. `kernel` is `[k, k, C, features]`;
    output_padding is below the stride, so that `conv` leads back to H. ValueError where they don't fit."""
    (height, width), (kh, kw) = x.shape[1:3], kernel.shape[:2]
    less = 2 * padding - output_padding
    size = (height - 1) * stride - less + kh, (width - 1) * stride - less + kw
    _check(x, kernel, size)
    kernel = kernel.swapaxes(2, 3)
    return _bind(to_input, x, kernel, stride=stride, padding=padding, size=size, kernel=(kh, kw))
