"""Every layer and option in 1-D, 2-D and 3-D against PyTorch's (golden/layers.npz): outputs, gradients, one power
iteration of spectral normalisation."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks import layers
from scripts.golden.layers import CASES, CLASSES, FEATURES, SHAPES, read

GOLDEN = read(pathlib.Path(__file__).parents[1] / "golden" / "layers.npz")
AROUND = {"": lambda layer: layer, "equalized": layers.equalized, "spectral": layers.spectral}
BRIEF = {"xla_backend_optimization_level": 0}  # compiling is all that takes time here


def golden(name):
    return {key.rpartition("/")[2]: array for key, array in GOLDEN.items() if key.rpartition("/")[0] == name}


def module(case):
    layer = AROUND[case.around](getattr(layers, case.layer), **case.options)
    sizes = {"Conv": (FEATURES,), "ConvTranspose": (FEATURES,), "Dense": (FEATURES,), "Embed": (CLASSES, FEATURES)}
    sizes |= {"ConditionalBatchNorm": (CLASSES,), "ConditionalInstanceNorm": (CLASSES,)}
    return layer(*sizes.get(case.layer, ()), **case.fields)


def our_kernel(case, weight):
    """Returns PyTorch's weight or gradient, `[out, in / groups, *k]` or transposed `[in, out / groups, *k]`, in our
    layout."""
    if case.layer == "Dense":
        return weight.T
    taps = tuple(range(2, weight.ndim))
    if case.layer == "Conv":
        return weight.transpose(*taps, 1, 0)
    groups = case.fields.get("groups", 1)
    parts = weight.reshape(groups, -1, *weight.shape[1:])  # groups, in / groups, out / groups, *k
    parts = parts.transpose(*(tap + 1 for tap in taps), 1, 0, 2)
    return parts.reshape(*parts.shape[:-2], -1)


def our_v(case, v):
    """Returns PyTorch's v in our order: it runs over the inputs, then over the taps; ours the other way round, and over
    groups last."""
    if case.layer in ("Dense", "Embed"):
        return v
    kernel = np.broadcast_to(np.asarray(case.fields["kernel"]), (case.dimensions,))
    groups = case.fields.get("groups", 1) if case.layer == "ConvTranspose" else 1
    parts = v.reshape(groups, -1, *kernel)
    return parts.transpose(*range(2, parts.ndim), 1, 0).reshape(-1)


def params_of(case, arrays, suffix=""):
    """Returns the parameters, or their gradients, by our names and in our layout."""
    weight, bias = arrays.get(f"weight{suffix}"), arrays.get(f"bias{suffix}")
    if weight is None:
        return {}
    if case.layer == "Embed":
        return {"embedding": weight}
    if case.layer == "AdaIN":
        return {"style": {"kernel": weight.T, "bias": bias}}
    name, turn = ("scale", lambda x: x) if "Norm" in case.layer else ("kernel", functools.partial(our_kernel, case))
    return {name: turn(weight)} | ({} if bias is None else {"bias": bias})


def outer(images):
    """Moves PyTorch's channels behind the pixels."""
    return images if images.ndim < 3 else np.moveaxis(images, 1, -1)


def inputs_of(case, arrays):
    """Returns x and conditions as the layer takes them."""
    if case.layer == "Embed":
        return {"labels": arrays["labels"].astype(np.int32)}
    found = {"x": outer(arrays["input"])}
    if "labels" in arrays:
        found["labels"] = arrays["labels"].astype(np.int32)
    return found | ({"style": arrays["style"]} if "style" in arrays else {})


def close(got, want, name):
    got = np.asarray(got)
    assert got.shape == want.shape, name
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.max(np.abs(want)), err_msg=name)


def applied(layer, case, variables, inputs, **how):
    given = {"train": True} if case.layer in ("BatchNorm", "ConditionalBatchNorm", "AdaIN") else {}
    return layer.apply(variables, *inputs.values(), **given, **how)


@pytest.mark.parametrize("name", CASES)
def test_it_is_pytorchs(name):
    case, arrays = CASES[name], golden(name)
    layer, inputs, params = module(case), inputs_of(case, arrays), params_of(case, arrays)
    state = (
        {"spectral": {next(iter(params)): {key: v_or_u(case, arrays, key) for key in "uv"}}} if "u" in arrays else {}
    )

    def loss(params, floats):
        variables = stats(layer, inputs) | state | {"params": params}
        out, changed = applied(layer, case, variables, {**inputs, **floats}, mutable=["spectral"])
        return jnp.sum(jnp.asarray(outer(arrays["up"])) * out), (out, changed)

    floats = {key: value for key, value in inputs.items() if value.dtype == np.float32}
    program = jax.jit(jax.grad(loss, (0, 1), has_aux=True), compiler_options=BRIEF)
    gradients, (output, changed) = program(params, floats)
    close(output, outer(arrays["output"]), "output")
    by_params, by_inputs = gradients
    want = params_of(case, arrays, "_gradient")
    assert jax.tree.structure(by_params) == jax.tree.structure(want)
    for (path, got), wanted in zip(jax.tree.leaves_with_path(by_params), jax.tree.leaves(want), strict=True):
        close(got, wanted, jax.tree_util.keystr(path))
    if "x" in by_inputs:
        close(by_inputs["x"], outer(arrays["input_gradient"]), "input")
    if "style" in by_inputs:
        close(by_inputs["style"], arrays["style_gradient"], "style")
    if state:
        ((_, after),) = changed["spectral"].items()
        close(after["u"], arrays["u_after"], "u")
        close(after["v"], our_v(case, arrays["v_after"]), "v")
        (weight, *_) = params.values()
        sigma = after["u"] @ np.asarray(layer.matrix(jnp.asarray(weight))) @ after["v"]
        np.testing.assert_allclose(sigma, arrays["sigma"], rtol=1e-5)
    else:
        assert not jax.tree.leaves(changed)


def v_or_u(case, arrays, key):
    return our_v(case, arrays["v"]) if key == "v" else arrays["u"]


def stats(layer, inputs):
    """Returns a batch norm's running averages, which training does not use."""
    given = {"train": True} if "BatchNorm" in type(layer).__name__ or "AdaIN" in type(layer).__name__ else {}
    variables = jax.eval_shape(lambda: layer.init(jax.random.key(0), *inputs.values(), **given))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), variables.get("batch_stats", {}))
    return {"batch_stats": zeros} if zeros else {}


def test_every_case_has_its_numbers():
    assert {name.rpartition("/")[0] for name in GOLDEN} == set(CASES)
    assert {case.layer for case in CASES.values()} >= {"Conv", "ConvTranspose", "Dense", "Embed", "AdaIN"}
    assert {len(SHAPES[case.dimensions]) for case in CASES.values()} == {2, 3, 4, 5}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.dimensions == 2])
def test_shapes_and_dtypes_in_bfloat16(name):
    """Learned arrays and statistics stay float32; outputs are bfloat16 and near those of float32."""
    case, arrays = CASES[name], golden(name)
    inputs = inputs_of(case, arrays)
    half, given = module(case).clone(dtype=jnp.bfloat16), {}
    if case.layer in ("BatchNorm", "ConditionalBatchNorm", "AdaIN"):
        given["train"] = True
    variables = jax.jit(lambda: half.init(jax.random.key(0), *inputs.values(), **given), compiler_options=BRIEF)()
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype("float32")}
    run = jax.jit(
        lambda layer: layer.apply(variables, *inputs.values(), **given), static_argnums=0, compiler_options=BRIEF
    )
    got, want = run(half), run(half.clone(dtype=jnp.float32))
    assert got.dtype == jnp.bfloat16 and want.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(got, np.float32), want, rtol=0, atol=0.03 * np.max(np.abs(want)))
