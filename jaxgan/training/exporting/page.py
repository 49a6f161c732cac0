"""A page to play with a generator: its ONNX program, run by onnxruntime-web in the browser."""

import html
import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.files import atomic_write
from jaxgan.media import Image
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.exporting.generator import Generator
from jaxgan.training.run.open_run import OpenRun

__all__ = ["RUNTIME", "runtime_files", "write_page"]

RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PACKAGE = Path("node_modules", "onnxruntime-web", "dist")  # in the folder where the command is given
SHOWN = 16


def runtime_files() -> list[Path]:
    """Returns the browser's runtime, files of the npm package onnxruntime-web. UsageError where it isn't here."""
    files = [PACKAGE / name for name in RUNTIME]
    if any(not file.is_file() for file in files):
        raise UsageError("--demo needs onnxruntime-web in ./node_modules: npm install onnxruntime-web")
    return files


def write_page(folder: Path, run: OpenRun, generator: Generator, onnx: bytes, title: str) -> None:
    """Writes the page into a folder that is there: `index.html`, `generator.onnx` and the runtime. UsageError for what
    draws no pictures from latents, and without the runtime."""
    files, about = runtime_files(), _about(run, generator)
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    filled = template.replace("TITLE", html.escape(title)).replace("ABOUT", json.dumps(about).replace("<", "\\u003c"))
    for file in files:
        shutil.copyfile(file, folder / file.name)
    for name, content in (("generator.onnx", onnx), ("index.html", filled.encode())):
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(content)


def _about(run: OpenRun, generator: Generator) -> dict[str, Any]:
    """What the page has to know: shapes, what can be chosen, and the latents of the run's first samples."""
    if "latent" not in generator.inputs or run.data.like(generator.output).kind != Image.kind:
        raise UsageError(f"--demo: {run.directory} doesn't draw pictures from latents")
    first = run.latent_space.inputs(range(SHOWN))
    size = int(first["latent"].shape[1])
    categories = [vars(run.options)["categories"]] if "code_class" in first else []
    values = first["code_value"].shape[1] if "code_value" in first else 0
    conditional = "label" in generator.inputs
    return {
        "shape": generator.shape,
        "latent": size,
        "noise": size - sum(categories) - values,
        "categories": categories,
        "values": values,
        "classes": run.data.classes if conditional else 0,
        "labels": np.asarray(first["condition"]).tolist() if conditional else [],
        "truncation": "truncation" in generator.inputs,
        "first": first["latent"].ravel().tolist(),
    }
