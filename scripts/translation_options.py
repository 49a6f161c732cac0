"""The options of commands that translate whole pictures: into what, and what a translation is given beside them."""

import dataclasses
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jaxgan.data.sources.source import decode
from jaxgan.data.transform import ImageTransform
from jaxgan.printable import printable
from jaxgan.training import OpenRun
from jaxgan.training.errors.usage import require
from jaxgan.training.options.data import shape_of
from jaxgan.training.options.fields import Bounded, bounded

__all__ = ["TranslationOptions", "translation_inputs"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslationOptions(Bounded):
    """What pictures are translated to, and how."""

    GROUP: ClassVar[str] = "translation"

    to: str | None = None
    """What pictures become, of a run that makes several things of them; it names them where one is missing."""
    tile: int | None = bounded(None, at_least=1)
    """Pixels of a side of the tiles in which a larger picture is translated; smaller ones need less memory. By default
    512, of a run that enlarges four times 192."""
    overlap: int | None = bounded(None, at_least=0)
    """Pixels by which tiles overlap at least; by default twice as many as a network looks to each side of a pixel, so
    that the result is the whole picture's, or a quarter of a tile where that is unknown or more than half of one."""
    interpolation: float | None = bounded(None, at_least=0, at_most=1)
    """Where a run has a network trained by pixels and one trained adversarially: the share of the latter, from 0 to
    1."""
    style: tuple[Path, ...] = ()
    """Pictures whose style is transferred, one or several."""
    strength: float | None = bounded(None, at_least=0, at_most=1)
    """How much of the style is transferred, from 0 to 1."""
    mix: str | None = None
    """The share of each of several styles, 0.3,0.7; by default all have the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mix is not None:
            shares = _numbers(self.mix)
            right = bool(shares) and all(0 <= share < math.inf for share in shares) and 0 < sum(shares) < math.inf
            require(self, "mix", right, "numbers from 0 on with commas between them, not all 0, such as 0.3,0.7")
            require(self, "mix", len(shares) == len(self.style), f"as many shares as --style names: {len(self.style)}")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []


def translation_inputs(run: OpenRun, options: TranslationOptions) -> dict[str, Any]:
    """Returns what `run.translate` is given beside pictures, by name, as far as the options name it: `interpolation`
    and `strength` as numbers, `style` as float32 `[K, H, W, C]` in [-1, 1], cut and resized to the size to which the
    run brought the pictures that it learned styles from, and `mix`, float32 `[K]`, which sums to 1. BadImage for a
    picture that can't be read."""
    found: dict[str, Any] = {}
    for name in ("interpolation", "strength"):
        if (value := getattr(options, name)) is not None:
            found[name] = value
    if options.style:
        *size, channels = run.data.like("style").shape
        if run.options.load_size:  # from which training cuts out what it learns from
            size = list(shape_of(run.options.load_size) or size)
        transform = ImageTransform((size[0], size[1]), channels, fit="crop")
        pictures = [transform(decode(path, name := printable(path)), name) for path in options.style]
        found["style"] = np.stack(pictures).astype(np.float32) / 127.5 - 1
    if options.mix is not None:
        shares = np.array(_numbers(options.mix), np.float64)
        found["mix"] = (shares / shares.sum()).astype(np.float32)
    return found
