"""The page to play with, beside the site's pages: what docs/play/ holds of each generator, our exporter's page, and the
browser's runtime where `npm install onnxruntime-web` put it."""

import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from jaxgan.training.errors.usage import UsageError
from jaxgan.training.exporting.page import lay_out, runtime_files

GENERATORS = Path(__file__).parent.parent / "play"
FILES = ("generator.onnx", "about.js")


def lay_out_all(app: Sphinx, failed: Exception | None) -> None:
    """Puts a page for each generator into the site's play/NAME."""
    if failed or app.builder.format != "html":
        return
    try:
        runtime = runtime_files()
    except UsageError:
        runtime = []
        logging.getLogger(__name__).info("play: no onnxruntime-web in ./node_modules; the pages will say so")
    for generator in sorted(GENERATORS.iterdir()):
        folder = Path(app.outdir, "play", generator.name)
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(generator / name, folder / name)
        lay_out(folder, runtime)


def setup(app: Sphinx) -> dict[str, bool]:
    """Lays the pages out when a build ends."""
    app.connect("build-finished", lay_out_all)
    return {"parallel_read_safe": True}
