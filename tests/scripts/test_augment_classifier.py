"""`scripts.augment_classifier`: what classifiers are trained on, the shares that are counted, and what is refused."""

import json

import jax
import numpy as np
import pytest
from point_runs import run_points

from experiments import cgan_mnist, dcgan_mnist
from jaxgan.networks.classifier import Classifier
from jaxgan.training import UsageError, train
from jaxgan.training.options.options import of_preset
from scripts import augment_classifier as tool
from scripts.augment_classifier import Labelled

pytestmark = pytest.mark.usefixtures("as_users_have_it")
random = np.random.default_rng(0)
TINY = Classifier((4, 4, 4), (0, 0, 0), 2)


def halves(count, noise=20, swapped=False):
    """Images that are bright on the left (class 0) or on the right; `swapped`: with the other's label."""
    labels = np.arange(count, dtype=np.int32) % 2
    images = random.integers(0, 1 + noise, (count, 8, 8, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, slice(4, None) if label else slice(4)] += 200
    return Labelled(images, labels ^ 1 if swapped else labels)


def right(real, fake, **how):
    variables = tool.fit(TINY, real, fake, steps=400, batch_size=16, **how)
    return tool.share_right(TINY, variables, halves(70))


@pytest.mark.slow
def test_classifiers_learn_from_both_kinds_of_images():
    """Of right labels all is told; where real and generated images contradict each other, about half."""
    assert right(halves(10), None) > 0.9
    assert right(halves(10, swapped=True), None) < 0.1
    assert right(halves(10), halves(30)) > 0.9
    contradicted = right(halves(10), halves(30, swapped=True))
    assert 0.1 < contradicted < 0.9, "as many generated images as real ones, though there are three times as many"
    assert right(halves(10), None, shift=1) > 0.9


@pytest.mark.slow
def test_a_seed_says_all_and_no_seed_is_another():
    real = halves(10)
    found = [tool.fit(TINY, real, None, steps=3, batch_size=4, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(each)]) for each in found)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_the_share_is_of_all_test_images_once():
    """Of 7, which are fewer than a dispatch has: as many are counted, by the logits of the same network."""
    test = halves(7)
    variables = TINY.init(jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32), train=False)
    x = test.images.astype(np.float32) / 127.5 - 1
    expected = np.mean(np.argmax(TINY.apply(variables, x, train=False)["logits"], -1) == test.labels)
    assert tool.share_right(TINY, variables, test) == pytest.approx(expected)
    assert round(7 * tool.share_right(TINY, variables, test), 6) == round(7 * expected)


def test_the_table_has_a_column_a_seed():
    lines = tool.table({"real images": [0.5, 0.75], "real images, shifted": [0.25, 0.25]})
    assert lines[0].split()[-6:] == ["0", "seed", "1", "mean", "±", "std"]
    assert lines[1].split()[2:] == ["50.00", "%", "75.00", "%", "62.50", "±", "17.68", "%"]
    assert tool.table({"real images": [0.5]})[1].split()[2:] == ["50.00", "%", "50.00", "%"]


@pytest.mark.slow
def test_a_run_of_several_seeds_is_a_table(tmp_path, capsys):
    options = of_preset(
        *(cgan_mnist.Options, "smoke"), devices=1, seeds=2, hold_out="50", images="100", workdir=str(tmp_path / "run")
    )
    train(cgan_mnist.build, options)
    capsys.readouterr()
    out = tmp_path / "shares.json"
    tool.run(tool.Options(run=tmp_path / "run", count=30, steps=3, batch_size=8, out=out))
    said = capsys.readouterr().out
    assert "seed 1" in said and "\n50 real images, " in said and "tested on 50, 50 of the set, held out" in said
    found = json.loads(out.read_text())["shares"]
    assert list(found) == list(tool.ROWS) and all(len(values) == 2 for values in found.values())
    assert all((50 * value) % 1 == pytest.approx(0) for values in found.values() for value in values)


@pytest.mark.slow
def test_what_can_teach_no_classifier(tmp_path):
    run_points(tmp_path, steps=1)
    plain = of_preset(dcgan_mnist.Options, "smoke", devices=1, workdir=str(tmp_path / "plain"))
    train(dcgan_mnist.build, plain)
    for name in "run", "plain":
        with pytest.raises(UsageError, match="draws no images by their class: runs of conditional GANs can teach"):
            tool.run(tool.Options(run=tmp_path / name))
    untested = of_preset(cgan_mnist.Options, "smoke", devices=1, workdir=str(tmp_path / "cgan"))
    train(cgan_mnist.build, untested)
    with pytest.raises(UsageError, match="there are no test images: "):
        tool.run(tool.Options(run=tmp_path / "cgan"))
