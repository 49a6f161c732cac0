"""What a run directory can be called, and what in it is the run's own."""

import os

import pytest

from jaxgan.training import UsageError
from jaxgan.training.run.directory import Run, new_directory
from jaxgan.training.run.folder import clear_leftovers, named, refuse_links, refuse_others


@pytest.mark.parametrize(
    "name, why",
    [
        ("gs://bucket/run", "is an address"),
        ("S3://bucket/run", "is an address"),
        ("file:///tmp/run", "is an address"),
        ("a\0b", "has a NUL character"),
        ("/home/\udcff/run", "is not UTF-8"),
        ("~no-such-user-here/run", "begins with ~ and no user's name"),
        ("x" * 256, "is too long"),
        ("é" * 128, "is too long"),
        ("/".join(["x" * 200] * 20), "is too long"),
    ],
)
def test_a_name_that_no_run_can_have_is_refused_in_a_line(name, why):
    with pytest.raises(UsageError, match=rf"^--workdir .* {why}.*; choose another$") as error:
        named(name)
    assert len(str(error.value)) < 300 and str(error.value).isprintable()


def test_where_the_locale_is_not_utf8_that_is_said_rather_than_that_the_name_is_wrong(monkeypatch):
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    with pytest.raises(UsageError, match=r"is not ascii, the encoding of this locale \(PYTHONUTF8=1 makes it UTF-8\)"):
        named("gr\udcc3\udcb6\udcc3\udc9fe")


@pytest.mark.parametrize("name", ["runs/a", "a[1]", "a\\b", "gs:/b", "a://b", "x" * 255, "./~", "new\nline", "日本"])
def test_other_names_are_taken_as_they_are(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "a://b":
        name = f"./{name}"
    assert os.path.relpath(named(name)) == os.path.normpath(name)


def test_a_home_is_a_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert os.fspath(named("~/runs/a")) == "/home/me/runs/a"


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "there", ["notes.txt", ".git/config", "samples/a.png", "checkpoints/notes", "metrics.jsonl", "lock.txt"]
)
def test_a_folder_that_holds_something_else_is_refused_before_anything_is_written(there, tmp_path):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    before = contents(tmp_path)
    for refuse in (lambda: refuse_others(tmp_path), Run(tmp_path).make):
        with pytest.raises(UsageError, match=r"is not empty and holds no run: it has .*, but no options\.json; choose"):
            refuse()
    assert contents(tmp_path) == before


def test_what_a_run_left_that_died_before_its_record_is_its_own(tmp_path):
    for name in ("samples", "checkpoints", "lost+found"):
        (tmp_path / name).mkdir()
    for name in ("lock", "options.json.0123456789abcdef.tmp", "options.json.tmp"):
        (tmp_path / name).write_text("")
    refuse_others(tmp_path)
    Run(tmp_path).make()
    refuse_others(tmp_path / "not there")


def test_a_file_in_the_place_of_a_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"can't write in run directory .*file: Not a directory; choose another"):
        refuse_others(tmp_path / "file")


FILES = ["lock", "options.json", "metrics.jsonl", "evaluations.jsonl", "members.json", "members.png", "training.gif"]
FILES += ["losses.png", "history.jsonl", "report.html", "neighbours.png"]
FOLDERS = ["samples", "checkpoints", "best", "damaged", "tensorboard"]
BELOW = ["checkpoints/4", "checkpoints/8.orbax-checkpoint-tmp", "best/4", "damaged/4", "tensorboard/member-0"]
BELOW += ["tensorboard/member-0/events.out.tfevents.1.host.00000000", "tensorboard/events.out.tfevents.1.host.00000000"]


@pytest.mark.parametrize("leads_to", ["there", "nowhere"])
@pytest.mark.parametrize("name", FILES + FOLDERS + BELOW)
def test_a_link_in_a_run_is_refused_and_what_it_leads_to_is_left(name, leads_to, tmp_path):
    run, victim = tmp_path / "run", tmp_path / "victim"
    (run / name).parent.mkdir(parents=True)
    if leads_to == "there":
        victim.mkdir() if name in FOLDERS else victim.write_text("precious")
    (run / name).symlink_to(victim)
    with pytest.raises(UsageError, match=rf"{name} is a link, and a run writes to no file outside of its directory; "):
        refuse_links(run)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_refused(name, make, tmp_path):
    make(tmp_path / name)
    with pytest.raises(UsageError, match=rf"{name} is no regular file; move it away, or choose another --workdir"):
        refuse_links(tmp_path)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_in_the_place_of_a_folder_is_refused(name, tmp_path):
    (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match=rf"{name} is no folder; move it away"):
        refuse_links(tmp_path)


def test_the_path_to_a_run_may_have_links(tmp_path):
    (tmp_path / "real" / "run").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "run" / "mine").symlink_to(tmp_path)  # no part of the run
    refuse_links(tmp_path / "link" / "run")


def test_temporary_files_of_killed_runs_are_removed_and_no_others(tmp_path):
    (tmp_path / "samples").mkdir()
    left = ["options.json", "metrics.jsonl", "training.gif", "members.png", "losses.png", "samples/00000040.png"]
    left += ["metrics.jsonl.damaged", "metrics.jsonl.damaged-2"]
    mine = [
        "mine.json.0123456789abcdef.tmp",
        "options.json.tmp",
        "options.json",
        "samples/0.png",
        "a.tmp",
        "metrics.jsonl.damaged",
    ]
    for name in (*(f"{name}.0123456789abcdef.tmp" for name in left), *mine):
        (tmp_path / name).write_text("")
    clear_leftovers(tmp_path)
    assert contents(tmp_path) == sorted([*mine, "samples"])


@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to("nowhere"), lambda path: path.write_text("")], ids=["link", "file"]
)
def test_where_no_new_directory_can_be_made_it_is_told(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "runs")
    with pytest.raises(UsageError, match=r"can't make run directory runs/gan_ring-"):
        new_directory("experiments.gan_ring")
