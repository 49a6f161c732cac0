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
