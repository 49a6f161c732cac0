"""Layers: every form of each convolution against NumPy loops and each other, and batch normalisation against NumPy."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks import convolution, products
from jaxgan.networks.convolution import conv, conv_transpose
from jaxgan.networks.layers import BatchNorm, Conv, ConvTranspose, Dropout

# (kernel, stride, padding): DCGAN's, its paper's 5×5, ResNet's, a projection, a pointwise one, a kernel smaller than
# its stride, and one that is no multiple of it.
GEOMETRIES = [(4, 2, 1), (5, 2, 2), (3, 1, 1), (3, 2, 1), (4, 1, 0), (1, 1, 0), (1, 2, 0), (4, 3, 1)]
IN, OUT = 2, 3
PUBLIC = {"conv": conv, "conv_transpose": conv_transpose}


def conv_by_hand(x, w, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    k = w.shape[0]
    y = np.zeros((len(x), (x.shape[1] - k) // stride + 1, (x.shape[2] - k) // stride + 1, w.shape[3]))
    for i, j in np.ndindex(y.shape[1:3]):
        for a, b in np.ndindex(k, k):
            y[:, i, j] += x[:, stride * i + a, stride * j + b] @ w[a, b]
    return y


def conv_transpose_by_hand(x, w, stride, padding):
    k = w.shape[0]
    y = np.zeros((len(x), (x.shape[1] - 1) * stride + k, (x.shape[2] - 1) * stride + k, w.shape[3]))
    for i, j in np.ndindex(x.shape[1:3]):
        for a, b in np.ndindex(k, k):
            y[:, stride * i + a, stride * j + b] += x[:, i, j] @ w[a, b]
    return y[:, padding : y.shape[1] - padding, padding : y.shape[2] - padding]


BY_HAND = {"conv": conv_by_hand, "conv_transpose": conv_transpose_by_hand}

every_operation = pytest.mark.parametrize("operation", PUBLIC)
every_geometry = pytest.mark.parametrize("kernel, stride, padding", GEOMETRIES)


def _arrays(kernel, height=5, width=6):
    random = np.random.default_rng(0)
    return (
        random.standard_normal((2, height, width, IN)).astype(np.float32),
        random.standard_normal((kernel, kernel, IN, OUT)).astype(np.float32),
    )


def _close(got, want, tolerance=1e-5):
    """Compares up to `tolerance` of the largest entry: sums of products err in proportion to their largest terms."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(1.0, np.max(np.abs(want))))


def forms_of(geometry):
    """Returns the three functions of a primitive for each form: forwards, to the input, to the kernel."""
    names = ("forward", "to_input", "to_kernel")
    native = (convolution._forward, convolution._to_input, convolution._to_kernel)
    forms = {"native": [functools.partial(form, **geometry) for form in native]}
    forms["chosen"] = [functools.partial(getattr(products, name), **geometry) for name in names]
    forms["patches"] = [getattr(products.Patches(**geometry), name) for name in names]
    tiles = products.Tiles(**geometry)
    if tiles.taps in products.TAPS:
        forms["tiles"] = [getattr(tiles, name) for name in names]
    return forms


@pytest.mark.slow
@every_geometry
@pytest.mark.parametrize("size, channels", [((5, 6), (2, 3)), ((9, 8), (3, 2))])
def test_every_form_against_loops_and_each_other(size, kernel, stride, padding, channels):
    """In float64, so that a wrong sum can't hide in rounding."""
    geometry = {"stride": stride, "padding": padding, "size": size, "kernel": (kernel, kernel)}
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, k = random.standard_normal((2, *size, channels[0])), random.standard_normal((kernel, kernel, *channels))
        want_y = conv_by_hand(x, k, stride, padding)
        y = random.standard_normal(want_y.shape)
        forms = forms_of(geometry)

        # By hand the two transposes are known through ⟨conv(x, k), y⟩ = ⟨x, to_input(y, k)⟩ = ⟨k, to_kernel(x, y)⟩.
        def all_of_them(x, k, y):
            pairs = ((x, k), (y, k), (x, y))
            return {name: [one(*pair) for one, pair in zip(form, pairs, strict=True)] for name, form in forms.items()}

        # Compiling is all that takes time here, so LLVM is told to be brief.
        found = jax.jit(all_of_them, compiler_options={"xla_backend_optimization_level": 0})(x, k, y)
        _, *wanted = found["native"]
        for have, through in zip(wanted, (x, k), strict=True):
            np.testing.assert_allclose(np.vdot(have, through), np.vdot(want_y, y), rtol=1e-9)
        for name, arrays in found.items():
            for got, want in zip(arrays, (want_y, *wanted), strict=True):
                assert got.shape == want.shape, name
                np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * max(1, np.abs(want).max()), err_msg=name)


def test_each_geometry_gets_the_form_with_fewer_products():
    def chosen(channels, features, dtype=jnp.float32, **geometry):
        return type(products._form(dtype, channels, features, geometry)).__name__

    dcgan = {"stride": 2, "padding": 1, "size": (16, 16), "kernel": (4, 4)}
    residual = {"stride": 1, "padding": 1, "size": (16, 16), "kernel": (3, 3)}
    assert chosen(64, 128, **dcgan) == chosen(128, 128, **residual) == "Tiles"
    assert chosen(3, 64, **dcgan) == chosen(64, 3, **dcgan) == chosen(3, 64, **residual) == "Patches"
    assert chosen(64, 3, **residual) == "NoneType", "seen as the transpose, with patches of 3 channels"
    assert chosen(64, 128, jnp.bfloat16, **dcgan) == "Patches", "sums of eight bits would lose too many"
    assert chosen(64, 64, **{**dcgan, "kernel": (3, 3)}) == "Patches", "36 multiplications in place of 36"


@pytest.mark.slow
@pytest.mark.parametrize("channels", [(2, 3), (16, 16)])
@every_operation
def test_derivatives_of_every_order_and_mode(operation, channels):
    """Reverse over reverse, as penalties need it, forward over reverse and reverse over forward, against XLA's own."""
    random = np.random.default_rng(1)
    x = random.standard_normal((2, 4, 6, channels[0])).astype(np.float32)
    k = random.standard_normal((4, 4, *channels)).astype(np.float32)

    def native(x, k, *, stride, padding):
        (height, width), kernel = x.shape[1:3], k.shape[:2]
        if operation == "conv":
            return convolution._forward(x, k, stride=stride, padding=padding)
        size = [(n - 1) * stride - 2 * padding + kernel[0] for n in (height, width)]
        return convolution._to_input(x, k.swapaxes(2, 3), stride=stride, padding=padding, size=size, kernel=kernel)

    def everything(function):
        def scalar(x, k):  # not linear, so that the second derivatives see every part
            return jnp.sum(jnp.tanh(0.1 * function(x, k, stride=2, padding=1)) ** 2)

        def values(x, k):
            first, pull_back = jax.vjp(jax.grad(scalar, (0, 1)), x, k)
            forward = jax.jvp(jax.grad(scalar, (0, 1)), (x, k), first)[1]
            reverse = jax.grad(lambda x, k: jax.jvp(scalar, (x, k), first)[1], (0, 1))(x, k)
            return first, pull_back(first), forward, reverse

        return jax.jit(values)(x, k)

    for got, want in zip(*map(jax.tree.leaves, (everything(PUBLIC[operation]), everything(native))), strict=True):
        _close(got, want, 1e-4)


def gradients_of(operation):
    """Returns gradients of a function that isn't linear, and of a gradient penalty."""
    function = functools.partial(PUBLIC[operation], stride=2, padding=1)

    def values(x, k):
        scalar = lambda x, k: jnp.mean(jnp.tanh(0.1 * function(x, k)) ** 2)  # noqa: E731
        penalty = jax.grad(lambda k: jnp.mean(jax.grad(scalar)(x, k) ** 2))
        return jax.grad(scalar, (0, 1))(x, k), penalty(k)

    return function, values


@pytest.mark.slow
@pytest.mark.parametrize("channels", [(2, 3), (16, 16)])
@pytest.mark.parametrize("check_vma", [True, False])
@every_operation
def test_under_shard_map(operation, check_vma, channels):
    """Values and derivatives of images that are spread over devices, with a kernel that isn't."""
    function, values = gradients_of(operation)
    random = np.random.default_rng(1)
    x = random.standard_normal((4, 4, 6, channels[0])).astype(np.float32)
    k = random.standard_normal((4, 4, *channels)).astype(np.float32)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("data",))
    spread, whole = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    specs = {"mesh": mesh, "in_specs": (spread, whole), "check_vma": check_vma}
    _close(jax.jit(jax.shard_map(function, out_specs=spread, **specs))(x, k), jax.jit(function)(x, k))

    def shared(x, k):  # gradients by the kernel of one's own, then their mean
        (dx, dk), dp = values(x, jax.lax.pcast(k, "data", to="varying") if check_vma else k)
        return dx, jax.lax.pmean((dk, dp), "data")

    got_dx, got = jax.jit(jax.shard_map(shared, out_specs=(spread, whole), **specs))(x, k)
    halves = [jax.jit(values)(half, k) for half in np.split(x, 2)]
    _close(got_dx, np.concatenate([half[0][0] for half in halves]))
    for each, want in zip(got, zip(*((half[0][1], half[1]) for half in halves), strict=True), strict=True):
        _close(each, np.mean(want, 0))


@every_operation
def test_a_mesh_with_explicit_axes_is_refused_but_under_shard_map(operation):
    function, _ = gradients_of(operation)
    x, k = _arrays(4)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    spread, whole = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    x = jax.device_put(x, jax.sharding.NamedSharding(mesh, spread))
    with pytest.raises(ValueError, match="a mesh with explicit axes; make it with automatic ones"):
        jax.jit(function)(x, k)
    mapped = jax.shard_map(function, mesh=mesh, in_specs=(spread, whole), out_specs=spread)
    _close(jax.jit(mapped)(x, k), jax.jit(function)(np.asarray(x), k))


@every_operation
def test_what_vmap_shares_is_not_copied(operation):
    x, k = _arrays(4)
    mapped = jax.vmap(functools.partial(PUBLIC[operation], stride=2, padding=1), (0, None))
    jaxpr = str(jax.make_jaxpr(mapped)(np.stack([x] * 7), k))
    assert "[7,4,4," not in jaxpr and "[7,2,5,6," in jaxpr


@every_operation
def test_it_is_linear_in_both(operation):
    x, k = _arrays(4)
    function = functools.partial(PUBLIC[operation], stride=2, padding=1)
    y = np.ones(jax.eval_shape(function, x, k).shape, np.float32)
    (by_x,) = jax.linear_transpose(lambda x: function(x, k), x)(y)
    (by_k,) = jax.linear_transpose(lambda k: function(x, k), k)(y)
    want = jax.jit(jax.grad(lambda x, k: jnp.sum(function(x, k)), (0, 1)))(x, k)
    _close(by_x, want[0])
    _close(by_k, want[1])


@every_operation
def test_empty_batches_integers_and_oblong_kernels(operation):
    function = functools.partial(PUBLIC[operation], stride=1, padding=1)
    x, k = _arrays(3)
    assert function(x[:0], k).shape == (0, 5, 6, OUT)
    whole = np.arange(2 * 4 * 4 * 16).reshape(2, 4, 4, 16) % 7, np.arange(9 * 16 * 16).reshape(3, 3, 16, 16) % 5
    got = function(*(array.astype(np.int32) for array in whole))
    np.testing.assert_array_equal(got, BY_HAND[operation](*(array.astype(float) for array in whole), 1, 1))
    for channels in ((2, 3), (3, 2)):
        oblong = np.random.default_rng(3).standard_normal((3, 5, *channels)).astype(np.float32)
        image = np.ones((2, 5, 6, channels[0]), np.float32)
        extra = (0, 2) if operation == "conv_transpose" else (0, -2)
        assert function(image, oblong).shape == (2, 5 + extra[0], 6 + extra[1], channels[1])


@every_operation
def test_what_does_not_fit_is_refused(operation):
    function = functools.partial(PUBLIC[operation], stride=2)
    with pytest.raises(ValueError, match=r"expected images \[B, H, W, C\]"):
        jax.eval_shape(functools.partial(function, padding=1), np.ones((1, 8, 8, 2)), np.ones((4, 4, 1, 4)))
    with pytest.raises(ValueError, match="leave nothing"):
        jax.eval_shape(
            functools.partial(function, padding=0 if operation == "conv" else 9),
            np.ones((1, 2, 2, 2)),
            np.ones((4, 4, 2, 4)),
        )


@every_operation
def test_the_public_function_is_what_loops_say(operation):
    """It equals the loops eagerly, under jit and under vmap over kernels (many seeds at once)."""
    public = PUBLIC[operation]
    x, _ = _arrays(4)
    kernels = np.random.default_rng(2).standard_normal((3, 4, 4, IN, OUT)).astype(np.float32)
    want = [BY_HAND[operation](x.astype(np.float64), w.astype(np.float64), 2, 1) for w in kernels]
    apply = lambda x, w: public(x, w, stride=2, padding=1)  # noqa: E731
    _close(apply(x, kernels[0]), want[0])
    _close(jax.jit(jax.vmap(apply, (None, 0)))(x, kernels), want)
    _close(jax.jit(jax.vmap(apply))(np.stack([x] * 3), kernels), want)


@every_operation
def test_bfloat16_stays_bfloat16(operation):
    x, w = (jnp.asarray(a, jnp.bfloat16) for a in _arrays(4))
    want = BY_HAND[operation](*(np.asarray(a, np.float64) for a in (x, w)), 2, 1)
    y = jax.jit(functools.partial(PUBLIC[operation], stride=2, padding=1))(x, w)
    assert y.dtype == jnp.bfloat16
    _close(np.asarray(y, np.float64), want, 0.02)  # eight bits of mantissa


@every_operation
@pytest.mark.parametrize("order", [0, 1, 2])
def test_each_platform_gets_its_own_form(operation, order):
    """Up to a gradient penalty's derivative, GPUs and TPUs have convolutions only, the CPU products only."""
    public = PUBLIC[operation]

    def function(x, w):
        scalar = lambda x, w: jnp.sum(jnp.tanh(public(x, w, stride=2, padding=1)))  # noqa: E731
        if order == 0:
            return scalar(x, w)
        if order == 1:
            return jax.grad(scalar, (0, 1))(x, w)
        return jax.grad(lambda x, w: jnp.sum(jax.grad(scalar)(x, w) ** 2), (0, 1))(x, w)

    traced = jax.jit(function).trace(*_arrays(4))
    for platform in ("cuda", "tpu", "cpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        present, absent = ("convolution", "dot_general")[:: -1 if platform == "cpu" else 1]
        assert f"stablehlo.{present}" in text and f"stablehlo.{absent}" not in text, platform


@pytest.mark.parametrize("module, shape", [(Conv, (2, 2, 3, 5)), (ConvTranspose, (2, 10, 12, 5))])
def test_modules_have_a_kernel_and_a_bias_or_none(module, shape):
    x = jnp.ones((2, 5, 6, IN))
    layer = module(5, 4, 2, 1)
    y, variables = jax.jit(lambda k: layer.init_with_output(k, x))(jax.random.key(0))
    assert jax.tree.map(jnp.shape, variables) == {"params": {"kernel": (4, 4, IN, 5), "bias": (5,)}}
    assert y.shape == shape
    kernel = variables["params"]["kernel"]
    operation = "conv" if module is Conv else "conv_transpose"
    by_hand = BY_HAND[operation](np.ones(x.shape), np.asarray(kernel, np.float64), 2, 1)
    _close(y, by_hand)  # the bias starts at 0
    shifted = jax.jit(layer.apply)({"params": {"kernel": kernel, "bias": jnp.arange(5.0)}}, x)
    _close(shifted, by_hand + np.arange(5.0))
    without = layer.clone(use_bias=False)
    _close(jax.jit(without.apply)({"params": {"kernel": kernel}}, x), by_hand)
    assert jax.eval_shape(layer.clone(dtype=jnp.bfloat16).apply, variables, x).dtype == jnp.bfloat16


# Batch normalisation, Ioffe & Szegedy 2015 (arXiv 1502.03167), algorithm 1; the running variance is the biased one.

_random = np.random.default_rng(3)
IMAGES = (2 + 3 * _random.standard_normal((4, 3, 2, 2))).astype(np.float32)
VARIABLES = {
    "params": {"scale": np.array([0.5, 2.0], np.float32), "bias": np.array([1.0, -1.0], np.float32)},
    "batch_stats": {"mean": np.array([0.1, -0.2], np.float32), "var": np.array([2.0, 0.5], np.float32)},
}


def _normalised(x, mean, var):
    scale, bias = (VARIABLES["params"][name].astype(np.float64) for name in ("scale", "bias"))
    return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def _batch_norm(x, layer=None, train=True, mutable=("batch_stats",)):
    layer = layer or BatchNorm()
    return layer.apply(VARIABLES, x, train=train, mutable=list(mutable))


def _moments(x):
    x = x.astype(np.float64).reshape(-1, x.shape[-1])
    return x.mean(0), x.var(0)


@pytest.mark.parametrize("shape", [IMAGES.shape, (24, 2)])
def test_batch_norm_in_training(shape):
    x = IMAGES.reshape(shape)
    mean, var = _moments(x)
    y, changed = jax.jit(_batch_norm)(x)
    _close(y, _normalised(x.astype(np.float64), mean, var))
    old = VARIABLES["batch_stats"]
    _close(changed["batch_stats"]["mean"], 0.9 * old["mean"] + 0.1 * mean, 1e-6)
    _close(changed["batch_stats"]["var"], 0.9 * old["var"] + 0.1 * var, 1e-6)
    _, changed = _batch_norm(x, BatchNorm(momentum=0.25))
    _close(changed["batch_stats"]["mean"], 0.25 * old["mean"] + 0.75 * mean, 1e-6)


def test_batch_norm_writes_only_what_is_mutable():
    y, changed = _batch_norm(IMAGES, mutable=())
    assert not changed
    _close(y, _batch_norm(IMAGES)[0])
    _close(BatchNorm().apply(VARIABLES, IMAGES, train=True), y)


def test_batch_norm_in_evaluation():
    old = VARIABLES["batch_stats"]
    y, changed = _batch_norm(IMAGES, train=False)
    _close(y, _normalised(IMAGES.astype(np.float64), old["mean"], old["var"]))
    for name, value in changed.get("batch_stats", {}).items():
        np.testing.assert_array_equal(value, old[name])


def test_batch_norm_starts_at_the_identity():
    for train in (False, True):
        y, variables = BatchNorm().init_with_output(jax.random.key(0), IMAGES, train=train)
        stats = variables["batch_stats"]
        np.testing.assert_array_equal(stats["mean"], [0.0, 0.0])
        np.testing.assert_array_equal(stats["var"], [1.0, 1.0])
        _close(y, IMAGES / np.sqrt(1 + 1e-5))


def test_batch_norm_over_devices_is_that_of_the_global_batch():
    """Values, running statistics and gradients with respect to the images, which reach from one shard into
    the other."""
    weights = np.random.default_rng(4).standard_normal(IMAGES.shape).astype(np.float32)
    halves = lambda x: x.reshape(2, -1, *x.shape[1:])  # noqa: E731
    sharded = jax.vmap(lambda x: _batch_norm(x, BatchNorm(axis_name="devices")), axis_name="devices")
    (y, changed), (want, want_changed) = jax.jit(sharded)(halves(IMAGES)), jax.jit(_batch_norm)(IMAGES)
    _close(y, halves(want))
    for got, expected in zip(jax.tree.leaves(changed), jax.tree.leaves(want_changed), strict=True):
        _close(got, np.stack([expected] * 2), 1e-6)
    got = jax.jit(jax.grad(lambda x: jnp.sum(halves(weights) * sharded(x)[0])))(halves(IMAGES))
    want = jax.jit(jax.grad(lambda x: jnp.sum(weights * _batch_norm(x)[0])))(IMAGES)
    _close(got, halves(want))
    alone, _ = jax.vmap(_batch_norm)(halves(IMAGES))
    assert np.max(np.abs(alone - halves(np.asarray(y)).reshape(alone.shape))) > 0.01  # the test can tell the two apart


def test_batch_norm_keeps_its_statistics_in_float32():
    """At 1000 ± 3 bfloat16's steps are 4 wide; the sum and the moving averages must not be computed in it."""
    x = jnp.asarray(1000 + IMAGES, jnp.bfloat16)
    y, changed = jax.jit(lambda x: _batch_norm(x, BatchNorm(dtype=jnp.bfloat16)))(x)
    assert y.dtype == jnp.bfloat16
    mean, var = _moments(np.asarray(x, np.float32))
    stats, old = changed["batch_stats"], VARIABLES["batch_stats"]
    assert stats["mean"].dtype == stats["var"].dtype == jnp.float32
    np.testing.assert_allclose(stats["mean"], 0.9 * old["mean"] + 0.1 * mean, rtol=1e-6)
    np.testing.assert_allclose(stats["var"], 0.9 * old["var"] + 0.1 * var, rtol=1e-5)
    want = _normalised(np.asarray(x, np.float64), mean, var)
    _close(np.asarray(y, np.float64), want, 0.01)


class Dropping(nn.Module):
    """Two of the same rate in training, by our layer or by Linen's."""

    ours: bool
    rate: float

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = Dropout(self.rate)(x, train=True) if self.ours else nn.Dropout(self.rate, deterministic=False)(x)
        return x


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 0.9])
def test_dropout_draws_what_linens_draws(rate, dtype):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((64, 5)), dtype)
    mine, theirs = (Dropping(ours, rate).apply({}, x, rngs={"dropout": jax.random.key(3)}) for ours in (True, False))
    assert mine.dtype == theirs.dtype == dtype
    np.testing.assert_array_equal(mine, theirs)
    assert bool(jnp.any(mine == 0)) == (rate > 0)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0])
def test_a_rate_of_dropout_is_below_1(rate):
    with pytest.raises(ValueError, match=f"rate of dropout from 0 to below 1, got {rate}"):
        Dropout(rate).apply({}, jnp.ones(3), train=True, rngs={"dropout": jax.random.key(3)})
