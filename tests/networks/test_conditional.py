"""Labels beside a network's input and in its batch norm: numbers by NumPy in float64, and the results of
wrong labels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks import dcgan, mlp
from jaxgan.networks.conditional import ConditionalBatchNorm, LabelledDiscriminator, LabelledGenerator, one_hot
from jaxgan.networks.layers import BatchNorm

CLASSES = 3
LABELS = np.array([2, 0, 2, 1], np.int32)
_random = np.random.default_rng(0)
LATENTS = _random.standard_normal((4, 5)).astype(np.float32)
IMAGES = (2 + 3 * _random.standard_normal((4, 3, 2, 2))).astype(np.float32)
BRIEFLY = {"xla_backend_optimization_level": 0}  # compiling is all that takes time here
every_shape = pytest.mark.parametrize("shape", [IMAGES.shape, (4, 12)], ids=["images", "rows"])


class Shows(nn.Module):
    """A network that returns its inputs."""

    @nn.compact
    def __call__(self, x, condition=None, *, train):
        assert condition is None and train
        return {"logits": x}


class ShowsLatents(Shows):
    @nn.compact
    def __call__(self, x, condition=None, *, train):
        return super().__call__(x, condition, train=train)["logits"]


def both(function, *arguments):
    """Returns the function's result, after a check that it is the same eagerly and jitted."""
    eager, jitted = function(*arguments), jax.jit(function)(*arguments)
    for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(jitted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    return jitted


def applied(module, x, labels=LABELS, **variables):
    return both(lambda variables, x: module.apply(variables, x, labels, train=True), variables, x)


# --- beside the input ---


def test_a_generator_gets_latent_and_one_hot_label():
    label = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
    got = applied(LabelledGenerator(ShowsLatents(), CLASSES), LATENTS)
    np.testing.assert_array_equal(got, np.concatenate([LATENTS, label], axis=1))


def test_a_generator_gets_latent_and_learned_label():
    module = LabelledGenerator(ShowsLatents(), CLASSES, embedding=2)
    variables = module.init(jax.random.key(0), LATENTS, LABELS, train=True)
    assert jax.tree.map(jnp.shape, variables) == {"params": {"embedding": (CLASSES, 2)}}
    table = _random.standard_normal((CLASSES, 2)).astype(np.float32)
    got = applied(module, LATENTS, params={"embedding": table})
    rows = [table[2], table[0], table[2], table[1]]
    np.testing.assert_array_equal(got, np.concatenate([LATENTS, rows], axis=1))  # exactly, on accelerators too


def test_what_is_learned_of_a_label_starts_as_wide_as_a_latent():
    wide = LabelledGenerator(ShowsLatents(), 10, embedding=500)
    tall = LabelledDiscriminator(Shows(), 10, embedded=True)
    for module, x in (wide, LATENTS), (tall, np.zeros((4, 20, 25, 1), np.float32)):
        table = module.init(jax.random.key(1), x, LABELS, train=True)["params"]["embedding"]
        assert table.shape == (10, 500)
        assert abs(np.mean(table)) < 0.05 and abs(np.std(table) - 1) < 0.05  # 5000 draws: 3.5 and 5 standard errors


@every_shape
def test_a_discriminator_gets_constant_maps_of_the_label(shape):
    x = IMAGES.reshape(shape)
    got = applied(LabelledDiscriminator(Shows(), CLASSES), x)
    want = np.zeros((*shape[:-1], shape[-1] + CLASSES))
    want[..., : shape[-1]] = x
    for i, label in enumerate(LABELS):
        want[i, ..., shape[-1] + label] = 1
    np.testing.assert_array_equal(got["logits"], want)


@every_shape
def test_a_discriminator_gets_a_learned_map_of_the_label(shape):
    x, pixels = IMAGES.reshape(shape), shape[1:-1]
    module = LabelledDiscriminator(Shows(), CLASSES, embedded=True)
    count = int(np.prod(pixels))
    init = module.init(jax.random.key(0), x, LABELS, train=True)
    assert jax.tree.map(jnp.shape, init) == {"params": {"embedding": (CLASSES, count)}}
    table = _random.standard_normal((CLASSES, count)).astype(np.float32)
    got = applied(module, x, params={"embedding": table})["logits"]
    np.testing.assert_array_equal(got[..., :-1], x)
    for i, label in enumerate(LABELS):
        np.testing.assert_array_equal(got[i, ..., -1], table[label].reshape(pixels))


def test_a_learned_label_gets_the_gradients_of_its_examples():
    weights = _random.standard_normal((4, 7)).astype(np.float32)
    module = LabelledGenerator(ShowsLatents(), CLASSES, embedding=2)
    table = _random.standard_normal((CLASSES, 2)).astype(np.float32)
    scalar = lambda table: jnp.sum(  # noqa: E731
        weights * module.apply({"params": {"embedding": table}}, LATENTS, LABELS, train=True) ** 2
    )
    want = np.zeros((CLASSES, 2))
    for label, row in zip(LABELS, weights[:, 5:], strict=True):
        want[label] += 2 * row * table[label]
    np.testing.assert_allclose(both(jax.grad(scalar), table), want, rtol=1e-6)


FAMILIES = {
    "mlp": (mlp.Generator((28, 28, 1), (8,), bounded=True), mlp.Discriminator((8,))),
    "dcgan": (dcgan.Generator(size=28, features=2, dtype=jnp.bfloat16), dcgan.Discriminator(features=2)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_wrappers_fit_every_family(family):
    """The outputs for other labels differ."""
    generator, discriminator = FAMILIES[family]
    g = LabelledGenerator(generator, CLASSES, 2 if family == "dcgan" else None)
    d = LabelledDiscriminator(discriminator, CLASSES, embedded=family == "mlp")
    twice, labels = np.concatenate([LATENTS, LATENTS]), np.concatenate([LABELS, (LABELS + 1) % CLASSES])
    image = run(g, twice, labels)
    outputs = run(d, np.concatenate([image[:4], image[:4]]), labels)
    assert image.shape == (8, 28, 28, 1) and outputs["logits"].shape == (8,)
    assert image.dtype == outputs["logits"].dtype == jnp.float32
    for outcome in image, outputs["logits"]:
        assert np.all(np.max(np.abs(outcome[:4] - outcome[4:]).reshape(4, -1), axis=1) > 1e-4)


def run(module, x, labels):
    """Returns the module's output with variables that NumPy drew, of the shapes that it initialises."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, labels, train=False))
    variables = jax.tree.map(lambda leaf: _random.uniform(0.05, 0.5, leaf.shape).astype(np.float32), shapes)
    apply = jax.jit(lambda x: module.apply(variables, x, labels, train=False), compiler_options=BRIEFLY)
    return apply(x)


# --- in batch norm ---

SCALE = _random.uniform(0.5, 2, (CLASSES, 2)).astype(np.float32)
BIAS = _random.standard_normal((CLASSES, 2)).astype(np.float32)
STATS = {"mean": np.array([0.1, -0.2], np.float32), "var": np.array([2.0, 0.5], np.float32)}
VARIABLES = {"params": {"scale": SCALE, "bias": BIAS}, "batch_stats": {"statistics": STATS}}


def by_hand(x, mean, var, labels=LABELS):
    normalised = (x.astype(np.float64) - mean) / np.sqrt(var + 1e-5)
    return np.stack([SCALE[k] * one + BIAS[k] for k, one in zip(labels, normalised, strict=True)])


def normed(x, labels=LABELS, layer=None, variables=VARIABLES, train=True):
    layer = layer or ConditionalBatchNorm(CLASSES)
    return layer.apply(variables, x, labels, train=train, mutable=["batch_stats"])


def moments(x):
    x = x.astype(np.float64).reshape(-1, x.shape[-1])
    return x.mean(0), x.var(0)


@pytest.mark.parametrize("shape", [IMAGES.shape, (4, 2)], ids=["images", "rows"])
def test_conditional_batch_norm_in_training_and_evaluation(shape):
    x = IMAGES[:, 0, 0] if len(shape) == 2 else IMAGES
    mean, var = moments(x)
    y, changed = both(normed, x)
    np.testing.assert_allclose(y, by_hand(x, mean, var), rtol=1e-5, atol=1e-5)
    kept = changed["batch_stats"]["statistics"]
    np.testing.assert_allclose(kept["mean"], 0.9 * STATS["mean"] + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(kept["var"], 0.9 * STATS["var"] + 0.1 * var, rtol=1e-5)
    y, changed = both(lambda x: normed(x, train=False), x)
    np.testing.assert_allclose(y, by_hand(x, STATS["mean"], STATS["var"]), rtol=1e-5, atol=1e-5)
    for name, value in changed["batch_stats"]["statistics"].items():
        np.testing.assert_array_equal(value, STATS[name])


def test_conditional_batch_norm_starts_as_batch_norm():
    layer = ConditionalBatchNorm(CLASSES)
    variables = layer.init(jax.random.key(0), IMAGES, LABELS, train=True)
    np.testing.assert_array_equal(variables["params"]["scale"], np.ones((CLASSES, 2)))
    np.testing.assert_array_equal(variables["params"]["bias"], np.zeros((CLASSES, 2)))
    plain = BatchNorm(affine=False)
    bare = plain.init(jax.random.key(0), IMAGES, train=True)
    assert set(bare) == {"batch_stats"}
    want, _ = plain.apply(bare, IMAGES, train=True, mutable=["batch_stats"])
    got, _ = normed(IMAGES, variables=variables)
    np.testing.assert_array_equal(got, want)
    mean, var = moments(IMAGES)
    np.testing.assert_allclose(got, (IMAGES - mean) / np.sqrt(var + 1e-5), rtol=1e-5, atol=1e-5)


def test_a_class_gets_the_gradients_of_its_examples():
    """Gains and biases against their closed form; images against central differences in float64."""
    weights = _random.standard_normal(IMAGES.shape).astype(np.float32)

    def scalar(params, x):
        return jnp.sum(weights * normed(x, variables=VARIABLES | {"params": params})[0])

    params, images = both(jax.grad(scalar, (0, 1)), VARIABLES["params"], IMAGES)
    x = IMAGES.astype(np.float64)
    mean, var = moments(x)
    normalised = (x - mean) / np.sqrt(var + 1e-5)
    want = {"scale": np.zeros((CLASSES, 2)), "bias": np.zeros((CLASSES, 2))}
    for i, label in enumerate(LABELS):
        want["scale"][label] += (weights[i] * normalised[i]).sum((0, 1))
        want["bias"][label] += weights[i].sum((0, 1))
    for name in want:
        np.testing.assert_allclose(params[name], want[name], rtol=1e-5, atol=1e-5)
    total = lambda x: np.sum(weights * by_hand(x, *moments(x)))  # noqa: E731
    for index in [(0, 0, 0, 0), (1, 2, 1, 1), (3, 1, 0, 1)]:
        nudge = np.zeros(x.shape)
        nudge[index] = 1e-5
        slope = (total(x + nudge) - total(x - nudge)) / 2e-5
        np.testing.assert_allclose(images[index], slope, rtol=1e-4, atol=1e-5)


def test_conditional_batch_norm_over_devices_is_that_of_the_global_batch():
    halves = lambda x: x.reshape(2, -1, *x.shape[1:])  # noqa: E731
    layer = ConditionalBatchNorm(CLASSES, axis_name="devices")
    sharded = jax.vmap(lambda x, labels: normed(x, labels, layer), axis_name="devices")
    y, changed = jax.jit(sharded)(halves(IMAGES), halves(LABELS))
    want, want_changed = normed(IMAGES)
    np.testing.assert_allclose(y, halves(want), rtol=1e-5, atol=1e-5)
    for a, b in zip(jax.tree.leaves(changed), jax.tree.leaves(want_changed), strict=True):
        np.testing.assert_allclose(a, np.stack([b, b]), rtol=1e-5)
    alone, _ = jax.vmap(normed)(halves(IMAGES), halves(LABELS))
    assert np.max(np.abs(alone - y)) > 0.01  # the test can tell the two apart


def test_conditional_batch_norm_in_bfloat16_keeps_its_statistics_in_float32():
    x = jnp.asarray(1000 + IMAGES, jnp.bfloat16)
    y, changed = normed(x, layer=ConditionalBatchNorm(CLASSES, dtype=jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(np.asarray(y, np.float64), by_hand(exact, *moments(exact)), rtol=0.01, atol=0.02)
    kept = changed["batch_stats"]["statistics"]
    assert kept["mean"].dtype == kept["var"].dtype == jnp.float32
    np.testing.assert_allclose(kept["mean"], 0.9 * STATS["mean"] + 0.1 * moments(exact)[0], rtol=1e-6)


# --- wrong labels ---

MODULES = {
    "generator": (LabelledGenerator(ShowsLatents(), CLASSES), LATENTS, {}),
    "generator, learned": (
        LabelledGenerator(ShowsLatents(), CLASSES, 2),
        LATENTS,
        {"params": {"embedding": np.ones((CLASSES, 2), np.float32)}},
    ),
    "discriminator": (LabelledDiscriminator(Shows(), CLASSES), IMAGES, {}),
    "discriminator, learned": (
        LabelledDiscriminator(Shows(), CLASSES, embedded=True),
        IMAGES,
        {"params": {"embedding": np.ones((CLASSES, 6), np.float32)}},
    ),
    "batch norm": (ConditionalBatchNorm(CLASSES), IMAGES, VARIABLES),
}
every_module = pytest.mark.parametrize("name", MODULES)


@every_module
def test_labels_are_needed_and_are_one_integer_an_example(name):
    module, x, variables = MODULES[name]
    for labels, message in (
        (None, r"needs labels: give as its condition integers \[4\] from 0 to 2, got None"),
        (LABELS[:1], r"integers of shape \(4,\), got int32 of shape \(1,\)"),  # it would be everyone's
        (LABELS.reshape(4, 1), r"got int32 of shape \(4, 1\)"),
        (LABELS.astype(np.float32), r"got float32 of shape \(4,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            module.apply(variables, x, labels, train=True)


@every_module
@pytest.mark.parametrize("wrong", [-1, CLASSES, 2**31 - 1])
def test_a_label_outside_the_classes_is_nan_and_nobodys_else(name, wrong):
    """In evaluation, where no example reaches into another one."""
    module, x, variables = MODULES[name]
    train = name != "batch norm"
    labels = np.where(np.arange(4) == 2, wrong, LABELS).astype(np.int32)
    run = jax.jit(lambda labels: jax.tree.leaves(module.apply(variables, x, labels, train=train))[0])
    got, want = run(labels), run(LABELS)
    assert np.any(np.isnan(got[2])) and not np.any(np.isnan(want))
    others = np.array([0, 1, 3])
    np.testing.assert_array_equal(got[others], want[others])


def test_labels_of_every_integer_type():
    for kind in (np.uint8, np.int8, np.int16, np.uint32):
        got = jax.jit(lambda labels: one_hot(labels, 300, 2))(np.array([7, 100], kind))
        assert got.shape == (2, 300) and got.dtype == jnp.float32
        np.testing.assert_array_equal(np.argwhere(got), [[0, 7], [1, 100]])
