"""Weights as safetensors, which every framework reads and nothing in which is executed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np
import safetensors
import safetensors.numpy

from jaxgan.files import atomic_write
from jaxgan.printable import printable
from jaxgan.training.errors.usage import UsageError

__all__ = ["WEIGHTS", "load_weights", "save_weights"]

WEIGHTS = "generator.safetensors"


def save_weights(path: Path, variables: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Writes variables by player, collection and name, `generator/params/...`; `about` goes into the file's header, as
    JSON under "config"."""
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    arrays = {name: np.asarray(value, order="C") for name, value in flat.items()}  # a scalar stays one
    whole = safetensors.numpy.save(arrays, {"config": json.dumps(about)})
    with atomic_write(path) as temporary:
        temporary.write_bytes(whole)


def load_weights(directory: str | Path) -> dict[str, Any]:
    """Reads the weights that `scripts.export` wrote into a folder: by player its variables as its network's `apply`
    takes them, `{"generator": {"params": {...}, "batch_stats": {...}}}`, NumPy arrays. UsageError where there are none,
    or the file is damaged."""
    path = Path(directory) / WEIGHTS
    try:
        arrays = safetensors.numpy.load_file(path)
    except FileNotFoundError:
        raise UsageError(
            f"{printable(directory)} has no {WEIGHTS}: python -m scripts.export RUN --out FOLDER"
        ) from None
    except (OSError, safetensors.SafetensorError) as error:
        raise UsageError(f"{printable(path)} can't be read: {printable(error)}; export the run again") from None
    return flax.traverse_util.unflatten_dict(arrays, sep="/")
