"""CONTRIBUTING.md's example of one more paper, followed to the letter."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def blocks():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_it_is_short():
    experiment, test = blocks()
    lines = [line for line in experiment.split('"""', 2)[2].splitlines() if line.strip()]
    assert len(lines) <= 20 and len(test.splitlines()) <= 12


@pytest.mark.slow
def test_it_is_trained_and_tested(tmp_path):
    """In a checkout of its own: the experiment is listed, trains at its smallest, draws, and its test passes."""
    for folder in ("experiments", "scripts", "jaxgan"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    experiment, test = blocks()
    (tmp_path / "experiments" / "topk_mnist.py").write_text(experiment, encoding="utf-8")
    (tmp_path / "test_topk.py").write_text(test, encoding="utf-8")

    def run(*command):
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "topk_mnist" in run("experiments")
    run("experiments.topk_mnist", "--preset", "smoke", "--devices", "1", "--workdir", "run")
    run("scripts.sample", "run", "--out", "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 0
    assert "1 passed" in run("pytest", "-q", "test_topk.py")
