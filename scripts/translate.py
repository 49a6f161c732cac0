"""Translates whole pictures of any size: enlarges them, gives them a style, repairs them, whatever a run has learned.

    python -m scripts.translate RUN photo.jpg --out enlarged             enlarged/photo.png
    python -m scripts.translate RUN holiday/ *.tif --out big --format jpg --quality 90
    python -m scripts.translate RUN a.png --to b --out b                 of a run that makes several things
    python -m scripts.translate RUN photo.jpg --style a.jpg b.jpg --mix 0.3,0.7 --strength 0.8 --out styled

Large pictures are translated in tiles, whose seams don't show, and in bounded memory. Pictures are turned as their EXIF
data say, and keep their colour profile and opacity. What can't be read is named and the rest is done; the exit status
is 1 then. No input is overwritten, and no other file without --overwrite.
"""

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from jaxgan.data.errors import BadImage
from jaxgan.data.sources.pictures import suffixes
from jaxgan.printable import listed, printable
from jaxgan.terminal import progress_bar, say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, refusals, require, writing
from jaxgan.training.options.fields import bounded
from jaxgan.training.output.whole import Translator
from scripts.checkpoint_options import MemberOptions, open_checkpoint
from scripts.picture_files import (
    Format,
    Photograph,
    check_sides,
    missing_codec,
    picture_size,
    read_photograph,
    write_photograph,
)
from scripts.translation_options import TranslationOptions, translation_inputs

SHOWN = 3  # files that a line names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(MemberOptions, TranslationOptions):
    run: Positional[Path]
    """A run directory."""
    inputs: Positional[tuple[Path, ...]]
    """Pictures, and folders of which all pictures are taken, but not those in folders within them."""
    out: Path
    """The folder for the results, which is made where it isn't there. They are called as the inputs; of several inputs
    of one name the second becomes name-2."""
    format: Format = "png"
    """What the results are saved as; jpg and webp lose a little."""
    quality: int = bounded(95, at_least=1, at_most=100)
    """Of jpg and webp."""
    overwrite: bool = False
    """Replace results that are there already. Inputs are never replaced."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "format", not missing_codec(self.format), "png or jpg: this Pillow can't write WebP")
        check_folder(self.out)


def check_folder(folder: Path) -> None:
    """Raises UsageError for what is no folder, or can't be made or written to."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise UsageError(f"--out must be a folder, got {printable(folder)}: {printable(there)} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"can't write to {printable(folder)}: the folder {printable(there)} can't be written to")


def pictures_of(inputs: Iterable[Path]) -> Iterator[Path | BadImage]:
    """Yields the inputs' pictures, those of a folder by name, none twice; where there are none, what is wrong."""
    seen = set()
    for given in inputs:
        try:
            found = _of_folder(given) if given.is_dir() else [given]
        except OSError as error:
            yield BadImage(f"{printable(given)} can't be read ({error.strerror or error})")
            continue
        for path in found:
            if path.absolute() not in seen:
                seen.add(path.absolute())
                yield path
        if not found:
            yield BadImage(f"{printable(given)} has no pictures; known are {', '.join(suffixes())}")


def _of_folder(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes() and not path.name.startswith(".") and not path.is_dir()
    )


def results_of(pictures: Iterable[Path], folder: Path, ending: str) -> dict[Path, Path]:
    """Returns for each picture the file of its result in the folder; none has another's, on systems either that don't
    tell small letters from capitals. A name depends on the pictures before it alone."""
    taken, found, counts = set(), {}, Counter[str]()
    for path in pictures:
        name = f"{path.stem}.{ending}"
        while name.casefold() in taken:
            counts[path.stem.casefold()] += 1
            name = f"{path.stem}-{counts[path.stem.casefold()] + 1}.{ending}"
        taken.add(name.casefold())
        found[path] = folder / name
    return found


def to_do(results: dict[Path, Path], *, overwrite: bool) -> Iterator[tuple[Path, Path | BadImage]]:
    """Yields each picture with the file of its result, or why there will be none: it is an input, or is there."""
    inputs = {place for path in results if (place := _place(path))}
    there = []
    for path, result in results.items():
        if not os.path.lexists(result):
            yield path, result
        elif _place(result) in inputs:
            yield (
                path,
                BadImage(f"{printable(path)}: {printable(result)} is an input; choose another --out or --format"),
            )
        elif overwrite:
            yield path, result
        else:
            there.append(result)
    if there:
        several = "is there already and is" if len(there) == 1 else f"are there already, {len(there)} files, and are"
        named = listed([printable(each) for each in there], SHOWN)
        yield there[0], BadImage(f"{named} {several} left as before; --overwrite replaces them")


def _place(path: Path) -> tuple[int, int] | None:
    """Returns what tells a file from all others, whatever links lead to it; None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def translate(translator: Translator, picture: Photograph, done: Callable[[int], object]) -> Photograph:
    """Translates a picture, of which opacity is resized. Grey becomes three equal channels for a network of colours. Of
    colours, a network of one channel that enlarges is given the luma, and the chroma (both ITU-R 601) is resized, as
    the field does; another is given grey."""
    channels, scale = translator.translation.channels, translator.translation.scale
    pixels, notes, chroma = picture.pixels, picture.notes, list[Image.Image]()
    if pixels.shape[2] < channels:
        pixels = np.repeat(pixels, channels, axis=2)
    elif pixels.shape[2] > channels:
        shown = Image.fromarray(pixels)
        if scale > 1 and translator.channels == 1:
            luma, *chroma = shown.convert("YCbCr").split()
        else:
            luma, notes = shown.convert("L"), (*notes, "its colours are made grey, which is all that the network takes")
        pixels = np.asarray(luma)[..., None]
    height, width = pixels.shape[:2]
    made = translator(pixels[None], done)[0]

    def resized(layer: Image.Image) -> Image.Image:
        return layer.resize((scale * width, scale * height), Image.Resampling.BICUBIC) if scale > 1 else layer

    if chroma:
        made = np.asarray(Image.merge("YCbCr", (Image.fromarray(made[..., 0]), *map(resized, chroma))).convert("RGB"))
    opacity = picture.opacity
    opacity = None if opacity is None else np.asarray(resized(Image.fromarray(opacity)))
    return Photograph(made, opacity, picture.profile, notes)


def one(
    opened: OpenRun, translator: Translator, path: Path, result: Path, options: Options, done: Callable[[int], object]
) -> str:
    """Translates a file into another and returns what there is to say of it. BadImage or UsageError where that can't
    be."""
    picture = read_photograph(path, with_opacity=options.format != "jpg")
    (height, width), scale = picture.pixels.shape[:2], translator.translation.scale
    check_sides(options.format, scale * height, scale * width, printable(path))
    opened.check_memory(translator.result_bytes((1, height, width, translator.translation.channels)))
    try:
        with refusals():
            made = translate(translator, picture, done)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UsageError(f"tiles of {translator.sizes()[0]} pixels need more memory than there is: --tile") from None
    with writing(result):
        left_out = write_photograph(result, made, options.format, options.quality)
    return "; ".join((f"{width * scale}×{height * scale} pixels", *made.notes, *left_out))


def run(options: Options) -> int:
    """Translates all pictures, and returns how many things went wrong, each of which is told in a line."""
    opened = open_checkpoint(options.run, options)
    opened.translation(options.to)  # before pictures are read for what translates none
    how = translation_inputs(opened, options)
    settings = {"weights": options.weights, "tile": options.tile, "overlap": options.overlap}
    translator = opened.translator(options.to, **settings, **how)
    with refusals():
        both = {"takes": translator.translation.channels, "makes": translator.channels}
    for what, channels in both.items():
        if channels not in (1, 3):
            raise UsageError(f"{options.run} {what} {channels} channels; pictures have 1 or 3")
    if opened.frozen:
        say(f"member {options.member} has diverged, and is as it was before step {opened.frozen}", error=True)
    found = list(pictures_of(options.inputs))
    faults = [each for each in found if isinstance(each, BadImage)]
    results = results_of([each for each in found if isinstance(each, Path)], options.out, options.format)
    work = list(to_do(results, overwrite=options.overwrite))
    faults += [each for _, each in work if isinstance(each, BadImage)]
    say(*faults, error=True)
    wrong, written = len(faults), 0
    with writing(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
    tiles = {path: _tiles(translator, path) for path, result in work if isinstance(result, Path)}
    with progress_bar(sum(tiles.values()), "translating", unit="tiles", hidden=not any(tiles.values())) as bar:
        for path, result in work:
            if isinstance(result, BadImage):
                continue
            end = bar.n + tiles[path]
            try:
                say(f"{result}: {one(opened, translator, path, result, options, bar.update)}")
                written += 1
            except BadImage as error:
                say(error, error=True)
                wrong += 1
            except UsageError as error:
                say(f"{path}: {error}", error=True)
                wrong += 1
            if bar.n < end:  # what couldn't be done isn't left to do
                bar.update(end - bar.n)
    say(f"{written} of {len(results)} pictures, {options.weights} weights of step {opened.step}")
    return wrong


def _tiles(translator: Translator, path: Path) -> int:
    height, width = picture_size(path)
    return translator.tiles(height, width) if height and width else 0


if __name__ == "__main__":
    with plain_exits():
        sys.exit(1 if run(command_line(Options)) else 0)
