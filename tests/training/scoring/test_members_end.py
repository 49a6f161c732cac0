"""What a run of several GANs leaves and says: metrics, report, devices, dry run."""

import contextlib
import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from point_runs import D_RATE, points, report, rows, run_points, same, some_points
from tensorboardX.proto.event_pb2 import Event

from experiments import gan_ring
from jaxgan import data
from jaxgan.training import open, train  # noqa: A004 - the library's name for it
from jaxgan.training.compiled import dry_run
from jaxgan.training.output.log import Log
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.scoring import member_report
from jaxgan.training.scoring.member_report import last_metrics
from jaxgan.training.scoring.real_data import RealData

pytestmark = pytest.mark.usefixtures("as_users_have_it")


# --- what it leaves --------------------------------------------------------------------------------------------------
def scalars(folder):
    """(step, name) -> value of a folder's TensorBoard files: records of an 8-byte length, 4 bytes of checksum, the
    event, 4 bytes of checksum."""
    found = {}
    for path in folder.glob("events*"):
        content, offset = path.read_bytes(), 0
        while offset < len(content):
            (length,) = struct.unpack_from("<Q", content, offset)
            event = Event.FromString(content[offset + 12 : offset + 12 + length])
            found |= {(event.step, v.tag): v.simple_value for v in event.summary.value if v.HasField("simple_value")}
            offset += length + 16
    return found


def test_metrics_are_logged_for_each_and_for_all(tmp_path):
    """1, 2, 6: mean 3, squares of differences 4 + 1 + 9 = 14, over 2: 7."""
    values = np.full((20, 3), 99.0, np.float32)
    values[9], values[19] = [1, 2, 6], [4, np.nan, 8]
    only_one = np.where(np.arange(3) == 2, 5.0, np.nan) * np.ones((20, 1))
    nobody = np.full((20, 3), np.inf)
    with contextlib.closing(Log(tmp_path, 0, 8, 3)) as log:
        log.rows(1, {"loss": values, "one": only_one, "none": nobody})
    first, second = rows(tmp_path)
    assert [first["step"], first["images"], second["step"]] == [10, 80, 20]
    assert (first["loss"], first["loss/std"]) == (3, pytest.approx(7**0.5))
    assert (second["loss"], second["loss/std"]) == (6, pytest.approx(8**0.5))
    assert (second["one"], second["one/std"], second["none"], second["none/std"]) == (5, None, None, None)
    assert first["members"]["loss"] == [1, 2, 6] and second["members"]["loss"] == [4, None, 8]
    assert second["members"]["none"] == [None] * 3
    assert scalars(tmp_path / "tensorboard") == {
        (10, "loss"): 3,
        (10, "loss/std"): pytest.approx(7**0.5),
        (10, "one"): 5,
        (20, "loss"): 6,
        (20, "loss/std"): pytest.approx(8**0.5),
        (20, "one"): 5,
    }
    assert scalars(tmp_path / "tensorboard" / "member-1") == {(10, "loss"): 2}
    assert scalars(tmp_path / "tensorboard" / "member-2") == {
        (10, "loss"): 6,
        (20, "loss"): 8,
        (10, "one"): 5,
        (20, "one"): 5,
    }


def test_last_metrics_are_means_over_a_tenth_of_the_steps(tmp_path):
    def row(step, a, b):
        return json.dumps({"step": step, "loss": 0, "members": {"loss": [a, b]}})

    lines = [row(90, 100, 100), row(91, 1, 1), row(95, 2, 2), row(100, 6, None), row(110, 100, 100), '{"step": 120, "m']
    path = tmp_path / "metrics.jsonl"
    assert last_metrics(path, 100) == {}
    path.write_text("\n".join(lines))
    assert last_metrics(path, 100) == {"loss": [3, None]}, "not what a killed run logged later, and not half a line"
    assert last_metrics(path, 9) == {}


def test_real_images_are_as_the_discriminator_sees_them():
    numbered = data.from_arrays("numbered", (np.arange(600) // 3).astype(np.uint8).repeat(9).reshape(600, 3, 3, 1))
    spec = DataSpec.of(numbered)
    assert sorted(RealData(numbered, spec, None).examples(600)[:, 0, 0, 0]) == sorted(numbered.images[:, 0, 0, 0])

    def brighter(images, keys):
        assert images.shape[1:] == (3, 3, 1) and keys.shape == images.shape[:1]
        return jnp.where(jax.random.key_data(keys).sum() > 0, images[:, :2, :2] + 2 / 127.5, jnp.nan)

    plain, changed = (RealData(numbered, spec, transform).examples(300) for transform in (None, brighter))
    assert changed.shape == (300, 2, 2, 1) and changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, plain[:, :2, :2] + 2)
    assert RealData(numbered, spec, brighter).examples(0).shape[0] == 0


@pytest.mark.parametrize(
    "count", [pytest.param(n, marks=pytest.mark.slow if n < 3 else pytest.mark.long) for n in (1, 2, 3, 9)]
)
def test_few_images_and_few_steps_do_not_cost_the_end(count, tmp_path, capsys):
    sweep = {"sweep": f"{D_RATE}=1e-3", "batch_size": 1, "steps": 2}
    state = train(gan_ring.build, points(tmp_path, **sweep), data=some_points(count))
    assert int(state.step) == 2 and len(state.frozen) == 1
    (member,) = report(tmp_path / "run")["members"]
    assert member["member"] == 0 and member[D_RATE] == 1e-3 and (tmp_path / "run" / "members.png").exists()
    assert (member["score"] is None) == (count == 1)
    said = capsys.readouterr().out
    assert ("it takes two real images" in said) == (count == 1) and "losses are" not in said


@pytest.mark.slow
def test_a_finished_run_that_is_started_again_writes_its_report_again(tmp_path, capsys):
    run_points(tmp_path, seeds=2)
    before, said = report(tmp_path / "run"), capsys.readouterr().out
    (row,) = rows(tmp_path / "run")
    assert [member["generator/loss"] for member in before["members"]] == row["members"]["generator/loss"]
    for name in ("members.json", "members.png"):
        (tmp_path / "run" / name).unlink()
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "ima')  # of a run that went further and was killed
    run_points(tmp_path, seeds=2)
    again = capsys.readouterr().out
    assert report(tmp_path / "run") == before and (tmp_path / "run" / "members.png").exists()
    table = [line for line in said.splitlines() if line.startswith(("member ", "0  ", "1  "))]
    assert len(table) == 3 and all(line in again.splitlines() for line in table)


@pytest.mark.slow
def test_a_report_that_fails_costs_no_run(tmp_path, capsys, monkeypatch):
    def fail(kind):
        def failing(*arguments, **named):
            raise kind("no such luck\nat all")

        return failing

    run_points(tmp_path, seeds=2, steps=4)
    assert len(report(tmp_path / "run")["members"]) == 2
    monkeypatch.setattr(member_report, "scores", fail(RuntimeError))
    assert int(run_points(tmp_path, seeds=2, steps=8).step) == 8
    said = capsys.readouterr().err
    assert "warning: no report of the members (no such luck); the run is complete without it" in said
    assert open(tmp_path / "run").step == 8


# --- one program, many devices ---------------------------------------------------------------------------------------
def test_a_second_chunk_compiles_nothing(tmp_path, caplog):
    compiled = []

    def count(state, metrics):
        compiled.append(sum("Compiling" in record.message for record in caplog.records))
        assert all(values.shape[1:] == (2,) for values in metrics.values())

    with jax.log_compiles():
        options = points(tmp_path, seeds=2, steps=300, checkpoint_every=1000, sample_every=1000)
        train(gan_ring.build, options, count, data=some_points())
    assert len(compiled) >= 3 and compiled[0] > 0
    assert compiled[1:] == compiled[:1] * (len(compiled) - 1)


@pytest.mark.parametrize(
    "seeds, more",
    [
        *(pytest.param(seeds, {}, id=f"{seeds}") for seeds in (2, 3, 4)),
        pytest.param(2, {"shard_parameters": True, "width": 64}, id="sharded"),
    ],
)
@pytest.mark.slow
def test_members_on_four_devices_have_the_numbers_of_one(seeds, more, tmp_path, capsys):
    options = {"seeds": seeds, **more, "steps": 6}
    alone = run_points(tmp_path, workdir=str(tmp_path / "alone"), **options | {"shard_parameters": False})
    spread = run_points(tmp_path, **options | {"devices": 4})
    groups = {4: (4, 1), 2: (2, 2), 3: (1, 4)}[seeds] if not more else (1, 4)  # sharded ones share every device
    assert "members spread {} ways, batches {} ways".format(*groups) in capsys.readouterr().out
    same(jax.device_get(spread), jax.device_get(alone), 1e-5)
    scores = [[member["score"] for member in report(tmp_path / name)["members"]] for name in ("run", "alone")]
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)
    assert int(run_points(tmp_path, **options | {"steps": 8}).step) == 8, "goes on on one"


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 4])
def test_a_dry_run_says_whose_numbers_it_tells(devices, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(dry_run, "SECONDS", 0.1)  # of timing, of which nothing is asserted here
    run_points(tmp_path, seeds=4, devices=devices, width=256, dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert not (tmp_path / "run").exists()
    generator = (2 * 256 + 256) + (256 * 256 + 256) + (256 * 2 + 2)
    parameters = generator + (2 * 256 + 256) + (256 * 256 + 256) + (256 + 1)
    assert lines[-11].split()[-1] == f"{parameters:,}" and lines[-10] == "of each of 4 members"
    assert lines[-8] == ("memory on each of 4 devices" if devices == 4 else "memory on the device")
    megabytes = 4 * (3 * parameters + generator) * 4 / devices / 1e6  # parameters, Adam's two, the average
    assert float(lines[-7].split()[1]) == pytest.approx(megabytes, abs=0.1)
    assert lines[-2] == "time for all 4 members" and " a step, 12 steps: about " in lines[-1]
