"""Scores of conditional samples, against distances counted by hand."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import needs_tfds

from experiments import cgan_mnist
from jaxgan.data import from_arrays
from jaxgan.evaluation import FeatureNetwork, class_scores, scores
from jaxgan.training import UsageError, train
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.scoring.judge import judge_for
from jaxgan.training.scoring.measures import Measure
from jaxgan.training.scoring.real_data import RealData
from scripts import evaluate

RANDOM = np.random.default_rng(0)
LABELS, ASKED = np.arange(60) % 3, np.arange(45) % 3
REAL, FAKE = RANDOM.normal(size=(60, 4)), RANDOM.normal(size=(45, 4)) * (1.0 + 0.7 * ASKED[:, None])


def covered(real, fake, k):
    """Computes coverage, Naeem et al. 2020, equation 4, pair by pair."""
    count = 0
    for i, centre in enumerate(real):
        others = sorted(np.linalg.norm(centre - x) for j, x in enumerate(real) if j != i)
        count += any(np.linalg.norm(centre - y) < others[k - 1] for y in fake)
    return count / len(real)


@pytest.mark.parametrize("k", [1, 5])
def test_coverage_inside_each_class_and_the_share_that_agrees(k):
    predicted = np.where(np.arange(45) < 9, (ASKED + 1) % 3, ASKED)
    found = class_scores(REAL, LABELS, FAKE, ASKED, predicted, k=k)
    each = [covered(REAL[c == LABELS], FAKE[c == ASKED], k) for c in range(3)]
    assert found.agreement == 36 / 45 and 0 < min(each) < max(each)
    np.testing.assert_allclose(found[1:], [np.mean(each), min(each)], rtol=1e-12)


def test_one_good_picture_a_class_agrees_and_covers_next_to_nothing():
    real = REAL + 100 * LABELS[:, None]
    fake = np.stack([real[c == LABELS][0] for c in ASKED])
    found = class_scores(real, LABELS, fake, ASKED, ASKED)
    assert found.agreement == 1 and found.coverage < 0.5
    good = class_scores(real, LABELS, real, LABELS, LABELS)
    assert good == (1, 1, 1)


def test_a_class_that_is_drawn_as_another_is_not_covered():
    real = REAL + 100 * LABELS[:, None]
    swapped = np.array([1, 0, 2])[LABELS]
    found = class_scores(real, LABELS, real, swapped, LABELS)
    assert found == pytest.approx((1 / 3, 1 / 3, 0))


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"requested": ASKED[:-1]}, r"expected requested labels as integers \[45\], got int64 \[44\]"),
        ({"predicted": ASKED / 1.0}, r"expected predicted labels as integers \[45\], got float64"),
        ({"real_labels": LABELS[:, None]}, r"expected real labels as integers \[60\], got int64 \[60, 1\]"),
        ({"requested": ASKED % 2}, r"real images are of the classes \[0, 1, 2\], asked for were \[0, 1\]"),
        ({"real_labels": np.minimum(LABELS + (np.arange(60) > 5), 2)}, "at least 6 real"),
    ],
)
def test_labels_that_do_not_fit_are_refused(changed, message):
    given = {"real": REAL, "real_labels": LABELS, "fake": FAKE, "requested": ASKED, "predicted": ASKED} | changed
    with pytest.raises(ValueError, match=message):
        class_scores(**given)


def test_the_scores_name_takes_the_networks_reading_and_as_many_real_images(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path))

    def apply(images):
        flat = images.reshape(len(images), -1).astype(jnp.float32) / 255
        return {"features": flat, "logits": flat[:, :3]}

    network = FeatureNetwork("house-of-cards", "ab", "none", 3, apply)
    images, real = (RANDOM.integers(0, 256, (count, 2, 2, 1)).astype(np.uint8) for count in (45, 90))
    real_labels = np.arange(90) % 3
    found = scores(["classes"], network, images, real, labels=(ASKED, real_labels))
    flat = [x.reshape(len(x), -1) / 255 for x in (real[:45], images)]
    expected = class_scores(flat[0], real_labels[:45], flat[1], ASKED, flat[1][:, :3].argmax(1))
    np.testing.assert_allclose([score.value for score in found], expected, atol=1e-12)
    assert [score.key for score in found] == ["agreement", "class_coverage", "least_class_coverage"]
    assert [score.real for score in found] == [0, 45, 45] and found[1].constants == {"of": 3, "k": 5}
    for labels in ((None, None), (ASKED, None), (None, real_labels)):
        with pytest.raises(ValueError, match="give the labels of both sets"):
            scores(["classes"], network, images, real, labels=labels)
    # Real images of a class that isn't asked for, as of a test set that lacks it, are left out.
    two = ASKED < 2
    found = scores(["classes"], network, images[two], real, labels=(ASKED[two], real_labels))
    first = real_labels[:30] < 2
    expected = class_scores(
        flat[0][:30][first], real_labels[:30][first], flat[1][two], ASKED[two], flat[1][two][:, :3].argmax(1)
    )
    np.testing.assert_allclose([score.value for score in found], expected, atol=1e-12)
    assert [score.real for score in found] == [0, 20, 20] and found[1].constants == {"of": 2, "k": 5}
    rare = np.where(np.arange(90) < 44, real_labels % 2, real_labels)
    with pytest.raises(ValueError, match=r"of the first 45, as many as are scored, class 2 has 1; score more samples"):
        scores(["classes"], network, images, real, labels=(ASKED, rare))


def test_the_judge_has_the_labels_of_all_its_real_images():
    labels = RANDOM.integers(0, 7, 3000)
    data = from_arrays("mine", np.broadcast_to(labels.astype(np.uint8)[:, None, None], (3000, 2, 2)).copy(), labels)
    judge = judge_for(Measure(("classes",), None, "mine"), RealData(data, DataSpec.of(data), None))
    assert len(judge.real) == 3000 > 2048
    np.testing.assert_array_equal(judge.labels, judge.real[:, 0, 0, 0])
    assert (judge.labels != labels).any(), "drawn, not as they lie"


@pytest.mark.data
@needs_tfds
@pytest.mark.slow
@pytest.mark.usefixtures("as_users_have_it")
def test_a_conditional_run_is_scored_beside_real_images_and_not_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "cache"))
    arguments = ["--preset", "smoke", "--dataset", "mnist", "--images", "1000", "--workdir", str(tmp_path / "run")]
    train(cgan_mnist.build, parse(cgan_mnist.Options, arguments))

    def scored(**how):
        evaluate.run(evaluate.Options(run=tmp_path / "run", out=tmp_path / "scores.json", **how))
        return [row for row in json.loads((tmp_path / "scores.json").read_text()) if row["metric"] == "classes"]

    assert scored(count=400) == [], "too few of each to be scored unasked"
    rows = scored(count=600)
    assert [row["key"] for row in rows] == 2 * ["agreement", "class_coverage", "least_class_coverage"]
    values = [row["value"] for row in rows]
    assert values[0] < 0.3 and values[3] > 0.95 and values[4] > 0.8 > values[1] >= values[2]
    with pytest.raises(UsageError, match=r"class \d has \d; score more samples"):
        scored(count=30, metrics="classes")
    on_the_way = ["--eval-every", "1", "--metrics", "fid,classes"]
    options = parse(cgan_mnist.Options, [*arguments[:-1], str(tmp_path / "other"), *on_the_way])
    with pytest.raises(UsageError, match=r"scores runs of conditional GANs, in scripts\.evaluate, on all classes"):
        train(cgan_mnist.build, options)
