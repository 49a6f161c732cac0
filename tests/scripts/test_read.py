"""`scripts.read`: the shares that it counts, of what it shows the classifier, and which runs can't be read."""

import dataclasses
from pathlib import Path

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxgan import data
from jaxgan.evaluation import classifier_features
from jaxgan.training import GAN, UsageError, train
from jaxgan.training import Options as CommonOptions
from jaxgan.training import open as open_run
from jaxgan.training.recipe.gan import Reading
from scripts import read

pytestmark = pytest.mark.usefixtures("as_users_have_it")

NAMES = tuple("0123456789")


class Options(CommonOptions):
    """The options that all experiments have."""


class State(flax.struct.PyTreeNode):
    """No network: a strength by which images are darkened."""

    step: jax.Array
    key: jax.Array
    strength: jax.Array


def build(options, spec):
    def init(key):
        return State(jnp.int32(0), key, jax.random.uniform(key, (), minval=0.2))

    def iteration(state, batch):
        return state.replace(step=state.step + 1), {"generator/loss": state.strength}

    def mirrored(state, images):
        return state.strength * (images[:, :, ::-1] + 1) - 1

    def of_pairs(state, examples, keys, *, weights="ema"):
        x = examples["image"]
        return {"source": x, "image": mirrored(state, x), "target": x}

    def of_sets(state, examples, keys, *, weights="ema"):
        a, b = examples["a"]["image"], examples["b"]["image"]
        return {"from a": a, "b": -a, "from b": b, "a": mirrored(state, -b)}

    if not spec.sets:
        return GAN(init, iteration, options.batch_size, of_pairs, {"image": "target"})
    readings = {"from a": Reading("a"), "b": Reading("a", jnp.negative)}
    readings |= {"from b": Reading("b", jnp.negative), "a": Reading("b")}
    return GAN(init, iteration, {"a": 4, "b": 4}, of_sets, readings=readings)


@jax.jit
def reads(images):
    return classifier_features("mnist-v1").apply(images)["logits"]


def as_read(images):
    return np.argmax(np.asarray(reads(images)), axis=-1)


def digits(count=24):
    """Digits whose labels are what the classifier reads, but for every third, which has another."""
    small = load_digits().images[:count].repeat(2, axis=1).repeat(2, axis=2)  # as large in its frame as MNIST's are
    images = np.pad(np.rint(small * (255 / 16)), ((0, 0), (6, 6), (6, 6)))[..., None].astype(np.uint8)
    labels = as_read(images)
    labels[::3] = (labels[::3] + 1) % 10
    return images, labels


def trained(folder, given, **changes):
    options = Options(workdir=str(folder / "run"), steps=1, batch_size=4, devices=1, **changes)
    train(build, options, data=given)
    return open_run(folder / "run", data=given, build=build)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    images, labels = digits()
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        given = data.from_arrays("mnist", images, labels, NAMES)
        return trained(tmp_path_factory.mktemp("single"), given)


def asked(**changes):
    return read.Options(run=Path("run"), **changes)


def test_the_share_of_what_is_read_as_its_label(single):
    found, count = read.shares(single, asked())
    drawn, (_, labels) = single.draw(24), digits()
    labels = labels[np.random.default_rng(0).permutation(24)]  # the order in which a run draws from examples
    expected = np.mean(as_read(drawn["image"]) == labels)
    assert count == 24 and list(found) == ["source", "image", "target"]
    assert found["source"] == found["target"] == [pytest.approx(2 / 3)] and found["image"] == [pytest.approx(expected)]
    assert expected < 0.6, "or the test would tell nothing"
    fewer, count = read.shares(single, asked(count=5))
    assert count == 5 and fewer["source"] == [np.mean(as_read(drawn["source"][:5]) == labels[:5])]


def test_what_is_read_is_turned_back_first_and_has_the_label_of_its_own_set(tmp_path):
    (images, labels), half = digits(), slice(0, 12)
    sets = {
        "a": data.from_arrays("mnist", images, labels, NAMES),
        "b": data.from_arrays("negative", 255 - images[half], labels[half], NAMES),
    }
    run = trained(tmp_path, sets, seeds=2)
    found, count = read.shares(run, asked())
    assert count == 12, "the fewer of both"
    order = {name: np.random.default_rng(0).permutation(n)[:12] for name, n in (("a", 24), ("b", 12))}
    drawn = run.draw(12)
    for member in range(2):
        for name, of, shown in (("b", "a", 255 - drawn["b"]), ("a", "b", drawn["a"])):
            expected = np.mean(as_read(shown[member]) == labels[order[of]])
            assert found[name][member] == pytest.approx(expected), (name, member)
    assert found["b"] == found["from a"], "the negative's negative"
    alone, _ = read.shares(run.member(1), asked())
    assert alone["a"] == [found["a"][1]]


def test_a_command_prints_the_table(single, monkeypatch, capsys):
    monkeypatch.setattr(read, "open_checkpoint", lambda directory, options: single)
    read.run(asked())
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["read", "as", "its", "label", "share"] and said[1].split() == ["source", "66.67", "%"]
    assert said[4] == "24 examples, training examples; ema weights of step 1"
    assert said[5].startswith("read by mnist-v1, sha256 07506649")


def other(run, **changes):
    return dataclasses.replace(run, data=dataclasses.replace(run.data, **changes))


def test_runs_that_cannot_be_read_are_refused_in_a_line(single, monkeypatch):
    spec = single.data
    two = dataclasses.replace(spec.fields["label"], classes=2, counts=())
    from_latents = other(single)
    monkeypatch.setattr(from_latents.drawing, "held", None)
    without_labels = other(single, fields={"image": spec.fields["image"]})
    with_sets = other(single, sets={"a": spec, "b": spec})
    cases = [
        (lambda: read.readings_of(from_latents), "draws of nothing that has a label to be kept"),
        (lambda: read.readings_of(with_sets), "doesn't say how a classifier is to read what it draws"),
        (lambda: read.labels_of(without_labels, ""), "the set mnist of .* has no labels, and so nothing tells"),
        (
            lambda: read.reader(other(single, name="digits"), "auto"),
            "no classifier of digits; .* --classifier mnist-v1",
        ),
        (
            lambda: read.reader(other(single, fields={**spec.fields, "label": two}), "auto"),
            "mnist-v1 tells 10 classes apart, and mnist has 2 in this run",
        ),
    ]
    for call, words in cases:
        with pytest.raises(UsageError, match=words) as refused:
            call()
        assert "\n" not in str(refused.value)


def test_colours_are_not_shown_to_a_classifier_of_grey(tmp_path):
    images, labels = digits(8)
    run = trained(tmp_path, data.from_arrays("mnist", images.repeat(3, axis=-1), labels, NAMES))
    with pytest.raises(ValueError, match="mnist-v1 takes images with 1 channels, got 3"):
        read.shares(run, asked())
