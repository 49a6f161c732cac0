"""pix2pix and a CycleGAN train through `training.train`, are drawn, scored and continued: nothing in the loop, in
scripts or pictures knows about them."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same, differs, needs_tfds
from games import pix2pix

from experiments import cyclegan
from jaxgan import Frozen, data
from jaxgan.ensemble import member
from jaxgan.training import UsageError, train
from jaxgan.training import open as open_run
from scripts import evaluate, sample

pytestmark = pytest.mark.usefixtures("as_users_have_it")

SHORT = {"steps": 6, "checkpoint_every": 3, "sample_every": 3, "batch_size": 8, "devices": 1}

REAL = [pytest.mark.long, pytest.mark.data, needs_tfds]


def options(tmp_path, name="run", **changes):
    return pix2pix.Options(workdir=str(tmp_path / name), **(SHORT | changes))


def unpaired(tmp_path, name="run", **changes):
    """Options of a CycleGAN that compiles as fast as can be."""
    changes = SHORT | {"image_size": None, "features": 2, "blocks": 0, "patch": 1, "pool": 12} | changes
    return cyclegan.Options(workdir=str(tmp_path / name), **changes)


def coloured(images, name):
    """Pairs from grey to colour."""
    grey = np.rint(images.mean(axis=-1, keepdims=True)).astype(np.uint8)
    return data.from_arrays(name, images, source=grey)


def made_pairs():
    """Images of which each pixel's colour follows from its brightness."""
    bright = np.random.default_rng(0).integers(0, 200, (64, 8, 12, 1), np.uint8)
    return coloured(np.concatenate([bright, bright // 2, bright // 2 + 50], axis=-1), "made")


def cifar_pairs():
    source = data.open_source("cifar10")
    return coloured(np.stack([source[i] for i in range(256)]), "cifar10")


def digits(count=80):
    grey = data.open_source("digits").images[:count, 6:22, 6:22]  # small: convolutions take long on a CPU
    return {"a": data.from_arrays("digits", grey), "b": data.from_arrays("negative", 255 - grey)}


def mnist():
    source = data.open_source("mnist")
    grey = np.stack([source[i] for i in range(256)])
    return {"a": data.from_arrays("mnist", grey), "b": data.from_arrays("negative", 255 - grey)}


def scores(directory, given, metrics):
    found, _ = evaluate.of_run(evaluate.Options(run=directory, metrics=metrics, count=16), directory, given)
    return {(record.get("output"), record["key"]): record["value"] for record in found}


@pytest.mark.parametrize(
    "given", [pytest.param(made_pairs, marks=pytest.mark.slow), pytest.param(cifar_pairs, marks=REAL)]
)
def test_pix2pix_learns_its_pairs(given, tmp_path):
    pairs = given()
    how = {"hold_out": "25%", "eval_every": 20, "eval_count": 16, "metrics": "l1", "checkpoint_every": 20}
    state = train(pix2pix.build, options(tmp_path, steps=40, **how), data=pairs)
    assert set(state.players) == {"generator", "discriminator"} and int(state.step) == 40
    kept = [json.loads(line) for line in (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()]
    l1 = [record["value"] for record in kept if record["key"] == "l1"]
    assert len(l1) == 2 and l1[1] < l1[0], "held-out pairs come nearer"
    drawn = open_run(tmp_path / "run", data=pairs).draw(5)
    assert list(drawn) == ["source", "image", "target"] and drawn["image"].shape == drawn["target"].shape
    found = scores(tmp_path / "run", pairs, "psnr,l1")
    error = np.abs(drawn["image"].astype(float) - drawn["target"]).mean() / 255
    assert 0 < error < 0.5 and {key for _, key in found} == {"psnr", "l1"}


@pytest.mark.parametrize("given", [pytest.param(digits, marks=pytest.mark.slow), pytest.param(mnist, marks=REAL)])
def test_a_cyclegan_is_trained_drawn_scored_and_continued(given, tmp_path):
    sets = given()
    straight = train(cyclegan.build, unpaired(tmp_path, "straight"), data=sets)
    train(cyclegan.build, unpaired(tmp_path, steps=3), data=sets)
    state = train(cyclegan.build, unpaired(tmp_path), data=sets)
    assert_same(jax.tree.leaves(state), jax.tree.leaves(straight))
    assert set(state.players) == {"G", "F", "Da", "Db"} and set(state.ema) == {"G", "F"}
    for name in "ab":
        full = np.any(np.asarray(state.extras[f"pool of {name}"]["examples"]) != 0, axis=(1, 2, 3))
        assert np.all(full) and full.shape == (12,)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all({"generator/cycle", "generator/identity", "discriminator/adversarial"} <= set(line) for line in lines)

    run = open_run(tmp_path / "run", data=sets)
    drawn = run.draw(5)
    assert list(drawn) == ["from a", "b", "a again", "from b", "a", "b again"]
    np.testing.assert_array_equal(np.sort(255 - drawn["from a"].ravel()), np.sort(drawn["from b"].ravel()))
    assert differs(drawn["b"], drawn["from a"])
    assert {output for output, _ in scores(tmp_path / "run", sets, "swd")} == {"a", "b"}
    sample.save(tmp_path / "drawn.npz", run, run.draw(3))
    with np.load(tmp_path / "drawn.npz") as file:
        assert len(file.files) >= 2


@pytest.mark.long
def test_two_cyclegans_at_once_are_each_alone(tmp_path):
    """Four networks and two pools a member. SGD, as Adam's first updates are signs of numbers about 0; two steps, as
    these norms over few and almost equal numbers make a rounding ten times as large, and more, in each."""
    sets, how = digits(24), {"steps": 2, "optimizer": "sgd", "learning_rate": 0.01}
    both = train(cyclegan.build, unpaired(tmp_path, seeds=2, **how), data=sets)
    for seed in (0, 1):
        alone = train(cyclegan.build, unpaired(tmp_path, f"alone {seed}", seed=seed, **how), data=sets)
        assert_same(jax.tree.leaves(member(both, seed)), jax.tree.leaves(alone), 2e-5)
    assert differs(member(both, 0).extras, member(both, 1).extras)
    drawn = open_run(tmp_path / "run", data=sets).draw(3)
    assert drawn["b"].shape == (2, 3, 16, 16, 1) and differs(drawn["b"][0], drawn["b"][1])


TESTS = pathlib.Path(__file__).parents[2]


def started(workdir, steps):
    """The CycleGAN in a process of its own, on digits and digits."""
    command = [sys.executable, "-m", "experiments.cyclegan", "--dataset", "a=digits,b=digits", "--images", "64"]
    command += ["--image-size", "8", "--features", "2", "--blocks", "0", "--patch", "1", "--pool", "12"]
    command += ["--steps", str(steps), "--batch-size", "8", "--devices", "1", "--checkpoint-every", "5"]
    command += ["--sample-every", "1000", "--workdir", str(workdir)]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.Popen(command, cwd=TESTS, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_cyclegan_that_is_killed_goes_on_bit_for_bit(tmp_path):
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    for least in (5, 40):
        process = started(killed, steps=1_000_000)
        while process.poll() is None and not _newest(killed) >= least:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    steps = _newest(killed) + 5
    for workdir in (killed, straight):
        assert started(workdir, steps).wait() == 0
    states = [open_run(workdir).state for workdir in (killed, straight)]
    assert_same(*(jax.tree.leaves(state) for state in states))


def _newest(workdir):
    return max(
        (int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*") if path.name.isdecimal()), default=0
    )


@pytest.mark.slow
def test_a_continued_run_must_have_the_same_frozen_networks(tmp_path):
    def with_features(scale):
        features = Frozen(lambda variables, x: variables * x, jnp.full(3, scale))
        return lambda options, spec: pix2pix.build(options, spec)._replace(frozen={"features": features})

    pairs = made_pairs()
    train(with_features(1.0), options(tmp_path, steps=2), data=pairs)
    assert set(json.loads((tmp_path / "run" / "options.json").read_text())["frozen"]) == {"features"}
    train(with_features(1.0), options(tmp_path, steps=4), data=pairs)
    with pytest.raises(UsageError, match=r"the frozen network features with the digest \w{12} \(the run has \w{12}\)"):
        train(with_features(2.0), options(tmp_path, steps=6), data=pairs)
