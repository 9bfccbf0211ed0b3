"""The Frechet distance of samples to data: the FID, where the network is Inception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from diffax.evaluation.frechet import few_samples, frechet_distance
from diffax.evaluation.metric import Measured, Watched
from diffax.evaluation.networks import Inception
from diffax.evaluation.seen import reference_statistics, sample_statistics


@dataclass(frozen=True)
class Frechet:
    """The Frechet distance of samples to data, as `frechet` (Heusel et al. 2017)."""

    features: Any = Inception()
    """The network that both are looked at with: inception, resnet20, ..."""
    samples: int = 10_000
    """Samples; published FIDs are of 50,000."""
    split: str = "train"
    """Which split of the data is compared with; for data without splits all of them."""
    num: int | None = None
    """Examples of it, from its first on; None: all."""

    better: ClassVar[Mapping[str, str]] = {"frechet": "lower"}

    def __post_init__(self) -> None:
        """Checks every number."""
        if not 2 <= self.samples <= 10**9 or (self.num is not None and self.num < 2):
            raise ValueError(
                "a covariance needs at least 2 examples: metrics samples and num must be >= 2, got "
                f"{self.samples} and {self.num}"
            )

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figure."""
        return dict(self.measure(watched).figures)

    def measure(self, watched: Watched) -> Measured:
        """The figure, with the network's name.

        Raises:
            ValueError: no data, no samples, or another kind of examples than the network takes.
        """
        reference = watched.reference(self.split)
        real = reference_statistics(self.features, watched.data, reference, self.num)
        ours = sample_statistics(watched, self.features, self.samples)
        distance = frechet_distance(ours, real)
        note = (
            f"frechet: {ours.count:,} samples against {real.count:,} of {reference}, "
            f"network {real.network} {real.fingerprint[:12]}"
        )
        warning = few_samples(ours.count)
        return Measured({"frechet": distance}, notes=(note, *([warning] if warning else [])))
