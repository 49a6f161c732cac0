"""Auxiliary classifiers and InfoGAN's codes against SciPy."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxgan.terms.auxiliary import classify_fake, classify_real_and_fake, information

_random = np.random.default_rng(0)
LABELS = {"real": np.array([0, 2, 1, 2]), "fake": np.array([1, 1, 0, 2])}
LOGITS = {name: 3 * _random.standard_normal((4, 3)) for name in LABELS}


def view(**changes):
    examples = {
        name: {"class": jnp.asarray(LOGITS[name], jnp.float32), "label": jnp.asarray(LABELS[name])} for name in LABELS
    }
    return types.SimpleNamespace(**(examples | changes))


def cross_entropy(name):
    return -special.log_softmax(LOGITS[name], axis=1)[np.arange(4), LABELS[name]]


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_classes_against_scipy(transform):
    values = transform(lambda: classify_real_and_fake().function(view()))()
    np.testing.assert_allclose(values, cross_entropy("real") + cross_entropy("fake"), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        transform(lambda: classify_fake().function(view()))(), cross_entropy("fake"), rtol=1e-6, atol=1e-6
    )
    gradient = transform(
        jax.grad(lambda x: jnp.sum(classify_fake().function(view(fake={"class": x, "label": view().fake["label"]}))))
    )(view().fake["class"])
    np.testing.assert_allclose(gradient, special.softmax(LOGITS["fake"], 1) - np.eye(3)[LABELS["fake"]], atol=1e-6)


def test_extreme_logits_stay_finite_and_a_wrong_label_shows():
    extreme = {"class": jnp.array([[1e4, -1e4, 0.0]] * 2), "label": jnp.array([0, 1])}
    np.testing.assert_allclose(classify_fake().function(view(fake=extreme)), [0.0, 2e4])
    wrong = {"class": jnp.zeros((4, 3)), "label": jnp.array([3, 1, -1, -3])}
    nan = np.nan
    np.testing.assert_allclose(classify_fake().function(view(fake=wrong)), [nan, np.log(3), nan, nan], rtol=1e-6)


def test_what_is_missing_is_named():
    for examples, name in [({"fake": {"class": jnp.zeros((4, 3))}}, "label"), ({"fake": {"label": 1}}, "class")]:
        with pytest.raises(ValueError, match=f"an auxiliary classifier needs '{name}' of each example"):
            classify_fake().function(view(**examples))
    with pytest.raises(ValueError, match="the information of codes needs 'code_class'"):
        information().function(view())


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_information_against_scipy(transform):
    outputs = {"code0": 2 * _random.standard_normal((5, 4)), "code1": _random.standard_normal((5, 3))}
    outputs |= {"code_mean": _random.standard_normal((5, 2)), "code_log_std": _random.standard_normal((5, 2))}
    codes = {"code_class": np.array([[0, 2], [3, 1], [1, 0], [2, 2], [3, 0]])}
    codes |= {"code_value": _random.uniform(-1, 1, (5, 2))}
    expected = sum(
        -special.log_softmax(outputs[f"code{i}"], axis=1)[np.arange(5), codes["code_class"][:, i]] for i in range(2)
    ) - stats.norm.logpdf(codes["code_value"], outputs["code_mean"], np.exp(outputs["code_log_std"])).sum(axis=1)
    fake = {
        name: jnp.asarray(x, jnp.int32 if x.dtype.kind == "i" else jnp.float32) for name, x in (outputs | codes).items()
    }
    values = transform(lambda fake: information().function(view(fake=fake)))(fake)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    only = fake | {"code_value": jnp.zeros((5, 0))}
    del only["code_mean"], only["code_log_std"]
    np.testing.assert_allclose(
        information().function(view(fake=only)),
        expected
        + stats.norm.logpdf(codes["code_value"], outputs["code_mean"], np.exp(outputs["code_log_std"])).sum(axis=1),
        rtol=1e-5,
    )
    del fake["code_log_std"]
    with pytest.raises(ValueError, match="needs 'code_log_std'"):
        information().function(view(fake=fake))
