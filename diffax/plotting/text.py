"""Texts as an image: a page in a typewriter's letters."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_COLUMNS = 64  # letters in a line
_LETTER = (9, 18)  # pixels
_MARGIN = 12
_MOST = 8  # texts on a page


def text_page(codec: Any, data: np.ndarray) -> np.ndarray:
    """The first texts, one below the other, in lines of at most 64 letters.

    Line ends of a text are shown as they are; all pages of data of one shape have one size, so that
    they can be the frames of an animation.

    Args:
        codec: has `texts`.
        data: `[N, L]`, tokens.

    Returns:
        uint8 `[H, W, 1]`, black on white.
    """
    data = np.asarray(data)[:_MOST]
    # Wrapped letter by letter, line ends as a sign: so every text has the same number of lines.
    lines_each = -(-data.shape[1] // _COLUMNS)
    lines = []
    for text in codec.texts(data):
        flat = text.replace("\n", "⏎").replace("\t", "→")
        lines += [flat[i * _COLUMNS : (i + 1) * _COLUMNS] for i in range(lines_each)] + [""]
    width = _COLUMNS * _LETTER[0] + 2 * _MARGIN
    height = len(lines) * _LETTER[1] + 2 * _MARGIN
    page = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(page)
    for row, line in enumerate(lines):
        for column, letter in enumerate(line):
            place = (_MARGIN + column * _LETTER[0], _MARGIN + row * _LETTER[1])
            pen.text(place, letter, fill=0, font=_font())
    return np.asarray(page)[..., None]


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans Mono, which comes with Matplotlib."""
    from matplotlib import get_data_path  # slow to import: only where something is drawn

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSansMono.ttf", 14)
