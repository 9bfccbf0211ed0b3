"""Sound: 16-bit samples <-> waveforms of unit power."""

import dataclasses
import io
import math
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import waveform
from diffax.noun import noun, structure


@noun
class Waveform:
    """int16 `[L, C]` <-> float32 of root mean square 1; as data, float32 in [-1, 1].

    Waveforms that are floats in [-1, 1] already are encoded, too.

    Attributes:
        rms: root mean square, in (0, 1], of the data's waveforms in [-1, 1]: what becomes 1.
        rate: samples a second; None: the data's.

    Example:
        >>> Waveform(rms=0.25).encode(jnp.array([[[16384], [0]]], jnp.int16)).tolist()
        [[[2.0], [0.0]]]
    """

    rms: float = structure(default=0.1)
    rate: int | None = structure(default=None)
    params: ClassVar[dict] = {}
    kind: ClassVar[str] = "audio"
    endings: ClassVar[tuple[str, ...]] = (".wav",)

    def __post_init__(self) -> None:
        """Checks both numbers."""
        if not 0 < self.rms <= 1:
            raise ValueError(f"codec.rms must lie in (0, 1], got {self.rms}")
        if self.rate is not None and self.rate < 1:
            raise ValueError(f"codec.rate must be at least 1 sample a second, got {self.rate}")

    def fitted(self, spec: Any) -> "Waveform":
        """With the data's rate.

        Raises:
            ValueError: data that are no waveforms, or of another rate.
        """
        column = spec.columns["x"]
        if column.dtype != "int16" or len(column.shape) != 2:
            raise ValueError(
                f"codec waveform is for sound, int16 [L, C]; the data are {column.dtype} "
                f"{list(column.shape)}"
            )
        if self.rate is not None and self.rate != spec.rate:
            raise ValueError(
                f"codec.rate is {self.rate} samples a second, the data have {spec.rate}; leave it "
                "at None to take the data's"
            )
        return dataclasses.replace(self, rate=spec.rate)

    def with_params(self, params: Any) -> "Waveform":
        """Itself: it has none."""
        return self

    def encode(self, raw: Array, key: Array | None = None) -> Array:
        """`raw / (32768 rms)` where raw is int16, else `raw / rms`."""
        x = waveform.to_float(raw) if raw.dtype == jnp.int16 else raw.astype(jnp.float32)
        return x / self.rms

    def decode(self, x: Array) -> Array:
        """`x rms`, clipped to [-1, 1]."""
        return jnp.clip(x * self.rms, -1.0, 1.0)

    def log_stretch(self, raw: tuple[int, ...]) -> float:
        """`-D log(32768 rms)` for examples of D samples: from levels to unit power."""
        return -math.prod(raw) * math.log(waveform.LEVELS * self.rms)

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """The waveform's own."""
        return raw

    def to_file(self, data: np.ndarray, ending: str) -> bytes:
        """Waveforms `[N, L, C]` in [-1, 1] as one 16-bit .wav file, a short silence after each.

        Raises:
            ValueError: a codec that knows no rate.
        """
        if self.rate is None:
            raise ValueError("codec waveform knows no rate yet: give rate, or use fitted")
        from scipy.io import wavfile  # slow to import: where it is needed

        silence = ((0, 0), (0, self.rate // 8 if len(data) > 1 else 0), (0, 0))
        one = np.pad(waveform.to_int16(np.asarray(data)), silence)
        file = io.BytesIO()
        wavfile.write(file, self.rate, one.reshape(-1, one.shape[-1]))
        return file.getvalue()
