"""Letters and digits in two typefaces: pairs of pictures of the same character, a translation with a known answer.

The typefaces are DejaVu Sans and DejaVu Serif, which matplotlib brings along, with their licence (LICENSE_DEJAVU, in
the fonts' folder: free to use, copy, embed and change, under another name; parts are Bitstream Vera's and Arev's, of
the same terms). Nothing of them is stored here: the pictures are drawn when the set is opened.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.data.cache import Expected, cached, fingerprint
from jaxgan.data.errors import DataError
from jaxgan.data.sets import DataSet, from_arrays

__all__ = ["SPLITS", "characters", "glyphs"]

SPLITS = ("train", "test")
SANS, SERIF = "DejaVuSans.ttf", "DejaVuSerif.ttf"
SIDE = 32  # pixels
EM = 21  # pixels; the largest with which all characters fit
BASELINE = 25  # rows that are above it
FINER = 4  # drawn so many times larger and averaged, so that hinting and whole pixels hardly matter
HELD_OUT = 29  # of 256 values of a hash, by which groups of letters are split; a little more than 200 characters
VERSION = 1  # of what is cached: raised when the same fonts would give other pictures


def glyphs(split: str = "train") -> DataSet:
    """Returns characters in DejaVu Serif, the field `image`, and in DejaVu Sans, the field `source`: uint8
    `[N, 32, 32, 1]`, white on black, without labels, in the order of Unicode.

    They are the letters and decimal digits (categories L* and Nd) that both typefaces have, 1,926 of them, but for the
    169 that look in one of them like an earlier character (Cyrillic А is Latin A). The split "test" has 212, "train"
    1,545. What a character is composed of decides on its split, by a hash: A, Á and Ạ are in the same, so that no
    letter is tested that training has seen with another accent. Two characters of "train" (ˉ and ˍ) are the same in
    both typefaces.

    Both are drawn with 21 pixels an em and on one baseline, each with its ink centred from left to right; nothing is
    cut off. DataError for another split, or where matplotlib's fonts can't be read."""
    if split not in SPLITS:
        raise DataError(f"glyphs has splits {', '.join(SPLITS)}, no {split} split")
    fonts, picture = _fonts(), (None, SIDE, SIDE, 1)
    expected: Expected = {"serif": (np.uint8, picture), "sans": (np.uint8, picture), "held_out": (np.bool_, (None,))}
    try:
        found = cached("glyphs", _follows_from(fonts), expected, lambda: _drawn(*fonts))
    except OSError as error:
        raise DataError(f"matplotlib's fonts can't be read ({error}); install matplotlib again") from error
    chosen = found["held_out"] == (split == "test")
    return from_arrays("glyphs", found["serif"][chosen], source=found["sans"][chosen])


def characters() -> list[str]:
    """Returns the letters and decimal digits that both typefaces have, in the order of Unicode."""
    from matplotlib.ft2font import FT2Font

    common = set.intersection(*(set(FT2Font(str(font)).get_charmap()) for font in _fonts()))
    return [each for each in map(chr, sorted(common)) if (kind := unicodedata.category(each))[0] == "L" or kind == "Nd"]


def _fonts() -> tuple[Path, Path]:
    import matplotlib as mpl

    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return folder / SANS, folder / SERIF


def _follows_from(fonts: Sequence[Path]) -> tuple[object, ...]:
    """Returns what determines the pictures: a None in it where that isn't known."""
    import PIL
    from PIL import features

    drawn_by = (PIL.__version__, features.version("freetype2"), unicodedata.unidata_version)
    return VERSION, fingerprint(fonts), *drawn_by


def _drawn(sans: Path, serif: Path) -> dict[str, np.ndarray]:
    """Draws all characters that stay, uint8 `[N, 32, 32, 1]` in both typefaces, and says which are held out."""
    every = characters()
    in_sans, in_serif = (dict(zip(every, _pictures(font, every), strict=True)) for font in (sans, serif))
    first: list[dict[bytes, str]] = [{}, {}]  # the earliest character that looks so
    for each in every:
        for seen, pictures in zip(first, (in_sans, in_serif), strict=True):
            seen.setdefault(pictures[each].tobytes(), each)
    stays = [each for each in every if first[0][in_sans[each].tobytes()] == each == first[1][in_serif[each].tobytes()]]

    def group(character: str) -> str:
        parts = unicodedata.normalize("NFKD", character)
        letters = "".join(part for part in parts if unicodedata.category(part)[0] != "M")
        return first[0][in_sans[letters].tobytes()] if letters in in_sans else letters

    held_out = [hashlib.sha256(group(each).encode()).digest()[0] < HELD_OUT for each in stays]
    both = {"sans": in_sans, "serif": in_serif}
    return {
        **{name: np.stack([pictures[each] for each in stays]) for name, pictures in both.items()},
        "held_out": np.array(held_out),
    }


def _pictures(font: Path, drawn: Sequence[str]) -> list[np.ndarray]:
    """Draws each character by itself, uint8 `[32, 32, 1]`."""
    from PIL import Image, ImageDraw, ImageFont

    # The basic layout, because the other needs a library that not every Pillow has.
    face = ImageFont.truetype(str(font), EM * FINER, layout_engine=ImageFont.Layout.BASIC)
    found, side = [], SIDE * FINER
    for each in drawn:
        wide = Image.new("L", (3 * side, side))
        ImageDraw.Draw(wide).text((side, BASELINE * FINER), each, fill=255, font=face, anchor="ls")
        left, _, right, _ = wide.getbbox() or (0, 0, 0, 0)
        start = (left + right - side) // 2
        levels = np.asarray(wide.crop((start, 0, start + side, side)), np.float32)
        levels = levels.reshape(SIDE, FINER, SIDE, FINER).mean((1, 3))
        found.append(np.rint(levels).astype(np.uint8)[..., None])
    return found
