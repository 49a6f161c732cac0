"""Networks of super-resolution: PyTorch's numbers (golden/superresolution.npz), how far an output pixel sees."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.layers import BatchNorm, repeated
from jaxgan.networks.superresolution import RRDBNet, SRResNet, VGGDiscriminator, enlarged
from scripts.golden.layers import read

GOLDEN = read(pathlib.Path(__file__).parents[1] / "golden" / "superresolution.npz")
small = {"features": 2, "blocks": 2}
CASES = {
    "srresnet4": SRResNet(3, 4, norm=BatchNorm, **small),
    "srresnet3": SRResNet(1, 3, ends=3, base="bilinear", **small),
    "srresnet2": SRResNet(3, 2, ends=5, base="bicubic", **small),
    "rrdb4": RRDBNet(3, 4, growth=3, **small),
    "rrdb3": RRDBNet(1, 3, growth=3, **small),
    "vgg": VGGDiscriminator(2),
}


FAST = ("srresnet3", "rrdb3")
SLOW_AND_FAST = [
    pytest.param(case, mode, marks=() if case in FAST else pytest.mark.slow)
    for case, mode in [*((name, "eval") for name in CASES), ("srresnet4", "train"), ("vgg", "train")]
]


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


def variables_of(case):
    """PyTorch's weights in our layout."""
    params, stats = {}, {}
    for full, array in GOLDEN.items():
        if not full.startswith(f"{case}/") or full.count("/") != 2:
            continue
        _, name, what = full.split("/")
        if what.startswith("running_"):
            stats.setdefault(name, {})[what.removeprefix("running_")] = array
        elif name.endswith("prelu"):
            params[name] = {"negative_slope": array.reshape(())}
        elif what == "weight":
            if name == "dense":  # channels, 2, 3 -> 2, 3, channels
                array = np.moveaxis(array.reshape(len(array), -1, 2, 3), 1, -1).reshape(array.shape)
            turned = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim]
            params.setdefault(name, {})["scale" if "norm" in name else "kernel"] = array.transpose(turned)
        else:
            params.setdefault(name, {})[what] = array
    return {"params": params} | ({"batch_stats": stats} if stats else {})


@pytest.mark.parametrize("case, mode", SLOW_AND_FAST)
def test_numbers_are_pytorchs(case, mode):
    x, module, variables = nhwc(GOLDEN[f"{case}/input"]), CASES[case], variables_of(case)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    got = jax.jit(lambda x: module.apply(variables, x, train=mode == "train"))(x)
    want = GOLDEN[f"{case}/{mode}"]
    got, want = (got["logits"], want) if case == "vgg" else (got, nhwc(want))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6 * np.abs(want).max())
    assert GOLDEN[f"{case}/eval"].std() > 0.05, "what the weights make no difference to shows nothing"


def all_ones(module, image):
    """Weights of which each number is positive: no path from input to output is cancelled by another."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), image, train=False))
    return jax.tree.map(lambda x: jnp.full(x.shape, 0.1, x.dtype), shapes)


FAR = [  # and the reach, worked out by hand
    (SRResNet(1, 2, blocks=1, ends=3, features=1), 1 + 2 + 1 + 1 + 1),  # first, block, body, up, half of last
    (SRResNet(1, 3, blocks=1, ends=5, features=1), 2 + 2 + 1 + 1 + 1),
    (SRResNet(1, 4, blocks=2, ends=9, features=1), 4 + 4 + 1 + 1 + 2),  # of up1 a half, of last a quarter of 4
    (SRResNet(1, 4, blocks=0, ends=1, features=1, base="bicubic"), 3),
    (RRDBNet(1, 2, blocks=1, features=1, growth=1), 1 + 15 + 1 + 2),  # a half of three
    (RRDBNet(1, 4, blocks=1, features=1, growth=1), 1 + 15 + 1 + 2),
    (RRDBNet(1, 3, blocks=0, features=1, growth=1, base="bicubic"), 3),
]


@pytest.mark.parametrize(
    "module, reach",
    [pytest.param(*each, marks=pytest.mark.slow if i not in (0, 6) else ()) for i, each in enumerate(FAR)],
)
def test_how_far_an_output_pixel_sees(module, reach):
    """By the gradient of each of the pixels that the middle one becomes, and by the numbers worked out by hand."""
    side = 2 * reach + 5
    middle, x = side // 2, jnp.ones((1, side, side, 1))
    variables = all_ones(module, x)

    def pixel(x, row, column):
        out = module.apply(variables, x, train=False)
        return jax.lax.dynamic_slice(out, (0, row, column, 0), (1, 1, 1, 1)).sum()

    gradient = jax.jit(jax.grad(pixel))
    first = module.scale * middle
    seen = sum(np.abs(np.asarray(gradient(x, first + a, first + a)))[0, :, :, 0] for a in range(module.scale))
    for axis in (0, 1):
        where = np.flatnonzero(seen.sum(axis))
        assert max(middle - where.min(), where.max() - middle) == reach
    assert module.reach == reach


@pytest.mark.slow
def test_tiles_with_this_overlap_are_the_whole():
    module = SRResNet(3, 4, features=4, blocks=1, ends=3, base="bicubic")
    x = jax.random.uniform(jax.random.key(0), (1, 30, 26, 3), minval=-1.0)
    variables = jax.tree.map(lambda p: p + 0.05, jax.jit(lambda: module.init(jax.random.key(1), x, train=False))())
    apply = jax.jit(functools.partial(module.apply, variables, train=False))
    whole, r = apply(x), module.reach
    part = apply(x[:, 9 - r : 15 + r, 8 - r : 12 + r])[:, 4 * r : -4 * r, 4 * r : -4 * r]
    np.testing.assert_allclose(part, whole[:, 36:60, 32:48], atol=1e-5)
    short = r - 1
    wrong = apply(x[:, 9 - short : 15 + short, 8 - short : 12 + short])
    wrong = wrong[:, 4 * short : -4 * short, 4 * short : -4 * short]
    assert np.abs(wrong - whole[:, 36:60, 32:48]).max() > 1e-4


def keys_cubic(t):
    """Keys 1981, equation 15, with a = -1/2."""
    t = abs(t)
    if t < 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interpolation_against_the_formula(scale):
    x = np.random.default_rng(0).uniform(-1, 1, (9, 8))
    weights = []
    for n in x.shape:
        places = (np.arange(scale * n) + 0.5) / scale - 0.5
        matrix = np.array([[keys_cubic(p - i) for i in range(n)] for p in places])
        weights.append(matrix / matrix.sum(1, keepdims=True))
    got = enlarged(jnp.asarray(x, jnp.float32)[None, :, :, None], scale)[0, :, :, 0]
    np.testing.assert_allclose(got, weights[0] @ x @ weights[1].T, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", [SRResNet(blocks=1, features=4, base="bicubic"), RRDBNet(3, 2, 4, 0, base="bilinear")]
)
def test_with_a_base_training_begins_at_it_and_all_layers_learn(module):
    x = jax.random.uniform(jax.random.key(0), (2, 5, 4, 3), minval=-1.0)
    variables = jax.jit(lambda: module.init(jax.random.key(1), x, train=False))()
    base = enlarged(x, module.scale, module.base)

    @jax.jit
    def step(params):
        def loss(params):
            y = module.apply({"params": params}, x, train=True)
            return jnp.sum((y - 2 * base) ** 2), y

        gradient, y = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient), gradient, y

    params, gradient, y = step(variables["params"])
    np.testing.assert_array_equal(y, base)
    assert {name for name, each in gradient.items() if np.any(each.get("kernel", 0.0))} == {"last"}
    _, gradient, _ = step(params)
    assert all(np.any(leaf) for name, each in gradient.items() for leaf in jax.tree.leaves(each)), "then all do"


@pytest.mark.parametrize("module", [SRResNet, RRDBNet])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_sizes_that_are_odd(module, size):
    x = jnp.zeros((2, *size, 1))
    for scale in (2, 3, 4):
        net = module(1, scale, features=2, blocks=1, base="bicubic")
        y, _ = jax.eval_shape(lambda x, net=net: net.init_with_output(jax.random.key(0), x, train=False), x)
        assert y.shape == (2, scale * size[0], scale * size[1], 1)


def test_other_scales_are_refused():
    for module in (SRResNet, RRDBNet):
        with pytest.raises(ValueError, match="scale must be one of 2, 3, 4, got 5"):
            jax.eval_shape(lambda m=module: m(3, 5).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False))
        with pytest.raises(ValueError, match="got 1"):
            _ = module(3, 1).reach


def test_the_papers_sizes():
    """SRResNet's parameters as EDSR's table 1 has them, 1.5 million; RRDBNet's 16.7, as ESRGAN's authors say."""
    x = jnp.zeros((1, 8, 8, 3))
    for module, expected in ((SRResNet(norm=BatchNorm), 1.55), (RRDBNet(), 16.70)):
        shapes = jax.eval_shape(functools.partial(module.init, train=False), jax.random.key(0), x)
        count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
        assert abs(count / 1e6 - expected) < 0.02, count


@pytest.mark.parametrize("size", [(1, 1), (17, 30), (96, 96)])
def test_the_discriminators_shapes(size):
    judge, x = VGGDiscriminator(4), jnp.zeros((3, *size, 1))
    outputs, _ = jax.eval_shape(lambda: judge.init_with_output(jax.random.key(0), x, train=False))
    assert outputs["logits"].shape == (3,) and outputs["logits"].dtype == jnp.float32
    widths = [4, 4, 8, 8, 16, 16, 32, 32]
    assert [each.shape[-1] for each in outputs["features"]] == widths
    ends = tuple(-(-n // 16) for n in size)
    assert outputs["features"][-1].shape == (3, *ends, 32)


@pytest.mark.slow
def test_half_precision_stays_near():
    x = jax.random.uniform(jax.random.key(0), (1, 6, 6, 3), minval=-1.0)
    variables = jax.jit(lambda: SRResNet(3, 4, 4, 1).init(jax.random.key(1), x, train=False))()
    full, half = (
        jax.jit(functools.partial(SRResNet(3, 4, 4, 1, dtype=dtype).apply, train=False))(variables, x)
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert half.dtype == jnp.float32 and np.any(half != full)
    np.testing.assert_allclose(full, half, atol=0.05 * float(jnp.abs(full).max()))


def test_pixels_are_repeated_as_numpy_does():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    for factor in (2, 3):
        got = repeated(jnp.asarray(x), factor)
        np.testing.assert_array_equal(got, x.repeat(factor, 1).repeat(factor, 2))
