"""Heads of a discriminator against NumPy in float64."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.heads import AuxiliaryClassifier, Codes, Logits, Projection

CLASSES = 3
LABELS = np.array([2, 0, 2, 1, 0], np.int32)
_random = np.random.default_rng(0)
FEATURES = _random.standard_normal((5, 2, 3, 2)).astype(np.float32)  # flattened, 12 numbers


class Ends(nn.Module):
    """A discriminator that has only a head."""

    head: object

    @nn.compact
    def __call__(self, features, condition=None):
        return self.head(features, condition)


HEADS = {
    "logits": Ends(Logits()),
    "projection": Ends(Projection(CLASSES)),
    "classifier": Ends(AuxiliaryClassifier(CLASSES)),
    "codes": Ends(Codes((4, 2), 3)),
}
every_head = pytest.mark.parametrize("name", HEADS)


def drawn(head):
    """Returns parameters that NumPy draws, in the shapes that the head initialises."""
    shapes = jax.eval_shape(head.init, jax.random.key(0), FEATURES, LABELS)
    return jax.tree.map(lambda leaf: _random.uniform(-1, 1, leaf.shape).astype(np.float32), shapes)


def dense(x, layer):
    y = x.astype(np.float64) @ layer["kernel"].astype(np.float64)
    return y + layer["bias"].astype(np.float64) if "bias" in layer else y


def by_hand(name, params, features=FEATURES):
    x = features.reshape(5, -1)
    outputs = {"logits": dense(x, params["judge"])[:, 0]}
    if name == "projection":
        vectors = params["embedding"]["kernel"].astype(np.float64).T  # [classes, 12]
        own = [vectors[label] @ one for label, one in zip(LABELS, x.astype(np.float64), strict=True)]
        outputs["logits"] = outputs["logits"] + np.array(own)
    if name == "classifier":
        outputs["class"] = dense(x, params["class"])
    if name == "codes":
        hidden = dense(x, params["hidden"])
        hidden = np.where(hidden > 0, hidden, 0.1 * hidden)
        outputs |= {key: dense(hidden, params[key]) for key in ("code0", "code1", "code_mean", "code_log_std")}
    return outputs


SHAPES = {
    "logits": {"logits": (5,)},
    "projection": {"logits": (5,)},
    "classifier": {"logits": (5,), "class": (5, CLASSES)},
    "codes": {"logits": (5,), "code0": (5, 4), "code1": (5, 2), "code_mean": (5, 3), "code_log_std": (5, 3)},
}


@every_head
def test_what_a_head_says(name):
    head = HEADS[name]
    variables = drawn(head)
    want = by_hand(name, variables["params"])
    run = lambda x: head.apply(variables, x, LABELS)  # noqa: E731
    for outputs in (run(FEATURES), jax.jit(run)(FEATURES)):
        assert jax.tree.map(jnp.shape, outputs) == SHAPES[name]
        for key, values in outputs.items():
            assert values.dtype == jnp.float32
            np.testing.assert_allclose(values, want[key], rtol=1e-5, atol=1e-5, err_msg=key)


def test_the_layers_of_each_head():
    """The layers' names are part of every checkpoint."""
    shapes = {
        name: jax.tree.map(jnp.shape, jax.eval_shape(head.init, jax.random.key(0), FEATURES, LABELS)["params"])
        for name, head in HEADS.items()
    }
    judge = {"judge": {"kernel": (12, 1), "bias": (1,)}}
    assert shapes["logits"] == judge
    assert shapes["projection"] == judge | {"embedding": {"kernel": (12, CLASSES)}}
    assert shapes["classifier"] == judge | {"class": {"kernel": (12, CLASSES), "bias": (CLASSES,)}}
    assert shapes["codes"] == judge | {
        "hidden": {"kernel": (12, 128), "bias": (128,)},
        "code0": {"kernel": (128, 4), "bias": (4,)},
        "code1": {"kernel": (128, 2), "bias": (2,)},
        "code_mean": {"kernel": (128, 3), "bias": (3,)},
        "code_log_std": {"kernel": (128, 3), "bias": (3,)},
    }


@every_head
def test_gradients_by_the_features(name):
    """Against central differences, in float64, of the formula written out above."""
    head = HEADS[name]
    variables = drawn(head)
    weights = {key: _random.standard_normal(shape).astype(np.float32) for key, shape in SHAPES[name].items()}

    def scalar(x):
        outputs = head.apply(variables, x, LABELS)
        return sum(jnp.sum(weights[key] * outputs[key]) for key in weights)

    def total(x):
        outputs = by_hand(name, variables["params"], x)
        return sum(np.sum(weights[key] * outputs[key]) for key in weights)

    gradient = jax.jit(jax.grad(scalar))(FEATURES)
    x = FEATURES.astype(np.float64)
    for index in np.ndindex(x.shape):
        nudge = np.zeros(x.shape)
        nudge[index] = 1e-6
        slope = (total(x + nudge) - total(x - nudge)) / 2e-6
        np.testing.assert_allclose(gradient[index], slope, rtol=1e-4, atol=1e-4)


@every_head
def test_every_parameter_learns(name):
    head = HEADS[name]
    variables = drawn(head)

    def scalar(params):
        return sum(jnp.sum(jnp.sin(values)) for values in jax.tree.leaves(head.apply(params, FEATURES, LABELS)))

    for path, gradient in jax.tree.leaves_with_path(jax.jit(jax.grad(scalar))(variables)):
        assert np.all(np.isfinite(gradient)) and np.any(np.asarray(gradient) != 0), jax.tree_util.keystr(path)


def test_a_projection_teaches_only_the_labels_that_it_saw():
    """Its gradient with respect to v_y is the sum of the features with that label, for the others 0."""
    head = Ends(Projection(4))
    variables = drawn(head)
    scalar = lambda v: jnp.sum(head.apply(v, FEATURES, LABELS)["logits"])  # noqa: E731
    got = jax.jit(jax.grad(scalar))(variables)["params"]["embedding"]["kernel"].T
    x = FEATURES.reshape(5, -1).astype(np.float64)
    want = [x[1] + x[4], x[3], x[0] + x[2], np.zeros(12)]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_a_projection_needs_labels_inside_its_classes():
    head = HEADS["projection"]
    variables = drawn(head)
    with pytest.raises(ValueError, match=r"needs labels: give as its condition integers \[5\] from 0 to 2"):
        head.apply(variables, FEATURES, None)
    with pytest.raises(ValueError, match=r"got int32 of shape \(1,\)"):
        head.apply(variables, FEATURES, LABELS[:1])
    for wrong in (-1, CLASSES):
        labels = np.array([2, wrong, 2, 1, 0], np.int32)
        got = jax.jit(head.apply)(variables, FEATURES, labels)["logits"]
        assert list(np.isnan(got)) == [False, True, False, False, False]


@every_head
def test_weights_are_drawn_as_dcgans_or_as_one_likes(name):
    head, x = HEADS[name], np.zeros((5, 500), np.float32)
    ones = Ends(dataclasses.replace(head.head, kernel_init=nn.initializers.ones))
    draw = jax.jit(
        lambda key: (head.init(key, x, LABELS)["params"], ones.init(key, x, LABELS)["params"]),
        compiler_options={"xla_backend_optimization_level": 0},  # compiling is all that takes time here
    )
    params, other = draw(jax.random.key(2))
    for layer, arrays in params.items():
        kernel = np.asarray(arrays["kernel"], np.float64)
        assert abs(np.std(kernel) - 0.02) < 5 * 0.02 / np.sqrt(2 * kernel.size), layer
        assert not np.any(arrays.get("bias", 0))
        assert np.all(other[layer]["kernel"] == 1)


@every_head
@pytest.mark.parametrize("given, asked", [(jnp.bfloat16, None), (jnp.float32, jnp.bfloat16)])
def test_bfloat16_is_the_features_or_asked_for(name, given, asked):
    """Every layer computes in it; the outputs are float32."""
    head = Ends(dataclasses.replace(HEADS[name].head, dtype=asked))
    variables = drawn(head)

    def forward(x):
        return head.apply(variables, x, LABELS, capture_intermediates=True, mutable=["intermediates"])

    outputs, captured = jax.jit(forward)(jnp.asarray(FEATURES, given))
    assert {values.dtype for values in outputs.values()} == {jnp.dtype("float32")}
    layers = {key: values for key, values in captured["intermediates"].items() if key != "__call__"}
    assert set(layers) == set(variables["params"])
    assert {leaf.dtype for leaf in jax.tree.leaves(layers)} == {jnp.dtype("bfloat16")}
    for key, want in by_hand(name, variables["params"]).items():
        np.testing.assert_allclose(outputs[key], want, rtol=0, atol=0.02 * np.max(np.abs(want)), err_msg=key)
    kept = jax.eval_shape(head.init, jax.random.key(0), jnp.asarray(FEATURES, given), LABELS)
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype("float32")}


def test_codes_of_one_kind_alone():
    init = lambda head: jax.eval_shape(Ends(head).init_with_output, jax.random.key(0), FEATURES)[0]  # noqa: E731
    assert set(init(Codes((10,), 0))) == {"logits", "code0"}
    assert set(init(Codes((), 2))) == {"logits", "code_mean", "code_log_std"}


def test_a_deviation_of_one_is_not_learned():
    head = Ends(Codes((4,), 2, unit_std=True))
    params = drawn(head)
    assert "code_log_std" not in params["params"] and "code_mean" in params["params"]
    outputs = head.apply(params, FEATURES)
    np.testing.assert_array_equal(outputs["code_log_std"], np.zeros((5, 2), np.float32))
    assert "code_log_std" not in head.init(jax.random.key(0), FEATURES)["params"]
    assert set(Ends(Codes((4,), 0, unit_std=True)).init_with_output(jax.random.key(0), FEATURES)[0]) == {
        "logits",
        "code0",
    }
