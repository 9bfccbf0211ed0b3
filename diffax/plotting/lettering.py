"""Text above and below images, in the font that Matplotlib brings along."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffax.printable import printable

_SIZE, _LINE, _LINES = 11, 14, 3  # pixels: letters, a line; lines of a caption at most


def captions(texts: Sequence[str], width: int, background: int = 255) -> list[np.ndarray]:
    """Texts in lines that are no wider than `width`, the last cut with an ellipsis.

    Args:
        texts: one line each, whatever their length.
        width: in pixels.
        background: grey level, 0 to 255; letters are black or white, whichever is seen better.

    Returns:
        For each text uint8 [14 x lines, width, 1].
    """
    return [_drawn(_wrapped(printable(text), width), width, background) for text in texts]


def above(image: np.ndarray, texts: Sequence[str], background: int = 255) -> np.ndarray:
    """An image `[H, W, C]` with texts over equal parts of its width: uint8 `[H + 14, W, C]`."""
    edges = np.linspace(0, image.shape[1], len(texts) + 1).astype(int)
    line = np.concatenate(
        [
            _drawn([_cut(printable(text), right - left)], right - left, background)
            for text, left, right in zip(texts, edges, edges[1:], strict=False)
        ],
        axis=1,
    )
    return np.concatenate([line.repeat(image.shape[-1], axis=-1), image])


def _drawn(lines: Sequence[str], width: int, background: int) -> np.ndarray:
    page = Image.new("L", (width, _LINE * len(lines)), background)
    draw = ImageDraw.Draw(page)
    for i, line in enumerate(lines):
        place = (width / 2, i * _LINE + _LINE / 2)
        draw.text(place, line, 0 if background > 127 else 255, font=_font(), anchor="mm")
    return np.asarray(page)[..., None]


def _wrapped(text: str, width: int) -> list[str]:
    """Broken between words into three lines at most."""
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font().getlength(longer) > width and len(lines) < _LINES:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_cut(line, width) for line in lines]


def _cut(line: str, width: int) -> str:
    if _font().getlength(line) <= width:
        return line
    while line and _font().getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    import matplotlib  # slow: only where something is written

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), _SIZE)
