"""Self-attention: a loop over pixels, PyTorch's numbers (golden/attention.npz), the gate, spectral norm, precision."""

import functools
import itertools
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgan.networks.layers import Conv, SelfAttention, check_attended, spectral
from scripts.golden.attention import CASES, WEIGHTS

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "attention.npz")
BRIEF = {"xla_backend_optimization_level": 0}


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


def golden(name, suffix=""):
    """Returns PyTorch's weights, or their gradients, in our layout."""
    params = {each: {"kernel": GOLDEN[f"{name}/{each}{suffix}"].T[None, None]} for each in WEIGHTS}
    return params | {"gate": GOLDEN[f"{name}/gate{suffix}"]}


def by_hand(x, params, pooled=True):
    """The layer in float64, pixel by pixel: x `[B, H, W, C]`."""
    query, key, value, out = (np.asarray(params[name]["kernel"], np.float64)[0, 0] for name in WEIGHTS)
    gate, x = np.float64(params["gate"]), np.asarray(x, np.float64)
    result, (height, width) = x.copy(), x.shape[1:3]
    for b in range(len(x)):
        if pooled:
            squares = [x[b, i : i + 2, j : j + 2] for i in range(0, height - 1, 2) for j in range(0, width - 1, 2)]
        else:
            squares = [x[b, i : i + 1, j : j + 1] for i, j in np.ndindex(height, width)]
        keys = [(square @ key).max(axis=(0, 1)) for square in squares]
        values = [(square @ value).max(axis=(0, 1)) for square in squares]
        for i, j in itertools.product(range(height), range(width)):
            shares = np.exp([(x[b, i, j] @ query) @ each for each in keys])
            mean = sum(share * each for share, each in zip(shares / shares.sum(), values, strict=True))
            result[b, i, j] += gate * (mean @ out)
    return result


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_loop_and_pytorchs_with_gradients(name):
    layer, params, x = SelfAttention(**CASES[name][1]), golden(name), nhwc(GOLDEN[f"{name}/input"])
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)

    def loss(params, x):
        out = layer.apply({"params": params}, x)
        return jnp.sum(out * nhwc(GOLDEN[f"{name}/up"])), out

    (by_params, by_input), out = jax.jit(jax.grad(loss, (0, 1), has_aux=True), compiler_options=BRIEF)(params, x)
    np.testing.assert_allclose(out, by_hand(x, params, CASES[name][1].get("pooled", True)), rtol=1e-5, atol=1e-5)
    pairs = [(out, nhwc(GOLDEN[f"{name}/result"])), (by_input, nhwc(GOLDEN[f"{name}/input_gradient"]))]
    pairs += zip(jax.tree.leaves(by_params), jax.tree.leaves(golden(name, "_gradient")), strict=True)
    for got, want in pairs:
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.max(np.abs(want)))
    without = {name for name, leaf in by_params.items() if not np.any(jax.tree.leaves(leaf)[0])}
    assert without == ({"query", "key"} if name == "few" else set()), "a single key has all of the share"


def test_a_new_layer_changes_nothing_and_its_gate_learns_first():
    layer, x = SelfAttention(), nhwc(GOLDEN["pooled/input"])
    params = jax.jit(layer.init, compiler_options=BRIEF)(jax.random.key(0), x)["params"]
    np.testing.assert_array_equal(layer.apply({"params": params}, x), x)
    loss = lambda params: jnp.sum(layer.apply({"params": params}, x) ** 2)  # noqa: E731
    gradient = jax.jit(jax.grad(loss), compiler_options=BRIEF)(params)
    assert {name: bool(np.any(jax.tree.leaves(leaf))) for name, leaf in gradient.items()} == {
        **dict.fromkeys(WEIGHTS, False),
        "gate": True,
    }


def test_pixels_have_no_places():
    """Without 2×2 pixels looked at together, exchanged pixels are exchanged in the output: it is all they have."""
    params, x = golden("all"), nhwc(GOLDEN["all/input"])
    order = np.random.default_rng(0).permutation(16)
    run = jax.jit(lambda x: SelfAttention(pooled=False).apply({"params": params}, x), compiler_options=BRIEF)
    moved = run(x.reshape(2, 16, 8)[:, order].reshape(x.shape))
    np.testing.assert_allclose(moved.reshape(2, 16, 8), run(x).reshape(2, 16, 8)[:, order], rtol=1e-5, atol=1e-5)


def test_spectral_norm_is_of_all_four_convolutions():
    """Largest singular values by NumPy's SVD of the matrices that are used."""
    layer, x = SelfAttention(conv=spectral(Conv, turns=300)), nhwc(GOLDEN["pooled/input"])
    variables = jax.jit(layer.init, compiler_options=BRIEF)(jax.random.key(0), x)
    assert set(variables["spectral"]) == set(WEIGHTS)
    variables["params"] = {**jax.tree.map(lambda leaf: 3 * leaf + 0.1, variables["params"]), "gate": jnp.float32(0.7)}
    run = lambda variables: layer.apply(variables, x, mutable=["spectral"])  # noqa: E731
    y, changed = jax.jit(run, compiler_options=BRIEF)(variables)
    used = {"gate": variables["params"]["gate"]}
    for name in WEIGHTS:
        kernel = np.asarray(variables["params"][name]["kernel"], np.float64)
        largest = np.linalg.svd(kernel[0, 0], compute_uv=False)[0]
        state = changed["spectral"][name]["kernel"]
        assert np.asarray(state["u"]) @ kernel[0, 0].T @ np.asarray(state["v"]) == pytest.approx(largest, rel=1e-5)
        used[name] = {"kernel": kernel / largest}
    np.testing.assert_allclose(y, by_hand(x, used), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_derivatives_of_both_orders():
    """By finite differences in float64, as gradient penalties need them."""
    with jax.enable_x64(True):
        x = nhwc(GOLDEN["shares/input"]).astype(np.float64)
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64) / 4, golden("shares"))
        layer = SelfAttention(query_share=3, value_share=4, dtype=jnp.float64)
        run = jax.jit(lambda params, x: layer.apply({"params": params}, x))
        assert run(params, x).dtype == jnp.float64
        np.testing.assert_allclose(run(params, x), by_hand(x, params), rtol=1e-12)
        check_grads(run, (params, x), order=2, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_large_numbers_stay_finite(size):
    params, x = golden("pooled"), size * nhwc(GOLDEN["pooled/input"])
    both = jax.value_and_grad(lambda x: jnp.sum(SelfAttention().apply({"params": params}, x)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(jax.jit(both, compiler_options=BRIEF)(x)))


def test_bfloat16_computes_in_it_and_sums_in_float32():
    params, x = golden("pooled"), nhwc(GOLDEN["pooled/input"])
    half = SelfAttention(dtype=jnp.bfloat16)
    program = str(jax.make_jaxpr(lambda x: half.apply({"params": params}, x))(x.astype(jnp.bfloat16)))
    assert "exp" in program and "bf16[2,24,6]" in program  # the shares; their exponentials are float32's
    assert not any("bf16" in line for line in program.splitlines() if " = exp " in line or " = reduce_sum" in line)
    run = lambda x: half.apply({"params": params}, x)  # noqa: E731
    got = jax.jit(run, compiler_options=BRIEF)(x.astype(jnp.bfloat16))
    assert got.dtype == jnp.bfloat16
    want = by_hand(x, params)
    assert np.sqrt(np.mean((np.asarray(got, np.float64) - want) ** 2) / np.mean(want**2)) < 0.02
    variables = jax.eval_shape(lambda: half.init(jax.random.key(0), x))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_it_is_handed_in_with_the_networks_convolution():
    class Net(nn.Module):
        conv: object
        attention: object

        @nn.compact
        def __call__(self, x):
            from jaxgan.networks.layers import build

            return build(self.attention, conv=self.conv, dtype=jnp.float32, name="attention")(x)

    x, spectrals = nhwc(GOLDEN["pooled/input"]), spectral(Conv)
    for attention, normed in ((SelfAttention, True), (functools.partial(SelfAttention, conv=Conv), False)):
        variables = jax.eval_shape(lambda a=attention: Net(spectrals, a).init(jax.random.key(0), x))
        assert ("spectral" in variables) is normed


@pytest.mark.parametrize("shape", [(1, 1, 4, 8), (1, 4, 1, 8), (2, 4, 8), (2, 8)])
def test_what_it_cannot_look_at_is_refused_in_a_line(shape):
    with pytest.raises(ValueError, match=r"takes images \[B, H, W, C\] of at least 2 pixels a side, got") as error:
        SelfAttention().init(jax.random.key(0), jnp.zeros(shape))
    assert "\n" not in str(error.value)
    if len(shape) == 4:
        jax.eval_shape(lambda: SelfAttention(pooled=False).init(jax.random.key(0), jnp.zeros(shape)))


def test_a_size_that_is_never_reached_is_refused():
    check_attended((), (4, 8))
    check_attended((8, 4), (4, 8, 16))
    with pytest.raises(ValueError, match="attention at 64 pixels is never reached: features here have 4, 8, 16 pixels"):
        check_attended((8, 64), (16, 8, 4, 8))
