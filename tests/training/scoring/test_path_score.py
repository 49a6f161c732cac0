"""Perceptual path length of a run's generator, against what is computed by hand in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import painted_runs
import pytest
from painted_runs import LAYERS, MAP, PAINT, SIZE

from jaxgan.evaluation import Perceptual, lerp, path_length, scores, slerp
from jaxgan.samplers import labelled_latents
from jaxgan.training import Latents, UsageError
from jaxgan.training import open as open_run
from jaxgan.training.options.evaluation import FeatureOptions
from jaxgan.training.recipe.data_spec import Field
from jaxgan.training.scoring.path_length import path_distance, path_score

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def squared(a, b):
    return ((a - b) ** 2).reshape(len(a), -1).sum(axis=1)


PIXELS = Perceptual("pixels", "0", squared)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    runs = painted_runs.runs_of(tmp_path_factory.mktemp("runs"))
    return {kind: open_run(directory, build=painted_runs) for kind, directory in runs.items()}


def z(count, seed, first=0):
    """The latents of samples by their numbers, float64."""
    draw = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(jax.random.key(seed), i), (SIZE,), jnp.float32))
    return np.asarray(draw(first + jnp.arange(count)), np.float64)


def linear(condition):
    """A linear generator whose styles of a class are far from those of all others."""

    def codes(state, inputs, *, weights="ema"):
        shift = 10 * inputs["condition"].astype(jnp.float32)[:, None] if condition else 0.0
        return jnp.repeat((inputs["latent"] @ MAP + shift)[:, None], len(LAYERS), axis=1)

    def synthesize(state, codes, inputs, *, weights="ema"):
        return {"image": jnp.einsum("nkd,kdp->np", codes, PAINT).reshape(-1, 4, 4, 1)}

    return Latents(labelled_latents(SIZE), codes, synthesize, lambda state, *, weights="ema": MAP[0], LAYERS)


def test_straight_paths_of_a_linear_generator_under_one_class(opened):
    """‖W (b - a)‖², where both ends have one class; if they had not, paths would be a hundred times as long."""
    run = opened["labelled"]
    space = dataclasses.replace(run, gan=run.gan._replace(latents=linear(condition=True))).latent_space
    found = path_score(space, PIXELS, 200, seed=3)
    matrix = MAP.astype(np.float64) @ PAINT.astype(np.float64).sum(axis=0)
    lengths = np.sort((((z(200, 3, 2**30) - z(200, 3)) @ matrix) ** 2).sum(axis=1))[1:-1]  # without the outer 1 %
    assert found.value == pytest.approx(lengths.mean(), rel=2e-3)
    assert found.std == pytest.approx(lengths.std(), rel=5e-3)
    assert (found.key, found.samples, found.real, found.constants["space"]) == ("ppl", 200, 0, "w")
    assert found.name == "perceptual path length in w, features of pixels"


@pytest.mark.parametrize("weights", ["ema", "raw"])
@pytest.mark.parametrize("kind", ["mapped", "plain", "labelled"])
def test_it_is_that_of_the_generator_in_float64(kind, weights, opened):
    """The function is given latents of their own and a generator in NumPy."""
    count, seed = 70, 5
    ends = z(count, seed), z(count, seed, 2**30)
    if mapped := kind == "mapped":
        ends = tuple(latents @ MAP.astype(np.float64) + (weights == "raw") for latents in ends)

    def generate(latents, labels):
        shifted = np.asarray(latents) + 0.1 * np.asarray(labels)[:, None] * (kind == "labelled")
        return np.tanh(np.einsum("nd,kdp->nkp", shifted, PAINT.astype(np.float64)))

    labels = opened[kind].drawing.labels(0, count)
    assert kind != "labelled" or set(labels) == {0, 1}
    t = np.random.default_rng(seed).random(count)
    with jax.enable_x64(True):
        given = {"t": t, "interpolate": lerp if mapped else slerp, "conditions": labels}
        expected = path_length(generate, *ends, squared, **given)
    found = path_score(opened[kind].latent_space, PIXELS, count, seed=seed, weights=weights)
    assert found.value == pytest.approx(expected.mean, rel=2e-3)
    assert found.constants["space"] == ("w" if mapped else "z")
    assert found.constants["interpolation"] == ("lerp" if mapped else "slerp")


def test_what_bfloat16_would_round_away_is_computed_in_float32(opened):
    def build(options, spec):
        gan = painted_runs.build(options, spec)

        def rounded(*given, **how):
            images = gan.latents.synthesize(*given, **how)["image"]
            return {"image": images.astype(options.compute_dtype)}

        return gan._replace(latents=gan.latents._replace(synthesize=rounded))

    options = dataclasses.replace(opened["mapped"].options, dtype="bfloat16")
    given = {"options": options, "build": build, "gan": build(options, opened["mapped"].data)}
    run = dataclasses.replace(opened["mapped"], **given)
    inputs = run.latent_space.inputs(range(4))
    codes = run.latent_space.codes(inputs)
    rounded, whole = (each.latent_space.floats(codes, inputs) for each in (run, run.in_float32()))
    assert rounded.dtype == whole.dtype == np.float32 and 1e-4 < np.abs(rounded - whole).max() < 1e-2
    found = path_score(run.in_float32().latent_space, PIXELS, 20)
    assert found.value == path_score(opened["mapped"].latent_space, PIXELS, 20).value
    assert found.value < path_score(run.latent_space, PIXELS, 20).value / 2


def test_distances_are_of_images_that_the_network_takes():
    found = path_distance(FeatureOptions(), Field("image", (8, 8, 1)))
    assert found.name == "cifar10-v1"
    with pytest.raises(UsageError, match=r"^--metrics ppl: cifar10-v1 takes images of at least 8×8 pixels, got 4×4$"):
        path_distance(FeatureOptions(), Field("image", (4, 4, 1)))
    with pytest.raises(UsageError, match=r"^--metrics ppl compares images, and this run draws vectors; leave it out$"):
        path_distance(FeatureOptions(), Field("vectors", (5,)))
    images = np.zeros((2, 8, 8, 1), np.uint8)
    with pytest.raises(ValueError, match=r"^ppl is of a generator, not of what it drew: take path_length$"):
        scores(["ppl"], None, images, images)
