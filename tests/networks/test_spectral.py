"""Spectral normalisation against NumPy's SVD and equalised rates against a calculator. One power iteration against
PyTorch's, with gradients, is in test_layers_pytorch.py."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgan.networks.layers import Conv, ConvTranspose, Dense, Embed, equalized, spectral

IN, OUT = 3, 4


def seen_through(rank, kernel, transposed=False):
    """Returns images that show a kernel as it is used: each has a single 1, at another tap and channel."""
    if transposed:
        return np.eye(IN, dtype=np.float32).reshape(IN, *(1,) * rank, IN)
    size = kernel**rank * IN
    return np.eye(size, dtype=np.float32).reshape(size, *(kernel,) * rank, IN)


LAYERS = {
    "Dense": (functools.partial(Dense, OUT, use_bias=False), np.eye(IN, dtype=np.float32)),
    "Embed": (functools.partial(Embed, 5, OUT), np.arange(5)),
    "Conv 1-D": (functools.partial(Conv, OUT, 4, use_bias=False), seen_through(1, 4)),
    "Conv 2-D": (functools.partial(Conv, OUT, 3, use_bias=False), seen_through(2, 3)),
    "Conv 3-D": (functools.partial(Conv, OUT, 2, use_bias=False), seen_through(3, 2)),
    "ConvTranspose 1-D": (functools.partial(ConvTranspose, OUT, 4, use_bias=False), seen_through(1, 4, True)),
    "ConvTranspose 2-D": (functools.partial(ConvTranspose, OUT, 3, 2, use_bias=False), seen_through(2, 3, True)),
    "ConvTranspose 3-D": (functools.partial(ConvTranspose, OUT, 2, use_bias=False), seen_through(3, 2, True)),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def matrix_of(name, shown):
    """Returns the layer's outputs for those images as the matrix that is normalised: outputs by everything else."""
    shown = np.asarray(shown, np.float64)
    return shown if name == "Embed" else np.moveaxis(shown, -1, 0).reshape(OUT, -1)


def largest(matrix):
    return np.linalg.svd(matrix, compute_uv=False)[0]


def turned(layer, variables, x, times):
    for _ in range(times):
        _, changed = layer.apply(variables, x, mutable=["spectral"])
        variables = {**variables, **changed}
    return variables


@every_layer
def test_the_norm_is_one_after_enough_turns(name):
    factory, x = LAYERS[name]
    layer = spectral(factory, turns=50)()
    variables = jax.jit(layer.init)(jax.random.key(3), x)
    variables["params"] = jax.tree.map(lambda leaf: 3 * leaf + 0.1, variables["params"])
    variables = jax.jit(functools.partial(turned, layer, times=4))(variables, x)
    (_, state), (_, weight) = *variables["spectral"].items(), *variables["params"].items()
    used = matrix_of(name, layer.apply(variables, x))
    plain = matrix_of(name, factory().apply({"params": variables["params"]}, x))
    assert largest(used) == pytest.approx(1, abs=1e-5)
    assert largest(plain) > 2, "the weight as it is learned has another norm"
    sigma = np.asarray(state["u"], np.float64) @ np.asarray(layer.matrix(weight), np.float64) @ np.asarray(state["v"])
    assert sigma == pytest.approx(largest(plain), rel=1e-5)
    np.testing.assert_allclose(used, plain / largest(plain), atol=1e-5)


@every_layer
def test_a_new_layer_has_turned_already(name):
    """After fifteen iterations σ is near the norm, and never above it; u and v have length one."""
    factory, x = LAYERS[name]
    layer = spectral(factory)()
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    (state,) = variables["spectral"].values()
    assert [np.linalg.norm(state[each]) for each in "uv"] == pytest.approx([1, 1], abs=1e-6)
    used = matrix_of(name, layer.apply(variables, x))
    assert 1 - 1e-6 < largest(used) < 1.1
    plain = jax.jit(factory().init)(jax.random.key(0), x)["params"]  # two programs, which may round otherwise
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), variables["params"], plain)


def test_it_turns_once_where_it_may_and_is_frozen_elsewhere():
    factory, x = LAYERS["Conv 2-D"]
    layer = spectral(factory)()
    variables = layer.init(jax.random.key(0), x)
    grown = {**variables, "params": {"kernel": variables["params"]["kernel"] + 0.3}}
    old = variables["spectral"]["kernel"]
    weight = np.asarray(layer.matrix(grown["params"]["kernel"]), np.float64)
    plain = np.asarray(factory().apply({"params": grown["params"]}, x), np.float64)

    _, changed = layer.apply(grown, x, mutable=["batch_stats"])
    assert "spectral" not in changed
    by_hand = np.asarray(old["u"], np.float64) @ weight @ np.asarray(old["v"], np.float64)
    np.testing.assert_allclose(layer.apply(grown, x), plain / by_hand, rtol=1e-5, atol=1e-6)

    y, changed = layer.apply(grown, x, mutable=["spectral"])
    u = weight @ old["v"] / np.linalg.norm(weight @ old["v"])
    v = weight.T @ u / np.linalg.norm(weight.T @ u)
    np.testing.assert_allclose(changed["spectral"]["kernel"]["u"], u, atol=1e-6)
    np.testing.assert_allclose(changed["spectral"]["kernel"]["v"], v, atol=1e-6)
    np.testing.assert_allclose(y, plain / (u @ weight @ v), rtol=1e-5, atol=1e-6)

    three = spectral(factory, turns=3)().apply(grown, x, mutable=["spectral"])[1]
    one_by_one = turned(layer, grown, x, 3)
    for each in "uv":
        np.testing.assert_allclose(three["spectral"]["kernel"][each], one_by_one["spectral"]["kernel"][each], atol=1e-6)


def test_derivatives_of_both_orders_take_u_and_v_for_constants():
    factory, x = LAYERS["Conv 2-D"]
    x = x[:4]
    layer = spectral(factory)()
    variables = layer.init(jax.random.key(0), x)
    with jax.enable_x64(True):
        layer = layer.clone(dtype=jnp.float64)
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
        state, x = {"spectral": wide["spectral"]}, x.astype(np.float64)
        function = lambda params, x: jnp.tanh(layer.apply({"params": params, **state}, x))  # noqa: E731
        check_grads(jax.jit(function), (wide["params"], x), order=2, atol=1e-6, rtol=1e-6)

        # In a pass that turns, the gradient is that of a frozen pass with what it leaves behind.
        def turning(params):
            y, changed = layer.apply({"params": params, **state}, x, mutable=["spectral"])
            return jnp.sum(y**3), changed

        got, changed = jax.grad(turning, has_aux=True)(wide["params"])
        want = jax.grad(lambda params: jnp.sum(layer.apply({"params": params, **changed}, x) ** 3))(wide["params"])
        np.testing.assert_allclose(got["kernel"], want["kernel"], rtol=1e-12)


def test_of_many_seeds_at_once_each_turns_for_itself():
    factory, x = LAYERS["Dense"]
    layer = spectral(factory)()
    variables = jax.vmap(lambda key: layer.init(key, x))(jax.random.split(jax.random.key(0), 3))
    run = lambda variables: layer.apply(variables, x, mutable=["spectral"])  # noqa: E731
    got = jax.vmap(run)(variables)
    for i in range(3):
        want = run(jax.tree.map(lambda leaf, i=i: leaf[i], variables))
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a[i], b, atol=1e-6)


def test_only_the_weight_is_divided_and_computed_in_float32():
    layer = spectral(functools.partial(Dense, OUT, dtype=jnp.bfloat16))()
    x = np.ones((2, IN), np.float32)
    variables = layer.init(jax.random.key(0), x)
    params = {"kernel": variables["params"]["kernel"], "bias": np.full(OUT, 100, np.float32)}
    y, changed = layer.apply({**variables, "params": params}, x, mutable=["spectral"])
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(changed)} == {jnp.dtype("float32")}
    assert np.all(np.abs(np.asarray(y, np.float32) - 100) < 3)


def test_factories_compose_in_any_order():
    x = np.ones((1, 5, 5, 2), np.float32)
    ways = [
        spectral(functools.partial(Conv, groups=2), turns=2)(4, 3),
        functools.partial(spectral(Conv, turns=2), groups=2)(4, 3),
        functools.partial(functools.partial(spectral(Conv, turns=2)), groups=2)(4, 3),
    ]
    first, *others = [jax.tree.leaves(layer.init_with_output(jax.random.key(0), x)) for layer in ways]
    for other in others:
        assert all(map(np.array_equal, first, other))
    assert ways[0] == ways[1] == ways[2], "equal layers are equal, as jit's static arguments have to be"


@pytest.mark.parametrize("around", [spectral, equalized])
def test_other_layers_are_refused(around):
    with pytest.raises(
        ValueError, match=rf"{around.__name__}\(\) takes Conv, ConvTranspose, Dense or Embed .* got Conv"
    ):
        around(nn.Conv)
    with pytest.raises(ValueError, match="a layer whose weights are learned as they are, got _Spectral"):
        around(spectral(Conv))
    with pytest.raises(ValueError, match="turns must be at least 1, got 0"):
        spectral(Conv, turns=0)
    with pytest.raises(ValueError, match="lr_multiplier must be above 0, got 0"):
        equalized(Conv, lr_multiplier=0)


def test_an_equalised_layer_draws_n01_and_keeps_the_size_of_what_passes():
    """He's variance in use, 2 / inputs, whatever the rate and the layer's own initialiser; within 5 standard errors."""
    for rate in (1.0, 0.01):
        layer = equalized(functools.partial(Conv, 128, 3, kernel_init=nn.initializers.zeros), lr_multiplier=rate)()
        x = np.random.default_rng(0).standard_normal((1, 3, 3, 64)).astype(np.float32)
        variables = layer.init(jax.random.key(0), x)
        kernel = np.asarray(variables["params"]["kernel"], np.float64)
        assert np.std(kernel) * rate == pytest.approx(1, rel=5 / np.sqrt(2 * kernel.size))
        y = layer.apply(variables, x)
        by_hand = np.tensordot(x[0], kernel * rate * np.sqrt(2 / (9 * 64)), 3)
        np.testing.assert_allclose(y[0, 0, 0], by_hand, rtol=1e-4, atol=1e-5)


def test_an_equalised_bias_starts_where_it_is_told_and_learns_at_the_rate():
    layer = equalized(functools.partial(Dense, 2, bias_init=nn.initializers.ones), lr_multiplier=0.01)()
    x = np.zeros((1, 3), np.float32)
    variables = layer.init(jax.random.key(0), x)
    np.testing.assert_allclose(variables["params"]["bias"], [100, 100])
    np.testing.assert_allclose(layer.apply(variables, x), [[1, 1]])
    gradient = jax.grad(lambda params: jnp.sum(layer.apply({"params": params}, x)))(variables["params"])
    np.testing.assert_allclose(gradient["bias"], [0.01, 0.01])
