"""Signs of a generator's health from its samples."""

import numpy as np
import pytest

from jaxgan import data
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.scoring.real_data import RealData
from jaxgan.training.scoring.signs import class_counts, signs_for

CENTRES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def of(dataset):
    return RealData(dataset, DataSpec.of(dataset), None)


def blobs(count, modes=4, seed=0, scale=1.0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % modes
    points = CENTRES[labels] + scale * random.normal(size=(count, 2))
    return points.astype(np.float32).reshape(count, 1, 1, 2), labels.astype(np.int32)


def labelled(images, labels, kind):
    names = tuple(map(str, range(labels.max() + 1)))
    return data.DataSet("some", {"image": images, "label": labels}, names, kinds={"image": kind})


def test_classes_are_those_of_the_nearest_real_example():
    points, labels = blobs(400)
    found = class_counts(np.array([[0.5, 0.1], [9, 1], [9, 0], [1, 8.5]], np.float32), points, labels, 4)
    assert found.tolist() == [1, 2, 1, 0]


def test_signs_of_points():
    signs = signs_for(of(labelled(*blobs(400), "points")))
    found = signs(blobs(200, seed=1)[0])
    assert found["samples"] == 200 and found["classes"] == [50] * 4 and found["expected"] == [0.25] * 4
    assert found["spread"] == pytest.approx(1, abs=0.1) and "distinct" not in found
    lost = signs(blobs(200, modes=2, seed=1)[0])
    assert lost["classes"] == [100, 100, 0, 0]
    assert signs(np.full((5, 1, 1, 2), np.nan, np.float32)) == {"samples": 5, "spread": None}


def test_classes_that_neighbours_do_not_tell_are_not_counted():
    points, labels = blobs(400, scale=40.0)
    assert "classes" not in signs_for(of(labelled(points, labels, "points")))(points)


def test_where_classes_took_turns_their_shares_are_equal():
    points, labels = blobs(400)
    some = np.r_[np.flatnonzero(labels == 0), np.flatnonzero(labels > 0)[:60]]
    signs = signs_for(of(labelled(points[some], labels[some], "points")))
    drawn = blobs(40, seed=2)[0]
    assert signs(drawn)["expected"] == [0.625, 0.125, 0.125, 0.125]
    assert signs(drawn, by_turns=True)["expected"] == [0.25] * 4


def test_signs_of_images():
    images = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 1), np.uint8)
    signs = signs_for(of(data.DataSet("noise", {"image": images})))
    assert signs(images[:64])["distinct"] >= 0.9 and signs(images[:64])["spread"] == pytest.approx(1, abs=0.05)
    same = signs(np.repeat(images[:1], 64, axis=0))
    assert same == {"samples": 64, "spread": 0.0, "distinct": 0.0}
    assert signs(np.zeros((3, 5, 5, 1), np.uint8)) == {"samples": 3, "spread": None}, "another size than the data's"
