"""`scripts.density`: its estimate of a density and its numbers, on points whose density is known."""

import numpy as np
import pytest
from point_runs import run_points

from experiments import flowgan_ring
from jaxgan.data.sources import toys
from jaxgan.training import UsageError, train
from scripts import density

pytestmark = pytest.mark.usefixtures("as_users_have_it")
random = np.random.default_rng(0)


def test_the_density_of_neighbours_is_that_of_scipys_gaussian():
    from scipy.stats import multivariate_normal

    law = multivariate_normal([1, -1], [[0.5, 0.2], [0.2, 0.3]])
    points = law.rvs(2000, random_state=1)
    found = density.neighbour_density(points, law.rvs(100_000, random_state=2))
    errors = found - law.logpdf(points)
    assert abs(errors.mean()) < 0.02 and abs(errors.std() - 1 / np.sqrt(32)) < 0.02
    with pytest.raises(ValueError, match="the 32th neighbour needs as many samples, got 3"):
        density.neighbour_density(points, points[:3])


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_the_density_of_the_toys(name):
    """SciPy's mixture, mode by mode; its mean over fresh points is minus the entropy, within the error of a mean."""
    from scipy.stats import norm

    points, labels = toys.draw(name, 3, 20_000)
    x = points[:, 0, 0].astype(np.float64)
    parts = [norm(centre, toys.SIGMA[name]).pdf(x).prod(axis=1) for centre in toys.centres(name).astype(np.float64)]
    found = toys.log_density(name, x)
    np.testing.assert_allclose(found, np.log(np.mean(parts, axis=0)), atol=1e-6)
    assert abs(found.mean() + toys.entropy(name)) < 4 * found.std() / np.sqrt(len(found))
    assert len(np.unique(labels)) == len(toys.centres(name))
    np.testing.assert_array_equal(toys.draw(name, {"ring": 8, "grid": 25}[name])[0], getattr(toys, name)()[0])
    far = toys.log_density(name, [[5.0, 5.0]])
    assert np.isfinite(far).all() and far < -1e4


def test_correlations():
    values = random.normal(size=500)
    found = density.likeness(values, 3 * values - 1)
    np.testing.assert_allclose(found, (1, 1))
    found = density.likeness(values, np.exp(3 * values))
    assert found.pearson < 0.8 and found.spearman == pytest.approx(1)
    for some in (values[:0], values[:29], np.ones(40)):  # nothing to correlate
        assert np.isnan(density.likeness(some, values[: len(some)])).all()


def test_how_far_samples_are_from_modes():
    """Samples 1, 2, ... 101 standard deviations to the right of the ring's first mode: quantiles to be counted."""
    apart = np.arange(1, 102)
    samples = np.stack([1 + toys.SIGMA["ring"] * apart, 0 * apart], axis=1)
    said = density.distance_lines("ring", samples, -(apart**2) / 2)
    assert said[1].split() == ["log", "p/q", "-5e+03", "-1.3e+03", "-2"]
    assert said[2].split() == ["from", "the", "nearest", "mode,", "in", "standard", "deviations", "2", "51", "100"]
    assert said[3] == "the mode that is nearest to most is so to 100.0 % of samples"
    around = np.repeat(1.05 * toys.centres("ring"), 2, axis=0)
    assert density.distance_lines("ring", around, np.zeros(16))[3].endswith(" 12.5 % of samples")


def test_the_discriminator_that_is_the_ratio_correlates_with_it_and_a_reversed_one_against_it(monkeypatch):
    """Samples around the modes, three times as wide, from which q is estimated; the logit is the ratio of SciPy's."""
    from types import SimpleNamespace

    from scipy.stats import norm

    modes = toys.centres("ring").astype(np.float64)

    def drawn(count, seed):
        source = np.random.default_rng(seed)
        points = modes[source.integers(8, size=count)] + source.normal(0, 0.03, (count, 2))
        return points.astype(np.float32).reshape(-1, 1, 1, 2)

    def log_mixture(x, width):
        return np.log(np.mean([norm(mode, width).pdf(x).prod(axis=1) for mode in modes], axis=0))

    run = SimpleNamespace(
        data=SimpleNamespace(name="ring"),
        gan=SimpleNamespace(log_density=None),
        draw=lambda count, seed, **how: {"image": drawn(count, seed)},
    )
    monkeypatch.setattr(density, "SAMPLES", 50_000)
    for sign in 1, -1:

        def logits(stored, sign=sign):
            x = np.float64(stored["image"])[:, 0, 0]
            return sign * (log_mixture(x, 0.01) - log_mixture(x, 0.03))

        monkeypatch.setattr(density, "Rejector", lambda *given, logits=logits: SimpleNamespace(logits=logits))
        said = density.ratio_lines(run, SimpleNamespace(seed=0, weights="raw"), drawn(2000, 5))
        values = {line.split(",")[0]: [float(x) for x in line.split()[-2:]] for line in said[1:5]}
        assert list(values) == [
            "at samples",
            "at samples where it is above -10",
            "at samples and points of the data",
            "at those where it is above -10",
        ]
        assert all(sign * x > 0.97 for pair in values.values() for x in pair)


@pytest.mark.slow
def test_a_flow_is_compared_by_its_own_density(tmp_path, capsys):
    options = flowgan_ring.Options(
        workdir=str(tmp_path / "run"), steps=30, batch_size=64, couplings=2, generator_width=8, width=16, devices=1
    )
    train(flowgan_ring.build, options)
    capsys.readouterr()
    density.run(density.Options(run=tmp_path / "run", count=200, burn_in=300, chain=8))
    said = capsys.readouterr().out
    assert "the data's expected one is 4.2930 nats, minus its entropy" in said
    assert "the density q is the flow's own" in said and "as they are" in said
    for row in ("drs", "mh"):
        assert f"\n{row}" in said
    lines = {line.split("  ")[0]: line.split() for line in said.splitlines()}
    gap = float(lines["difference, KL(p ‖ q)"][-2])
    assert gap == pytest.approx(float(lines["the data's"][-2]) - float(lines["the flow's"][-2]), abs=2e-3) and gap > 0


def test_only_runs_whose_density_is_known(tmp_path):
    run_points(tmp_path, steps=1)
    with pytest.raises(UsageError, match=r"^--reject must be left out: samples by either way .*, got drs$"):
        density.run(density.Options(run=tmp_path / "run", reject="drs"))
    with pytest.raises(UsageError, match="is a run on few; the density of ring and grid is known"):
        density.run(density.Options(run=tmp_path / "run"))
