"""Whether generated notes have the pitch that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from diffax.data.tones import frequency_of
from diffax.evaluation.metric import Watched
from diffax.waveform import to_float

CENTS = 50  # half a semitone
_LOWEST = 60.0  # hertz; below it nothing is taken for a pitch
_STRONG = 0.25  # of the loudest partial: weaker ones are not heard as the pitch
_FINE = 16  # frequencies are looked at so many times finer than the transform's own


def pitch(waveforms: np.ndarray, rate: int) -> np.ndarray:
    """The lowest strong partial of the second half of each waveform, where its pitch has settled.

    Judged by the Fourier transform of a Hann window; exact for a sinusoid to about a cent.

    Args:
        waveforms: `[N, L, C]`, floating point; the mean of the channels is listened to.
        rate: samples a second.

    Returns:
        Hertz, float64 `[N]`; NaN where nothing sounds above 60 Hz.

    Example:
        >>> t = np.arange(2000)[None, :, None] / 4000
        >>> np.round(pitch(np.sin(2 * np.pi * 440 * t), 4000)).tolist()
        [440.0]
    """
    mono = np.asarray(waveforms, np.float64).mean(axis=-1)
    half = mono[:, mono.shape[1] // 2 :]
    length = _FINE * half.shape[1]
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    amplitudes = np.abs(np.fft.rfft(half * np.hanning(half.shape[1]), length))
    amplitudes[:, frequencies < _LOWEST] = 0
    inner = amplitudes[:, 1:-1]
    peaks = (inner > amplitudes[:, :-2]) & (inner >= amplitudes[:, 2:])
    peaks &= inner > _STRONG * amplitudes.max(axis=1, keepdims=True)
    lowest = frequencies[1:-1][peaks.argmax(axis=1)]
    return np.where(peaks.any(axis=1), lowest, np.nan)


def cents(heard: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How far a pitch lies above another, in hundredths of a semitone.

    Example:
        >>> cents(np.array([880.0]), np.array([440.0])).tolist()
        [1200.0]
    """
    return 1200 * np.log2(heard / wanted)


@dataclass(frozen=True)
class PitchAccuracy:
    """Share of notes within 50 cents of the pitch that their class names, and their median error.

    `pitch_accuracy` and `pitch_error` (cents) of samples; where the data have a split "test",
    `pitch_accuracy_of_real` of as many held-out notes.
    """

    samples: int = 360
    """Samples."""

    better: ClassVar[Mapping[str, str]] = {"pitch_accuracy": "higher", "pitch_error": "lower"}

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures.

        Raises:
            ValueError: samples without classes, or classes that name no note.
        """
        samples = watched.samples(self.samples)
        spec = None if watched.data is None else watched.data.load().spec
        if samples.label is None or spec is None or spec.rate is None:
            raise ValueError(
                "pitch accuracy needs sound whose classes name notes, such as a run on tones"
            )
        error = _errors(np.asarray(samples.data), samples.label, spec.class_names, spec.rate)
        heard = error[np.isfinite(error)]
        figures = {
            "pitch_accuracy": float(np.mean(error <= CENTS)),
            "pitch_error": float(np.median(heard)) if len(heard) else float("nan"),
        }
        return figures | self._of_real(watched)

    def _of_real(self, watched: Watched) -> dict[str, float]:
        """How often the judge is right of held-out notes."""
        reference: Any = watched.reference("test")
        if getattr(reference, "split", "") != "test":
            return {}
        dataset = reference.load()
        notes = dataset.examples(np.arange(min(self.samples, dataset.spec.size)))
        spec = dataset.spec
        error = _errors(to_float(notes["x"]), notes["label"], spec.class_names, spec.rate)
        return {"pitch_accuracy_of_real": float(np.mean(error <= CENTS))}


def _errors(
    waveforms: np.ndarray, label: np.ndarray, names: Sequence[str], rate: int
) -> np.ndarray:
    """Cents, without their sign, float64 `[N]`; NaN where no pitch is heard or none was asked."""
    frequencies = np.array([*map(frequency_of, names), np.nan])  # the null label asks for none
    return np.abs(cents(pitch(waveforms, rate), frequencies[label]))
