"""Compiled programs are kept in the user's cache folder, within a size, and damaged ones are forgotten."""

import os
import shutil
import subprocess
import sys

import jax
import pytest
from conftest import TINY_RUN

from jaxgan.training.cli import compilation_cache as compilation_cache_module
from jaxgan.training.cli.compilation_cache import clear_damaged_cache, compilation_cache


def program(number):
    return f"jit_chunk-{number:064x}-cache"


@pytest.fixture
def nothing_said(tmp_path, monkeypatch):
    """As for a user who named no folder; the suite's own comes back afterwards."""
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[0], None)
    yield tmp_path / "programs"
    for name, value in before.items():
        jax.config.update(name, value)


def entered():
    """Does what a program does with its cache: opens it, stores nothing, ends."""
    with compilation_cache():
        return jax.config.jax_compilation_cache_dir


def store(folder, number, content):
    """Writes a program as jax does, between the start and the end of a run."""
    jax.config.update("jax_compilation_cache_dir", None)
    with compilation_cache():
        (folder / program(number)).write_bytes(content)
    jax.config.update("jax_compilation_cache_dir", None)


def test_the_folder_is_ours_alone_unless_the_user_named_one(nothing_said, tmp_path):
    assert entered() == str(nothing_said)
    assert nothing_said.stat().st_mode & 0o777 == 0o700
    (tmp_path / "own").mkdir(mode=0o700)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    assert entered() == str(tmp_path / "own")


def test_a_folder_that_the_user_named_is_used_but_warned_of_where_others_can_write_to_it(nothing_said, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    assert entered() == str(tmp_path / "own"), "jax makes it"
    (tmp_path / "own").mkdir()
    (tmp_path / "own").chmod(0o777)
    with pytest.warns(UserWarning, match=r"others can write to .*/own, which \$JAX_COMPILATION_CACHE_DIR names"):
        assert entered() == str(tmp_path / "own")
    jax.config.update("jax_compilation_cache_dir", "gs://bucket/programs")
    assert entered() == "gs://bucket/programs"


def test_where_no_folder_can_be_made_nothing_is_kept(nothing_said):
    nothing_said.write_text("in the way")
    assert entered() is None


@pytest.mark.parametrize("which", ["programs", "the cache folder", "a link"])
def test_a_folder_that_others_can_write_to_is_not_used(nothing_said, tmp_path, which):
    nothing_said.mkdir(mode=0o700)
    if which == "a link":
        nothing_said.rename(tmp_path / "elsewhere")
        nothing_said.symlink_to(tmp_path / "elsewhere")
    else:
        (nothing_said if which == "programs" else tmp_path).chmod(0o770)
    with pytest.warns(UserWarning, match="is not used as a cache: it is a link, or others own it or can write to it"):
        assert entered() is None


@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to("/dev/null"), os.mkfifo, os.mkdir], ids=["link", "pipe", "folder"]
)
def test_what_is_no_file_of_ours_would_run_as_a_program(nothing_said, make):
    nothing_said.mkdir(mode=0o700)
    make(nothing_said / program(1))
    with pytest.warns(UserWarning, match=rf"{program(1)} in it is not a file of this user's"):
        assert entered() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_no_program_of_another_user_is_run(nothing_said):
    store(nothing_said, 1, b"ours")
    os.chown(nothing_said / program(1), 65534, 65534)
    with pytest.warns(UserWarning, match="would run as a program"):
        assert entered() is None


def test_a_program_under_anothers_name_is_removed(nothing_said):
    """Of the same type it would run without an error, and train something else."""
    for number in (1, 2, 3):
        store(nothing_said, number, b"program %d" % number)
    (nothing_said / program(1)).write_bytes((nothing_said / program(2)).read_bytes())
    with pytest.warns(UserWarning, match="were not what was stored under their names: 1 were removed"):
        assert entered() == str(nothing_said)
    assert sorted(path.name for path in nothing_said.glob("*-cache")) == [program(2), program(3)]
    store(nothing_said, 1, b"program 1, compiled again")
    jax.config.update("jax_compilation_cache_dir", None)
    assert entered() == str(nothing_said), "without a warning"
    assert (nothing_said / program(1)).read_bytes() == b"program 1, compiled again"


def test_a_folder_that_was_moved_is_what_it_was(nothing_said, tmp_path):
    """Its files lie elsewhere and have other times, but the same bytes."""
    store(nothing_said, 1, b"program")
    shutil.copytree(nothing_said, tmp_path / "copy")
    shutil.rmtree(nothing_said)
    (tmp_path / "copy").rename(nothing_said)
    (nothing_said / program(1)).touch()
    assert entered() == str(nothing_said)
    assert (nothing_said / program(1)).read_bytes() == b"program"


@pytest.mark.parametrize("record", ["", "{", "[1, 2]", '{"a": 1}', "[" * 100_000])
def test_without_a_record_programs_are_taken_as_they_are(nothing_said, record):
    store(nothing_said, 1, b"program")
    (nothing_said / compilation_cache_module.RECORD).write_text(record)
    (nothing_said / program(1)).write_bytes(b"of a killed run")
    assert entered() == str(nothing_said)
    assert (nothing_said / program(1)).read_bytes() == b"of a killed run"


def test_the_oldest_go_when_there_are_too_many(nothing_said, monkeypatch):
    monkeypatch.setattr(compilation_cache_module, "SIZE", 25)
    nothing_said.mkdir(mode=0o700)
    for age in range(4):
        path = nothing_said / program(age)
        path.write_bytes(b"x" * 10)
        os.utime(path, (1e9 - age, 1e9 - age))
    (nothing_said / "not ours").write_bytes(b"x" * 100)
    os.utime(nothing_said / "not ours", (1, 1))
    entered()
    left = {path.name for path in nothing_said.iterdir()} - {compilation_cache_module.RECORD}
    assert left == {program(0), program(1), "not ours"}


def test_only_an_entry_that_cannot_be_read_empties_the_folder(nothing_said):
    with compilation_cache():
        (nothing_said / program(0)).write_bytes(b"half")
        (nothing_said / program(1)).write_bytes(b"")
        clear_damaged_cache("packs in accumulated batches")
        assert list(nothing_said.iterdir())
        clear_damaged_cache("Error reading persistent compilation cache entry for 'jit_chunk': ZlibError")
        assert not list(nothing_said.iterdir())


@pytest.mark.slow
def test_a_second_run_finds_its_programs_and_outlives_damaged_ones(tmp_path):
    programs = tmp_path / "cache" / "programs"
    env = {**os.environ, "JAXGAN_CACHE": str(tmp_path / "cache")}
    for name in [name for name in env if "CACHE" in name and name.startswith("JAX_")]:
        del env[name]
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"  # how long compiling takes is chance

    def run(name):
        command = [sys.executable, "-m", "experiments.dcgan_mnist", *TINY_RUN, "--steps", "2"]
        command += ["--workdir", str(tmp_path / name)]
        done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert "warning" not in run("first")
    kept = {path.name: path.read_bytes() for path in programs.glob("*-cache")}
    assert any("chunk" in name for name in kept)
    assert "warning" not in run("second")
    assert {path.name for path in programs.glob("*-cache")} == set(kept), "nothing was compiled again"
    (programs / compilation_cache_module.RECORD).unlink()  # as if the run that stored them had been killed
    for path in programs.iterdir():
        path.write_bytes(kept[path.name][:100])
    assert "warning: Error reading persistent compilation cache entry" in run("third")
    assert "warning" not in run("fourth")
    assert all(len(path.read_bytes()) > 100 for path in programs.glob("*-cache"))
    chunk, other = sorted(programs.glob("*-cache"), key=lambda path: "chunk" not in path.name)[:2]
    chunk.write_bytes(other.read_bytes())
    assert "warning: compiled programs in" in run("fifth")
    first, last = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("first", "fifth"))
    assert first == last
