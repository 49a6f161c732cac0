"""The site: public names have a page, links lead somewhere, what is told again was told first; it builds, and faults
end the build."""

import doctest
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.__main__ import experiments

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
MADE = DOCS / "gallery.md"  # with docs/experiments/, at every build
WRITTEN = {
    path for part in ("[A-Z]*", "docs/*", "docs/reference/*", "docs/guides/*") for path in ROOT.glob(f"{part}.md")
}
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in WRITTEN - {MADE})
NEEDS_SPHINX = pytest.mark.skipif(not importlib.util.find_spec("sphinx_book_theme"), reason="needs jaxgan[docs]")
COMMAND = re.search(r"(?m)^    (sphinx-build .+)$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))[1]


def extension(name):
    """One of docs/_ext, which needs no Sphinx before a site is built."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made():
    return extension("experiment_pages")


@pytest.fixture(scope="module")
def pages(made):
    return made.pages()


def read(page):
    return (DOCS / page).read_text(encoding="utf-8")


def documented():
    """Names that the reference has: of modules as a whole, and one by one."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.rst"))
    found = set(re.findall(r"^\.\. auto(?:function|class|data|exception):: (\S+)", text, re.MULTILINE))
    whole = re.findall(r"^\.\. automodule:: (\S+)\n(?!   :no-members:)", text, re.MULTILINE)
    found |= set(re.findall(r"^\.\. automodule:: (\S+)", text, re.MULTILINE))
    return found | {f"{module}.{name}" for module in whole for name in importlib.import_module(module).__all__}


def test_every_public_name_has_a_docstring_and_a_place():
    found, names = documented(), extension("public_names")
    public = list(names.public_names())
    assert len(public) > 300
    for module, name in public:
        home, described = names.origin(module, name)
        assert described, f"{home} has no docstring"
        assert {f"{module}.{name}", home} & found, f"{module}.{name} has no place in docs/reference"


def test_a_name_without_a_docstring_is_found(monkeypatch):
    import jaxgan.losses

    monkeypatch.setattr(jaxgan.losses, "__all__", [*jaxgan.losses.__all__, "Pair"])
    names = extension("public_names")
    assert ("jaxgan.losses", "Pair") in names.public_names() and "jaxgan.losses.Pair" not in documented()
    assert names.origin("jaxgan.losses", "Pair") == ("jaxgan.losses.Pair", False)
    assert names.origin("jaxgan.losses", "hinge") == ("jaxgan.losses.hinge", True)


@pytest.mark.parametrize("page", sorted(p.name for p in DOCS.glob("reference/*.rst") if ">>>" in p.read_text("utf-8")))
def test_the_examples_beside_equations_print_what_they_say(page):
    examples = doctest.DocTestParser().get_doctest(
        read(f"reference/{page}"), {"jax": jax, "jnp": jnp, "np": np}, page, page, 0
    )
    said = []
    assert doctest.DocTestRunner().run(examples, out=said.append).failed == 0, "".join(said)


def test_every_experiment_has_a_page(pages):
    names = [experiment.name for experiment in experiments()]
    assert {f"experiments/{name}.md" for name in names} < set(pages) and len(names) > 30
    page = pages["experiments/dcgan_mnist.md"]
    assert page.startswith("# `dcgan_mnist`\n") and "](../images/dcgan_mnist_steps.png)" in page
    assert "../results.md#beside-pytorch" not in pages["experiments/gan_ring.md"]
    assert "| `--unroll` |" in pages["experiments/unrolled_ring.md"]
    after = pages["experiments/lsgan_mnist.md"].partition("## Options")[0].rpartition("\n    ")[2]
    assert "[the results](../results.md)" in after and "[`dcgan_mnist`](dcgan_mnist.md)" in after


def test_every_picture_of_the_results_is_in_the_gallery(pages):
    gallery = pages["gallery.md"]
    pictures = set(re.findall(r"\]\((images/[^)]+)\)", read("results.md")))
    assert len(pictures) > 30 and pictures == set(re.findall(r"\{figure\} (\S+)", gallery))


def test_headings_have_the_addresses_of_their_order(made):
    slugs = [section.slug for section in made.sections("## A `b`, c\n\n### Time\n\n## Time\n\n## Time\n")]
    assert slugs == ["a-b-c", "time", "time-1", "time-2"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page, made, pages):
    """Those of the README and CONTRIBUTING too; captions of figures have some."""
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = re.sub(r"^```(?:\w|\{(?!figure)).*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^):]+)\)", prose):
        path, _, anchor = link.partition("#")
        there = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert there.is_relative_to(ROOT), f"{page} names {link}, which is elsewhere"
        name = there.relative_to(DOCS).as_posix() if there.is_relative_to(DOCS) else ""
        assert there.exists() or name in pages, f"{page} names {link}, which is not there"
        anchors = {each.slug for each in made.sections(there.read_text(encoding="utf-8"))} if anchor else set()
        assert not anchor or anchor in anchors, f"{page} names {link}, a heading that is not there"


def test_what_did_not_work_is_told_with_the_numbers_of_the_results(made):
    """Every number of a point stands in one of the sections that it names."""
    points = re.split(r"(?m)^- ", read("what_did_not_work.md").partition("\n## Never tried")[0])[1:]
    texts = {
        f"{page}#{section.slug}": section.text
        for page in ("results.md", "performance.md")
        for section in made.sections(read(page))
    }
    assert len(points) > 25
    for point in points:
        told = " ".join(texts[link] for link in re.findall(r"\]\(([^)]+)\)", point))
        said = re.sub(r"`[^`]*`|\]\([^)]*\)", "", point)
        numbers = re.findall(r"(?<![\w.,])\d+(?:,\d{3})*\.?\d*(?![\w×])", said)
        missing = [
            number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number.rstrip('.'))}(?!\d)", told)
        ]
        assert told and not missing, f"{missing} of {point.split('**')[1]!r} are not where it points to"


def test_docstrings_become_restructured_text():
    text = "A a*b of `x`s `[B, ...]` (arXiv 1406.2661)\n\n    x = 1\n\nsize: of\n    it all\nother, next: two\nEnd"
    assert extension("docstrings").restructured(text) == (
        "A a\\*b of :py:obj:`x`\\ s ``[B, ...]`` (`arXiv 1406.2661 <https://arxiv.org/abs/1406.2661>`__)\n\n"
        ".. code-block:: text\n\n       x = 1\n\n"
        "- **size**: of\n  it all\n\n- **other, next**: two\n\nEnd"
    )


def built(command, folder):
    """The status and the words of a `sphinx-build`, with as many devices as users have."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"PYTHONPATH": str(ROOT)}
    typed = [sys.executable, "-m", "sphinx", *command.split()[1:]]
    done = subprocess.run(typed, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@NEEDS_SPHINX
def test_it_builds(tmp_path):
    """The command of CONTRIBUTING.md, into another folder; the site needs nothing from elsewhere."""
    for command in COMMAND.replace("docs/_build", str(tmp_path)).split(" && "):
        status, said = built(command, ROOT)
        assert status == 0, said
    html = tmp_path / "html"
    page = (html / "reference" / "losses.html").read_text(encoding="utf-8")
    assert "<math" in page and "jaxgan.losses.hinge" in page
    assert (html / "experiments" / "dcgan_mnist.html").exists() and (html / "gallery.html").exists()
    assert not re.search(r"<(?:script|link)[^>]*(?:src|href)=\"https?:", page)


CELL = """---
file_format: mystnb
kernelspec: {name: python3, display_name: Python 3}
---

# Cell

```{code-cell}
1 / 0
```
"""


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
    status, said = built("sphinx-build -M html docs out -W --keep-going -q", tmp_path)
    assert status != 0
    assert "nowhere.md" in said and "one.rst: WARNING: document isn't included in any toctree" in said
    assert "jaxgan.losses.hinge is public and has no place in docs/reference" in said
    status, said = built("sphinx-build -M doctest docs out -W --keep-going -q", tmp_path)
    assert status != 0 and "Expected:\n    3" in said
    (tmp_path / "docs" / "cell.md").write_text(CELL, encoding="utf-8")
    status, said = built("sphinx-build -M html docs out -W --keep-going -q", tmp_path)
    assert status != 0 and "ZeroDivisionError" in said
