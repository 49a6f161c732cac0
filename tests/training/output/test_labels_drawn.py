"""Labels that samples are drawn by: as often as the data have them for scores of sets, by turns for those of
classes."""

import json

import jax
import numpy as np
import perfect
import PIL.Image
import pytest
from conftest import needs_tfds

from jaxgan import data
from jaxgan.data.sets import DataSet
from jaxgan.training import DataSpec, Options, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.recipe.data_spec import Field
from scripts import evaluate, sample

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def drawing(counts):
    fields = {"image": Field("image", (2, 2, 1)), "label": Field("label", classes=len(counts), counts=tuple(counts))}
    perfect.OTHERS["some"] = np.zeros((len(counts), 1, 2, 2, 1), np.uint8)
    spec = DataSpec("some", sum(counts), fields)
    return Drawing(perfect.build(Options(), spec), spec, perfect.State(np.int32(0), jax.random.key(0)))


@pytest.mark.parametrize(
    "counts", [(95, 5), (1, 1), (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949), (7, 0, 3)], ids=str
)
def test_classes_come_as_often_as_the_data_have_them(counts):
    draws = drawing(counts)
    assert draws.by_label and draws.about() == {"labels": "as often as in the data"}
    labels = draws.labels(0, 20_000)
    shares = np.array(counts) / sum(counts)
    for count in (10, 100, 999, 20_000):
        found = np.bincount(labels[:count], minlength=len(counts))
        assert np.abs(found - count * shares).max() < 3, "of any number of samples, but for a few"
    assert (np.bincount(labels, minlength=len(counts))[np.array(counts) == 0] == 0).all()
    np.testing.assert_array_equal(draws.labels(5000, 100), labels[5000:5100])


def test_many_classes_of_unequal_size():
    counts = np.random.default_rng(0).integers(1, 1000, 1000)
    labels = drawing(counts.tolist()).labels(0, 100_000)
    found = np.bincount(labels, minlength=1000)
    assert np.abs(found - 100_000 * counts / counts.sum()).max() < 4


def test_by_turns_and_all_of_one_label():
    draws = drawing((95, 5, 3))
    assert draws.labels(0, 7, run=2).tolist() == [0, 0, 1, 1, 2, 2, 0] and draws.about(run=2) == {"labels": "by turns"}
    assert draws.labels(3, 3, label=2).tolist() == [2, 2, 2] and draws.about(label=2) == {"labels": "all 2"}
    old = drawing((1, 1, 1))
    old.data = DataSpec.single("old", 10, (2, 2, 1), 3)  # a run's record from before classes were counted
    assert old.labels(0, 4).tolist() == [0, 1, 2, 0] and "isn't recorded" in old.about()["labels"]


@pytest.mark.parametrize("counts", [(0, 4, 4, 4), (4, 4, 0, 4), (4, 0, 4, 0, 4), (0, 0, 3)], ids=str)
def test_classes_without_images_are_never_drawn(counts):
    """Labels from 1, gaps, and one class alone: each of the others has its turn."""
    draws, present = drawing(counts), [label for label, count in enumerate(counts) if count]
    expected = [label for label in present for _ in range(8)]
    assert draws.labels(0, 8 * len(present), run=8).tolist() == expected
    assert draws.labels(3, 5, run=1).tolist() == [present[i % len(present)] for i in range(3, 8)]
    assert draws.grid_shape() == ((len(expected), 8) if len(present) > 1 else (64, None))
    assert set(draws.labels(0, 500).tolist()) == set(present)


def test_a_grid_has_a_row_for_each_of_up_to_16_classes_with_images():
    many = np.zeros(1000, int)
    many[10:990:70] = 3
    assert drawing(many.tolist()).grid_shape() == (8 * 14, 8)


def test_labels_from_one(tmp_path, capsys):
    """Class 0 has no image: that is said, and it is neither in pictures nor in scores, nor drawn when asked for."""
    given = unbalanced()
    given = data.from_arrays("unbalanced", given.images, given.labels + 1)
    perfect.OTHERS["unbalanced"] = np.concatenate([np.full((1, 500, 4, 4, 1), 100), perfect.OTHERS["unbalanced"]])
    options = {"steps": 1, "sample_every": 1, "batch_size": 4, "devices": 1, "eval_every": 1, "eval_count": 40}
    train(perfect.build, Options(workdir=str(tmp_path / "run"), metrics="swd", **options), data=given)
    assert capsys.readouterr().out.count("NOTE: class 0 of unbalanced, of 0 to 2, has no images") == 1
    run = open_run(tmp_path / "run")
    with PIL.Image.open(tmp_path / "run" / "samples" / "00000001.png") as picture:
        shown = np.asarray(picture)
    np.testing.assert_array_equal(shown[..., None].shape, run.picture(*run.drawing.grid_shape()).shape)
    assert shown.shape == (2 * 10 + 2, 8 * 10 + 2) and shown[2:10, 2:10].max() < 40 < 200 <= shown[12:20, 2:10].min()
    with pytest.raises(UsageError, match=r"class 0 of unbalanced has no images, .* must be one of 1 to 2"):
        run.draw(4, label=0)
    assert set(run.draw(99)["label"].tolist()) == set(run.draw(99, run=1)["label"].tolist()) == {1, 2}


def unbalanced():
    """200 images of which 5 % are bright, the others dark; others like them, which the generator draws."""
    random = np.random.default_rng(0)

    def images(labels):
        noise = random.integers(0, 40, (*labels.shape, 4, 4, 1))
        return (noise + 200 * labels[..., None, None, None]).astype(np.uint8)

    labels = (np.arange(200) % 20 == 0).astype(np.int32)
    perfect.OTHERS["unbalanced"] = images(np.array([[0] * 500, [1] * 500]))
    return data.from_arrays("unbalanced", images(labels), labels)


def sliced(images, real):
    """The Wasserstein distance along the one direction in which the two classes differ, by hand: of mean brightness."""
    one, other = (np.sort(each.reshape(len(each), -1).mean(1) / 127.5) for each in (images, real))
    return np.sqrt(np.mean((one - other) ** 2))


def test_a_perfect_generator_of_unbalanced_classes_is_perfect(tmp_path):
    given = unbalanced()
    options = {"steps": 2, "checkpoint_every": 2, "sample_every": 2, "batch_size": 4, "devices": 1}
    options |= {"eval_every": 2, "eval_count": 200, "metrics": "swd"}
    train(perfect.build, Options(workdir=str(tmp_path / "run"), **options), data=given)
    run = open_run(tmp_path / "run")
    drawn, turns = run.draw(200), run.draw(200, run=1)
    assert np.bincount(drawn["label"]).tolist() == [190, 10] and np.bincount(turns["label"]).tolist() == [100, 100]
    near, far = (sliced(each["image"], given.images) for each in (drawn, turns))
    assert near < 0.02 and far > 0.9
    on_the_way = [json.loads(line) for line in (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()]
    found, _ = evaluate.of_run(
        evaluate.Options(run=tmp_path / "run", metrics="swd", count=200), tmp_path / "run", given
    )
    for record in (*found, on_the_way[0]):
        assert record["key"] == "swd" and record["labels"] == "as often as in the data"
        assert record["value"] < 0.05 < far / 4
    sample.save(tmp_path / "drawn.npz", run, run.draw(200))
    with np.load(tmp_path / "drawn.npz") as file:
        np.testing.assert_array_equal(file["labels"], drawn["label"])
        np.testing.assert_array_equal(file["images"], drawn["image"])


def test_pictures_have_a_class_a_row_all_the_same(tmp_path):
    train(perfect.build, Options(workdir=str(tmp_path / "run"), steps=1, batch_size=4, devices=1), data=unbalanced())
    run = open_run(tmp_path / "run")
    assert run.drawing.grid_shape() == (16, 8)
    shown = run.picture(16, 8)
    assert shown.shape == (2 * 10 + 2, 8 * 10 + 2, 1)
    assert shown[2:10, 2:10].max() < 40 and shown[12:20, 2:10].min() >= 200


@pytest.mark.data
@needs_tfds
@pytest.mark.slow
def test_the_frechet_distance_of_a_perfect_generator(tmp_path):
    """Ones and zeros of MNIST at 95:5, drawn by a generator that returns test digits: by turns it is at 47.5, as the
    data have them at 0.2 (900 images of each)."""
    train_set, test = (data.open_source("mnist", split=split) for split in ("train", "test"))

    def digits(source, label, count):
        places = np.flatnonzero(source.labels == label)[:count]
        return np.stack([source[int(i)] for i in places])

    labels = (np.random.default_rng(0).uniform(size=900) < 0.95).astype(np.int32)
    images = np.empty((900, 28, 28, 1), np.uint8)
    for label in (0, 1):
        images[labels == label] = digits(train_set, label, int(np.sum(labels == label)))
    perfect.OTHERS["mnist"] = np.stack([digits(test, label, 980) for label in (0, 1)])
    given = DataSet("mnist", {"image": images, "label": labels}, ("0", "1"))
    train(perfect.build, Options(workdir=str(tmp_path / "run"), steps=1, batch_size=4, devices=1), data=given)
    asked = evaluate.Options(run=tmp_path / "run", metrics="fid,classes", count=900, feature_network="mnist-v1")
    found, _ = evaluate.of_run(asked, tmp_path / "run", given)
    values = {record["key"]: record for record in found}
    assert values["fid"]["value"] < 0.5 and values["fid"]["labels"] == "as often as in the data"
    assert values["agreement"]["value"] > 0.99 and values["agreement"]["labels"] == "by turns"
