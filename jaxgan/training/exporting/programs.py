"""Generators as programs that run without jaxgan: StableHLO, by `jax.export`, and ONNX, by jax2onnx."""

import importlib.util
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export
from jax.extend.core import ClosedJaxpr, Literal

from jaxgan.networks import convolution
from jaxgan.networks.layers import resample
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
    if importlib.util.find_spec("jax2onnx") is None:
        raise UsageError(f"--format onnx needs jax2onnx, whose own requirements exclude ours: {INSTALL}")
    import jax2onnx

    names = list(generator.inputs)
    try:
        model = jax2onnx.to_onnx(
            natively(generator.draw), generator.arguments("n"), input_names=names, output_names=["drawn"]
        )
    except Exception as error:  # a converter fails in many ways, all of which mean that an operation is none of its own
        why = str(error).partition("\n")[0] or type(error).__name__
        raise UsageError(f"jax2onnx doesn't know what {_where(error)} does ({why}); export it as stablehlo") from error
    del model.graph.value_info[:]  # shapes of what lies between, some of them wrong, which browsers refuse
    return model


def _where(error: BaseException) -> str:
    """Returns the innermost function of jaxgan's that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if "jaxgan" in Path(each.filename).parts and "exporting" not in each.filename]
    return f"{own[-1].name} in {Path(own[-1].filename).name}" if own else "this generator"


def natively(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Returns a function that computes the same by XLA's own operations, where this library's convolutions and filters
    are primitives that no other program knows."""
    return lambda *given: _evaluated(jax.make_jaxpr(function)(*given), given)[0]


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
