"""One run in two real processes, of one device each: killed, preempted, continued on two and on one."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import killable
import numpy as np
import pytest

from jaxgan import training
from jaxgan.training.scoring.judge import read

ROOT = Path(__file__).parents[3]
LONG = 600  # seconds after which a test gives up; how busy the machine is makes no difference before
SMALL = ["--sample-every", "1000"]


@contextlib.contextmanager
def processes(directory, *arguments, count=2, each=((), ())):
    """The run's processes, started, with arguments for all and for `each`; what is left of them in the end is killed.
    Their stderr is in `directory.N.txt`."""
    environment = os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("_device_count=4", "_device_count=1")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    started = []
    try:
        for number in range(count):
            joint = ["--coordinator", coordinator, "--processes", str(count), "--process", str(number)]
            own = ["--workdir", str(directory), "--devices", str(count), *SMALL, *arguments, *each[number]]
            with said_by(directory, number).open("w") as said:
                process = subprocess.Popen(
                    [sys.executable, "tests/killable.py", "cold"],
                    cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said,
                )  # fmt: skip
            started.append(process)
            process.stdin.write(" ".join([*own, *(joint if count > 1 else [])]) + "\n")
            process.stdin.flush()
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def said_by(directory, number):
    return directory.with_name(f"{directory.name}.{number}.txt")


def until_saved(directory, step, started):
    """Waits until the checkpoint of `step`, or a later one, is whole."""
    deadline = time.monotonic() + LONG
    while not any(int(path.name) >= step for path in (directory / "checkpoints").glob("[0-9]*") if path.name.isdigit()):
        assert time.monotonic() < deadline and all(process.poll() is None for process in started), [
            said_by(directory, number).read_text()[-2000:] for number in range(len(started))
        ]
        time.sleep(0.05)


def to_the_end(directory, steps, count, *arguments):
    with processes(directory, "--steps", str(steps), *arguments, count=count) as started:
        for number, process in enumerate(started):
            assert process.wait(LONG) == 0, said_by(directory, number).read_text()[-2000:]


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def assert_close_rows(one, other):
    assert [row["step"] for row in one] == [row["step"] for row in other]
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(list(mine.values()), list(theirs.values()), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)])
def test_a_killed_process_ends_the_other_and_the_run_goes_on_with_two_and_with_one(victim, tmp_path):
    directory, alone = tmp_path / "run", tmp_path / "alone"
    with processes(directory, "--steps", "100000") as started:
        until_saved(directory, 10, started)
        started[victim].kill()
        other = started[1 - victim]
        assert other.wait(LONG) == 1
    last = said_by(directory, 1 - victim).read_text().splitlines()[-1]
    assert last.startswith(f"process {1 - victim} of 2 ") and "start all of them again" in last

    reached = training.open(directory, build=killable.build).step
    assert reached >= 10 and reached % 5 == 0
    to_the_end(directory, reached + 10, count=2)
    to_the_end(directory, reached + 20, count=1)
    to_the_end(alone, reached + 20, count=1)
    assert_close_rows(rows(directory), rows(alone))
    run, other = training.open(directory, build=killable.build), training.open(alone, build=killable.build)
    assert run.step == reached + 20
    for (path, a), b in zip(jax.tree.leaves_with_path(run.state), jax.tree.leaves(other.state), strict=True):
        if jax.numpy.issubdtype(a.dtype, jax.numpy.floating):
            np.testing.assert_allclose(a, b, rtol=5e-2, atol=5e-3, err_msg=jax.tree_util.keystr(path))


@pytest.mark.slow
def test_a_preempted_process_saves_and_stops_both(tmp_path):
    directory = tmp_path / "run[1]"  # which Orbax must be given by another name, of each process' own
    with processes(directory, "--steps", "100000", "--checkpoint-every", "1000") as started:
        deadline = time.monotonic() + LONG
        while not (directory / "metrics.jsonl").exists() or not rows(directory):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        started[1].send_signal(signal.SIGTERM)
        assert [process.wait(LONG) for process in started] == [143, 143]
    for number in range(2):
        assert "stopped by SIGTERM at step " in said_by(directory, number).read_text().splitlines()[-1]
    reached = training.open(directory, build=killable.build).step
    assert rows(directory)[-1]["step"] > reached - 10
    to_the_end(directory, reached + 5, count=2)


@pytest.mark.slow
def test_a_streamed_ensemble_on_two_is_the_one_in_memory_on_one(tmp_path):
    options = ["--seeds", "2", "--flip", "--sample-every", "10", "--eval-every", "5", "--eval-count", "64"]
    to_the_end(tmp_path / "two", 10, 2, *options, "--stream")
    to_the_end(tmp_path / "one", 10, 1, *options)
    (two,), (one,) = rows(tmp_path / "two"), rows(tmp_path / "one")
    assert two.keys() == one.keys()
    for name, values in one["members"].items():
        np.testing.assert_allclose(two["members"][name], values, rtol=2e-3, atol=2e-4)
    scores = [[(row["key"], row["step"], row["member"]) for row in read(tmp_path / name)] for name in ("two", "one")]
    assert scores[0] == scores[1] and len(scores[0]) == 3 * 2 * 2, "each once, by the first process"
    assert (
        training.open(tmp_path / "two", "best", build=killable.build).step
        == training.open(tmp_path / "one", "best", build=killable.build).step
    )


@pytest.mark.slow
def test_processes_that_were_started_otherwise_are_refused(tmp_path):
    directory = tmp_path / "run"
    with processes(directory, each=(["--seed", "0"], ["--seed", "1"])) as started:
        assert [process.wait(LONG) for process in started] == [2, 2]
    said = [said_by(directory, number).read_text().splitlines()[-1] for number in range(2)]
    assert said[0] == "error: process 1 has other options or data; start all processes alike"
    assert said[1] == "error: process 1 of 2 has seed 1 (the first has 0); start all processes alike"
    assert not directory.exists()


@pytest.mark.slow
def test_only_the_first_process_writes(tmp_path):
    directory = tmp_path / "run"
    to_the_end(directory, 10, count=2)
    assert [row["step"] for row in rows(directory)] == [10]
    assert len(list((directory / "tensorboard").glob("events*"))) == 1
    assert said_by(directory, 0).read_text().count("steps") and "steps" not in said_by(directory, 1).read_text()


TWO_FOLDERS = """
import contextlib, pathlib, sys
import jax.numpy as jnp
from jaxgan.training.distributed import processes
from jaxgan.training.checkpoints.checkpoints import BEST, Checkpoints

coordinator, number, directory = sys.argv[1:]
processes.join(coordinator, 2, int(number))
state = {"x": jnp.arange(100_000.0)}
with contextlib.closing(Checkpoints(pathlib.Path(directory))) as checkpoints:
    for step in range(1, 9):
        checkpoints.save(step, state)  # goes on in the background
        with contextlib.closing(Checkpoints(pathlib.Path(directory), BEST, max_to_keep=None)) as best:
            best.save(step, state)
            best.keep_only(step)
"""


def both(program, directory):
    """The ends of two processes that run a program with a coordinator, their number and a directory: status and
    stderr of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, coordinator, str(number), str(directory)],
            cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for number in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=LONG)[1][-2000:] for process in started]
    return [(process.returncode, each) for process, each in zip(started, said, strict=True)]


@pytest.mark.slow
def test_two_folders_that_are_written_at_once_dont_wait_at_one_barrier(tmp_path):
    ends = both(TWO_FOLDERS, tmp_path)
    assert [status for status, _ in ends] == [0, 0], ends
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()) == ["6", "7", "8"]


NOT_RESTORABLE = """
import pathlib, sys, time
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxgan.training.checkpoints import checkpoints as room
from jaxgan.training.distributed import processes

coordinator, number, directory = sys.argv[1:]
processes.join(coordinator, 2, int(number))
read = room.read_back
room.read_back = lambda file, saved: time.sleep(1) or read(file, saved) or "it is bad"
checkpoints = room.Checkpoints(pathlib.Path(directory), read_back=True)
everywhere = NamedSharding(Mesh(np.array(jax.devices()), "all"), PartitionSpec())
checkpoints.save(1, {"x": jnp.arange(100_000.0), "key": jax.jit(jax.random.key, out_shardings=everywhere)(0)})
chunks = 0
try:
    while chunks < 100_000:
        checkpoints.check()
        chunks += 1
except room.SaveError as error:
    print(f"after {chunks} chunks: {error}", file=sys.stderr)
"""


@pytest.mark.slow
def test_all_processes_end_at_once_where_the_first_checkpoint_cannot_be_restored(tmp_path):
    (tmp_path / "run[1]").mkdir()
    (one, said), (other, told) = both(NOT_RESTORABLE, tmp_path / "run[1]")
    assert one == other == 0, (said, told)
    one, _, why = said.splitlines()[-1].partition(": ")
    assert one.startswith("after ") and told.splitlines()[-1].startswith(f"{one}: "), "in the same iteration"
    assert why == f"checkpoint {tmp_path}/run[1]/checkpoints/1 was saved but can't be restored: it is bad"
