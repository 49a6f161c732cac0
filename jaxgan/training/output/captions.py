"""Pictures in rows and columns with captions beside and above them."""

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["captioned"]

GAP = 2  # pixels between pictures, and around them
LINE = 14  # pixels of height of PIL's own font


def captioned(
    images: Sequence[Sequence[np.ndarray | None]],
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    *,
    least: int = 64,
) -> np.ndarray:
    """Lays images, uint8 `[H, W, C]` of one shape, in rows and columns as they are listed, with a caption to the left
    of each row and above each column, white on black: uint8 `[H', W', C]`. None leaves a place black. Images of fewer
    pixels of height than `least` are enlarged by a whole number to that or more. ValueError without any image."""
    known = [image for row in images for image in row if image is not None]
    if not known:
        raise ValueError("a picture needs at least one image, got none")
    height, width, channels = known[0].shape
    scale = -(-least // height)
    high, wide = height * scale + GAP, width * scale + GAP
    written, above = [_text(text) for text in rows], [_text(text) for text in columns]
    left, top = max((each.shape[1] + 2 * GAP for each in written), default=0), LINE if columns else 0
    across = max(len(row) for row in images)
    # A caption of a column that is wider than its picture makes room for itself.
    wide = max([wide, *(each.shape[1] + 2 * GAP for each in above)])
    sheet = np.zeros((top + len(images) * high + GAP, left + across * wide + GAP, channels), np.uint8)
    for i, row in enumerate(images):
        for j, image in enumerate(row):
            if image is not None:
                y, x = top + i * high + GAP, left + j * wide + GAP
                sheet[y : y + height * scale, x : x + width * scale] = image.repeat(scale, 0).repeat(scale, 1)
    for i, text in enumerate(written):
        _put(sheet, text, left - GAP - text.shape[1], top + i * high + (high - LINE) // 2)
    for j, text in enumerate(above):
        _put(sheet, text, left + j * wide + GAP + (width * scale - text.shape[1]) // 2, 0)
    return sheet


def _put(sheet: np.ndarray, text: np.ndarray, x: int, y: int) -> None:
    """Writes text onto a sheet, in place, as far as it has room."""
    part = sheet[max(y, 0) : max(y, 0) + LINE, max(x, 0) : max(x, 0) + text.shape[1]]
    part[:] = text[: part.shape[0], : part.shape[1]]


def _text(text: str) -> np.ndarray:
    """Draws a line of text, white on black: uint8 `[LINE, width, 1]`."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default()
    strip = Image.new("L", (max(1, math.ceil(font.getlength(text))), LINE))
    ImageDraw.Draw(strip).text((0, 1), text, fill=255, font=font)
    return np.asarray(strip)[..., None]
