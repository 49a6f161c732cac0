"""DCGAN, residual and dense networks with layers that are handed in."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import GANState, d_loss, g_loss, init_player, iteration, latents, losses, make_d_step, make_g_step, terms
from jaxgan.networks import dcgan, heads, mlp, resnet
from jaxgan.networks.layers import (
    AdaIN,
    ConditionalBatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    PixelNorm,
    equalized,
    spectral,
)

LATENTS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
IMAGES = {n: np.random.default_rng(n).uniform(-1, 1, (4, n, n, 1)).astype(np.float32) for n in (16, 28)}
LABELS = np.array([2, 0, 2, 1], np.int32)
STYLES = LATENTS[:, :2]
PARTS = {"conv": spectral(Conv), "head": heads.Projection(3, dense=spectral(Dense))}

groups = functools.partial(GroupNorm, groups=2)
by_class = functools.partial(ConditionalBatchNorm, classes=3)


def shapes(module, x, condition=None, train=True):
    """Returns the shapes of the variables and of the outputs of a pass."""

    def both():
        variables = module.init(jax.random.key(0), x, condition, train=False)
        return variables, module.apply(variables, x, condition, train=train, mutable=["batch_stats", "spectral"])[0]

    return jax.tree.map(jnp.shape, jax.eval_shape(both))


def kernels(tree, path=()):
    """Returns the paths of the layers that have a kernel."""
    if "kernel" in tree:
        yield path
    for name, inner in tree.items():
        if isinstance(inner, dict):
            yield from kernels(inner, (*path, name))


NETWORKS = {
    "DCGAN's D": (dcgan.Discriminator(features=2, norm=None, **PARTS), IMAGES[28]),
    "residual D": (resnet.Discriminator(features=2, **PARTS), IMAGES[16]),
    "dense D": (mlp.Discriminator((3, 3), dense=spectral(Dense)), IMAGES[16]),
    "DCGAN's G": (dcgan.Generator(28, features=2, conv=spectral(ConvTranspose), dense=spectral(Dense)), LATENTS),
    "residual G": (resnet.Generator(16, 1, 2, conv=spectral(Conv), dense=spectral(Dense)), LATENTS),
    "dense G": (mlp.Generator((2,), (3, 3), dense=spectral(Dense)), LATENTS),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_with_a_kernel_is_the_one_that_was_handed_in(name):
    """All kernels are divided by their norms, and parameters are those of the network without."""
    module, x = NETWORKS[name]
    variables, _ = shapes(module, x, LABELS)
    found = set(kernels(variables["params"]))
    assert found == {path[:-1] for path in map(tuple, _paths(variables["spectral"]))} and len(found) >= 3
    plain = {field: getattr(type(module), field) for field in ("conv", "dense") if hasattr(type(module), field)}
    plain |= {"head": heads.Projection(3)} if getattr(module, "head", None) else {}
    assert shapes(module.clone(**plain), x, LABELS)[0]["params"] == variables["params"]
    rates = {field: equalized(layer) for field, layer in plain.items() if field != "head"}
    assert shapes(module.clone(**rates), x, LABELS)[0]["params"] == variables["params"]


def _paths(state):
    """Returns the layer and weight of every u and v."""
    return {tuple(key.key for key in path[:-1]) for path, _ in jax.tree.leaves_with_path(state, is_leaf=_is_shape)}


def _is_shape(leaf):
    return isinstance(leaf, tuple)


def state_of(rate, **layers):
    """Returns a state of dense networks; the layers' kind doesn't matter here, only the passes."""
    key, tx, hyper = jax.random.key(0), optax.identity(), {"ema_half_life": 0.0, "gamma": 1.0}
    hyper |= {f"{player}/learning_rate": rate for player in ("generator", "discriminator")}
    g = init_player(key, mlp.Generator((16, 16, 1), (8,), **layers), tx, LATENTS)
    d = init_player(key, mlp.Discriminator((8, 8), **layers), tx, IMAGES[16])
    return GANState.create(key, g, d, hyper=hyper)


def test_one_update_turns_every_weight_once():
    """Of all passes of a critic's step (real, fake, a penalty's) and of the generator's step only the first does."""
    state, random = state_of(0.0, dense=spectral(Dense)), np.random.default_rng(1)
    far = lambda leaf: random.standard_normal(leaf.shape).astype(np.float32)  # noqa: E731 - one turn is not the last
    far = jax.tree.map(far, state.discriminator.variables)
    state = state.replace(discriminator=state.discriminator.replace(variables=far))
    d_terms = [d_loss(losses.hinge), terms.r1("gamma")]
    step = jax.jit(iteration(make_d_step(latents(3), d_terms), make_g_step(latents(3), [g_loss(losses.hinge)])))
    after, metrics = step(state, {"image": IMAGES[16]})
    assert np.isfinite(metrics["discriminator/r1"])
    for name, old in state.discriminator.variables["spectral"].items():
        matrix = np.asarray(state.discriminator.params[name]["kernel"], np.float64).T
        u = matrix @ np.asarray(old["kernel"]["v"], np.float64)
        u /= np.linalg.norm(u)
        v = matrix.T @ u / np.linalg.norm(matrix.T @ u)
        new = after.discriminator.variables["spectral"][name]["kernel"]
        np.testing.assert_allclose(new["u"], u, atol=1e-5)
        np.testing.assert_allclose(new["v"], v, atol=1e-5)
    assert set(after.discriminator.variables["spectral"]) == {"Dense_0", "Dense_1", "Dense_2"}


NORMED = {
    "DCGAN's G": (dcgan.Generator(28, features=4), LATENTS, {"norm0", "norm1"}),
    "DCGAN's D": (dcgan.Discriminator(features=4), IMAGES[28], {"norm1"}),
    "residual G": (resnet.Generator(16, 1, 4), LATENTS, {"norm0a", "norm0b", "norm1a", "norm1b", "norm"}),
    "residual D": (resnet.Discriminator(4), IMAGES[16], {"norm0b", "norm1a", "norm1b", "norm2a", "norm2b"}),
    "dense G": (mlp.Generator((2,), (4, 4)), LATENTS, {"norm0", "norm1"}),
    "dense D": (mlp.Discriminator((4, 4)), LATENTS, {"norm0", "norm1"}),
}
NORMS = {
    "groups": (groups, None),
    "Linen's": (functools.partial(nn.GroupNorm, num_groups=2), None),
    "Linen's batch": (nn.BatchNorm, None),
    "layer": (LayerNorm, None),
    "by class": (by_class, LABELS),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NORMED)
def test_every_network_takes_every_norm(name, norm):
    module, x, names = NORMED[name]
    factory, condition = NORMS[norm]
    variables, _ = shapes(module.clone(norm=factory), x, condition)
    params = variables["params"]
    assert {name for name in params if name.startswith("norm")} == names
    assert {len(params[name]["scale"]) for name in names} == {2 if condition is not None else 1}
    bare = shapes(module.clone(norm=None), x)[0]["params"]
    assert not any(name.startswith("norm") for name in bare)
    assert all("bias" in layer for layer in bare.values()), "nothing else gives them one"


@pytest.mark.parametrize("name", [name for name in NORMED if "dense" not in name])
def test_styles_and_instances_reach_images(name):
    module, x, names = NORMED[name]
    params = shapes(module.clone(norm=AdaIN), x, STYLES)[0]["params"]
    assert {params[name]["style"]["kernel"][0] for name in names} == {2}
    assert (
        shapes(module.clone(norm=functools.partial(InstanceNorm, affine=False)), x)[0]["params"]
        .keys()
        .isdisjoint(names)
    )


def test_before_a_norm_that_keeps_it_a_layer_has_a_bias():
    for norm, biased in ((PixelNorm, True), (InstanceNorm, False)):
        params = shapes(dcgan.Generator(28, features=2, norm=norm), LATENTS)[0]["params"]
        assert ("bias" in params["project"], "bias" in params["up0"], "bias" in params["up1"]) == (biased, biased, True)
    own = functools.partial(ConvTranspose, use_bias=True)
    assert "bias" in shapes(dcgan.Generator(28, features=2, conv=own), LATENTS)[0]["params"]["up0"]


def test_labels_reach_a_residual_generator():
    module = resnet.Generator(16, 1, 4, norm=by_class)
    random = np.random.default_rng(1)
    leaves = jax.eval_shape(lambda: module.init(jax.random.key(0), LATENTS, LABELS, train=False))
    # Variances have to be positive; kernels are not, lest all pixels end at 1.
    drawn = lambda leaf: random.uniform(0.1, 0.5, leaf.shape) - 0.3 * (leaf.ndim == 4)  # noqa: E731
    variables = jax.tree.map(lambda leaf: drawn(leaf).astype(np.float32), leaves)
    other = jax.tree.map(lambda leaf: leaf, variables)
    other["params"]["norm0a"]["scale"] = variables["params"]["norm0a"]["scale"] * np.array([[1], [2], [1]], np.float32)
    run = jax.jit(lambda variables: module.apply(variables, LATENTS, LABELS, train=False))
    changed = np.any(np.asarray(run(variables)) != np.asarray(run(other)), axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, LABELS == 1)
    with pytest.raises(ValueError, match="needs labels"):
        module.apply(variables, LATENTS, train=False)


@pytest.mark.parametrize("mode, same", [("reflect", True), ("zeros", False)])
def test_padding_is_handed_in(mode, same):
    """A mirrored image of one colour has no edge for a convolution."""
    module = resnet.Discriminator(2, conv=functools.partial(Conv, padding_mode=mode))
    x = jnp.ones((1, 16, 16, 1))
    _, variables = module.init_with_output(jax.random.key(0), x, train=False, capture_intermediates=True)
    (y,) = variables["intermediates"]["conv0a"]["__call__"]
    assert bool(np.ptp(np.asarray(y)[0], axis=(0, 1)).max() < 1e-5) is same


@pytest.mark.parametrize(
    "module, x, message",
    [
        (
            dcgan.Generator(28, conv=Conv),
            LATENTS,
            r"makes 14 pixels .* in up0, as layers.ConvTranspose does, got \(3, 3\)",
        ),
        (
            dcgan.Discriminator(conv=ConvTranspose),
            IMAGES[28],
            r"14 pixels .* down0, as layers.Conv does, got \(56, 56\)",
        ),
        (dcgan.Generator(28, conv=functools.partial(ConvTranspose, stride=4)), LATENTS, "are for the network to say"),
        (resnet.Discriminator(norm=LayerNorm()), IMAGES[16], "handed what makes a layer, LayerNorm"),
        (mlp.Generator((2,), norm=InstanceNorm), LATENTS, "InstanceNorm has one number to normalise"),
    ],
    ids=["a convolution that shrinks", "one that grows", "another stride", "an instance", "no pixels"],
)
def test_what_does_not_fit_is_refused_in_one_line(module, x, message):
    with pytest.raises(ValueError, match=message) as error:
        jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("norm", [nn.BatchNorm, functools.partial(nn.GroupNorm, num_groups=1)], ids=["batch", "group"])
def test_linens_norms_train(norm):
    """In every pass of both players' steps: those that may change averages, and those that may not."""
    x, state = IMAGES[16], state_of(0.1, norm=norm)
    steps = make_d_step(latents(3), [d_loss(losses.hinge)]), make_g_step(latents(3), [g_loss(losses.hinge)])
    after, metrics = jax.jit(iteration(*steps))(state, {"image": x})
    assert all(np.all(np.isfinite(value)) for value in metrics.values())
    for player in ("generator", "discriminator"):
        old, new = (getattr(each, player).variables.get("batch_stats", {}) for each in (state, after))
        moved = [bool(np.any(a != b)) for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)]
        assert all(moved) and bool(moved) == (norm is nn.BatchNorm)
    penalised = make_d_step(latents(3), [d_loss(losses.hinge), terms.r1("gamma")])
    if norm is nn.BatchNorm:
        with pytest.raises(ValueError, match="norm=None"):
            jax.eval_shape(penalised, state, {"image": x})
    else:
        jax.eval_shape(penalised, state, {"image": x})
