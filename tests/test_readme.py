"""The README and the guides: their programs run and their commands can be typed. Links: tests/docs/test_site.py."""

import dataclasses
import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

from jaxgan.training.options.options import flag

ROOT = pathlib.Path(__file__).parent.parent
GUIDES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "guides").glob("*.md"))
TYPED = re.compile(r"python -m ((?:experiments|scripts)(?:\.\w+)+)((?:\\\n|[^\n`#|])*)")
ELSEWHERE = {"help", "version", "options", "logdir"}  # every command's, and TensorBoard's
PROGRAMS = [("README.md", 20), ("docs/guides/games.md", 40)]
NOTEBOOKS = ["docs/guides/first_gan.md", "docs/guides/your_loop.md"]  # the site's build executes them too


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def program(page):
    """The page's one whole program."""
    blocks = re.findall(r"^```python[^\n]*\n(.*?)^```", read(page), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if "GANState" in block]
    return found


@pytest.mark.parametrize("page, lines", PROGRAMS)
def test_the_programs_are_short(page, lines):
    code = [line for line in program(page).splitlines() if line.strip()]
    assert len(code) <= lines, f"the program of {page} has {len(code)} lines; {lines} are allowed"


def run(program, folder):
    (folder / "program.py").write_text(program, encoding="utf-8")
    return command("program.py", folder)


def command(line, folder):
    """Runs Python in a folder, with the checkout on its path and as many devices as users have."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {"PYTHONPATH": path, "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, *line.split()], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("page, lines", PROGRAMS)
def test_the_programs_run(page, lines, tmp_path):
    run(program(page), tmp_path)


def cells(page):
    """The program of a notebook: its cells, one after the other."""
    found = re.findall(r"(?ms)^```\{code-cell\}[^\n]*\n(?::[^\n]*\n)*(.*?)^```", read(page))
    assert len(found) > 5
    return "\n".join(found)


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_the_notebooks_can_be_read(page):
    compile(cells(page), page, "exec")


@pytest.mark.long
@pytest.mark.parametrize("page", NOTEBOOKS)
def test_the_notebooks_run(page, tmp_path):
    run(cells(page), tmp_path)


def options_of(module):
    """The options of a command, as they are typed, `no-NAME` among them."""
    options = getattr(importlib.import_module(module), "Options", None)  # a script may have none
    fields = dataclasses.fields(options) if options else ()
    switches = {f"no-{flag(field.name)}" for field in fields if field.type in (bool, "bool")}
    return {flag(field.name) for field in fields} | switches | ELSEWHERE


@pytest.mark.parametrize("page", ["README.md", "docs/scaling.md", "docs/results.md", *GUIDES])
def test_every_command_line_can_be_typed(page):
    """Each `python -m MODULE --option ...` names a module that is there and options that it has."""
    for module, rest in TYPED.findall(read(page)):
        named = set(re.findall(r"--([a-z][a-z0-9-]*)", rest))
        assert named <= options_of(module), f"{module}{rest}"


def test_every_option_in_the_text_is_one():
    text = "".join(map(read, ["README.md", *GUIDES]))
    modules = {module for module, _ in TYPED.findall(text)}
    assert len(modules) > 20
    assert set(re.findall(r"--([a-z][a-z0-9-]+)", text)) <= set().union(*map(options_of, modules))


@pytest.mark.long
def test_the_quick_start_can_be_followed(tmp_path):
    """Its commands, with a hundredth of their steps, one after the other in an empty folder; then its program."""
    page = read("docs/guides/quickstart.md")
    commands = re.findall(r"(?m)^python (-m .+)$", re.sub(r"(--steps \d+)00\b", r"\1", page))
    opened = re.search(r"(?s)```python\n(.*?)```", page)[1]
    (tmp_path / "opened.py").write_text(f"{opened}assert images.shape == (64, 32, 32, 1) and images.dtype == 'uint8'\n")
    assert len(commands) == 8
    for line in (*commands, "opened.py"):
        command(line, tmp_path)
    made = {"grid.png", "samples.npz", "walk.gif", "exported", "runs", "opened.py"}
    assert {each.name for each in tmp_path.iterdir()} == made and (tmp_path / "runs" / "first" / "report.html").exists()
