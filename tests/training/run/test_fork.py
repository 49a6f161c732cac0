"""`--from RUN --step N`: a new run that begins with another's state, and then is a run like any other."""

import dataclasses
import functools
import json
import shutil

import jax
import numpy as np
import point_runs
import pytest
from conftest import differs
from point_runs import recorded_options
from point_runs import same as equal

from experiments import dcgan_mnist, gan_ring
from jaxgan.training import UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.parsing import parse
from jaxgan.training.run.fork import resolve_fork

pytestmark = pytest.mark.usefixtures("as_users_have_it")


ring = functools.partial(point_runs.ring, steps=6, sample_every=2)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A folder with the runs `one`, of six steps, and `two`, of two GANs; and the final state of each."""
    folder = tmp_path_factory.mktemp("sources")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        states = {
            "one": train(gan_ring.build, ring(folder, "one", checkpoint_every=1)),  # 4, 5 and 6 are kept
            "two": train(gan_ring.build, ring(folder, "two", seeds=2)),
        }
    return folder, states


@pytest.mark.slow
@pytest.mark.parametrize("name, changes", [("one", {}), ("two", {"seeds": 2})])
def test_with_the_same_options_it_goes_on_as_the_other_did(name, changes, sources, tmp_path, capsys):
    folder, states = sources
    options = ring(tmp_path, "fork", from_run=str(folder / name), step=4, **changes)
    equal(train(gan_ring.build, options), states[name])
    said = capsys.readouterr().out.splitlines()[1]
    assert said == f"writing to {tmp_path / 'fork'}, beginning with step 4 of {folder / name}"
    assert (
        recorded_options(tmp_path / "fork")["from_run"] == str(folder / name)
        and recorded_options(tmp_path / "fork")["step"] == 4
    )


@pytest.mark.slow
def test_by_default_it_begins_with_the_newest(sources, tmp_path):
    folder, states = sources
    began = []
    train(
        gan_ring.build,
        ring(tmp_path, "fork", from_run=str(folder / "one"), steps=7),
        lambda state, metrics: began.append(int(state.step)),
    )
    assert began == [7] and recorded_options(tmp_path / "fork")["step"] == 6
    equal(open_run(tmp_path / "fork", 6).state, states["one"])


@pytest.mark.slow
def test_it_may_begin_with_the_best(sources, tmp_path, capsys):
    """As --eval-every keeps it: a checkpoint in `best/`, here that of step 5."""
    source = shutil.copytree(sources[0] / "one", tmp_path / "source")
    with pytest.raises(UsageError, match="no best checkpoint: that is found by a run with --eval-every"):
        train(gan_ring.build, ring(tmp_path, "fork", from_run=str(source), step="best"))
    shutil.copytree(source / "checkpoints" / "5", source / "best" / "5")
    options = parse(gan_ring.Options, ["--from", str(source), "--step", "best"])
    assert options.step == "best"
    equal(train(gan_ring.build, ring(tmp_path, "fork", from_run=str(source), step="best")), sources[1]["one"])
    assert "beginning with step 5 of" in capsys.readouterr().out.splitlines()[2]


@pytest.mark.slow
def test_the_seed_and_the_numbers_are_the_new_ones(sources, tmp_path):
    folder, _ = sources
    source = {"from_run": str(folder / "one"), "step": 4}
    changes = {"seed": 1, "learning_rate": 0.5, "ema_half_life": 77.0, "steps": 5}
    state = train(gan_ring.build, ring(tmp_path, "fork", **source, **changes))
    assert jax.random.key_data(state.key).tolist() == jax.random.key_data(jax.random.key(1)).tolist()
    assert {name: float(value) for name, value in state.hyper.items()} == {
        "generator/learning_rate": 0.5,
        "discriminator/learning_rate": 0.5,
        "ema_half_life": 77.0,
    }
    begun, was = open_run(tmp_path / "fork", 4).state, open_run(folder / "one", 4).state
    for name in ("step", "generator", "discriminator", "ema", "extras"):
        equal(getattr(begun, name), getattr(was, name))
    # The seed alone makes other draws.
    seed = train(gan_ring.build, ring(tmp_path, "seed", **source, steps=5, seed=1))
    same = train(gan_ring.build, ring(tmp_path, "same", **source, steps=5))
    assert differs(seed.generator.params, same.generator.params)
    equal(same, open_run(folder / "one", 5).state)


@pytest.mark.slow
def test_a_sweep_sets_its_numbers_in_a_fork_too(sources, tmp_path):
    folder, _ = sources
    sweep = "discriminator/learning_rate=0.1,0.2"
    state = train(gan_ring.build, ring(tmp_path, "fork", from_run=str(folder / "two"), step=4, sweep=sweep))
    np.testing.assert_allclose(state.members.hyper["discriminator/learning_rate"], [0.1, 0.2], rtol=1e-6)
    assert jax.random.key_data(state.key).tolist() == [jax.random.key_data(jax.random.key(0)).tolist()] * 2


@pytest.mark.slow
def test_pictures_and_metrics_begin_after_the_step(sources, tmp_path):
    folder, _ = sources
    train(gan_ring.build, ring(tmp_path, "fork", from_run=str(folder / "one"), step=5, steps=12))
    assert [path.stem for path in sorted((tmp_path / "fork" / "samples").iterdir())] == [
        f"{step:08d}" for step in (5, 6, 8, 10, 12)
    ]
    rows = [json.loads(line) for line in (tmp_path / "fork" / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["images"]) for row in rows] == [(10, 160)]


@pytest.mark.slow
def test_it_needs_the_other_run_no_more_once_it_has_begun(sources, tmp_path):
    folder, states = sources
    shutil.copytree(folder / "one", tmp_path / "one")
    options = ring(tmp_path, "fork", from_run=str(tmp_path / "one"), step=4, checkpoint_every=500, steps=8)

    def stop(state, metrics):
        assert (tmp_path / "fork" / "options.json").exists()
        shutil.rmtree(tmp_path / "one")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(gan_ring.build, options, stop)
    assert open_run(tmp_path / "fork").step == 4
    found = train(gan_ring.build, dataclasses.replace(options, steps=6))  # the same command
    equal(found, states["one"])


@pytest.mark.parametrize("again", [{"step": 4}, {"from_run": None}], ids=["as it was", "neither"])
@pytest.mark.slow
def test_it_is_continued_from_its_own_checkpoints(again, sources, tmp_path, capsys):
    folder, states = sources
    source = {"from_run": str(folder / "one")}
    train(gan_ring.build, ring(tmp_path, "fork", **source, step=4, steps=5))
    capsys.readouterr()
    before = recorded_options(tmp_path / "fork")
    equal(train(gan_ring.build, ring(tmp_path, "fork", **(source | again))), states["one"])
    assert f"\ncontinuing at step 5 in {tmp_path / 'fork'}\n" in capsys.readouterr().out
    after = recorded_options(tmp_path / "fork")
    assert (after["from_run"], after["step"]) == (before["from_run"], before["step"])
    for other in ({"step": 5}, {"from_run": str(folder / "two")}):
        with pytest.raises(UsageError, match=r"holds a run with other options: --(step 5|from .*two) \(the run has"):
            train(gan_ring.build, ring(tmp_path, "fork", **(source | other), steps=9))


@pytest.mark.slow
def test_killed_before_its_first_checkpoint_it_begins_with_the_same_step(sources, tmp_path, capsys):
    """Though the other run has gone on in the meantime."""
    folder, states = sources
    options = ring(tmp_path, "fork", from_run=str(folder / "one"), step=None)
    train(gan_ring.build, dataclasses.replace(options, step=5))
    shutil.rmtree(tmp_path / "fork" / "checkpoints")
    (tmp_path / "fork" / "metrics.jsonl").write_text('{"step": 9}\n')  # 4 steps after 5, 2 checkpoints are due after 9
    capsys.readouterr()
    equal(train(gan_ring.build, options), states["one"])
    said = capsys.readouterr().out
    assert f"\n{tmp_path / 'fork'} has no checkpoint: starting from step 5 of {folder / 'one'}\n" in said
    shutil.rmtree(tmp_path / "fork" / "checkpoints")
    (tmp_path / "fork" / "metrics.jsonl").write_text('{"step": 10}\n')
    with pytest.raises(UsageError, match="was trained to step 10 at least, but has no checkpoint any more"):
        train(gan_ring.build, options)


@pytest.mark.slow
def test_a_frozen_member_may_go_on_with_other_numbers(tmp_path):
    rates = "discriminator/learning_rate=0.001,1e30"

    def blow_up(steps, name, **changes):
        return train(gan_ring.build, ring(tmp_path, name, steps=steps, sweep=rates, **changes))

    before = blow_up(6, "blown")
    assert int(before.frozen[0]) == 0 < int(before.frozen[1])
    after = blow_up(8, "same", from_run=str(tmp_path / "blown"))
    assert after.frozen.tolist() == [0, 7]
    rates = "discriminator/learning_rate=0.001,0.002"
    assert blow_up(8, "other", from_run=str(tmp_path / "blown")).frozen.tolist() == [0, 0]


# --- paths ---


def test_a_relative_path_is_written_down_in_full(sources, tmp_path, monkeypatch):
    folder, states = sources
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    for path in ("one", "./one/", "~/one"):
        assert resolve_fork(ring(tmp_path, "fork", from_run=path), None).from_run == str(folder / "one")
    train(gan_ring.build, ring(tmp_path, "fork", from_run="one", step=4))
    monkeypatch.chdir("/")
    monkeypatch.setattr("jaxgan.training.options.options.name_of", lambda thing: "experiments.gan_ring")
    file, again = str(tmp_path / "fork" / "options.json"), str(tmp_path / "again")
    options = parse(gan_ring.Options, ["--options", file, "--workdir", again])
    assert (options.from_run, options.step) == (str(folder / "one"), 4)
    equal(train(gan_ring.build, options), states["one"])


# --- mistakes ---


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"from_run": "nowhere"}, "nowhere is no run directory: it has no options.json"),
        ({"step": 3}, "has no checkpoint of step 3; it has 4, 5, 6"),
        (
            {"width": 16},
            r"of other networks: .*params\['Dense_0'\]\['bias'\] is float32\[8\] there, float32\[16\] here",
        ),
        ({"width": 16, "seed": 3}, r"its options are others: --seed 3 \(the run has 0\), --width 16 \(the run has 8\)"),
        ({"seeds": 2}, "one is a run of one GAN, not of 2 GANs together; as many must come of --seeds and --sweep"),
        ({"from_run": "two"}, "two is a run of 2 GANs together, not of one GAN"),
        ({"from_run": "two", "seeds": 3}, "two is a run of 2 GANs together, not of 3 GANs together"),
        ({"steps": 5, "step": 5}, r"--steps 5, but --from .*one is at step 5 and .* from 0; give more than 5"),
        ({"steps": 4}, r"--steps 4, but --from .*one is at step 6"),
    ],
)
def test_what_can_not_be_begun_with_is_refused_before_anything_is_written(changes, message, sources, tmp_path):
    folder, _ = sources
    options = {"from_run": "one", "steps": 9} | changes
    options["from_run"] = str(folder / options["from_run"])
    with pytest.raises(UsageError, match=message) as error:
        train(gan_ring.build, ring(tmp_path, "fork", **options))
    assert "\n" not in str(error.value) and not (tmp_path / "fork").exists()


def test_another_experiment_is_refused(sources, tmp_path):
    folder, _ = sources
    options = {"dataset": "digits", "image_size": 28, "features": 2, "workdir": str(tmp_path / "fork")}
    with pytest.raises(UsageError, match=r"is a run of experiments\.gan_ring, not of experiments\.dcgan_mnist"):
        train(dcgan_mnist.build, dcgan_mnist.Options(from_run=str(folder / "one"), **options))
    assert not (tmp_path / "fork").exists()


def test_a_run_without_checkpoints_or_with_ruined_ones_is_refused(sources, tmp_path):
    folder, _ = sources
    copy = shutil.copytree(folder / "one", tmp_path / "one")
    for path in (copy / "checkpoints" / "6").rglob("*"):
        if path.is_file():
            path.write_bytes(b"x")
    with pytest.raises(UsageError, match=r"checkpoint .*6 can't be restored"):
        train(gan_ring.build, ring(tmp_path, "fork", from_run=str(copy), step=6, steps=9))
    train(gan_ring.build, ring(tmp_path, "fork", from_run=str(copy), steps=9))  # the newest that is whole
    assert recorded_options(tmp_path / "fork")["step"] == 5 and not (copy / "damaged").exists()
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(UsageError, match="one has no checkpoint yet"):
        train(gan_ring.build, ring(tmp_path, "other", from_run=str(copy), steps=9))


def test_a_run_is_not_forked_from_itself(sources, tmp_path, monkeypatch):
    folder, _ = sources
    monkeypatch.chdir(folder)
    for path in (str(folder / "one"), "one", "./one/"):
        with pytest.raises(UsageError, match=r"is the run in --workdir itself; leave --from out to continue it"):
            train(gan_ring.build, ring(folder, "one", from_run=path, steps=9))


def test_a_step_without_a_run_is_refused():
    with pytest.raises(UsageError, match="--step must be given together with --from, got 4"):
        gan_ring.Options(step=4)
