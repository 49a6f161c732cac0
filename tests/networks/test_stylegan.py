"""The first StyleGAN's networks: PyTorch's numbers (golden/stylegan.npz), and what styles, noise and growth do."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.stylegan import Discriminator, Generator, faded, growth
from scripts.golden.layers import read

GOLDEN = read(pathlib.Path(__file__).parents[1] / "golden" / "stylegan.npz")
WIDTHS = {"size": 16, "features": 3, "max_features": 6}
STYLES = {"style_features": 6, "mapping_layers": 2}
MODULES = {"generator": Generator(**WIDTHS, **STYLES), "discriminator": Discriminator(**WIDTHS)}


def ours(array, image=None):
    """PyTorch's layout in ours; of a dense layer that reads an image of this shape, channels come last."""
    if image is not None:
        array = np.moveaxis(array.reshape(len(array), *image), 1, -1).reshape(len(array), -1)
    return array.transpose({4: (2, 3, 1, 0), 3: (1, 2, 0), 2: (1, 0), 1: (0,)}[array.ndim])


def variables_of(network, grows):
    params, noise = {}, {}
    for full, array in GOLDEN.items():
        name, *path = full.split("/")
        if name != network or path[0] in ("input", "full", "fading"):
            continue
        if not grows and path[0] in ("images_0", "from_image_0"):
            continue
        path = [{"images_1": "images_0", "from_image_1": "from_image_0"}.get(p, p) if not grows else p for p in path]
        if path[-1] == "noise":
            noise[path[0]] = {"image": array[..., None]}
            continue
        path = [{"weight": "kernel"}.get(p, p) for p in path]
        value = ours(array, (6, 4, 4) if path == ["dense", "kernel"] else None)
        functools.reduce(lambda tree, name: tree.setdefault(name, {}), path[:-1], params)[path[-1]] = value
    growing = {"growth": {"position": np.float32(0.3)}} if grows else {}
    rest = {"noise": noise, "w_avg": {"mean": np.zeros(6, np.float32)}} if network == "generator" else {}
    return {"params": params, **rest, **growing}


@pytest.mark.parametrize("grows", [False, True], ids=["full", "fading"])
@pytest.mark.parametrize("network", MODULES)
def test_numbers_are_pytorchs(network, grows):
    module, variables = MODULES[network].clone(grows=grows), variables_of(network, grows)
    nhwc = lambda x: x.transpose(0, 2, 3, 1) if x.ndim == 4 else x  # noqa: E731
    x = nhwc(GOLDEN[f"{network}/input"])
    shapes = dict(jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False)))
    shapes.pop("across_examples", None)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    got = jax.jit(lambda x: module.apply(variables, x, train=False))(x)
    got = got["logits"] if network == "discriminator" else got
    want = nhwc(GOLDEN[f"{network}/{'fading' if grows else 'full'}"])
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * np.abs(want).max())
    other = nhwc(GOLDEN[f"{network}/{'full' if grows else 'fading'}"])
    assert np.abs(want - other).max() > 0.05 * want.std()


SMALL = Generator(size=16, channels=1, features=3, max_features=6, style_features=6, mapping_layers=1)


@functools.cache
def small():
    z = jax.random.normal(jax.random.key(1), (4, 5))
    variables = jax.jit(lambda key: SMALL.init(key, z, train=False))(jax.random.key(0))
    # Noise and styles have an effect.
    params = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape), variables["params"])
    return {**variables, "params": params}, z


def styles():
    variables, z = small()
    w = SMALL.apply(variables, z, method="mapping")
    return jnp.repeat(w[:, None], len(SMALL.layers), axis=1)


draw = jax.jit(lambda variables, w: SMALL.apply(variables, w, method="synthesize"))


def test_an_example_depends_on_its_styles_alone_and_each_layer_on_its_own():
    variables, _ = small()
    w = styles()
    whole = draw(variables, w)
    np.testing.assert_allclose(draw(variables, w[::-1]), whole[::-1], rtol=0, atol=1e-5)
    assert SMALL.layers == ("4", "4", "8", "8", "16", "16")
    for layer in range(6):
        changed = draw(variables, w.at[0, layer].set(w[1, layer]))
        assert np.abs(changed[0] - whole[0]).max() > 1e-4
        np.testing.assert_allclose(changed[1:], whole[1:], rtol=0, atol=1e-5)


def test_factors_are_what_w_is_multiplied_by():
    """The change of a layer's scale and bias with w, by finite differences of what AdaIN makes of an image that is
    normalised already: read off the affine layers, called alone."""
    variables, _ = small()
    factors = SMALL.factors(variables["params"])
    assert [x.shape for x in factors] == [(6, 12)] * 4 + [(6, 6)] * 2
    style = variables["params"]["epilogues_3"]["adain"]["style"]
    np.testing.assert_allclose(factors[3], np.asarray(style["kernel"], np.float64) / np.sqrt(6), rtol=1e-6)


def test_noise_is_drawn_for_each_example_in_training():
    variables, _ = small()
    w = jnp.repeat(styles()[:1], 3, axis=0)
    train = jax.jit(
        lambda key: SMALL.apply(variables, w, method="synthesize", train=True, rngs={"noise": key}), static_argnums=()
    )
    drawn = train(jax.random.key(0))
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3 < np.abs(drawn - train(jax.random.key(1))).max()
    still = draw(variables, w)
    np.testing.assert_allclose(still[0], still[1], rtol=0, atol=1e-6)


def test_the_running_mean_of_w_moves_where_it_may():
    variables, z = small()
    w, changed = SMALL.apply(variables, z, method="mapping", mutable=["w_avg"])
    np.testing.assert_allclose(changed["w_avg"]["mean"], 0.005 * np.mean(w, axis=0), rtol=1e-3, atol=1e-7)


def test_classes_make_another_w_and_choose_a_logit():
    z, labels, image = jnp.ones((2, 5)), jnp.array([0, 2]), jnp.zeros((2, 8, 8, 1))
    generator = SMALL.clone(size=8, classes=3)
    variables = generator.init(jax.random.key(0), z, labels, train=False)
    w = generator.apply(variables, z, labels, method="mapping")
    assert np.abs(w[0] - w[1]).max() > 1e-3
    judge = Discriminator(size=8, features=2, classes=3, minibatch=None)
    variables = judge.init(jax.random.key(0), image, labels, train=False)
    variables["params"]["judge"]["bias"] = jnp.array([1.0, 2.0, 3.0])
    logits = judge.apply(variables, image, labels, train=False)["logits"]
    np.testing.assert_allclose(logits[1] - logits[0], 2.0, atol=1e-4)  # equal images


# --- growth -----------------------------------------------------------------------------------------------------------
def test_growth_by_hand():
    """8×8 for 100 images, 16×16 fades in over 100, stays for 100, and so on."""
    images = jnp.array([0.0, 99, 100, 150, 200, 299, 325, 400, 1e9])
    np.testing.assert_allclose(
        jax.vmap(lambda x: growth(x, 32, 100))(images), [0, 0, 0, 0.5, 1, 1, 1.25, 2, 2], atol=1e-6
    )


@pytest.mark.parametrize(
    "position, coarse, fine, share", [(0.0, 4, 4, 1), (0.25, 4, 2, 0.25), (1.0, 2, 2, 1), (1.5, 2, 1, 0.5)]
)
def test_real_images_fade_in(position, coarse, fine, share):
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)

    def blocks(n):
        means = images.reshape(2, 32 // n, n, 32 // n, n, 3).mean((2, 4))
        return np.kron(means, np.ones((1, n, n, 1)))

    expected = (1 - share) * blocks(coarse) + share * blocks(fine)
    np.testing.assert_allclose(faded(images, jnp.float32(position)), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_what_is_not_reached_has_no_gradient_and_the_last_position_is_kept():
    generator = SMALL.clone(grows=True)
    z = jax.random.normal(jax.random.key(1), (2, 5))
    variables = generator.init(jax.random.key(0), z, train=False)
    w = jnp.ones((2, 6, 6))

    @jax.jit
    def gradient(position):
        def loss(params):
            how = {"method": "synthesize", "position": position, "mutable": ["growth"]}
            images, changed = generator.apply({**variables, "params": params}, w, **how)
            return jnp.sum(images**2), (images, changed)

        return jax.grad(loss, has_aux=True)(variables["params"])

    found, (images, changed) = gradient(jnp.float32(0.0))
    assert not np.any(found["convs_3"]["kernel"]) and not np.any(found["images_1"]["kernel"])
    assert np.any(found["convs_2"]["kernel"]) and np.any(found["images_0"]["kernel"])
    np.testing.assert_array_equal(images, np.kron(images[:, ::2, ::2], np.ones((1, 2, 2, 1))))  # 8×8 pixels
    found, (images, changed) = gradient(jnp.float32(0.4))
    assert np.any(found["convs_3"]["kernel"]) and np.any(found["images_0"]["kernel"])
    later = generator.apply({**variables, **changed}, w, method="synthesize")  # evaluation
    np.testing.assert_allclose(later, images, rtol=0, atol=1e-5)


WRONG = {
    "size": (lambda: Generator(size=28).init(jax.random.key(0), jnp.zeros((1, 4)), train=False), "a StyleGAN draws"),
    "styles": (lambda: draw(small()[0], jnp.zeros((2, 5, 6))), r"\[B, 6, 6\], got \[2, 5, 6\]"),
    "image": (
        lambda: Discriminator(size=8).init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)), train=False),
        "8×8 pixels, got 16×16",
    ),
}


@pytest.mark.parametrize("call, line", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_one_line(call, line):
    with pytest.raises(ValueError, match=line):
        call()
