"""Convolution layers: the form each of them uses, their errors, transforms of jax. PyTorch's numbers are in
test_layers_pytorch.py, NumPy's loops in test_layers.py."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgan.networks import convolution
from jaxgan.networks.layers import Conv, ConvTranspose, Dense, Embed

RANDOM = np.random.default_rng(0)
SHAPES = {1: (2, 7, 4), 2: (2, 5, 6, 4), 3: (2, 4, 3, 4, 4)}
IMAGES = {n: RANDOM.standard_normal(shape).astype(np.float32) for n, shape in SHAPES.items()}

PLAIN = [
    Conv(4, 3, 1, 1),
    Conv(4, (3, 5), (2, 2), (1, 1)),
    Conv(4, 3, padding=1, padding_mode="reflect"),
    Conv(4, 3, padding=1, padding_mode="circular"),
    Conv(4, 3, groups=2),
    ConvTranspose(4, 4, 2, 1),
    ConvTranspose(4, 3, 2, 1, output_padding=1),
]
OTHERS = [
    (2, Conv(4, 3, groups=2, dilation=2)),
    (2, Conv(4, 3, dilation=2)),
    (2, Conv(4, 3, (1, 2))),
    (2, Conv(4, 3, 1, (1, 0))),
    (1, Conv(4, 3)),
    (3, Conv(4, 3)),
    (2, ConvTranspose(4, 3, groups=2)),
    (2, ConvTranspose(4, 3, dilation=2)),
    (2, ConvTranspose(4, 3, 2, output_padding=(0, 1))),
    (1, ConvTranspose(4, 3)),
    (3, ConvTranspose(4, 3)),
]


def drawn(layer, x):
    variables = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
    return jax.tree.map(lambda leaf: RANDOM.standard_normal(leaf.shape).astype(np.float32), variables)


def forms(layer, x):
    """Returns the primitives of the layer and its gradients on a CPU."""
    loss = lambda variables, x: jnp.sum(jnp.tanh(layer.apply(variables, x)))  # noqa: E731
    text = jax.jit(jax.grad(loss, (0, 1))).trace(drawn(layer, x), x).lower(lowering_platforms=("cpu",)).as_text()
    return {form for form in ("convolution", "dot_general") if f"stablehlo.{form}" in text}


@pytest.mark.parametrize("layer", PLAIN)
def test_plain_ones_of_images_are_the_cpus_products(layer):
    assert forms(layer, IMAGES[2]) == {"dot_general"}


@pytest.mark.parametrize("rank, layer", OTHERS)
def test_all_others_are_xlas(rank, layer):
    assert forms(layer, IMAGES[rank]) == {"convolution"}


REFUSED = [
    (Conv(4, 3, groups=3), (1, 6, 6, 4), r"groups=3 must divide the 4 channels that come in and the 4 that go out"),
    (Conv(6, 3, groups=4), (1, 6, 6, 4), r"groups=4 must divide the 4 channels that come in and the 6 that go out"),
    (Conv(4, 3, groups=0), (1, 6, 6, 4), r"groups=0 must divide"),
    (Conv(4, 3), (6, 4), r"\[B, W, C\], \[B, H, W, C\] or \[B, D, H, W, C\], got the shape \(6, 4\)"),
    (Conv(4, 3), (1, 1, 1, 1, 1, 4), r"got the shape \(1, 1, 1, 1, 1, 4\)"),
    (
        Conv(4, (3, 3)),
        (1, 6, 4),
        r"kernel must be an integer of at least 1, or one for each of the 1 axes of .* \(3, 3\)",
    ),
    (Conv(4, 3, stride=0), (1, 6, 4), r"stride must be an integer of at least 1.* got 0"),
    (Conv(4, 3, padding=(1, -1)), (1, 6, 6, 4), r"padding must be an integer of at least 0.* got \(1, -1\)"),
    (Conv(4, 3, dilation=(1, 2, 3)), (1, 6, 6, 4), r"dilation .* one for each of the 2 axes .* got \(1, 2, 3\)"),
    (
        Conv(4, 3, padding=5, padding_mode="reflect"),
        (1, 5, 4),
        r"'reflect' has \(4,\) pixels to pad \(5,\) with, got .*5",
    ),
    (Conv(4, 3, padding=(1, 6), padding_mode="circular"), (1, 9, 5, 4), r"'circular' has \(9, 5\) pixels"),
    (Conv(4, 3, padding_mode="mirror"), (1, 9, 4), r"one of zeros, reflect, replicate, circular, got 'mirror'"),
    (Conv(4, 5), (1, 4, 4), r"an image of \(4,\) and a kernel of \(5,\) leave nothing"),
    (Conv(4, 3, dilation=2), (1, 4, 4, 4), r"an image of \(4, 4\) and a kernel of \(3, 3\) leave nothing"),
    (Conv(4, 5), (1, 4, 4, 4), r"leave nothing"),
    (ConvTranspose(4, 2, padding=3), (1, 3, 4), r"an image of \(3,\) and a kernel of \(2,\) leave nothing"),
    (
        ConvTranspose(4, 3, 2, output_padding=2),
        (1, 3, 4),
        r"below the stride \(2,\) or the dilation \(1,\), got \(2,\)",
    ),
]


@pytest.mark.parametrize("layer, shape, message", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(layer, shape, message):
    with pytest.raises(ValueError, match=message) as error:
        jax.eval_shape(lambda: layer.init(jax.random.key(0), jnp.zeros(shape)))
    assert "\n" not in str(error.value)


def test_the_widest_padding_that_an_image_has_is_taken():
    x = np.arange(3.0, dtype=np.float32).reshape(1, 3, 1)
    layer = functools.partial(Conv, 1, 1, use_bias=False)
    one = {"params": {"kernel": np.ones((1, 1, 1), np.float32)}}
    for mode, want in {"reflect": [2, 1, 0, 1, 2, 1, 0], "replicate": [0, 0, 0, 1, 2, 2, 2]}.items():
        np.testing.assert_array_equal(layer(padding=2, padding_mode=mode).apply(one, x)[0, :, 0], want)
    around = layer(padding=3, padding_mode="circular").apply(one, x)
    np.testing.assert_array_equal(around[0, :, 0], [0, 1, 2] * 3)


TRANSFORMED = [
    (1, Conv(2, 3, 2, 1, groups=2)),
    (2, Conv(2, 3, 1, 2, dilation=2, padding_mode="reflect")),
    (3, Conv(2, (1, 3, 2))),
    (1, ConvTranspose(2, 3, 2, output_padding=1)),
    (2, ConvTranspose(2, 3, (2, 1), groups=2)),
    (3, ConvTranspose(2, 2, 2)),
]


@pytest.mark.slow
@pytest.mark.parametrize("rank, layer", TRANSFORMED)
def test_derivatives_of_both_orders_and_modes(rank, layer):
    with jax.enable_x64(True):
        x = IMAGES[rank][:1, :4, ..., :2].astype(np.float64)
        variables = jax.tree.map(lambda leaf: leaf.astype(np.float64), drawn(layer, x))
        function = lambda variables, x: jnp.tanh(0.1 * layer.clone(dtype=jnp.float64).apply(variables, x))  # noqa: E731
        check_grads(jax.jit(function), (variables, x), order=2, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("rank, layer", TRANSFORMED)
def test_kernels_of_many_seeds_at_once(rank, layer):
    x = IMAGES[rank]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *[drawn(layer, x) for _ in range(3)])
    got = jax.jit(jax.vmap(layer.apply, (0, None)))(stacked, x)
    for i in range(3):
        want = layer.apply(jax.tree.map(lambda leaf, i=i: leaf[i], stacked), x)
        np.testing.assert_allclose(got[i], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("rank, layer", TRANSFORMED)
def test_images_over_devices(rank, layer, check_vma):
    x, whole, spread = IMAGES[rank], jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("data")
    variables = drawn(layer, x)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("data",))
    mapped = jax.shard_map(layer.apply, mesh=mesh, in_specs=(whole, spread), out_specs=spread, check_vma=check_vma)
    np.testing.assert_allclose(jax.jit(mapped)(variables, x), layer.apply(variables, x), rtol=1e-5, atol=1e-5)


def test_a_kernel_in_groups_is_drawn_for_the_inputs_that_it_has():
    """Variance 1 / (C / groups · taps), within five standard errors."""
    for layer in (Conv(64, 3, groups=4), ConvTranspose(64, 3, groups=4)):
        kernel = layer.init(jax.random.key(0), np.zeros((1, 8, 64), np.float32))["params"]["kernel"]
        assert kernel.shape == (3, 16, 64)
        assert np.var(kernel) == pytest.approx(1 / 48, rel=5 * np.sqrt(2 / kernel.size))


def test_a_dense_layer_is_linens_bit_for_bit():
    x = RANDOM.standard_normal((3, 5, 7)).astype(np.float32)
    for dtype in (jnp.float32, jnp.bfloat16):
        ours, theirs = Dense(4, dtype=dtype), nn.Dense(4, dtype=dtype)
        variables = ours.init(jax.random.key(0), x)
        np.testing.assert_array_equal(
            variables["params"]["kernel"], theirs.init(jax.random.key(0), x)["params"]["kernel"]
        )
        np.testing.assert_array_equal(ours.apply(variables, x), theirs.apply(variables, x))


def test_embeddings_are_rows_and_refuse_what_no_label_is():
    layer = Embed(3, 2)
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    variables = {"params": {"embedding": table}}
    np.testing.assert_array_equal(layer.apply(variables, jnp.array([2, 0])), table[[2, 0]])
    assert np.all(np.isnan(layer.apply(variables, jnp.array([3, -1]))))
    assert layer.apply(variables, jnp.zeros((0,), jnp.int32)).shape == (0, 2)
    with pytest.raises(ValueError, match=r"integers \[B\] from 0 to 2, got None"):
        layer.apply(variables, None)
    with pytest.raises(ValueError, match=r"integers of shape \(2,\), got float32 of shape \(2,\)"):
        layer.apply(variables, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"got int32 of shape \(\)"):
        layer.apply(variables, jnp.zeros((), jnp.int32))


@pytest.mark.slow
@pytest.mark.parametrize("together", [1, 4, 64])
@pytest.mark.parametrize("stride, channels, features", [(1, 8, 12), (2, 12, 8)])
def test_groups_by_products_are_xlas_in_values_and_derivatives(monkeypatch, together, stride, channels, features):
    """In float64, however many groups are computed at once; reverse over reverse, as a penalty needs it, and forward
    over reverse. The weights of other groups have no part in it."""
    monkeypatch.setattr(convolution, "TOGETHER", together)
    jax.clear_caches()
    random = np.random.default_rng(0)
    x, k = random.standard_normal((2, 6, 5, channels)), random.standard_normal((3, 3, channels // 4, features))
    numbers, pads = ("NHWC", "HWIO", "NHWC"), [(1, 1)] * 2

    def native(x, k):
        return jax.lax.conv_general_dilated(x, k, (stride,) * 2, pads, dimension_numbers=numbers, feature_group_count=4)

    def everything(function):
        def scalar(x, k):
            return jnp.sum(jnp.tanh(function(x, k)) ** 2)

        def values(x, k):
            first = jax.grad(scalar, (0, 1))(x, k)
            squared = jax.grad(lambda x, k: jnp.sum(jax.grad(scalar)(x, k) ** 2), (0, 1))(x, k)
            return function(x, k), first, squared, jax.jvp(jax.grad(scalar, (0, 1)), (x, k), first)[1]

        return values

    with jax.enable_x64(True):
        ours = lambda x, k: convolution.conv(x, k, stride=stride, padding=1, groups=4)  # noqa: E731
        got, want = jax.jit(everything(ours))(x, k), jax.jit(everything(native))(x, k)
        mapped = jax.vmap(ours)(x[:, None], np.stack([k, 2 * k]))
        np.testing.assert_allclose(mapped, want[0][:, None] * np.array([1.0, 2.0]).reshape(2, 1, 1, 1, 1), rtol=1e-9)
    jax.clear_caches()
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11 * np.abs(other).max())


def test_the_native_forms_with_groups_are_each_others_transposes():
    """As GPUs compute them: ⟨conv(x, k), y⟩ = ⟨x, to_input(y, k)⟩ = ⟨k, to_kernel(x, y)⟩, with the groups' blocks."""
    geometry = {"stride": 2, "padding": 1, "size": (5, 6), "kernel": (3, 3), "groups": 2}
    random = np.random.default_rng(0)
    x, k = (random.standard_normal(shape).astype(np.float32) for shape in ((2, 5, 6, 4), (3, 3, 2, 6)))
    conv = convolution._forward(x, k, **geometry)
    y = random.standard_normal(conv.shape).astype(np.float32)
    want = np.vdot(conv, y)
    np.testing.assert_allclose(np.vdot(x, convolution._to_input(y, k, **geometry)), want, rtol=1e-4)
    np.testing.assert_allclose(np.vdot(k, convolution._to_kernel(x, y, **geometry)), want, rtol=1e-4)
    halves = [
        convolution._forward(x[..., i : i + 2], k[..., j : j + 3], stride=2, padding=1) for i, j in ((0, 0), (2, 3))
    ]
    np.testing.assert_allclose(conv, np.concatenate(halves, 3), rtol=1e-5, atol=1e-5)
