"""`scripts.evaluate`: what it scores, says, keeps and refuses."""

import json

import jax
import numpy as np
import pytest
from conftest import TINY_RUN, needs_tfds
from PIL import Image
from point_runs import points

from experiments import dcgan_mnist, gan_ring
from jaxgan import data
from jaxgan.data.sources import toys
from jaxgan.evaluation import sliced_wasserstein
from jaxgan.training import UsageError, train
from jaxgan.training.options.parsing import parse
from scripts import compare, compared_sets, evaluate

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
def test_scores_of_truncated_samples_say_so_and_are_not_ranked_with_others(tmp_path, capsys):
    run, other = a_run(tmp_path / "run"), a_run(tmp_path / "other", "--seed", "1")
    for directory in (run, other):
        evaluated(directory, count=40, metrics="diversity", truncation=0.0)
    evaluated(run, count=40, metrics="diversity", truncation=1.0)
    said = capsys.readouterr().out
    assert said.count(", truncation 0  ") == 4
    truncated, whole = records(run)[:2], records(run)[2:]
    assert [row["key"] for row in truncated] == [row["key"] for row in whole]
    assert all(row["truncation"] == 0 and row["name"].endswith(", truncation 0") for row in truncated)
    assert all("truncation" not in row and "truncation" not in row["name"] for row in whole)
    assert [row["value"] for row in truncated] == [0, 0], "all are one image"
    assert any(row["value"] > 0 for row in whole)
    compare.run(compare.Options((run, other)))
    said = capsys.readouterr().out
    assert "truncation 0: 40 samples" in said and "differ in truncation: 0.0 or null" in said


@pytest.mark.slow
def test_averages_are_scored_side_by_side(tmp_path, capsys):
    """A row each, below each other, with the floor that all share."""
    run = a_run(tmp_path / "run", "--power-ema", "0.05", "0.10")
    capsys.readouterr()
    evaluated(run, count=40, metrics="swd,diversity", weights="ema,0.10,raw,0.1")
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if " weights " in line]
    assert [line.split(" weights ")[0].split(", ")[-1] for line in rows] == ["ema", "0.1", "raw"] * 3
    assert len({line.split("  ")[-2:][0] for line in rows[:3]}) == 1
    kept = records(run)
    assert len(kept) == 9 and {row["weights"] for row in kept} == {"ema", "0.1", "raw"}
    evaluated(run, count=40, metrics="swd", weights="0.1")
    alone = records(run)[-1]
    assert alone["value"] == next(row["value"] for row in kept if row["weights"] == "0.1" and row["key"] == "swd")
    with pytest.raises(UsageError, match=r"^weights must be one of ema, raw, 0\.05, 0\.1, got 0\.2$"):
        evaluated(run, count=40, weights="ema,0.2")


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
        (np.zeros((5, 9, 9, 1), np.uint8), r"a\.npz has images of 9×9×1, .*b\.npz images of 9×9×3; .* --channels 3"),
        (np.zeros((0, 9, 9, 3), np.uint8), "N > 0 is expected"),
        (np.zeros((5, 9, 9, 3)), "uint8 in 0..255 is expected"),
        (np.full((5, 9, 9, 3), np.nan), "uint8 in 0..255 is expected"),
        (np.zeros((5, 8, 9, 3), np.uint8), r"a\.npz has images of 8×9×3, .*b\.npz images of 9×9×3; --image-size 9"),
        (np.zeros((1, 9, 9, 3), np.uint8), "diversity takes at least 2 examples to score, got 1"),
    ],
    ids=["grey", "none", "floats", "NaN", "another size", "one"],
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
    with pytest.raises(Exception, match=r"b\.png has 8×8 pixels, not 9×9; choose an --image-size"):
        evaluated(generated=str(tmp_path), reference=str(tmp_path))
    evaluated(generated=str(tmp_path), reference=str(tmp_path), image_size=4, metrics="swd")


def test_grey_and_colour_in_a_folder_are_refused_and_made_alike(tmp_path):
    for name, shape in (("a", (9, 9)), ("b", (9, 9, 3))):
        Image.fromarray(np.full(shape, 50, np.uint8)).save(tmp_path / f"{name}.png")
    for _ in range(2):  # what was converted before, and is in the cache, changes nothing
        with pytest.raises(Exception, match=r"b\.png is colour, and the first image grey; --channels 3, or 1,"):
            evaluated(generated=str(tmp_path), reference=str(tmp_path), metrics="swd")
        for channels in (1, 3):
            evaluated(generated=str(tmp_path), reference=str(tmp_path), metrics="swd", channels=channels)


def kept(tmp_path, **options):
    evaluated(out=tmp_path / "scores.json", **options)
    return json.loads((tmp_path / "scores.json").read_text())


def test_sets_are_given_by_name_and_prepared_alike(tmp_path, capsys):
    """Against digits of scikit-learn, which --image-size 28 leaves as they are and pads to 32."""
    digits = data.open_source("digits")
    np.savez(tmp_path / "a.npz", images=digits.images[:60])
    first = kept(tmp_path, generated=f"npz:{tmp_path / 'a.npz'}", reference="digits", metrics="swd")
    assert [row["dataset"] for row in first] == ["digits"] * 2 and "prepared" not in first[0]
    assert (first[0]["split"], first[0]["size"], first[0]["real"]) == ("train", [28, 28, 1], 60)

    def order(count):
        return np.random.default_rng(0).permutation(count)

    mine, real = digits.images[:60][order(60)], digits.images[order(len(digits))][:60]
    assert first[0]["value"] == float(sliced_wasserstein(jax.random.key(0), mine, real))

    how = {"image_size": 32, "fit": "pad", "channels": 1, "classes": "3,7"}
    padded = kept(tmp_path, generated=str(tmp_path / "a.npz"), reference="digits", metrics="swd", **how)
    assert padded[0]["prepared"] == {**how, "filter": "lanczos"} == padded[1]["prepared"]
    chosen = digits.images[np.isin(digits.labels, (3, 7))]
    around = ((0, 0), (2, 2), (2, 2), (0, 0))
    real = np.pad(chosen[order(len(chosen))][:60], around)
    assert padded[0]["value"] == float(sliced_wasserstein(jax.random.key(0), np.pad(mine, around), real))
    assert padded[0]["content"] != first[0]["content"] and padded[0]["size"] == [32, 32, 1]
    other = kept(tmp_path, generated=str(tmp_path / "a.npz"), reference="digits", metrics="swd", image_size="14x20")
    assert other[0]["prepared"] == {"image_size": "14x20", "fit": "crop", "filter": "lanczos"}
    assert other[0]["size"] == [14, 20, 1]


def test_a_name_is_the_set_and_a_path_what_lies_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("digits", "mine"):
        (tmp_path / folder).mkdir()
        for i in range(4):
            Image.fromarray(np.full((28, 28), 9 * i, np.uint8)).save(tmp_path / folder / f"{i}.png")
    for reference, count in {"digits": 1797, "./digits": 4, "folder:digits": 4, "mine": 4}.items():
        assert len(compared_sets.open_compared(reference, compared_sets.SetOptions(), None).examples) == count
    assert capsys.readouterr().err.count("NOTE: digits is the data set of that name; ./digits would be") == 1
    with pytest.raises(UsageError, match=r"^nosuch is no file or folder, and data set 'nosuch' is not prepared"):
        evaluated(generated="mine", reference="nosuch", data_dir=str(tmp_path))


def test_points_and_vectors_are_sets_too(tmp_path):
    points = toys.ring()[0][:500].reshape(-1, 2)
    points[:100] += 0.3  # ten standard deviations and more from where they were, and from all other modes
    np.savez(tmp_path / "points.npz", vectors=points)
    rows = kept(tmp_path, generated=str(tmp_path / "points.npz"), reference="ring")
    assert [row["key"] for row in rows] == ["modes", "quality"] * 2, "and the floor's"
    good = np.min(np.hypot(*(points[:, None] - toys.centres("ring")).transpose(2, 0, 1)), 1) <= 0.03
    assert rows[1]["value"] == pytest.approx(good.mean()) and good.mean() < 0.81
    np.savez(tmp_path / "vectors.npz", vectors=data.open_source("diabetes").images[:50])
    rows = kept(tmp_path, generated=str(tmp_path / "vectors.npz"), reference="diabetes")
    assert rows[0]["key"] == "vector_frechet" and (rows[0]["samples"], rows[0]["real"]) == (50, 442)
    nan = points.copy()
    nan[3, 1] = np.nan
    np.savez(tmp_path / "nan.npz", vectors=nan)
    for wrong, said in {
        ("nan.npz", "ring"): "vectors has nan in row 3, column 1",
        ("vectors.npz", "ring"): r"vectors\.npz has vectors of 10 numbers, ring points$",
        ("vectors.npz", "digits"): r"vectors\.npz has vectors of 10 numbers, digits images of 28×28×1$",
    }.items():
        with pytest.raises(Exception, match=said):
            evaluated(generated=str(tmp_path / wrong[0]), reference=wrong[1])


def test_options_of_sets_that_do_not_fit_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((40, 28, 28), np.uint8))
    one, run = str(tmp_path / "a.npz"), tmp_path / "run"
    for options, said in {
        ("count", 41): r"--count 41: .*a\.npz has 40 images; leave it out",
        ("reference", "a=digits,b=digits"): "a=digits,b=digits doesn't name one set",
        ("reference", "auto"): "auto doesn't name one set",
        ("truncation", 0.5): r"--truncation must be given with a run, not with --generated, got 0\.5",
        ("reference", "diabetes"): r"a\.npz has images of 28×28×1, diabetes vectors of 10 numbers",
        ("classes", "3,x"): "digits has no class 'x'",
    }.items():
        with pytest.raises(Exception, match=said):
            evaluated(**{"generated": one, "reference": "digits", **dict([options])})
    with pytest.raises(UsageError, match="diabetes is vectors, not images: leave out --channels 3"):
        evaluated(generated=one, reference="diabetes", channels=3)
    with pytest.raises(UsageError, match="--fit must be given together with --image-size, got pad"):
        evaluate.Options(generated=one, reference=one, fit="pad")
    with pytest.raises(UsageError, match="--image-size must be a side of the square, 64, or height and width, 48x64"):
        evaluate.Options(generated=one, reference=one, image_size="big")
    with pytest.raises(UsageError, match="--channels must be given with --generated, not with a run, got 1"):
        evaluated(run, channels=1)


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
    assert "compare only with each other, not with published numbers" in said
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
