"""`scripts.evaluate` of runs that restore: what copying the source scores, and whole pictures of a folder."""

import json
import shutil

import numpy as np
import pytest
from enlarging import SCALE, Options, build
from PIL import Image

from jaxgan import data
from jaxgan.training import UsageError, train
from scripts import compare, evaluate

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def scene(height, width, channels=3, seed=0):
    y, x = np.mgrid[:height, :width]
    random = np.random.default_rng(seed)
    waves = [128 + 100 * np.sin(x / a + y / b + seed) for a, b in random.uniform(2, 9, (channels, 2))]
    return np.clip(np.rint(np.stack(waves, -1) + random.normal(0, 3, (height, width, channels))), 0, 255).astype(
        np.uint8
    )


SETS = {
    channels: data.from_arrays("scenes", np.stack([scene(24, 20, channels, i) for i in range(40)]))
    for channels in (1, 3)
}


def a_run(folder, channels=3, **more):
    settings = {"workdir": str(folder), "steps": 2, "batch_size": 4, "dataset": "scenes", **more}
    train(build, Options(**settings), data=SETS[channels])
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return a_folder(tmp_path_factory.mktemp("pictures"))


def a_folder(path):
    folder = path / "pictures"
    folder.mkdir()
    for i, size in enumerate([(41, 50), (32, 33)]):
        Image.fromarray(scene(*size, seed=i)).save(folder / f"{i}.png")
    return folder


def luma(image):
    return np.floor(16 + image.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255 + 0.5)


def psnr_y(image, target):
    inside = slice(SCALE, -SCALE)
    difference = (luma(image) - luma(target))[inside, inside]
    return 10 * np.log10(255**2 / np.mean(difference**2))


def records(directory):
    return [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]


def scored(run, **options):
    evaluate.run(evaluate.Options(run=run, experiment="enlarging", **options))


@pytest.mark.slow
def test_copying_the_source_stands_beside_scores_of_pairs(tmp_path):
    run = a_run(tmp_path / "run", seeds=2)
    options = evaluate.Options(run=run, experiment="enlarging", metrics="psnr,psnr_y,swd", count=10)
    found, floor = evaluate.of_run(options, run, SETS[3])
    drawn = evaluate.open_checkpoint(run, options, SETS[3]).draw(10)
    for one in found:
        if one["key"] == "swd":
            assert "copied" not in one
            continue
        assert one["copied"]["output"] == "bicubic"
        expected = [psnr_y(a, b) for a, b in zip(drawn["bicubic"][0], drawn["target"][0], strict=True)]
        if one["key"] == "psnr_y":
            assert one["copied"]["value"] == pytest.approx(np.mean(expected), abs=1e-3)
            mine = [psnr_y(drawn["image"][one["member"]][i], drawn["target"][one["member"]][i]) for i in range(10)]
            assert one["value"] == pytest.approx(np.mean(mine), abs=1e-3)
            assert one["constants"] == {"colour": "Y of BT.601, 16 to 235, rounded", "border": SCALE}
    table = evaluate.table(found, floor)
    assert "bicubic, copied" in table[0] and f"{found[0]['copied']['value']:.4g}" in table[1]


def test_whole_pictures_are_scored(tmp_path, pictures, capsys):
    run = a_run(tmp_path / "run")
    capsys.readouterr()
    scored(run, pictures=str(pictures), interpolation=0.0)
    said = capsys.readouterr().out
    found = {one["key"]: one for one in records(run)}
    assert list(found) == ["psnr_y", "ssim_y", "psnr", "ssim", "perceptual"]
    one = found["psnr_y"]
    for name, size in {"0.png": (40, 50), "1.png": (32, 32)}.items():  # rows and columns left out at the end
        target = np.asarray(Image.open(pictures / name))[: size[0], : size[1]]
        small = imresized(target, (size[0] // 2, size[1] // 2))
        bicubic = imresized(small, size)
        assert one["each"][name] == pytest.approx(psnr_y(bicubic, target), abs=0.02)
        assert one["copied"]["each"][name] == one["each"][name]  # at 0 nothing is sharpened
    assert one["value"] == pytest.approx(np.mean(list(one["each"].values()))) and one["samples"] == 2
    assert one["how"] == {"interpolation": 0.0} and one["crop"] == "to multiples of 2" and one["compares"] == "pairs"
    assert "0.png" in said and "bicubic" in said and "2 pictures, cut to multiples of 2" in said
    scored(run, pictures=str(pictures), metrics="psnr_y")
    assert records(run)[-1]["value"] != one["value"] and records(run)[-1]["how"] == {}


def test_scores_that_suit_all_pictures_unless_they_are_named(tmp_path):
    run, folder = a_run(tmp_path / "run"), a_folder(tmp_path)
    Image.fromarray(scene(8, 9)).save(folder / "small.png")  # read last, and smaller than SSIM's window
    scored(run, pictures=str(folder))
    found = {one["key"]: one for one in records(run)}
    assert {"psnr_y", "psnr"} <= set(found) <= {"psnr_y", "psnr", "perceptual"}
    assert found["psnr"]["samples"] == 3 and list(found["psnr"]["each"]) == ["0.png", "1.png", "small.png"]
    with pytest.raises(UsageError, match=r"small\.png: expected images of at least 11×11 pixels, got 8×8"):
        scored(run, pictures=str(folder), metrics="ssim")


def test_what_sources_score_is_no_part_of_the_protocol(tmp_path, capsys):
    """Two runs are compared though each picture of theirs, and its source, scored otherwise."""
    run = a_run(tmp_path / "run")
    about = {"key": "psnr_y", "name": "PSNR", "metric": "psnr_y", "samples": 1, "real": 0, "std": None}
    about |= {"step": 2, "member": None, "constants": {"border": 2}, "dataset": "set5"}
    for name, value in (("run", 30.0), ("other", 31.0)):
        if name == "other":
            shutil.copytree(run, tmp_path / name)
        one = about | {"value": value, "each": {"a.png": value}, "copied": {"output": "bicubic", "value": value - 1}}
        (tmp_path / name / "evaluations.jsonl").write_text(json.dumps(one) + "\n")
    compare.run(compare.Options((run, tmp_path / "other")))
    said = capsys.readouterr().out
    assert "higher is better" in said and said.index("31") < said.index("30")


def imresized(image, size):
    """Pillow's bicubic in float64 borders aside: its border continues nothing, so only the border differs."""
    planes = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
    padded = [np.pad(np.asarray(plane), 16, mode="symmetric") for plane in planes]
    scale = size[0] / image.shape[0]
    wide = (round((image.shape[1] + 32) * scale), round((image.shape[0] + 32) * scale))
    made = [np.asarray(Image.fromarray(plane).resize(wide, Image.Resampling.BICUBIC)) for plane in padded]
    margin = round(16 * scale)
    inside = np.stack(made, -1)[margin : margin + size[0], margin : margin + size[1]]
    return np.clip(np.rint(inside), 0, 255).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["psnr_y", "ssim", "l1", "retrieval"])
def test_checkpoints_are_ranked_by_scores_of_pairs(tmp_path, metric):
    run = a_run(tmp_path / "run", steps=6, eval_every=2, eval_count=16, metrics=metric)
    values = {one["step"]: one["value"] for one in records(run) if one["key"] == metric}
    assert sorted(values) == [2, 4, 6]
    best = (min if metric == "l1" else max)(values, key=values.get)
    assert [path.name for path in (run / "best").iterdir() if path.name.isdigit()] == [str(best)]
    scored(run, pictures=str(a_folder(tmp_path)), metrics="psnr_y", step="best")
    assert records(run)[-1]["step"] == best


@pytest.mark.slow
def test_pictures_of_an_ensemble_and_of_grey_levels(tmp_path, pictures, capsys):
    run = a_run(tmp_path / "run", channels=1, seeds=2)
    capsys.readouterr()
    scored(run, pictures=str(pictures), metrics="psnr_y")
    said = capsys.readouterr().out
    both = records(run)
    assert [one["member"] for one in both] == [0, 1] and both[0]["value"] != both[1]["value"]
    assert both[0]["constants"]["colour"] == "grey levels"
    assert both[0]["converted"] == "2 of 2 pictures to Y of BT.601, 16 to 235, rounded"
    assert "member 0" in said and "±" in said
    # The luma of what is made in colours and in luma is the same but for rounding.
    coloured = a_run(tmp_path / "coloured", seeds=2)
    scored(coloured, pictures=str(pictures), metrics="psnr_y")
    assert records(coloured)[0]["copied"]["value"] == pytest.approx(both[0]["copied"]["value"], abs=0.1)


def test_what_can_not_be_scored_is_refused(tmp_path, pictures):
    run = a_run(tmp_path / "run")
    with pytest.raises(UsageError, match="--interpolation must be given with --pictures"):
        scored(run, interpolation=0.5)
    with pytest.raises(UsageError, match="--count must be left out where --pictures"):
        scored(run, pictures=str(pictures), count=5)
    with pytest.raises(UsageError, match=r"--to must be what .* restores, image, got imag; perhaps you meant image"):
        scored(run, pictures=str(pictures), to="imag")
    with pytest.raises(UsageError, match="--metrics must be of pictures one by one"):
        scored(run, pictures=str(pictures), metrics="psnr,retrieval")
    with pytest.raises(UsageError, match=r"a folder of pictures, or a \.zip of one, got digits"):
        scored(run, pictures="digits")
    with pytest.raises(data.DataError):
        scored(run, pictures=str(tmp_path / "nothing"))
    small = tmp_path / "small"
    small.mkdir()
    Image.fromarray(scene(1, 9)).save(small / "thin.png")
    with pytest.raises(UsageError, match=r"thin\.png: a picture of 1×9 pixels can't be shrunk 2 times"):
        scored(run, pictures=str(small))
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(small / "thin.png")  # which stays as it is
    with pytest.raises(UsageError, match="all 1 pairs are of equal images: their psnr is infinite"):
        scored(run, pictures=str(small), metrics="psnr")
    (small / "thin.png").write_bytes(b"no picture")
    with pytest.raises(data.DataError, match=r"thin\.png is no picture"):
        scored(run, pictures=str(small))
