"""Generators as programs that run without jaxgan: StableHLO, by `jax.export`, and ONNX, by jax2onnx."""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export
from jax.extend.core import ClosedJaxpr, Literal

from jaxgan.networks import convolution
from jaxgan.networks.layers import resample
from jaxgan.printable import first_line
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.exporting.generator import Generator

__all__ = ["onnx_model", "stablehlo"]

PLATFORMS = ("cpu", "cuda", "tpu")
NATIVE: dict[Any, Callable[..., jax.Array]] = convolution.NATIVE | resample.NATIVE
CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call")  # of programs within a program
INSTALL = "pip install onnx onnxscript onnx-ir equinox beartype && pip install --no-deps jax2onnx"


def stablehlo(generator: Generator) -> bytes:
    """Returns the generator as `jax.export` serialises it, for any number of examples, on CPUs, CUDA and TPUs:
    `jax.export.deserialize(bytearray(these)).call(latent)`."""
    (count,) = export.symbolic_shape("n")
    return bytes(export.export(jax.jit(generator.draw), platforms=PLATFORMS)(*generator.arguments(count)).serialize())


def onnx_model(generator: Generator) -> Any:
    """Returns the generator as an `onnx.ModelProto` for any number of examples, its inputs called as the generator's,
    its output "drawn". UsageError where jax2onnx isn't installed, or doesn't know one of its operations."""
    for name in ("jax2onnx", "onnx_ir"):  # which warn of examples that can't be imported, and of shapes without a type
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        import jax2onnx
    except ImportError as error:
        missing = f"--format onnx needs jax2onnx, whose own requirements exclude ours ({error})"
        raise UsageError(f"{missing}: {INSTALL}") from None

    names, (count,) = list(generator.inputs), export.symbolic_shape("n")
    arguments = generator.arguments(count)
    traced = jax.make_jaxpr(generator.draw)(*arguments)
    try:
        model = jax2onnx.to_onnx(natively(traced), arguments, input_names=names, output_names=["drawn"])
    except Exception as error:  # a converter fails in many ways, all of which mean that an operation is none of its own
        why = first_line(error)
        raise UsageError(
            f"jax2onnx can't convert {_layer(traced, why) or 'this generator'} ({why}); export it as stablehlo"
        ) from error
    del model.graph.value_info[:]  # shapes of what lies between, some of them wrong, which browsers refuse
    return model


def _layer(traced: ClosedJaxpr, why: str) -> str:
    """Returns the layer with the operation that an error names, "generator/conv"; of several names the longest is
    meant. Empty where there is none."""
    named = [each for each in _equations(traced) if re.search(rf"\b{each.primitive.name}\b", why)]
    return str(max(named, key=lambda each: len(each.primitive.name)).source_info.name_stack) if named else ""


def _equations(traced: ClosedJaxpr) -> Iterator[Any]:
    for equation in traced.jaxpr.eqns:
        yield equation
        for inner in equation.params.values():
            if isinstance(inner, ClosedJaxpr):
                yield from _equations(inner)


def natively(traced: ClosedJaxpr) -> Callable[..., jax.Array]:
    """Returns the function that was traced, computed by XLA's own operations where this library's convolutions and
    filters are primitives that no other program knows. (Of a function that is traced by jax2onnx itself some calls of
    jax's are replaced, by operations that know less.)"""
    return lambda *given: _evaluated(traced, given)[0]


def _evaluated(traced: ClosedJaxpr, given: Sequence[Any]) -> list[Any]:
    program = traced.jaxpr
    values = dict(zip((*program.constvars, *program.invars), (*traced.consts, *given), strict=True))
    for equation in program.eqns:
        operands = [_known(x) if isinstance(x, Literal) else values[x] for x in equation.invars]
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if equation.primitive in NATIVE:
            results = [NATIVE[equation.primitive](*operands, **equation.params)]
        elif equation.primitive.name in CALLS and isinstance(inner, ClosedJaxpr):
            results = _evaluated(inner, operands)
        else:
            made = equation.primitive.bind(*operands, **equation.params)
            results = made if equation.primitive.multiple_results else [made]
        values.update(zip(equation.outvars, results, strict=True))
    return [_known(x) if isinstance(x, Literal) else values[x] for x in program.outvars]


def _known(number: Any) -> jax.Array:
    return jnp.asarray(number.val, number.aval.dtype)
