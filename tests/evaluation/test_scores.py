"""Scores by name: the images that each uses, the cache on the disk, and the records."""

import dataclasses
import importlib.metadata
import json

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from scipy import linalg

import jaxgan
from jaxgan.data.cache import cache_folder
from jaxgan.data.sources import toys
from jaxgan.evaluation import FeatureNetwork, extract, record, scores
from jaxgan.evaluation.features import cached
from jaxgan.evaluation.features.network import AT_ONCE
from jaxgan.versions import versions

RANDOM = np.random.default_rng(0)
MATRIX = RANDOM.normal(size=(48, 6)).astype(np.float32)
REAL, FAKE = (RANDOM.integers(0, top, (count, 4, 4, 3)).astype(np.uint8) for top, count in ((256, 300), (200, 150)))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "cache"))


def entries():
    return [path for path in cache_folder().rglob("*") if path.is_file()]


def network(name="house-of-cards", sha256="ab", calls=None):
    """Returns a feature network with features that are linear in the pixels, and ten logits."""

    def apply(images):
        if calls is not None:
            calls.append(images.shape)
        features = (images.reshape(len(images), -1).astype(jnp.float32) / 255) @ jnp.asarray(MATRIX)
        return {"features": features, "logits": jnp.concatenate([features, features[:, :4]], 1)}

    return FeatureNetwork(name, sha256, "none", 10, apply)


def by_numpy(images):
    return (images.reshape(len(images), -1) / 255.0) @ MATRIX.astype(np.float64)


def found(metrics, *sets, **how):
    return {score.key: score for score in scores(metrics.split(","), how.pop("network", network()), *sets, **how)}


# --- what a network says ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1, AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE + 3])
def test_features_of_any_number_of_images_and_one_compilation(count):
    calls, counts = [], []
    images = RANDOM.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    outputs = extract(network(calls=calls), images, counts.append)
    np.testing.assert_allclose(outputs["features"], by_numpy(images), rtol=1e-4, atol=1e-4)
    assert outputs["logits"].shape == (count, 10) and len(calls) == 1 and sum(counts) == count


def test_what_cannot_be_extracted_is_refused():
    for images in (REAL[:0], REAL[0], REAL / 255.0):
        with pytest.raises(ValueError, match="expected at least one uint8 image"):
            extract(network(), images)
    broken = dataclasses.replace(network(), apply=lambda x: {"features": jnp.log(x[:, 0, 0, :1].astype(jnp.float32))})
    dark = np.zeros((5, 4, 4, 3), np.uint8)
    dark[3:] = 9
    with pytest.raises(ValueError, match="3 of 5 images have features of house-of-cards that are not finite"):
        extract(broken, dark)


# --- the numbers -----------------------------------------------------------------------------------------------------
def test_the_frechet_distance_is_that_of_all_real_features():
    a, b = by_numpy(FAKE), by_numpy(REAL)
    covariances = np.cov(a.T), np.cov(b.T)
    cross = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(sum(covariances)) - 2 * np.trace(cross)
    (score,) = found("fid", FAKE, REAL).values()
    assert score.value == pytest.approx(expected, rel=1e-4) and (score.samples, score.real) == (150, 300)


def test_every_metric_has_its_counts_and_constants():
    all_of_them = found("fid,kid,is,prdc,modes,swd,diversity", FAKE, REAL)
    assert {key: (score.samples, score.real) for key, score in all_of_them.items()} == {
        "fid": (150, 300),
        "kid": (150, 150),
        "is": (150, 0),
        **dict.fromkeys(("precision", "recall", "density", "coverage"), (150, 150)),
        **dict.fromkeys(("modes", "kl"), (150, 0)),
        **dict.fromkeys(("swd", "distinct", "spread"), (150, 150)),
    }
    assert all_of_them["kid"].constants == {"subsets": 100, "subset_size": 150}
    assert (all_of_them["recall"].constants, all_of_them["coverage"].constants) == ({"k": 3}, {"k": 5})
    assert np.isfinite([score.value for score in all_of_them.values()]).all()


def test_real_images_against_themselves():
    same = found("fid,kid,prdc,swd,diversity", REAL, REAL)
    assert abs(same["fid"].value) < 1e-6 and same["swd"].value == 0
    assert (same["precision"].value, same["recall"].value, same["coverage"].value) == (1, 1, 1)


def test_modes_are_the_classes_that_the_logits_name():
    labels = np.bincount(by_numpy(FAKE)[:, [0, 1, 2, 3, 4, 5]].argmax(1), minlength=10) / len(FAKE)
    expected = sum(p * np.log(10 * p) for p in labels if p)
    modes = found("modes", FAKE, REAL)
    assert modes["modes"].value == np.count_nonzero(labels) and modes["kl"].value == pytest.approx(expected)
    with pytest.raises(ValueError, match="which wide doesn't tell apart"):
        found("modes", FAKE, REAL, network=dataclasses.replace(network("wide"), classes=1008))


def test_modes_are_those_of_the_classes_that_the_data_have():
    """Real images of two of the network's classes, the most frequent, which the data number 0 and 5."""
    read, mine = (by_numpy(images).argmax(1) for images in (REAL, FAKE))
    classes = [int(c) for c in np.argsort(np.bincount(read, minlength=10))[-2:]]
    have = np.isin(read, classes)
    labels = np.where(read[have] == classes[0], 0, 5)
    shares = np.array([np.sum(mine == c) for c in classes]) / np.isin(mine, classes).sum()
    expected = sum(p * np.log(2 * p) for p in shares if p)
    modes = found("modes", FAKE, REAL[have], labels=(None, labels))
    assert modes["modes"].value == np.count_nonzero(shares) and modes["modes"].constants == {"of": 2}
    assert modes["kl"].value == pytest.approx(expected) and modes["kl"].samples == 150
    elsewhere = FAKE[~np.isin(mine, classes)]
    assert [score.value for score in found("modes", elsewhere, REAL[have], labels=(None, labels)).values()] == [0]
    every = np.arange(300) % 10  # as many classes as the network tells apart: all of its own, without a look
    assert found("modes", FAKE, REAL, labels=(None, every))["modes"].constants == {"of": 10}


def test_points_are_counted_without_a_network():
    centres = toys.centres("ring")
    points = np.concatenate([np.repeat(centres[:5], 10, 0) + 0.001, np.full((50, 2), 9.0)]).reshape(-1, 1, 1, 2)
    modes = found("modes", points, points, network=None, dataset="ring")
    assert (modes["modes"].value, modes["quality"].value) == (5, 0.5)
    assert modes["modes"].constants == {"of": 8, "sigmas": 3}
    assert modes["quality"].name == "share of high-quality samples, within 3 standard deviations of a mode"


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_the_share_of_high_quality_samples_by_hand(name):
    """Points at 2.9 and 3.1 standard deviations, in some direction, from the centres of all modes but one; NaN is near
    none."""
    sigma, centres = {"ring": 0.01, "grid": 0.0125}[name], toys.centres(name).astype(np.float64)[1:]
    angle = RANDOM.uniform(0, 2 * np.pi, len(centres))
    away = sigma * np.stack([np.cos(angle), np.sin(angle)], 1)
    near, far = centres + 2.9 * away, centres + 3.1 * away
    points = np.concatenate([near, far, far, np.full((3, 2), np.nan)])
    every = {"ring": [(np.cos(a), np.sin(a)) for a in np.arange(8) * np.pi / 4]}.get(
        name, [(x / 2, y / 2) for x in range(-2, 3) for y in range(-2, 3)]
    )
    good = [min(np.hypot(x - a, y - b) for a, b in every) <= 3 * sigma for x, y in points]
    stored = points.astype(np.float32).reshape(-1, 1, 1, 2)
    scored = found("modes", stored, stored, network=None, dataset=name)
    assert scored["quality"].value == np.mean(good) == len(near) / len(points)
    assert scored["modes"].value == len(every) - 1


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(
        ValueError, match="no metric is called nonsense; there are fid, kid, is, prdc, modes, classes, swd"
    ):
        found("fid,nonsense", FAKE, REAL)
    with pytest.raises(ValueError, match="4×4×3 against real ones of 2×4×3"):
        found("fid", FAKE, REAL[:, :2])
    with pytest.raises(ValueError, match="fid, kid must have a feature network"):
        found("fid,swd,kid", FAKE, REAL, network=None)
    points = np.zeros((8, 1, 1, 2), np.float32)
    broken = points.copy()
    broken[2:5, 0, 0, 1] = np.nan, np.inf, -np.inf
    for sets, which in (((broken, points), "3 of the 8 scored"), ((points, broken), "3 of the 8 real")):
        with pytest.raises(ValueError, match=f"{which} examples hold NaN or infinity"):
            found("modes,swd", *sets, network=None, dataset="ring")
        assert np.isfinite(found("modes", *sets, network=None, dataset="ring")["quality"].value)


@pytest.mark.parametrize(
    "metric, least", [("prdc", 6), ("fid", 2), ("kid", 2), ("diversity", 2), ("vectors", 2), ("swd", 1), ("is", 1)]
)
def test_the_set_that_is_too_small_is_named(metric, least):
    """Before any image is looked at."""
    calls, images = [], REAL.reshape(300, -1).astype(np.float32) if metric == "vectors" else REAL
    with pytest.raises(ValueError, match=f"^{metric} takes at least {least} examples to score, got {least - 1}$"):
        found(metric, images[: least - 1], images[:40], network=network(calls=calls))
    if metric != "is":
        with pytest.raises(ValueError, match=f"^{metric} takes at least {least} real examples, got {least - 1}$"):
            found(metric, images[:40], images[: least - 1], network=network(calls=calls))
    assert not calls
    few = found(metric, images[:least], images[:least] if metric != "is" else images, network=network(calls=calls))
    assert few and np.isfinite([score.value for score in few.values()]).all()


# --- what is kept ----------------------------------------------------------------------------------------------------
def test_real_statistics_are_computed_once_and_those_of_samples_never_kept():
    calls = []
    first = found("fid,kid", FAKE, REAL, network=network(calls=calls))
    assert sorted(path.parent.name for path in entries()) == ["features", "gaussians"]
    broken = dataclasses.replace(network(), apply=lambda images: {"features": jnp.full((len(images), 6), jnp.nan)})
    with pytest.raises(ValueError, match="150 of 150 images have features"):  # the samples, and not the real ones
        found("fid,kid", FAKE, REAL, network=broken)
    again = found("fid,kid", FAKE, REAL)
    assert [score.value for score in again.values()] == [score.value for score in first.values()]
    found("fid", FAKE, REAL, keep=True)
    assert len(entries()) == 3


@pytest.mark.parametrize("change", ["sha256", "resize", "name", "images"])
def test_other_weights_sizes_or_images_are_another_entry(change):
    cached.gaussian_of(network(), REAL)
    other = network() if change == "images" else dataclasses.replace(network(), **{change: "other"})
    images = REAL.copy()
    images[0, 0, 0, 0] ^= change == "images"
    cached.gaussian_of(other, images)
    assert len(entries()) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "shifted", "flipped"])
def test_a_damaged_entry_is_computed_again(damage):
    expected = cached.gaussian_of(network(), REAL)
    (path,) = entries()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes({"cut": whole[:-99], "empty": b"", "shifted": b"PK" + whole, "flipped": bytes(flipped)}[damage])
    for _ in range(2):
        np.testing.assert_array_equal(cached.gaussian_of(network(), REAL).covariance, expected.covariance)
    assert entries() == [path]


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "file"))
    assert cached.gaussian_of(network(), REAL).count == 300


def test_where_it_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("JAXGAN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "jaxgan"


# --- the record ------------------------------------------------------------------------------------------------------
def test_names_tell_published_numbers_from_our_own():
    assert found("fid", FAKE, REAL)["fid"].name == "Fréchet distance, classifier features house-of-cards"
    inception = network("inception-v3-torch-fidelity")
    assert found("fid", FAKE, REAL, network=inception)["fid"].name == "FID (inception-v3-torch-fidelity)"
    assert found("swd", FAKE, REAL)["swd"].name == "sliced Wasserstein distance of pixels"


def test_a_record_holds_the_protocol():
    score = found("kid", FAKE, REAL)["kid"]
    kept = json.loads(json.dumps(record(score, step=7, weights="ema")))
    assert kept["features"] == {"network": "house-of-cards", "sha256": "ab", "resize": "none"}
    expected = {"key": "kid", "metric": "kid", "version": 1, "samples": 150, "real": 150, "step": 7, "weights": "ema"}
    assert expected.items() <= kept.items() and kept["value"] == score.value and kept["std"] == score.std
    assert set(kept["libraries"]) >= {"jaxgan", "jax", "numpy"}
    assert record(found("swd", FAKE, REAL)["swd"])["features"] is None


@pytest.mark.parametrize("installed", ["nothing", "another version", "a record without a version"])
def test_a_record_needs_no_installed_package(installed, monkeypatch):
    """As in a checkout that isn't installed, or beside another version that is."""

    def version(name):
        if installed == "nothing":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.0.1" if installed == "another version" else None

    monkeypatch.setattr(importlib.metadata, "version", version)
    kept = record(found("swd", FAKE, REAL)["swd"])["libraries"]
    imported = {module.__name__: module.__version__ for module in (jax, flax, np, scipy)}
    others = dict.fromkeys(imported, "0.0.1") if installed == "another version" else imported
    assert kept == {"jaxgan": jaxgan.__version__, **others}
    assert versions("scikit-learn-or-none") in ({"scikit-learn-or-none": v} for v in ("unknown", "0.0.1"))
