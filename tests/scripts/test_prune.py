"""`scripts.prune`: the table, the picture, and a run of the pruned network that is fine-tuned under its mask."""

import json

import jax
import numpy as np
import pytest
from conftest import assert_same
from PIL import Image
from tiny_dcgan import tiny

from experiments import dcgan_mnist
from jaxgan.pruning import magnitude_masks
from jaxgan.training import UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.parsing import parse
from scripts import prune

pytestmark = pytest.mark.usefixtures("as_users_have_it")

LITTLE = {"count": 16, "metrics": "swd"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny DCGAN of four steps, and its final state."""
    folder = tmp_path_factory.mktemp("trained")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        state = train(dcgan_mnist.build, tiny(folder, steps=4))
    return folder / "run", state


def kernels(params):
    return {name: np.asarray(layer["kernel"]) for name, layer in params.items() if "kernel" in layer}


@pytest.mark.slow
def test_a_row_for_each_share_and_scope_beside_the_network_as_it_was(trained, tmp_path, capsys):
    prune.run(prune.Options(run=trained[0], share=(0.5, 0.75), out=tmp_path / "a.png", **LITTLE))
    lines = capsys.readouterr().out.splitlines()
    first, *rows = lines[1:7]
    assert first.split()[:3] == ["pruned", "weights", "left"] and "sliced Wasserstein" in first
    size = sum(kernel.size for kernel in kernels(trained[1].generator.params).values())
    assert [row.split("  ")[0] for row in rows] == ["as it was", "0.5 global", "0.5 layer", "0.75 global", "0.75 layer"]
    left = [int(row.removeprefix(row.split("  ")[0]).split()[0].replace(",", "")) for row in rows]
    assert left == [size, size // 2, size // 2, size // 4, size // 4]
    layers = {line.split()[0]: line.split() for line in lines[9:12]}
    assert set(layers) == {f"{name}/kernel" for name in kernels(trained[1].generator.params)}
    assert all(cells[4:6] == ["50.0", "%"] and cells[8:] == ["25.0", "%"] for cells in layers.values()), "of each layer"
    with Image.open(tmp_path / "a.png") as shown:
        assert shown.height >= 5 * 48 and shown.width >= 10 * 48


@pytest.mark.slow
def test_the_first_row_is_what_the_run_draws(trained):
    rows = prune.pruned_runs(open_run(trained[0]), prune.Options(run=trained[0], share=(0, 0.5), scope=("global",)))
    drawn = [row.run.sample(8) for row in rows]
    np.testing.assert_array_equal(drawn[0], open_run(trained[0]).sample(8))
    np.testing.assert_array_equal(drawn[0], drawn[1], "a share of 0 prunes nothing")
    assert np.any(drawn[0] != drawn[2])


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_the_sizes_are_of_the_weights_that_are_drawn_with(weights, trained):
    options = prune.Options(run=trained[0], share=(0.5,), scope=("layer",), weights=weights)
    after = prune.pruned_runs(open_run(trained[0]), options)[1].run.state
    masks = magnitude_masks(trained[1].variables_of("generator", weights)["params"], 0.5, per_layer=True)
    for params in (after.generator.params, after.ema["generator"]["params"]):
        for name, kernel in kernels(params).items():
            np.testing.assert_array_equal(kernel != 0, masks[name]["kernel"])


def pruned(folder, source):
    prune.run(prune.Options(run=source, share=(0.8,), scope=("global",), workdir=str(folder / "pruned"), **LITTLE))
    return folder / "pruned"


def goes_on(directory, steps):
    again = ["--options", str(directory / "options.json"), "--workdir", str(directory), "--steps", str(steps)]
    return train(dcgan_mnist.build, parse(dcgan_mnist.Options, again))


@pytest.mark.slow
def test_the_pruned_network_is_a_run_that_is_fine_tuned_under_its_mask(trained, tmp_path, capsys):
    """With the command that is printed; after a stop on the way bit for bit as without, and by --from too."""
    source, state = trained
    directory = pruned(tmp_path, source)
    said = capsys.readouterr().out.splitlines()[-1].split()
    typed = ["python", "-m", "experiments.dcgan_mnist", "--options", f"{directory}/options.json", "--workdir"]
    assert said == [*typed, str(directory), "--steps", "8"]
    record = json.loads((directory / "options.json").read_text())
    options, (session,) = record["options"], record["sessions"]
    assert options["keep_zeros"] and options["from_run"] == str(source) and options["step"] == 4
    assert session["step"] == 4 and session["began"].startswith(f"step 4 of {source}, ")
    begun = open_run(directory).state
    assert_same(jax.tree.leaves(begun.discriminator), jax.tree.leaves(state.discriminator))
    masks = {name: kernel != 0 for name, kernel in kernels(begun.generator.params).items()}
    size = sum(mask.size for mask in masks.values())
    assert sum(mask.sum() for mask in masks.values()) == size - round(0.8 * size)

    other = pruned(tmp_path / "other", source)
    whole = goes_on(directory, 8)
    goes_on(other, 6)
    assert_same(jax.tree.leaves(goes_on(other, 8)), jax.tree.leaves(whole))
    for params in (whole.generator.params, whole.ema["generator"]["params"]):
        for name, kernel in kernels(params).items():
            assert np.all(kernel[~masks[name]] == 0) and np.all(kernel[masks[name]] != 0)
    assert any(np.any(kernel != kernels(begun.generator.params)[name])
               for name, kernel in kernels(whole.generator.params).items())  # fmt: skip

    fork = tiny(tmp_path, workdir=str(tmp_path / "fork"), from_run=str(other), step=6, steps=8, keep_zeros=True)
    assert_same(jax.tree.leaves(train(dcgan_mnist.build, fork)), jax.tree.leaves(whole))
    free = tiny(tmp_path, workdir=str(tmp_path / "free"), from_run=str(other), step=6, steps=8)
    freed = kernels(train(dcgan_mnist.build, free).generator.params)
    assert any(np.any(freed[name][~masks[name]] != 0) for name in freed), "without the mask they come back"
    with pytest.raises(UsageError, match=r"other options: --keep-zeros off \(the run has on\)"):
        train(dcgan_mnist.build, tiny(tmp_path, workdir=str(directory), steps=9))


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"share": (1.0,)}, "--share must be at least 0 and below 1, got 1.0"),
        ({"share": (0.5, 0.5)}, "--share must be different shares, such as 0.5 0.8, got 0.5,0.5"),
        ({"share": ()}, "--share must be different shares, such as 0.5 0.8, got none"),
        ({"workdir": "x", "share": (0.5, 0.8)}, "--share must be a single one with --workdir, got 0.5,0.8"),
        ({"workdir": "x"}, "--scope must be a single one with --workdir, got global,layer"),
    ],
)
def test_what_cannot_be_pruned_is_refused(changes, said):
    with pytest.raises(UsageError) as refused:
        prune.Options(run="r", **changes)
    assert str(refused.value) == said


@pytest.mark.slow
def test_a_player_that_is_not_there_is_refused(trained):
    with pytest.raises(UsageError) as refused:
        prune.run(prune.Options(run=trained[0], player="critic"))
    has = f"{trained[0]} has none of that name; its players are discriminator or generator"
    assert str(refused.value) == f"--player critic: {has}"


@pytest.mark.slow
def test_no_other_run_is_written_over(trained):
    options = {"share": (0.5,), "scope": ("layer",), "workdir": str(trained[0])}
    with pytest.raises(UsageError, match=r"holds a run already; choose another$"):
        prune.run(prune.Options(run=trained[0], **options))
