"""What an exported generator says of itself: `config.json` for programs, a model card for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxgan.media import Image
from jaxgan.training.exporting.generator import Generator
from jaxgan.training.exporting.weights import WEIGHTS
from jaxgan.training.run.directory import Run
from jaxgan.training.run.open_run import OpenRun
from jaxgan.training.scoring.judge import read

__all__ = ["FILES", "card", "config"]

FILES = {"safetensors": WEIGHTS, "stablehlo": "generator.stablehlo", "onnx": "generator.onnx"}
USES = {
    "safetensors": (
        "from jaxgan.training import load_weights  # or safetensors.numpy.load_file, of names with slashes",
        'variables = load_weights(".")["{player}"]  # what the network\'s `apply` takes',
    ),
    "stablehlo": (
        "import jax",
        'generator = jax.export.deserialize(bytearray(open("generator.stablehlo", "rb").read()))',
        "drawn = generator.call({given})",
    ),
    "onnx": (
        "import onnxruntime",
        'session = onnxruntime.InferenceSession("generator.onnx")',
        "(drawn,) = session.run(None, {{{named}}})",
    ),
}
LIMITS = (
    "It draws what its training data looked like, with their gaps and their bias; a sample may lie close to a training "
    "image. Scores compare with others of the same protocol alone."
)


def config(run: OpenRun, generator: Generator, weights: str, formats: Sequence[str]) -> dict[str, Any]:
    """Returns what JSON can hold of a generator: the run's record, which checkpoint it is, its inputs, output and
    files."""
    return {
        **(Run(run.directory).record() or {}),
        "step": run.step,
        "weights": weights,
        "inputs": {
            name: {"shape": list(one.shape), "dtype": np.dtype(one.dtype).name, "meaning": one.meaning}
            for name, one in generator.inputs.items()
        },
        "output": {"name": generator.output, "shape": ["n", *generator.shape], "dtype": "float32"},
        "players": list(generator.variables),
        "files": {name: FILES[name] for name in formats},
    }


def card(run: OpenRun, made: Mapping[str, Any], licence: str) -> str:
    """Returns the model card, Markdown, of a `config`."""
    session = (made.get("sessions") or [{}])[-1]
    facts = {
        "experiment": f"`python -m {made.get('experiment', 'an experiment of its own')}`",
        "trained by": f"`{session['command']}`" if "command" in session else "a version that didn't record its command",
        "data": run.data.name,
        "training": f"{run.step} steps; weights: {made['weights']}",
        "licence": licence or "none was stated: ask who trained it; what the data's licence asks for holds too",
    }
    inputs = [f"| `{name}` | {_shape(one)} | {one['meaning']} |" for name, one in made["inputs"].items()]
    output = f"| `{made['output']['name']}` | {_shape(made['output'])} | {_result(run, made['output']['name'])} |"
    lines = ["# A generator", "", *_table(("", ""), [f"| {name} | {text} |" for name, text in facts.items()]), ""]
    lines += ["## Inputs and output", "", *_table(("", "shape and type", ""), [*inputs, output]), "", "## Use", ""]
    for name in made["files"]:
        filled = {
            "given": ", ".join(made["inputs"]),
            "named": ", ".join(f'"{each}": {each}' for each in made["inputs"]),
            "player": made["players"][0],
        }
        lines += ["```python", *(each.format(**filled) for each in USES[name]), "```", ""]
    lines += ["## Scores", "", *_scores(run, made["weights"]), "", "## Limits", "", LIMITS, ""]
    return "\n".join(lines)


def _table(heads: Sequence[str], rows: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows]


def _shape(one: Mapping[str, Any]) -> str:
    return f"{one['dtype']} [{', '.join(map(str, one['shape']))}]"


def _result(run: OpenRun, name: str) -> str:
    kind = run.data.like(run.drawing.twins.get(name, name)).kind
    return (
        "pictures, 0 to 255 as -1 to 1; what lies outside is cut off"
        if kind == Image.kind
        else f"{kind} as networks have them"
    )


def _scores(run: OpenRun, weights: str) -> list[str]:
    """The scores of this checkpoint and these weights, with what they were made of."""
    rows = [
        f"| {record['name']} | {record['value']:.4g} | {_counted(record)} |"
        for record in read(run.directory)
        if record.get("step") == run.step and record.get("weights") == weights and record.get("value") is not None
    ]
    if not rows:
        return [f"None: `python -m scripts.evaluate` has not been run on this checkpoint's {weights} weights."]
    return _table(("", "score", "of"), rows)


def _counted(record: Mapping[str, Any]) -> str:
    against = f" against {record['real']}" if record.get("real") else ""
    return f"{record.get('samples')}{against} of {record.get('dataset')}, {record.get('split')}"
