"""Checkpoints in directories of any name, those that Orbax alone left there, what is read back, and what is synced."""

import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest
from conftest import assert_same, tiny_gan
from user_state import Dict

from jaxgan import ensemble
from jaxgan.training import UsageError
from jaxgan.training.checkpoints import checkpoints as room
from jaxgan.training.checkpoints import names
from jaxgan.training.checkpoints.checkpoints import BEST, Checkpoints, SaveError
from jaxgan.training.checkpoints.digest import digests
from jaxgan.training.checkpoints.names import taken_literally

pytestmark = pytest.mark.usefixtures("as_users_have_it")

STATE = {"x": jnp.arange(600.0), "key": jax.random.key(3), "low": jnp.ones((2, 3), jnp.bfloat16)}
NAMES = [
    "exp[1]",
    "a\\b",
    "[!a]",
    "a*b",
    "a?b",
    "{a,b}",
    "gs:",
    "new\nline",
    "\x1b[31m",
    "\udcff",
    "日本 ~%#:",
    "x" * 255,
]


def save(directory, step=4, state=STATE, **how):
    checkpoints = Checkpoints(directory, **how)
    checkpoints.save(step, state)
    checkpoints.close()


def newest(directory, like=STATE, **how):
    checkpoints = Checkpoints(directory, **how)
    found = checkpoints.restore_newest(like)
    checkpoints.close()
    return found


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_is_saved_in_a_directory_of_any_name_is_restored_and_nothing_is_written_beside_it(name, tmp_path):
    (tmp_path / name / "inner").mkdir(parents=True)
    for step in (4, 8, 12, 16):
        save(tmp_path / name / "inner", step, read_back=True)
    for read_only in (False, True):
        step, restored = newest(tmp_path / name / "inner", read_only=read_only)
        assert step == 16
        assert_same(restored, STATE)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / name).rename(tmp_path / "renamed")
    assert newest(tmp_path / "renamed" / "inner")[0] == 16


def test_a_directory_that_took_anothers_place_is_another(tmp_path):
    run = tmp_path / "exp[1]"
    for step in (4, 8):
        run.mkdir()
        save(run, step)
        assert newest(run)[0] == step
        run.rename(tmp_path / f"{step}")
    assert newest(tmp_path / "4")[0] == 4


def test_where_no_name_can_be_found_it_is_refused_before_training(tmp_path, monkeypatch):
    (tmp_path / "a[b]").mkdir()
    monkeypatch.setattr(names, "Path", lambda text: Path(text.replace("/proc/self/fd", "/no/such/folder")))
    with pytest.raises(UsageError, match=r"checkpoints can't be in .*a\[b\] on this system.*; rename it, or choose"):
        Checkpoints(tmp_path / "a[b]")
    assert taken_literally(tmp_path) == tmp_path


# --- what Orbax alone leaves ------------------------------------------------------------------------------------------


def by_orbax_alone(folder, step=4):
    """As jaxgan did until 0.2: the arrays are whole, the table that joins them is missing or elsewhere."""
    folder.mkdir(parents=True)
    with ocp.CheckpointManager(folder) as manager:
        manager.save(step, args=ocp.args.StandardSave({"state": STATE, "digest": digests(jax.tree.leaves(STATE))}))


@pytest.mark.parametrize("kind", ["checkpoints", BEST])
@pytest.mark.parametrize("name", ["exp[1]", "a\\b"], ids=["pattern", "backslash"])
def test_what_orbax_left_without_its_table_is_restored(name, kind, tmp_path):
    folder = tmp_path / name / kind
    by_orbax_alone(folder)
    assert not (folder / "4" / "default" / "manifest.ocdbt").exists(), "Orbax has learned it"
    before = sorted(tmp_path.rglob("*"))
    for read_only in (True, False):
        step, restored = newest(tmp_path / name, name=kind, read_only=read_only)
        assert step == 4
        assert_same(restored, STATE)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written to it"
    if name == "exp[1]":
        (tmp_path / name).rename(tmp_path / "renamed")
        assert newest(tmp_path / "renamed", name=kind)[0] == 4


def test_a_part_that_is_damaged_is_not_joined_to_something_else(tmp_path):
    by_orbax_alone(tmp_path / "exp[1]" / "checkpoints")
    parts = [*(tmp_path / "exp[1]" / "checkpoints").rglob("ocdbt.process_0/d/*")]
    largest = max(parts, key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    with pytest.raises(UsageError, match=r"none of the checkpoints in .* can be restored"):
        newest(tmp_path / "exp[1]")


# --- a state of another step ------------------------------------------------------------------------------------------


def of_step(step):
    return tiny_gan().replace(step=jnp.int32(step))


def several(step):
    return ensemble.stack([of_step(step), of_step(step)]).replace(frozen=jnp.array([0, 3], jnp.int32))


def of_a_user(step):
    return Dict(step=jnp.int32(step), key=jax.random.key(0), x=jnp.ones(3))


@pytest.mark.parametrize("make", [of_step, several, of_a_user])
@pytest.mark.parametrize("name", ["checkpoints", BEST])
def test_a_folder_whose_state_is_of_another_step_is_named_and_skipped(name, make, tmp_path, capsys):
    for step in (4, 8):
        save(tmp_path, step, make(step), name=name)
    shutil.copytree(tmp_path / name / "4", tmp_path / name / "12")
    (tmp_path / name / "8").rename(tmp_path / name / "11")
    checkpoints = Checkpoints(tmp_path, name, read_only=True)
    for step, of in ((11, 8), (12, 4)):
        with pytest.raises(UsageError, match=rf"/{step} can't be restored \(its state is of step {of}\); move it away"):
            checkpoints.restore(step, make(0))
    step, state = newest(tmp_path, make(0), name=name)
    assert step == int(state.step) == 4
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(", going on from step 4; it is now ")[0].rpartition("/")[2] for line in said] == [
        "11 is damaged (its state is of step 8)",
        "12 is damaged (its state is of step 4)",
    ]
    assert sorted(path.name for path in (tmp_path / "damaged").iterdir()) == ["11", "12"]


# --- read back --------------------------------------------------------------------------------------------------------


def until_told(checkpoints):
    while checkpoints.reading_back:
        checkpoints.check()


@pytest.mark.parametrize("damaged, reason", [("_METADATA", ""), ("largest", r"\['x'\] is not what was saved")])
@pytest.mark.parametrize("told_by", ["check", "save", "close"])
def test_a_first_checkpoint_that_cannot_be_restored_is_told_at_once(told_by, damaged, reason, tmp_path, monkeypatch):
    """The disk keeps something else than what was written."""
    bits = {"x": jax.random.bits(jax.random.key(0), (8000,)), "low": jnp.ones(3, jnp.bfloat16)}

    def keep_badly(step):
        files = [path for path in step.rglob("*") if path.is_file()]
        bad = max(files, key=lambda path: path.stat().st_size)
        if damaged != "largest":
            next(path for path in files if path.name == damaged).unlink()
        else:
            content = bytearray(bad.read_bytes())
            content[len(content) // 2] ^= 16
            bad.write_bytes(bytes(content))

    monkeypatch.setattr(room, "sync_tree", keep_badly)
    checkpoints = Checkpoints(tmp_path, read_back=True)
    checkpoints.save(4, bits)
    with pytest.raises(SaveError, match=rf"^checkpoint .*/4 was saved but can't be restored: .*{reason}") as error:
        {"check": lambda: until_told(checkpoints), "save": lambda: checkpoints.save(8, bits)}.get(
            told_by, checkpoints.close
        )()
    assert "\n" not in str(error.value)
    checkpoints.close()


def test_only_the_first_is_read_back(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(room, "read_back", lambda file, saved: read.append(file.parent.name) or "")
    checkpoints = Checkpoints(tmp_path, read_back=True)
    for step in (4, 8, 12):
        checkpoints.save(step, STATE)
        checkpoints.check()
    checkpoints.close()
    assert read == ["4"]
    save(tmp_path, 16)
    assert read == ["4"]


# --- a power cut ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_synced_whole_after_the_log_and_before_it_counts(tmp_path, monkeypatch):
    """What TensorStore syncs is not seen here: what Orbax writes, and the folders that it renames, must be."""
    synced = []
    fsync = os.fsync

    def spy(descriptor):
        synced.append(os.path.relpath(Path(f"/proc/self/fd/{descriptor}").readlink(), tmp_path))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    (tmp_path / "metrics.jsonl").write_text("")
    save(tmp_path, 4, logs=[tmp_path / "metrics.jsonl", tmp_path / "not there"])
    everything = {str(path.relative_to(tmp_path)) for path in (tmp_path / "checkpoints").rglob("*")}
    assert everything <= set(synced) and {"checkpoints/4/default/_METADATA", "checkpoints/4/default"} <= everything
    assert synced[0] == "metrics.jsonl" and synced[-1] == "checkpoints"


def test_a_disk_that_cannot_keep_a_checkpoint_is_told(tmp_path, monkeypatch):
    def broken(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(4, STATE)
    with pytest.raises(SaveError, match=r"^checkpoint .*/checkpoints/4 can't be saved: Input/output error"):
        checkpoints.close()
