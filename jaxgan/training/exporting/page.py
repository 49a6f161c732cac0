"""A page to play with a generator: its ONNX program, run by onnxruntime-web in the browser."""

import json
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.files import atomic_write
from jaxgan.media import Image
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.exploring.directions import factorised, spread
from jaxgan.training.exporting.generator import UNIFORM, Generator, categories_of
from jaxgan.training.recipe.gan import Weights
from jaxgan.training.run.open_run import OpenRun

__all__ = ["RUNTIME", "lay_out", "runtime_files", "write_page"]

RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PACKAGE = Path("node_modules", "onnxruntime-web", "dist")  # in the folder where the command is given
SHOWN, DIRECTIONS, SPREAD = 16, 5, 256  # samples on the page, directions, and samples that say how long these are


def runtime_files() -> list[Path]:
    """Returns the browser's runtime, files of the npm package onnxruntime-web. UsageError where it isn't here."""
    files = [PACKAGE / name for name in RUNTIME]
    if any(not file.is_file() for file in files):
        raise UsageError("--demo needs onnxruntime-web in ./node_modules: npm install onnxruntime-web")
    return files


def write_page(
    folder: Path, run: OpenRun, generator: Generator, onnx: bytes, title: str, *, weights: Weights = "ema"
) -> None:
    """Writes the page into a folder that is there: `generator.onnx`; `about.js`, what is to know of it; and what
    `lay_out` puts beside them. weights: those of `generator`. UsageError for what draws no pictures from latents, and
    without the runtime."""
    files, about = runtime_files(), {"title": title, **_about(run, generator, weights)}
    told = f"const about = {json.dumps(about)};\n"
    for name, content in (("generator.onnx", onnx), ("about.js", told.encode())):
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(content)
    lay_out(folder, files)


def lay_out(folder: Path, runtime: Sequence[Path]) -> None:
    """Puts `index.html`, which is the same for all generators, and the browser's runtime into a folder."""
    for file in runtime:
        shutil.copyfile(file, folder / file.name)
    with atomic_write(folder / "index.html") as temporary:
        temporary.write_bytes(resources.files(__package__).joinpath("page.html").read_bytes())


def _about(run: OpenRun, generator: Generator, weights: Weights) -> dict[str, Any]:
    """What the page has to know: shapes, what can be chosen, and the inputs of the run's first samples."""
    inputs = generator.inputs
    if "latent" not in inputs or run.data.like(generator.output).kind != Image.kind:
        raise UsageError(f"--demo: {run.directory} doesn't draw pictures from latents")
    first, (_, size) = run.latent_space.inputs(range(SHOWN)), inputs["latent"].shape
    codes = {name: first[name].ravel().tolist() for name in ("code_class", "code_value") if name in inputs}
    return {
        "shape": generator.shape,
        "latent": size,
        "uniform": inputs["latent"].meaning == UNIFORM,
        "categories": categories_of(run, first) if "code_class" in inputs else (),
        "values": inputs["code_value"].shape[1] if "code_value" in inputs else 0,
        "classes": run.data.classes if "label" in inputs else 0,
        "labels": np.asarray(first["condition"]).tolist() if "label" in inputs else [],
        "truncation": "truncation" in inputs,
        "directions": _directions(run, weights).tolist() if "shift" in inputs else [],
        "first": {"latent": first["latent"][:, :size].ravel().tolist(), **codes},
    }


def _directions(run: OpenRun, weights: Weights) -> np.ndarray:
    """Returns the directions `[n, D]` that change most what the generator reads, as long as codes vary along them."""
    space = run.latent_space
    found = factorised(space.factors(weights=weights) or []).directions[:DIRECTIONS]
    codes = space.codes(space.inputs(range(SPREAD)), weights=weights)[:, 0]
    return np.asarray(found * spread(codes, found)[:, None], np.float32)
