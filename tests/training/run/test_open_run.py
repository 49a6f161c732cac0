"""`jaxgan.training.open`: what a notebook gets of a run, whatever it was trained on, and while it is trained."""

import ast
import builtins
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import assert_same

import jaxgan.training
from experiments import dcgan_mnist, gan_ring
from jaxgan import GANState
from jaxgan.ensemble import Ensemble, member
from jaxgan.training import UsageError, train
from jaxgan.training import open as open_run
from scripts import sample

pytestmark = pytest.mark.usefixtures("as_users_have_it")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """name -> (directory, final state): digits; points, two GANs on 4 devices, sharded over them."""
    folder = tmp_path_factory.mktemp("runs")
    common = {"steps": 4, "checkpoint_every": 2}
    digits = {"devices": 1, "dataset": "digits", "image_size": 28, "features": 2, "latent_size": 8, "batch_size": 8}
    ring = {"devices": 4, "seeds": 2, "shard_parameters": True, "width": 64, "batch_size": 16, "seed": 5}
    made = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for name, module, own in (("digits", dcgan_mnist, digits), ("ring", gan_ring, ring)):
            options = module.Options(workdir=str(folder / name), **common, **own)
            made[name] = folder / name, train(module.build, options)
    return made


def test_a_run_as_it_was_saved(runs):
    directory, final = runs["digits"]
    run = open_run(directory)
    assert run.step == int(run.state.step) == 4 and isinstance(run.state, GANState)
    assert run.directory == directory and run.members == ()
    assert run.options.features == 2 and run.data.size == 28
    assert_same(jax.tree.leaves(run.state), jax.tree.leaves(final))
    assert {leaf.sharding.device_set == {jax.devices()[0]} for leaf in jax.tree.leaves(run.state)} == {True}
    earlier = open_run(str(directory), 2)
    assert earlier.step == int(earlier.state.step) == 2
    assert len(repr(run)) < 2000  # what a notebook shows


def test_samples_do_not_depend_on_how_many_are_asked_for(runs):
    run = open_run(runs["digits"][0])
    many = run.sample(300)
    assert many.shape == (300, 28, 28, 1) and many.dtype == np.uint8
    for count in (1, 64, 256):
        np.testing.assert_array_equal(run.sample(count), many[:count])
    assert len(np.unique(many[:64], axis=0)) == 64
    assert np.any(run.sample(64, seed=1) != many[:64]) and np.any(run.sample(64, weights="raw") != many[:64])
    with pytest.raises(UsageError, match="the count must be at least 1, got 0"):
        run.sample(0)


def test_more_samples_than_the_memory_holds_are_refused(runs, monkeypatch):
    """Ten digits of 784 bytes, twice, are half of this memory."""
    monkeypatch.setattr("jaxgan.training.run.open_run.machine_memory", lambda: 4 * 10 * 784)
    run = open_run(runs["digits"][0])
    assert len(run.sample(10)) == 10
    with pytest.raises(UsageError, match=r"the count must be at most 10, as half of .* memory holds, got 11"):
        run.sample(11)


def test_weights_are_named(runs):
    run = open_run(runs["digits"][0])
    np.testing.assert_array_equal(run.sample(2, weights="ema"), run.sample(2))
    for ema in (True, False):
        with pytest.raises(UsageError, match=r'^ema=True is now weights="ema", and ema=False weights="raw"$'):
            run.sample(2, ema=ema)
    with pytest.raises(UsageError, match=r"^weights must be one of ema, raw, got EMA$"):
        run.draw(2, weights="EMA")


@pytest.mark.slow
def test_a_run_may_have_several_averages(tmp_path, capsys):
    """Of which one is chosen afterwards, of two GANs too; what else the run learns is what it would be without them."""
    common = {"steps": 4, "checkpoint_every": 2, "width": 8, "batch_size": 16, "devices": 1, "seeds": 2}
    plain = train(gan_ring.build, gan_ring.Options(workdir=str(tmp_path / "plain"), **common))
    run = {"workdir": str(tmp_path / "run"), "power_ema": (0.05, 0.1)}
    options = gan_ring.Options(**common | run)
    state = train(gan_ring.build, options)
    for ours, theirs in (
        (jax.tree.leaves(state.members.players), jax.tree.leaves(plain.members.players)),
        (state.members.ema["generator"], plain.members.ema["generator"]),
    ):
        assert_same(ours, theirs, 1e-6)  # two programs, which XLA may round apart
    for steps in (4, 6):  # as it was saved, and continued
        opened = open_run(tmp_path / "run")
        assert opened.step == steps and opened.weights == ("ema", "raw", "0.05", "0.1")
        assert_same(jax.tree.leaves(opened.state), jax.tree.leaves(state))
        drawn = {name: opened.sample(5, weights=name) for name in opened.weights}
        assert len({points.tobytes() for points in drawn.values()}) == 4
        for number in range(2):
            np.testing.assert_allclose(opened.member(number).sample(5, weights="0.10"), drawn["0.1"][number], atol=1e-5)
        state = train(gan_ring.build, dataclasses.replace(options, steps=6))
    for wrong, said in ((0.2, "0.2"), ("5%", "5%"), (None, "none"), ("ema,raw", "ema,raw")):
        with pytest.raises(UsageError, match=rf"^weights must be one of ema, raw, 0\.05, 0\.1, got {said}$"):
            opened.sample(5, weights=wrong)
    with pytest.raises(UsageError, match="--power-ema"):  # another state: it can't be continued so
        train(gan_ring.build, dataclasses.replace(options, power_ema=(0.05,), steps=8))
    capsys.readouterr()
    out = tmp_path / "a.npz"
    sample.run(sample.Options(run=tmp_path / "run", out=(out,), weights="0.10", count=5))
    assert capsys.readouterr().out.splitlines()[-1] == f"{out}: 0.1 weights of step 6 of all 2 members"


def test_members_sample_the_same_latents_together_and_alone(runs):
    directory, final = runs["ring"]
    run = open_run(directory)
    assert isinstance(run.state, Ensemble) and [each.seed for each in run.members] == [5, 6]
    points = run.sample(300)
    assert points.shape == (2, 300, 1, 1, 2) and points.dtype == np.float32 and np.any(points[0] != points[1])
    np.testing.assert_allclose(run.sample(7), points[:, :7], rtol=0, atol=1e-5)
    for number in range(2):
        for alone in (run.member(number), open_run(directory, member=number)):
            assert alone.members == () and alone.step == 4
            assert (alone.options.seed, alone.options.seeds, alone.options.width) == (5 + number, 1, 64)
            assert_same(jax.tree.leaves(alone.state), jax.tree.leaves(member(final, number)))
        np.testing.assert_allclose(alone.sample(300), points[number], rtol=0, atol=1e-5)
    for number in (-1, 2):
        with pytest.raises(UsageError, match=f"no member {number}: .*ring has members 0 to 1"):
            run.member(number)
    with pytest.raises(UsageError, match=r"no member 0: .* is a run of one GAN"):
        open_run(runs["digits"][0], member=0)


@pytest.mark.slow
def test_a_step_of_training_continues_what_was_opened(runs):
    """The state is a whole one: any program can go on with it."""
    run = open_run(runs["digits"][0])
    batch = {"image": np.zeros((8, 28, 28, 1), np.float32)}
    state, metrics = jax.jit(run.gan.iteration)(run.state, batch)
    assert int(state.step) == 5 and np.isfinite(metrics["generator/loss"])


def test_the_command_line_draws_the_same(runs, tmp_path, capsys):
    directory, _ = runs["digits"]
    sample.run(sample.Options(run=directory, out=(tmp_path / "a.npz", tmp_path / "a.png"), count=70))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["images"], open_run(directory).sample(70))
    sample.run(sample.Options(run=directory, out=(tmp_path / "b.npz",), count=3, weights="raw", step=2, seed=4))
    expected = open_run(directory, 2).sample(3, seed=4, weights="raw")
    np.testing.assert_array_equal(np.load(tmp_path / "b.npz")["images"], expected)
    directory, _ = runs["ring"]
    capsys.readouterr()
    sample.run(sample.Options(run=directory, out=(tmp_path / "c.npz", tmp_path / "c.png"), count=9))
    assert capsys.readouterr().out.splitlines()[1] == f"{tmp_path / 'c.npz'}: ema weights of step 4 of all 2 members"
    np.testing.assert_array_equal(np.load(tmp_path / "c.npz")["images"], open_run(directory).sample(9))
    sample.run(sample.Options(run=directory, out=(tmp_path / "d.npz",), count=9, member=1))
    np.testing.assert_array_equal(np.load(tmp_path / "d.npz")["images"], open_run(directory, member=1).sample(9))


def test_a_walk_of_one_and_of_all(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "WALKERS", 4)
    monkeypatch.setattr(sample, "STOPS", 2)
    monkeypatch.setattr(sample, "FRAMES", 2)
    for name in runs:
        sample.run(sample.Options(run=runs[name][0], out=(tmp_path / f"{name}.gif",)))
        assert (tmp_path / f"{name}.gif").stat().st_size > 1000


def test_by_a_relative_path_and_from_home(runs, monkeypatch):
    directory, _ = runs["ring"]
    monkeypatch.chdir(directory.parent)
    monkeypatch.setenv("HOME", str(directory.parent))
    run = open_run("ring")
    assert run.directory == open_run(pathlib.Path("~/ring")).directory == directory
    monkeypatch.chdir("/")
    assert run.member(1).sample(1).shape == (1, 1, 1, 2)  # which has all that it needs


def test_while_it_is_trained(tmp_path):
    """Who opens a run takes nothing from the one who trains it: neither its lock nor a file."""
    seen = []

    def look(state, metrics):
        if int(state.step) in (3, 5):  # after checkpoints, which are perhaps being written
            run = open_run(tmp_path / "run")
            seen.append(run.step)
            assert run.sample(2).shape == (2, 1, 1, 2)

    options = {"workdir": str(tmp_path / "run"), "checkpoint_every": 1, "batch_size": 16, "width": 8, "devices": 1}
    train(gan_ring.build, gan_ring.Options(steps=6, sample_every=1, **options), look)
    assert len(seen) == 2 and 1 <= seen[0] <= 3 and seen[0] < seen[1] <= 5
    assert open_run(tmp_path / "run").step == 6


def test_opening_writes_nothing_and_fetches_nothing(runs, tmp_path, monkeypatch):
    """Not even where the record names a set that would have to be fetched, and weights that aren't there."""

    def fetch(*where):
        raise AssertionError(where)

    for name, weights in (("digits", "inception_weights"), ("ring", "lpips_weights")):
        directory = pathlib.Path(shutil.copytree(runs[name][0], tmp_path / name))
        named = {"dataset": "mnist", "data_dir": str(tmp_path / "none"), weights: str(tmp_path / "none.pth")}
        options_of(lambda record: record["options"].update(named))(directory)  # noqa: B023
        before = {path: (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in tmp_path.rglob("*")}
        with monkeypatch.context() as patch:
            patch.setattr("socket.socket.connect", fetch)
            patch.setattr("jaxgan.data.open_source", fetch)
            run = open_run(directory)
            assert run.step == 4 and len(run.sample(2))
        assert {path: (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("step", ["newest", "Best", 2.0, True, [4]])
def test_a_step_is_a_number_or_best(step, runs):
    with pytest.raises(UsageError, match=r"^the step must be a number or best, got "):
        open_run(runs["ring"][0], step)


def copied(runs, tmp_path, name="ring"):
    return pathlib.Path(shutil.copytree(runs[name][0], tmp_path / "copy"))


def break_record(text):
    def damage(directory):
        (directory / "options.json").write_text(text)

    return damage


def options_of(change):
    def damage(directory):
        path = directory / "options.json"
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))

    return damage


def break_checkpoints(directory):
    for path in (directory / "checkpoints").rglob("*"):
        if path.is_file() and path.parent.name != "checkpoints":
            path.write_bytes(b"x")


@pytest.mark.parametrize(
    "damage, message",
    [
        (shutil.rmtree, "copy is no run directory: it has no options.json"),
        (lambda directory: (directory / "options.json").unlink(), "copy has checkpoints but no options.json"),
        (break_record("{"), "is not a run's record"),
        (break_record("[]"), "is not a run's record"),
        (options_of(lambda record: record["options"].update(colour=1)), "doesn't fit experiments.gan_ring as it is"),
        (options_of(lambda record: record.update(experiment="nowhere")), "names the experiment nowhere, which is none"),
        (options_of(lambda record: record["options"].update(width=8)), "none of the checkpoints .* can be restored"),
        (options_of(lambda record: record["options"].update(seeds=3)), "none of the checkpoints .* can be restored"),
        (lambda directory: shutil.rmtree(directory / "checkpoints"), "copy has no checkpoint yet"),
        (break_checkpoints, "none of the checkpoints in .* can be restored"),
    ],
    ids=["gone", "record gone", "cut", "list", "option", "experiment", "width", "members", "none", "broken"],
)
def test_what_is_no_whole_run_is_told_in_a_line(damage, message, runs, tmp_path):
    directory = copied(runs, tmp_path)
    damage(directory)
    with pytest.raises(UsageError, match=message) as error:
        open_run(directory)
    assert "\n" not in str(error.value)


def test_a_step_that_is_not_there_is_told_with_those_that_are(runs):
    with pytest.raises(UsageError, match="has no checkpoint of step 3; it has 2, 4"):
        open_run(runs["ring"][0], 3)


@pytest.mark.slow
def test_on_a_machine_with_one_device(runs, tmp_path):
    """A run that was trained on eight devices, as far as its options say."""
    for name in runs:
        directory = pathlib.Path(shutil.copytree(runs[name][0], tmp_path / name))
        options_of(lambda record: record["options"].update(devices=8))(directory)
        program = (
            "import sys, jax, jaxgan.training as t; print(jax.device_count(), t.open(sys.argv[1]).sample(3).sum())"
        )
        found = subprocess.run(
            [sys.executable, "-c", program, directory],
            env=os.environ | {"XLA_FLAGS": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        devices, total = found.stdout.split()
        assert devices == "1" and float(total) == pytest.approx(float(open_run(directory).sample(3).sum()), rel=1e-4)


def test_the_packages_own_files_are_opened_by_python():
    """`jaxgan.training.open` hides the builtin for who takes all names of the package: none of its modules may."""
    assert jaxgan.training.open is open_run and jaxgan.training.__all__.count("open") == 1
    assert builtins.open is not open_run
    for path in sorted(pathlib.Path("jaxgan/training").glob("*.py")):
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "open"]
        stars = [
            alias
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.name == "*"
        ]
        assert not calls and not stars, path
