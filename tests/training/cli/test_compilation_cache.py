"""Compiled programs are kept in the user's cache folder, within a size, and damaged ones are forgotten."""

import os
import subprocess
import sys

import jax
import pytest
from conftest import TINY_RUN

from jaxgan.training.cli import compilation_cache
from jaxgan.training.cli.compilation_cache import clear_damaged_cache, enable_cache


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


def test_the_folder_is_ours_unless_the_user_named_one(nothing_said, tmp_path):
    enable_cache()
    assert jax.config.jax_compilation_cache_dir == str(nothing_said) and nothing_said.is_dir()
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    enable_cache()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")


def test_where_no_folder_can_be_made_nothing_is_kept(nothing_said):
    nothing_said.write_text("in the way")
    enable_cache()
    assert jax.config.jax_compilation_cache_dir is None


def test_the_oldest_go_when_there_are_too_many(nothing_said, monkeypatch):
    monkeypatch.setattr(compilation_cache, "SIZE", 25)
    nothing_said.mkdir()
    for age in range(4):
        path = nothing_said / program(age)
        path.write_bytes(b"x" * 10)
        os.utime(path, (1e9 - age, 1e9 - age))
    (nothing_said / "not ours").write_bytes(b"x" * 100)
    os.utime(nothing_said / "not ours", (1, 1))
    enable_cache()
    assert {path.name for path in nothing_said.iterdir()} == {program(0), program(1), "not ours"}


def test_only_an_entry_that_cannot_be_read_empties_the_folder(nothing_said):
    enable_cache()
    (nothing_said / program(0)).write_bytes(b"half")
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
    kept = {path.name: path.read_bytes() for path in programs.iterdir()}
    assert any("chunk" in name for name in kept)
    assert "warning" not in run("second")
    assert {path.name for path in programs.iterdir()} == set(kept), "nothing was compiled again"
    for path in programs.iterdir():
        path.write_bytes(kept[path.name][:100])
    assert "warning: Error reading persistent compilation cache entry" in run("third")
    assert "warning" not in run("fourth")
    assert all(len(path.read_bytes()) > 100 for path in programs.iterdir())
