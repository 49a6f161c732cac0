"""What programs say, whatever becomes of stdout and stderr: lines, progress bars, and the ends of programs."""

import ast
import errno
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxgan.data import DataError
from jaxgan.data.errors import BadImage
from jaxgan.terminal import Output, align_columns, progress_bar, say, steady_output
from jaxgan.training import Stopped, UsageError
from jaxgan.training.cli.exits import command_again, plain_exits

ROOT = Path(__file__).parents[1]
TITLE = "\x1b]0;title\x07\n\u202e"  # sets a terminal's title, ends the line, and turns what follows around


class Broken(io.StringIO):
    """A stream that takes so many texts, and then fails."""

    def __init__(self, number, after=0):
        super().__init__()
        self.number, self.left = number, after

    def write(self, text):
        if self.left == 0:
            raise OSError(self.number, os.strerror(self.number))
        self.left -= 1
        return super().write(text)


class Terminal(io.StringIO):
    def isatty(self):
        return True


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding, expected",
    [
        ("ascii", b"28?28 ?? ? ?"),
        ("latin-1", b"28\xd728 ?? \xe9 ?"),
        ("cp1252", b"28\xd728 ?? \xe9 ?"),
        ("utf-8", "28×28 █π é ?".encode()),
    ],
)
def test_what_an_encoding_does_not_have_is_replaced(encoding, expected):
    """The last is a byte of a file's name that is no UTF-8, as Python has it."""
    raw = io.BytesIO()
    stream = Output(io.TextIOWrapper(raw, encoding))
    assert stream.write("28×28 █π é \udcff") == 12
    stream.flush()
    assert raw.getvalue() == expected and stream.fault is None


@pytest.mark.parametrize(
    "number, unread", [(errno.EPIPE, True), (errno.EIO, True), (errno.ENOSPC, False), (errno.EDQUOT, False)]
)
def test_what_can_not_be_written_is_dropped(number, unread):
    stream = Output(Broken(number, after=1))
    for text in "abc":
        print(text, end="", file=stream, flush=True)
    assert stream.inner.getvalue() == "a"
    assert stream.fault.errno == number and stream.unread is unread


def test_a_stream_that_was_closed_takes_text_too():
    stream = Output(io.StringIO())
    stream.inner.close()
    print("nothing", file=stream, flush=True)
    assert stream.unread


def test_streams_are_replaced_once_and_put_back(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", before := io.StringIO())
    with steady_output() as streams:
        print("to nobody")
        with steady_output() as inner:
            assert inner == streams and sys.stderr is streams[1]
        print("to somebody", file=sys.stderr)
        assert sys.stderr is streams[1]
    assert sys.stdout is None and sys.stderr is before and before.getvalue() == "to somebody\n"


def test_a_file_does_not_take_the_place_of_a_closed_stderr(tmp_path):
    """What C writes to stderr would stand in a run's log."""
    program = "import os, sys; from jaxgan.terminal import steady_output\n"
    program += "with steady_output(), open(sys.argv[1], 'w') as file: os.write(2, b'C'); os.write(1, b'C')"
    command = f"{shlex.join([sys.executable, '-c', program, str(tmp_path / 'log')])} <&- >&- 2>&-"
    done = subprocess.run(command, shell=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)  # noqa: S602
    assert done.returncode == 0 and (tmp_path / "log").read_text() == ""


# --- names of others' making -----------------------------------------------------------------------------------------


def test_no_control_character_is_said(capsys):
    say(f"class {TITLE}", "é×█")
    assert capsys.readouterr().out == "class \\x1b]0;title\\x07\\n\\u202e\né×█\n"
    say(f"class {TITLE}", error=True)
    assert capsys.readouterr().err == "class \\x1b]0;title\\x07\\n\\u202e\n"


@pytest.mark.parametrize("made", [DataError, BadImage, UsageError, lambda text: Stopped(text, 1)])
def test_no_control_character_is_in_an_error(made):
    text = str(made(f"{TITLE} is no é"))
    assert text == "\\x1b]0;title\\x07\\n\\u202e is no é" and str(made(text)) == text


def test_no_control_character_is_in_a_table():
    assert align_columns([["a", TITLE, "b"], ["c", "", "d"]]) == [
        "a  \\x1b]0;title\\x07\\n\\u202e  b",
        "c" + " " * 28 + "d",
    ]


SOURCES = [path for folder in ("jaxgan", "scripts", "experiments") for path in sorted((ROOT / folder).rglob("*.py"))]
# Those of golden numbers import nothing of jaxgan, and the list of experiments nothing but Python.
OTHERS = [path for path in SOURCES if "golden" in path.parts or path.name in ("__main__.py", "terminal.py")]


def test_all_is_said_in_one_way():
    """Through `jaxgan.terminal`, which survives a stdout that is gone: nothing prints, and nothing makes a bar."""
    wrong = []
    for path in set(SOURCES) - set(OTHERS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and ast.unparse(node.func)
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if called in ("print", "sys.stdout.write", "sys.stderr.write") or "tqdm" in (*names, *_module(node)):
                wrong.append(f"{path.relative_to(ROOT)}: {node.lineno}")
    assert not wrong


def _module(node):
    return [(node.module or "").partition(".")[0]] if isinstance(node, ast.ImportFrom) else []


# --- bars ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """The time that bars see."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("tqdm.std.time", lambda: clock.now)
    return clock


def on(stream, monkeypatch):
    """The stream, which is stderr from now on: pytest puts its own in place after fixtures."""
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def shown(screen):
    """The last state of a bar."""
    return [text for text in screen.getvalue().replace("\n", "\r").split("\r") if text.strip()][-1].strip()


def test_compiling_and_the_first_dispatch_say_nothing_about_the_rest(clock, monkeypatch):
    """7 hours of them are no guess; then ten steps a minute are."""
    screen = on(Terminal(), monkeypatch)
    with progress_bar(101, unit="steps", note="compiling", delay=0) as bar:
        assert shown(screen).endswith("0/101 steps, ? left, compiling")
        clock.now += 25_200
        bar.set_postfix_str("G 1", refresh=False)
        bar.start(1)
        assert shown(screen).endswith("1/101 steps, ? left, G 1")
        clock.now += 60
        bar.update(10)
        assert shown(screen).endswith("11/101 steps, 09:00 left, G 1")
        clock.now += 60
        bar.update(40)  # the mean of 50 in two minutes
        assert shown(screen).endswith("51/101 steps, 02:00 left, G 1")


def test_a_continued_run_s_bar_begins_where_it_is(clock, monkeypatch):
    screen = on(Terminal(), monkeypatch)
    with progress_bar(100, unit="steps", done=40, delay=0) as bar:
        assert shown(screen).startswith("40%|") and shown(screen).endswith("40/100 steps, ? left")
        clock.now += 10
        bar.update(10)
        assert shown(screen).endswith("50/100 steps, 00:50 left"), "a step a second: the 40 took none of this time"


def test_a_total_is_never_overshot_and_the_end_is_shown(clock, monkeypatch):
    screen = on(Terminal(), monkeypatch)
    with progress_bar(1000, "drawing", delay=0) as bar:
        for _ in range(4):
            bar.update(256)
            clock.now += 0.001  # too soon to be drawn
    assert shown(screen).startswith("drawing: 100%|") and "1000/1000 images" in shown(screen)
    assert "1024" not in screen.getvalue()


def test_what_is_quick_shows_no_bar(clock, monkeypatch):
    screen = on(Terminal(), monkeypatch)
    with progress_bar(10, "reading") as bar:
        clock.now += 1.9
        bar.update(10)
    assert screen.getvalue() == ""


def test_a_file_has_a_line_now_and_then(clock, monkeypatch):
    """An update every tenth of a second for a hundred seconds, and a line said between them."""
    file = on(io.StringIO(), monkeypatch)
    with progress_bar(1000, unit="steps", note="compiling", delay=0) as bar:
        bar.start(0)
        for i in range(1000):
            clock.now += 0.1
            bar.update(1)
            if i == 499:
                say("step 500: fid 3", error=True)
    lines = file.getvalue().splitlines()
    assert "\r" not in file.getvalue() and "\x1b" not in file.getvalue() and "" not in lines
    assert lines[0] == "  0% 0/1000 steps, ? left, compiling" and "step 500: fid 3" in lines
    assert len(lines) == 6 and lines[-1].startswith("100% 1000/1000 steps, 00:00 left"), lines


@pytest.mark.parametrize("size", [(0, 0), (-1, -1), (80, 24)])
def test_a_terminal_that_does_not_know_its_size_has_a_bar(size, clock, monkeypatch):
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda file: size)
    screen = on(Terminal(), monkeypatch)
    with progress_bar(10, unit="steps", delay=0) as bar:
        assert "0/10 steps, ? left" in shown(screen)
        clock.now += 1
        bar.update(5)
        assert "5/10 steps, 00:01 left" in shown(screen)


def test_a_bar_inside_another_leaves_nothing_behind(clock, monkeypatch):
    screen = on(Terminal(), monkeypatch)
    with progress_bar(10, unit="steps", delay=0) as outer:
        with progress_bar(5, "drawing", delay=0) as inner:
            clock.now += 1
            inner.update(3)
        clock.now += 1
        outer.update(10)
    assert "drawing" not in shown(screen) and shown(screen).startswith("100%|")


@pytest.mark.parametrize("stream", [None, Output(Broken(errno.EPIPE))])
def test_a_bar_that_nobody_sees_counts_all_the_same(stream, clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(10, delay=0) as bar:
        clock.now += 100
        bar.update(10)
        say("a line", error=True)


# --- ends of programs ------------------------------------------------------------------------------------------------


def ended(stdout, monkeypatch, body, **how):
    """The exit status of a program with this stdout, and what it said on stderr."""
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    try:
        with plain_exits(**how):
            body()
    except SystemExit as end:
        return end.code or 0, said.getvalue()
    return 0, said.getvalue()


def help_():
    print("usage")
    sys.exit(0)


def mistake():
    print("result")
    raise UsageError("no")


FULL = "error: can't write to stdout: No space left on device\n"
LOST = "warning: can't write to stdout: No space left on device; only what is printed there is lost\n"


@pytest.mark.parametrize(
    "number, body, how, expected",
    [
        (errno.EPIPE, lambda: print("result"), {}, (0, "")),
        (errno.EPIPE, help_, {}, (0, "")),
        (errno.EPIPE, mistake, {}, (2, "error: no\n")),
        (errno.ENOSPC, lambda: print("result"), {}, (1, FULL)),
        (errno.ENOSPC, help_, {"prints_results": False}, (1, FULL)),
        (errno.ENOSPC, mistake, {}, (2, "error: no\n")),
        (errno.ENOSPC, lambda: print("done"), {"prints_results": False}, (0, LOST)),
    ],
)
def test_an_output_that_is_gone_or_full_ends_nothing(number, body, how, expected, monkeypatch):
    assert ended(Broken(number), monkeypatch, body, **how) == expected


DIRECTORY = Path("runs/my run")
AGAIN = [
    (["--steps", "5"], ["--steps", "5", "--workdir", "runs/my run"]),
    (["--fresh", "--workdir", "runs/my run", "--lr=1"], ["--workdir", "runs/my run", "--lr=1"]),
    (["--workdir=~/x", "--sweep", "a=1, 2"], ["--workdir=runs/my run", "--sweep", "a=1, 2"]),
    (["--no-fresh", "--options", "$HOME/o.json"], ["--options", "$HOME/o.json", "--workdir", "runs/my run"]),
]


@pytest.mark.parametrize("typed, again", AGAIN, ids=[" ".join(typed) for typed, _ in AGAIN])
def test_the_command_to_go_on_is_the_one_that_was_typed(typed, again, monkeypatch):
    """As a shell reads it."""
    monkeypatch.setattr(sys, "argv", ["/x/experiments/gan_ring.py", *typed])
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-X", "utf8", "-m", "experiments.gan_ring", *typed])
    head = ["python3", "-X", "utf8", "-m", "experiments.gan_ring"]
    assert shlex.split(command_again(DIRECTORY)) == [*head, *again]


def test_a_program_that_changed_its_arguments_is_named_by_its_module(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--steps", "5"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "mine"])
    main = SimpleNamespace(__spec__=SimpleNamespace(name="mine.__main__"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert command_again(Path("run")) == "python -m mine --steps 5 --workdir run"
