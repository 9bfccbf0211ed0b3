"""What `generate` made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jax import Array

from diffax import image_range


@dataclass(frozen=True)
class Samples:
    """Samples, with what they were made of.

    Attributes:
        data: decoded: images float32 `[N, H, W, C]` in [-1, 1], vectors `[N, D]` in their own
            coordinates, ...; the same as `x` where the request says `decode=False`.
        x: in model space, float32 `[N, ...]`.
        told: what each was told, as arrays with N rows: `{"label": int32 [N]}`, ...
        captions: the same in words, N of them: prompts, or names of classes; else none.
        states: with `trajectory`, every state in model space, from x_T on: float32
            `[S + 1, N, ...]`.
        times: `[S + 1]`, the time of every state.
        codec: what decoded them, and knows how to write what is neither image nor vector.
    """

    data: Array | np.ndarray
    x: Array | np.ndarray
    told: dict[str, Any] = field(default_factory=dict)
    captions: tuple[str, ...] = ()
    states: np.ndarray | None = None
    times: np.ndarray | None = None
    codec: Any = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def label(self) -> np.ndarray | None:
        """int32 [N], or None for a model without classes."""
        return self.told.get("label")

    @property
    def images(self) -> np.ndarray:
        """The samples as uint8 `[N, H, W, C]`, rounded to the nearest level."""
        return image_range.to_uint8(np.asarray(self.data))

    def decoded_states(self) -> np.ndarray | None:
        """Every state decoded as the samples were, `[S + 1, N, ...]`; None without `trajectory`."""
        if self.states is None or self.codec is None:
            return self.states
        flat = self.states.reshape(-1, *self.states.shape[2:])
        decoded = np.asarray(self.codec.decode(flat))
        return decoded.reshape(*self.states.shape[:2], *decoded.shape[1:])
