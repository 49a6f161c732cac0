"""Real processes, as users start and stop them: signals, and the commands of the README. Kills: test_kills.py."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_RUN
from PIL import Image

from jaxgan import training

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
STEPS = 300
ENDLESS = 1_000_000


def command(*arguments):
    return [sys.executable, "-m", *map(str, arguments)]


def experiment(directory, *more):
    often = ["--steps", STEPS, "--checkpoint-every", 25, "--sample-every", 100]
    return command("experiments.dcgan_mnist", *TINY_RUN, *often, "--workdir", directory, *more)


def start(arguments):
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(arguments, status=0, **environment):
    done = subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | environment, timeout=1500
    )
    assert done.returncode == status, done.stderr
    return done


def newest(directory):
    steps = [int(path.name) for path in (directory / "checkpoints").glob("*") if path.name.isdigit()]
    return max(steps, default=0)


def wait_until(condition, process, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def final_arrays(directory):
    import jax

    run = training.open(directory)
    assert run.step == STEPS
    state = run.state.replace(key=jax.random.key_data(run.state.key))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(state)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(experiment(directory))
    return directory


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_how_to_go_on(number, status, tmp_path):
    """That it then goes on with the same bits is shown by test_loop.py, in one process."""
    directory = tmp_path / "my run"
    typed = experiment(directory, "--steps", ENDLESS)
    process = start(typed)
    wait_until(lambda: newest(directory) > 0, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=600)
    assert process.returncode == status and "Traceback" not in said
    last, reached = said.splitlines()[-1], newest(directory)
    assert last.startswith(f"stopped by {number.name} at step {reached}, which is saved; continue with ")
    again = shlex.split(last.partition("continue with ")[2])
    assert again == typed and (directory / "samples" / f"{reached:08d}.png").exists()
    done = finish([*again, "--steps", str(reached + 5)])
    assert f"continuing at step {reached}" in done.stdout and newest(directory) == reached + 5


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_compile_harms_nothing(number, status, tmp_path):
    """With an empty compilation cache, so that the signal finds XLA at work, and entries half written."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    run = [*experiment(tmp_path / "run"), "--steps", "20"]
    process = subprocess.Popen(
        run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | cache
    )
    wait_until((tmp_path / "run" / "options.json").exists, process)
    wait_until(lambda: any((tmp_path / "cache").glob("*")), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=600)
    assert process.returncode == status and "Traceback" not in said
    if number == signal.SIGINT:
        assert said.splitlines()[-1].startswith("stopped by SIGINT before the first step; continue with")
    done = finish(run, **cache)
    assert "has no checkpoint: starting from step 0" in done.stdout and "done: 20 steps" in done.stdout


def test_a_repeated_run_is_the_same_run(undisturbed, tmp_path):
    options = undisturbed / "options.json"
    finish(command("experiments.dcgan_mnist", "--options", options, "--workdir", tmp_path / "run"))
    repeated = final_arrays(tmp_path / "run")
    for name, value in final_arrays(undisturbed).items():
        np.testing.assert_array_equal(repeated[name], value, err_msg=name)


def test_samples_from_a_run_directory(undisturbed, tmp_path):
    out, grid, walk = tmp_path / "samples.npz", tmp_path / "grid.png", tmp_path / "walk.gif"
    finish(command("scripts.sample", undisturbed, "--count", 1000, "--out", out, grid, walk))
    images = np.load(out)["images"]
    assert images.shape == (1000, 28, 28, 1) and images.dtype == np.uint8 and images.std() > 10
    with Image.open(grid) as picture, Image.open(walk) as animation:
        assert picture.size[0] > 400 and animation.n_frames > 50
    finish(command("scripts.sample", undisturbed, "--count", 300, "--out", tmp_path / "few.npz"))
    np.testing.assert_array_equal(np.load(tmp_path / "few.npz")["images"], images[:300])
    finish(command("scripts.sample", undisturbed, "--count", 300, "--out", tmp_path / "raw.npz", "--weights", "raw"))
    assert not np.array_equal(np.load(tmp_path / "raw.npz")["images"], images[:300])


def test_the_first_command_without_any_data(tmp_path):
    """`python -m experiments.dcgan_mnist` at its default preset, but for 10 steps, where no MNIST can be had."""
    short = ["--devices", 1, "--steps", 10, "--sample-every", 5]
    arguments = command("experiments.dcgan_mnist", *short, "--workdir", tmp_path / "run")
    done = finish(arguments, TFDS_DATA_DIR=str(tmp_path))
    first, second, *_ = done.stdout.splitlines()
    assert first == "reading mnist ..."
    assert second.startswith("NOTE: training on scikit-learn's 1,797 digits instead of MNIST")
    assert json.loads((tmp_path / "run" / "options.json").read_text())["options"]["dataset"] == "digits"
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 3 and (tmp_path / "run" / "training.gif").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["experiments.dcgan_mnist", "--stepz", "3"], "--stepz"),
        (["experiments.dcgan_mnist", "--image-size", "30"], "got 30"),
        (["experiments.dcgan_mnist", "--steps", "0"], "--steps must be at least 1, got 0"),
        (["experiments.dcgan_mnist", "--dataset", "mnist", "--data-dir", "nowhere"], "nowhere"),
        (["experiments.dcgan_mnist", "--dataset", "digits", "--workdir", "README.md/run"], "README.md/run"),
        (["scripts.sample", "nowhere", "--out", "g.png"], "nowhere is no run directory"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(arguments, message):
    done = finish(command(*arguments), status=2)
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and message in done.stderr


GONE = [" | true", " 2>&1 | true", " > /dev/full 2> /dev/full", " <&- >&- 2>&-"]


@pytest.mark.parametrize("where", GONE)
def test_a_run_whose_output_is_gone_is_complete(where, tmp_path):
    """`true` ends at once, before the first line."""
    arguments = experiment(tmp_path / "run", "--steps", 50)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shlex.join(arguments) + where],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0 and "Error" not in done.stderr
    assert newest(tmp_path / "run") == 50 and (tmp_path / "run" / "training.gif").exists()
    rows = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("arguments", [["scripts.data", "digits", "--out", "{}/a.png"], ["experiments"]])
def test_what_prints_results_ends_quietly_or_in_a_line(arguments, tmp_path):
    printing = shlex.join(command(*(argument.format(tmp_path) for argument in arguments)))
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    for where, status, said in (
        (" | true", 0, ""),
        (" >&-", 0, ""),
        (" > /dev/full", 1, "error: can't write to stdout: No space left on device\n"),
        (" > /dev/null", 0, ""),
    ):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", printing + where],
            cwd=ROOT,
            env=os.environ | ascii_only,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
            check=False,
        )
        assert (done.returncode, done.stderr) == (status, said), where


IN_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_run_outlives_its_terminal_by_a_save(tmp_path):
    """As of an ssh that is cut: the terminal is gone, writing to it is an error, and the run is told by SIGHUP."""
    terminal, inner = os.openpty()
    program = [sys.executable, "-c", IN_A_TERMINAL, *experiment(tmp_path / "run", "--steps", ENDLESS)]
    run = subprocess.Popen(program, cwd=ROOT, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    while not newest(tmp_path / "run"):
        os.read(terminal, 1 << 16)
    os.close(terminal)
    assert run.wait() == 128 + signal.SIGHUP
    assert (tmp_path / "run" / "samples" / f"{newest(tmp_path / 'run'):08d}.png").exists()
