"""Checkpoints that were damaged, and saves that fail: with Orbax itself and real files."""

import contextlib
import os
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from conftest import adam, assert_same, tiny_gan
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.training import UsageError
from jaxgan.training.checkpoints.checkpoints import MAX_TO_KEEP, Checkpoints, SaveError
from jaxgan.training.checkpoints.digest import digests

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def state(seed=0):
    """A key, a tuple, numbers without a shape, and mostly bits that no compression makes fewer."""
    key = jax.random.key(seed)
    return {
        "bits": jax.random.bits(key, (2048,)),
        "key": key,
        "pair": (jnp.float32(seed), jnp.arange(5, dtype=jnp.bfloat16)),
        "step": jnp.int32(seed),
    }


LIKE = jax.eval_shape(state)


def saved(directory, steps=(4, 8)):
    """The run directory, with checkpoints of `state(step)`."""
    checkpoints = Checkpoints(directory)
    for step in steps:
        checkpoints.save(step, state(step))
    checkpoints.close()
    return directory


def newest(directory, read_only=True):
    """What `restore_newest` finds in the directory, which is then shut again."""
    checkpoints = Checkpoints(directory, read_only=read_only)
    try:
        return checkpoints.restore_newest(LIKE)
    finally:
        checkpoints.close()


def files(directory, step):
    return sorted(path for path in (directory / "checkpoints" / str(step)).rglob("*") if path.is_file())


def largest(directory, step):
    return max(files(directory, step), key=lambda path: path.stat().st_size)


def ruin(directory, step):
    largest(directory, step).write_bytes(b"")


def test_a_gan_with_its_optimisers_and_key_comes_back(tmp_path):
    gan = tiny_gan(tx=optax.chain(optax.clip(1.0), adam()), extras={"generator": (jnp.ones(3), jnp.arange(2))})
    gan = gan.replace(step=gan.step + 3)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, gan)
    step, restored = checkpoints.restore_newest(jax.eval_shape(lambda: gan))
    checkpoints.close()
    assert step == 3
    assert_same(jax.tree.leaves(restored), jax.tree.leaves(gan))
    assert type(restored) is type(gan) and jnp.issubdtype(restored.key.dtype, jax.dtypes.prng_key)


def test_a_state_may_be_given_away_as_soon_as_save_returns(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    give = jax.jit(lambda x: x + 1, donate_argnums=0)
    value = jnp.zeros(100_000)
    for step in range(1, 4):
        checkpoints.save(step, {"x": value})
        value = give(value)
    for step in range(1, 4):
        np.testing.assert_array_equal(checkpoints.restore(step, {"x": value})["x"], np.full(100_000, step - 1.0))
    checkpoints.close()


def test_python_numbers_are_saved_as_arrays(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"a": 3, "b": 2.5, "c": np.arange(3, dtype=np.int32)})
    like = {"a": 0, "b": 0.0, "c": np.zeros(3, np.int32)}
    assert_same(checkpoints.restore(1, like), {"a": jnp.int32(3), "b": jnp.float32(2.5), "c": jnp.arange(3)})
    checkpoints.close()


def test_what_was_saved_on_four_devices_comes_back_where_it_is_wanted(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    four = NamedSharding(Mesh(jax.devices(), "x"), PartitionSpec("x"))
    two = NamedSharding(Mesh(jax.devices()[:2], "x"), PartitionSpec(None, "x"))
    value = jax.device_put(jnp.arange(32.0).reshape(8, 4), four)
    checkpoints.save(1, {"x": value})
    on_one = checkpoints.restore(1, {"x": jax.ShapeDtypeStruct((8, 4), jnp.float32)})["x"]
    on_two = checkpoints.restore(1, {"x": jax.ShapeDtypeStruct((8, 4), jnp.float32, sharding=two)})["x"]
    checkpoints.close()
    assert on_one.devices() == {jax.devices()[0]} and on_two.sharding == two
    np.testing.assert_array_equal(on_one, value)
    np.testing.assert_array_equal(on_two, value)


def test_the_newest_are_kept_and_a_step_is_saved_once(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == [] and checkpoints.newest() is None and checkpoints.restore_newest(LIKE) is None
    for step in (2, 4, 6, 8, 10):
        checkpoints.save(step, state(step))
        assert checkpoints.newest() == step
    checkpoints.save(10, state(99))
    checkpoints.close()
    assert MAX_TO_KEEP == 3 and checkpoints.steps() == [6, 8, 10]
    step, restored = newest(tmp_path)
    assert step == 10 and int(restored["step"]) == 10


def test_a_step_that_was_not_saved_is_named_with_those_that_were(tmp_path):
    checkpoints = Checkpoints(saved(tmp_path), read_only=True)
    with pytest.raises(UsageError, match=r"checkpoints has no checkpoint of step 5; it has 4, 8$"):
        checkpoints.restore(5, LIKE)
    checkpoints.close()
    with pytest.raises(UsageError, match=r"has no checkpoint of step 5; it has none at all$"):
        Checkpoints(tmp_path / "other", read_only=True).restore(5, LIKE)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"more": jax.ShapeDtypeStruct((), jnp.float32)}, "tree structures do not match: state.more"),
        ({"bits": jax.ShapeDtypeStruct((7,), jnp.uint32)}, r"Requested shape: \(7,\)"),
        ({"key": jax.ShapeDtypeStruct((2,), jnp.uint32)}, r"\['key'\] is not of type uint32 but key<fry>"),
    ],
    ids=["tree", "shape", "type"],
)
def test_the_state_of_another_gan_is_refused_and_stays_where_it_is(change, reason, tmp_path):
    checkpoints = Checkpoints(saved(tmp_path))
    with pytest.raises(UsageError, match=rf"checkpoints/8 can't be restored \(.*{reason}.*\); move it away"):
        checkpoints.restore(8, LIKE | change)
    with pytest.raises(UsageError, match=rf"none of the checkpoints .*step 4: .*{reason}.*; step 8: ") as error:
        checkpoints.restore_newest(LIKE | change)
    assert "\n" not in str(error.value) and len(str(error.value)) < 700
    assert checkpoints.steps() == [4, 8]
    checkpoints.close()


# --- damage -----------------------------------------------------------------------------------------------------------


def outcome(directory, pristine, damage):
    """Damages a copy of the checkpoints; the step that is restored then, whose state must be what was saved."""
    shutil.rmtree(directory / "checkpoints")
    shutil.copytree(pristine, directory / "checkpoints")
    damage()
    step, restored = newest(directory)
    assert_same(restored, state(step))
    return step


def damaged_each_way(tmp_path, damages):
    """Every damage done to every file of the newest checkpoint: which step was restored, by file."""
    directory = saved(tmp_path / "run")
    pristine = shutil.copytree(directory / "checkpoints", tmp_path / "pristine")
    return {
        (str(path.relative_to(directory)), i): outcome(directory, pristine, lambda p=path, d=damage: d(p))
        for path in files(directory, 8)
        for i, damage in enumerate(damages)
    }


def test_files_that_are_missing_or_cut_short_are_harmless_or_noticed(tmp_path, capsys):
    damages = [os.unlink, lambda path: os.truncate(path, 0), lambda path: os.truncate(path, path.stat().st_size // 2)]
    found = damaged_each_way(tmp_path, damages)
    assert set(found.values()) == {4, 8}  # not every file matters
    assert all(found["checkpoints/8/default/_METADATA", i] == 4 for i in range(3))
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == list(found.values()).count(4)
    for line in warnings:
        assert line.startswith(f"warning: checkpoint {tmp_path}/run/checkpoints/8 is damaged (")
        assert line.endswith("), going on from step 4") and len(line) < len(str(tmp_path)) + 300


def flip(path, position):
    """Flips one bit of the byte at a position from 0 to 1 of the file."""
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] ^= 16
    path.write_bytes(bytes(content))


def test_a_flipped_bit_is_harmless_or_noticed(tmp_path, capsys):
    directory = saved(tmp_path / "run")
    pristine = shutil.copytree(directory / "checkpoints", tmp_path / "pristine")
    path = largest(directory, 8)
    steps = [outcome(directory, pristine, lambda p=p: flip(path, p)) for p in np.linspace(0, 1, 12)]
    assert steps.count(4) >= 10, steps  # nearly all of this file are the random bits
    # Orbax notices none of these, whose values it doesn't check: the digest did.
    assert "is damaged (['bits'] is not what was saved), going on from step 4\n" in capsys.readouterr().err
    for path in files(directory, 8):
        assert outcome(directory, pristine, lambda path=path: flip(path, 0.6)) in (4, 8)


def test_a_value_that_is_not_what_was_saved_is_named(tmp_path):
    """Written by Orbax itself, whole in its eyes."""
    good = state(8)
    digest = digests(jax.tree.leaves(good))
    altered = good | {"pair": (good["pair"][0], good["pair"][1].at[3].set(3.0625))}
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        manager.save(8, args=ocp.args.StandardSave({"state": good, "digest": digest}))
        manager.save(9, args=ocp.args.StandardSave({"state": altered, "digest": digest}))
    checkpoints = Checkpoints(tmp_path)
    assert_same(checkpoints.restore(8, LIKE), good)
    assert float(altered["pair"][1][3]) == 3.0625
    with pytest.raises(UsageError, match=r"checkpoints/9 can't be restored \(\['pair'\]\[1\] is not what was saved\)"):
        checkpoints.restore(9, LIKE)
    assert checkpoints.restore_newest(LIKE)[0] == 8
    checkpoints.close()


def test_damaged_ones_are_moved_and_their_step_is_saved_again(tmp_path, capsys):
    saved(tmp_path, steps=(4, 8, 12))
    for name in ("8", "8-2"):
        ruin(tmp_path, 8)
        (tmp_path / "checkpoints" / "12" / "default").rename(tmp_path / f"elsewhere-{name}")  # an empty step
        checkpoints = Checkpoints(tmp_path)
        step, restored = checkpoints.restore_newest(LIKE)
        assert step == 4 and checkpoints.steps() == [4]
        assert_same(restored, state(4))
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 2 and all("going on from step 4; it is now " in line for line in said)
        assert said[0].startswith(f"warning: checkpoint {tmp_path}/checkpoints/8 is damaged (")
        assert said[0].endswith(f"{tmp_path}/damaged/{name}")
        for step in (8, 12):
            checkpoints.save(step, state(step))
        checkpoints.close()
    assert sorted(path.name for path in (tmp_path / "damaged").iterdir()) == ["12", "12-2", "8", "8-2"]
    assert (tmp_path / "damaged" / "8-2" / "default" / "_METADATA").exists()
    step, restored = newest(tmp_path)
    assert step == 12
    assert_same(restored, state(12))


def test_who_only_reads_moves_nothing(tmp_path, capsys):
    ruin(saved(tmp_path), 8)
    (tmp_path / "checkpoints" / "12").mkdir()
    assert newest(tmp_path)[0] == 4
    assert "12 is damaged" in (said := capsys.readouterr().err) and "it is now" not in said
    assert not (tmp_path / "damaged").exists() and Checkpoints(tmp_path).steps() == [4, 8, 12]


@pytest.mark.parametrize("name", ["012", "\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}"])
def test_a_folder_that_only_orbax_takes_for_a_step_is_named_before_training(name, tmp_path):
    saved(tmp_path, steps=(4, 12))
    (tmp_path / "checkpoints" / "12").rename(tmp_path / "checkpoints" / name)
    assert newest(tmp_path)[0] == 4
    with pytest.raises(
        UsageError, match=f"checkpoints/{name} is named like the checkpoint of step 12, whose folder is"
    ):
        Checkpoints(tmp_path)
    assert (tmp_path / "checkpoints" / name / "default").is_dir()


def test_where_none_is_whole_it_never_starts_again_by_itself(tmp_path):
    for step in (4, 8):
        ruin(saved(tmp_path), step)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=r"none of the checkpoints in .* \(step 4: .*; step 8: .*\); bring back") as e:
        newest(tmp_path, read_only=False)
    assert "\n" not in str(e.value) and sorted(tmp_path.rglob("*")) == before


def test_what_a_killed_save_left_is_removed_by_the_one_who_trains(tmp_path):
    left = saved(tmp_path) / "checkpoints" / "12.orbax-checkpoint-tmp" / "default.orbax-checkpoint-tmp"
    left.mkdir(parents=True)
    (left / "data").write_bytes(b"half of it")
    assert newest(tmp_path)[0] == 8 and left.exists()
    assert newest(tmp_path, read_only=False)[0] == 8
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["4", "8"]


# --- saves that fail --------------------------------------------------------------------------------------------------


def test_a_folder_that_became_a_file_fails_the_save_at_once_and_harms_nothing_else(tmp_path):
    folder = saved(tmp_path, steps=(4,)) / "checkpoints"
    checkpoints = Checkpoints(tmp_path)
    folder.rename(tmp_path / "away")
    folder.write_text("")
    for step in (8, 12):  # and again
        with pytest.raises(SaveError, match=rf"^checkpoint .*/checkpoints/{step} can't be saved: Not a directory"):
            checkpoints.save(step, state(step))
    checkpoints.close()
    with pytest.raises(UsageError, match=r"^can't write in run directory .*: Not a directory: checkpoints; choose"):
        Checkpoints(tmp_path)
    folder.unlink()
    (tmp_path / "away").rename(folder)
    assert newest(tmp_path)[0] == 4


@contextlib.contextmanager
def files_of_at_most(size):
    """As if the disk took no more; a process of any user may do that to itself."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


@pytest.mark.parametrize("size", [0, 1000])
@pytest.mark.parametrize("told_by", ["save", "close"])
def test_a_save_that_fails_in_the_background_is_told_by_the_next_call(told_by, size, tmp_path, capfd):
    checkpoints = Checkpoints(saved(tmp_path, steps=(4,)))
    with files_of_at_most(size):
        checkpoints.save(8, state(8))
        with pytest.raises(SaveError, match=r"^checkpoint .*/checkpoints/8 can't be saved: File too large$"):
            checkpoints.save(12, state(12)) if told_by == "save" else checkpoints.close()
        checkpoints.close()  # has told it already
    assert newest(tmp_path)[0] == 4
    checkpoints.save(12, state(12))  # as if nothing had been
    checkpoints.close()
    assert newest(tmp_path)[0] == 12
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["12", "4"]
    assert capfd.readouterr().err == ""


def test_a_state_that_orbax_cannot_save_is_a_save_error(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(SaveError, match=r"checkpoints/1 can't be saved: .*zero size.*state\.x"):
        checkpoints.save(1, {"x": jnp.zeros((0, 3)), "y": jnp.ones(3)})
    with pytest.raises(SaveError, match=r"checkpoints/1 can't be saved: TypeError: "):
        checkpoints.save(1, {"x": object()})
    checkpoints.save(3, state(3))
    with pytest.raises(SaveError, match=r"checkpoints/2 can't be saved: step 3 is saved already"):
        checkpoints.save(2, state(2))
    checkpoints.close()
    assert newest(tmp_path)[0] == 3
