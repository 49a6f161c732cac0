"""Networks of translation: PyTorch's numbers (golden/translation.npz), receptive fields, images of any size."""

import functools
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.layers import (
    BatchNorm,
    Dropout,
    InstanceNorm,
    pad_to_multiple,
    pixel_shuffle,
    pixel_unshuffle,
)
from jaxgan.networks.translation import PATCHES, PatchDiscriminator, ResNetGenerator, UNet
from scripts.golden.translation import BATCH, CASES, EVERY, SHUFFLED, image, mask

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "translation.npz")
BRIEF = {"xla_backend_optimization_level": 0}  # compiling is all that takes time here


def module_of(case):
    fields = CASES[case]
    if fields["net"] == "patch":
        return PatchDiscriminator(fields["features"], int(case.removeprefix("patch")))
    own = {name: fields[name] for name in ("depth", "blocks", "halvings", "features") if name in fields}
    return {"unet": UNet, "resnet": ResNetGenerator}[fields["net"]](fields["channels"][1], **own)


def variables_of(case):
    """Returns PyTorch's weights, `[out, in, k, k]` and transposed `[in, out, k, k]`, in our layout."""
    variables, first = {}, 0
    for line in GOLDEN[f"{case}/layout"]:
        name, what, shape = line.split()
        shape = tuple(map(int, shape.split(",")))
        array = GOLDEN[f"{case}/weights"][first : first + np.prod(shape)].reshape(shape).astype(np.float32)
        first += array.size
        if array.ndim == 4:
            array = array.transpose(2, 3, 0, 1) if name.startswith("up") else array.transpose(2, 3, 1, 0)
        collection = "batch_stats" if what.startswith("running_") else "params"
        what = {"weight": "scale" if "norm" in name else "kernel"}.get(what, what.removeprefix("running_"))
        variables.setdefault(collection, {}).setdefault(name, {})[what] = array
    assert first == len(GOLDEN[f"{case}/weights"])
    return variables


def inputs_of(case):
    fields = CASES[case]
    given = fields["channels"] if fields["net"] == "patch" else fields["channels"][:1]
    pictures = [image((BATCH, channels, *fields["size"]), i) for i, channels in enumerate(given) if channels]
    return [(x.transpose(0, 2, 3, 1) / 127.5 - 1).astype(np.float32) for x in pictures]


def drawn(module, *inputs):
    """Returns variables of the module's shapes; drawing them as it does would take longer than all else."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=False))
    bounds = {"params": (-0.4, 0.6), "batch_stats": (0.5, 1.5)}
    return {
        name: jax.tree.map(lambda leaf: random.uniform(*bounds[name], leaf.shape).astype(np.float32), tree)  # noqa: B023
        for name, tree in shapes.items()
    }


def applied(module, variables, *inputs, train=False, **rngs):
    """Returns the module's output, compiled in a hurry."""
    function = functools.partial(module.apply, train=train, rngs=rngs or None)
    return jax.jit(function, compiler_options=BRIEF)(variables, *inputs)


def masked(next_function, args, kwargs, context):
    """Has the place of PyTorch's dropout drop what it drops there."""
    if not isinstance(context.module, Dropout) or context.method_name != "__call__":
        return next_function(*args, **kwargs)
    (x,), train = args, kwargs["train"]
    dropped = mask(int(context.module.name.rpartition("_")[2]), x.transpose(0, 3, 1, 2).shape)
    return x * dropped.transpose(0, 2, 3, 1).astype(np.float32) if train else x


FAST = (("unet5", "train"), ("resnet1", "eval"), ("patch16", "train"))
NUMBERS = [(case, mode) for case in CASES for mode in ("train", "eval")]


@pytest.mark.parametrize(
    "case, mode", [each if each in FAST else pytest.param(*each, marks=pytest.mark.slow) for each in NUMBERS]
)
def test_numbers_are_pytorchs(case, mode):
    module, variables, inputs, fields = module_of(case), variables_of(case), inputs_of(case), CASES[case]
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=False))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    if fields["net"] == "unet" and not fields.get("dropped"):
        module = module.clone(dropout=0.0)
    with nn.intercept_methods(masked):
        got, want = applied(module, variables, *inputs, train=mode == "train"), GOLDEN[f"{case}/{mode}"]
    if fields["net"] == "patch":
        got, want = got["logits"], want[:, 0]
    else:
        every = fields.get("every", EVERY)
        got, want = got[:, ::every, ::every], want.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("factor", SHUFFLED)
def test_pixels_are_shuffled_as_pytorch_does(factor):
    whole = np.arange(np.prod(SHUFFLED[factor]), dtype=np.int32).reshape(SHUFFLED[factor]).transpose(0, 2, 3, 1)
    shuffled = GOLDEN[f"shuffle/{factor}"].transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(pixel_shuffle(jnp.asarray(whole), factor), shuffled)
    np.testing.assert_array_equal(pixel_unshuffle(jnp.asarray(shuffled), factor), whole)


@pytest.mark.parametrize("shape, factor", [((1, 1, 1, 1), 1), ((2, 1, 3, 8), 2), ((1, 2, 1, 27), 3), ((0, 2, 2, 4), 2)])
def test_pixel_shuffle_against_numpy_and_back(shape, factor):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    b, h, w, channels = shape
    want = np.empty((b, h * factor, w * factor, channels // factor**2), np.float32)
    for down in range(factor):
        for right in range(factor):
            want[:, down::factor, right::factor] = x[..., down * factor + right :: factor**2]
    shuffled = pixel_shuffle(jnp.asarray(x), factor)
    np.testing.assert_array_equal(shuffled, want)
    np.testing.assert_array_equal(pixel_unshuffle(shuffled, factor), x)


def test_pixels_that_are_no_multiple_are_refused():
    x = jnp.zeros((1, 4, 6, 6))
    with pytest.raises(ValueError, match=r"factor² = 4 must divide the channels, got 6"):
        pixel_shuffle(x, 2)
    with pytest.raises(ValueError, match="factor=4 must divide height and width, got 4×6"):
        pixel_unshuffle(x, 4)
    for function in (pixel_shuffle, pixel_unshuffle):
        with pytest.raises(ValueError, match="factor"):
            function(x, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (8, 7), (8, 16)])
@pytest.mark.parametrize("multiple, least", [(1, 1), (4, 1), (8, 8), (4, 5), (3, 10)])
def test_padding_is_numpys_and_cut_back_exactly(size, multiple, least):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    padded, cut = pad_to_multiple(jnp.asarray(x), multiple, least)
    wanted = [next(n for n in range(max(side, least), 99) if n % multiple == 0) for side in size]
    np.testing.assert_array_equal(
        padded, np.pad(x, ((0, 0), (0, wanted[0] - size[0]), (0, wanted[1] - size[1]), (0, 0)), mode="symmetric")
    )
    np.testing.assert_array_equal(cut(padded), x)
    assert cut(jnp.zeros((2, *wanted, 5))).shape == (2, *size, 5)


def test_images_that_fit_are_not_copied_and_none_is_refused():
    x = jnp.ones((1, 8, 12, 1))
    assert pad_to_multiple(x, 4)[0] is x
    for wrong in (jnp.ones((1, 0, 4, 1)), jnp.ones((1, 4, 0, 1))):
        with pytest.raises(ValueError, match="images with pixels"):
            pad_to_multiple(wrong, 4)
    with pytest.raises(ValueError, match="a multiple of at least 1"):
        pad_to_multiple(x, 0)


GENERATORS = {
    "unet": (UNet(2, features=2, depth=3), 8),
    "deep unet": (UNet(2, features=1, depth=6), 64),
    "unet by example": (UNet(2, features=2, depth=3, norm=InstanceNorm), 8),
    "shallow unet": (UNet(2, features=2, depth=1, norm=None), 2),
    "resnet": (ResNetGenerator(2, features=2, blocks=1), 4),
    "resnet, thrice": (ResNetGenerator(2, features=2, blocks=1, halvings=3), 8),
    "resnet at full size": (ResNetGenerator(2, features=2, blocks=1, halvings=0), 1),
}


@pytest.mark.parametrize(
    "name, size",
    [
        ("unet", (13, 6)),
        *(pytest.param(name, (1, 1), marks=pytest.mark.slow) for name in GENERATORS),
        *(pytest.param(name, (13, 6), marks=pytest.mark.slow) for name in GENERATORS if name != "unet"),
    ],
)
def test_generators_take_any_size_by_padding_and_cutting_back(name, size):
    """What comes out is what they make of an image that was mirrored by hand, cut."""
    module, stride = GENERATORS[name]
    least = stride if isinstance(module, UNet) else max(4, 2 * stride)  # residual blocks mirror one pixel of two
    x = np.random.default_rng(0).uniform(-1, 1, (2, *size, 3)).astype(np.float32)
    sides = [next(n for n in range(max(side, least), 99) if n % stride == 0) for side in size]
    whole = np.pad(x, ((0, 0), (0, sides[0] - size[0]), (0, sides[1] - size[1]), (0, 0)), mode="symmetric")
    variables = drawn(module, x)
    got, want = applied(module, variables, x), applied(module, variables, whole)
    assert got.shape == (2, *size, 2) and want.shape == (2, *sides, 2)
    np.testing.assert_allclose(got, want[:, : size[0], : size[1]], atol=1e-6)  # values from -1 to 1


def field_of(patch):
    """Pixels of a side that a logit sees, Araujo et al. 2019 (distill.pub), equation 2: from the last layer to the
    first, r becomes s·(r - 1) + k."""
    halvings = PATCHES[patch]
    kernels = [(4, 2)] * halvings + [(4, 1), (4, 1)] if halvings else [(1, 1)] * 3
    return functools.reduce(lambda r, layer: layer[1] * (r - 1) + layer[0], reversed(kernels), 1)


@pytest.mark.parametrize("patch", [p if p == 70 else pytest.param(p, marks=pytest.mark.slow) for p in PATCHES])
def test_a_logit_sees_a_patch(patch):
    """Derived, and measured by the gradient of a logit whose patch lies within the image, in both inputs."""
    assert field_of(patch) == patch
    module = PatchDiscriminator(features=1, patch=patch, norm=None)
    side = max(8, 3 * 2 ** PATCHES[patch], patch + 2 ** (PATCHES[patch] + 1) * 2)
    shape = (1, side, side, 1)
    variables = jax.tree.map(np.ones_like, drawn(module, jnp.zeros(shape), jnp.zeros(shape)))  # no slope is lost

    def logit(image, source):
        logits = module.apply(variables, image, source, train=False)["logits"]
        return logits[0, logits.shape[1] // 2, logits.shape[2] // 2]

    x = jnp.ones(shape)
    for slope in jax.jit(jax.grad(logit, (0, 1)), compiler_options=BRIEF)(x, x):
        seen = np.argwhere(np.asarray(slope[0, :, :, 0]) != 0)
        assert list(np.ptp(seen, axis=0) + 1) == [patch, patch]
        assert seen.min() > 0
        assert seen.max() < side - 1


@pytest.mark.parametrize(
    "depth, side", [(1, 24), pytest.param(2, 48, marks=pytest.mark.slow), pytest.param(3, 96, marks=pytest.mark.slow)]
)
def test_a_pixel_of_the_unet_is_made_of_those_within_its_reach(depth, side):
    """Of some pixels of those it is made of the outermost one, of none of one beyond: by gradients, in evaluation."""
    module = UNet(1, features=1, depth=depth)
    x = jnp.zeros((1, side, side, 1))
    variables = jax.tree.map(lambda leaf: 0.05 * np.ones_like(leaf), drawn(module, x))
    # Of a single row of tanh's slopes, all positive: a sum over columns doesn't cancel.
    rows = jax.jit(jax.jacrev(lambda x: module.apply(variables, x, train=False)[0, :, side // 2, 0]))
    sees = np.asarray(rows(x)).sum((1, 3, 4)) != 0  # [row made, row seen]
    made, seen = np.argwhere(sees).T
    assert np.abs(made - seen).max() == module.reach < side - 2**depth
    sees = np.asarray(rows(x)).sum((1, 2, 4)) != 0  # [row made, column seen]
    assert np.abs(np.argwhere(sees)[:, 1] - side // 2).max() <= module.reach


@pytest.mark.parametrize("patch", PATCHES)
def test_a_discriminator_takes_all_sizes_that_leave_it_a_logit(patch):
    least = 3 * 2 ** PATCHES[patch] if patch > 1 else 1
    module = PatchDiscriminator(features=1, patch=patch)
    out = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x, train=True), jnp.ones((1, least, least, 1))
    )
    assert out[0]["logits"].shape == (1, 1, 1)
    if patch > 1:
        small = jnp.ones((1, least, least - 1, 1))
        words = f"patches of {patch} pixels need images of {least} pixels a side or more, got {least}×{least - 1}"
        with pytest.raises(ValueError, match=words):
            module.init(jax.random.key(0), small, train=True)


def test_what_does_not_fit_is_refused():
    x = jnp.ones((1, 8, 8, 1))
    with pytest.raises(ValueError, match="patch must be one of 1, 16, 34, 70, 142, 286, got 17"):
        PatchDiscriminator(patch=17).init(jax.random.key(0), x, train=True)
    with pytest.raises(ValueError, match=r"of one size, got \(1, 8, 8, 1\) and \(1, 8, 9, 1\)"):
        PatchDiscriminator(patch=16).init(jax.random.key(0), x, jnp.ones((1, 8, 9, 1)), train=True)
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        UNet(1, depth=0).init(jax.random.key(0), x, train=True)


def test_features_are_the_activations_of_all_layers_but_the_last():
    """As PyTorch's leaky ReLUs have them: of 1×1 convolutions by hand."""
    module, x = PatchDiscriminator(features=3, patch=1, norm=None), np.random.default_rng(0).normal(size=(2, 3, 4, 2))
    given = jnp.asarray(x, jnp.float32)
    variables = drawn(module, given)
    out = applied(module, variables, given)
    for name, activation in zip(("layer0", "layer1"), out["features"], strict=True):
        x = x @ np.asarray(variables["params"][name]["kernel"][0, 0], np.float64) + variables["params"][name]["bias"]
        x = np.where(x > 0, x, 0.2 * x)
        np.testing.assert_allclose(activation, x, rtol=1e-5, atol=1e-6)
    last = variables["params"]["logits"]
    logits = x @ np.asarray(last["kernel"][0, 0], np.float64) + last["bias"]
    np.testing.assert_allclose(out["logits"], logits[..., 0], rtol=1e-5, atol=1e-6)


def test_weights_are_drawn_as_the_papers_say():
    """From N(0, 0.02), norms' scales from N(1, 0.02), biases 0: means and deviations within four standard errors."""
    x = jnp.zeros((1, 8, 8, 3))
    variables = jax.jit(functools.partial(UNet(3, features=8, depth=3).init, train=False))(jax.random.key(0), x)
    kinds = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        kinds.setdefault(path[-1].key, []).append(np.asarray(leaf).ravel())
    for kind, mean in (("kernel", 0.0), ("scale", 1.0)):
        drawn = np.concatenate(kinds[kind])
        assert abs(drawn.mean() - mean) < 4 * 0.02 / np.sqrt(drawn.size)
        assert abs(drawn.std() / 0.02 - 1) < 4 / np.sqrt(2 * drawn.size)
    assert not np.concatenate(kinds["bias"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("depth, dropping", [(5, False), (6, True), (8, True)])
def test_dropout_is_noise_in_training_alone(depth, dropping):
    module, x = UNet(1, features=1, depth=depth), jnp.ones((2, 2**depth, 2**depth, 1))
    variables = drawn(module, x)
    evaluated, trained = (
        [applied(module, variables, x, train=train, dropout=jax.random.key(seed)) for seed in (0, 1)]
        for train in (False, True)
    )
    np.testing.assert_array_equal(*evaluated)
    assert bool((trained[0] != trained[1]).any()) == dropping


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "resnet", "patch"])
def test_half_precision_inside_and_float32_outside(name):
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)), jnp.float32)
    module = {"unet": UNet(3, 4, 3), "resnet": ResNetGenerator(3, 4, 1), "patch": PatchDiscriminator(4, 16)}[name]
    variables = drawn(module, x)
    full, half = (applied(module.clone(dtype=dtype), variables, x, train=True) for dtype in (jnp.float32, jnp.bfloat16))
    assert {leaf.dtype for leaf in jax.tree.leaves((full, half))} == {jnp.dtype("float32")}
    apart = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max() / jnp.abs(a).max()), full, half)
    assert 0 < max(jax.tree.leaves(apart)) < 0.2


def test_the_norms_are_the_papers():
    norms = UNet(1).norm, PatchDiscriminator().norm, ResNetGenerator(1).norm
    assert norms == (BatchNorm, BatchNorm, InstanceNorm)
