"""A run that is killed again and again, wherever it happens to be, leaves what an undisturbed one leaves: eight times
in the slow tests, fifty times in the long ones.

`tests/killable.py` saves every five steps, in the background. It is killed with SIGKILL at random moments: before it
has begun, between saves, inside saves, and in what it does after its last step.
"""

import collections
import dataclasses
import json
import os
import shlex
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import jax
import killable
import numpy as np
import pytest
from conftest import assert_same
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from jaxgan import training
from jaxgan.training.checkpoints.checkpoints import LEFTOVERS
from jaxgan.training.output.log import LOG_EVERY

ROOT = Path(__file__).parents[3]
FEW = {"start": 1, "any": 2, "save": 4, "end": 1}  # kills of each aim, in random order, those at the end last
FIFTY = {"start": 8, "any": 17, "save": 20, "end": 5}
SAMPLES = 25  # steps between two pictures, as in killable.Options
ENDLESS = 1_000_000


@dataclasses.dataclass
class Outcome:
    """The run directories, their number of steps, how many kills of every aim there were, how many of them were to be
    and were inside a save, and the seconds that all of it took."""

    killed: Path
    undisturbed: Path
    steps: int
    kills: collections.Counter
    wanted: int
    inside: int
    seconds: float


class Processes:
    """Starts of killable.py, of which the next one is always importing already."""

    def __init__(self):
        self.next = self._start()

    def _start(self):
        command = [sys.executable, ROOT / "tests" / "killable.py"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, **pipes, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})

    def train(self, directory, steps):
        """The process that does it; it has imported everything and begins now."""
        process = self.next
        while (line := process.stdout.readline()) != "ready\n":
            assert line, "it can't be imported"
        process.stdin.write(f"--steps {steps} --workdir {shlex.quote(str(directory))}\n")
        process.stdin.flush()
        self.next = self._start()
        return process

    def finish(self, directory, steps):
        process = self.train(directory, steps)
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said

    def close(self):
        self.next.kill()
        self.next.communicate()


def newest(directory):
    steps = [int(path.name) for path in (directory / "checkpoints").glob("*") if path.name.isdigit()]
    return max(steps, default=0)


def next_picture(directory):
    """The first step after the newest checkpoint at which there is a picture, where a run may end."""
    return newest(directory) // SAMPLES * SAMPLES + SAMPLES


def half_saved(directory):
    """What saves that did not end have left."""
    return sorted(path.name for path in (directory / "checkpoints").glob(LEFTOVERS))


def wait_until(condition, process, seconds=600):
    """Whether the condition became true before the process ended."""
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)
    return True


def kill_somewhere(aim, processes, directory, random, startup):
    """Trains until a moment of the aimed kind, and kills. Returns the process, and the seconds until its first
    checkpoint where that was waited for."""
    before, last, took = newest(directory), next_picture(directory), None
    process = processes.train(directory, last if aim == "end" else ENDLESS)
    began = time.monotonic()
    if aim == "start":
        time.sleep(random.uniform(0, startup))
    elif aim == "end":
        grid = directory / "samples" / f"{last:08d}.png"
        wait_until(grid.exists, process)
        time.sleep(random.uniform(0, 0.3))
    else:
        assert wait_until(lambda: newest(directory) > before, process), process.communicate()
        took = time.monotonic() - began
        time.sleep(random.uniform(0, 0.5))
        if aim == "save":
            assert wait_until(lambda: half_saved(directory), process), process.communicate()
            time.sleep(random.uniform(0, 0.03))
    process.kill()
    process.communicate()
    return process, took


# --- what must hold after every kill ---


def records(path):
    """The whole records of an event file: an 8-byte length and its checksum, the event and its checksum. What follows
    the last one is the beginning of one more."""
    content, offset = path.read_bytes(), 0
    while len(content) >= offset + 12:
        length, check = struct.unpack_from("<QI", content, offset)
        assert masked_crc32c(content[offset : offset + 8]) == check, path
        event, end = content[offset + 12 : offset + 12 + length], offset + 16 + length
        if len(content) < end:
            break
        assert masked_crc32c(event) == struct.unpack_from("<I", content, end - 4)[0], path
        yield Event.FromString(event)
        offset = end


def check_metrics(directory):
    """Whole lines, but for the last, of every logged step from the first on."""
    path = directory / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    assert [json.loads(line)["step"] for line in lines] == [LOG_EVERY * (i + 1) for i in range(len(lines))]


def check_events(directory, known):
    """Every event file that was not there before can be read."""
    for path in set((directory / "tensorboard").glob("*")) - known:
        list(records(path))
        known.add(path)


# --- the runs ---


CASES = [pytest.param(FEW, marks=pytest.mark.slow, id="few"), pytest.param(FIFTY, marks=pytest.mark.long, id="fifty")]


@pytest.fixture(scope="module", params=CASES)
def outcome(request, tmp_path_factory):
    folder, random, began = tmp_path_factory.mktemp("kills"), np.random.default_rng(0), time.monotonic()
    directory, startup, known, kills, inside = folder / "killed", 2.0, set(), collections.Counter(), 0
    aims = [aim for aim, count in request.param.items() if aim != "end" for _ in range(count)]
    aims = ["end"] * request.param["end"] + random.permutation(aims).tolist()  # taken from its end
    wanted = request.param["save"] // 2
    processes = Processes()
    try:
        while aims or inside < wanted:  # where a busy machine is too late for a save, another one is aimed at
            aim = aims.pop() if aims else "save"
            process, took = kill_somewhere(aim, processes, directory, random, startup)
            startup = took or startup
            check_metrics(directory)
            check_events(directory, known)
            if process.returncode == 0 and aim == "end":  # it was over before the kill
                aims.append(aim)
                continue
            assert process.returncode == -signal.SIGKILL
            kills[aim] += 1
            inside += bool(half_saved(directory))
        steps = next_picture(directory)
        process = processes.train(directory, steps)  # once more: when all is saved, but not yet all is drawn
        wait_until(lambda: newest(directory) == steps, process)
        process.kill()
        process.communicate()
        processes.finish(directory, steps)
        processes.finish(folder / "undisturbed", steps)
    finally:
        processes.close()
    return Outcome(directory, folder / "undisturbed", steps, kills, wanted, inside, time.monotonic() - began)


def final_state(outcome, directory):
    run = training.open(directory, build=killable.build)
    assert run.step == outcome.steps
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(run.state)}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shown(directory):
    """`{(tag, step): value}` as TensorBoard shows them: the start of a session drops what older files have of its first
    step and later ones. Nothing that is left may be there twice."""
    values = []
    for path in sorted((directory / "tensorboard").iterdir()):
        for event in records(path):
            if event.session_log.status == SessionLog.START:
                values = [(key, value) for key, value in values if key[1] < event.step]
            for value in event.summary.value:
                values.append(((value.tag, event.step), value.image.encoded_image_string or value.simple_value))
    doubled = [key for key, count in collections.Counter(key for key, _ in values).items() if count > 1]
    assert not doubled
    return dict(values)


def test_killed_many_times_it_ends_with_the_same_bits(outcome, capsys):
    with capsys.disabled():
        aims = ", ".join(f"{count} aimed at {aim}" for aim, count in outcome.kills.items())
        print(
            f"\n{outcome.kills.total()} kills ({aims}), {outcome.inside} of them inside a save; "
            f"{outcome.steps} steps, {outcome.seconds:.0f} s"
        )
    assert outcome.inside >= outcome.wanted
    states = [final_state(outcome, directory) for directory in (outcome.killed, outcome.undisturbed)]
    assert_same(*states)
    assert float(states[0][".extras['strength']"]) > 0, "the adaptive term did nothing"


def test_no_kill_damages_a_checkpoint_or_leaves_half_a_file(outcome):
    names = [{path.name for path in directory.iterdir()} for directory in (outcome.killed, outcome.undisturbed)]
    assert names[0] == names[1]
    assert not list(outcome.killed.rglob("*.tmp*")) + half_saved(outcome.killed)


def test_metrics_and_pictures_are_the_same_bytes(outcome):
    metrics = (outcome.killed / "metrics.jsonl").read_bytes()
    assert metrics == (outcome.undisturbed / "metrics.jsonl").read_bytes()
    rows = [json.loads(line) for line in metrics.splitlines()]
    assert [row["step"] for row in rows] == list(range(LOG_EVERY, outcome.steps + 1, LOG_EVERY))
    pictures = contents(outcome.killed / "samples")
    assert sorted(pictures) == [f"{step:08d}.png" for step in range(0, outcome.steps + 1, SAMPLES)]
    assert pictures == contents(outcome.undisturbed / "samples")
    assert (outcome.killed / "training.gif").read_bytes() == (outcome.undisturbed / "training.gif").read_bytes()


def test_tensorboard_shows_every_step_once(outcome):
    events, expected = shown(outcome.killed), shown(outcome.undisturbed)
    steps = [step for tag, step in expected if tag == "generator/loss"]
    assert steps == list(range(LOG_EVERY, outcome.steps + 1, LOG_EVERY))
    missing = sorted({step for _, step in expected} - {step for _, step in events})
    assert not missing, f"{len(missing)} steps are missing, among them {missing[:10]}"
    assert events == expected
