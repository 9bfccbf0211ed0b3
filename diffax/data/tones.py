"""Short notes, synthesised on the spot: plucked strings, chords, chirps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffax.data.dataset import Dataset
from diffax.data.options import check_split
from diffax.data.source import Batch, Source, columns
from diffax.waveform import to_int16

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
OCTAVE = 4
FADING = 2.5  # of a plucked string's fundamental, 1 / seconds
LOUDNESS = 0.1  # root mean square of a note
MOST = 1_000_000
_TEST_SEED = 2**31  # a test set's seed is the train set's plus this


@dataclass(frozen=True)
class Tones:
    """Notes of a pitch and a timbre, int16 [length, 1], all equally loud.

    A class is a pitch and a timbre, such as "A4 pluck". The pitches are the twelve of equal
    temperament from C4 (261.6 Hz) to B4 (493.9 Hz). The timbres:

    * pluck: a string of Karplus & Strong 1983, tuned as in Jaffe & Smith 1983;
    * chord: the pitch with a major third and a fifth above it;
    * chirp: glides, in the first half, from up to an octave below or above, and stays.

    Example:
        >>> dataset = Tones(num=72).load()
        >>> dataset.batch(0, seed=0, batch_size=4)["x"].shape, dataset.spec.class_names[4]
        ((4, 2048, 1), 'C#4 chord')
    """

    num: int = 3600
    """How many notes, all classes equally often."""

    length: int = 2048
    """Samples of a note."""

    rate: int = 4000
    """Samples a second, 2,000 to 48,000."""

    seed: int = 0
    """Of the set, 0 to 2**31 - 1."""

    labels: bool = True
    """Give the pitch and timbre of every note as its class."""

    split: Literal["train", "test"] = "train"
    """train, or test: a fresh draw."""

    def __post_init__(self) -> None:
        """Checks every value."""
        if not 1 <= self.num <= MOST:
            raise ValueError(f"data.num must be 1 to {MOST:,}, got {self.num}")
        if not 2000 <= self.rate <= 48_000:
            raise ValueError(f"data.rate must be 2,000 to 48,000 samples a second, got {self.rate}")
        if not self.rate // 20 <= self.length <= 10 * self.rate:
            raise ValueError(
                f"data.length must be a twentieth of a second to ten ({self.rate // 20:,} to "
                f"{10 * self.rate:,} samples at data.rate {self.rate}), got {self.length}"
            )
        if not 0 <= self.seed < _TEST_SEED:
            raise ValueError(f"data.seed must be 0 to 2**31 - 1, got {self.seed}")
        check_split(self.split, ("train", "test"))

    def load(self) -> Dataset:
        """Synthesises the notes."""
        rng = np.random.default_rng(self.seed + (_TEST_SEED if self.split == "test" else 0))
        label = (np.arange(self.num) % len(CLASSES)).astype(np.int32)
        x = np.stack([self._note(int(one), rng) for one in label])[..., None]
        given = {"x": to_int16(x)} | ({"label": label} if self.labels else {})

        def read(rows: np.ndarray) -> Batch:
            return {key: value[rows] for key, value in given.items()}

        source = Source(
            columns=columns((self.length, 1), "int16", label=self.labels),
            size=self.num,
            read=read,
            class_names=CLASSES if self.labels else (),
            labels=label if self.labels else None,
            rate=self.rate,
        )
        return Dataset(f"tones ({self.split})", source)

    def _note(self, label: int, rng: np.random.Generator) -> np.ndarray:
        """One note, float64 [length]."""
        pitch, timbre = divmod(label, len(TIMBRES))
        synthesise = tuple(TIMBRES.values())[timbre]
        note = synthesise(frequency_of(PITCHES[pitch]), self.length, self.rate, rng)
        return note * min(LOUDNESS / np.sqrt(np.mean(note**2)), 1 / np.abs(note).max())


def pluck(frequency: float, length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A plucked string: noise that runs around a loop and is smoothed at every turn.

    The loop is a delay of N samples, a weighted mean of two neighbours (Karplus & Strong 1983) and
    an all-pass filter whose delay at `frequency` is the rest of the period (Jaffe & Smith 1983), so
    that the fundamental is tuned exactly. The weights are those with which the fundamental fades as
    `exp(-FADING t)`; what is higher fades faster.

    Args:
        frequency: of the fundamental, in hertz.
        length: samples.
        rate: samples a second.
        rng: of the first period's noise.

    Returns:
        float64 [length].
    """
    from scipy.signal import lfilter  # slow to import: where it is needed

    turn, period = 2 * np.pi * frequency / rate, rate / frequency
    # |1 - s + s e^(-i turn)|^2 = 1 - 2 s (1 - s)(1 - cos turn), the loss of power in a period.
    loss = min((1 - np.exp(-2 * FADING / frequency)) / (1 - np.cos(turn)), 0.5)
    s = (1 - np.sqrt(1 - 2 * loss)) / 2
    mean = np.array([1 - s, s])
    late = np.arctan2(s * np.sin(turn), 1 - s + s * np.cos(turn)) / turn
    delay = int(period - late - 0.2)  # leaves 0.2 to 1.2 samples to the all-pass filter
    rest = period - late - delay
    c = np.sin((turn - turn * rest) / 2) / np.sin((turn + turn * rest) / 2)
    allpass, inverse = np.array([c, 1.0]), np.array([1.0, c])
    # x / (1 - z^-N mean(z) (c + z^-1)/(1 + c z^-1)), both sides times the last denominator
    denominator = np.zeros(delay + 3)
    denominator[:2] = inverse
    denominator[delay:] -= np.convolve(mean, allpass)
    burst = np.zeros(length)
    noise = rng.uniform(-1, 1, delay + 1)
    burst[: delay + 1] = noise - noise.mean()  # a constant would run around for ever
    return np.asarray(lfilter(inverse, denominator, burst))


def chord(frequency: float, length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A major triad of sinusoids above `frequency`, decaying; arguments as for `pluck`."""
    t = np.arange(length) / rate
    decay = np.exp(-t * rng.uniform(1, 3))
    notes = (
        amplitude * np.sin(2 * np.pi * frequency * 2 ** (step / 12) * t + rng.uniform(0, 2 * np.pi))
        for step, amplitude in ((0, 1.0), (4, 0.8), (7, 0.8))
    )
    return decay * np.sum(list(notes), axis=0)


def chirp(frequency: float, length: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A sinusoid that glides to `frequency` in the first half; arguments as for `pluck`."""
    place = np.minimum(np.arange(length) / (length / 2), 1.0)
    octaves = rng.uniform(-1, 1) * (1 - place) ** 2
    phase = np.cumsum(2 * np.pi * frequency * 2**octaves / rate)
    return np.sin(phase + rng.uniform(0, 2 * np.pi))


TIMBRES: dict[str, Callable[..., np.ndarray]] = {"pluck": pluck, "chord": chord, "chirp": chirp}
PITCHES = tuple(f"{name}{OCTAVE}" for name in NAMES)
CLASSES = tuple(f"{pitch} {timbre}" for pitch in PITCHES for timbre in TIMBRES)


def frequency_of(note: str) -> float:
    """Hertz of a note in equal temperament, A4 = 440 Hz.

    Args:
        note: such as "A4", "C#3"; what follows a blank is not looked at.

    Raises:
        ValueError: no such note.

    Example:
        >>> frequency_of("A3 pluck"), round(frequency_of("C4"), 2)
        (220.0, 261.63)
    """
    name, octave = note.split(" ")[0][:-1], note.split(" ")[0][-1:]
    if name not in NAMES or not octave.isdigit():
        raise ValueError(f"expected a note such as 'A4' or 'C#3 pluck', got {note!r}")
    return 440.0 * 2 ** ((NAMES.index(name) - NAMES.index("A")) / 12 + int(octave) - 4)
