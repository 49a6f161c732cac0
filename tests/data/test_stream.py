"""Sets that are read as they are needed: the batches are those of a set in memory, and nothing hangs when a process
dies."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from stream_sources import Numbered
from streams import IMAGES, bad_folder, stream

from jaxgan import data
from jaxgan.data import ImageTransform, batch_indices
from jaxgan.data.shared_memory import new_owner
from jaxgan.data.stream import Stream, batches

pytest.importorskip("grain")
ROOT = Path(__file__).parents[2]
KEY = jax.random.key(3)
WORDS = np.asarray(jax.random.key_data(KEY))


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    assert multiprocessing.active_children() == []
    if owner := new_owner():
        assert not list(Path("/dev/shm").glob(f"{owner.rpartition('-')[0]}-*"))  # noqa: S108


def closing(iterator, count):
    """Returns the first `count` results of a generator, and closes it."""
    try:
        return [next(iterator) for _ in range(count)]
    finally:
        iterator.close()


def assert_batches(found, first, images, labels, batch_size):
    for step, batch in enumerate(found, first):
        places = batch_indices(WORDS, step, batch_size, len(images))
        np.testing.assert_array_equal(batch["image"], images[places])
        np.testing.assert_array_equal(batch["label"], labels[places])
        assert batch["image"].dtype == np.uint8 and batch["label"].dtype == np.int32


@pytest.mark.slow
def test_batches_are_those_of_a_set_in_memory():
    """Over two epochs and a half, with resizing and chosen classes: the same images, bit for bit, and labels."""
    whole = data.from_arrays("mine", IMAGES, np.arange(22) % 4)
    chosen, labels, _ = data.choose(whole, "3,1", None)
    transform = ImageTransform(3, 3, "crop", equalize=True)
    inside = data.in_memory(whole, chosen, transform)
    s = Stream("mine", whole, chosen, transform, labels, ("3", "1"), 2)
    assert_batches(closing(batches(s, WORDS, 0, 3), 8), 0, inside, labels, 3)


def test_what_cannot_be_streamed_starts_no_process(monkeypatch):
    with pytest.raises(ValueError, match="a batch of 21 is larger than the data set of 20 images"):
        next(batches(stream(Numbered()), WORDS, 0, 21))
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(data.DataError, match="--stream needs Grain: pip install"):
        next(batches(stream(Numbered()), WORDS, 0, 5))


@pytest.mark.slow
@pytest.mark.parametrize("workers, first", [(1, 7), (3, 1_000_001)])
def test_any_number_of_workers_starts_at_any_step(workers, first):
    source = data.from_arrays("mine", IMAGES, np.arange(22) % 4)
    found = closing(batches(stream(source, workers), WORDS, first, 5), 11)
    assert_batches(found, first, IMAGES, source.labels, 5)


@pytest.mark.slow
def test_a_batch_and_no_more_leaves_no_process():
    iterator = batches(stream(Numbered()), WORDS, 0, 5)
    next(iterator)
    assert len(multiprocessing.active_children()) == 2
    iterator.close()
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_bad_image_in_mid_stream_is_named(tmp_path):
    path = bad_folder(tmp_path)
    step = next(n for n in range(5) if 7 in batch_indices(WORDS, n, 4, 20))
    source = data.open_source(f"folder:{tmp_path / 'set'}")
    found = batches(stream(source), WORDS, 0, 4)
    assert_batches([next(found) for _ in range(step)], 0, IMAGES[:20], source.labels, 4)
    with pytest.raises(data.DataError, match=rf"{path} can't be read .*--skip-bad-images"):
        next(found)
    with pytest.raises(StopIteration):
        next(found)


@pytest.mark.slow
def test_an_error_of_any_kind_is_told():
    with pytest.raises(data.DataError, match=r"image 7 of numbered can't be read \(Local: out of cheese\)"):
        closing(batches(stream(Numbered(wrong=7)), WORDS, 0, 5), 4)
    with pytest.raises(data.DataError, match=r"a process that reads mine ended \(.* exit code 3\): what it said"):
        closing(batches(stream(Numbered(wrong=7, way="exit")), WORDS, 0, 5), 4)


@pytest.mark.slow
def test_a_killed_worker_is_noticed():
    found = batches(stream(Numbered(), 3), WORDS, 0, 5)
    next(found)
    os.kill(multiprocessing.active_children()[1].pid, signal.SIGKILL)
    with pytest.raises(data.DataError, match=r"a process that reads mine ended \(.*exit code -9\): a lack of memory\?"):
        closing(found, 40)


@pytest.mark.slow
def test_a_worker_that_was_killed_with_a_batch_leaves_no_shared_memory():
    """The fixture looks: what it has made is freed, though it could tell nobody of it."""
    with pytest.raises(data.DataError, match="exit code -9"):
        closing(batches(stream(Numbered(wrong=7, way="killed"), 1), WORDS, 0, 5), 4)


PROGRAM = """
import multiprocessing, sys, time
import numpy as np
from stream_sources import Numbered
from jaxgan.data import ImageTransform
from jaxgan.data.stream import Stream, batches
if __name__ == "__main__":
    s = Numbered()
    stream = Stream("s", s, np.arange(20), ImageTransform(4, 1), s.labels, s.class_names, 2)
    found = batches(stream, np.uint32([1, 2]), 0, 5)
    next(found)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_workers_of_a_killed_run_end(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    start = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "env": os.environ | paths}
    with subprocess.Popen([sys.executable, tmp_path / "program.py"], **start) as process:
        workers = [int(word) for word in process.stdout.readline().split()]
        assert len(workers) == 2
        process.kill()
        end = time.monotonic() + 300
        while any(map(running, workers)):
            assert time.monotonic() < end, "workers outlive a killed run"
            time.sleep(0.1)


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc").exists() else True


UNGUARDED = """
import numpy as np
from jaxgan.data import from_arrays
from jaxgan.training.options.data import DataOptions
from jaxgan.training.recipe.loading import load
from jaxgan.data.stream import batches
mine = from_arrays("mine", np.zeros((20, 4, 4), np.uint8))
next(batches(load(DataOptions(stream=True, workers=1), mine), np.uint32([1, 2]), 0, 5))
"""


@pytest.mark.slow
def test_a_program_that_its_workers_would_run_again_is_told(tmp_path):
    (tmp_path / "program.py").write_text(UNGUARDED)
    command = [sys.executable, tmp_path / "program.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=600)
    assert done.returncode == 1 and "must train under `if __name__ == '__main__':`" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("exit code 1): what it said stands above")
