"""What a sound is made of over time: windowed Fourier transforms, on the mel scale, in logarithms.

Plain NumPy: pictures, conditions and judges of sound look at waveforms through it.
"""

from __future__ import annotations

import functools

import numpy as np

FLOOR = 1e-4  # amplitudes below it count as silence


def magnitudes(waveform: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Amplitudes of a short-time Fourier transform, a sinusoid of amplitude a giving about a.

    Args:
        waveform: `[..., L]`, floating point.
        window: samples of the Hann window.
        hop: samples between two windows; the i-th is centred on sample (i + 1/2) hop, and sees
            silence before and after the waveform.

    Returns:
        float32 `[..., L // hop, window // 2 + 1]`.

    Raises:
        ValueError: a waveform shorter than a hop.

    Example:
        >>> t = np.arange(512) / 512
        >>> int(magnitudes(np.sin(2 * np.pi * 64 * t), window=64, hop=64)[4].argmax())
        8
    """
    length = waveform.shape[-1]
    if not 1 <= hop <= length:
        raise ValueError(f"expected at least a hop of {hop} samples, got {length}")
    before = window // 2 - hop // 2
    edges = [(0, 0)] * (waveform.ndim - 1) + [(max(before, 0), window)]
    padded = np.pad(waveform, edges)[..., max(-before, 0) :]
    frames = np.lib.stride_tricks.sliding_window_view(padded, window, axis=-1)
    frames = frames[..., : length // hop * hop : hop, :]
    weights = np.hanning(window + 1)[:-1]
    return (np.abs(np.fft.rfft(frames * weights)) * (2 / weights.sum())).astype(np.float32)


def log_mel(waveform: np.ndarray, rate: int, *, bands: int, window: int, hop: int) -> np.ndarray:
    """The logarithm of amplitudes in bands of the mel scale, 0 (silence) to 1 (a full sinusoid).

    Args:
        waveform: `[..., L, C]` in [-1, 1]; the mean of the channels is looked at.
        rate: samples a second.
        bands: M, triangles of equal width in mel, from 0 to rate / 2.
        window: see `magnitudes`; likewise `hop`.
        hop: see `window`.

    Returns:
        float32 `[..., L // hop, M]`.
    """
    amplitudes = magnitudes(waveform.mean(axis=-1), window, hop)
    power = np.square(amplitudes) @ mel_bands(rate, bands, window).T
    return 1 - np.log(np.maximum(np.sqrt(power), FLOOR)).astype(np.float32) / np.float32(
        np.log(FLOOR)
    )


@functools.cache
def mel_bands(rate: int, bands: int, window: int) -> np.ndarray:
    """Triangles `[M, window // 2 + 1]` that overlap by half, of equal width in mel, height 1.

    Mel by O'Shaughnessy 1987: `2595 log10(1 + f / 700)`. A triangle narrower than the distance of
    two frequencies of the transform is widened to it, so that none is empty.
    """
    frequencies = np.linspace(0, rate / 2, window // 2 + 1)
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    least = frequencies[1]
    low = np.minimum(edges[:-2], edges[1:-1] - least)[:, None]
    high = np.maximum(edges[2:], edges[1:-1] + least)[:, None]
    middle = edges[1:-1, None]
    rising = (frequencies - low) / (middle - low)
    falling = (high - frequencies) / (high - middle)
    triangles = np.clip(np.minimum(rising, falling), 0, None).astype(np.float32)
    triangles.setflags(write=False)
    return triangles
