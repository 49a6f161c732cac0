"""BigGAN's networks: PyTorch's numbers (golden/biggan.npz), published numbers of parameters, orthogonal weights,
gradients, precision, errors."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks import biggan, resnet
from jaxgan.networks.layers import AdaptiveNorm, BatchNorm, Dense, spectral

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "biggan.npz")
LABELS = GOLDEN["labels"].astype(np.int32)
NETS = {
    "g": biggan.Generator(16, 3, 3, (8, 10, 6), 5, attended=(8,)),
    "d": biggan.Discriminator((8, 10, 12), head=biggan.projection(3), attended=(8,)),
}
BRIEF = {"xla_backend_optimization_level": 0}


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


def put(tree, path, value):
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def variables_of(net):
    """Returns PyTorch's weights in our layout, and their first singular vectors, by NumPy."""
    found = {}
    for full, array in GOLDEN.items():
        mine, *path = full.split("/")
        if mine != net or len(path) < 2:
            continue
        *layers, what = path
        if what.startswith("running_"):
            put(found, ("batch_stats", *layers, what.removeprefix("running_")), array)
            continue
        if what == "weight" and array.ndim > 1:
            u, _, v = np.linalg.svd(np.asarray(array, np.float64).reshape(len(array), -1))
            u, v = u[:, 0], v[0]
            if array.ndim == 4:  # inputs before pixels -> pixels before inputs
                v = v.reshape(array.shape[1:]).transpose(1, 2, 0).reshape(-1)
                array = array.transpose(2, 3, 1, 0)
            else:
                array = array.T
            if layers == ["project"]:  # channels, 4, 4 -> 4, 4, channels
                last = lambda x: np.moveaxis(x.reshape(*x.shape[:-1], -1, 4, 4), -3, -1).reshape(x.shape)  # noqa: E731
                array, u = last(array), last(u)
            pair = {"u": u.astype(np.float32), "v": v.astype(np.float32)}
            put(found, ("spectral", *layers, "kernel"), pair)
            what = "kernel"
        elif layers == ["project"]:
            array = np.moveaxis(array.reshape(-1, 4, 4), 0, -1).reshape(-1)
        elif what == "weight":
            what = "scale"
        put(found, ("params", *layers, what), array)
    return found


def passed(net, module=None, *, train=False, variables=None):
    x = GOLDEN["g/latent"] if net == "g" else nhwc(GOLDEN["g/train"])
    variables = variables_of(net) if variables is None else variables
    run = jax.jit(lambda x: (module or NETS[net]).apply(variables, x, LABELS, train=train), compiler_options=BRIEF)
    return run(x) if net == "g" else run(x)["logits"]


@pytest.mark.parametrize("net, mode", [("g", "train"), ("g", "eval"), ("d", "train")])
def test_numbers_are_pytorchs(net, mode):
    """Of weights divided by their largest singular values, by an SVD there and by their vectors here."""
    x = GOLDEN["g/latent"] if net == "g" else nhwc(GOLDEN["g/train"])
    shapes = jax.eval_shape(lambda: NETS[net].init(jax.random.key(0), x, LABELS, train=False))
    assert jax.tree.map(jnp.shape, variables_of(net)) == jax.tree.map(jnp.shape, dict(shapes))
    want = nhwc(GOLDEN[f"g/{mode}"]) if net == "g" else GOLDEN[f"d/{mode}"]
    np.testing.assert_allclose(passed(net, train=mode == "train"), want, rtol=0, atol=1e-5 * np.max(np.abs(want)))


def conv(inputs, outputs, kernel=3):
    return kernel**2 * inputs * outputs + outputs


def derived(size, width, latent, embedding, classes):
    """Numbers of parameters from the paper's figure 15 and tables: a norm in a block has two dense layers without
    biases from the class's embedding and its part of the latent; one behind the blocks has two numbers a channel."""
    multiples = {32: ((4, 4, 4, 4), (2, 2, 2, 2), 2), 128: ((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5)}
    (first, *rest), blocks, halvings = multiples[size]
    part = latent // (len(rest) + 1)
    style, channels = embedding + part, first * width
    g = classes * embedding + 16 * channels * (part + 1)
    attended = {32: 16, 128: 64}[size]
    for i, multiple in enumerate(rest):
        out = multiple * width
        g += 2 * style * (channels + out) + conv(channels, out) + conv(out, out) + conv(channels, out, 1)
        g += 2 * out * (out // 8) + 2 * out * (out // 2) + 1 if 4 * 2 ** (i + 1) == attended else 0
        channels = out
    g += 2 * channels + conv(channels, 3)
    d, channels = 0, 3
    for i, multiple in enumerate(blocks):
        out = multiple * width
        d += conv(channels, out) + conv(out, out)
        d += conv(channels, out, 1) if i < halvings or channels != out else 0
        d += 2 * out * (out // 8) + 2 * out * (out // 2) + 1 if i == 0 else 0
        channels = out
    return g, d + channels + 1 + classes * channels


# The first lines of StudioGAN's logs of BigGAN on CIFAR-10 (15 January 2021) and of BigGAN2048 on ImageNet at 128
# pixels (17 November 2020), whose networks are the paper's.
PUBLISHED = [(32, 80, 10, (9_416_196, 2_415_170)), (128, 120, 1000, (70_433_988, 87_982_370))]


@pytest.mark.parametrize("size, latent, classes, published", PUBLISHED)
def test_parameters_are_as_many_as_published(size, latent, classes, published):
    assert derived(size, 96, latent, 128, classes) == published
    widths, labels = biggan.paper_widths(size), jnp.zeros(1, jnp.int32)
    g = biggan.Generator(size, 3, classes, widths.generator, attended=widths.attended)
    d = biggan.Discriminator(
        widths.discriminator, head=biggan.projection(classes), halvings=widths.halvings, attended=widths.attended
    )
    counts = []
    for module, shape in ((g, (1, latent)), (d, (1, size, size, 3))):
        init = lambda module=module, shape=shape: module.init(jax.random.key(0), jnp.zeros(shape), labels, train=False)  # noqa: E731
        variables = jax.eval_shape(init)
        counts.append(sum(leaf.size for leaf in jax.tree.leaves(variables["params"])))
    assert tuple(counts) == published


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 256])
def test_other_sizes(size):
    widths, labels, key = biggan.paper_widths(size, 1, 1), jnp.zeros(2, jnp.int32), jax.random.key(0)
    assert biggan.parts(size) == len(widths.generator)
    g = biggan.Generator(size, 1, 2, widths.generator, 3, attended=widths.attended)
    latent = jnp.zeros((2, 2 * biggan.parts(size)))
    image, _ = jax.eval_shape(lambda: g.init_with_output(key, latent, labels, train=False))
    assert image.shape == (2, size, size, 1) and image.dtype == jnp.float32
    d = biggan.Discriminator(
        widths.discriminator, head=biggan.projection(2), halvings=widths.halvings, attended=widths.attended
    )
    said, variables = jax.eval_shape(lambda: d.init_with_output(key, jnp.zeros(image.shape), labels, train=False))
    assert said["logits"].shape == (2,) and "attention" + str(widths.attended[0]) in variables["params"]
    assert resnet.sides(size, widths.halvings)[1][-1] == 4


@pytest.mark.slow
@pytest.mark.parametrize("net", ["g", "d"])
def test_weights_start_orthogonal(net):
    """Columns or rows of every matrix, whichever are fewer, have length 1 and are orthogonal: all singular values are
    1, by NumPy. In the generator the embedding alone isn't normalised, in the discriminator nothing but biases."""
    x = GOLDEN["g/latent"] if net == "g" else nhwc(GOLDEN["g/train"])
    init = lambda: NETS[net].init(jax.random.key(0), x, LABELS, train=False)  # noqa: E731
    variables = jax.jit(init, compiler_options=BRIEF)()
    seen = 0
    for path, leaf in jax.tree.leaves_with_path(variables["params"]):
        if leaf.ndim < 2:
            assert path[-1].key in ("bias", "scale", "gate")
            continue
        values = np.linalg.svd(np.asarray(leaf, np.float64).reshape(-1, leaf.shape[-1]), compute_uv=False)
        np.testing.assert_allclose(values, 1, atol=1e-5)
        inner = variables["spectral"]
        for key in path:
            inner = inner.get(key.key, {}) if isinstance(inner, dict) else inner
        assert bool(inner) == (jax.tree_util.keystr(path) != "['class']['embedding']")
        seen += 1
    assert seen == (21 if net == "g" else 15)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["g", "d"])
def test_every_parameter_receives_gradient(net):
    x = GOLDEN["g/latent"] if net == "g" else nhwc(GOLDEN["g/train"])
    variables = variables_of(net)
    params = variables.pop("params")

    def loss(params):
        out = NETS[net].apply({"params": params, **variables}, x, LABELS, train=True)
        return jnp.sum(out**3) if net == "g" else jnp.sum(out["logits"] ** 2)

    gradient = jax.jit(jax.grad(loss), compiler_options=BRIEF)(params)
    assert [jax.tree_util.keystr(path) for path, g in jax.tree.leaves_with_path(gradient) if not np.any(g)] == []
    if net == "g":
        assert all(np.any(row) for row in gradient["class"]["embedding"])


@pytest.mark.slow
def test_train_and_evaluation_differ_in_the_generator_alone():
    assert np.max(np.abs(passed("g", train=True) - passed("g"))) > 0.05
    np.testing.assert_allclose(passed("d", train=True), passed("d"), rtol=1e-6)


@pytest.mark.slow
def test_a_part_of_the_latent_reaches_its_block_and_what_follows():
    """The second block's part changes nothing before it: what its first norm is given stays, bit for bit."""
    latent, variables = GOLDEN["g/latent"], variables_of("g")

    @functools.partial(jax.jit, compiler_options=BRIEF)
    def run(latent):
        image, kept = NETS["g"].apply(variables, latent, LABELS, train=False, capture_intermediates=True)
        return image, kept["intermediates"]

    image, before = run(latent)
    for part, reached in enumerate(("project", "norm0a", "norm1a")):
        moved = latent.copy()
        moved[:, 3 * part : 3 * part + 3] += 0.5
        other, after = run(moved)
        assert np.any(other != image)
        for name in ("project", "norm0a", "norm1a")[:part]:
            np.testing.assert_array_equal(after[name]["__call__"][0], before[name]["__call__"][0])
        assert np.any(after[reached]["__call__"][0] != before[reached]["__call__"][0])


@pytest.mark.slow
@pytest.mark.parametrize("net", ["g", "d"])
def test_bfloat16_is_near_float32(net):
    """In evaluation mode: eight bits in a dozen layers. Of the discriminator's logits what is left of their mean."""
    got = passed(net, NETS[net].clone(dtype=jnp.bfloat16))
    want = nhwc(GOLDEN["g/eval"]) if net == "g" else GOLDEN["d/eval"]
    assert got.dtype == jnp.float32
    assert np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)) < 0.02


def test_scale_and_bias_of_separate_layers():
    """y = (1 + style·S) · normalised + style·B in NumPy; each is divided by its own largest singular value."""
    random = np.random.default_rng(0)
    x, style = (random.standard_normal(shape).astype(np.float32) for shape in ((4, 3, 3, 5), (4, 6)))
    layer = AdaptiveNorm(BatchNorm, functools.partial(spectral(Dense, turns=200), use_bias=False), separate=True)
    variables = layer.init(jax.random.key(0), x, style, train=False)
    assert set(variables["params"]) == {"scale", "bias"}
    params = jax.tree.map(lambda leaf: 3 * leaf, variables["params"])
    got, _ = layer.apply({**variables, "params": params}, x, style, train=True, mutable=["spectral", "batch_stats"])
    scale, bias = (np.asarray(params[name]["kernel"], np.float64) for name in ("scale", "bias"))
    scale, bias = (style @ (w / np.linalg.svd(w, compute_uv=False)[0]) for w in (scale, bias))
    normalised = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(got, normalised * (1 + scale[:, None, None]) + bias[:, None, None], atol=1e-5)


@pytest.mark.parametrize(
    "change, latent, labels, message",
    [
        ({}, (2, 8), [0, 1], "16 pixels cuts its latent into 3 equal parts, got 8 numbers"),
        ({}, (2, 0), [0, 1], "into 3 equal parts, got 0 numbers"),
        ({"features": (2, 2)}, (2, 9), [0, 1], "of 16 pixels has 3 widths, got 2"),
        ({"attended": (64,)}, (2, 9), [0, 1], "attention at 64 pixels is never reached: features here have 8, 16"),
        ({"size": 20}, (2, 9), [0, 1], "16, 32, 64, ... pixels, .*, got 20"),
        ({}, (2, 9), None, "this network needs labels"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(change, latent, labels, message):
    module = NETS["g"].clone(**change)
    labels = None if labels is None else jnp.array(labels, jnp.int32)
    with pytest.raises(ValueError, match=message) as error:
        jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros(latent), labels, train=False))
    assert "\n" not in str(error.value)


def test_widths_are_told_for_four_sizes():
    with pytest.raises(ValueError, match="BigGAN has widths for 32, 64, 128, 256 pixels, got 48"):
        biggan.paper_widths(48)
    with pytest.raises(ValueError, match="widths must be at least 1, got 0"):
        biggan.paper_widths(32, 4, 0)


@pytest.mark.slow
def test_a_label_outside_is_nan():
    variables, labels = variables_of("g"), np.array([0, 1, 2, 3], np.int32)
    out = jax.jit(lambda x: NETS["g"].apply(variables, x, labels, train=False))(GOLDEN["g/latent"])
    assert np.isnan(out[3]).all() and np.isfinite(out[:3]).all()
