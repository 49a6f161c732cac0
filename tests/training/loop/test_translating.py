"""Pairs and several sets through the loop, drawing, scores and pictures, none of which knows of them."""

import json
import zlib

import jax
import numpy as np
import pytest
import translating
from conftest import assert_same
from PIL import Image as Pillow
from translating import Options, build, numbered, pairs, sets

from jaxgan import data
from jaxgan.data import batch_indices
from jaxgan.evaluation import classifier_features
from jaxgan.state import ROLES
from jaxgan.training import DataSpec, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.data import DataOptions
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.recipe.loading import drawn_from, held_out, load
from jaxgan.training.scoring.measures import Measure
from jaxgan.training.scoring.monitor import ranking
from scripts import evaluate, sample

pytestmark = pytest.mark.usefixtures("as_users_have_it")
PAIRS, SETS = pairs(), sets()


def options(tmp_path, name="run", **changes):
    changes = {"steps": 6, "checkpoint_every": 3, "sample_every": 3, "batch_size": 4, "devices": 1} | changes
    return Options(workdir=str(tmp_path / name), **changes)


def records(directory):
    return [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]


def psnr(images, targets):
    """By hand, in float64: the mean over pairs of decibels."""
    mean = ((images.astype(float) - targets.astype(float)) ** 2).reshape(len(images), -1).mean(1)
    return np.mean(10 * np.log10(255**2 / mean))


# --- pairs ------------------------------------------------------------------------------------------------------------
def test_pairs_are_trained_drawn_and_scored(tmp_path, capsys):
    state = train(build, options(tmp_path, hold_out="25%"), data=PAIRS)
    assert int(state.step) == 6
    run = open_run(tmp_path / "run", data=PAIRS)
    assert run.data.count == 30 and run.drawing.takes == {("source",), ("image",)} and run.drawing.main == "image"
    drawn = run.draw(10)
    assert list(drawn) == ["source", "image", "target"]
    assert [drawn[name].shape for name in drawn] == [(10, 12, 11, 1), (10, 12, 11, 3), (10, 12, 11, 3)]
    np.testing.assert_array_equal(np.rint(drawn["target"].mean(-1, keepdims=True)), drawn["source"])
    trained = load(DataOptions(hold_out="25%"), PAIRS)
    known = {image.tobytes() for image in trained.images}
    assert len(known) == 30 and not known & {image.tobytes() for image in drawn["target"]}, "none that it learned of"
    # The affine map that was learned, in NumPy.
    weight, bias = np.asarray(state.weight, np.float64), np.asarray(state.bias, np.float64)
    expected = np.clip((drawn["source"] / 127.5 - 1) * weight + bias, -1, 1)
    assert np.abs(drawn["image"] - (expected + 1) * 127.5).max() <= 0.51
    turned = run.draw(10, flipped=True)
    np.testing.assert_array_equal(turned["source"], drawn["source"][:, ::-1])

    found, floor = evaluate.of_run(
        evaluate.Options(run=tmp_path / "run", metrics="psnr,l1,swd", count=10), tmp_path / "run", PAIRS
    )
    values = {record["key"]: record for record in found}
    assert values["psnr"]["value"] == pytest.approx(psnr(drawn["image"], drawn["target"]), rel=1e-6)
    difference = np.abs(drawn["image"].astype(float) - drawn["target"]).mean() / 255
    assert values["l1"]["value"] == pytest.approx(difference, rel=1e-9)
    assert values["psnr"]["compares"] == "pairs" and "compares" not in values["swd"]
    assert {record["examples"] for record in found} == {"25% of the set, held out"}
    assert [record["key"] for record in floor] == ["swd"] and values["psnr"]["samples"] == 10
    assert any("10 pairs" in line for line in evaluate.table(found, floor))


def test_a_run_of_pairs_is_continued_with_the_same_bits(tmp_path):
    straight = train(build, options(tmp_path, "straight"), data=PAIRS)
    train(build, options(tmp_path, steps=3), data=PAIRS)
    assert_same(jax.tree.leaves(train(build, options(tmp_path), data=PAIRS)), jax.tree.leaves(straight))
    other = data.from_arrays("pairs", PAIRS.images, source=255 - PAIRS.arrays["source"])
    with pytest.raises(UsageError, match="content of the data"):
        train(build, options(tmp_path, steps=9), data=other)


def test_pictures_show_what_belongs_together(tmp_path):
    train(build, options(tmp_path), data=PAIRS)
    with Pillow.open(tmp_path / "run" / "samples" / "00000006.png") as sheet:
        shown = np.asarray(sheet)
    run = open_run(tmp_path / "run", data=PAIRS)
    count, _ = run.drawing.grid_shape()
    assert count == 64 // 3 and shown.shape[2] == 3
    examples = run.drawing.examples()
    assert examples.about == "training examples" and len(examples.examples["image"]) == 40
    first = shown[2 : 2 + 24 : 2, 2 : 2 + 66 : 2]  # doubled: source, image, target, 11 pixels each
    np.testing.assert_array_equal(first[:, :11], np.repeat(examples.examples["source"][0], 3, axis=-1))
    np.testing.assert_array_equal(first[:, 22:], examples.examples["image"][0])


def test_every_score_of_a_translator(tmp_path):
    """What auto takes; windows of SSIM need 11 pixels."""
    train(build, options(tmp_path, eval_every=3, eval_count=16, metrics="psnr", seeds=2), data=PAIRS)
    on_the_way = records(tmp_path / "run")
    assert {(record["key"], record["member"]) for record in on_the_way} == {
        (key, member) for key in ("psnr", "distinct", "spread") for member in (0, 1)
    }
    members = json.loads((tmp_path / "run" / "members.json").read_text())
    assert members["score_name"] == "PSNR in dB" and all(row["score"] > 1 for row in members["members"])
    found, _ = evaluate.of_run(
        evaluate.Options(run=tmp_path / "run", count=20, metrics="psnr"), tmp_path / "run", PAIRS
    )
    drawn = open_run(tmp_path / "run", data=PAIRS).draw(20)
    for record in found:
        images, targets = (drawn[name][record["member"]] for name in ("image", "target"))
        assert record["value"] == pytest.approx(psnr(images, targets), rel=1e-6)
    found, _ = evaluate.of_run(evaluate.Options(run=tmp_path / "run", count=20), tmp_path / "run", PAIRS)
    assert list(dict.fromkeys(record["key"] for record in found)) == [
        "swd",
        "distinct",
        "spread",
        "psnr",
        "ssim",
        "l1",
        "perceptual",
    ]


def test_scores_of_pairs_are_refused_where_there_are_none(tmp_path):
    train(build, options(tmp_path), data=SETS)
    for metrics in ("psnr", "swd,ssim"):
        with pytest.raises(UsageError, match=r"--metrics (psnr|ssim) compares pairs of images, and what .* no targets"):
            evaluate.of_run(evaluate.Options(run=tmp_path / "run", metrics=metrics), tmp_path / "run", SETS)
    train(build, options(tmp_path, "pairs"), data=PAIRS)
    for metrics, message in (("lpips", "needs weights"), ("ms_ssim", "at least 161×161 pixels, got 12×11")):
        with pytest.raises(UsageError, match=message):
            evaluate.of_run(evaluate.Options(run=tmp_path / "pairs", metrics=metrics), tmp_path / "pairs", PAIRS)


# --- several sets -----------------------------------------------------------------------------------------------------
def test_each_set_has_an_order_of_its_own(tmp_path):
    rows = []
    train(build, options(tmp_path, steps=20), lambda state, metrics: rows.append(metrics), data=SETS)
    metrics = {name: np.concatenate([row[name] for row in rows]).astype(int) for name in rows[0]}
    key = jax.random.fold_in(jax.random.key(0), ROLES["order"])
    for name, size, count in (("a", 4, 50), ("b", 8, 37)):
        seen = np.stack([metrics[f"{name}/{i}"] for i in range(size)], 1)
        words = np.asarray(jax.random.key_data(jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))))
        expected = np.stack([batch_indices(words, step, size, count) for step in range(20)])
        np.testing.assert_array_equal(seen, expected)
        whole = seen[: count // size].ravel()
        assert len(set(whole.tolist())) == len(whole), "an epoch has each once"
    logged = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(logged[-1])["images"] == 20 * 8


def test_several_sets_are_drawn_scored_and_continued(tmp_path):
    straight = train(build, options(tmp_path, "straight"), data=SETS)
    train(build, options(tmp_path, steps=3, eval_every=3, eval_count=16), data=SETS)
    state = train(build, options(tmp_path, eval_every=3, eval_count=16), data=SETS)
    assert_same(jax.tree.leaves(state), jax.tree.leaves(straight))
    kept = {(record["step"], record["output"], record["key"]) for record in records(tmp_path / "run")}
    assert kept == {(s, o, k) for s in (3, 6) for o in ("a", "b") for k in ("swd", "distinct", "spread")}
    with pytest.raises(UsageError, match="content of b of the data"):
        train(build, options(tmp_path, steps=9), data={**SETS, "b": numbered(38, (6, 12, 3), "coloured")})

    run = open_run(tmp_path / "run", data=SETS)
    assert run.data.sets["b"].shape == (6, 12, 3) and run.data.name == "a=grey,b=coloured"
    drawn = run.draw(60)
    assert list(drawn) == ["b", "a"] and drawn["a"].shape == (60, 8, 8, 1) and drawn["b"].shape == (60, 6, 12, 3)
    order = np.random.default_rng(0).permutation(50)  # sources of b come from a, and again from the first on
    mean = (order[np.arange(60) % 50] / 127.5 - 1)[:, None] * np.asarray(state.weight) + np.asarray(state.bias)
    assert np.abs(drawn["b"][:, 0, 0] - (np.clip(mean, -1, 1) + 1) * 127.5).max() <= 0.51
    found, floor = evaluate.of_run(
        evaluate.Options(run=tmp_path / "run", metrics="swd", count=30), tmp_path / "run", SETS
    )
    assert [record["output"] for record in found] == ["b", "a"] and len(floor) == 2
    assert [record["size"] for record in found] == [[6, 12, 3], [8, 8, 1]]
    lines = evaluate.table(found, floor)  # a row each, beside the floor of its own set
    for line, one, low in zip(lines[1:], found, floor, strict=True):
        assert line.startswith(f"{one['output']}: sliced Wasserstein distance of pixels  {one['value']:.4g}")
        assert f"{low['value']:.4g}" in line and low["output"] == one["output"] and low["size"] == one["size"]
    sample.save(tmp_path / "drawn.npz", run, run.draw(5))
    with np.load(tmp_path / "drawn.npz") as file:
        assert file["images"].shape == (5, 6, 12, 3) and file["a"].shape == (5, 8, 8, 1)


def test_what_checkpoints_of_several_outputs_are_ranked_by():
    """The first metric of the first output, if all can be scored by it; --metrics auto suits each set by itself."""
    network = classifier_features("mnist-v1")
    digits = Measure(("fid", "kid", "diversity"), network, "mnist")
    slanted = Measure(("swd", "diversity"), None, "slanted_mnist")
    assert ranking({"a": digits, "b": slanted}) == ranking({"b": slanted, "a": digits}) == "swd"
    assert ranking({"a": digits}) == ranking({"a": digits, "b": digits}) == "fid"
    assert ranking({"image": Measure(("modes",), None, "ring")}) == "modes"


def test_a_run_on_sets_of_ones_own_says_that_they_are_needed(tmp_path):
    train(build, options(tmp_path, steps=1), data=SETS)
    with pytest.raises(UsageError, match=r"depends on examples, and: .*'grey'.*`jaxgan\.training\.open\(RUN, data="):
        open_run(tmp_path / "run").sample(2)


def test_sets_with_and_without_test_examples(tmp_path, monkeypatch):
    """One set has a test split, the other has none."""
    monkeypatch.setattr(
        data,
        "open_source",
        lambda name, folder, split="train": (
            numbered({"train": 9, "test": 4}[split], (2, 2, 1), name)
            if name == "grey" or split == "train"
            else lacks(name)
        ),
    )
    asked = DataOptions(dataset="a=grey,b=other")
    held = drawn_from(asked, DataSpec.of(load(asked)))
    assert held.about == "a: the test images; b: training examples"
    assert {name: len(each["image"]) for name, each in held.examples.items()} == {"a": 4, "b": 9}


def lacks(name):
    raise data.DataError(f"{name} has no test split")


def test_members_of_several_sets(tmp_path):
    train(build, options(tmp_path, seeds=2), data=SETS)
    drawn = open_run(tmp_path / "run", data=SETS).draw(300)
    assert drawn["a"].shape == (2, 300, 8, 8, 1) and drawn["b"].shape == (2, 300, 6, 12, 3)
    alone = open_run(tmp_path / "run", data=SETS, member=1).draw(7)
    for name in drawn:
        assert np.abs(alone[name].astype(int) - drawn[name][1, :7]).max() <= 1  # rounding in another program


def test_sets_are_named_on_the_command_line(tmp_path, monkeypatch):
    """Also with paths that hold commas and equal signs."""
    path = tmp_path / "x,2=1.npz"
    np.savez(path, images=SETS["b"].images)
    asked = DataOptions(dataset=f"a=digits,b=npz:{path}", images="30")
    found = load(asked)
    assert list(found) == ["a", "b"] and found["a"].images.shape == (30, 28, 28, 1) and len(found["b"]) == 30
    spec = DataSpec.of(found)
    assert spec.count == 30 and spec.classes == 0 and spec.sets["a"].classes == 10
    assert spec.facts()["image of b"] == "image 6×12×3"
    monkeypatch.chdir(tmp_path)
    state = train(gan_of_two, options(tmp_path, dataset="a=digits,b=npz:x,2=1.npz"))
    assert int(state.step) == 6
    record = json.loads((tmp_path / "run" / "options.json").read_text())
    assert record["options"]["dataset"] == f"a=digits,b=npz:{path}"
    assert DataSpec.from_record(record["data"]).sets["b"].shape == (6, 12, 3)


def gan_of_two(options, spec):
    gan = translating.paired(options)
    return gan._replace(
        batch_size={"a": 3, "b": 5},
        iteration=lambda state, batch: (state.replace(step=state.step + 1), {"x": batch["b"]["image"].mean()}),
        sample=lambda state, examples, keys, weights="ema": {"a": examples["a"]["image"]},
    )


def test_what_does_not_fit_is_told_in_a_line(tmp_path):
    with pytest.raises(UsageError, match=r"takes the sets a, b, and the data are a single one: --dataset NAME=SET"):
        train(gan_of_two, options(tmp_path), data=PAIRS)
    with pytest.raises(UsageError, match=r"takes the sets a, b, and the data are a, c"):
        train(gan_of_two, options(tmp_path), data={"a": PAIRS, "c": PAIRS})
    with pytest.raises(UsageError, match="an iteration takes 8 images, but few has only 7; lower --batch-size"):
        train(build, options(tmp_path), data={**SETS, "b": numbered(7, (6, 12, 3), "few")})
    with pytest.raises(UsageError, match="--stream reads one set, and there are several, a, b; leave it out"):
        load(DataOptions(stream=True), SETS)
    with pytest.raises(UsageError, match="--stream reads sets of images alone, and pairs has image, source"):
        load(DataOptions(stream=True), PAIRS)
    with pytest.raises(UsageError, match="--dataset has several sets, a, b, and this experiment takes one"):
        DataSpec.of(SETS).shape  # noqa: B018
    assert not (tmp_path / "run").exists()


# --- held-out examples ------------------------------------------------------------------------------------------------
def test_what_is_held_out_is_no_part_of_training():
    images = numbered(200, (4, 4, 1), "numbers")
    for share, count in (("5%", 10), ("30", 30)):
        asked = DataOptions(hold_out=share)
        trained = load(asked, images).images[:, 0, 0, 0].tolist()
        kept, about = held_out(asked, images)
        kept = kept.images[:, 0, 0, 0].tolist()
        assert (
            len(kept) == count
            and sorted(trained + kept) == list(range(200))
            and about == f"{share} of the set, held out"
        )
        assert kept != list(range(200 - count, 200)), "not the last ones, which may be a class of their own"
        assert held_out(asked, images)[0].images[:, 0, 0, 0].tolist() == kept, "the same in every run"
    with pytest.raises(data.DataError, match="numbers is a set of one's own, without test examples; --hold-out 5%"):
        held_out(DataOptions(), images)
    with pytest.raises(UsageError, match="--hold-out 200 is 200 images; from 1 to the 199 that there are"):
        load(DataOptions(hold_out="200"), images)


def test_paired_images_are_changed_alike(tmp_path):
    """Crops and mirrorings of the step keep a source on its image."""
    seen = []

    def watching(options, spec):
        gan = translating.paired(options)

        def iteration(state, batch):
            grey = batch["image"].mean(-1, keepdims=True)
            return state.replace(step=state.step + 1), {
                "apart": abs(grey - batch["source"]).max(),
                "shape": batch["source"].shape[1],
                "first": batch["source"][0, 0, 0, 0],
            }

        return gan._replace(iteration=iteration)

    changed = options(tmp_path, image_size=10, load_size=16, fit="stretch", filter="box", flip=True, steps=12)
    wide = pairs(height=16, width=16)
    train(watching, changed, lambda state, metrics: seen.append(metrics), data=wide)
    assert max(float(each["apart"].max()) for each in seen) < 0.0041, "half a level of rounding"
    assert {int(value) for each in seen for value in each["shape"]} == {10}
    run_spec = DataSpec.of(load(changed, wide), changed.crop_shape)
    assert run_spec.fields["source"].shape == (10, 10, 1)


# --- any rank ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(5,), (3, 4, 4, 1), (2, 3, 4, 4, 3)], ids=["vectors", "video", "more"])
@pytest.mark.parametrize("members", [0, 3])
def test_samples_of_any_rank_are_cut_along_their_own_axis(shape, members):
    """Example i holds nothing but the number that its key follows from, member m adds 100 m."""
    spec = DataSpec.single("anything", 10, (4, 4, 1))

    def numbers(state, keys):
        draws = jax.vmap(lambda key: jax.random.bits(key, shape, np.uint32).astype(np.float32))(keys)
        return draws % 89 / 127.5 - 1 + state["step"]

    def alone(state, examples, keys, *, weights="ema"):
        return {"video": numbers(state, keys)}

    def together(state, examples, keys, *, weights="ema"):
        return {"video": jax.vmap(lambda member: numbers({"step": 0.1 * member}, keys))(np.arange(members) * 1.0)}

    gan = translating.GAN(None, None, 4, together if members else alone)
    drawing = Drawing(gan, spec, {"step": np.float32(0)}, members=members)
    many = drawing.of(600)({"step": np.float32(0)})["video"]
    assert many.shape == ((members,) if members else ()) + (600, *shape)
    few = drawing.of(7)({"step": np.float32(0)})["video"]
    np.testing.assert_array_equal(few, many[:, :7] if members else many[:7])
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(np.arange(600))
    expected = np.asarray(jax.vmap(lambda key: jax.random.bits(key, shape, np.uint32))(keys)).astype(np.float32) % 89
    np.testing.assert_array_equal(many[0] if members else many, expected.astype(np.uint8))
