"""What the site's build refuses, and how it reads our docstrings."""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NEEDS_SPHINX = pytest.mark.skipif(not importlib.util.find_spec("sphinx_book_theme"), reason="needs jaxgan[docs]")
CELL = """---
file_format: mystnb
kernelspec: {name: python3, display_name: Python 3}
---

# Cell

```{code-cell}
1 / 0
```
"""


@NEEDS_SPHINX
def test_docstrings_become_restructured_text(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    text = "A a*b of `x`s `[B, ...]` (arXiv 1406.2661)\n\n    x = 1\n\nsize: of\n    it all\nother, next: two\nEnd"
    assert importlib.import_module("docstrings").restructured(text) == (
        "A a\\*b of :py:obj:`x`\\ s ``[B, ...]`` (`arXiv 1406.2661 <https://arxiv.org/abs/1406.2661>`__)\n\n"
        ".. code-block:: text\n\n       x = 1\n\n"
        "- **size**: of\n  it all\n\n- **other, next**: two\n\nEnd"
    )


def build(builder, root):
    command = [sys.executable, "-m", "sphinx", "-M", builder, "docs", "out", "-W", "--keep-going", "-q"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@NEEDS_SPHINX
def test_faults_end_the_build(tmp_path):
    """A site without a reference, whose pages have a link to nowhere, a wrong example, and a cell that fails."""
    for name in ("_ext", "_static", "images", "play"):
        shutil.copytree(ROOT / "docs" / name, tmp_path / "docs" / name)
    for name in ("conf.py", "results.md"):
        shutil.copy(ROOT / "docs" / name, tmp_path / "docs" / name)
    (tmp_path / "docs" / "index.md").write_text("# All\n\n[gone](nowhere.md)\n", encoding="utf-8")
    (tmp_path / "docs" / "one.rst").write_text("One\n===\n\n>>> 1 + 1\n3\n", encoding="utf-8")
    status, said = build("html", tmp_path)
    assert status != 0
    assert "nowhere.md" in said and "one.rst: WARNING: document isn't included in any toctree" in said
    assert "jaxgan.losses.hinge is public and has no place in docs/reference" in said
    status, said = build("doctest", tmp_path)
    assert status != 0 and "Expected:\n    3" in said
    (tmp_path / "docs" / "cell.md").write_text(CELL, encoding="utf-8")
    status, said = build("html", tmp_path)
    assert status != 0 and "ZeroDivisionError" in said
