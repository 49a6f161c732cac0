"""Sums are never in 16 bits: products may be in bfloat16 or float16, sums are in float32 and rounded once."""

import functools
import re

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from families import families

from jaxgan import d_loss, g_loss, make_joint_step, terms
from jaxgan.losses import hinge
from jaxgan.networks import convolution, products, resnet
from jaxgan.networks.convolution import conv, conv_transpose
from jaxgan.networks.layers import Conv, ConvTranspose, Dense

# (kernel, stride, padding) and channels before and after: a 3×3 one to three is computed as the transpose of another.
GEOMETRIES = [(4, 2, 1, 16, 8), (3, 1, 1, 8, 16), (3, 1, 1, 16, 3), (5, 2, 2, 8, 16)]
BRIEFLY = {"xla_backend_optimization_level": 0}  # compiling is all that takes time here
MORE = 1.05  # times the error that rounding once makes, or that XLA's own convolutions have

in_16_bits = pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
PUBLIC = {"conv": conv, "conv_transpose": conv_transpose}


def error(found, exact):
    """Returns the root of the mean squared error, divided by that of the exact numbers."""
    found, exact = np.asarray(found, np.float64), np.asarray(exact, np.float64)
    assert found.shape == exact.shape
    return np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2))


def native(operation, x, k, *, stride, padding):
    """Computes the operation with XLA's own convolution."""
    if operation == "conv":
        return convolution._forward(x, k, stride=stride, padding=padding)
    size = [(n - 1) * stride - 2 * padding + k.shape[0] for n in x.shape[1:3]]
    swapped = k.swapaxes(2, 3)
    return convolution._to_input(x, swapped, stride=stride, padding=padding, size=size, kernel=k.shape[:2])


def with_derivatives(function, x, k, ct):
    """Returns the output, both gradients, and both gradients of a gradient penalty."""

    def everything(x, k, ct):
        y, pull_back = jax.vjp(function, x, k)

        def penalty(x, k):
            return jnp.sum(jax.grad(lambda x: jnp.sum(function(x, k) ** 2 * ct))(x) ** 2)

        names = ("output", "input", "kernel", "input twice", "kernel twice")
        return dict(zip(names, (y, *pull_back(ct), *jax.grad(penalty, (0, 1))(x, k)), strict=True))

    return jax.jit(everything, compiler_options=BRIEFLY)(x, k, ct)


@pytest.mark.slow
@in_16_bits
@pytest.mark.parametrize("kernel, stride, padding, before, after", GEOMETRIES)
@pytest.mark.parametrize("operation", PUBLIC)
def test_convolutions_round_once(operation, kernel, stride, padding, before, after, dtype):
    """Against float64: output and gradients are as if rounded once, second derivatives no worse than XLA's."""
    random, how = np.random.default_rng(0), {"stride": stride, "padding": padding}
    x = jnp.asarray(random.standard_normal((4, 8, 8, before)), dtype)
    k = jnp.asarray(random.standard_normal((kernel, kernel, before, after)) / 10, dtype)
    mine, xlas = functools.partial(PUBLIC[operation], **how), functools.partial(native, operation, **how)
    ct = jnp.asarray(random.standard_normal(jax.eval_shape(mine, x, k).shape), dtype)
    with jax.enable_x64(True):
        exact = with_derivatives(xlas, *(jnp.asarray(array, jnp.float64) for array in (x, k, ct)))
    found, other = with_derivatives(mine, x, k, ct), with_derivatives(xlas, x, k, ct)
    for name, want in exact.items():
        assert found[name].dtype == dtype
        assert error(found[name], want) <= MORE * error(other[name], want), name
    for name in ("output", "input", "kernel"):
        assert error(found[name], exact[name]) <= MORE * error(jnp.asarray(exact[name], dtype), exact[name]), name


@pytest.mark.parametrize(
    "operation, kernel, stride, padding, before, after, shared, dtype",
    [
        ("conv_transpose", 4, 2, 1, 8, 16, True, jnp.bfloat16),
        ("conv", 5, 1, 2, 8, 16, False, jnp.bfloat16),
        ("conv", 3, 1, 1, 16, 3, True, jnp.float16),
    ],
)
def test_a_convolution_that_is_mapped_first_and_derived_afterwards(
    operation, kernel, stride, padding, before, after, shared, dtype
):
    """The derivative is then that of the form, and not another primitive: sums are in float32 there too."""
    random, how = np.random.default_rng(1), {"stride": stride, "padding": padding}
    x = jnp.asarray(random.standard_normal((3, 2, 6, 6, before)), dtype)
    k = jnp.asarray(random.standard_normal((*(() if shared else (3,)), kernel, kernel, before, after)) / 10, dtype)
    ours, xlas = (
        jax.vmap(functools.partial(function, **how), (0, None if shared else 0))
        for function in (PUBLIC[operation], functools.partial(native, operation))
    )
    ct = jnp.asarray(random.standard_normal(jax.eval_shape(ours, x, k).shape), dtype)

    def gradients(function, x, k, ct):
        return jax.jit(lambda x, k, ct: jax.vjp(function, x, k)[1](ct), compiler_options=BRIEFLY)(x, k, ct)

    with jax.enable_x64(True):
        exact = gradients(xlas, *(jnp.asarray(array, jnp.float64) for array in (x, k, ct)))
    for found, want in zip(gradients(ours, x, k, ct), exact, strict=True):
        assert found.dtype == dtype
        assert error(found, want) <= MORE * error(jnp.asarray(want, dtype), want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel, stride, padding, before, after", GEOMETRIES)
def test_wider_numbers_stay_what_they_are(kernel, stride, padding, before, after, dtype):
    with jax.enable_x64(True):
        geometry = {"stride": stride, "padding": padding, "size": (8, 8), "kernel": (kernel, kernel)}
        x, k = jnp.zeros((2, 8, 8, before), dtype), jnp.zeros((kernel, kernel, before, after), dtype)
        y = jax.eval_shape(functools.partial(products.forward, **geometry), x, k)
        for form, a, b in ((products.forward, x, k), (products.to_input, y, k), (products.to_kernel, x, y)):
            text = jax.jit(functools.partial(form, **geometry)).lower(a, b).as_text()
            assert set(re.findall(r"\bb?f\d+\b", text)) == {dtype.replace("float", "f")}


@in_16_bits
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose", "Dense"])
def test_the_gradient_of_a_bias_is_summed_in_float32(kind, dtype):
    """8,192 numbers and more, whose mean isn't 0; the sum is NumPy's, in float64, of the same cotangents."""
    random = np.random.default_rng(2)
    layer, shape = {
        "Conv": (Conv(4, 3, 1, 1, dtype=dtype), (32, 16, 16, 2)),
        "ConvTranspose": (ConvTranspose(3, 4, 2, 1, dtype=dtype), (32, 8, 8, 2)),
        "Dense": (Dense(5, dtype=dtype), (8192, 2)),
    }[kind]
    x = jnp.asarray(random.standard_normal(shape), jnp.float32)
    variables = layer.init(jax.random.key(0), x)
    y, pull_back = jax.vjp(lambda variables: layer.apply(variables, x), variables)
    assert y.dtype == dtype and y.size // y.shape[-1] >= 8192
    ct = jnp.asarray(0.1 + random.standard_normal(y.shape), dtype)
    found = pull_back(ct)[0]["params"]["bias"]
    assert found.dtype == jnp.float32
    assert error(found, np.asarray(ct, np.float64).reshape(-1, y.shape[-1]).sum(axis=0)) < 1e-5


@in_16_bits
def test_pixels_are_repeated_and_averaged_with_one_rounding_either_way(dtype):
    random = np.random.default_rng(3)
    small, large = (jnp.asarray(random.standard_normal((4, n, n, 8)), dtype) for n in (8, 16))
    fours = np.asarray(large, np.float64).reshape(4, 8, 2, 8, 2, 8)
    quarters = np.repeat(np.repeat(np.asarray(small, np.float64) / 4, 2, 1), 2, 2)
    for found, want in (
        (resnet.halve(large), fours.mean(axis=(2, 4))),
        (jax.vjp(resnet.halve, large)[1](small)[0], quarters),
        (jax.vjp(resnet.twice, small)[1](large)[0], fours.sum(axis=(2, 4))),
    ):
        np.testing.assert_array_equal(found, jnp.asarray(want.astype(np.float32), dtype))
    np.testing.assert_array_equal(resnet.twice(small), jnp.repeat(jnp.repeat(small, 2, 1), 2, 2))


ADDS = ("cumsum", "reduce_sum", "reduce_window_sum", "scatter-add", "select_and_scatter_add")


def sums_in_16_bits(jaxpr):
    """Yields the operations that add up many numbers in 16 bits, in a program and the programs that it calls."""
    for equation in jaxpr.eqns:
        dtypes = [out.aval.dtype for out in equation.outvars if hasattr(out.aval, "dtype")]
        if equation.primitive.name in ADDS and dtypes[0] in (jnp.bfloat16, jnp.float16):
            yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(inner, jax.extend.core.ClosedJaxpr | jax.extend.core.Jaxpr):
                    yield from sums_in_16_bits(getattr(inner, "jaxpr", inner))


def test_sums_in_16_bits_are_found():
    """One is in a branch of a compiled function: the gradient of a number that is added to many."""

    def loss(bias):
        return jax.lax.cond(
            bias[0] > 0, lambda: jnp.tanh(jnp.ones((9, 2), bias.dtype) + bias[None])[0, 0], lambda: bias[0]
        )

    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        program = jax.make_jaxpr(jax.jit(jax.grad(loss)))(jnp.ones(2, dtype))
        assert bool(list(sums_in_16_bits(program.jaxpr))) == (dtype != jnp.float32)


@pytest.mark.parametrize("name", families())
def test_no_step_sums_in_16_bits(name):
    family = families(jnp.bfloat16)[name]
    penalty = () if family.batch_norm else (terms.r1(0.1), terms.wgan_gp())
    d_terms, g_terms = (d_loss(hinge), *penalty, *family.terms[0]), (g_loss(hinge), *family.terms[1])
    step = make_joint_step(family.sampler, d_terms, g_terms, prepare=family.prepare)
    program = jax.make_jaxpr(step)(jax.eval_shape(family.state), family.batch())
    assert "bf16" in str(program)
    found = list(sums_in_16_bits(program.jaxpr))
    assert not found, found
