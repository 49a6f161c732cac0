"""The page to play with: what it is told, what it refuses, and its pixels in a real browser beside the run's."""

import functools
import http.server
import importlib.util
import json
import re
import shutil
import subprocess
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
CAN_LOOK = CHROMIUM and importlib.util.find_spec("playwright")


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
    return json.loads(re.fullmatch(r"const about = (.*);\n", (page / "about.js").read_text())[1])


def test_a_page_is_told_what_it_draws_with(runtime):
    run = opened("infogan_mnist")
    write_page(runtime, run, generator_of(run), b"program", "a <run>")
    about, first = told(runtime), run.latent_space.inputs(range(16))
    assert about["shape"] == [28, 28, 1] and about["latent"] == 8 and not about["uniform"]
    assert about["categories"] == [10] and about["values"] == 2 and about["directions"] == []
    np.testing.assert_array_equal(np.float32(about["first"]["latent"]), first["latent"][:, :8].ravel())
    assert about["first"]["code_class"] == first["code_class"].ravel().tolist()
    assert (runtime / "generator.onnx").read_bytes() == b"program"
    assert all((runtime / name).read_bytes() == name.encode() for name in RUNTIME)
    text = (runtime / "index.html").read_text()
    assert about["title"] == "a <run>" and "http" not in text.replace("http.server", "").replace("http://localhost", "")


@pytest.mark.slow
def test_a_page_has_classes_and_truncation_where_there_are_some(runtime):
    for name in ("cgan_mnist", "stylegan2_mnist"):
        run = opened(name)
        write_page(runtime, run, generator_of(run, movable=True), b"program", name)
        about = told(runtime)
        assert len(about["directions"]) == (0 if name == "cgan_mnist" else 5)
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


IN_NODE = """
const ort = require("onnxruntime-web"), fs = require("fs"), [model, about, out] = process.argv.slice(2);
const arrays = { float32: Float32Array, int32: Int32Array };
(async () => {
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(fs.readFileSync(model));
  const given = Object.entries(JSON.parse(fs.readFileSync(about))).map(([name, [type, shape, values]]) =>
    [name, new ort.Tensor(type, arrays[type].from(values), shape)]);
  const { drawn } = await session.run(Object.fromEntries(given));
  fs.writeFileSync(out, Buffer.from(drawn.data.buffer, drawn.data.byteOffset, drawn.data.byteLength));
})();
"""
needs_runtime = pytest.mark.skipif(
    not (importlib.util.find_spec("jax2onnx") and all((PACKAGE / name).is_file() for name in RUNTIME)),
    reason="jax2onnx, or ./node_modules/onnxruntime-web where pytest was started, is not there",
)


@pytest.mark.long
@needs_runtime
@pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")
@pytest.mark.parametrize("name", ["dcgan_mnist", "infogan_mnist", "rnn_mnist", "stylegan2_mnist", "biggan_cifar10"])
def test_node_draws_what_the_run_draws(name, tmp_path):
    run = opened(name)
    generator = generator_of(run, movable=True)
    drawn = run.latent_space.inputs(range(5), seed=3)
    size = generator.inputs["latent"].shape[1]
    inputs = {**drawn, "latent": drawn["latent"][:, :size], "label": drawn.get("condition")}
    inputs |= {"truncation": np.float32(1), "shift": np.zeros(run.latent_space.size, np.float32)}
    about = {name: inputs[name] for name in generator.inputs}
    told = {name: (str(one.dtype), list(one.shape), one.ravel().tolist()) for name, one in about.items()}
    (tmp_path / "about.json").write_text(json.dumps(told))
    (tmp_path / "model.onnx").write_bytes(onnx_model(generator).SerializeToString())
    files = [str(tmp_path / each) for each in ("model.onnx", "about.json", "drawn")]
    subprocess.run(["node", "-", *files], input=IN_NODE, text=True, check=True)  # where node_modules are
    expected = run.latent_space.floats(run.codes(5, seed=3), drawn)
    got = np.fromfile(tmp_path / "drawn", np.float32).reshape(expected.shape)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.long
@needs_runtime
@pytest.mark.skipif(not CAN_LOOK, reason="playwright or Chromium is not installed")
@pytest.mark.parametrize(
    "name, control", [("cgan_mnist", "#label"), ("infogan_mnist", "#category0"), ("stylegan_mnist", "#direction0")]
)
def test_a_browser_draws_the_runs_pixels(name, control, tmp_path):
    from playwright.sync_api import sync_playwright

    run = opened(name)
    generator = generator_of(run, movable=True)
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
        high, wide, _ = generator.shape
        shown = np.array(page.evaluate(read), np.uint8).reshape(4, high, 4, wide, 4)[..., :1].swapaxes(1, 2)
        apart = np.abs(shown.reshape(16, *generator.shape).astype(int) - run.sample(16))
        assert apart.max() <= 1 and np.mean(apart > 0) < 1e-3, "only what lies between two numbers may be rounded apart"

        def after(number, act):
            act()
            page.wait_for_function(f"document.body.dataset.drawn >= {number}")
            return page.evaluate(read)

        def changed():
            if control.startswith("#direction"):
                page.fill(control, "2")  # as dragging does
            else:
                page.select_option(control, "3")

        pictures = [page.evaluate(read), after(2, changed), after(3, lambda: page.click("#next"))]
        page.focus("#grid")
        pictures.append(after(4, lambda: page.keyboard.press("ArrowRight")))
        assert len({bytes(each) for each in pictures}) == 4, "each control changes the pictures"
        assert after(5, lambda: page.click("#back")) == pictures[0] and not failed
        server.shutdown()
