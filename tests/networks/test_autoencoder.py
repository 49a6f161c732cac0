"""VQGAN's autoencoder: PyTorch's numbers (golden/autoencoder.npz), and the networks of its latents."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks import latent
from jaxgan.networks.autoencoder import Autoencoder, groups_of
from scripts.golden.layers import read

GOLDEN = read(pathlib.Path(__file__).parents[1] / "golden" / "autoencoder.npz")
small = {"codes": 6, "code_size": 3, "widths": (4, 8)}
CASES = {"euclidean": Autoencoder(3, normalised=False, **small), "angular": Autoencoder(1, **small)}


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


def params_of(case):
    """PyTorch's weights in our layout."""
    params = {"codebook": {"codes": GOLDEN[f"{case}/codes"]}}
    for full, array in GOLDEN.items():
        of, *path = full.replace("/", ".").split(".")
        if of != case or path[-1] not in ("weight", "bias"):
            continue
        room = params if path[0] == "last" else params.setdefault(path[0], {})
        layer = room.setdefault("_".join(path[1:-1]) or "last", {})
        if array.ndim == 4:
            layer["kernel"] = array.transpose(2, 3, 1, 0)
        else:
            norm = any(part.startswith("norm") for part in path)
            layer["scale" if norm and path[-1] == "weight" else path[-1]] = array
    return params


@functools.cache
def computed(case):
    """The network's outputs and latents, and the gradients of the golden file's sum."""
    module, x = CASES[case], nhwc(GOLDEN[f"{case}/input"])

    def total(params, x):
        made = module.apply({"params": params}, x, train=True)
        made["latents"] = module.apply({"params": params}, x, train=True, method="encode")
        losses = jnp.sum(made["codebook"] + 0.25 * made["commitment"])
        return jnp.sum(nhwc(GOLDEN[f"{case}/up"]) * made["image"]) + losses, made

    return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(params_of(case), x)


@pytest.mark.parametrize("case", ["angular", pytest.param("euclidean", marks=pytest.mark.slow)])
def test_numbers_and_gradients_are_pytorchs(case):
    shapes = jax.eval_shape(
        lambda: CASES[case].init(jax.random.key(0), nhwc(GOLDEN[f"{case}/input"]), train=False)["params"]
    )
    assert jax.tree.map(jnp.shape, params_of(case)) == jax.tree.map(jnp.shape, shapes)
    (_, made), (of_params, of_input) = computed(case)
    np.testing.assert_array_equal(made["indices"], GOLDEN[f"{case}/indices"])
    assert len(np.unique(made["indices"])) > 2, "what a single code would do as well shows little"
    found = {name: made[name] for name in ("latents", "codebook", "commitment")}
    expected = {name: GOLDEN[f"{case}/{name}"] for name in found}
    found |= {"image": made["image"], "input": of_input, "codes": of_params["codebook"]["codes"]}
    expected |= {"image": nhwc(GOLDEN[f"{case}/image"]), "input": nhwc(GOLDEN[f"{case}/input_gradient"])}
    expected["codes"] = GOLDEN[f"{case}/codes_gradient"]
    for name, value in found.items():
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(
            value, expected[name], rtol=1e-4, atol=1e-5 * np.abs(expected[name]).max(), err_msg=name
        )


def test_its_parts_are_the_whole():
    case = "angular"
    module, variables, x = CASES[case], {"params": params_of(case)}, nhwc(GOLDEN[f"{case}/input"])
    apply = jax.jit(functools.partial(module.apply, variables), static_argnames=("method", "train"))
    (_, made), _ = computed(case)
    latents = apply(x, method="encode", train=False)
    np.testing.assert_allclose(np.mean(np.square(latents), -1), 1, rtol=1e-4)
    np.testing.assert_allclose(apply(latents, method="decode", train=False), made["image"], atol=1e-5)
    # What is decoded is quantised: vectors that are nearest to the same codes make the same image.
    codes = GOLDEN[f"{case}/codes"][made["indices"]]
    np.testing.assert_allclose(apply(5 * codes, method="decode", train=False), made["image"], atol=1e-5)
    last = module.apply(variables, made["hidden"], method="last_layer")
    np.testing.assert_allclose(last, made["image"], atol=1e-6)
    assert module.factor == 2


def test_channels_of_a_group():
    assert [groups_of(n) for n in (1, 4, 6, 16, 24, 32, 96, 128, 512, 7, 34)] == [1, 1, 1, 4, 6, 8, 24, 32, 32, 1, 2]


@pytest.mark.parametrize("widths, size, factor", [((4, 4, 4), (6, 8), 4), ((4, 4), (7, 7), 2)])
def test_a_size_that_halvings_do_not_divide_is_refused(widths, size, factor):
    expected = f"^{len(widths) - 1} halvings need images whose sides {factor} divides, got {size[0]}×{size[1]}"
    with pytest.raises(ValueError, match=expected):
        jax.eval_shape(
            lambda: Autoencoder(1, widths=widths).init(jax.random.key(0), jnp.zeros((1, *size, 1)), train=False)
        )


def test_no_widths_are_refused():
    with pytest.raises(ValueError, match=r"^an autoencoder needs a width at least, got none"):
        jax.eval_shape(lambda: Autoencoder(1, widths=()).init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)), train=False))


def test_the_papers_size():
    """f = 16 at 256 pixels: 16×16 codes, of table 7."""
    module = Autoencoder(3, 1024, 256, (128, 128, 256, 256, 512), 2, normalised=False)
    image = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    made, _ = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x, train=False), image)
    assert made["indices"].shape == (1, 16, 16) and made["image"].shape == (1, 256, 256, 3) and module.factor == 16


@pytest.mark.parametrize("shape", [(8, 8, 4), (7, 7, 3), (4, 8, 2), (12, 16, 2), (1, 1, 3)])
def test_networks_of_latents_take_any_size(shape):
    generator, critic = latent.Generator(shape, 4), latent.Discriminator(4)

    def both(vectors):
        maps, _ = generator.init_with_output(jax.random.key(0), vectors, train=False)
        return maps, critic.init_with_output(jax.random.key(0), maps, train=False)[0]

    maps, said = jax.eval_shape(both, jax.ShapeDtypeStruct((2, 5), jnp.float32))
    assert maps.shape == (2, *shape) and said["logits"].shape == (2,)


def test_residual_branches_begin_at_nothing():
    """Each network is then what it is without its blocks, and generated latents have a root mean square of 1."""
    vectors, key = jax.random.normal(jax.random.key(1), (3, 5)), jax.random.key(0)
    variables = jax.jit(lambda: latent.Generator((8, 8, 4), 4).init(key, vectors, train=False))()
    found = latent.Generator((8, 8, 4), 4).apply(variables, vectors, train=False)
    np.testing.assert_allclose(np.mean(np.square(found), -1), 1, rtol=1e-4)
    bare = {name: value for name, value in variables["params"].items() if not name.startswith("level")}
    without = latent.Generator((8, 8, 4), 4, blocks=0).apply({"params": bare}, vectors, train=False)
    np.testing.assert_allclose(found, without, atol=1e-6)
    assert set(variables["params"]) == {"project", "level0_0", "level1_0", "last"}
