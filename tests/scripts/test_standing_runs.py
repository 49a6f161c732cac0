"""Runs with standing statistics, and samples of latents within a threshold: numbers in NumPy, options, errors."""

import dataclasses
import json
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same
from tiny_stylegan import untrained

from jaxgan.draw import role_number
from jaxgan.networks.layers import BatchNorm
from jaxgan.samplers import codes, labelled_latents, latents
from jaxgan.training import GAN, UsageError, latents_with, sample_through, sample_with, train
from jaxgan.training import Options as CommonOptions
from jaxgan.training import open as open_run
from jaxgan.training.cli.command_line import command_line
from scripts import evaluate, sample

pytestmark = pytest.mark.usefixtures("as_users_have_it")
BATCH, LATENT = 6, 4


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    kind: Literal["plain", "labelled", "bare", "codes", "none"] = "plain"


class Generator(nn.Module):
    """8×8 pixels: the latent's numbers in rows, normalised over the batch unless it is bare."""

    bare: bool

    @nn.compact
    def __call__(self, latent, condition=None, *, train):
        x = latent[:, :LATENT] + (0.0 if condition is None else condition[:, None].astype(jnp.float32))
        x = x * self.param("gain", nn.initializers.ones, (), jnp.float32)
        x = x if self.bare else BatchNorm(name="norm")(x, train=train)
        return jnp.clip(jnp.repeat(jnp.repeat(x[:, :, None, None], 2, 1), 8, 2) / 4, -1, 1)


def build(options, spec):
    of = {"labelled": labelled_latents(LATENT), "codes": codes(2, (2,), 0)}
    sampler, network = of.get(options.kind, latents(LATENT)), Generator(options.kind == "bare")
    condition = jnp.zeros((1,), jnp.int32) if options.kind == "labelled" else None

    init, iteration = untrained(network, LATENT, condition)
    space = latents_with(sampler, LATENT)
    if options.kind == "none":
        return GAN(init, iteration, options.batch_size, sample_with(sampler))
    return GAN(init, iteration, options.batch_size, sample_through(space), latents=space)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`kind -> directory` of a run of one step."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1), np.uint8)
    np.savez(folder / "data.npz", images=images, labels=np.arange(12) % 4 // 3)  # three of four are of class 0

    def run(kind, **changes):
        name = f"{kind}{len(changes)}"
        if name not in made:
            made[name] = folder / name
            how = {"steps": 1, "checkpoint_every": 1, "batch_size": BATCH, "devices": 1} | changes
            options = Options(kind=kind, dataset=f"npz:{folder / 'data.npz'}", workdir=str(made[name]), **how)
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                train(build, options)
        return made[name]

    return run


def opened(directory):
    return open_run(directory, build=build)


def statistics(state, weights="ema"):
    return jax.tree.map(np.asarray, state.variables_of("generator", weights)["batch_stats"]["norm"])


def drawn(passes):
    """The latents of the passes, by numbers that go on from one batch to the next."""
    root = jax.random.fold_in(jax.random.key(0), role_number("batch statistics"))
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(passes * BATCH))
    return np.split(np.asarray(latents(LATENT)({}, keys)["latent"], np.float64), passes)


@pytest.mark.parametrize("weights", ["ema", pytest.param("raw", marks=pytest.mark.slow)])
def test_statistics_are_those_of_the_passes(runs, weights):
    """The averaged weights are another network's, so that each has statistics of its own."""
    run = opened(runs("plain"))
    ema = jax.tree.map(lambda x: x * 1.5, run.state.ema)
    run = dataclasses.replace(run, state=run.state.replace(ema=ema))
    standing = run.with_standing_statistics(4)
    got, batches = statistics(standing.drawn_state, weights), [x * (1.5 if weights == "ema" else 1) for x in drawn(4)]
    np.testing.assert_allclose(got["mean"], np.mean([x.mean(0) for x in batches], axis=0), atol=1e-5)
    np.testing.assert_allclose(got["var"], np.mean([x.var(0) for x in batches], axis=0), atol=1e-5)
    assert np.any(standing.sample(8, weights=weights) != run.sample(8, weights=weights))
    assert standing.state is run.state and standing.batch_norm(weights) == "estimated from 4 batches of 6"


@pytest.mark.slow
def test_what_is_saved_of_a_run_has_the_statistics_of_training(runs):
    """What is replaced behind it, such as pruned weights, has standing statistics of its own."""
    standing = opened(runs("plain")).with_standing_statistics(4)
    assert standing.options.ema_statistics == "raw"
    assert_same(standing.state.ema, opened(runs("plain")).state.ema)
    other = dataclasses.replace(
        standing, state=standing.state.replace(ema=jax.tree.map(lambda x: 2 * x, standing.state.ema))
    )
    for one, factor in ((standing, 1), (other, 2)):
        mean = np.mean([factor * x.mean(0) for x in drawn(4)], axis=0)
        np.testing.assert_allclose(statistics(one.drawn_state)["mean"], mean, atol=1e-5)


@pytest.mark.slow
def test_members_have_their_own(runs):
    both = opened(runs("plain", seeds=2)).with_standing_statistics(4)
    assert_same(both.sample(6)[1], both.member(1).sample(6))


@pytest.mark.slow
def test_classes_come_as_often_as_in_the_data(runs):
    """The label is added to the latent: a quarter of it to its mean."""
    plain, labelled = (opened(runs(kind)).with_standing_statistics(40) for kind in ("plain", "labelled"))
    shift = statistics(labelled.drawn_state)["mean"] - statistics(plain.drawn_state)["mean"]
    np.testing.assert_allclose(shift, 0.25, atol=0.01)


def test_scripts_draw_with_them(runs, tmp_path):
    directory, file = runs("plain"), tmp_path / "a.npz"
    given = ["--experiment", str(tmp_path / "none.py")]
    with pytest.raises(UsageError):
        sample.run(command_line(sample.Options, [str(directory), "--out", str(file), *given]))
    experiment = tmp_path / "own.py"
    experiment.write_text("from test_standing_runs import Options, build\n")
    given = [str(directory), "--experiment", str(experiment), "--seed", "3"]
    sample.run(command_line(sample.Options, [*given, "--standing-statistics", "4", "--out", str(file)]))
    expected = opened(directory).with_standing_statistics(4).sample(64, seed=3)
    np.testing.assert_array_equal(np.load(file)["images"], expected)
    sample.run(command_line(sample.Options, [*given, "--latent-threshold", "0.25", "--out", str(file)]))
    images = np.load(file)["images"]
    np.testing.assert_array_equal(images, opened(directory).sample(64, seed=3, latent_threshold=0.25))
    pixels = np.abs(images.astype(np.float64) / 127.5 - 1)  # a quarter of a latent's number
    assert pixels.max() < 0.0625 + 0.005 < np.abs(opened(directory).sample(64) / 127.5 - 1).max()


@pytest.mark.slow
def test_scores_say_how_samples_were_drawn(runs, tmp_path, capsys):
    experiment = tmp_path / "own.py"
    experiment.write_text("from test_standing_runs import Options, build\n")
    given = [str(runs("plain")), "--experiment", str(experiment), "--metrics", "diversity", "--count", "12"]
    how = ["--latent-threshold", "0.5", "--standing-statistics", "3"]
    evaluate.run(command_line(evaluate.Options, [*given, *how, "--out", str(tmp_path / "a.json")]))
    records = json.loads((tmp_path / "a.json").read_text())
    mine = [each for each in records if each.get("latent_threshold")]
    assert mine and all(each["latent_threshold"] == 0.5 and each["standing_statistics"] == 3 for each in mine)
    assert {each["batch_norm"] for each in mine} == {"estimated from 3 batches of 6"}
    assert all(each["name"].endswith(", latent threshold 0.5, standing statistics 3") for each in mine)
    assert "latent threshold 0.5, standing statistics 3" in capsys.readouterr().out


NOT_NORMAL = "--latent-threshold: .* don't come from latents that are all normal numbers"


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "kind, words, message",
    [
        slow("codes", "--latent-threshold 1", NOT_NORMAL),
        slow("none", "--latent-threshold 1", NOT_NORMAL),
        ("plain", "--latent-threshold 0", "--latent-threshold must be above 0 and finite, got 0.0"),
        ("plain", "--latent-threshold nan", "--latent-threshold must be above 0 and finite, got nan"),
        slow("bare", "--standing-statistics 2", "no standing statistics: no averaged network of .* has batch norms"),
        ("plain", "--standing-statistics -1", "--standing-statistics must be from 0 to 1000000, got -1"),
    ],
)
def test_errors_are_one_line(runs, tmp_path, kind, words, message):
    directory = runs(kind)
    experiment = tmp_path / "own.py"
    experiment.write_text("from test_standing_runs import Options, build\n")
    given = [str(directory), "--experiment", str(experiment), "--out", str(tmp_path / "a.npz"), *words.split()]
    with pytest.raises(UsageError, match=message) as error:
        sample.run(command_line(sample.Options, given))
    assert "\n" not in str(error.value)


def test_no_passes_are_refused(runs):
    with pytest.raises(UsageError, match="the means over 1 batch or more, got 0"):
        opened(runs("plain")).with_standing_statistics(0)
