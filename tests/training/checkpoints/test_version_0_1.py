"""Runs that jaxgan 0.1 wrote (`tests/golden/runs_of_0.1.zip`: `experiments.gan_ring --size smoke --steps 2`, alone and
with `--seeds 2`) are opened and continued: `runs_of_0.1.npz` has what 0.1 made of them by step 4."""

import dataclasses
import json
import pathlib
import zipfile

import jax
import numpy as np
import optax
import pytest
from conftest import tiny_gan
from games import cyclegan

from experiments import gan_ring
from jaxgan import training
from jaxgan.training.checkpoints.checkpoints import Checkpoints
from jaxgan.training.checkpoints.version_0_1 import of_version_0_1
from jaxgan.training.options.options import of_preset
from jaxgan.training.options.parsing import parse

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"


@pytest.fixture
def runs(tmp_path):
    with zipfile.ZipFile(GOLDEN / "runs_of_0.1.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


def leaves(state):
    state = getattr(state, "members", state)
    trees = {name: player.params for name, player in state.players.items()} | {"ema": state.ema["generator"]}
    return {
        f"{name}{jax.tree_util.keystr(path)}": leaf
        for name, tree in trees.items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.mark.parametrize("name, seeds", [("one", 1), pytest.param("seeds", 2, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("as_users_have_it")
def test_a_run_of_0_1_goes_on_as_it_would_have(name, seeds, runs):
    how = {"steps": 4, "seeds": seeds, "devices": 1, "checkpoint_every": seeds, "workdir": str(runs / name)}
    options = of_preset(gan_ring.Options, "smoke", **how)
    state = training.train(gan_ring.build, options)
    with np.load(GOLDEN / "runs_of_0.1.npz") as golden:
        wanted = {key.partition("/")[2]: golden[key] for key in golden.files if key.startswith(f"{name}/")}
    found = leaves(state)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-6, atol=1e-6, err_msg=key)
    opened = training.open(runs / name)
    assert opened.step == 4 and opened.sample(4).shape[-1] == 2


@pytest.mark.usefixtures("as_users_have_it")
def test_an_opened_run_of_0_1_has_players(runs):
    run = training.open(runs / "one")
    assert run.step == 2 and set(run.state.players) == {"generator", "discriminator"}
    record = json.loads((runs / "one" / "options.json").read_text())
    assert record["data"]["size"] == 1
    assert record["options"]["size"] == run.options.preset == "smoke"  # options have other names now
    assert record["options"]["eval_samples"] == run.options.eval_count == 2048


@pytest.mark.usefixtures("as_users_have_it")
def test_a_run_of_0_1_is_repeated_and_begun_with(runs):
    options = parse(gan_ring.Options, ["--options", str(runs / "one" / "options.json"), "--preset", "smoke"])
    assert options == of_preset(gan_ring.Options, "smoke", devices=1, checkpoint_every=1, sample_every=1000)
    begun = dataclasses.replace(options, steps=3, from_run=str(runs / "one"), workdir=str(runs / "fork"))
    assert int(training.train(gan_ring.build, begun).step) == 3


def test_another_game_refuses_what_0_1_wrote_in_a_line(runs):
    state, _ = cyclegan.start(tx=optax.identity())
    with pytest.raises(training.UsageError, match=r"written by jaxgan 0\.1, whose runs had one generator") as raised:
        Checkpoints(runs / "one", read_only=True).restore(2, state)
    assert "\n" not in str(raised.value)


def test_states_of_today_are_left_alone():
    state = tiny_gan()
    like, back = of_version_0_1(state, {"players", "ema", "step"})
    assert like is state and back(state) is state
