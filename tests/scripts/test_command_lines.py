"""Command lines use one name for one thing: names that there were are refused, and the ending of --out says what goes
into a file."""

import dataclasses
import importlib
import pkgutil
import re
import runpy
import sys
import typing
from pathlib import Path

import pytest

import scripts
from jaxgan.media import Image, Points, Vectors
from jaxgan.training import UsageError
from jaxgan.training.recipe.gan import Weights
from scripts import codes, compare, data, evaluate, field, margin, prune, sample, train_features
from scripts.benchmarks import evaluation, growth, measure_memory, seeds, steps

ROOT = Path(__file__).parents[2]
VECTORS = Vectors((), ())
OLD = [
    ("sample", "--grid", "--out FILE.png"),
    ("sample", "--interpolate", "--out FILE.gif"),
    ("evaluate", "--json", "--out FILE.json"),
    ("evaluate", "--samples", "--count N"),
    ("evaluate", "--images", "--generated PATH"),
    ("compare", "--plot", "--out FILE.png"),
    ("data", "--picture", "--out FILE.png"),
    ("train_features", "--output", "--out FILE.npz"),
    ("benchmarks/evaluation", "--json", "--out FILE.json"),
    ("benchmarks/evaluation", "--samples", "--count N"),
    ("benchmarks/evaluation", "--neighbours", "--pairwise-count N"),
    ("benchmarks/evaluation", "--size", "--dimensions N"),
    ("benchmarks/evaluation", "--small", "--small-dimensions N"),
    ("benchmarks/evaluation", "--only", "--lines NAME ..."),
    ("benchmarks/growth", "--values", "--count N"),
    ("benchmarks/measure_memory", "--iterations", "--steps N"),
    ("benchmarks/steps", "--json", "--out FILE.json"),
]


@pytest.mark.parametrize("script, old, new", OLD, ids=[f"{script} {old}" for script, old, _ in OLD])
def test_a_name_that_there_was_is_refused_with_the_one_there_is(script, old, new, monkeypatch, capsys):
    """As a user starts it, but in this process."""
    for arguments in (["x", old, "y"], ["x", f"{old}=y"]):
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
        assert stop.value.code == 2
        assert capsys.readouterr().err == f"error: {old} is now {new} (--help lists the options)\n"


def test_an_option_is_the_same_thing_in_every_command():
    """Of one type; and none of the names that mean what --out, --count or --weights do."""
    shared = {"step": int | typing.Literal["best"] | None, "member": int | None, "weights": Weights, "seed": int}
    shared |= {"data_dir": str | None}
    found = [info.name for info in pkgutil.walk_packages(scripts.__path__, "scripts.")]
    found = [name for name in found if "pytorch" not in name and "golden" not in name]
    options = {name: getattr(importlib.import_module(name), "Options", None) for name in found}
    assert sum(each is not None for each in options.values()) >= 14
    for name, each in options.items():
        for option, of_type in typing.get_type_hints(each).items() if each else ():
            assert shared.get(option, of_type) == of_type, f"{name}: {option}"
            assert option not in {"ema", "grid", "json", "output", "picture", "plot", "samples", "size"}, name


@pytest.mark.parametrize(
    "module, ending",
    [
        *((module, ".png") for module in (codes, compare, data, field, measure_memory, prune)),
        *((module, ".json") for module in (evaluate, evaluation, seeds, steps)),
    ],
)
def test_another_ending_is_refused(module, ending):
    given = {"out": Path(f"a{ending}")}
    given |= {
        name: Path("run") for name in ("run", "runs") if name in {f.name for f in dataclasses.fields(module.Options)}
    }
    options = module.Options(**given)
    for wrong in "a.txt", "a", f"a{ending}.gz":
        with pytest.raises(UsageError, match=rf"^--out must be a path that ends in \{ending}, got {wrong}$"):
            dataclasses.replace(options, out=Path(wrong))


@pytest.mark.parametrize(
    "medium, names",
    [(Image(), ["a.npz", "b.png", "c.gif"]), (Points(), ["c.gif", "a.npz"]), (VECTORS, ["a.csv", "b.png"])],
)
def test_samples_take_one_file_of_a_kind(medium, names, tmp_path):
    sample.check_files([tmp_path / name for name in names], medium)
    for name in names:
        sample.check_files([tmp_path / name], medium)


@pytest.mark.parametrize(
    "medium, names, message",
    [
        (Image(), ["a.csv"], "--out {0}/a.csv: {images}"),
        (Image(), ["a.npz", "b.jpg"], "--out {0}/b.jpg: {images}"),
        (Image(), ["a.png", "b.npz", "a.png"], "--out {0}/a.png {0}/a.png: at most one file of a kind; {images}"),
        (Image(), ["no/a.png"], "can't write {0}/no/a.png: the folder {0}/no doesn't exist"),
        (Image(), [], "--out names no file: {images}"),
        (VECTORS, ["a"], "--out {0}/a: {vectors}"),
        (VECTORS, ["a.npz", "b.csv"], "--out {0}/a.npz {0}/b.csv: at most one file of a kind; {vectors}"),
    ],
)
def test_files_that_say_nothing_clear_are_refused(medium, names, message, tmp_path):
    with pytest.raises(UsageError) as error:
        sample.check_files([tmp_path / name for name in names], medium)
    images, vectors = (
        f"{plural} are saved as {samples}, a grid as .png, a walk as .gif or .mp4"
        for plural, samples in (("images", ".npz"), ("vectors", ".npz or .csv"))
    )
    assert str(error.value) == message.format(tmp_path, images=images, vectors=vectors)


@pytest.mark.parametrize(
    "module, ending",
    [
        *((module, ".png") for module in (codes, compare, data, field, growth, measure_memory, prune)),
        *((module, ".json") for module in (evaluate, evaluation, seeds, steps)),
        *((train_features, ".npz"), (sample, ".png")),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_computed(module, ending, tmp_path, monkeypatch):
    """An ending in capitals is the same; a folder that isn't there, is none, or can't be written to."""
    monkeypatch.chdir(tmp_path)
    names = {field.name: field for field in dataclasses.fields(module.Options)}
    given = {name: Path("run") for name in ("run", "runs") if name in names}
    given |= {"dataset": "mnist"} if module is train_features else {}

    def made(path):
        return module.Options(**given, out=(Path(path),) if module is sample else Path(path))

    made(f"a{ending}"), made(f"A{ending.upper()}")
    Path("file").touch()
    Path(f"folder{ending}").mkdir()
    for wrong, why in {
        f"no/a{ending}": "the folder .*/no doesn't exist",
        f"file/a{ending}": "the folder .*/file is a file",
        f"folder{ending}": "it is a folder; name a file in it",
    }.items():
        with pytest.raises(UsageError, match=f"^can't write {re.escape(wrong)}: {why}$"):
            made(wrong)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UsageError, match=rf"^can't write a\{ending}: the folder .* can't be written to$"):
        made(f"a{ending}")


def test_a_margin_is_of_raw_weights_and_other_commands_draw_with_averaged_ones():
    assert margin.Options(run=Path("run")).weights == "raw"
    for module in (codes, evaluate, field, sample):
        assert {f.name: f.default for f in dataclasses.fields(module.Options)}["weights"] == "ema"
