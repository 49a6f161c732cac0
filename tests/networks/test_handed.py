"""Layers that are handed in: building factories and calling norms, Linen's own too, and errors."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.layers import (
    AdaIN,
    AdaptiveNorm,
    BatchNorm,
    ConditionalBatchNorm,
    ConditionalInstanceNorm,
    Conv,
    Dense,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    PixelNorm,
    build,
    needs_bias,
    normalise,
)

RANDOM = np.random.default_rng(0)
IMAGES = (1 + 2 * RANDOM.standard_normal((4, 3, 2, 6))).astype(np.float32)
LABELS = np.array([2, 0, 2, 1], np.int32)
STYLES = RANDOM.standard_normal((4, 5)).astype(np.float32)


class Net(nn.Module):
    """A network of a single norm, whose default scales are 2."""

    norm: object

    @nn.compact
    def __call__(self, x, condition=None, *, train=False):
        twos = nn.initializers.constant(2.0)
        return normalise(self.norm, x, condition, train=train, name="norm", scale_init=twos, dtype=jnp.float32)


def standardised(x, axes, epsilon):
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def by_groups(x, groups, epsilon=1e-5):
    cut = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    return standardised(cut, (1, 3), epsilon).reshape(x.shape)


BY_EXAMPLE = {
    "none": (None, IMAGES),
    "instance": (InstanceNorm, 2 * by_groups(IMAGES, 6)),
    "instance, bare": (functools.partial(InstanceNorm, affine=False), by_groups(IMAGES, 6)),
    "group": (functools.partial(GroupNorm, groups=3), 2 * by_groups(IMAGES, 3)),
    "layer": (LayerNorm, 2 * by_groups(IMAGES, 1)),
    "its own scales": (functools.partial(LayerNorm, scale_init=nn.initializers.ones), by_groups(IMAGES, 1)),
    "pixel": (PixelNorm, IMAGES / np.sqrt(np.mean(np.square(IMAGES, dtype=np.float64), -1, keepdims=True) + 1e-8)),
    "Linen's group": (functools.partial(nn.GroupNorm, num_groups=3), 2 * by_groups(IMAGES, 3, 1e-6)),
    "Linen's layer": (nn.LayerNorm, 2 * standardised(IMAGES, -1, 1e-6)),
    "Linen's instance": (nn.InstanceNorm, 2 * by_groups(IMAGES, 6, 1e-6)),
    "a function": (lambda: lambda x: -x, -IMAGES),
    "with everything": (lambda **given: lambda x, condition, train: x + (given["name"] == "norm") + train, IMAGES + 1),
}


@pytest.mark.parametrize("name", BY_EXAMPLE)
def test_norms_are_built_and_called_with_what_they_take(name):
    norm, want = BY_EXAMPLE[name]
    got, variables = Net(norm).init_with_output(jax.random.key(0), IMAGES, LABELS)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert set(variables.get("params", {})) <= {"norm"} and "batch_stats" not in variables


def moving(old, x, momentum):
    return momentum * old + (1 - momentum) * x


@pytest.mark.parametrize("norm, momentum", [(BatchNorm, 0.9), (functools.partial(nn.BatchNorm, momentum=0.7), 0.7)])
def test_batch_norms_are_told_of_training(norm, momentum):
    net = Net(norm)
    variables = net.init(jax.random.key(0), IMAGES)
    mean, var = IMAGES.astype(np.float64).mean((0, 1, 2)), IMAGES.astype(np.float64).var((0, 1, 2))
    normed = 2 * standardised(IMAGES, (0, 1, 2), 1e-5)

    got, changed = net.apply(variables, IMAGES, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(got, normed, rtol=1e-5, atol=1e-5)
    (stats,) = jax.tree.map(np.asarray, changed["batch_stats"]).values()
    np.testing.assert_allclose(stats["mean"], moving(0, mean, momentum), rtol=1e-5)
    np.testing.assert_allclose(stats["var"], moving(1, var, momentum), rtol=1e-5)

    # What is not mutable is not written, in training either; Linen's own would raise an error.
    frozen, changed = jax.jit(lambda: net.apply(variables, IMAGES, train=True, mutable=["spectral"]))()
    np.testing.assert_allclose(frozen, normed, rtol=1e-5, atol=1e-5)
    assert not jax.tree.leaves(changed)
    gradient = lambda mutable: jax.jit(  # noqa: E731
        jax.grad(lambda x: jnp.sum(net.apply(variables, x, train=True, mutable=mutable)[0] ** 3))
    )(IMAGES)
    np.testing.assert_allclose(gradient([]), gradient(["batch_stats"]), rtol=1e-5, atol=1e-5)

    evaluated = net.apply({**variables, "batch_stats": {"norm": stats}}, IMAGES, train=False)
    np.testing.assert_allclose(evaluated, 2 * (IMAGES - stats["mean"]) / np.sqrt(stats["var"] + 1e-5), rtol=1e-5)


@pytest.mark.parametrize("always", [True, False])
def test_what_a_partial_fixes_of_linens_batch_norm_holds(always):
    net = Net(functools.partial(nn.BatchNorm, use_running_average=always))
    variables = net.init(jax.random.key(0), IMAGES)
    want = 2 * IMAGES / np.sqrt(1 + 1e-5) if always else 2 * standardised(IMAGES, (0, 1, 2), 1e-5)
    for train in (True, False):
        np.testing.assert_allclose(net.apply(variables, IMAGES, train=train), want, rtol=1e-5, atol=1e-5)


def test_over_devices_linens_batch_norm_sees_the_whole_batch():
    net = Net(functools.partial(nn.BatchNorm, axis_name="devices"))
    variables = net.init(jax.random.key(0), IMAGES)
    halves = IMAGES.reshape(2, 2, *IMAGES.shape[1:])
    got = jax.vmap(lambda x: net.apply(variables, x, train=True), axis_name="devices")(halves)
    np.testing.assert_allclose(got.reshape(IMAGES.shape), 2 * standardised(IMAGES, (0, 1, 2), 1e-5), atol=1e-5)


def test_conditions_reach_the_norms_that_take_them():
    norm, normed = functools.partial(ConditionalBatchNorm, classes=3), standardised(IMAGES, (0, 1, 2), 1e-5)
    scale, bias = (RANDOM.standard_normal((3, 6)).astype(np.float32) for _ in range(2))
    variables = {"params": {"norm": {"scale": scale, "bias": bias}}}
    stats = {"batch_stats": {"norm": {"statistics": {"mean": np.zeros(6), "var": np.ones(6)}}}}
    by_hand = scale[LABELS][:, None, None] * normed + bias[LABELS][:, None, None]
    got = Net(norm).apply(variables | stats, IMAGES, LABELS, train=True)
    np.testing.assert_allclose(got, by_hand, rtol=1e-5, atol=1e-5)
    by_hand = scale[LABELS][:, None, None] * by_groups(IMAGES, 6) + bias[LABELS][:, None, None]
    instances = functools.partial(ConditionalInstanceNorm, classes=3)
    np.testing.assert_allclose(Net(instances).apply(variables, IMAGES, LABELS), by_hand, rtol=1e-5, atol=1e-5)
    for each in (norm, instances):
        with pytest.raises(ValueError, match=r"needs labels: give as its condition integers \[4\] from 0 to 2"):
            Net(each).init(jax.random.key(0), IMAGES)


@pytest.mark.parametrize(
    "inner", [BatchNorm, functools.partial(GroupNorm, groups=2), nn.BatchNorm], ids=["ours", "groups", "Linen"]
)
def test_a_style_makes_scales_and_biases_of_any_norm(inner):
    """BigGAN's with batch norm: the dense layer's first half, plus one, is the scale."""
    net = Net(functools.partial(AdaptiveNorm, norm=inner, dense=functools.partial(Dense, use_bias=False)))
    variables = net.init(jax.random.key(0), IMAGES, STYLES)
    assert jax.tree.map(jnp.shape, variables["params"]) == {"norm": {"style": {"kernel": (5, 12)}}}
    style = STYLES.astype(np.float64) @ np.asarray(variables["params"]["norm"]["style"]["kernel"], np.float64)
    grouped = isinstance(inner, functools.partial)
    normed = by_groups(IMAGES, 2) if grouped else standardised(IMAGES, (0, 1, 2), 1e-5)
    want = normed * (1 + style[:, None, None, :6]) + style[:, None, None, 6:]
    np.testing.assert_allclose(net.apply(variables, IMAGES, STYLES, train=True), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("condition, got", [(None, "None"), (LABELS, r"\(4,\)"), (STYLES[:2], r"\(2, 5\)")])
def test_what_is_no_style_is_refused(condition, got):
    with pytest.raises(ValueError, match=rf"AdaIN needs styles: give as the condition floats \[4, S\], got {got}"):
        Net(AdaIN).init(jax.random.key(0), IMAGES, condition)


def test_groups_that_do_not_divide_and_single_numbers_are_refused():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="groups=4 must divide the channels, got 6"):
        GroupNorm(groups=4).init(key, IMAGES)
    for x in (IMAGES[:, :1, :1], IMAGES[:, 0, 0]):
        with pytest.raises(ValueError, match="InstanceNorm has one number to normalise in each of 6 groups"):
            InstanceNorm().init(key, x)
        LayerNorm().init(key, x)


def test_variances_are_made_around_the_mean():
    """At 1,000 ± 1 float32's mean of squares minus square of the mean is wrong in its second digit. (The mean has the
    rounding error of a sum, which shifts all numbers equally.)"""
    x = (1000 + RANDOM.standard_normal((2, 5, 5, 4))).astype(np.float32)
    y = np.asarray(LayerNorm().apply({"params": {"scale": np.ones(4), "bias": np.zeros(4)}}, x), np.float64)
    np.testing.assert_allclose(y - y.mean((1, 2, 3), keepdims=True), by_groups(x, 1), rtol=0, atol=1e-5)
    fast = jnp.mean(x**2, (1, 2, 3)) - jnp.mean(x, (1, 2, 3)) ** 2
    assert np.max(np.abs(fast - x.astype(np.float64).var((1, 2, 3)))) > 0.01


def test_defaults_give_way_to_a_partial_and_are_dropped_where_nobody_takes_them():
    zeros = nn.initializers.zeros
    layer = build(functools.partial(Conv, use_bias=False, kernel_init=zeros), 4, 3, 2, kernel_init=None, dilation=2)
    assert layer == Conv(4, 3, 2, use_bias=False, kernel_init=zeros, dilation=2)
    assert build(Dense, 4, padding_mode="reflect") == Dense(4)
    assert build(lambda *given, **more: (given, more), 1, use_bias=True) == ((1,), {"name": None, "use_bias": True})


@pytest.mark.parametrize(
    "layer, message",
    [
        (Conv(4, 3), r"handed what makes a layer, Conv or functools.partial\(Conv, ...\), got the layer Conv\(\)"),
        (
            functools.partial(Conv, kernel=5),
            "features, kernel, stride of Conv are for the network to say; leave them out",
        ),
        (functools.partial(Conv, 8), "and give the rest by name"),
    ],
)
def test_layers_that_are_made_and_shapes_that_are_fixed_are_refused(layer, message):
    with pytest.raises(ValueError, match=message) as error:
        build(layer, 4, 3, 1)
    assert "\n" not in str(error.value)


def test_only_what_nothing_follows_needs_a_bias():
    assert needs_bias(None) and needs_bias(PixelNorm) and needs_bias(functools.partial(PixelNorm, epsilon=1e-6))
    given = [BatchNorm, nn.BatchNorm, AdaIN, functools.partial(GroupNorm, groups=2), lambda name: None]
    assert not any(map(needs_bias, given))
