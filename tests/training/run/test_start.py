"""`--from RUN --players NAME`: networks of any run, by path and shape; all else of the new run begins anew."""

import dataclasses
import functools
import json
import shutil

import jax
import numpy as np
import point_runs
import pytest
from point_runs import recorded_options, same
from tiny_dcgan import tiny

from experiments import dcgan_mnist, dragan_mnist, gan_ring, transfer_cifar10
from jaxgan.training import UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.parsing import parse
from jaxgan.training.run.fork import resolve_fork
from jaxgan.training.run.start import match_table
from jaxgan.transfer import matches

pytestmark = pytest.mark.usefixtures("as_users_have_it")


ring = functools.partial(point_runs.ring, steps=4, sample_every=4)


@pytest.fixture(scope="module")
def rings(tmp_path_factory):
    """A folder with the run `one` of points."""
    folder = tmp_path_factory.mktemp("rings")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        train(gan_ring.build, ring(folder, "one"))
    return folder


@pytest.fixture(scope="module")
def two(rings):
    """Beside it, the run `two` of two GANs."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        train(gan_ring.build, ring(rings, "two", seeds=2))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A run `run` of a tiny DCGAN with batch norm."""
    folder = tmp_path_factory.mktemp("images")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        train(dcgan_mnist.build, tiny(folder, steps=4))
    return folder / "run"


def test_one_network_begins_with_another_run_and_the_rest_as_without(rings, tmp_path, capsys):
    """A discriminator alone: its state of step 0 is what the other run ended with, the generator's that of a new run;
    the seed, numbers and optimisers are the new run's."""
    there = open_run(rings / "one").state
    changes = {"seed": 3, "learning_rate": 0.125, "steps": 2}
    train(gan_ring.build, ring(tmp_path, "new", from_run=str(rings / "one"), players=("discriminator",), **changes))
    said = capsys.readouterr().out
    assert f"beginning with the discriminator of step 4 of {rings / 'one'}\n" in said
    assert "discriminator: 6 of 6 arrays, 100.0 % of 105 numbers, are taken" in said and "generator:" not in said
    begun = open_run(tmp_path / "new", 0).state
    own = train(gan_ring.build, ring(tmp_path, "own", **(changes | {"steps": 1})))
    fresh = jax.jit(open_run(tmp_path / "own").gan.init)(own.key)
    same(begun.discriminator.params, there.discriminator.params)
    same(begun.discriminator.opt_state, fresh.discriminator.opt_state)
    same([begun.generator, begun.ema, begun.key, begun.hyper, begun.step],
         [fresh.generator, fresh.ema, fresh.key, fresh.hyper, fresh.step])  # fmt: skip
    assert int(begun.discriminator.step) == 0
    found = recorded_options(tmp_path / "new")
    assert (found["from_run"], found["step"], found["players"]) == (str(rings / "one"), 4, ["discriminator"])


@pytest.mark.slow
def test_a_run_that_began_so_is_continued_bit_for_bit(rings, tmp_path):
    """From its checkpoints, also when the other run is gone; where it has lost them it says so."""
    begins = {"from_run": str(rings / "one"), "players": ("generator", "discriminator"), "step": 2}
    whole = train(gan_ring.build, ring(tmp_path, "whole", **begins, steps=6))
    train(gan_ring.build, ring(tmp_path, "parts", **begins, steps=3))
    shutil.rmtree(tmp_path / "parts" / "checkpoints" / "3")
    moved = rings.parent / "moved"
    shutil.move(rings / "one", moved)
    try:
        same(train(gan_ring.build, ring(tmp_path, "parts", steps=6)), whole)
        for step in (2, 4, 6):
            shutil.rmtree(tmp_path / "parts" / "checkpoints" / str(step), ignore_errors=True)
        assert [path.name for path in (tmp_path / "parts" / "checkpoints").iterdir()] == []
    finally:
        shutil.move(moved, rings / "one")
    (tmp_path / "parts" / "metrics.jsonl").write_text('{"step": 5}\n')  # of step 0 on, not of the other run's step 2
    with pytest.raises(UsageError, match="trained to step 5 at least, but has no checkpoint any more"):
        train(gan_ring.build, ring(tmp_path, "parts", steps=6, checkpoint_every=2))


@pytest.mark.slow
def test_a_killed_run_without_a_checkpoint_begins_with_them_again(rings, tmp_path, capsys):
    begins = {"from_run": str(rings / "one"), "players": ("generator",)}
    whole = train(gan_ring.build, ring(tmp_path, "new", **begins))
    shutil.rmtree(tmp_path / "new" / "checkpoints")
    (tmp_path / "new" / "metrics.jsonl").unlink()
    capsys.readouterr()
    same(train(gan_ring.build, ring(tmp_path, "new")), whole)
    said = capsys.readouterr().out
    assert f"has no checkpoint: starting from the generator of step 4 of {rings / 'one'}\n" in said
    assert "generator: 6 of 6 arrays" in said


@pytest.mark.slow
def test_all_of_several_gans_begin_with_the_same(rings, tmp_path):
    there = open_run(rings / "one").state
    options = ring(tmp_path, "new", from_run=str(rings / "one"), players=("generator",), seeds=3, steps=1)
    train(gan_ring.build, options)
    begun = open_run(tmp_path / "new", 0).state.members
    for of_all, one in (
        (begun.generator.params, there.generator.params),
        (begun.ema["generator"]["params"], there.generator.params),
    ):
        for leaf, alone in zip(jax.tree.leaves(of_all), jax.tree.leaves(one), strict=True):
            np.testing.assert_array_equal(leaf, np.stack([alone] * 3))
    kernels = [np.asarray(leaf) for leaf in jax.tree.leaves(begun.discriminator.params) if leaf.ndim == 3]
    assert all(np.any(kernel[0] != kernel[1]) for kernel in kernels), "discriminators are of seeds of their own"


@pytest.mark.slow
def test_another_experiment_takes_what_fits(images, tmp_path, capsys):
    """DRAGAN's discriminator has no batch norm, and so has biases that the other hasn't."""
    options = dragan_mnist.Options(**{
        field.name: getattr(tiny(tmp_path, steps=1), field.name) for field in dataclasses.fields(dcgan_mnist.Options)
    })  # fmt: skip
    options = dataclasses.replace(options, from_run=str(images), players=("discriminator", "generator"))
    train(dragan_mnist.build, options)
    begun, there = open_run(tmp_path / "run", 0).state, open_run(images).state
    mine, theirs = begun.discriminator.params, there.discriminator.params
    for name in ("down0", "judge"):
        same(mine[name], theirs[name])
    same(mine["down1"]["kernel"], theirs["down1"]["kernel"])
    assert not np.any(mine["down1"]["bias"]) and "bias" not in theirs["down1"]
    same(begun.generator.all_variables, there.generator.all_variables)
    said = capsys.readouterr().out
    for line in ("params/down1/bias", "begins anew: not in that network", "left behind: not in this network"):
        assert line in said


@pytest.mark.slow
def test_frozen_layers_keep_what_they_began_with(images, tmp_path):
    """FreezeD in the experiment: --freeze 1 leaves the lowest convolution, its moments are 0; the run is continued
    without --from, which its record has."""
    base = {"dataset": "digits", "classes": "9", "images": "30", "image_size": 28, "features": 2, "latent_size": 8}
    base |= {"batch_size": 8, "devices": 1, "checkpoint_every": 2, "flip": False, "workdir": str(tmp_path / "new")}
    begins = {"from_run": str(images), "players": ("discriminator",)}
    train(transfer_cifar10.build, transfer_cifar10.Options(**base, **begins, freeze=1, steps=2))
    state = train(transfer_cifar10.build, transfer_cifar10.Options(**base, freeze=1, steps=4))
    there = open_run(images).state.discriminator.params
    same(state.discriminator.params["down0"], there["down0"])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state.discriminator.opt_state.mu["down0"]))
    for name in ("down1", "norm1", "judge"):
        assert any(np.any(np.asarray(a) != np.asarray(b)) for a, b in zip(
            jax.tree.leaves(state.discriminator.params[name]), jax.tree.leaves(there[name]), strict=True))  # fmt: skip
    fresh = "--freeze must be 0 where the discriminator doesn't begin with --from: frozen layers must have learned"
    for options, said in (
        ({"freeze": 3} | begins, "--freeze must be at most 2, the discriminator's convolutions, got 3"),
        ({"freeze": 1}, f"{fresh}, got 1"),
        ({"freeze": 1, "players": ("generator",), "from_run": str(images)}, f"{fresh}, got 1"),
    ):
        with pytest.raises(UsageError) as refused:
            train(
                transfer_cifar10.build, transfer_cifar10.Options(**{**base, **options, "workdir": str(tmp_path / "x")})
            )
        assert str(refused.value) == said


@pytest.mark.slow
def test_a_network_of_another_family_is_refused_in_a_line(rings, images, tmp_path):
    with pytest.raises(UsageError) as refused:
        train(dcgan_mnist.build, tiny(tmp_path, from_run=str(rings / "one"), players=("discriminator",)))
    said = str(refused.value)
    assert said.startswith(f"--from {rings / 'one'} has another kind of discriminator: none of its arrays has path and")
    assert "\n" not in said and "params/down0/bias is 2 here and nothing there, which has params/" in said
    assert not (tmp_path / "run").exists(), "before anything is written"


@pytest.mark.slow
def test_no_code_is_executed_because_the_other_run_names_it(rings, tmp_path):
    source = shutil.copytree(rings / "one", tmp_path / "other")
    whole = json.loads((source / "options.json").read_text())
    (source / "options.json").write_text(json.dumps({**whole, "experiment": "somewhere.else"}))
    with pytest.raises(UsageError) as refused:
        train(gan_ring.build, ring(tmp_path, "new", from_run=str(source), players=("generator",)))
    said = f"--from {source} is a run of somewhere.else, which is none of jaxgan's and isn't imported here, and no code"
    assert str(refused.value).startswith(said) and not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, said",
    [
        ({"from_run": "two"}, "--from {0}/two is a run of 2 GANs, and --players takes networks of a run of one"),
        ({"from_run": "none"}, "--from {0}/none is no run directory: it has no options.json"),
        ({"step": 1}, "{0}/one/checkpoints has no checkpoint of step 1; it has 2, 4"),
        ({"step": "best"}, "{0}/one has no best checkpoint: that is found by a run with --eval-every"),
        ({"players": ("critic",)}, "--players critic: this experiment's state has none of that name; its players are"),
        ({"workdir": "one"}, "--from {0}/one is the run in --workdir itself"),
    ],
)
def test_what_cannot_be_begun_with_is_refused(changes, said, rings, two, tmp_path):
    own = {"from_run": "one", "players": ("discriminator",)} | changes
    own["from_run"] = str(rings / own["from_run"])
    if "workdir" in own:
        own["workdir"] = str(rings / own["workdir"])
    with pytest.raises(UsageError) as refused:
        train(gan_ring.build, ring(tmp_path, "new", **own))
    assert str(refused.value).startswith(said.format(rings)) and not (tmp_path / "new").exists()


def test_options_that_do_not_go_together_are_refused():
    for arguments, said in (
        (["--players", "generator"], "--players must be given together with --from, got generator"),
        (["--from", "r", "--players", "generator", "generator"], "--players must be names of players, each once, got "),
    ):
        with pytest.raises(UsageError) as refused:
            parse(gan_ring.Options, arguments)
        assert str(refused.value).startswith(said)


def test_a_run_without_pruned_weights_keeps_no_zeros(tmp_path):
    with pytest.raises(UsageError, match=r"^--keep-zeros is for runs of pruned networks, and weights that begin at 0"):
        resolve_fork(ring(tmp_path, "new", keep_zeros=True), None)
    assert resolve_fork(ring(tmp_path, "new", keep_zeros=True, from_run="r"), None).keep_zeros
    with pytest.raises(UsageError, match=r"^--keep-zeros with --players would hold the biases of new networks at 0"):
        resolve_fork(ring(tmp_path, "new", keep_zeros=True, from_run="r", players=("generator",)), None)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_whose_weights_are_whole_has_no_zeros_to_keep(seeds, tmp_path):
    train(gan_ring.build, ring(tmp_path, "whole", seeds=seeds, steps=2))
    again = ring(tmp_path, "new", seeds=seeds, steps=4, from_run=str(tmp_path / "whole"))
    with pytest.raises(UsageError, match=r"whole has no weight that is 0; leave it out, or prune"):
        train(gan_ring.build, dataclasses.replace(again, keep_zeros=True))
    train(gan_ring.build, again)


def test_players_need_not_be_named_again(tmp_path):
    before = {"options": {"from_run": str(tmp_path / "r"), "step": 4, "players": ["generator"]}}
    again = resolve_fork(ring(tmp_path, "new"), before)
    assert (again.from_run, again.step, again.players) == (str(tmp_path / "r"), 4, ("generator",))
    again = resolve_fork(ring(tmp_path, "new", from_run=str(tmp_path / "r")), before)
    assert (again.step, again.players) == (4, ("generator",))
    older = {"options": {"from_run": str(tmp_path / "r"), "step": 4}}
    assert resolve_fork(ring(tmp_path, "new"), older).players == ()


def test_the_table_says_what_becomes_of_each_array():
    here = {"params": {"a": np.zeros((2, 3)), "b": np.zeros(4), "c": np.zeros(()), "d": np.int32(0)}}
    there = {"params": {"a": np.ones((2, 3)), "c": np.zeros(1), "d": np.float32(0), "e": np.zeros(5)}}
    assert match_table("critic", matches(here, there)) == [
        "critic: 1 of 4 arrays, 50.0 % of 12 numbers, are taken",
        "  array     here      there",
        "  params/a  2×3       2×3       taken",
        "  params/b  4         -         begins anew: not in that network",
        "  params/c  a number  1         begins anew: another shape",
        "  params/d  a number  a number  begins anew: another type",
        "  params/e  -         5         left behind: not in this network",
    ]
