"""Residual networks: PyTorch's numbers (golden/residual.npz, golden/sagan.npz), published numbers of parameters,
shapes, weights as they are drawn, precision."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks import resnet
from jaxgan.networks.heads import Logits, Projection
from jaxgan.networks.layers import ConditionalBatchNorm, Conv, Dense, spectral

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "residual.npz")
MODULES = {"g": resnet.Generator(size=32, channels=3, features=2), "d": resnet.Discriminator(features=2)}


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


def variables_of(net):
    """Returns PyTorch's weights, `[out, in, k, k]`, `[out, in]` and by channels before pixels, in our layout."""
    params, stats = {}, {}
    for full, array in GOLDEN.items():
        if not full.startswith(f"{net}/") or full.count("/") != 2:
            continue
        _, name, what = full.split("/")
        if what.startswith("running_"):
            stats.setdefault(name, {})[what.removeprefix("running_")] = array
            continue
        if what == "weight":
            what = "scale" if name.startswith("norm") else "kernel"
            array = {4: lambda a: a.transpose(2, 3, 1, 0), 2: np.transpose, 1: lambda a: a}[array.ndim](array)
        if name == "project":  # channels, 4, 4 -> 4, 4, channels
            array = np.moveaxis(array.reshape(*array.shape[:-1], -1, 4, 4), -3, -1).reshape(array.shape)
        params.setdefault(name, {})[what] = array
    return {"params": params} | ({"batch_stats": stats} if stats else {})


ATTENDED = np.load(pathlib.Path(__file__).parents[1] / "golden" / "sagan.npz")
by_class = functools.partial(ConditionalBatchNorm, classes=3)
SAGAN = {
    "g": resnet.Generator(24, 3, (10, 12, 8), block_norm=by_class, attended=(12,)),
    "d": resnet.Discriminator((8, 12, 16), head=Projection(classes=3), attended=(12,)),
}


def attended_variables(net):
    """Returns those of golden/sagan.npz in our layout."""
    params, stats = {}, {}
    for full, array in ATTENDED.items():
        path = full.split("/")
        if path[0] != net or len(path) < 3:
            continue
        *layers, what = path[1:]
        conditional = array.ndim == 2 and layers[0].startswith("norm")
        if what.startswith("running_"):
            inner = stats.setdefault(layers[0], {})
            inner = inner if layers[0] == "norm" else inner.setdefault("statistics", {})
            inner[what.removeprefix("running_")] = array
            continue
        if layers[0] == "project":  # channels, 6, 6 -> 6, 6, channels
            array = np.moveaxis(array.T.reshape(*array.T.shape[:-1], -1, 6, 6), -3, -1).reshape(array.T.shape)
        elif array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif array.ndim == 2 and not conditional:
            array = array.T if layers[0] != "attention12" else array.T[None, None]
        if what == "weight":
            what = "scale" if layers[0].startswith("norm") else "kernel"
        inner = params
        for layer in layers:
            inner = inner.setdefault(layer, {})
        inner[what] = array
    return {"params": params} | ({"batch_stats": stats} if stats else {})


@pytest.mark.parametrize("net", ["g", "d"])
@pytest.mark.parametrize("mode", ["train", pytest.param("eval", marks=pytest.mark.slow)])
def test_from_six_pixels_with_classes_and_attention_numbers_are_pytorchs(net, mode):
    x = ATTENDED["g/latent"] if net == "g" else nhwc(ATTENDED["g/train"])
    module, variables, labels = SAGAN[net], attended_variables(net), ATTENDED["labels"].astype(np.int32)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, labels, train=False))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    got = jax.jit(lambda x: module.apply(variables, x, labels, train=mode == "train"))(x)
    got, want = (got, nhwc(ATTENDED[f"g/{mode}"])) if net == "g" else (got["logits"], ATTENDED[f"d/{mode}"])
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.max(np.abs(want)))


def count(module, x, labels=None):
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), x, labels, train=False))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def conv(inputs, outputs, kernel=3):
    return kernel**2 * inputs * outputs + outputs


def derived(size, generator, discriminator, halvings, *, norm=2, attention=False):
    """Numbers of parameters from the papers' tables: a dense layer or a convolution has a bias, a batch norm `norm`
    numbers for each channel (two for each of ten classes: 20), a norm behind the blocks two."""
    base, (first, *rest) = size >> (len(generator) - 1), generator
    g, channels = 128 * base**2 * first + base**2 * first, first
    for width in rest:
        g += norm * channels + conv(channels, width) + norm * width + conv(width, width) + conv(channels, width, 1)
        channels = width
    g += 2 * channels + conv(channels, 3)
    d, channels = 0, 3
    for i, width in enumerate(discriminator):
        inner = channels if i else width
        d += conv(channels, inner) + conv(inner, width)
        d += conv(channels, width, 1) if i < halvings or channels != width else 0
        channels = width
    d += channels + 1 + (10 * channels if norm == 20 else 0)
    if attention:  # two to C/8, one to C/2, one back, and the gate
        g, d = (n + 2 * c * c // 8 + 2 * c * c // 2 + 1 for n, c in ((g, rest[1]), (d, discriminator[0])))
    return g, d


# mimicry's SNGAN at 32 pixels; StudioGAN's logs of SNGAN and of SAGAN with classes, both on CIFAR-10.
PUBLISHED = [
    ({}, (4_276_739, 1_053_825)),
    ({"norm": 20}, (4_304_387, 1_055_105)),
    ({"norm": 20, "attention": True}, (4_386_308, 1_075_586)),
]


@pytest.mark.parametrize("how, published", PUBLISHED, ids=["SNGAN", "SNGAN with classes", "SAGAN"])
def test_parameters_are_as_many_as_published(how, published):
    widths, x = resnet.paper_widths(32), jnp.zeros((1, 32, 32, 3))
    assert derived(32, *widths, **how) == published
    of_labels = how.get("norm") == 20
    labels = jnp.zeros(1, jnp.int32) if of_labels else None
    head = Projection(10, dense=spectral(Dense)) if of_labels else Logits(dense=spectral(Dense))
    attended = (16,) if "attention" in how else ()
    both = {"conv": spectral(Conv), "dense": spectral(Dense)} if attended else {}
    norm = functools.partial(ConditionalBatchNorm, classes=10) if of_labels else None
    g = resnet.Generator(32, 3, widths.generator, block_norm=norm, attended=attended, **both)
    d = resnet.Discriminator(
        widths.discriminator, head=head, conv=spectral(Conv), halvings=widths.halvings, attended=attended
    )
    assert (count(g, jnp.zeros((1, 128)), labels), count(d, x, labels)) == published


@pytest.mark.parametrize("size, smallest", [(48, 3), (64, 2), (128, 4)])
def test_the_papers_networks_at_other_sizes(size, smallest):
    widths, x = resnet.paper_widths(size), jnp.zeros((1, size, size, 3))
    g, d = resnet.Generator(size, 3, widths.generator), resnet.Discriminator(widths.discriminator)
    d = d.clone(halvings=widths.halvings)
    assert (count(g, jnp.zeros((1, 128))), count(d, x)) == derived(size, *widths)
    first = jax.eval_shape(lambda: g.init(jax.random.key(0), jnp.zeros((1, 128)), train=False))["params"]["project"]
    base = 6 if size == 48 else 4
    assert first["kernel"].shape == (128, base**2 * widths.generator[0])
    assert resnet.sides(size, widths.halvings)[1][-1] == smallest and resnet.sides(size)[0][-1] == size
    shape = jax.eval_shape(lambda: g.init_with_output(jax.random.key(0), jnp.zeros((2, 128)), train=False))[0].shape
    assert shape == (2, size, size, 3)


@pytest.mark.parametrize(
    "module, x, message",
    [
        (resnet.Generator(32, 3, 2, attended=(64,)), jnp.zeros((1, 4)), "attention at 64 .* have 8, 16, 32 pixels"),
        (resnet.Generator(32, 3, 2, attended=(16, 4)), jnp.zeros((1, 4)), "attention at 4 pixels is never reached"),
        (resnet.Discriminator(2, attended=(32,)), jnp.zeros((1, 32, 32, 3)), "attention at 32 .* have 8, 16 pixels"),
        (resnet.Generator(32, 3, (2, 2)), jnp.zeros((1, 4)), "of 32 pixels has 4 widths of features, got 2"),
        (resnet.Discriminator((2,) * 7), jnp.zeros((1, 32, 32, 3)), "32 pixels a multiple of 2.halvings, got 6"),
        (resnet.Discriminator((2, 2), halvings=3), jnp.zeros((1, 32, 32, 3)), "halvings=3 needs as many blocks"),
        (resnet.Discriminator(2, halvings=0), jnp.zeros((1, 32, 32, 3)), "halvings must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(module, x, message):
    with pytest.raises(ValueError, match=message) as error:
        jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))
    assert "\n" not in str(error.value)


def test_widths_are_told_for_four_sizes():
    with pytest.raises(ValueError, match="SNGAN has widths for 32, 48, 64, 128 pixels, got 96"):
        resnet.paper_widths(96)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["g", "d"])
def test_every_parameter_receives_gradient(net):
    """Of the attention too once its gate has opened; before that only the gate."""
    x = ATTENDED["g/latent"] if net == "g" else nhwc(ATTENDED["g/train"])
    variables, labels = attended_variables(net), ATTENDED["labels"].astype(np.int32)
    params = variables.pop("params")

    def loss(params):
        out = SAGAN[net].apply({"params": params, **variables}, x, labels, train=True)
        return jnp.sum(out**3) if net == "g" else jnp.sum(out["logits"] ** 2)

    gradient = jax.jit(jax.grad(loss))
    silent = lambda params: {  # noqa: E731
        jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(gradient(params)) if not np.any(leaf)
    }
    assert silent(params) == set()
    params["attention12"]["gate"] = np.float32(0)
    assert silent(params) == {f"['attention12']['{name}']['kernel']" for name in ("query", "key", "value", "output")}


@pytest.mark.slow
@pytest.mark.parametrize("net", ["g", "d"])
def test_bfloat16_is_near_float32(net):
    """In evaluation mode: a hundredth or two of an output, from eight bits in a dozen layers."""
    x = ATTENDED["g/latent"] if net == "g" else nhwc(ATTENDED["g/train"])
    variables, labels = attended_variables(net), ATTENDED["labels"].astype(np.int32)
    module = SAGAN[net].clone(dtype=jnp.bfloat16)
    got = jax.jit(lambda x: module.apply(variables, x, labels, train=False))(x)
    got, want = (got, nhwc(ATTENDED["g/eval"])) if net == "g" else (got["logits"], ATTENDED["d/eval"])
    assert got.dtype == jnp.float32
    assert np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)) < 0.02


@pytest.mark.parametrize("net", ["g", "d"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_numbers_are_pytorchs(net, mode):
    x = GOLDEN["g/input"] if net == "g" else nhwc(GOLDEN["g/train"])
    module, variables = MODULES[net], variables_of(net)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    got = jax.jit(lambda x: module.apply(variables, x, train=mode == "train"))(x)
    got, want = (got, nhwc(GOLDEN[f"g/{mode}"])) if net == "g" else (got["logits"], GOLDEN[f"d/{mode}"])
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=5e-6)


def test_resizing_against_numpy():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(resnet.twice(x), x.repeat(2, 1).repeat(2, 2))
    by_hand = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    np.testing.assert_allclose(resnet.halve(x), by_hand, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("size, channels", [(16, 1), (64, 3)])
def test_shapes_at_other_sizes(size, channels):
    generator, judge = resnet.Generator(size, channels, 4), resnet.Discriminator(4)
    key, latents = jax.random.key(0), jnp.zeros((3, 7))
    image, variables = jax.eval_shape(lambda: generator.init_with_output(key, latents, train=False))
    assert image.shape == (3, size, size, channels) and image.dtype == jnp.float32
    assert len([name for name in variables["params"] if name.startswith("short")]) == size.bit_length() - 3
    outputs, _ = jax.eval_shape(lambda: judge.init_with_output(key, jnp.zeros(image.shape), train=False))
    assert {name: array.shape for name, array in outputs.items()} == {"logits": (3,), "features": (3, 4)}


@pytest.mark.parametrize("size", [4, 6, 8, 12, 28, 40])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"16, 32, 64, ... pixels, or of 24, 48, 96, ..., got {size}"):
        jax.eval_shape(lambda: resnet.Generator(size).init(jax.random.key(0), jnp.zeros((1, 4)), train=False))
    x = jnp.zeros((1, size, size, 1))
    with pytest.raises(ValueError, match=f"got {size}"):
        jax.eval_shape(lambda: resnet.Discriminator().init(jax.random.key(0), x, train=False))


def test_images_that_are_not_square_are_refused():
    x = jnp.zeros((1, 32, 16, 1))
    with pytest.raises(ValueError, match=r"\(32, 16\)"):
        jax.eval_shape(lambda: resnet.Discriminator().init(jax.random.key(0), x, train=False))


def test_weights_are_drawn_uniformly_with_hes_or_glorots_variance():
    """Variance 2 / inputs for 3×3 convolutions before a ReLU, 2 / (inputs + outputs) elsewhere."""
    x = jnp.zeros((1, 16, 16, 3))
    params = jax.jit(lambda: resnet.Discriminator(32).init(jax.random.key(0), x, train=False))()["params"]
    for name, inputs, outputs in (("conv0b", 288, None), ("conv2a", 288, None), ("short0", 3, 32)):
        kernel = np.asarray(params[name]["kernel"], np.float64)
        variance = 2 / inputs if outputs is None else 2 / (inputs + outputs)
        assert np.var(kernel) == pytest.approx(variance, rel=5 * np.sqrt(0.8 / kernel.size)), name
        assert np.max(np.abs(kernel)) <= np.sqrt(3 * variance) * (1 + 1e-6)
        assert not np.any(params[name]["bias"])


def test_bfloat16_computes_in_bfloat16_and_a_head_sees_the_label():
    labels = jnp.array([0, 1])
    judge = resnet.Discriminator(4, jnp.bfloat16, Projection(classes=2))
    forward = lambda: judge.init_with_output(  # noqa: E731
        jax.random.key(0), jnp.ones((2, 16, 16, 1)), labels, train=False, capture_intermediates=True
    )
    outputs, variables = jax.jit(forward)()
    inner = {name: layer["__call__"] for name, layer in variables.pop("intermediates").items() if name[-1] in "ab012"}
    layers = {array.dtype for outputs in inner.values() for array in outputs}
    assert len(inner) == 7
    assert layers == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs, variables))} == {jnp.dtype("float32")}
    assert outputs["logits"][0] != outputs["logits"][1]
