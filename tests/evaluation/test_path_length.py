"""Perceptual path length against torch-fidelity and closed forms."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.path_length import lerp, path_length, slerp, slerp_unit
from scripts.golden.similarity import EPSILONS, latents, path_latents, toy_generator

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "similarity.npz")
MODES = {"lerp": lerp, "slerp_any": slerp, "slerp_unit": slerp_unit}  # by torch-fidelity's names


def squared(a, b):
    return ((a - b) ** 2).reshape(len(a), -1).sum(axis=1)


def toy(latents):
    return toy_generator(np.asarray(latents), np.tanh)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", latents())
def test_interpolations_are_those_of_torch_fidelity(case, mode):
    a, b, t = latents()[case]
    found = MODES[mode](a.astype(np.float64), b.astype(np.float64), t)
    np.testing.assert_allclose(found, GOLDEN[f"{case}/{mode}"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("mode", MODES)
def test_path_length_is_that_of_torch_fidelity(mode, epsilon):
    """Its latents are float32, which for the smaller step moves single lengths by up to 3e-3 and their mean by 2e-5."""
    a, b = path_latents(mode)
    options = {"t": 0, "interpolate": MODES[mode], "epsilon": epsilon, "batch": 64}
    single = path_length(toy, a, b, squared, **options)
    with jax.enable_x64(True):
        double = path_length(toy, a, b, squared, **options)
    golden = {name: GOLDEN[f"ppl/{mode}/{epsilon:g}/{name}"] for name in ("mean", "std", "kept")}
    for found in (single, double):
        assert found.lengths.dtype == np.float64 and found.lengths.shape == a.shape[:1]
        np.testing.assert_allclose(found.mean, golden["mean"], rtol=1e-4)
        np.testing.assert_allclose(found.std, golden["std"], rtol=3e-4 if epsilon < 1e-3 else 1e-4)
        kept = np.sort(found.lengths)[1:-1]
        np.testing.assert_allclose(kept, np.sort(golden["kept"]), rtol=1e-2 if epsilon < 1e-3 else 1e-4)


def test_straight_ways_of_a_linear_generator():
    """Their length is ‖W (b - a)‖², at every t and with any step."""
    a, b, weights = normal(50, 3), normal(50, 3, seed=1), normal(3, 12, seed=2)
    expected = np.sum(((b - a) @ weights) ** 2, axis=1)
    options = {"interpolate": lerp, "batch": 7}
    with jax.enable_x64(True):
        for t in (0, 1, np.linspace(0, 1, 50)):
            found = path_length(lambda z: np.asarray(z) @ weights, a, b, squared, t=t, **options)
            np.testing.assert_allclose(found.lengths, expected, rtol=1e-9)
    weights = weights.astype(np.float32)
    found = path_length(lambda z: np.asarray(z) @ weights, a, b, squared, t=0.3, **options)
    np.testing.assert_allclose(found.lengths, expected, rtol=0.02)  # what float32 leaves of a step of 1e-4
    np.testing.assert_allclose(found.lengths.mean(), expected.mean(), rtol=5e-4)
    found = path_length(lambda z: np.asarray(z) @ weights, a, b, squared, t=0.3, epsilon=0.5, **options)
    np.testing.assert_allclose(found.lengths, expected, rtol=1e-5)


@pytest.mark.parametrize("epsilon", [1e-4, 0.1])
def test_arcs(epsilon):
    """On a circle of radius r a step spans the angle ε ω, and the chord 2 r sin(ε ω / 2)."""
    angles = np.array([0.1, 1, np.pi / 2, 3])
    a = np.tile([5.0, 0, 0], (4, 1))
    b = 5 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    expected = (2 * np.sin(epsilon * angles / 2) / epsilon) ** 2
    t = np.array([0, 0.25, 0.5, 1])
    options = {"t": t, "epsilon": epsilon}
    with jax.enable_x64(True):
        found = path_length(np.asarray, a, b, squared, interpolate=slerp, **options)
        unit = path_length(np.asarray, a, b, squared, interpolate=slerp_unit, **options)
    np.testing.assert_allclose(found.lengths, 25 * expected, rtol=1e-7)
    np.testing.assert_allclose(unit.lengths, expected, rtol=1e-7)
    np.testing.assert_allclose(slerp(a, b, t[:, None])[2], 5 * np.array([np.sqrt(0.5), np.sqrt(0.5), 0]), rtol=1e-12)


@pytest.mark.parametrize(
    "count, kept", [(200, slice(1, 199)), (101, slice(1, 100)), (100, slice(0, 100)), (1, slice(0, 1))]
)
def test_outer_percentiles_are_left_out(count, kept):
    """Of 200, the 1st percentile lies between the second and the third smallest: the second stays, the first goes."""
    lengths = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    ends = np.sqrt(lengths)[:, None]
    with jax.enable_x64(True):
        found = path_length(np.asarray, 0 * ends, ends, squared, t=0, interpolate=lerp)
    np.testing.assert_allclose(found.lengths, lengths, rtol=1e-9)
    np.testing.assert_allclose(found.mean, np.arange(1.0, count + 1)[kept].mean(), rtol=1e-9)
    np.testing.assert_allclose(found.std, np.arange(1.0, count + 1)[kept].std(), rtol=1e-9, atol=1e-9)


def test_each_latent_goes_through_once_and_pairs_stay_pairs():
    a, b = normal(10, 4), normal(10, 4, seed=1)
    sizes = []

    def generate(z):
        sizes.append(len(z))
        assert z.dtype == jnp.float32
        return z

    found = path_length(generate, a, b, squared, t=0.5, interpolate=lerp, batch=4)
    assert sizes == [8, 8, 4]
    np.testing.assert_allclose(found.lengths, np.sum((b - a) ** 2, axis=1), rtol=0.02)


def test_both_images_of_a_pair_have_its_condition():
    """Under each condition the generator is another; the same at both ends, it leaves ‖c (b - a)‖²."""
    a, b, c = normal(10, 4), normal(10, 4, seed=1), np.arange(10.0)
    how = {"t": 0.5, "interpolate": lerp, "conditions": c, "batch": 4}
    with jax.enable_x64(True):
        found = path_length(lambda z, c: c[:, None] * z + 100 * c[:, None], a, b, squared, **how)
    np.testing.assert_allclose(found.lengths, c**2 * np.sum((b - a) ** 2, axis=1), rtol=1e-6, atol=1e-6)


def test_a_generator_that_ignores_its_latent_has_length_zero():
    a, b = normal(10, 4), normal(10, 4, seed=1)
    found = path_length(lambda z: 0 * np.asarray(z), a, b, squared, t=0, interpolate=slerp)
    assert found.mean == found.std == 0


GOOD = {"latents_a": np.ones((2, 3)), "latents_b": np.zeros((2, 3)), "t": 0, "interpolate": lerp, "distance": squared}


@pytest.mark.parametrize(
    "change, message",
    [
        pytest.param({"latents_b": np.zeros((3, 3))}, r"one shape, got \(2, 3\) and \(3, 3\)", id="counts"),
        pytest.param({"latents_a": np.zeros(3), "latents_b": np.zeros(3)}, r"\[N, ..., D\]", id="one"),
        pytest.param({"latents_a": np.zeros((0, 3)), "latents_b": np.zeros((0, 3))}, "one shape", id="none"),
        pytest.param({"latents_b": np.full((2, 3), np.nan)}, "latents hold NaN", id="nan"),
        pytest.param({"t": [0.5, 1.5]}, r"t in \[0, 1\], got values from 0.5 to 1.5", id="beyond"),
        pytest.param({"t": np.zeros(3)}, r"a number or \[2\].*got \[3\]", id="times"),
        pytest.param({"t": np.nan}, r"t in \[0, 1\]", id="nan-time"),
        pytest.param({"conditions": np.zeros(3)}, r"conditions \[2, ...\].*got \[3\]", id="conditions"),
        pytest.param({"epsilon": 0}, "positive epsilon", id="epsilon"),
        pytest.param({"batch": 0}, "positive epsilon and batch, got 0.0001 and 0", id="batch"),
        pytest.param({"distance": lambda a, b: squared(a, b).sum()}, r"a distance \[2\].*got \[\]", id="scalar"),
        pytest.param(
            {"distance": lambda a, b: squared(a, b) + jnp.array([0, jnp.nan])}, "pair 1 is NaN", id="nan-distance"
        ),
    ],
)
def test_what_has_no_path_length(change, message):
    with pytest.raises(ValueError, match=message):
        path_length(np.asarray, **(GOOD | change))
