"""Entries of PyTorch's state dicts, of which networks with other people's weights are made."""

from collections.abc import Mapping

import numpy as np

__all__ = ["entry"]


def entry(weights: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns an array by its name. ValueError where it is missing or has another shape."""
    found = f"shape {list(weights[name].shape)}" if name in weights else "no such entry"
    if name not in weights or weights[name].shape != shape:
        raise ValueError(f"expected {name} of shape {list(shape)}, found {found}")
    return weights[name]
