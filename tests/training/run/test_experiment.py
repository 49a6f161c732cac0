"""Whose code is executed when a run is opened: never what its record names, only what is imported already, lies in the
package beside jaxgan, or is handed over."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

import experiments
from experiments import dcgan_mnist, gan_ring
from jaxgan import training
from jaxgan.training import UsageError
from jaxgan.training.options.options import name_of
from jaxgan.training.options.parsing import parse
from jaxgan.training.run.directory import Run
from jaxgan.training.run.experiment import experiment_named, experiment_of, load_experiment
from scripts import codes, evaluate, field, margin, sample
from scripts.checkpoint_options import open_checkpoint

ROOT = pathlib.Path(__file__).parents[3]
RING = {"name": "ring", "count": 100000, "size": 1, "channels": 2, "classes": 8, "content": "94ad99e7"}
EVIL = "import pathlib\npathlib.Path({marker!r}).touch()\nfrom experiments.gan_ring import Options, build\n"
# As a user's own file: a subclass of options, and a build of its own.
OWN = """
import dataclasses, beside
from experiments import gan_ring

@dataclasses.dataclass(frozen=True)
class Options(gan_ring.Options):
    depth: int = beside.DEPTH

def build(options, data):
    return gan_ring.build(options, data)
"""


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    """What a test imports, or adds to the path, is gone after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "evil" in name or "own_gan" in name or name == "beside":
            del sys.modules[name]


def recorded(folder, experiment, **options):
    """A run directory without checkpoints: all that opening does before it reads one."""
    folder.mkdir(exist_ok=True)
    values = dataclasses.asdict(gan_ring.Options()) | options
    (folder / "options.json").write_text(json.dumps({"experiment": experiment, "options": values, "data": RING}))
    return folder


@pytest.fixture
def own(tmp_path):
    """A user's file and what it imports, in a folder that Python doesn't know."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "own_gan.py").write_text(OWN)
    (folder / "beside.py").write_text("DEPTH = 3\n")
    return folder / "own_gan.py"


@pytest.mark.parametrize(
    "name",
    [
        *("{run}/evil.py", "{run}/../run/evil.py", "evil.py", "./evil.py", "evil", "run.evil", "experiments.evil"),
        *("experiments.evil.py", "experiments/../evil.py", "experiments..evil", "experiments.sub.evil", "antigravity"),
        *(
            ".x",
            "..",
            "file://{run}/evil.py",
            "experiments.gan_ring:evil",
            "experiments.gan_ring ",
            "evil.py\n",
            "evil\x1b",
        ),
    ],
)
def test_nothing_that_a_record_names_is_executed(name, tmp_path, monkeypatch):
    run, marker = tmp_path / "run", tmp_path / "executed"
    for place in ("run/evil.py", "evil.py", "experiments/evil.py", "experiments/sub/evil.py", "experiments.evil.py"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(EVIL.format(marker=str(marker)))
    recorded(run, name.format(run=run))
    monkeypatch.chdir(run)
    for folder in ("", str(run), str(tmp_path)):
        monkeypatch.syspath_prepend(folder)
    with pytest.raises(UsageError, match=r"names the experiment .*: opening a run executes no code that it") as error:
        training.open(run)
    assert (
        str(error.value).isprintable() and "--experiment" in str(error.value) and "open(RUN, build=" in str(error.value)
    )
    with pytest.raises(UsageError, match=r"--options .* is of experiment"):
        parse(gan_ring.Options, ["--options", str(run / "options.json")])
    with pytest.raises(UsageError, match=r"holds a run with other options: experiment experiments\.gan_ring"):
        training.train(gan_ring.build, gan_ring.Options(workdir=str(run)))
    assert not marker.exists() and "evil" not in sys.modules


@pytest.mark.parametrize(
    "name", ["os", "jaxgan", "jaxgan.training", "experiments", "numpy", "__main__", "jaxgan.training.loop"]
)
def test_what_is_imported_and_no_experiment_is_refused(name, tmp_path):
    with pytest.raises(
        UsageError, match=rf"names the experiment {name}: .* is no experiment: it has no (Options and no )?build"
    ):
        training.open(recorded(tmp_path / "run", name))


def test_a_planted_package_is_passed_over(tmp_path, monkeypatch):
    """`experiments` in the working directory, before the real one on Python's path, where nobody has imported it."""
    marker = tmp_path / "executed"
    for place in ("experiments/__init__.py", "experiments/gan_ring.py", "experiments.py"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend("")
    build, options, data = Run(recorded(tmp_path / "run", "experiments.gan_ring")).experiment()
    assert build.__code__.co_filename == str(ROOT / "experiments" / "gan_ring.py") and not marker.exists()
    assert options.width == 128 and data.name == "ring"


def test_another_package_of_the_name_is_told(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "experiments", types.ModuleType("experiments"))
    with pytest.raises(UsageError, match=r"but another package `experiments` is imported here"):
        training.open(recorded(tmp_path / "run", "experiments.gan_ring"))


def test_what_is_imported_already_is_taken(own, tmp_path, monkeypatch):
    """By its name, and by its file where it was run as one."""
    run = recorded(tmp_path / "run", "own_gan", depth=5)
    file = recorded(tmp_path / "file", str(own), depth=7)
    for where in (run, file):
        with pytest.raises(UsageError, match="which is none of jaxgan's"):
            training.open(where)
    monkeypatch.syspath_prepend(str(own.parent))
    import own_gan

    for where, depth in ((run, 5), (file, 7)):
        build, options, _ = Run(where).experiment()
        assert build is own_gan.build and type(options) is own_gan.Options and options.depth == depth


def test_the_program_itself_is_taken(own, tmp_path, monkeypatch):
    """As a script, as a module, and in a notebook, which has neither file nor name."""
    main = types.ModuleType("__main__")
    main.build, main.Options = gan_ring.build, gan_ring.Options
    monkeypatch.setitem(sys.modules, "__main__", main)
    function = types.FunctionType((lambda: None).__code__, {"__name__": "__main__"})
    assert name_of(function) == "__main__"
    assert experiment_named("__main__").build is gan_ring.build and experiment_named(str(own)) is None
    main.__file__ = str(own)
    assert name_of(function) == str(own) and experiment_named(str(own)).build is gan_ring.build
    main.__spec__ = types.SimpleNamespace(name="some.where")
    assert name_of(function) == "some.where" and experiment_named("some.where").build is gan_ring.build


def test_it_is_handed_over(own, tmp_path):
    """A module, its build, or a file that a user types, whatever the record names."""
    run = recorded(tmp_path / "run", "/elsewhere/own_gan.py", depth=4)
    module = load_experiment(str(own))
    assert module.Options().depth == 3 and load_experiment(str(own)) is module, "once"
    assert name_of(module.build) == str(own), "as the record of a run of `python own_gan.py` has it"
    for given in (module, module.build):
        build, options, _ = Run(run).experiment(experiment_of(given))
        assert build is module.build and type(options) is module.Options and options.depth == 4
        with pytest.raises(UsageError, match="run has no checkpoint yet"):
            training.open(run, build=given)
    ring = recorded(tmp_path / "ring", "/elsewhere/ring.py")
    assert Run(ring).experiment(experiment_of(load_experiment("experiments.gan_ring")))[0] is gan_ring.build
    with pytest.raises(UsageError, match=r"options\.json doesn't fit .*: there is no option --width"):
        training.open(ring, build=dcgan_mnist)


@pytest.mark.parametrize("command", [sample, evaluate, field, codes, margin], ids=lambda module: module.__name__)
def test_every_command_on_a_run_takes_it(command, own, tmp_path):
    run = recorded(tmp_path / "run", "/elsewhere/own_gan.py", depth=4)
    out = {} if command is margin else {"out": (tmp_path / "x.png",) if command is sample else tmp_path / "x.png"}
    out = {"out": tmp_path / "x.json"} if command is evaluate else out
    with pytest.raises(UsageError, match="which is none of jaxgan's"):
        command.run(command.Options(run=run, **out))
    with pytest.raises(UsageError, match="run has no checkpoint yet"):
        command.run(command.Options(run=run, experiment=str(own), **out))


@pytest.mark.parametrize(
    "text, message",
    [
        ("def (", r"SyntaxError: invalid syntax \(bad.py, line 1\)"),
        ("raise SystemExit('bye')", "it ends the program; what it runs must stand under `if __name__ == "),
        ("import sys\nsys.exit(0)", "it ends the program"),
        ("x = 1\n1 / 0", r"ZeroDivisionError: division by zero \(line 2\)"),
        ("import no_such_module", r"ModuleNotFoundError: No module named 'no_such_module' \(line 1\)"),
        ("class End(BaseException): pass\nraise End('a\\nb')", r"End: a \(line 2\)"),
        ("raise GeneratorExit", r"GeneratorExit \(line 1\)"),
        ("raise RuntimeError('\\x1b[2J' + 'a' * 10**6)", r"RuntimeError: \\x1b\[2Ja+\.\.\. \(line 1\)"),
        ("\0", "(SyntaxError|ValueError): source code string cannot contain null bytes"),
        ("\xff", "SyntaxError: .*codec can't decode"),
        ("x = 1", r"bad\.py is no experiment: it has no Options and no build"),
        ("from experiments.gan_ring import build\nOptions = dict", r"bad\.py is no experiment: it has no Options"),
        ("from experiments.gan_ring import Options\nbuild = 3", r"bad\.py is no experiment: it has no build"),
    ],
)
def test_a_file_that_fails_is_told_in_a_line(text, message, tmp_path):
    path = tmp_path / "bad.py"
    path.write_bytes(text.encode("latin-1"))
    options = sample.Options(run=tmp_path, experiment=str(path), out=(tmp_path / "a.png",))
    with pytest.raises(UsageError, match=message) as error:
        open_checkpoint(recorded(tmp_path / "run", "x"), options)
    assert str(error.value).isprintable() and len(str(error.value)) < 500
    assert str(path) not in sys.modules or "no experiment" in message


def test_ctrl_c_while_it_is_executed_is_no_mistake(tmp_path):
    (tmp_path / "bad.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_experiment(str(tmp_path / "bad.py"))


@pytest.mark.parametrize(
    "text", ["nowhere.py", "no_such_module", "a b", "", ".x", "x/y", "/dev/null", "experiments.nowhere"]
)
def test_what_is_no_file_or_module_is_told_in_a_line(text):
    with pytest.raises(UsageError, match=r"^--experiment ") as error:
        load_experiment(text)
    assert "\n" not in str(error.value)


def test_a_pipe_and_a_folder_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "folder.py").mkdir()
    for name in ("pipe.py", "folder.py"):
        with pytest.raises(UsageError, match=r"is no file"):
            load_experiment(str(tmp_path / name))


def test_a_file_hides_no_module_of_its_name(tmp_path):
    (tmp_path / "json.py").write_text("from experiments.gan_ring import Options, build")
    load_experiment(str(tmp_path / "json.py"))
    assert sys.modules["json"] is json and experiments.gan_ring is gan_ring


@pytest.mark.parametrize(
    "given", [json.dumps, print, dataclasses.dataclass, 3, "experiments.gan_ring", lambda o, d: None]
)
def test_what_is_no_experiment_is_refused(given, tmp_path):
    with pytest.raises(UsageError, match=r"no experiment: it has no|is of no module"):
        training.open(recorded(tmp_path / "run", "x"), build=given)


@pytest.mark.slow
def test_a_file_of_ones_own_is_trained_and_sampled(own, tmp_path):
    """As a user does it, from the file's folder and from elsewhere."""
    own.write_text(
        OWN + "\nif __name__ == '__main__':\n    from jaxgan.training import main\n    main(Options, build)\n"
    )
    path = {"PYTHONPATH": str(ROOT)}
    how = {"env": os.environ | path, "capture_output": True, "text": True}
    tiny = ["--preset", "smoke", "--workdir", str(tmp_path / "run")]
    subprocess.run([sys.executable, str(own), *tiny], check=True, cwd=tmp_path, **how)
    draw = [sys.executable, "-m", "scripts.sample", str(tmp_path / "run"), "--out", str(tmp_path / "x.png")]
    refused = subprocess.run(draw, cwd=own.parent, check=False, **how)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and f"--experiment {own}" in refused.stderr
    for folder, file in ((own.parent, "own_gan.py"), (tmp_path, "mine/own_gan.py"), (ROOT, str(own))):
        subprocess.run([*draw, "--experiment", file], check=True, cwd=folder, **how)
        (tmp_path / "x.png").unlink()
