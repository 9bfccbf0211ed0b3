"""The variational bound of held-out tokens: bits a character of a text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from diffax.evaluation.examples import blocks, denoiser_of, interval
from diffax.evaluation.metric import Measured, Watched
from diffax.losses import Stratified, stepwise_bound, token_bound
from diffax.sampling import time_grid


@dataclass(frozen=True)
class TokenBits:
    """The bound on another split in bits a token: `token_bits`, lower is better.

    Of a text they are bits a character. Without `steps` it is the bound in continuous time (Sahoo
    et al. 2024, eq. 10); with them that of the ancestral sampler with so many even steps.
    """

    split: str = "test"
    """Which split of the data."""
    num: int = 512
    """Examples looked at, from the split's first on; fewer where it has fewer."""
    draws: int = 8
    """Times drawn for every example, spread evenly over a block of them."""
    steps: int | None = None
    """None: in continuous time; else intervals of the sampler's grid."""
    seed: int = 0
    """Of times and noise: the same at every evaluation."""

    better: ClassVar[Mapping[str, str]] = {"token_bits": "lower"}

    def __post_init__(self) -> None:
        """Checks every number."""
        for name in ("num", "draws", "steps"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 10**9:
                raise ValueError(f"metrics {name} must be >= 1, got {value}")

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures."""
        return dict(self.measure(watched).figures)

    def measure(self, watched: Watched) -> Measured:
        """The figure with its interval.

        Raises:
            ValueError: a model that makes no tokens, or data without splits.
        """
        model = watched.model
        if model is None or not getattr(model.parameterization, "discrete", False):
            raise ValueError("token_bits needs a model of tokens: a run of text or digits_tokens")
        dataset = watched.split(self.split)
        grid = None if self.steps is None else time_grid(model.schedule, self.steps)
        found = []
        for start, batch, count in blocks(dataset, self.num):
            x0 = model.codec.encode(jnp.asarray(batch["x"]))
            denoiser = denoiser_of(model, batch)
            total = np.zeros(len(x0))
            for draw in range(self.draws):
                key = jax.random.fold_in(jax.random.key(self.seed), start * self.draws + draw)
                total += np.asarray(_bound(denoiser, x0, key, model.schedule, model.process, grid))
            found.append(total[:count] / self.draws)
        tokens = math.prod(model.shape)
        bits = np.concatenate(found) / (tokens * math.log(2))
        how = "in continuous time" if grid is None else f"of {self.steps} steps"
        return Measured(
            {"token_bits": float(bits.mean())},
            intervals={"token_bits": interval(bits)},
            notes=(
                f"token_bits: {len(bits):,} examples of {self.split} of {tokens} tokens, "
                f"{self.draws} draws each, {how}",
            ),
        )


@jax.jit
def _bound(
    denoiser: Any, x0: jax.Array, key: jax.Array, schedule: Any, process: Any, grid: Any
) -> jax.Array:
    """Nats an example, `[B]`."""
    if grid is not None:
        return stepwise_bound(denoiser, x0, key, grid=grid, process=process)
    times = Stratified()
    return token_bound(denoiser, x0, key, schedule=schedule, times=times, process=process)[0]
