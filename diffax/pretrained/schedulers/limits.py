"""Clipping and thresholding of x0, where a scheduler's configuration asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffax import guidance
from diffax.denoiser import Denoiser


@dataclass(frozen=True)
class Limits:
    """Denoiser -> Denoiser: clipped, thresholded, or as it is.

    Attributes:
        clip: largest magnitude of x0, or None.
        quantile: of dynamic thresholding, which goes before clipping; or None.
        largest: no example is scaled by more than this by dynamic thresholding.
        keep_eps: leave eps as the network said it, as DDIM does.
    """

    clip: float | None = None
    quantile: float | None = None
    largest: float = 1.0
    keep_eps: bool = False

    def __call__(self, denoiser: Denoiser) -> Denoiser:
        """The limited denoiser."""
        if self.quantile is not None:
            return guidance.DynamicThreshold(denoiser, self.quantile, self.largest, self.keep_eps)
        if self.clip is not None:
            return guidance.Clip(denoiser, self.clip, self.keep_eps)
        return denoiser


def limits_of(name: str, options: Mapping[str, Any]) -> Limits:
    """The limits of a scheduler."""
    keep = name in ("DDIMScheduler", "DDIMInverseScheduler")
    if options["thresholding"]:
        return Limits(
            quantile=options["dynamic_thresholding_ratio"],
            largest=options["sample_max_value"],
            keep_eps=keep,
        )
    if options["clip_sample"]:
        return Limits(clip=options["clip_sample_range"], keep_eps=keep)
    return Limits()
