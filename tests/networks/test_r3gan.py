"""R3GAN's networks: PyTorch's numbers (golden/r3gan.npz), the paper's sizes, weights as they are drawn, precision."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.heads import Projection
from jaxgan.networks.r3gan import Discriminator, Generator, Stage, paper_stages

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "r3gan.npz")
STAGES = (Stage(12, 2, 4), Stage(8, 1, 2), Stage(4, 2, 1))
GENERATOR = Generator(STAGES, classes=3)
DISCRIMINATOR = Discriminator(STAGES, head=Projection(classes=3))


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


def params_of(net):
    """Returns PyTorch's weights, `[out, in, k, k]` and `[out, in]`, in our layout."""
    params = {}
    for full, array in GOLDEN.items():
        if not full.startswith(f"{net}/"):
            continue
        _, *modules, name = full.split("/")
        if modules and modules[-1] == "depthwise":  # [W, 1, 4, 4]
            modules, name, array = modules[:-1], "depthwise", array[:, 0].transpose(1, 2, 0)
        elif name == "basis":
            array = array.transpose(1, 2, 0)
        elif modules == ["embedding"] and net == "g":
            modules, name = ["embedding"], "embedding"
        elif name == "weight":
            name, array = "kernel", array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        place = functools.reduce(lambda tree, module: tree.setdefault(module, {}), modules, params)
        place[name] = array
    return params


def count(module, *inputs):
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_images_are_pytorchs():
    latent, label, params = GOLDEN["latent"], GOLDEN["label"], params_of("g")
    shapes = jax.eval_shape(lambda: GENERATOR.init(jax.random.key(0), latent, label))["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    got = jax.jit(lambda: GENERATOR.apply({"params": params}, latent, label))()
    np.testing.assert_allclose(got, nhwc(GOLDEN["image"]), rtol=1e-5, atol=1e-5 * np.abs(GOLDEN["image"]).max())


def test_logits_and_their_slopes_are_pytorchs():
    image, label, params = nhwc(GOLDEN["image"]), GOLDEN["label"], params_of("d")
    shapes = jax.eval_shape(lambda: DISCRIMINATOR.init(jax.random.key(0), image, label))["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)

    @jax.jit
    def judge(image):
        logits = DISCRIMINATOR.apply({"params": params}, image, label)["logits"]
        return jnp.sum(logits), logits

    slopes, logits = jax.grad(judge, has_aux=True)(image)
    for got, want in ((logits, GOLDEN["logits"]), (slopes, nhwc(GOLDEN["slopes"]))):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


def test_the_papers_networks_for_256_pixels_have_as_many_parameters_as_published():
    """23.06 and 23.01 million, and by hand, with w channels, 2w inside a block, 16 a group: a block has w·2w + 2w of
    its first layer, 2w·16·9 + 2w, and 2w·w."""
    stages = paper_stages(256)
    assert [stage.width for stage in stages] == [768, 768, 768, 768, 384, 192, 96]
    blocks = sum(2 * (2 * w * w + 2 * w + 2 * w * 16 * 9 + 2 * w + 2 * w * w) for w, *_ in stages)
    widths = 768 * 384 + 384 * 192 + 192 * 96
    by_hand_g = 4 * 4 * 768 + 64 * 768 + blocks + widths + 96 * 3
    by_hand_d = 3 * 96 + blocks + widths + 4 * 4 * 768 + 768
    assert count(Generator(stages), jnp.zeros((1, 64))) == by_hand_g == 23_057_952
    assert count(Discriminator(stages), jnp.zeros((1, 256, 256, 3))) == by_hand_d == 23_009_568
    assert (round(by_hand_g / 1e6, 2), round(by_hand_d / 1e6, 2)) == (23.06, 23.01)


def test_blocks_start_at_nothing_and_their_other_layers_at_hes_weights_scaled():
    """L^(-1/4) times √(2 / (1 + 0.2²) / inputs), with L = 3 blocks."""
    stages = (Stage(64, 2, 4), Stage(32, 1, 1))
    latent = jax.random.normal(jax.random.key(1), (3, 8))
    params = jax.jit(lambda: Generator(stages, 1).init(jax.random.key(0), latent))()["params"]
    for name, inputs in (("expand", 64), ("spatial", 9 * 32)):
        kernel = np.asarray(params["stage0_block1"][name]["kernel"], np.float64)
        std = 3**-0.25 * np.sqrt(2 / 1.04 / inputs)
        assert np.std(kernel) == pytest.approx(std, rel=5 / np.sqrt(2 * kernel.size)), name
        assert not np.any(params["stage0_block1"][name]["bias"])
    for block in ("stage0_block0", "stage0_block1", "stage1_block0"):
        assert not np.any(params[block]["project"]["kernel"])
    # Then only the linear parts are left: the basis, its modulation, 1×1 convolutions and interpolation.
    image = Generator(stages, 1).apply({"params": params}, latent)
    twice = Generator(stages, 1).apply({"params": params}, 2 * latent)
    np.testing.assert_allclose(twice, 2 * image, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_sizes_and_patches(patch):
    stages = (Stage(8, 1, 2), Stage(4, 0, 1), Stage(4, 1, 1))
    generator, judge = Generator(stages, 1, patch), Discriminator(stages, 1, patch)
    assert generator.size == 16 * patch
    image, variables = jax.eval_shape(lambda: generator.init_with_output(jax.random.key(0), jnp.zeros((2, 5))))
    assert image.shape == (2, 16 * patch, 16 * patch, 1) and image.dtype == jnp.float32
    assert not any(name.startswith("stage1") for name in variables["params"])
    outputs, _ = jax.eval_shape(lambda: judge.init_with_output(jax.random.key(0), jnp.zeros(image.shape)))
    assert {name: array.shape for name, array in outputs.items()} == {"logits": (2,), "features": (2, 8)}


def test_coarse_stages_stay_in_float32():
    stages = (Stage(8, 1, 2), Stage(8, 1, 2), Stage(4, 1, 1))
    for module, x in ((Generator, jnp.ones((2, 5))), (Discriminator, jnp.ones((2, 16, 16, 3)))):
        module = module(stages, dtype=jnp.bfloat16, coarse=1)
        init = lambda x, module=module: module.init_with_output(jax.random.key(0), x, capture_intermediates=True)  # noqa: E731
        outputs, variables = jax.eval_shape(init, x)
        inner = {
            name: {y.dtype.name for y in jax.tree.leaves(layer)}
            for name, layer in variables.pop("intermediates").items()
            if name.startswith("stage")
        }
        wanted = {f"stage{i}_block0": {"bfloat16" if i else "float32"} for i in range(3)}
        assert inner == wanted
        assert {leaf.dtype.name for leaf in jax.tree.leaves((outputs, variables))} == {"float32"}


def test_a_bounded_generator_ends_with_tanh():
    latent = jax.random.normal(jax.random.key(1), (3, 8))
    plain, bounded = Generator(STAGES), Generator(STAGES, bounded=True)
    variables = jax.jit(plain.init)(jax.random.key(0), latent)
    np.testing.assert_allclose(bounded.apply(variables, latent), np.tanh(plain.apply(variables, latent)), atol=1e-6)


def test_what_does_not_fit_is_refused():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="images of 16×16, got"):
        Discriminator(STAGES).init(key, jnp.zeros((1, 32, 32, 3)))
    with pytest.raises(ValueError, match="one at least, and a patch of at least 1, got 0 and 1"):
        Generator(()).init(key, jnp.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"needs labels: .* got None"):
        GENERATOR.init(key, jnp.zeros((1, 4)))
    for size in (4, 12, 100):
        with pytest.raises(ValueError, match=f"8, 16, 32, ... pixels a side, got {size}"):
            paper_stages(size)
