"""`--reject` of scripts.sample and scripts.evaluate: what is accepted, on runs whose densities are known, and what is
refused."""

import dataclasses
import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from point_runs import points, run_points

from experiments import flowgan_ring, gan_ring, unrolled_ring
from jaxgan import data
from jaxgan.players import init_players
from jaxgan.state import GANState
from jaxgan.training import GAN, UsageError, train
from jaxgan.training import Options as CommonOptions
from jaxgan.training import open as open_run
from jaxgan.training.cli.command_line import command_line
from scripts import evaluate, field, sample
from scripts.rejected import RejectionOptions, Rejector

pytestmark = pytest.mark.usefixtures("as_users_have_it")

GENERATED, REAL = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.05, 0.5, 0.2, 0.25])  # of points (0, 0), (1, 0), ...


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    """The options that all experiments have, and what a discriminator does to its logits."""

    slope: float = 1.0
    shift: float = 0.0
    labels: bool = False


class Ratio(nn.Module):
    """A discriminator that says the log ratio, more or less. Of labelled points the ratio is the other way round where
    the label is odd."""

    slope: float
    shift: float

    @nn.compact
    def __call__(self, image, condition=None, *, train):
        self.param("unused", nn.initializers.zeros, ())
        number = jnp.round(image[:, 0, 0, 0]).astype(jnp.int32)
        ratios = jnp.asarray(np.log(REAL / GENERATED), jnp.float32)
        sign = 1.0 if condition is None else jnp.where(condition % 2 == 1, -1.0, 1.0)
        return {"logits": self.slope * sign * ratios[number] + self.shift}


def build(options, spec):
    """A GAN that can't learn: its points are numbers with known probabilities."""
    modules = {"discriminator": Ratio(options.slope, options.shift)}

    def init(key):
        inputs = {"discriminator": [jnp.zeros((1, 1, 1, 2))]}
        return GANState.of(
            key, init_players(key, modules, optax.identity(), inputs), hyper={"discriminator/learning_rate": 0.1}
        )

    def iteration(state, batch):
        return state.replace(step=state.step + 1), {"discriminator/loss": jnp.zeros(())}

    def drawn(state, examples, keys, *, weights="ema"):
        numbers = jax.vmap(lambda key: jax.random.choice(key, 4, p=jnp.float32(GENERATED)))(keys).astype(jnp.float32)
        beside = examples["label"].astype(jnp.float32) if options.labels else jnp.zeros(len(keys))
        return {"image": jnp.stack([numbers, beside], -1)[:, None, None]}

    return GAN(init, iteration, options.batch_size, drawn)


def given(count=4000, classes=2):
    random = np.random.default_rng(0)
    numbers = random.choice(4, count, p=REAL).astype(np.float32)
    labels = np.arange(count, dtype=np.int32) % classes
    fields = {"image": np.stack([numbers, np.zeros(count, np.float32)], -1)[:, None, None], "label": labels}
    return data.DataSet("numbers", fields, tuple(map(str, range(classes))), {"image": "points"})


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """`**options -> an open run`."""

    @functools.cache
    def make(**changes):
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            folder = tmp_path_factory.mktemp("run") / "run"
            options = Options(workdir=str(folder), steps=1, batch_size=4, devices=1, **changes)
            train(build, options, data=given())
            return open_run(folder, data=given(), build=build)

    return make


def rejected(opened, reject, count=2000, **how):
    drawing = {name: how.pop(name) for name in ("seed", "label", "run") if name in how}
    rejector = Rejector(opened, RejectionOptions(reject=reject, **{"burn_in": 2000, "chain": 30, **how}))
    return rejector, rejector(count, **drawing)


def shares(drawn):
    return np.bincount(drawn["image"][:, 0, 0, 0].astype(int), minlength=4) / len(drawn["image"])


@pytest.mark.parametrize("slope, shift", [pytest.param(1.0, 0.0, marks=pytest.mark.slow), (3.0, -2.0)])
def test_chains_end_where_the_data_are(opened, slope, shift, capsys):
    """Also of a discriminator whose logits must be calibrated; without that its chains end elsewhere."""
    rejector, drawn = rejected(opened(slope=slope, shift=shift), "mh")
    np.testing.assert_allclose(shares(drawn), REAL, atol=0.04)
    ratios = REAL / GENERATED
    expected = (REAL[:, None] * GENERATED[None] * np.minimum(1, ratios[None] / ratios[:, None])).sum()
    np.testing.assert_allclose(rejector.rate, expected, atol=0.02)  # of chains that are where the data are
    said = capsys.readouterr().out
    assert float(said.split("log p/q = ")[1].split()[0]) == pytest.approx(1 / slope, rel=0.1)
    assert "accepted by each of 2,000 chains from real examples; 0 accepted none" in said
    if slope != 1:
        _, other = rejected(opened(slope=slope, shift=shift), "mh", calibrate=False)
        assert np.abs(shares(other) - REAL).max() > 0.1


@pytest.mark.parametrize("percentile", [pytest.param(0.0, marks=pytest.mark.slow), 80.0])
def test_rejection_is_that_of_the_paper(opened, percentile, capsys):
    """Probabilities in float64 of exact log ratios: σ(F - γ), γ the percentile of F among generated points."""
    run = opened()
    rejector, drawn = rejected(run, "drs", percentile=percentile, calibrate=False)
    ratios = np.log(REAL / GENERATED)
    f = ratios - ratios.max() - np.log(1 - np.exp(ratios - ratios.max() - 1e-8))
    order = np.argsort(ratios)
    # The percentile falls on the outcome to which so many generated points are below.
    gamma = f[order][np.searchsorted(np.cumsum(GENERATED[order]), percentile / 100)]
    accepts = GENERATED / (1 + np.exp(gamma - f))
    np.testing.assert_allclose(shares(drawn), accepts / accepts.sum(), atol=0.04)
    np.testing.assert_allclose(rejector.rate, accepts.sum(), rtol=0.1)
    said = capsys.readouterr().out
    assert "not calibrated: log p/q is taken to be the logit" in said
    assert f"drs: 2,000 of {round(2000 / rejector.rate):,} samples accepted, {100 * rejector.rate:.2f} %; " in said


@pytest.mark.slow
@pytest.mark.parametrize("reject", ["drs", "mh"])
def test_the_same_seed_draws_the_same_however_many(opened, reject):
    run = opened()
    _, many = rejected(run, reject, 300)
    _, few = rejected(run, reject, 7)
    np.testing.assert_array_equal(many["image"][:7], few["image"])
    _, other = rejected(run, reject, 300, seed=1)
    assert np.any(other["image"] != many["image"])


@pytest.mark.slow
@pytest.mark.parametrize("reject", ["drs", "mh"])
def test_classes_are_judged_with_their_labels_and_start_from_examples_of_theirs(opened, reject):
    """Of odd labels the ratio is the other way round, so that without calibration other points are accepted."""
    run = opened(labels=True)
    for label, likely in ((0, 1), (1, 0)):
        _, drawn = rejected(run, reject, 400, label=label, calibrate=False)
        assert shares(drawn).argmax() == likely
        assert (drawn["label"] == label).all() and (drawn["image"][:, 0, 0, 1] == label).all()
    _, drawn = rejected(run, reject, 40, run=8, calibrate=False)
    np.testing.assert_array_equal(drawn["label"], np.repeat([0, 1, 0, 1, 0], 8))
    np.testing.assert_array_equal(drawn["image"][:, 0, 0, 1], drawn["label"])


@pytest.mark.slow
def test_a_chain_that_accepts_none_begins_anew_from_a_sample(opened, capsys):
    """Of one proposal, which many refuse: no real example is passed off as generated."""
    rejector, drawn = rejected(opened(labels=True), "mh", 64, chain=1, calibrate=False, label=1)
    assert (drawn["image"][:, 0, 0, 1] == 1).all(), "the data have 0 there"
    said = capsys.readouterr().out
    anew = int(said.split("examples; ")[1].split()[0])
    assert 0 < anew < 64 and round(64 * (1 - rejector.rate)) == anew


@pytest.mark.parametrize(
    "slope, match", [(-1.0, "doesn't tell training examples from generated ones"), (0.0, "slope 0")]
)
def test_a_discriminator_that_tells_nothing_is_refused(opened, slope, match):
    with pytest.raises(UsageError, match=match):
        rejected(opened(slope=slope), "drs")


@pytest.mark.parametrize("script", [sample, evaluate], ids=["sample", "evaluate"])
@pytest.mark.parametrize(
    "given, expected",
    [
        (["--burn-in", "100"], "--burn-in must be given together with --reject drs or mh, got 100"),
        (["--no-calibrate"], "--calibrate must be given together with --reject drs or mh, got off"),
        (["--reject", "mh", "--percentile", "50"], "--percentile must be given together with --reject drs, got 50.0"),
        (["--reject", "drs", "--chain", "5"], "--chain must be given together with --reject mh, got 5"),
    ],
)
def test_an_option_without_effect_is_refused(script, given, expected):
    with pytest.raises(UsageError) as refused:
        command_line(script.Options, ["RUN", *given])
    assert str(refused.value) == expected


@pytest.mark.slow
def test_what_cannot_be_rejected_by(tmp_path):
    run_points(tmp_path, seeds=2, steps=1)
    with pytest.raises(UsageError, match=r"--reject: .* has 2 GANs; name one with --member"):
        Rejector(open_run(tmp_path / "run"), RejectionOptions(reject="drs"))
    flow = flowgan_ring.Options(
        workdir=str(tmp_path / "flow"), game="mle", steps=1, batch_size=8, couplings=2, generator_width=4, devices=1
    )
    train(flowgan_ring.build, flow)
    with pytest.raises(UsageError, match=r"--reject: .*flow has no discriminator to reject by"):
        Rejector(open_run(tmp_path / "flow"), RejectionOptions(reject="mh"))
    with pytest.raises(UsageError, match="flow has no discriminator, and so no field"):
        field.field(open_run(tmp_path / "flow"), 5)
    packed = unrolled_ring.Options(workdir=str(tmp_path / "pack"), unroll=0, pack=2, steps=1, width=4, devices=1)
    train(unrolled_ring.build, packed)
    with pytest.raises(UsageError, match=r"--reject: the discriminator of .*pack judges several examples at once"):
        Rejector(open_run(tmp_path / "pack"), RejectionOptions(reject="mh"))


def test_samples_and_scores_of_what_is_accepted(tmp_path, capsys):
    """A file, a grid, and records that say how samples were chosen; no walk."""
    train(gan_ring.build, points(tmp_path, steps=2, learning_rate=0.05))
    how = {"run": tmp_path / "run", "reject": "drs", "burn_in": 300, "calibrate": False}
    sample.run(sample.Options(**how, count=20, out=(tmp_path / "a.npz", tmp_path / "a.png")))
    with np.load(tmp_path / "a.npz") as found:
        assert found["images"].shape == (20, 1, 1, 2)
    said = capsys.readouterr().out
    assert said.count("drs: ") == 2 and "drs: 20 of " in said
    with pytest.raises(UsageError, match=r"^--reject must be left out with a walk: .*, got drs$"):
        sample.Options(**how, out=(tmp_path / "a.gif",))
    evaluate.run(evaluate.Options(**how, count=200))
    record = json.loads((tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()[-1])
    assert record["rejection"] == {"method": "drs", "calibrated": False, "burn_in": 300, "percentile": 80.0}
    assert 0 < record["acceptance"] < 1 and record["name"].endswith(", drs")
    assert "drs" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"^--reject must be given with a run, not with --generated, got mh$"):
        evaluate.run(evaluate.Options(generated="ring", reference="ring", reject="mh"))


@pytest.mark.parametrize(
    "option, value, expected",
    [("burn_in", 15, "at least 16"), ("percentile", 100.0, "at least 0 and below 100"), ("chain", 0, "at least 1")],
)
def test_bounds(option, value, expected):
    with pytest.raises(UsageError) as refused:
        RejectionOptions(**{option: value})
    assert str(refused.value) == f"--{option.replace('_', '-')} must be {expected}, got {value}"
