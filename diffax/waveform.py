"""16-bit samples of sound <-> the numbers that networks and ears know: -32768 to 32767 <-> -1 to 1.

`to_float` and `to_int16` take NumPy arrays and JAX arrays (also inside `jax.jit`) and give the same
kind back. A waveform is `[..., L, C]`: L samples of C channels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LEVELS = 32768.0


def to_float(waveform: Any) -> Any:
    """Turns 16-bit samples into numbers from -1 to 1: x = levels / 32768.

    Args:
        waveform: int16, of any shape.

    Returns:
        float32, the same shape.

    Raises:
        ValueError: another type.

    Example:
        >>> to_float(np.array([-32768, 0, 16384], np.int16)).tolist()
        [-1.0, 0.0, 0.5]
    """
    if waveform.dtype != np.int16:
        raise ValueError(f"expected a waveform as int16, got {waveform.dtype}")
    return waveform.astype(np.float32) / np.float32(LEVELS)


def to_int16(x: np.ndarray) -> np.ndarray:
    """Turns numbers from -1 to 1 into the nearest 16-bit samples.

    Args:
        x: floating point, of any shape. What lies outside [-1, 1] is clipped to it; what is not a
            number becomes silence. int16 is returned as it is.

    Returns:
        int16, the same shape.

    Example:
        >>> to_int16(np.array([-2.0, 0.5, np.nan])).tolist()
        [-32768, 16384, 0]
    """
    if x.dtype == np.int16:
        return x
    levels = np.rint(np.clip(np.nan_to_num(x.astype(np.float32)), -1, 1) * LEVELS)
    return np.minimum(levels, LEVELS - 1).astype(np.int16)


def loudness(waveform: np.ndarray) -> float:
    """Root mean square of a waveform in [-1, 1], in decibel of full scale; silence: -inf.

    Example:
        >>> round(loudness(np.full((10, 1), 0.1)), 6)
        -20.0
    """
    square = float(np.mean(np.square(waveform, dtype=np.float64)))
    return 10 * math.log10(square) if square > 0 else -math.inf
