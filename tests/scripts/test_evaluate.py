"""`scripts.evaluate`: what it scores, says, keeps and refuses."""

import json

import numpy as np
import pytest
from conftest import TINY_RUN, needs_tfds
from PIL import Image
from point_runs import points

from experiments import dcgan_mnist, gan_ring
from jaxgan.training import UsageError, train
from jaxgan.training.options.parsing import parse
from scripts import compare, evaluate

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def evaluated(run=None, **options):
    evaluate.run(evaluate.Options(run=run, **options))


def records(directory):
    return [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]


def a_run(folder, *more, dataset="digits"):
    arguments = [*TINY_RUN, "--steps", "2", "--workdir", str(folder), *more]
    arguments[arguments.index("--dataset") + 1] = dataset
    train(dcgan_mnist.build, parse(dcgan_mnist.Options, arguments))
    return folder


def test_a_run_is_scored_against_its_own_images(tmp_path, capsys):
    run = a_run(tmp_path / "run")
    capsys.readouterr()
    evaluated(run, count=40)
    said = capsys.readouterr().out
    assert "sliced Wasserstein distance of pixels" in said
    assert "real images: one half of the training images against the other" in said
    first = records(run)
    assert [row["key"] for row in first] == ["swd", "distinct", "spread"], "the floor is said and not kept"
    about = {"samples": 40, "dataset": "digits", "step": 2, "seed": 0, "weights": "ema", "latents_seed": 0}
    assert all(about.items() <= row.items() for row in first)
    evaluated(run, count=40, weights="raw", metrics="swd")
    assert [row["weights"] for row in records(run)] == ["ema"] * 3 + ["raw"]
    with pytest.raises(UsageError, match="two runs"):
        compare.run(compare.Options((run,)))


@pytest.mark.slow
def test_members_are_scored_one_by_one(tmp_path, capsys):
    train(gan_ring.build, points(tmp_path, seeds=3, steps=4))
    capsys.readouterr()
    evaluated(tmp_path / "run", count=50)
    said = capsys.readouterr().out
    values = [row["value"] for row in records(tmp_path / "run") if row["key"] == "quality"]
    assert len(values) == 3 and f"{np.mean(values):.4g} ± {np.std(values, ddof=1):.2g}" in said
    assert "member 2" in said and [row["seed"] for row in records(tmp_path / "run")][::2] == [0, 1, 2]
    evaluated(tmp_path / "run", count=50, member=1)
    alone = records(tmp_path / "run")[-1]
    assert (alone["member"], alone["seed"]) == (1, 1) and alone["value"] == values[1]


def test_a_folder_against_an_npz_file(tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (20, 9, 9, 3)).astype(np.uint8)
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "folder" / f"{i:02}.png")
    np.savez(tmp_path / "real.npz", images=images)
    evaluated(generated=str(tmp_path / "folder"), reference=str(tmp_path / "real.npz"), metrics="swd")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split("  ")[1].strip() == "0" and "10 against 10" in lines[2]
    assert lines[3] == "real images: one half of the reference, by the other"


@pytest.mark.parametrize(
    "images, said",
    [
        (np.zeros((5, 9, 9, 1), np.uint8), "images of 9×9×1 against real ones of 9×9×3"),
        (np.zeros((0, 9, 9, 3), np.uint8), "N > 0 is expected"),
        (np.zeros((5, 9, 9, 3)), "uint8 in 0..255 is expected"),
        (np.zeros((5, 8, 9, 3), np.uint8), "images of 8×9×3 against real ones of 9×9×3"),
    ],
    ids=["grey", "none", "floats", "another size"],
)
def test_images_that_do_not_fit_are_refused_in_a_line(images, said, tmp_path):
    real = np.random.default_rng(0).integers(0, 256, (20, 9, 9, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    np.savez(tmp_path / "b.npz", images=real)
    with pytest.raises(Exception, match=said) as error:
        evaluated(generated=str(tmp_path / "a.npz"), reference=str(tmp_path / "b.npz"))
    assert type(error.value).__name__ in ("UsageError", "DataError") and "\n" not in str(error.value)


def test_a_folder_of_mixed_sizes_is_refused(tmp_path):
    for name, size in (("a", 9), ("b", 8)):
        Image.fromarray(np.zeros((size, size), np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(Exception, match=r"b\.png has 8×8×1 pixels and channels, .*a\.png 9×9×1"):
        evaluated(generated=str(tmp_path), reference=str(tmp_path))


def test_what_is_asked_for_wrongly_is_refused(tmp_path):
    run = a_run(tmp_path / "run")
    for wrong, said in {
        (): "name a run directory, or --generated and --reference",
        (tmp_path / "nothing",): "no run directory",
    }.items():
        with pytest.raises(UsageError, match=said):
            evaluated(*wrong)
    for options, said in {
        ("metrics", "fid"): "digits has no features of its own; give --inception-weights FILE",
        ("step", "best"): "no best checkpoint",
        ("step", 7): "no checkpoint of step 7",
        ("member", 0): "there is no member 0",
        ("inception_weights", str(tmp_path / "none.pth")): "it is not there",
        ("generated", "a"): "name a run directory, or",
    }.items():
        with pytest.raises(UsageError, match=said):
            evaluated(run, **dict([options]))
    with pytest.raises(UsageError, match="--count must be at least 2"):
        evaluate.Options(run=run, count=1)


def test_data_that_changed_since_are_refused(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1)).astype(np.uint8)
    np.savez(tmp_path / "set.npz", images=images)
    run = a_run(tmp_path / "run", dataset=f"npz:{tmp_path / 'set.npz'}")
    np.savez(tmp_path / "set.npz", images=255 - images)
    with pytest.raises(UsageError, match=r"is not what .* was trained on: its checksum is"):
        evaluated(run)


@pytest.mark.data
@needs_tfds
@pytest.mark.slow
def test_mnist_by_classifier_features_and_against_its_test_images(tmp_path, capsys):
    run = a_run(tmp_path / "run", dataset="mnist")
    capsys.readouterr()
    evaluated(run, metrics="fid,kid,is,prdc,modes", count=1500)
    said = capsys.readouterr().out
    assert "Fréchet distance, classifier features mnist-v1" in said and "FID" not in said
    assert "real images: the test images" in said and "1,500 against 60,000" in said
    assert "a packaged classifier's features compare only with each other" in said
    found = {row["key"]: row for row in records(run)}
    assert found["fid"]["real"] == 60_000 and found["fid"]["value"] > 100
    assert found["modes"]["constants"] == {"of": 10}


@pytest.mark.data
@needs_tfds
@pytest.mark.slow
def test_stacked_digits_are_counted_beside_their_floors(tmp_path, capsys):
    run = a_run(tmp_path / "run", dataset="stacked_mnist")
    capsys.readouterr()
    evaluated(run, count=2000)
    said = capsys.readouterr().out
    assert "KL of a perfect sampler" in said and "real images: the test images" in said
    found = {row["key"]: row for row in records(run)}
    assert found["modes"]["value"] < 200 and found["modes"]["features"]["network"] == "mnist-v1"
    with pytest.raises(UsageError, match=r"stacked_mnist has no features of its own; .* or take --metrics modes"):
        evaluated(run, metrics="fid")
