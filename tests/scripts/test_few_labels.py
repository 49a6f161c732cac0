"""`scripts.few_labels`: which images are labelled, what learns, and a discriminator whose features tell the classes."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same, differs
from tiny_dcgan import tiny

from experiments import cgan_mnist, dcgan_mnist, gan_ring
from jaxgan.players import plain_player
from jaxgan.training import UsageError, train
from jaxgan.training import open as open_run
from scripts import few_labels
from scripts.classifiers import Labelled, share_right
from scripts.few_labels import WAYS, Options, begun, chosen, step_of, told, trained

pytestmark = pytest.mark.usefixtures("as_users_have_it")

LITTLE = {"run": "r", "steps": 100, "batch_size": 8, "learning_rate": 0.1}


def test_so_many_of_each_class_are_labelled():
    labels = np.repeat([0, 1, 4], [50, 7, 20])
    for count, expected in ((3, [1, 1, 1]), (12, [4, 4, 4]), (23, [8, 7, 8]), (77, [50, 7, 20])):
        some = chosen(labels, count, seed=0)
        assert len(set(some)) == count
        assert [int(np.sum(labels[some] == each)) for each in (0, 1, 4)] == expected
    assert set(chosen(labels, 12, 0)) < set(chosen(labels, 23, 0)), "more labels are those and others"
    assert set(chosen(labels, 12, 0)) != set(chosen(labels, 12, 1))
    for count in (2, 78):
        with pytest.raises(UsageError, match=f"--labels must be from 3, one of each class, to 77, .* got {count}"):
            chosen(labels, count, 0)


def accuracy(state, test):
    return share_right(functools.partial(told, state), test)


def pictures(count, seed):
    """Images of one pixel of three colours, whose class is which of the first two is brighter."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 1, 1, 3), np.uint8)
    return Labelled(images, (images[:, 0, 0, 0] > images[:, 0, 0, 1]).astype(np.int32))


def network(params, images, condition=None, **options):
    return {"features": images.reshape(len(images), 3) @ params["mix"]}


def trunk(mix):
    return plain_player(network, {"mix": jnp.asarray(mix, jnp.float32)}, few_labels.optax.identity())


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_what_learns_learns_and_nothing_else(way):
    """Features that hold the answer: all ways tell it, and a fixed network keeps its bits."""
    options, bar = Options(**LITTLE), SimpleNamespace(update=lambda count: None)
    state = begun(options, trunk(np.eye(3)), 2, (1, 1, 3), jax.random.key(0))
    before = jax.tree.map(jnp.copy, {name: player.params for name, player in state.players.items()})
    state = trained(options, step_of(options, way, None), state, pictures(200, 0), bar)
    assert int(state.step) == 100 and differs(state.players["head"].params, before["head"])
    if "trunk" in way.learns:
        assert differs(state.players["trunk"].params, before["trunk"])
    else:
        assert_same(state.players["trunk"].params, before["trunk"])
    assert accuracy(state, pictures(500, 1)) > 0.9


@pytest.mark.slow
def test_features_that_lack_the_answer_do_not_tell_it_until_they_learn():
    """Of the third colour alone: the mean of what a guess reaches is a half, 16 % is seven standard deviations."""
    options, bar = (
        Options(**(LITTLE | {"steps": 150, "learning_rate": 0.01})),
        SimpleNamespace(update=lambda count: None),
    )
    found = []
    for way in WAYS[:2]:
        state = begun(options, trunk(np.diag([0, 0, 1]) + 0.0), 2, (1, 1, 3), jax.random.key(0))
        state = trained(options, step_of(options, way, None), state, pictures(200, 0), bar)
        found.append(accuracy(state, pictures(500, 1)))
    assert abs(found[0] - 0.5) < 0.16 and found[1] > 0.85


def test_the_accuracy_is_the_share_that_is_right():
    state = begun(Options(**LITTLE), trunk(np.eye(3)), 2, (1, 1, 3), jax.random.key(0))
    head = {"kernel": jnp.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]), "bias": jnp.zeros(2)}
    state = state.replace(players={**state.players, "head": state.players["head"].replace(params=head)})
    right = pictures(300, 2)
    wrong = right._replace(labels=np.where(np.arange(300) < 90, 1 - right.labels, right.labels))
    assert accuracy(state, right) == 1.0 and accuracy(state, wrong) == 0.7


@pytest.mark.slow
def test_the_rate_falls_to_nothing():
    options = Options(**(LITTLE | {"steps": 4}))
    state = begun(options, trunk(np.eye(3)), 2, (1, 1, 3), jax.random.key(0))
    step, batch = jax.jit(step_of(options, WAYS[1], None)), pictures(8, 0)._asdict()
    seen = []
    for _ in range(4):
        state, metrics = step(state, {"image": batch["images"], "label": batch["labels"]})
        seen.append(float(metrics["hyper/trunk/learning_rate"]))
    np.testing.assert_allclose(seen, [0.1 * (1 + np.cos(np.pi * i / 4)) / 2 for i in range(4)], rtol=1e-5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        train(dcgan_mnist.build, tiny(folder, steps=2, hold_out="200"))
    return folder / "run"


@pytest.mark.slow
def test_a_run_is_compared_with_the_same_network_from_nothing(run, capsys):
    options = Options(run=run, labels=40, steps=30, seeds=2, batch_size=8)
    few_labels.run(options)
    _, head, *rows, about = capsys.readouterr().out.splitlines()
    assert head.split() == ["told", "right", "seed", "0", "seed", "1", "mean", "±", "std"]
    assert [row.split("  ")[0] for row in rows] == [way.name for way in WAYS]
    assert about == "40 labels, 30 steps of 8 at 0.0005; 200 of the set, held out; discriminator of step 2"
    again, _ = few_labels.compared(open_run(run), options)
    first = [float(row.split("%")[0].split()[-1]) for row in rows]
    assert first == pytest.approx([100 * again[way.name][0] for way in WAYS], abs=0.006), "a seed gives the same again"
    # Trained or not, before two steps of training a discriminator is nearly what it began with: they must not be equal.
    assert again["from the discriminator"] != again["from scratch"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, said",
    [
        ({"labels": 9}, "--labels must be from 10, one of each class, to 1597, the run's images, got 9"),
        ({"player": "critic"}, "--player critic: {0} has none of that name; it has discriminator or generator"),
        ({"player": "generator"}, "--player generator has no output `features` of images alone, as "),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, said, run):
    options = Options(**({"run": run, "labels": 40, "steps": 1} | changes))
    with pytest.raises(UsageError) as refused:
        few_labels.run(options)
    assert str(refused.value).startswith(said.format(run)) and "\n" not in str(refused.value)


@pytest.mark.slow
def test_runs_of_labels_and_of_points_are_refused(tmp_path):
    common = {field.name: getattr(tiny(tmp_path, steps=1), field.name) for field in dataclasses.fields(tiny(tmp_path))}
    train(cgan_mnist.build, cgan_mnist.Options(**common))
    ring = {"steps": 1, "batch_size": 8, "devices": 1, "width": 8, "workdir": str(tmp_path / "ring")}
    train(gan_ring.build, gan_ring.Options(**ring))
    for name in ("run", "ring"):
        with pytest.raises(UsageError, match="has a discriminator of points, packs, labels or crops"):
            few_labels.run(Options(run=tmp_path / name, labels=10))


def test_averaged_weights_are_not_asked_for():
    with pytest.raises(
        UsageError, match="--weights must be left out: a discriminator has no averaged weights, got raw"
    ):
        Options(run="r", weights="raw")
