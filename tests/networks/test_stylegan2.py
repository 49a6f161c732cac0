"""StyleGAN2's networks: PyTorch's numbers (golden/stylegan2.npz), the counts of parameters that are printed for the
published networks, the two parts of the generator, noise, batches, precision."""

import functools
import math
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.stylegan2 import Discriminator, Generator, MappingNetwork

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "stylegan2.npz")
WIDTHS = {"features": 3, "max_features": 5, "style_features": 6, "mapping_layers": 2}
NETS = {"g": Generator(size=16, channels=3, classes=5, **WIDTHS), "d": Discriminator(classes=5, **WIDTHS)}
TINY = Generator(size=8, channels=1, features=4, max_features=8, style_features=6, mapping_layers=2)
LATENT = np.random.default_rng(3).standard_normal((4, 5)).astype(np.float32)


def ours(name, array):
    """Returns PyTorch's name and array, `[out, in, k, k]`, `[out, in]`, channels before pixels, as ours."""
    *path, what = name.split("/")
    if path and path[0].startswith("block"):
        side, place = path[0].removeprefix("block"), path[1]
        path = [f"short{side}" if place == "short" else f"conv{side}{place}"]
    if name == "dense/weight":  # of pixels, channels before them
        array = array.reshape(len(array), -1, 16).swapaxes(1, 2).reshape(len(array), -1)
    if what == "weight":
        what, array = "kernel", array.T if array.ndim == 2 else array.transpose(2, 3, 1, 0)
    if what == "constant":
        array = array.transpose(1, 2, 0)
    return (*path, what), array[..., None] if what == "image" else array


def variables_of(net):
    """Returns PyTorch's weights as our variables."""
    variables = {"params": {}}
    for full, array in GOLDEN.items():
        kind, _, name = full.partition("/")
        if kind != net or name in ("input", "output", "weights", "w") or name.startswith("gradient/"):
            continue
        (*path, what), array = ours(name, array)
        place = variables.setdefault("noise" if what == "image" else "params", {})
        for step in path:
            place = place.setdefault(step, {})
        place[what] = array
    return variables | ({"w_avg": {"mean": np.zeros(6, np.float32)}} if net == "g" else {})


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


@functools.cache
def made(module=TINY):
    """The variables of a generator, and programs that tests share."""
    variables = jax.jit(functools.partial(module.init, train=False))(jax.random.key(0), LATENT)
    return variables, {
        "mapping": jax.jit(lambda v, z: module.apply(v, z, method="mapping", mutable=["w_avg"])),
        "synthesize": jax.jit(lambda v, w: module.apply(v, w, method="synthesize")),
        "draw": jax.jit(lambda v, z: module.apply(v, z, train=False)),
        "train": jax.jit(lambda v, z, key: module.apply(v, z, train=True, rngs={"noise": key})),
    }


@pytest.mark.parametrize("net", ["g", "d"])
def test_numbers_and_gradients_are_pytorchs(net):
    """PyTorch convolves each example with its own kernel, in float64."""
    module, variables, x = NETS[net], variables_of(net), GOLDEN[f"{net}/input"]
    x, labels = (x if net == "g" else nhwc(x)), GOLDEN["labels"]
    shapes = jax.eval_shape(functools.partial(module.init, train=False), jax.random.key(0), x, labels)
    shapes.pop("across_examples", None)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    weights, want = GOLDEN[f"{net}/weights"], GOLDEN[f"{net}/output"]

    def weighted(params):
        got = module.apply({**variables, "params": params}, x, labels, train=False)
        got = got.transpose(0, 3, 1, 2) if net == "g" else got["logits"]
        return jnp.sum(got * weights), got

    (_, got), gradient = jax.jit(jax.value_and_grad(weighted, has_aux=True))(variables["params"])
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.max(np.abs(want)))
    names = [full.removeprefix(f"{net}/gradient/") for full in GOLDEN if full.startswith(f"{net}/gradient/")]
    assert len(names) == 5
    for name in names:
        path, want = ours(name, GOLDEN[f"{net}/gradient/{name}"])
        own = functools.reduce(lambda tree, step: tree[step], path, gradient)
        np.testing.assert_allclose(own, want, rtol=0, atol=2e-5 * np.max(np.abs(want)), err_msg=name)


def test_w_is_pytorchs():
    w = NETS["g"].apply(variables_of("g"), GOLDEN["g/input"], GOLDEN["labels"], method="mapping")
    np.testing.assert_allclose(w, GOLDEN["g/w"], rtol=1e-4, atol=1e-5 * np.max(np.abs(GOLDEN["g/w"])))


def by_hand(size, features, widest=512, style=512):
    """Counts the parameters of the generator and of the discriminator, layer by layer."""
    width = {side: min(widest, features * size // side) for side in (4, 8, 16, 32, 64, 128, 256) if side <= size}
    affine = {side: style * width[side] + width[side] for side in width}
    g = 8 * (style * style + style) + 4 * 4 * width[4]
    d = (3 * width[size] + width[size]) + (9 * (width[4] + 1) * width[4] + width[4])
    d += (16 * width[4] * width[4] + width[4]) + (width[4] + 1)
    for side in width:
        conv = affine[side] + 9 * width[side] ** 2 + width[side] + 1  # with bias and strength of the noise
        g += conv + (affine[side] + 3 * width[side] + 3)
        if side > 4:
            before = width[side // 2]
            g += affine[side // 2] + 9 * before * width[side] + width[side] + 1
            d += 9 * width[side] ** 2 + width[side] + 9 * width[side] * before + before + width[side] * before
    return g, d


@pytest.mark.parametrize("features, g, d", [(128, 30_034_338, 28_864_129), (64, 24_767_458, 24_001_089)])
def test_parameters_at_256_pixels(features, g, d):
    """The counts that are printed for the published networks: config-F, and half its channels."""
    assert by_hand(256, features) == (g, d)
    key = jax.random.key(0)

    def params():
        generator, discriminator = Generator(size=256, features=features), Discriminator(features=features)
        image = jnp.zeros((1, 256, 256, 3))
        return (
            generator.init(key, jnp.zeros((1, 512)), train=False)["params"],
            discriminator.init(key, image, train=False)["params"],
        )

    counts = [sum(math.prod(x.shape) for x in jax.tree.leaves(tree)) for tree in jax.eval_shape(params)]
    assert counts == [g, d]


def test_the_running_mean_of_w_moves_where_it_may():
    variables, run = made()
    np.testing.assert_array_equal(variables["w_avg"]["mean"], 0)
    w, changed = run["mapping"](variables, LATENT)
    np.testing.assert_allclose(changed["w_avg"]["mean"], 0.005 * np.mean(w, axis=0), rtol=1e-4)
    _, again = run["mapping"]({**variables, **changed}, LATENT)
    np.testing.assert_allclose(again["w_avg"]["mean"], 0.005 * 1.995 * np.mean(w, axis=0), rtol=1e-4)
    np.testing.assert_allclose(TINY.apply(variables, LATENT, method="mapping"), w, rtol=1e-6)
    slope = jax.grad(lambda z: jnp.sum(run["mapping"](variables, z)[1]["w_avg"]["mean"]))(LATENT)
    np.testing.assert_array_equal(slope, 0)


def test_an_image_is_that_of_its_w_in_every_layer():
    variables, run = made()
    assert TINY.layers == ("4", "8", "8", "8")
    w, _ = run["mapping"](variables, LATENT)
    codes = jnp.repeat(w[:, None], 4, axis=1)
    image = run["synthesize"](variables, codes)
    np.testing.assert_allclose(image, run["draw"](variables, LATENT), rtol=0, atol=1e-6)
    for layer in range(4):  # each has a say
        other = run["synthesize"](variables, codes.at[:, layer].set(-codes[::-1, layer]))
        assert np.all(np.max(np.abs(other - image), axis=(1, 2, 3)) > 1e-4), layer


@pytest.mark.parametrize("size, layers", [(32, "4 8 8 16 16 32 32 32"), (1024, None)])
def test_layers_of_other_sizes(size, layers):
    names = Generator(size=size).layers
    assert len(names) == 2 * round(math.log2(size)) - 2
    assert layers is None or names == tuple(layers.split())


def test_factors_are_what_each_layer_multiplies_its_w_by():
    """Against differences of the styles, which are what every `affine` puts out."""
    variables, _ = made()

    def styles(codes):
        found = {}

        def look(next_fun, args, kwargs, context):
            y = next_fun(*args, **kwargs)
            if context.module.name == "affine":
                found[context.module.path[0]] = y
            return y

        with nn.intercept_methods(look):
            TINY.apply(variables, codes, method="synthesize")
        return found

    # One code for each number of each layer's w, after one of zeros.
    codes = np.concatenate([np.zeros((1, 24)), np.eye(24)]).reshape(25, 4, 6).astype(np.float32)
    slopes = {name: (y[1:] - y[:1]).reshape(4, 6, -1) for name, y in jax.jit(styles)(codes).items()}
    factors = TINY.factors(variables["params"])
    for k, names in enumerate([["convs_0"], ["convs_1", "images_0"], ["convs_2"], ["images_1"]]):
        want = np.concatenate([slopes[name][k] for name in names], axis=1)
        np.testing.assert_allclose(factors[k], want, rtol=1e-5, atol=2e-6)
        for name in names:
            assert not np.any(np.delete(slopes[name], k, axis=0)), (k, name)


def with_noise(variables, strength=0.5):
    params = jax.tree.map_with_path(
        lambda path, x: x + strength if path[-1].key == "noise_strength" else x, variables["params"]
    )
    return {**variables, "params": params}


def test_noise():
    """Of its own for each example in training, and the same picture for all in evaluation; none at the start."""
    variables, run = made()
    same, key, other = np.broadcast_to(LATENT[:1], LATENT.shape), *jax.random.split(jax.random.key(1))
    np.testing.assert_array_equal(run["train"](variables, same, key), run["train"](variables, same, other))
    variables = with_noise(variables)
    images = run["train"](variables, same, key)
    assert min(np.std(images[i] - images[j]) for i in range(4) for j in range(i)) > 0.05
    assert np.std(images - run["train"](variables, same, other)) > 0.05
    fixed = run["draw"](variables, same)
    np.testing.assert_allclose(fixed, np.broadcast_to(fixed[:1], fixed.shape), rtol=0, atol=1e-6)
    turned = variables | {"noise": jax.tree.map(jnp.negative, variables["noise"])}
    assert np.std(fixed - run["draw"](turned, same)) > 0.05


def test_an_example_is_drawn_alike_in_any_batch():
    variables, run = made()
    variables, others = with_noise(variables), LATENT[[0, 3, 3, 3]]
    images = run["draw"](variables, LATENT)
    np.testing.assert_allclose(run["draw"](variables, LATENT[::-1])[::-1], images, rtol=0, atol=2e-6)
    np.testing.assert_allclose(run["draw"](variables, others)[:1], images[:1], rtol=0, atol=2e-6)
    np.testing.assert_allclose(run["draw"](variables, LATENT[:1]), images[:1], rtol=0, atol=2e-6)


def started(module, *inputs):
    """The shapes of a network's variables; errors are those of its initialisation."""
    return jax.eval_shape(functools.partial(module.init, train=False), jax.random.key(0), *inputs)


@pytest.mark.parametrize("size", [4, 12, 48, 2048, 0, -8])
def test_wrong_sizes_end_in_one_line(size):
    with pytest.raises(ValueError, match=rf"draws images of 8, 16, .*, got {size}; resize or pad") as raised:
        started(Generator(size=size), LATENT)
    assert "\n" not in str(raised.value)
    if size > 0:
        with pytest.raises(ValueError, match=f"got {size}"):
            started(Discriminator(), jnp.zeros((4, size, size, 1)))


def test_wrong_inputs_end_in_one_line():
    with pytest.raises(ValueError, match=r"8 pixels takes w of shape \[B, 4, 6\], got \[2, 3, 6\]"):
        made()[1]["synthesize"](made()[0], jnp.zeros((2, 3, 6)))
    with pytest.raises(ValueError, match="square images"):
        started(Discriminator(), jnp.zeros((4, 8, 16, 1)))
    with pytest.raises(ValueError, match="needs labels"):
        started(Discriminator(classes=3), jnp.zeros((4, 8, 8, 1)))
    with pytest.raises(ValueError, match="needs classes"):
        jax.eval_shape(MappingNetwork().init, jax.random.key(0), None)
    discriminator = Discriminator(features=2, max_features=4)
    image = jnp.zeros((6, 8, 8, 1))
    with pytest.raises(ValueError, match="multiple of group=4"):
        jax.eval_shape(functools.partial(discriminator.apply, train=True), started(discriminator, image), image)


def test_gradients_reach_every_parameter():
    generator, labels = TINY.clone(classes=3), np.array([0, 1, 2, 1], np.int32)
    discriminator = Discriminator(features=4, max_features=8, style_features=6, mapping_layers=2, classes=3)

    @jax.jit
    def slopes(key):
        variables = generator.init(key, LATENT, labels, train=False)
        own = discriminator.init(key, jnp.zeros((4, 8, 8, 1)), labels, train=False)

        def loss(params, own_params):
            image = generator.apply({**variables, "params": params}, LATENT, labels, train=True, rngs={"noise": key})
            logits = discriminator.apply({**own, "params": own_params}, image, labels, train=True)["logits"]
            return jnp.sum(jnp.sin(logits))

        return jax.grad(loss, argnums=(0, 1))(variables["params"], own["params"])

    for path, slope in jax.tree.leaves_with_path(slopes(jax.random.key(0))):
        assert np.all(np.isfinite(slope)), path
        assert np.any(slope), path


@pytest.mark.slow
@pytest.mark.parametrize("low_precision", [1, 2])
def test_bfloat16_is_near_float32_and_kept_to_the_highest_resolutions(low_precision):
    module = TINY.clone(size=16, low_precision=low_precision)
    variables, run = made(module)
    variables, low, seen = with_noise(variables), module.clone(dtype=jnp.bfloat16), {}

    def look(next_fun, args, kwargs, context):
        y = next_fun(*args, **kwargs)
        if context.method_name == "__call__":
            seen["/".join(context.module.path)] = y.dtype
        return y

    with nn.intercept_methods(look):
        image = jax.jit(lambda z: low.apply(variables, z, train=False))(LATENT)
    assert image.dtype == jnp.float32
    for name, side in {"convs_0": 4, "convs_1": 8, "convs_2": 8, "convs_3": 16, "convs_4": 16}.items():
        assert (seen[name] == jnp.bfloat16) == (side << low_precision > 16), name
    wide = [
        name for name in seen if name.endswith("affine") or (name.startswith(("map", "images_")) and "conv" not in name)
    ]
    assert len(wide) > 10
    assert {seen[name] for name in wide} == {jnp.dtype("float32")}
    exact = run["draw"](variables, LATENT)
    assert 1e-4 < np.std(image - exact) / np.std(exact) < 0.02
    discriminator = Discriminator(features=4, max_features=8, dtype=jnp.bfloat16, low_precision=low_precision)
    own = jax.jit(functools.partial(discriminator.init, train=False))(jax.random.key(1), exact)
    judge = lambda dtype: jax.jit(functools.partial(discriminator.clone(dtype=dtype).apply, train=True))(own, exact)  # noqa: E731
    low, full = judge(jnp.bfloat16)["features"], judge(jnp.float32)["features"]
    assert low.dtype == jnp.float32
    assert 1e-4 < np.std(low - full) / np.std(full) < 0.02


@pytest.mark.long
def test_mapped_over_seeds_and_recomputed():
    """Seeds under vmap, jitted, and with recomputed activations: the numbers of each seed by itself."""
    discriminator = Discriminator(features=4, max_features=8)
    seeds = jax.random.split(jax.random.key(5), 2)

    def slopes(key, wrap=lambda f: f):
        variables = TINY.init(key, LATENT, train=False)
        own = discriminator.init(key, jnp.zeros((4, 8, 8, 1)), train=False)

        def loss(params, own_params):
            image = TINY.apply({**variables, "params": params}, LATENT, train=True, rngs={"noise": key})
            critic = lambda x: discriminator.apply({**own, "params": own_params}, x, train=True)["logits"]  # noqa: E731
            penalty = jnp.sum(jax.grad(lambda x: jnp.sum(critic(x)))(image) ** 2)
            return jnp.sum(critic(image)) + penalty

        return jax.grad(wrap(loss), argnums=(0, 1))(variables["params"], own["params"])

    alone = [jax.jit(slopes)(key) for key in seeds]
    stacked = jax.tree.map(lambda *each: jnp.stack(each), *alone)
    for got in (jax.jit(jax.vmap(slopes))(seeds), jax.jit(jax.vmap(lambda key: slopes(key, jax.checkpoint)))(seeds)):
        for (path, a), b in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(stacked), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * max(np.max(np.abs(b)), 1e-3), err_msg=str(path))
