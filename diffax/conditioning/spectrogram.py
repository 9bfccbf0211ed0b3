"""What a sound looks like over time: vocoders."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import waveform
from diffax.noun import noun, structure
from diffax.spectrogram import log_mel


@noun
class Spectrogram:
    """A log-mel spectrogram, of which a vocoder makes the sound (Kong et al. 2021, section 3.2).

    While training it is that of the batch's own waveforms. The condition is `{"frames": [B, F, M +
    1]}`: F frames of M bands, 0 (silence) to 1 (a full sinusoid), and a 1; all zeros where nothing
    is said, so that the same network makes sound of its own.

    Attributes:
        bands: M, 1 to 512.
        window: samples of a frame's Hann window.
        hop: samples from one frame to the next; the data's length is a multiple of it.
        dropout: probability, in [0, 1], of saying nothing while training.
        rate: samples a second; None: the data's.
    """

    bands: int = structure(default=32)
    window: int = structure(default=256)
    hop: int = structure(default=64)
    dropout: float = structure(default=0.1)
    rate: int | None = structure(default=None)

    reads: ClassVar[tuple[str, ...]] = ("x",)
    asks: ClassVar[tuple[str, ...]] = ("spectrogram",)
    params: ClassVar[dict] = {}
    trained: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Checks every number."""
        if not 1 <= self.bands <= 512:
            raise ValueError(f"conditioner.bands must lie in 1 to 512, got {self.bands}")
        if not 4 <= self.hop <= self.window <= 2**16:
            raise ValueError(
                f"conditioner.hop and window must be 4 to 65,536 samples, the hop no longer than "
                f"the window, got {self.hop} and {self.window}"
            )
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"conditioner.dropout must lie in 0 to 1, got {self.dropout}")

    def fitted(self, spec: Any) -> "Spectrogram":
        """With the data's rate.

        Raises:
            ValueError: data that are no waveforms, or whose length is no multiple of the hop.
        """
        column = spec.columns["x"]
        if spec.rate is None or column.dtype != "int16" or len(column.shape) != 2:
            raise ValueError(
                f"conditioner spectrogram is for sound, int16 [L, C]; the data are {column.dtype} "
                f"{list(column.shape)}"
            )
        if column.shape[0] % self.hop:
            raise ValueError(
                f"conditioner.hop {self.hop} does not divide the waveforms of {column.shape[0]} "
                "samples; change it or data.length"
            )
        return dataclasses.replace(self, rate=spec.rate)

    def with_params(self, params: Any) -> "Spectrogram":
        """Itself: it has none."""
        return self

    def init(self, key: Array) -> dict:
        """Nothing."""
        return {}

    def of(self, sound: np.ndarray) -> np.ndarray:
        """The spectrogram float32 `[..., F, M]` of waveforms `[..., L, C]`, int16 or in [-1, 1].

        Raises:
            ValueError: no rate is known yet.
        """
        if self.rate is None:
            raise ValueError("conditioner spectrogram knows no rate yet: give rate, or use fitted")
        x = waveform.to_float(sound) if sound.dtype == np.int16 else sound
        return log_mel(x, self.rate, bands=self.bands, window=self.window, hop=self.hop)

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Spectrograms `[..., F, M]` of the batch's waveforms."""
        shown = self.of(batch["x"])
        return {"spectrogram": shown, "told": np.ones(shown.shape[:-2], np.float32)}

    def request(self, request: Any, num: int) -> tuple[dict, dict]:
        """The spectrograms of a request, one or `num`; None: nothing is said.

        Raises:
            ValueError: another shape, or another number of them.
        """
        if request.spectrogram is None:
            nothing = {
                "spectrogram": np.zeros((num, 1, self.bands), np.float32),
                "told": np.zeros(num, np.float32),
            }
            return nothing, dict(nothing)
        shown = np.asarray(request.spectrogram, np.float32)
        shown = shown[None] if shown.ndim == 2 else shown
        if shown.ndim != 3 or len(shown) not in (1, num) or shown.shape[2] != self.bands:
            raise ValueError(
                f"expected a spectrogram [F, {self.bands}], or {num}, got shape "
                f"{list(np.shape(request.spectrogram))}"
            )
        shown = np.broadcast_to(shown, (num, *shown.shape[1:]))
        asked = {"spectrogram": shown, "told": np.ones(num, np.float32)}
        return asked, asked | {"told": np.zeros(num, np.float32)}

    def drop(self, key: Array, told: dict[str, Array]) -> dict[str, Array]:
        """Each spectrogram left out with probability `dropout`."""
        if self.dropout == 0:
            return told
        kept = jax.random.bernoulli(key, 1 - self.dropout, told["told"].shape)
        return told | {"told": told["told"] * kept}

    def encode(self, params: Any, told: dict[str, Array]) -> dict[str, Array]:
        """The frames, each with a 1; zeros where nothing was told."""
        shown = jnp.asarray(told["spectrogram"])
        ones = jnp.ones((*shown.shape[:2], 1), jnp.float32)
        each = jnp.asarray(told["told"])[:, None, None]
        return {"frames": each * jnp.concatenate([shown, ones], axis=-1)}
