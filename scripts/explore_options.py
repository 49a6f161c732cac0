"""The options of `scripts.explore`: the tools that there are, and which option belongs to which."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from jaxgan.training.cli.arguments import Positional
from jaxgan.training.errors.usage import UsageError, flag, require, require_file
from jaxgan.training.options.fields import Bounded, bounded
from scripts.checkpoint_options import CheckpointOptions
from scripts.film_files import check_ffmpeg

__all__ = ["ExploreOptions", "numbers_of"]

Tool = Literal["grid", "truncation", "mixing", "walk", "directions", "neighbours"]
LARGEST = 2**31 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions(Bounded):
    GROUP: ClassVar[str] = "samples"

    numbers: tuple[str, ...] = ()
    """Samples by their numbers, 3 17 40-47: those of scripts.sample --out FILE.npz with the same --seed, from 0. By
    default the first 64 in a grid, 2 of directions, 6 of a walk, and otherwise 8."""
    label: int | None = bounded(None, at_least=0)
    """The class of all samples of a conditional GAN, from 0; by default those that scripts.sample gives them."""
    truncation: float = bounded(1.0, at_least=-100, at_most=100)
    """How far from the mean code samples stay, of all tools but truncation: 1 leaves them as they are, 0
    makes all the mean."""
    count: int = bounded(1000, at_least=10, at_most=1_000_000)
    """Samples that a classifier reads for a table, and by which directions are found or their length is measured."""
    feature_network: Literal["auto", "mnist-v1", "cifar10-v1", "efficientnet-lite0", "pixels"] = "auto"
    """Of mixing, directions and neighbours: the classifier that reads samples, or the network in whose features images
    are near, as in scripts.evaluate; pixels compares these. auto is the data's packaged classifier, or pixels."""
    data_dir: str | None = None
    """Folder of TFDS's data sets, for neighbours; by default the run's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolOptions(Bounded):
    GROUP: ClassVar[str] = "tools"

    truncations: tuple[float, ...] = bounded((-1.0, -0.5, 0.0, 0.5, 0.7, 1.0), at_least=-100, at_most=100)
    """Of truncation: a column each."""
    styles: tuple[str, ...] = ()
    """Of mixing: numbers of the samples that give the styles of --layers, a column each; by default the next 6."""
    layers: tuple[str, ...] = ()
    """Layers by their numbers, from 0, the coarsest: 4-7. Of mixing those whose styles are given, by default the finer
    half; of directions those in which a code is moved, and of whose weights directions are found, by default all."""
    space: Literal["z", "w"] | None = None
    """Of walk: between latents z, or between the styles w that they are mapped to; by default w where there is one."""
    path: Literal["spherical", "linear"] | None = None
    """Of walk: along great circles, by default in z, or straight, which is all that there is in w."""
    closed: bool = True
    """Of walk: back to the first sample in the end, or up to the last one."""
    frames: int | None = bounded(None, at_least=1, at_most=10_000)
    """Of walk: frames from sample to sample, by default 30, in a .png, which has a row for each way, 8."""
    source: Literal["weights", "classifier"] | None = None
    """Of directions: found in the weights, without labels, or from what a classifier reads, one for each class. By
    default of weights where these are known."""
    classes: str | None = None
    """Of directions: classes by number, 3,7; by default all that samples are read as."""
    directions: int | None = bounded(None, at_least=1)
    """Of directions: how many, the strongest of the weights first; by default 5."""
    strengths: tuple[float, ...] = bounded((-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0), at_least=-100, at_most=100)
    """Of directions: steps, a column each, in standard deviations of samples' codes along the direction."""
    nearest: int = bounded(5, at_least=1, at_most=100)
    """Of neighbours: how many training examples beside each sample."""


OF_TOOL: dict[str, tuple[Tool, ...]] = {
    "truncation": ("grid", "mixing", "walk", "directions", "neighbours"),
    "count": ("mixing", "directions", "neighbours"),
    "feature_network": ("mixing", "directions", "neighbours"),
    "data_dir": ("neighbours",),
    "truncations": ("truncation",),
    "styles": ("mixing",),
    "layers": ("mixing", "directions"),
    **dict.fromkeys(("space", "path", "closed", "frames"), ("walk",)),
    **dict.fromkeys(("source", "classes", "directions", "strengths"), ("directions",)),
    "nearest": ("neighbours",),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExploreOptions(ToolOptions, SampleOptions, CheckpointOptions):
    run: Positional[Path]
    """A run directory."""
    tool: Positional[Tool]
    """What to do: grid, truncation, mixing, walk, directions or neighbours."""
    out: Path
    """File for the picture, .png; of a walk .gif or, where ffmpeg is installed, .mp4 too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            tools = OF_TOOL.get(field.name, (self.tool,))
            if self.tool not in tools and getattr(self, field.name) != field.default:
                raise UsageError(f"--{flag(field.name)} is of {' and '.join(tools)}, not of {self.tool}: leave it out")
        for name in ("numbers", "styles", "layers"):
            numbers_of(self, name)
        straight = self.path != "spherical" or self.space != "w"
        require(self, "path", straight, "linear in w, whose points lie on no sphere")
        by_classes = self.source != "weights" or self.classes is None
        require(self, "classes", by_classes, "left out where directions are found in the weights")
        by_number = self.source != "classifier" or self.directions is None
        require(self, "directions", by_number, "left out where there is one for each class: --classes 3,7")
        require_file(self, "out", *((".png", ".gif", ".mp4") if self.tool == "walk" else (".png",)))
        check_ffmpeg(self.out)


def numbers_of(options: object, name: str, default: Sequence[int] = ()) -> list[int]:
    """Returns the numbers of an option such as 3 17 40-47, or the default where it isn't given. UsageError for another
    text, and for a number twice."""
    found: list[int] = []
    for text in getattr(options, name):
        first, dash, last = text.partition("-")
        right = first.isdecimal() and (last.isdecimal() if dash else True)
        right = right and int(first) <= int(last or first) <= LARGEST and int(last or first) - int(first) < 1_000_000
        require(options, name, right, "numbers from 0 on, or ranges of them, such as 3 17 40-47")
        found += range(int(first), int(last or first) + 1)
    require(options, name, len(set(found)) == len(found), "different numbers")
    return found or list(default)
