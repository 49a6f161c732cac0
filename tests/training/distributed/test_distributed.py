"""Several processes that make one run: real ones, on the loopback device, that meet, agree, save, and are killed."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from together import LAST, chunk, init

from jaxgan.training import UsageError
from jaxgan.training.checkpoints.checkpoints import Checkpoints
from jaxgan.training.distributed import processes

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).parents[2] / "together.py"
LONG = 600  # seconds after which a test gives up; how busy the machine is makes no difference before


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((None, 2, None), "--processes 2 with no --coordinator; give all of --coordinator HOST:PORT --processes N"),
        (("auto", None, 1), "--process 1 with --coordinator auto, which finds it out; give all of"),
        (("host", 2, 0), "--coordinator must be auto or HOST:PORT of the first process, got host"),
        (("host:0", 2, 0), "--coordinator must be auto or HOST:PORT of the first process, got host:0"),
        (("host:1234", None, 0), "--coordinator host:1234 needs --processes; give all of"),
        (("host:1234", 2, None), "--coordinator host:1234 needs --process; give all of"),
        (("[::1]:1234", 0, 0), "--processes must be at least 1, got 0"),
        (("host:1234", 2, 2), r"--process must be from 0 to 1 \(--processes 2\), got 2"),
        (("host:1234", 2, -1), r"--process must be from 0 to 1 \(--processes 2\), got -1"),
    ],
)
def test_flags_that_make_no_sense_are_a_users_mistake(arguments, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        processes.join(*arguments)


def test_a_single_process_needs_nobody():
    processes.join(None)
    assert processes.first() and not processes.several() and processes.agree(15, 7) == (15, 7)
    assert processes.from_first(lambda: "mine") == "mine"
    assert processes.lost_process(ValueError("Gloo all-reduce failed")) is None
    with processes.explain_aborts(), pytest.raises(ZeroDivisionError), processes.exit_at_once():
        raise ZeroDivisionError
    four = NamedSharding(Mesh(np.array(jax.devices()).reshape(2, 2), ("seed", "data")), PartitionSpec("seed", "data"))
    whole = np.arange(24).reshape(4, 6)
    assert processes.share(four, whole.shape) == (slice(0, 4), slice(0, 6))
    np.testing.assert_array_equal(processes.global_array(four, whole.shape, whole), whole)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def started(what, run, count=2, elsewhere=None):
    """The processes, each with a file `PROCESS.log` for all that it says; none outlives the block. Where the last one's
    run directory is another, that is `elsewhere`."""
    flags = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("_count=4", "_count=1")}
    with contextlib.ExitStack() as stack:
        address, all_of_them = f"127.0.0.1:{free_port()}", []
        for number in range(count):
            log = stack.enter_context((run / f"{number}.log").open("w"))
            arguments = [sys.executable, str(PROGRAM), what, address, str(count), str(number)]
            arguments.append(str(elsewhere if elsewhere and number == count - 1 else run))
            process = subprocess.Popen(arguments, cwd=ROOT, env=os.environ | flags, stdout=log, stderr=log)
            all_of_them.append(process)
            stack.callback(process.wait, 10)
            stack.callback(process.kill)
        yield all_of_them


def said(run, number):
    return (run / f"{number}.log").read_text()


def wait_for(text, run, numbers=(0, 1)):
    end = time.monotonic() + LONG
    while not all(text in said(run, number) for number in numbers):
        assert time.monotonic() < end, [said(run, number) for number in numbers]
        time.sleep(0.02)


def ends(what, run, count=2):
    with started(what, run, count) as all_of_them:
        for number, process in enumerate(all_of_them):
            assert process.wait(LONG) == 0, said(run, number)
    return said(run, 0)


def expected(step):
    """The state after so many steps, by this process alone."""
    state = chunk(init(), jnp.int32(0))
    for _ in range(step // 20):
        state = chunk(state, jnp.int32(20))
    return {name: np.asarray(leaf) for name, leaf in (state | {"key": jax.random.key_data(state["key"])}).items()}


def check_newest(run, step, counts=(1, 2)):
    """The newest checkpoint is of that step, and comes back equal leaf by leaf in one process and in two."""
    for count in counts:
        assert f"read {step}\n" in ends("read", run, count)
        with np.load(run / "read.npz") as arrays:
            assert set(arrays) == {"key", "rows", "step", "weights"}
            for name, value in expected(step).items():
                np.testing.assert_array_equal(arrays[name], value, err_msg=name)


@pytest.mark.slow
def test_two_processes_agree_and_share(tmp_path):
    assert "all agreed" in ends("meet", tmp_path)


@pytest.mark.slow
def test_what_two_saved_one_continues_and_what_one_saved_two_continue(tmp_path):
    with started("save", tmp_path) as all_of_them:
        wait_for("step 100\n", tmp_path)
        all_of_them[1].send_signal(signal.SIGTERM)  # to one, and both save and stop at the same step
        assert [process.wait(LONG) for process in all_of_them] == [143, 143]
    lines = {said(tmp_path, number).splitlines()[-1] for number in range(2)}
    step = Checkpoints(tmp_path, read_only=True).newest()
    assert lines == {f"stopped by SIGTERM at step {step}"}
    check_newest(tmp_path, step)
    with started("save", tmp_path, count=1) as [process]:
        wait_for("begins at", tmp_path, [0])
        wait_for("step", tmp_path, [0])
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG) == 130
    assert f"begins at {step}\n" in said(tmp_path, 0)
    later = Checkpoints(tmp_path, read_only=True).newest()
    assert later > step
    check_newest(tmp_path, later)


# What is lost: the coordinator (0), or another; killed, or there but silent, as without a network. The other cases show
# the same and take as long: they are among the long tests.
LOST = [("compute", signal.SIGKILL, 0), ("save", signal.SIGKILL, 1), ("compute", signal.SIGSTOP, 1)]
OTHERS = [("compute", signal.SIGKILL, 1), ("save", signal.SIGKILL, 0), ("compute", signal.SIGSTOP, 0)]
OTHERS += [("idle", signal.SIGKILL, 0), ("idle", signal.SIGKILL, 1)]


@pytest.mark.parametrize(
    "what, number, victim",
    [pytest.param(*each, marks=pytest.mark.slow if each in LOST else pytest.mark.long) for each in LOST + OTHERS],
)
def test_who_loses_another_says_so_and_all_continue(what, number, victim, tmp_path):
    other = 1 - victim
    with started(what, tmp_path) as all_of_them:
        wait_for("idle" if what == "idle" else "step 400\n", tmp_path)
        all_of_them[victim].send_signal(number)
        assert all_of_them[other].wait(LONG) == 1, said(tmp_path, other)
    text = said(tmp_path, other)
    last = text.splitlines()[-1]
    written = Checkpoints(tmp_path, read_only=True).newest()
    assert written >= 200 and last.startswith(f"process {other} of 2 ") and "Traceback" not in text
    assert last.endswith("; start all of them again: the run goes on from its last checkpoint")
    check_newest(tmp_path, written, counts=[1])
    if what == "compute" and number == signal.SIGKILL:
        for count in (1, 2):
            run = shutil.copytree(tmp_path, tmp_path / f"on-{count}")
            assert f"begins at {written}\n" in ends("train", run, count)
            check_newest(run, LAST, counts=[1])


@pytest.mark.long
def test_a_damaged_one_is_damaged_for_all_and_told_by_the_first(tmp_path):
    ends("train", tmp_path)
    folder = tmp_path / "checkpoints" / str(LAST)
    for path in folder.rglob("d/*"):
        path.write_bytes(b"")
    assert f"begins at {LAST - 200}\n" in ends("train", tmp_path)
    assert ["is damaged (" in said(tmp_path, number) for number in range(2)] == [True, False]
    assert (tmp_path / "damaged" / str(LAST)).is_dir()
    check_newest(tmp_path, LAST, counts=[2])


@pytest.mark.slow
def test_a_disk_that_is_not_shared_is_a_users_mistake_and_nothing_is_moved(tmp_path):
    for number in range(2):  # at the start, and when there are checkpoints
        (tmp_path / "elsewhere" / ("checkpoints" if number else "")).mkdir(parents=True, exist_ok=True)
        with started("train", tmp_path, elsewhere=tmp_path / "elsewhere") as all_of_them:
            assert [process.wait(LONG) for process in all_of_them] == [2, 2]
        missing = f"checkpoints/{LAST}" if number else "checkpoints"
        for log in range(2):
            last = said(tmp_path, log).splitlines()[-1]
            assert last.startswith("error: process 1 of 2 doesn't find ") and f"{missing}, which the first has" in last
        ends("train", tmp_path)
    assert not (tmp_path / "damaged").exists()


def refused(*arguments):
    """What `join(*arguments)` says on stderr in a program that ends with status 2."""
    program = (
        "from jaxgan.training.distributed import processes as p; from jaxgan.training.cli.exits import plain_exits"
    )
    program += f"\np.MEET = 2\nwith plain_exits(): p.join(*{arguments})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONG
    )
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: --coordinator "), done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_who_waits_in_vain_says_what_is_missing(number):
    last = refused(f"127.0.0.1:{free_port()}", 2, number).splitlines()[-1]
    assert "not all processes met within 2 s; start every one of them" in last


@pytest.mark.slow
def test_a_port_that_is_taken_and_a_cluster_that_is_none():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        text = refused(f"127.0.0.1:{port}", 2, 0)
    assert text.count("\n") == 1 and f"the first, can't listen on port {port} (Address already in use" in text
    text = refused("auto")
    assert text.count("\n") == 1 and "auto: no SLURM, Kubernetes, TPU pod or Open MPI was found here; give" in text
