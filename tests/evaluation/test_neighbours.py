"""Precision, recall, density and coverage against their authors' package, by hand, and where the answer is known."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation import neighbours
from jaxgan.evaluation.neighbours import density_coverage, prdc, precision_recall
from scripts.golden.neighbours import cases

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "neighbours.json").read_text())["scores"]
CASES = cases()


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def all_four(real, fake, k, chunk=64):
    near = precision_recall(real, fake, k=k, chunk=chunk), density_coverage(real, fake, k=k, chunk=chunk)
    return near[0]._asdict() | near[1]._asdict()


@pytest.mark.parametrize("name", list(CASES))
def test_against_their_authors_package(name):
    found = prdc(*CASES[name], k=3, k_density=5, chunk=64)
    golden = GOLDEN[name]["3"], GOLDEN[name]["5"]
    assert found[0]._asdict() == pytest.approx({key: golden[0][key] for key in ("precision", "recall")}, abs=1e-12)
    assert found[1]._asdict() == pytest.approx({key: golden[1][key] for key in ("density", "coverage")}, abs=1e-12)


@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("name", ["alike", "lattice"])
def test_against_their_authors_package_with_another_k(name, k):
    assert all_four(*CASES[name], k) == pytest.approx(GOLDEN[name][str(k)], abs=1e-12)


@pytest.mark.parametrize("chunk", [1, 5, 10_000])
@pytest.mark.parametrize("name", ["few", "lattice"])
def test_in_blocks_it_is_the_same(name, chunk):
    """One example a block, blocks that don't divide the sets, one block; `few` is 12 and 13 examples."""
    real, fake = (each[:40] for each in CASES[name])
    assert prdc(real, fake, chunk=chunk) == prdc(real, fake, chunk=64)
    assert prdc(real, fake, chunk=chunk)[0] != (1, 1)


def test_the_shape_of_a_block_is_one():
    """Two programs compare sets of any size, and no array of a program has more numbers than a block of distances and
    the k nearest."""
    for program in (neighbours._nearest, neighbours._inside):
        program.clear_cache()
    for n, m in ((100, 90), (131, 75), (64, 200)):
        prdc(normal(n, 3), normal(m, 3, seed=1), chunk=32)
    assert neighbours._nearest._cache_size() == 2  # k of 5 and of 3
    assert neighbours._inside._cache_size() == 1

    with jax.enable_x64(True):
        rows, mean, nearest = jnp.zeros((32, 3)), jnp.zeros((1, 3)), jnp.zeros((32, 5))
        traced = jax.make_jaxpr(neighbours._nearest)(rows, rows, mean, nearest, nearest, 0, 0, 100)
    inner = traced.eqns[0].params["jaxpr"].eqns
    assert max(out.aval.size for equation in inner for out in equation.outvars) == 32 * (32 + 5)


def by_hand(real, fake, k):
    """Computes the scores from differences in float64."""
    apart = lambda a, b: np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))  # noqa: E731
    radius = lambda a: np.sort(apart(a, a) + np.diag(np.full(len(a), -1.0)), axis=1)[:, k]  # noqa: E731
    in_real = apart(real, fake) < radius(real)[:, None]
    in_fake = apart(real, fake) < radius(fake)[None, :]
    return {
        "precision": in_real.any(axis=0).mean(),
        "recall": in_fake.any(axis=1).mean(),
        "density": in_real.sum() / (k * len(fake)),
        "coverage": in_real.any(axis=1).mean(),
    }


@pytest.mark.parametrize("spread", [1.0, 1e-2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_common_mean_costs_no_digits(dtype, spread):
    """In float32 and uncentred, the squared distances below would be rounded to multiples of 1/16 or more."""
    real, fake = (np.asarray(1000 + spread * normal(150, 8, seed=seed), dtype) for seed in (0, 1))
    expected = by_hand(real.astype(np.float64), fake.astype(np.float64), 3)
    assert 0.3 < expected["recall"] < 1
    assert all_four(real, fake, 3) == pytest.approx(expected, abs=1e-12)


def test_clusters_far_from_each_other():
    """Centring doesn't help here: float64 does."""
    centre = 1000.0 * np.random.default_rng(5).integers(-1, 2, (160, 1))
    real, fake = centre + normal(160, 3), centre + 0.8 * normal(160, 3, seed=1)
    assert all_four(real, fake, 5) == pytest.approx(by_hand(real, fake, 5), abs=1e-12)


def test_both_at_once_is_each():
    real, fake = CASES["narrower"]
    assert prdc(real, fake) == (precision_recall(real, fake), density_coverage(real, fake))
    more, fewer = precision_recall(real, fake, k=5, chunk=64), density_coverage(real, fake, k=3, chunk=64)
    assert prdc(real, fake, k=5, k_density=3, chunk=64) == (more, fewer)
    assert more != precision_recall(real, fake) and fewer != density_coverage(real, fake)


@pytest.mark.parametrize("size", [1, 8, 300])
def test_a_set_against_itself(size):
    """Every ball holds its centre and k - 1 neighbours; the k-th is on the sphere, whatever the rounding."""
    for seed in range(3):
        features = (3.3 + normal(90, size, seed=seed)).astype(np.float32)
        order = np.random.default_rng(seed).permutation(90)
        assert set(all_four(features, features[order], 3).values()) == {1.0}


def test_samples_of_one_distribution():
    """Density is 1 on average, and coverage 1 - 2⁻ᵏ (Naeem et al. 2020, section 3)."""
    scores = [density_coverage(normal(500, 3, seed=2 * s), normal(500, 3, seed=2 * s + 1), k=3) for s in range(6)]
    density, coverage = np.mean(scores, axis=0)
    assert density == pytest.approx(1, abs=0.05) and coverage == pytest.approx(1 - 1 / 8, abs=0.015)


def test_on_a_line():
    """Real 0, 1, 3, 7 with k 1: radii 1, 1, 2, 4. Generated 0.5, 5, 20: radii 4.5, 4.5, 15."""
    real, fake = np.array([[0.0], [1], [3], [7]]), np.array([[0.5], [5], [20]])
    # 0.5 is in the balls of 0 and 1; 5 in that of 7, and on the edge of that of 3; 20 in none.
    assert density_coverage(real, fake, k=1) == (3 / 3, 3 / 4)
    # 0, 1 and 3 are within 4.5 of 0.5, and 7 within 4.5 of 5.
    assert precision_recall(real, fake, k=1) == (2 / 3, 1.0)


def test_copies_have_no_ball():
    """Half of the set is one point, of which there are more than k; the other half is as before."""
    real = np.concatenate([normal(20, 3), np.full((20, 3), 50.0)])
    assert precision_recall(real, real, k=3) == (0.5, 0.5)
    assert density_coverage(real, real, k=3) == (0.5, 0.5)
    fewer = np.concatenate([real, real[:20] + 0.01])[[*range(23), *range(40, 60)]]  # three copies, which is not above k
    assert precision_recall(fewer, fewer, k=3) == (1.0, 1.0)


@pytest.mark.parametrize("value", [0.0, 0.3, 1e4])
def test_constant_features(value):
    constant = np.full((40, 3), value, np.float32)
    assert set(all_four(constant, constant, 3).values()) == {0.0}
    assert set(all_four(constant, np.zeros((40, 3), np.float32), 3).values()) == {0.0}


def test_fewest_examples():
    """k + 1 of each, where the k-th is the furthest; density and coverage need one generated example."""
    real, fake = normal(4, 3), normal(4, 3, seed=1)
    assert all_four(real, fake, 3) == pytest.approx(by_hand(real, fake, 3))
    inside = by_hand(real, np.concatenate([fake[:1]] * 4), 3)
    assert density_coverage(real, fake[:1], k=3) == (inside["density"], inside["coverage"])


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_half_precision_and_device_arrays(dtype):
    real, fake = (jnp.asarray(normal(60, 3, seed=seed), dtype) for seed in (0, 1))
    exact = [np.asarray(x, np.float32).astype(np.float64) for x in (real, fake)]
    assert all_four(real, fake, 3) == pytest.approx(by_hand(*exact, 3), abs=1e-12)
    assert not jax.config.jax_enable_x64


def bad(value):
    features = normal(10, 2)
    features[6, 1] = value
    return features


@pytest.mark.parametrize(
    "real, fake, message",
    [
        pytest.param(np.zeros((3, 2)), normal(9, 2), "at least 4 real examples .*got 3", id="few-real"),
        pytest.param(np.zeros((0, 2)), normal(9, 2), "at least 4 real examples .*got 0", id="no-real"),
        pytest.param(normal(9, 2), np.zeros((0, 2)), "generated examples .*got 0", id="no-generated"),
        pytest.param(normal(9, 2), normal(9, 3), "2 numbers a real example and 3 a generated", id="other-network"),
        pytest.param(bad(np.nan), normal(9, 2), "1 of 10 real examples have .*first is number 6", id="nan"),
        pytest.param(normal(9, 2), bad(-np.inf), "1 of 10 generated examples .*infinite", id="infinite"),
        pytest.param(normal(9, 2), bad(1e200), "too large", id="too-large"),
        pytest.param(normal(9), normal(9, 2), r"floats \[N, D\], got float64 of shape \(9,\)", id="vector"),
        pytest.param(normal(9, 2, 2), normal(9, 2), r"\[N, D\].*\(9, 2, 2\)", id="images"),
        pytest.param(normal(9, 0), normal(9, 0), r"\[N, D\].*\(9, 0\)", id="no-features"),
        pytest.param(np.zeros((9, 2), np.int32), normal(9, 2), "got int32", id="integers"),
    ],
)
def test_what_cannot_be_scored(real, fake, message):
    for score in (precision_recall, density_coverage, prdc):
        with pytest.raises(ValueError, match=message.replace("least 4", "least 6") if score is prdc else message):
            score(real, fake, **({} if score is prdc else {"k": 3}))


def test_numbers_that_cannot_be():
    real = normal(9, 2)
    for score in (precision_recall, density_coverage, prdc):
        with pytest.raises(ValueError, match="k 0, chunk 1024"):
            score(real, real, k=0)
        with pytest.raises(ValueError, match="k 3, chunk 0"):
            score(real, real, k=3, chunk=0)
    with pytest.raises(ValueError, match="k 0, chunk 1024"):
        prdc(real, real, k_density=0)
    with pytest.raises(ValueError, match=r"at least 4 generated examples .*got 1"):
        precision_recall(real, real[:1])
