"""What is installed: the wheel's content, and that it serves in any folder, without the checkout."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

import jaxgan
from experiments import __main__ as listing
from experiments import gan_ring
from jaxgan.training.options.parsing import parse
from scripts import sample

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatch_fancy_pypi_readme")
    folder = tmp_path_factory.mktemp("dist")
    program = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return folder / done.stdout.split()[-1]


def test_the_wheel_has_every_module_and_what_they_read(wheel):
    with zipfile.ZipFile(wheel) as file:
        found = {name for name in file.namelist() if ".dist-info/" not in name}
    sources = (path for part in ("jaxgan", "experiments", "scripts") for path in (ROOT / part).rglob("*.py"))
    modules = {path.relative_to(ROOT).as_posix() for path in sources}
    features = "jaxgan/evaluation/features/weights"
    beside = {
        "jaxgan/py.typed",
        "jaxgan/training/exporting/page.html",
        f"{features}/mnist-v1.npz",
        f"{features}/cifar10-v1.npz",
    }
    assert found == {name for name in modules if not name.startswith("scripts/golden/")} | beside


def test_an_index_shows_a_description_without_links_into_the_checkout(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        head, _, text = file.read(name).decode().partition("\n\n")
    assert f"Version: {jaxgan.__version__}\n" in head and "Description-Content-Type: text/markdown" in head
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "`", text, flags=re.MULTILINE | re.DOTALL)
    assert text.startswith("# jaxgan\n") and "## Start" in text and "\\1" not in text
    targets = re.findall(r"\]\(([^)]*)\)|<img[^>]*src=\"([^\"]*)", prose)
    assert all("".join(each).startswith("https://") for each in targets), targets


def test_the_host_side_comes_when_it_is_first_touched():
    program = "import sys, jaxgan; assert 'jaxgan.training' not in sys.modules; print(jaxgan.training.open.__module__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "jaxgan.training.run.open_run\n"


def test_every_command_says_its_version(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--version"])
    for start in (listing.main, lambda: parse(gan_ring.Options), lambda: sample.command_line(sample.Options)):
        with contextlib.suppress(SystemExit):
            start()
        assert capsys.readouterr().out == f"jaxgan {jaxgan.__version__}\n"


@pytest.mark.slow
def test_the_wheel_serves_in_any_folder(wheel, tmp_path):
    """Installed by pip beside its dependencies; the folder has others called experiments and scripts."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(tmp_path / "site")]
    subprocess.run([*pip, str(wheel)], check=True)
    elsewhere = tmp_path / "elsewhere"
    for name in ("experiments", "scripts"):
        (elsewhere / name).mkdir(parents=True)

    def run(*command):
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
        done = subprocess.run(
            [sys.executable, *command], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "gan_ring" in run("-m", "experiments")
    run("-m", "experiments.gan_ring", "--preset", "smoke", "--devices", "1", "--workdir", "run")
    run("-m", "scripts.sample", "run", "--out", "grid.png")
    assert (elsewhere / "grid.png").stat().st_size > 0
    opening = "import jaxgan; run = jaxgan.training.open('run')"
    path, count = run("-c", f"{opening}; print(run.build.__code__.co_filename, len(run.sample(3)))").split()
    assert path == str(tmp_path / "site" / "experiments" / "gan_ring.py") and count == "3"
