"""DCGAN: shapes, parameters and weights as in the paper, and the numbers of PyTorch's layers (golden/dcgan.npz)."""

import pathlib
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from jaxgan.networks import dcgan
from jaxgan.networks.heads import AuxiliaryClassifier, Codes, Logits, Projection
from jaxgan.networks.layers import BatchNorm, ConditionalBatchNorm
from jaxgan.networks.minibatch import MinibatchDiscrimination, MinibatchStdDev

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "dcgan.npz")
LATENT = 5

every_size = pytest.mark.parametrize("size", [16, 28, 32, 64, 128])


def _shapes(module, *inputs):
    """Returns shapes of the variables and of the output in train mode, without computing."""

    def both(*inputs):
        variables = module.init(jax.random.key(0), *inputs, train=False)
        output, changed = module.apply(variables, *inputs, train=True, mutable=["batch_stats"])
        assert jax.tree.map(jnp.shape, changed.get("batch_stats", {})) == jax.tree.map(
            jnp.shape, variables.get("batch_stats", {})
        )
        return variables, output

    return jax.eval_shape(both, *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs))


def _count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _widths(size, features):
    """Returns channels from the image inwards, after its own: features · 1, 2, 4, ... until the map is 4×4 (7×7 for
    28)."""
    base = 7 if size == 28 else 4
    n = int(np.log2(size / base))
    return base, [features * 2**i for i in range(n)]


@every_size
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_generator_shapes_and_parameters(size, channels):
    features = 2
    variables, image = _shapes(dcgan.Generator(size=size, channels=channels, features=features), (6, LATENT))
    assert image.shape == (6, size, size, channels) and image.dtype == jnp.float32
    params, (base, widths) = variables["params"], _widths(size, features)
    inner, *outer = [*reversed(widths), channels]
    count = LATENT * base * base * inner + 2 * inner  # the projection has no bias, its norm a scale and a bias
    for last, out in zip([*[False] * (len(outer) - 1), True], outer, strict=True):
        count += 4 * 4 * inner * out + (out if last else 2 * out)  # the image has a bias, the others a norm
        inner = out
    assert _count(params) == count
    assert _count(variables["batch_stats"]) == 2 * sum(widths)


@every_size
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("norm", [BatchNorm, None])
def test_discriminator_shapes_and_parameters(size, channels, norm):
    features = 2
    module = dcgan.Discriminator(features=features, norm=norm)
    variables, outputs = _shapes(module, (6, size, size, channels))
    base, widths = _widths(size, features)
    assert jax.tree.map(jnp.shape, outputs) == {"logits": (6,), "features": (6, base, base, widths[-1])}
    assert {array.dtype for array in outputs.values()} == {jnp.dtype("float32")}
    count, before = 0, channels
    for i, out in enumerate(widths):
        normed = norm and i > 0  # the paper has none on the discriminator's input layer
        count += 4 * 4 * before * out + (2 * out if normed else out)
        before = out
    assert _count(variables["params"]) == count + base * base * before + 1
    assert _count(variables.get("batch_stats", {})) == (2 * sum(widths[1:]) if norm else 0)


def test_the_sizes_of_the_published_network():
    """Radford et al. 2016, figure 1: 100 numbers become 4×4×1024 and 64×64×3, widths halving; features = 128."""
    variables, _ = _shapes(dcgan.Generator(size=64, channels=3, features=128), (1, 100))
    params = variables["params"]
    kernels = {name: params[name]["kernel"].shape for name in params if "kernel" in params[name]}
    assert kernels == {
        "project": (100, 4 * 4 * 1024),
        "up0": (4, 4, 1024, 512),
        "up1": (4, 4, 512, 256),
        "up2": (4, 4, 256, 128),
        "up3": (4, 4, 128, 3),
    }
    biased = {name for name in params if "bias" in params[name] and "kernel" in params[name]}
    assert biased == {"up3"}
    assert {name for name in params if "scale" in params[name]} == {"norm0", "norm1", "norm2", "norm3"}


def test_kernels_of_five_pixels_as_in_the_paper():
    """Against SciPy's correlation: stride 2, two pixels of zeros on each side."""
    module, random = dcgan.Discriminator(features=2, norm=None, kernel=5), np.random.default_rng(6)
    image = random.normal(size=(2, 16, 16, 3)).astype(np.float32)
    shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), image)
    params = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes["params"])
    outputs = jax.jit(lambda x: module.apply({"params": params}, x, train=True))(image)
    x = image.astype(np.float64)
    for name in ("down0", "down1"):
        kernel, padded = params[name]["kernel"].astype(np.float64), np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
        assert kernel.shape[:2] == (5, 5)
        maps = [
            [signal.correlate(one, kernel[..., k], mode="valid")[::2, ::2, 0] for k in range(kernel.shape[3])]
            for one in padded
        ]
        x = np.moveaxis(np.array(maps), 1, 3) + params[name]["bias"]
        x = np.where(x > 0, x, 0.2 * x)
    assert x.shape == (2, 4, 4, 4)
    np.testing.assert_allclose(outputs["features"], x, rtol=1e-4, atol=1e-4)


def test_weights_are_drawn_as_in_the_paper():
    """Kernels from N(0, 0.02), norms' scales from N(1, 0.02), biases 0, at every layer, within 5 standard errors."""
    nets = (
        (dcgan.Generator(size=28, features=32), jnp.zeros((1, 20))),
        (dcgan.Discriminator(features=32), jnp.zeros((1, 28, 28, 1))),
    )
    for module, x in nets:
        params = jax.jit(lambda key, module=module, x=x: module.init(key, x, train=False))(jax.random.key(1))["params"]
        for layer, arrays in params.items():
            for name, values in arrays.items():
                if name == "bias":
                    np.testing.assert_array_equal(values, np.zeros(values.shape), err_msg=layer)
                    continue
                values = np.asarray(values, np.float64)
                error = 0.02 / np.sqrt(values.size)
                assert abs(np.mean(values) - (name == "scale")) < 5 * error, layer
                assert abs(np.std(values) - 0.02) < 5 * error, layer


@pytest.mark.parametrize("size", [0, 7, 27, 48, 256])
def test_unknown_sizes_are_refused(size):
    with pytest.raises(ValueError, match=rf"16, 28, 32, 64, 128.* got {size}\b"):
        dcgan.stages(size)
    with pytest.raises(ValueError, match=rf"got {size}\b"):
        _shapes(dcgan.Generator(size=size), (1, LATENT))
    with pytest.raises(ValueError, match=rf"got {size}\b"):
        _shapes(dcgan.Discriminator(), (1, size, size, 1))


def test_images_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match=r"\(32, 28\)"):
        _shapes(dcgan.Discriminator(), (1, 32, 28, 1))


@pytest.mark.parametrize(
    "module, shape", [(dcgan.Generator(size=32), (4, LATENT)), (dcgan.Discriminator(), (4, 32, 32, 3))]
)
def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_in_float32(module, shape):
    def forward(x):
        half = module.clone(dtype=jnp.bfloat16)
        variables = half.init(jax.random.key(0), x, train=False)
        output, state = half.apply(variables, x, train=True, capture_intermediates=True, mutable=True)
        inner = {name: values for name, values in state.pop("intermediates").items() if name != "__call__"}
        return (variables, state, output), inner

    kept, inner = jax.eval_shape(forward, jax.ShapeDtypeStruct(shape, jnp.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(inner)} == {jnp.dtype("bfloat16")}
    assert len(inner) >= 6  # every layer was seen


@pytest.mark.parametrize(
    "module, shape",
    [
        (dcgan.Generator(size=28, features=1), (4, LATENT)),
        (dcgan.Generator(size=28, features=1, norm=partial(ConditionalBatchNorm, classes=2)), (4, LATENT)),
        (dcgan.Discriminator(features=1), (4, 28, 28, 1)),
    ],
)
def test_a_norms_axis_name_reaches_every_one_of_them(module, shape):
    """Compares two shards of a batch under vmap with the complete batch."""
    random = np.random.default_rng(0)
    draw = lambda leaf: random.uniform(-0.5, 0.5, leaf.shape).astype(np.float32)  # noqa: E731
    x, labels = draw(jnp.zeros(shape)), jnp.array([0, 1, 1, 1])
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, labels, train=False))
    variables = jax.tree.map(draw, shapes)

    def run(module):
        return lambda x, labels: module.apply(variables, x, labels, train=True, mutable=["batch_stats"])

    sharded = jax.jit(jax.vmap(run(module.clone(norm=partial(module.norm, axis_name="devices"))), axis_name="devices"))
    got, got_stats = sharded(x.reshape(2, -1, *shape[1:]), labels.reshape(2, -1))
    want, want_stats = jax.jit(run(module))(x, labels)
    got, want = jax.tree.leaves(got)[0], jax.tree.leaves(want)[0]
    np.testing.assert_allclose(got.reshape(want.shape), want, atol=1e-5)
    for a, b in zip(jax.tree.leaves(got_stats), jax.tree.leaves(want_stats), strict=True):
        np.testing.assert_allclose(a, np.stack([b, b]), rtol=1e-5, atol=1e-6)


# Against PyTorch. Its transposed convolution has weights [in, out, k, k], its convolution [out, in, k, k]; images are
# NCHW. The projection (a transposed convolution of a 1×1 map) and the judgement (a convolution of a base×base map to
# 1×1) are matrix products over NHWC here.


def _variables(prefix):
    params, stats = {}, {}
    for full, array in GOLDEN.items():
        if not full.startswith(prefix) or full.count("/") != 3:
            continue
        name, what = full.removeprefix(prefix).split("/")
        if what in ("running_mean", "running_var"):
            stats.setdefault(name, {})[what.removeprefix("running_")] = array
        elif what == "bias":
            params.setdefault(name, {})["bias"] = array
        elif what == "weight" and name.startswith("norm"):
            params.setdefault(name, {})["scale"] = array
        elif what == "weight":
            params.setdefault(name, {})["kernel"] = array.transpose((2, 3, 0, 1) if "/g/" in prefix else (2, 3, 1, 0))
    if "/g/" in prefix:
        kernel = params.pop("projection")["kernel"]  # [base, base, latent, width]
        params["project"] = {"kernel": kernel.transpose(2, 0, 1, 3).reshape(kernel.shape[2], -1)}
    else:
        judge = params.pop("judgement")
        params["judge"] = {"kernel": judge["kernel"].reshape(-1, 1), "bias": judge["bias"]}
    return {"params": params, "batch_stats": stats}


def _nhwc(images):
    return images.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("size, channels", [(32, 3), (28, 1)])
@pytest.mark.parametrize("net", ["g", "d"])
def test_numbers_are_pytorchs(size, channels, net):
    prefix = f"{size}/{net}/"
    variables = _variables(prefix)
    if net == "g":
        module, x = dcgan.Generator(size=size, channels=channels, features=3), GOLDEN[f"{prefix}input"][:, :, 0, 0]
        want = {mode: _nhwc(GOLDEN[prefix + mode]) for mode in ("train", "eval")}
    else:
        module, x = dcgan.Discriminator(features=3), _nhwc(GOLDEN[f"{size}/g/train"])
        want = {mode: GOLDEN[prefix + mode].reshape(-1) for mode in ("train", "eval")}
    given = jax.tree.map(jnp.shape, variables)
    assert given == jax.tree.map(jnp.shape, _shapes(module, x.shape)[0])

    train, changed = jax.jit(lambda x: module.apply(variables, x, train=True, mutable=["batch_stats"]))(x)
    evaluated = jax.jit(lambda x: module.apply(variables, x, train=False))(x)
    for mode, got in (("train", train), ("eval", evaluated)):
        got = got if net == "g" else got["logits"]
        np.testing.assert_allclose(got, want[mode], rtol=0, atol=5e-6, err_msg=mode)

    # PyTorch's running variance is the unbiased one, ours the biased: what the batch added to it counts (n - 1)/n, with
    # n the pixels of one channel in the whole batch.
    for name, stats in changed["batch_stats"].items():
        i = int(name.removeprefix("norm"))
        side = (7 if size == 28 else 4) * 2**i if net == "g" else size // 2 ** (i + 1)
        n = len(x) * side * side
        kept = 0.9 * variables["batch_stats"][name]["var"].astype(np.float64)
        added = GOLDEN[f"{prefix}{name}/running_var_after"] - kept
        np.testing.assert_allclose(stats["mean"], GOLDEN[f"{prefix}{name}/running_mean_after"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(stats["var"], kept + added * (n - 1) / n, rtol=0, atol=3e-6)


# --- heads, dropout, layers across the batch, classes ---


def _drawn(module, *inputs):
    """Returns variables that NumPy draws, positive as variances have to be."""
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=False))
    return jax.tree.map(lambda leaf: random.uniform(0.05, 0.5, leaf.shape).astype(np.float32), shapes)


PHOTOS = np.random.default_rng(2).uniform(-1, 1, (4, 28, 28, 1)).astype(np.float32)
LABELS = np.array([2, 0, 2, 1], np.int32)


def test_features_are_what_the_judge_reads():
    module = dcgan.Discriminator(features=3)
    variables = _drawn(module, PHOTOS)
    outputs = jax.jit(lambda x: module.apply(variables, x, train=False))(PHOTOS)
    judge = variables["params"]["judge"]
    features = np.asarray(outputs["features"], np.float64)
    assert features.shape == (4, 7, 7, 6) and outputs["features"].dtype == jnp.float32
    by_hand = features.reshape(4, -1) @ judge["kernel"].astype(np.float64) + judge["bias"]
    np.testing.assert_allclose(outputs["logits"], by_hand[:, 0], rtol=1e-5)


def test_features_that_nobody_reads_cost_nothing():
    module = dcgan.Discriminator(features=3)
    variables = _drawn(module, PHOTOS)

    def program(keep):
        def loss(params, x):
            outputs, changed = module.apply(variables | {"params": params}, x, train=True, mutable=["batch_stats"])
            outputs = outputs if keep else {"logits": outputs["logits"]}
            return jnp.mean(jax.nn.softplus(outputs["logits"])), changed

        return jax.jit(jax.grad(loss, has_aux=True)).lower(variables["params"], PHOTOS).compile()

    (with_them, without) = (program(keep) for keep in (True, False))
    assert with_them.cost_analysis()["flops"] == without.cost_analysis()["flops"] > 0
    assert with_them.memory_analysis().temp_size_in_bytes == without.memory_analysis().temp_size_in_bytes


def test_every_head_judges_under_the_same_name():
    """So checkpoints from before there were heads can be read, and one head's discriminator by another's."""
    plain = {"down0", "down1", "norm1", "judge"}
    heads = {
        Logits(): set(),
        Projection(3): {"embedding"},
        AuxiliaryClassifier(3): {"class"},
        Codes((10,), 2): {"hidden", "code0", "code_mean", "code_log_std"},
    }
    for head, added in heads.items():
        module = dcgan.Discriminator(features=2, head=head)
        init = lambda m=module: m.init_with_output(jax.random.key(0), PHOTOS, LABELS, train=False)  # noqa: E731
        outputs, variables = jax.eval_shape(init)
        assert set(variables["params"]) == plain | added
        assert {len(values) for values in outputs.values()} == {4}
    # The same draws, too: those of a dense layer of Linen's under that name, as DCGAN's judge was.
    wide = jnp.zeros((4, 7 * 7 * 4))
    old = jax.jit(lambda: Judge().init(jax.random.key(0), wide))()["params"]["judge"]["kernel"]
    for head in (Logits(), Projection(3)):
        module = dcgan.Discriminator(features=2, head=head)
        new = jax.jit(lambda m=module: m.init(jax.random.key(0), PHOTOS, LABELS, train=False)["params"]["judge"])()
        np.testing.assert_allclose(new["kernel"], old, rtol=1e-6)


class Judge(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1, kernel_init=nn.initializers.normal(0.02), name="judge")(x)


def test_a_head_gets_the_condition():
    module = dcgan.Discriminator(features=2, head=Projection(3))
    variables = _drawn(module, PHOTOS, LABELS)
    outputs = module.apply(variables, PHOTOS, LABELS, train=False)
    params = jax.tree.map(lambda x: x.astype(np.float64), variables["params"])
    x = np.asarray(outputs["features"], np.float64).reshape(4, -1)
    by_hand = x @ params["judge"]["kernel"][:, 0] + params["judge"]["bias"]
    by_hand += np.sum(x * params["embedding"]["kernel"].T[LABELS], axis=1)
    np.testing.assert_allclose(outputs["logits"], by_hand, rtol=1e-5)
    with pytest.raises(ValueError, match="needs labels"):
        module.apply(variables, PHOTOS, train=False)


def test_dropout_in_training_alone():
    """After every activation a share is 0 and the rest scaled; in evaluation nothing changes."""
    module = dcgan.Discriminator(features=8, norm=None, dropout=0.25)
    variables = _drawn(module, PHOTOS)
    plain = jax.jit(lambda: module.clone(dropout=0.0).apply(variables, PHOTOS, train=True))()
    evaluated = jax.jit(lambda: module.apply(variables, PHOTOS, train=False))()
    np.testing.assert_array_equal(evaluated["features"], plain["features"])
    run = jax.jit(lambda key: module.apply(variables, PHOTOS, train=True, rngs={"dropout": key}))
    outputs = run(jax.random.key(0))
    zeros = np.mean(np.asarray(outputs["features"]) == 0)
    assert abs(zeros - 0.25) < 5 * np.sqrt(0.25 * 0.75 / outputs["features"].size)
    # A first layer's drop reaches the second: without it the kept features would be plain ones divided by 0.75.
    kept = np.asarray(outputs["features"]) != 0
    scaled = np.asarray(plain["features"]) / 0.75
    assert np.max(np.abs(outputs["features"] - scaled)[kept]) > 0.01
    assert abs(np.mean(outputs["features"]) / np.mean(scaled * 0.75) - 1) < 0.1  # scaled, so that the mean stays
    other = run(jax.random.key(1))
    assert np.all(other["logits"] != outputs["logits"])


@pytest.mark.parametrize("layer, added", [(MinibatchStdDev(2), 1), (MinibatchDiscrimination(5, 3), 5)])
def test_a_layer_across_the_batch_comes_before_the_head_and_not_into_the_features(layer, added):
    module = dcgan.Discriminator(features=3, minibatch=layer)
    variables = _drawn(module, PHOTOS)
    outputs = jax.jit(lambda x: module.apply(variables, x, train=False))(PHOTOS)
    assert outputs["features"].shape == (4, 7, 7, 6)
    inner = {"params": variables["params"]["minibatch"]} if "minibatch" in variables["params"] else {}
    with_added = np.asarray(layer.apply(inner, outputs["features"]), np.float64).reshape(4, -1)
    assert with_added.shape[1] == 7 * 7 * 6 + (49 if added == 1 else added)
    judge = variables["params"]["judge"]
    by_hand = with_added @ judge["kernel"].astype(np.float64) + judge["bias"]
    np.testing.assert_allclose(outputs["logits"], by_hand[:, 0], rtol=1e-5)


def _by_class(variables):
    """Returns the generator's variables with three classes, whose gains and biases are the given ones times
    1, 2 and 3."""
    times = np.array([[1], [2], [3]], np.float32)
    params = {
        name: {key: times * value for key, value in layer.items()} if name.startswith("norm") else layer
        for name, layer in variables["params"].items()
    }
    return {"params": params, "batch_stats": {n: {"statistics": s} for n, s in variables["batch_stats"].items()}}


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_generator_of_one_class_in_use_has_pytorchs_numbers(mode):
    """With all labels 0 the classes' batch norm is the plain one, whatever the other classes have."""
    x, want = GOLDEN["28/g/input"][:, :, 0, 0], _nhwc(GOLDEN[f"28/g/{mode}"])
    module = dcgan.Generator(size=28, channels=1, features=3, norm=partial(ConditionalBatchNorm, classes=3))
    variables = _by_class(_variables("28/g/"))
    labels = np.zeros(len(x), np.int32)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, labels, train=False))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    run = jax.jit(lambda labels: module.apply(variables, x, labels, train=mode == "train", mutable=["batch_stats"])[0])
    np.testing.assert_allclose(run(labels), want, rtol=0, atol=5e-6)
    assert np.max(np.abs(run(labels + 1) - want)) > 0.01
    with pytest.raises(ValueError, match="needs labels"):
        module.apply(variables, x, train=False)


def test_a_generator_with_classes_starts_at_gain_one_and_computes_in_its_dtype():
    module = dcgan.Generator(28, features=2, norm=partial(ConditionalBatchNorm, classes=3), dtype=jnp.bfloat16)
    forward = lambda: module.init_with_output(  # noqa: E731
        jax.random.key(0), np.ones((4, LATENT), np.float32), LABELS, train=False, capture_intermediates=True
    )
    image, variables = jax.jit(forward)()
    layers = [layer for name, layer in variables.pop("intermediates").items() if name != "__call__"]
    outputs = {array.dtype for layer in layers for array in layer["__call__"]}
    assert outputs == {jnp.dtype("bfloat16")} and image.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    for i in range(2):
        np.testing.assert_array_equal(variables["params"][f"norm{i}"]["scale"], np.ones((3, 4 // 2**i)))
