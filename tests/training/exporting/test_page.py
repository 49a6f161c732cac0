"""The page to play with: what it is told, what it refuses, and its pixels in a real browser beside the run's."""

import functools
import http.server
import importlib.util
import json
import re
import shutil
import threading

import numpy as np
import pytest
from exporting_runs import opened

from jaxgan.training import UsageError
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.exporting.generator import generator_of
from jaxgan.training.exporting.page import PACKAGE, RUNTIME, write_page
from jaxgan.training.exporting.programs import onnx_model
from scripts import export

pytestmark = pytest.mark.usefixtures("as_users_have_it")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CAN_LOOK = CHROMIUM and importlib.util.find_spec("playwright") and importlib.util.find_spec("jax2onnx")


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A folder with files called as the browser's runtime, where the command is given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / PACKAGE).mkdir(parents=True)
    for name in RUNTIME:
        (tmp_path / PACKAGE / name).write_bytes(name.encode())
    (tmp_path / "page").mkdir()
    return tmp_path / "page"


def told(page):
    return json.loads(re.search(r"const about = (\{.*\});", (page / "index.html").read_text())[1])


def test_a_page_is_told_what_it_draws_with(runtime):
    run = opened("infogan_mnist")
    write_page(runtime, run, generator_of(run), b"program", "a <run>")
    about, first = told(runtime), run.latent_space.inputs(range(16))["latent"]
    assert about["shape"] == [28, 28, 1] and about["latent"] == first.shape[1]
    assert about["categories"] == [10] and about["values"] == 2 and about["noise"] == first.shape[1] - 12
    np.testing.assert_array_equal(np.float32(about["first"]), first.ravel())
    assert (runtime / "generator.onnx").read_bytes() == b"program"
    assert all((runtime / name).read_bytes() == name.encode() for name in RUNTIME)
    text = (runtime / "index.html").read_text()
    assert "a &lt;run&gt;" in text and "http" not in text.replace("http.server", "").replace("http://localhost", "")


@pytest.mark.slow
def test_a_page_has_classes_and_truncation_where_there_are_some(runtime):
    for name in ("cgan_mnist", "stylegan2_mnist"):
        run = opened(name)
        write_page(runtime, run, generator_of(run), b"program", name)
        about = told(runtime)
        assert (about["classes"], about["truncation"]) == ((10, False) if name == "cgan_mnist" else (0, True))
        assert about["labels"] == (run.drawing.labels(0, 16).tolist() if about["classes"] else [])


def test_a_page_without_its_runtime_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^--demo needs onnxruntime-web in ./node_modules: npm"):
        command_line(export.Options, ["RUN", "--demo", "page"])
    with pytest.raises(UsageError, match=r"^--out must be a folder, unless --demo is one, got none$"):
        command_line(export.Options, ["RUN"])


def test_what_draws_no_pictures_has_no_page(runtime):
    run = opened("gan_ring")
    with pytest.raises(UsageError, match=r"^--demo: RUN doesn't draw pictures from latents$"):
        write_page(runtime, run, generator_of(run), b"program", "ring")


@pytest.mark.long
@pytest.mark.skipif(not CAN_LOOK, reason="jax2onnx, playwright or Chromium is not installed")
def test_a_browser_draws_the_runs_pixels(tmp_path):
    """Where the command is given node_modules has onnxruntime-web."""
    from playwright.sync_api import sync_playwright

    run = opened("cgan_mnist")
    generator = generator_of(run)
    write_page(tmp_path, run, generator, onnx_model(generator).SerializeToString(), "digits")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as browsers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]).new_page()
        failed = []
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.wait_for_selector("body[data-drawn]")
        grid = "document.getElementById('grid')"
        read = f"Array.from({grid}.getContext('2d').getImageData(0, 0, {grid}.width, {grid}.height).data)"
        shown = np.array(page.evaluate(read), np.uint8).reshape(4, 28, 4, 28, 4)[..., :1].swapaxes(1, 2)
        apart = np.abs(shown.reshape(16, 28, 28, 1).astype(int) - run.sample(16))
        assert apart.max() <= 1 and np.mean(apart > 0) < 1e-3, "only what lies between two numbers may be rounded apart"
        page.select_option("#label", "3")
        page.wait_for_function("document.body.dataset.drawn >= 2")
        page.focus("#grid")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("document.body.dataset.drawn >= 3")
        moved = np.array(page.evaluate(read), np.uint8)
        page.click("#back")
        page.wait_for_function("document.body.dataset.drawn >= 4")
        assert not failed and (moved != np.array(page.evaluate(read))).any()
        server.shutdown()
