"""The site: public names have a page, links lead somewhere, what is told again was told first, and it builds."""

import doctest
import importlib.util
import os
import re
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
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in [*DOCS.glob("*.md"), *(DOCS / "reference").glob("*.md")])
GENERATED = {"gallery.md"}  # and experiments/, at every build
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


def anchors(page, made):
    return {section.slug for section in made.sections(read(page))}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in GENERATED])
def test_links_lead_somewhere(page, made, pages):
    prose = re.sub(r"^```\w.*?^```|`[^`\n]*`", "", read(page), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^):]+)\)", prose):
        path, _, anchor = link.partition("#")
        there = ((DOCS / page).parent / path).resolve() if path else DOCS / page
        name = there.relative_to(DOCS).as_posix() if there.is_relative_to(DOCS) else ""
        assert there.exists() or name in pages, f"docs/{page} names {link}, which is not there"
        assert not anchor or anchor in anchors(name, made), f"docs/{page} names {link}, a heading that is not there"


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


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("sphinx_book_theme"), reason="needs jaxgan[docs]")
def test_it_builds(tmp_path):
    """The command of CONTRIBUTING.md, into another folder; the site needs nothing from elsewhere."""
    command = COMMAND.replace("docs/_build", str(tmp_path))
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"PYTHONPATH": str(ROOT)}
    for part in command.split(" && "):
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", *part.split()[1:]],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    html = tmp_path / "html"
    page = (html / "reference" / "losses.html").read_text(encoding="utf-8")
    assert "<math" in page and "jaxgan.losses.hinge" in page
    assert (html / "experiments" / "dcgan_mnist.html").exists() and (html / "gallery.html").exists()
    assert not re.search(r"<(?:script|link)[^>]*(?:src|href)=\"https?:", page)
