"""Sound to be looked at: each waveform above its spectrogram."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from diffax import spectrogram
from diffax.plotting import canvas
from diffax.plotting.images import evenly_spaced

_WIDTH, _HEIGHT, _TITLE, _GAP = 190, 150, 16, 6  # pixels of a panel
_MOST = 32  # waveforms in one image
_SHARE = 0.3  # of a panel's height that the waveform takes


def audio_grid(
    waveforms: np.ndarray, rate: int, *, titles: Sequence[str] = (), columns: int = 8
) -> np.ndarray:
    """Draws waveforms, each above its spectrogram: low tones at the bottom, decibels as grey.

    Args:
        waveforms: `[N, L, C]` in [-1, 1]; 32 of them at most are drawn, evenly spaced, the mean of
            their channels.
        rate: samples a second.
        titles: a text above each; empty: none.
        columns: waveforms in a row.

    Returns:
        uint8 `[height, width, 3]`.

    Raises:
        ValueError: other shapes, or another number of titles.
    """
    if waveforms.ndim != 3 or (len(titles) not in (0, len(waveforms))):
        raise ValueError(
            f"expected waveforms [N, L, C] and no titles or N, got {list(waveforms.shape)} and "
            f"{len(titles)} titles"
        )
    chosen = evenly_spaced(len(waveforms), _MOST)
    mono = np.asarray(waveforms, np.float32)[chosen].mean(axis=-1)
    columns = min(columns, len(mono))
    rows = math.ceil(len(mono) / columns)
    width, height = columns * _WIDTH, rows * (_HEIGHT + _TITLE)
    page = canvas.figure(width, height)
    window = 2 ** round(math.log2(max(rate / 20, 16)))  # a twentieth of a second
    for i, wave in enumerate(mono):
        left = (i % columns * _WIDTH + _GAP) / width
        bottom = (height - (i // columns + 1) * (_HEIGHT + _TITLE) + _GAP) / height
        across, up = (_WIDTH - 2 * _GAP) / width, (_HEIGHT - _GAP) / height
        upper = page.add_axes((left, bottom + up * (1 - _SHARE), across, up * _SHARE))
        upper.plot(wave, color=canvas.INK, linewidth=0.4)
        top = max(float(np.abs(wave).max()), 1e-3)
        upper.set(xlim=(0, len(wave)), ylim=(-top, top), xticks=[], yticks=[])
        lower = page.add_axes((left, bottom, across, up * (1 - _SHARE)))
        hop = max(1, min(window // 8, len(wave) // 8))
        shown = 20 * np.log10(
            np.maximum(spectrogram.magnitudes(wave, window, hop), spectrogram.FLOOR)
        )
        loudest = float(shown.max())
        lower.imshow(
            shown.T, origin="lower", aspect="auto", cmap="magma", vmin=loudest - 60, vmax=loudest
        )
        lower.set(xticks=[], yticks=[])
        if titles:
            upper.set_title(titles[chosen[i]], fontsize=8, pad=2)
    return canvas.pixels(page)
