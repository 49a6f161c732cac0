"""The inception score against torch-fidelity (tests/golden/distances.json), closed forms and SciPy's entropy."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from jaxgan.evaluation.inception_score import inception_score
from scripts.golden.distances import logits

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "distances.json").read_text())["inception"]
LOGITS = logits()


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("name", GOLDEN)
def test_against_torch_fidelity(name):
    for splits, expected in GOLDEN[name].items():
        np.testing.assert_allclose(inception_score(LOGITS[name], splits=int(splits)), expected, rtol=1e-10, atol=1e-12)
    assert inception_score(LOGITS[name]) == inception_score(LOGITS[name], splits=10, seed=2020)


def test_against_entropies():
    """exp(H(mean of p) - mean of H(p)), with SciPy's entropy."""
    x = 3 * normal(70, 6)
    p = softmax(x, axis=1)
    expected = np.exp(entropy(p.mean(axis=0)) - np.mean(entropy(p, axis=1)))
    found = inception_score(x, splits=1)
    assert found.mean == pytest.approx(expected, rel=1e-12) and found.std == 0
    for seed in (0, 1):  # the order is that of the seed, and splits need not be equal
        shuffled = p[np.random.RandomState(seed).permutation(70)]
        parts = [shuffled[:17], shuffled[17:35], shuffled[35:52], shuffled[52:]]
        scores = [np.exp(entropy(part.mean(axis=0)) - np.mean(entropy(part, axis=1))) for part in parts]
        found = inception_score(x, splits=4, seed=seed)
        np.testing.assert_allclose(found, (np.mean(scores), np.std(scores)), rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 10, 1008])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_images_that_say_nothing_score_one(classes, scale):
    """Logits that are all equal, or the same for all images."""
    score = inception_score(np.full((40, classes), scale))
    assert score.mean == pytest.approx(1, rel=1e-12) and score.std == pytest.approx(0, abs=1e-12)
    alike = np.tile(scale * normal(1, classes), (40, 1))
    assert inception_score(alike).mean == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 10, 1008])
def test_certain_and_balanced_scores_the_number_of_classes(classes):
    balanced = np.tile(1e3 * np.eye(classes), (3, 1))
    assert inception_score(balanced, splits=1).mean == pytest.approx(classes, rel=1e-12)
    # Half of the classes are never named.
    assert inception_score(balanced[: classes // 2], splits=1).mean == pytest.approx(classes // 2, rel=1e-12)
    # Each of n images certain of a class of its own: n, whatever the number of classes.
    assert inception_score(1e3 * np.eye(classes)[:2], splits=1).mean == pytest.approx(2, rel=1e-12)


def test_extremes_are_finite():
    """Where the mean probability of a class underflows to 0, whose logarithm is -inf."""
    x = np.where(normal(60, 7) > 0, 1e3, -1e3)
    x[:, 3] = -1e3
    for scale in (1, 100):
        score = inception_score((scale * x).astype(np.float32), splits=3)
        assert np.isfinite(score).all() and 1 < score.mean < 6
    # A tie among n classes is 1/n each.
    first = x == x.max(axis=1, keepdims=True)
    p = first / first.sum(axis=1, keepdims=True)
    expected = np.exp(entropy(p.mean(axis=0)) - np.mean(entropy(p, axis=1)))
    assert inception_score(x, splits=1).mean == pytest.approx(expected, rel=1e-12)


def test_one_image_and_one_class():
    assert inception_score(normal(1, 5), splits=1) == pytest.approx((1, 0), abs=1e-12)
    assert inception_score(normal(20, 1)) == pytest.approx((1, 0), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32])
def test_every_float_counts_as_what_it_is(dtype):
    x = (4 * normal(50, 9)).astype(dtype)
    expected = inception_score(x.astype(np.float64))
    assert inception_score(x) == inception_score(jnp.asarray(x)) == expected
    assert all(type(value) is float for value in expected)


def spoilt(value):
    x = normal(20, 4)
    x[7, 2] = value
    return x


@pytest.mark.parametrize(
    "x, splits, message",
    [
        pytest.param(normal(9, 4), 10, "from 1 to the number of images, got splits 10 for 9 images", id="too-few"),
        pytest.param(normal(9, 4), 0, "got splits 0", id="no-split"),
        pytest.param(normal(0, 4), 1, "got splits 1 for 0 images", id="none"),
        pytest.param(spoilt(np.nan), 10, "1 of 20 rows of logits are not finite", id="nan"),
        pytest.param(spoilt(-np.inf), 10, "1 of 20 rows of logits are not finite", id="infinity"),
        pytest.param(normal(4), 1, r"expected logits \[N, D\]", id="a-vector"),
        pytest.param(np.ones((20, 4), np.int32), 1, "logits to be floats, got int32", id="labels"),
    ],
)
def test_what_cannot_be_scored(x, splits, message):
    with pytest.raises(ValueError, match=message) as error:
        inception_score(x, splits=splits)
    assert "\n" not in str(error.value)
