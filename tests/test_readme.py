"""The README's example is short, complete, and runs as it stands."""

import dataclasses
import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def _examples() -> list[str]:
    """The README's programs: a plain GAN, a CycleGAN, networks of other libraries."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "GANState" in block]


@pytest.mark.parametrize("number, lines", list(enumerate([20, 40, 32])))
def test_the_examples_are_short(number, lines):
    code = [line for line in _examples()[number].splitlines() if line.strip()]
    assert len(code) <= lines, f"example {number} of the README has {len(code)} lines; {lines} are allowed"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_the_examples_run(number, tmp_path):
    assert len(_examples()) == 3
    (tmp_path / "example.py").write_text(_examples()[number], encoding="utf-8")
    # PYTHONPATH rather than the current folder: an example must not depend on where it is run from.
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_and_options_exist():
    """Every module that is run in the README is there, and every option it names is one of theirs."""
    from jaxgan.training.options.options import flag

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    modules = set(re.findall(r"python -m ((?:experiments|scripts)(?:\.\w+)+)", text))
    assert len(modules) > 10
    known = {flag(field.name) for module in modules for field in _options_of(module)}
    known |= {"help", "version", "options", "logdir"}  # the last is TensorBoard's
    assert set(re.findall(r"--([a-z][a-z0-9-]+)", text)) <= known
    headings = {f"#{heading.lower().replace(' ', '-')}" for heading in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    for path in re.findall(r"\]\(([^):]+)\)", prose):
        assert path in headings or (ROOT / path).exists(), f"README.md names {path}, which is not there"


def _options_of(module):
    options = getattr(importlib.import_module(module), "Options", None)  # a script may have none
    return dataclasses.fields(options) if options else ()


@pytest.mark.parametrize("page", ["README.md", "docs/scaling.md", "docs/results.md"])
def test_every_command_line_can_be_typed(page):
    """Each `python -m MODULE --option ...` names a module that is there and options that it has."""
    from jaxgan.training.options.options import flag

    lines = re.findall(
        r"python -m ((?:experiments|scripts)(?:\.\w+)+)([^\n`#|]*)", (ROOT / page).read_text(encoding="utf-8")
    )
    assert lines
    for module, rest in lines:
        known = {flag(field.name) for field in _options_of(module)}
        known |= {f"no-{flag(field.name)}" for field in _options_of(module) if field.type in (bool, "bool")}
        assert set(re.findall(r"--([a-z][a-z-]+)", rest)) <= known | {"help", "options"}, f"{module}{rest}"
