"""What must not end a run, an output that is gone, and how it ends by a signal: saved, drawn, and with the way on."""

import errno
import io
import os
import signal
import sys

import pytest
from PIL import Image
from point_runs import points, rows, run_points, same, some_points

from experiments import gan_ring
from jaxgan.training import Stopped, loop, setup, train
from jaxgan.training.errors.stopping import SIGNALS, catch_signals, writing_in
from jaxgan.training.output.log import Log

pytestmark = pytest.mark.usefixtures("as_users_have_it")


class Gone(io.StringIO):
    """A stream that nobody reads any more, or whose disk is full."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))


def names(folder):
    return {path.name for path in folder.iterdir()}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


slow = pytest.mark.slow


def test_a_run_ends_well_though_nobody_reads_what_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Gone(errno.EPIPE))
    monkeypatch.setattr(sys, "stderr", Gone(errno.EPIPE))
    assert int(run_points(tmp_path).step) == 12
    assert isinstance(sys.stdout, Gone) and isinstance(sys.stderr, Gone)
    assert [row["step"] for row in rows(tmp_path / "run")] == [10] and (tmp_path / "run" / "training.gif").exists()
    assert sorted(contents(tmp_path / "run" / "samples")) == ["00000000.png", "00000012.png"]
    assert names(tmp_path / "run" / "checkpoints") == {"4", "8", "12"}


@slow
@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_what_a_run_leaves_does_not_depend_on_what_it_can_say(number, tmp_path, monkeypatch):
    """Of two GANs, which are scored on the way and have a table in the end."""
    how = {"eval_every": 6, "metrics": "swd", "eval_count": 16, "seeds": 2}
    said = run_points(tmp_path, workdir=str(tmp_path / "said"), **how)
    monkeypatch.setattr(sys, "stdout", Gone(number))
    monkeypatch.setattr(sys, "stderr", Gone(number))
    same(run_points(tmp_path, **how), said)
    for name in ("", "samples", "checkpoints"):
        assert names(tmp_path / "run" / name) == names(tmp_path / "said" / name)
    for name in ("metrics.jsonl", "training.gif"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "said" / name).read_bytes()


def raise_(number, after=None):
    def function(*arguments, **others):
        if after:
            after(*arguments)
        raise OSError(number, os.strerror(number))

    return function


@pytest.mark.parametrize("number", [errno.ENOSPC, pytest.param(errno.EPIPE, marks=slow)])
def test_an_error_of_the_callers_own_output_is_the_callers(number, tmp_path):
    """It names no file, as that of a print does."""
    with pytest.raises(OSError, match=os.strerror(number)) as error:
        train(gan_ring.build, points(tmp_path), raise_(number), data=some_points())
    assert error.value.errno == number


OF_THE_RUN = [
    (Log, "__init__"),
    *(pytest.param(Log, name, marks=slow) for name in ("rows", "image", "close")),
    *(pytest.param(loop, name, marks=slow) for name in ("save_png", "animate")),
]


@pytest.mark.parametrize("where, name", OF_THE_RUN)
def test_an_error_of_the_runs_own_files_ends_it_in_a_line(where, name, tmp_path, monkeypatch):
    monkeypatch.setattr(where, name, raise_(errno.ENOSPC, after=Log.close if name == "close" else None))
    with pytest.raises(Stopped, match=r"^can't write in .*/run: .*No space left on device; what was saved before is"):
        run_points(tmp_path)


def at(step, *numbers):
    """Raises signals after that step."""

    def on_chunk(state, metrics):
        if int(state.step) == step:
            for number in numbers:
                signal.raise_signal(number)

    return on_chunk


def stop(tmp_path, on_chunk, **changes):
    options = points(tmp_path, sample_every=3, **changes)
    with pytest.raises(Stopped) as stopped:
        train(gan_ring.build, options, on_chunk, data=some_points())
    return stopped.value


def test_a_stopped_run_is_saved_and_drawn_and_goes_on_as_if_nothing_had_happened(tmp_path):
    """The picture of the stop is one more, and nothing else is new: an undisturbed run has all the others, bit for
    bit."""
    straight = run_points(tmp_path, workdir=str(tmp_path / "straight"), sample_every=5)
    stopped = stop(tmp_path, at(3, signal.SIGTERM), fresh=True)
    run = tmp_path / "run"
    assert stopped.status == 143
    assert str(stopped) == (
        "stopped by SIGTERM at step 3, which is saved; continue with "
        f'train(build, dataclasses.replace(options, workdir="{run}", fresh=False))'
    )
    assert sorted(contents(run / "samples")) == ["00000000.png", "00000003.png"]
    same(run_points(tmp_path, sample_every=5), straight)
    mine, theirs = contents(run / "samples"), contents(tmp_path / "straight" / "samples")
    assert mine.keys() - theirs.keys() == {"00000003.png"} and {name: mine[name] for name in theirs} == theirs
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "straight" / "metrics.jsonl").read_bytes()
    with Image.open(run / "training.gif") as animation:
        assert animation.n_frames == len(mine) == 5


@slow
@pytest.mark.parametrize("every, drawn", [(4, [0, 4]), (3, [0, 3, 4])])
def test_the_picture_of_a_stop_is_drawn_once(every, drawn, tmp_path, monkeypatch):
    """Also where there is one of that step on schedule."""
    steps, save = [], loop.save_png
    monkeypatch.setattr(loop, "save_png", lambda path, picture: (steps.append(int(path.stem)), save(path, picture)))
    with pytest.raises(Stopped):
        train(gan_ring.build, points(tmp_path, sample_every=every), at(4, signal.SIGTERM), data=some_points())
    assert steps == drawn
    with Image.open(tmp_path / "run" / "training.gif") as animation:
        assert animation.n_frames == len(drawn)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_is_not_waited_for(number):
    before = {each: signal.getsignal(each) for each in SIGNALS}
    with catch_signals() as caught:
        signal.raise_signal(number)
        assert caught == [number] and signal.getsignal(number) == signal.SIG_DFL
        others = [signal.getsignal(each) for each in SIGNALS if each != number]
        assert signal.SIG_DFL not in others and set(others).isdisjoint(before.values())
    assert {each: signal.getsignal(each) for each in SIGNALS} == before


def test_a_terminal_that_goes_away_may_tell_it_twice():
    """The system tells it, and so does the shell."""
    before = signal.getsignal(signal.SIGHUP)
    with catch_signals() as caught:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert caught == [signal.SIGHUP]
    assert signal.getsignal(signal.SIGHUP) is before


def test_under_nohup_a_run_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_signals() as caught:
            signal.raise_signal(signal.SIGHUP)
            assert not caught
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


class Enough(Exception):
    pass


def test_the_first_line_is_there_before_data_are_read(tmp_path, capsys, monkeypatch):
    def load(*arguments):
        raise Enough

    monkeypatch.setattr(setup, "load", load)
    for given, line in ((some_points(), "reading few ..."), (None, "reading ring ...")):
        with pytest.raises(Enough):
            train(gan_ring.build, points(tmp_path), data=given)
        assert capsys.readouterr().out == f"{line}\n"


def test_an_error_of_a_file_that_is_renamed_names_what_stands_in_its_place(tmp_path):
    (tmp_path / "1.png").mkdir()
    (tmp_path / "1.png.tmp").touch()
    message = f"can't write in {tmp_path}: Is a directory: {tmp_path / '1.png'}; what was saved before is kept"
    with pytest.raises(Stopped) as error, writing_in(tmp_path):
        os.replace(tmp_path / "1.png.tmp", tmp_path / "1.png")
    assert str(error.value) == message
